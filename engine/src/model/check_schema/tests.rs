//! Schemas and what becomes of them.

use super::{
    DefaultRequest, FieldRequest, FunctionRequest, MAX_FIELDS, SchemaRequest, add_field, check_added_field,
    check_schema,
};
use crate::base::FieldId;
use crate::model::fixture::schema_of;
use crate::model::{DataType, ElementType, Value};

fn field(name: &str, data_type: i32) -> FieldRequest {
    let type_params = match data_type {
        21 => vec![("max_length".to_owned(), "10".to_owned())],
        101 => vec![("dim".to_owned(), "8".to_owned())],
        _ => Vec::new(),
    };
    FieldRequest { name: name.to_owned(), data_type, type_params, ..FieldRequest::default() }
}

fn good() -> SchemaRequest {
    SchemaRequest {
        name: "c".to_owned(),
        fields: vec![
            FieldRequest { is_primary: true, ..field("id", 5) },
            field("v", 101),
            field("s", 21),
            field("j", 23),
        ],
        enable_dynamic_field: true,
        functions: Vec::new(),
        ..SchemaRequest::default()
    }
}

fn refusal(change: impl FnOnce(&mut SchemaRequest)) -> (i32, String) {
    let mut request = good();
    change(&mut request);
    let error = check_schema(&request).expect_err("the schema is bad");
    (error.milvus_code(), error.to_string())
}

#[test]
fn the_warm_up_of_a_field_is_one_of_three_words() {
    let warmed = |value: &str| {
        let setting = ("warmup".to_owned(), value.to_owned());
        move |request: &mut SchemaRequest| request.fields[1].type_params.push(setting)
    };
    for good in ["sync", "async", "disable"] {
        let mut request = self::good();
        warmed(good)(&mut request);
        assert!(check_schema(&request).is_ok(), "{good}");
    }
    for bad in ["", "Sync", "true"] {
        let text = format!(
            "invalid warmup policy: {bad}, must be one of sync, async and disable: invalid parameter"
        );
        assert_eq!(refusal(warmed(bad)), (1100, text));
    }
}

#[test]
fn fields_are_numbered_in_order_and_the_hidden_one_comes_last() {
    let mut request = good();
    request.fields[2].default = Some(DefaultRequest::Text("x".to_owned()));
    let schema = check_schema(&request).expect("the schema is good");

    let fields: Vec<_> =
        schema.fields.iter().map(|field| (field.id, field.name.as_str(), field.data_type)).collect();
    assert_eq!(
        fields,
        [
            (FieldId(100), "id", DataType::Int64),
            (FieldId(101), "v", DataType::FloatVector),
            (FieldId(102), "s", DataType::VarChar),
            (FieldId(103), "j", DataType::Json),
            (FieldId(104), "$meta", DataType::Json),
        ]
    );
    assert_eq!(schema.field("s").and_then(|field| field.default.clone()), Some(Value::Text("x".to_owned())));
    assert!(schema.dynamic().is_some());
}

/// Makes the last field an array of that type.
fn array(request: &mut SchemaRequest, element: i32) {
    (request.fields[3].data_type, request.fields[3].element_type) = (22, element);
}

fn bounded(request: &mut SchemaRequest, element: i32, capacity: &str) {
    array(request, element);
    request.fields[3].type_params.push(("max_capacity".to_owned(), capacity.to_owned()));
}

#[test]
fn vectors_of_every_width_have_a_dimension() {
    let types = [101, 102, 103, 105].map(|number| {
        let mut request = good();
        request.fields.push(FieldRequest { data_type: number, ..field("w", 101) });
        let schema = check_schema(&request).expect("the schema is good");
        let without = {
            request.fields[4].type_params.clear();
            check_schema(&request).expect_err("it has no dimension").to_string()
        };
        assert!(without.starts_with("dimension is not defined in field type params of field w"), "{without}");
        schema.field("w").map(|field| (field.data_type, field.dim()))
    });
    assert_eq!(
        types,
        [DataType::FloatVector, DataType::Float16Vector, DataType::BFloat16Vector, DataType::Int8Vector]
            .map(|data_type| Some((data_type, 8)))
    );
}

#[test]
fn binary_vectors_have_whole_bytes_and_sparse_ones_no_dimension() {
    let check = |number: i32, dim: Option<&str>| {
        let mut request = good();
        let params = dim.map(|dim| ("dim".to_owned(), dim.to_owned())).into_iter().collect();
        request.fields.push(FieldRequest { data_type: number, type_params: params, ..field("w", 101) });
        check_schema(&request)
            .map(|schema| schema.field("w").map(|field| (field.data_type, field.dim())))
            .map_err(|error| (error.milvus_code(), error.to_string()))
    };
    let refused = |text: &str| Err((1100, text.to_owned()));

    assert_eq!(check(100, Some("8")), Ok(Some((DataType::BinaryVector, 8))));
    assert_eq!(check(100, Some("262144")), Ok(Some((DataType::BinaryVector, 262_144))));
    assert_eq!(check(104, None), Ok(Some((DataType::SparseFloatVector, 0))));
    let range = "binary vector dimension should be in range 8 ~ 262144";
    assert_eq!(
        check(100, Some("262152")),
        refused(&format!("invalid dimension: 262152 of field w. {range}"))
    );
    assert_eq!(check(100, Some("0")), refused(&format!("invalid dimension: 0 of field w. {range}")));
    // Whole bytes are looked for first.
    for dim in ["9", "2", "262145"] {
        let text =
            format!("invalid dimension: {dim} of field w. binary vector dimension should be multiple of 8.");
        assert_eq!(check(100, Some(dim)), refused(&text));
    }
    assert_eq!(
        check(100, None),
        refused(
            "dimension is not defined in field type params of field w, check type param `dim` for vector field"
        )
    );
    assert_eq!(check(104, Some("8")), refused("dim should not be specified for sparse vector field w(104)"));
}

#[test]
fn a_long_text_needs_no_length_and_may_have_a_default() {
    let check = |default: &str, params: &[(&str, &str)]| -> Result<_, (i32, String)> {
        let mut request = good();
        request.fields.push(FieldRequest {
            nullable: true,
            default: Some(DefaultRequest::Text(default.to_owned())),
            type_params: params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..field("t", 25)
        });
        let schema = check_schema(&request).map_err(|error| (error.milvus_code(), error.to_string()))?;
        Ok(schema.field("t").map(|field| (field.data_type, field.max_length(), field.default.clone())))
    };

    let whole = Some((DataType::Text, 2 << 20, Some(Value::Text("x".to_owned()))));
    assert_eq!(check("x", &[]), Ok(whole.clone()));
    assert_eq!(
        check("x", &[("max_length", "1"), ("enable_analyzer", "true"), ("enable_match", "true")]),
        Ok(whole)
    );
    let refused = check(&"x".repeat(65_536), &[]);
    let text = "the length (65536) of string exceeds max length (65535)";
    assert!(refused.unwrap_err().1.starts_with(text));
}

#[test]
fn arrays_are_of_every_scalar_type_but_json() {
    let elements = [1, 2, 3, 4, 5, 10, 11, 21].map(|element| {
        let mut request = good();
        bounded(&mut request, element, "7");
        request.fields[3].type_params.push(("max_length".to_owned(), "5".to_owned()));
        let schema = check_schema(&request).expect("the schema is good");
        schema.field("j").map(|field| (field.data_type, field.max_capacity()))
    });
    assert_eq!(elements, ElementType::ALL.map(|element| Some((DataType::Array(element), 7))));
}

#[test]
fn refusals_speak_as_milvus_does() {
    type Change = fn(&mut SchemaRequest);
    let cases: &[(Change, i32, &str)] = &[
        (
            |all| {
                all.functions =
                    vec![FunctionRequest { name: "f".to_owned(), kind: 3, ..FunctionRequest::default() }];
            },
            1100,
            "functions of type Rerank are not built yet, only BM25, TextEmbedding and MinHash are",
        ),
        (
            |all| all.fields.extend((0..61).map(|at| field(&format!("f{at}"), 5))),
            1100,
            "maximum field's number should be limited to 64",
        ),
        (
            |all| all.fields.extend((0..10).map(|at| field(&format!("v{at}"), 101))),
            1100,
            "maximum vector field's number should be limited to 10",
        ),
        (|all| _ = all.fields.remove(1), 1100, "schema does not contain vector field: invalid parameter"),
        (
            |all| all.name = "1".to_owned(),
            1100,
            "Invalid collection name: 1. the first character of a collection name must be an underscore or letter: invalid parameter",
        ),
        (
            |all| all.fields[2].name = "a b".to_owned(),
            1701,
            "Invalid field name: a b. Field name can only contain numbers, letters and underscores.: field name invalid[field=a b]",
        ),
        (
            |all| all.fields[2].name = "RowID".to_owned(),
            1701,
            "Invalid field name: RowID. The name is reserved for the system.: field name invalid[field=RowID]",
        ),
        (|all| all.fields[0].is_primary = false, 1100, "primary key is not specified"),
        (
            |all| all.fields[2].is_primary = true,
            1100,
            "there are more than one primary key, field name = id, s",
        ),
        (|all| all.fields[0].data_type = 4, 1100, "the data type of primary key should be Int64 or VarChar"),
        (|all| all.fields[0].nullable = true, 1100, "primary field not support null"),
        (
            |all| all.fields[0].default = Some(DefaultRequest::Long(1)),
            1100,
            "primary field not support default_value",
        ),
        (|all| all.fields[3].is_dynamic = true, 1100, "cannot explicitly set a field as a dynamic field"),
        (
            |all| all.fields[2].auto_id = true,
            1100,
            "only primary field can speficy AutoID with true, field name = s",
        ),
        (|all| all.fields[3].data_type = 0, 1100, "data type None is not valid"),
        (
            |all| all.fields[3].data_type = 20,
            1100,
            "string data type not supported yet, please use VarChar type instead",
        ),
        (|all| all.fields[3].data_type = 200, 1100, "data type ArrayOfStruct is not supported"),
        (|all| all.fields[3].data_type = 22, 1100, "element data type None is not valid"),
        (|all| array(all, 22), 1100, "element type Array is not supported"),
        (|all| array(all, 23), 1100, "element type JSON is not supported"),
        (|all| array(all, 25), 1100, "element type Text is not supported"),
        (|all| array(all, 101), 1100, "element type FloatVector is not supported"),
        (|all| array(all, 77), 1100, "element data type 77 is not valid"),
        (|all| array(all, 20), 1100, "string data type not supported yet, please use VarChar type instead"),
        (
            |all| array(all, 5),
            1100,
            "type param(max_capacity) should be specified for array field j of collection c",
        ),
        (
            |all| bounded(all, 5, "4097"),
            1100,
            "the maximum capacity specified for a Array should be in (0, 4096]",
        ),
        (
            |all| bounded(all, 5, "0"),
            1100,
            "the maximum capacity specified for a Array should be in (0, 4096]",
        ),
        (|all| bounded(all, 5, "many"), 1100, "the value for max_capacity of field j must be an integer"),
        (
            |all| bounded(all, 21, "4"),
            1100,
            "type param(max_length) should be specified for the field(j) of collection c",
        ),
        (
            |all| {
                bounded(all, 5, "4");
                all.fields[3].default = Some(DefaultRequest::Long(1));
            },
            1100,
            "type not support default_value, type:Array, name:j",
        ),
        (
            |all| all.fields[1].type_params.clear(),
            1100,
            "dimension is not defined in field type params of field v, check type param `dim` for vector field",
        ),
        (
            |all| all.fields[1].type_params[0].1 = "1".to_owned(),
            1100,
            "invalid dimension: 1. should be in range 2 ~ 32768",
        ),
        (
            |all| all.fields[1].type_params[0].1 = "32769".to_owned(),
            1100,
            "invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768",
        ),
        (
            |all| all.fields[2].type_params.clear(),
            1100,
            "type param(max_length) should be specified for the field(s) of collection c",
        ),
        (
            |all| all.fields[2].type_params[0].1 = "65536".to_owned(),
            1100,
            "the maximum length specified for the field(s) should be in (0, 65535], but got 65536 instead: invalid parameter",
        ),
        (
            |all| all.fields[3].default = Some(DefaultRequest::Text(String::new())),
            1100,
            "type not support default_value, type:JSON, name:j",
        ),
        (
            |all| all.fields[2].default = Some(DefaultRequest::Long(1)),
            1100,
            "type (VarChar) of field (s) is not equal to the type(DataType_Int64) of default_value",
        ),
        (
            |all| all.fields[2].default = Some(DefaultRequest::Text("x".repeat(11))),
            1100,
            "the length (11) of string exceeds max length (10): invalid parameter[expected=valid length string][actual=string length exceeds max length]",
        ),
        (
            |all| all.fields[0].is_partition_key = true,
            1100,
            "the partition key field must not be primary field",
        ),
        (
            |all| (all.fields[2].is_partition_key, all.fields[2].nullable) = (true, true),
            1100,
            "partition key field not support nullable: invalid parameter",
        ),
        (
            |all| all.fields[3].is_partition_key = true,
            1100,
            "the data type of partition key should be Int64 or VarChar",
        ),
        (|all| all.fields[1].is_clustering_key = true, 107, "vector clustering key not allowed[field=v]"),
        (
            |all| (all.fields[0].is_clustering_key, all.fields[2].is_clustering_key) = (true, true),
            1100,
            "there are more than one clustering key, field name = id, s",
        ),
        (|all| all.fields[3].name = "s".to_owned(), 1100, "duplicated field name s"),
        (
            |all| all.fields[2].type_params.push(("mmap.enabled".to_owned(), "x".to_owned())),
            1100,
            "invalid mmap.enabled value: x, expected: true, false",
        ),
    ];
    for (change, code, text) in cases {
        assert_eq!(refusal(change), (*code, (*text).to_owned()));
    }
}

#[test]
fn a_field_that_is_added_is_checked_in_milvus_words() {
    let nullable =
        FieldRequest { name: "f".to_owned(), data_type: 5, nullable: true, ..FieldRequest::default() };
    let check = |request: FieldRequest| check_added_field(&request, "c").map_err(|error| error.to_string());
    let cases = [
        (
            FieldRequest { nullable: false, ..nullable.clone() },
            "added field must be nullable, please check it, field name = f",
        ),
        (
            FieldRequest { is_primary: true, ..nullable.clone() },
            "not support to add pk field, field name = f",
        ),
        (
            FieldRequest { is_partition_key: true, ..nullable.clone() },
            "not support to add partition key field, field name  = f",
        ),
        (
            FieldRequest { auto_id: true, ..nullable.clone() },
            "only primary field can speficy AutoID with true, field name = f",
        ),
        (
            FieldRequest { nullable: false, data_type: 101, ..nullable.clone() },
            "not support to add vector field, field name = f, added field must be nullable",
        ),
        (
            FieldRequest { data_type: 21, ..nullable.clone() },
            "type param(max_length) should be specified for the field(f) of collection c",
        ),
        (
            FieldRequest {
                type_params: vec![("mmap.enabled".to_owned(), "x".to_owned())],
                ..nullable.clone()
            },
            "invalid mmap.enabled value: x, expected: true, false",
        ),
    ];
    for (request, text) in cases {
        assert_eq!(check(request), Err(text.to_owned()));
    }

    let mut schema = schema_of(Vec::new());
    for number in 0..MAX_FIELDS {
        let name = format!("f{number}");
        let field = check_added_field(&FieldRequest { name, ..nullable.clone() }, "c").unwrap();
        schema = add_field(&schema, field).unwrap();
    }
    let again = check_added_field(&nullable, "c").unwrap();
    assert_eq!(
        add_field(&schema, again).unwrap_err().to_string(),
        "The number of fields has reached the maximum value 64"
    );
    let ids: Vec<i64> = schema.fields.iter().map(|field| field.id.0).collect();
    assert_eq!(ids, (100..164).collect::<Vec<_>>());
}
