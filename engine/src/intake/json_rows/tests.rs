//! Claims about rows of JSON, over a schema with a field of each kind.

use super::*;
use crate::base::FieldId;

fn field(id: i64, name: &str, data_type: DataType) -> Field {
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: id == 100,
        auto_id: false,
        is_dynamic: name == DYNAMIC_FIELD,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: Vec::new(),
    }
}

fn schema(fields: Vec<Field>) -> Schema {
    let enable_dynamic_field = fields.iter().any(|field| field.is_dynamic);
    Schema {
        description: String::new(),
        fields,
        enable_dynamic_field,
        functions: Vec::new(),
        structs: Vec::new(),
        youngest_dropped: None,
    }
}

/// The payloads of the columns that rows make, by name.
fn made(
    schema: &Schema,
    text: &str,
    kind: Rows,
) -> Result<Vec<(String, field_data::Field, Vec<bool>)>, String> {
    let (_, columns) = columns(schema, text, kind).map_err(|error| error.to_string())?;
    Ok(columns.into_iter().map(|one| (one.field_name, one.field.unwrap(), one.valid_data)).collect())
}

/// One field beside the key, and the value that a row has for it: what comes of it, or what is said about it.
fn one(data_type: DataType, params: &[(&str, &str)], value: &str) -> Result<field_data::Field, String> {
    let type_params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let schema =
        schema(vec![field(100, "id", DataType::Int64), Field { type_params, ..field(101, "f", data_type) }]);
    made(&schema, &format!(r#"{{"id": 1, "f": {value}}}"#), Rows::Whole)
        .map(|mut columns| columns.remove(1).1)
}

fn ints(data: &[i32]) -> field_data::Field {
    scalars(scalar_field::Data::IntData(IntArray { data: data.to_vec() }))
}

fn longs(data: &[i64]) -> field_data::Field {
    scalars(scalar_field::Data::LongData(LongArray { data: data.to_vec() }))
}

fn texts(data: &[&str]) -> field_data::Field {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalars(scalar_field::Data::StringData(StringArray { data }))
}

fn jsons(data: &[&str]) -> field_data::Field {
    let data = data.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    scalars(scalar_field::Data::JsonData(JsonArray { data }))
}

#[test]
fn a_scalar_is_taken_exactly_as_it_is_written() {
    use scalar_field::Data;
    let truth = |value| scalars(Data::BoolData(BoolArray { data: vec![value] }));
    let double = |value| scalars(Data::DoubleData(DoubleArray { data: vec![value] }));
    let cases = [
        (DataType::Bool, "true", truth(true)),
        (DataType::Bool, r#""false""#, truth(false)),
        (DataType::Bool, "1", truth(true)),
        (DataType::Int8, "-128", ints(&[-128])),
        (DataType::Int16, r#""32767""#, ints(&[32_767])),
        (DataType::Int32, "1e3", ints(&[1000])),
        (DataType::Int64, "9007199254740993.0", longs(&[9_007_199_254_740_993])),
        (DataType::Int64, r#""9223372036854775807""#, longs(&[i64::MAX])),
        (DataType::Float, "1.5", scalars(Data::FloatData(FloatArray { data: vec![1.5] }))),
        (DataType::Double, "2", double(2.0)),
        (DataType::VarChar, r#""a\"b""#, texts(&["a\"b"])),
        (DataType::VarChar, "1.50", texts(&["1.50"])),
        (DataType::VarChar, "1e300", texts(&["1e300"])),
        (
            DataType::Json,
            r#"{"b": 9007199254740993, "a": [1.50, null]}"#,
            jsons(&[r#"{"b":9007199254740993,"a":[1.50,null]}"#]),
        ),
        (DataType::Json, r#""hello""#, jsons(&[r#""hello""#])),
    ];
    for (data_type, value, expected) in cases {
        assert_eq!(one(data_type, &[], value), Ok(expected), "{value}");
    }
}

#[test]
fn a_value_of_another_type_or_beyond_the_range_is_refused_and_not_repeated_whole() {
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    let array = DataType::Array(ElementType::Bool);
    let cases = [
        (DataType::Bool, "2"),
        (DataType::Int8, "128"),
        (DataType::Int16, "-32769"),
        (DataType::Int32, "2147483648"),
        (DataType::Int64, "9223372036854775808"),
        (DataType::Int64, "1.5"),
        (DataType::Int64, "true"),
        (DataType::Int64, &long),
        (DataType::Float, "3.5e38"),
        (DataType::Double, "1e400"),
        (DataType::VarChar, r#"{"a": 1}"#),
        (DataType::VarChar, "true"),
        (DataType::VarChar, "null"),
        (array, "[true, null]"),
        (array, "true"),
        (DataType::FloatVector, r#""[0.1, 0.2]""#),
        (DataType::Int8Vector, r#""AQ==""#),
        (DataType::Float16Vector, r#""AQ==""#),
        (DataType::BinaryVector, "[256]"),
        (DataType::SparseFloatVector, "[1]"),
        (DataType::FloatVector, "null"),
    ];
    for (data_type, value) in cases {
        let said = one(data_type, &[("dim", "8")], value).unwrap_err();
        let begins = "fail to deal the insert data, error: cannot use ";
        assert!(said.starts_with(begins) && said.len() < 200, "{value}: {said}");
    }
    assert_eq!(
        one(DataType::Int8, &[], "300").unwrap_err(),
        "fail to deal the insert data, error: cannot use 300 as Int8 for field f, row 0"
    );
}

#[test]
fn vectors_come_in_every_form() {
    use vector_field::Data;
    let vector = |dim, data| {
        Ok(field_data::Field::Vectors(VectorField { dim, data: Some(data), ..Default::default() }))
    };
    let singles = |data: &[f32]| Data::FloatVector(FloatArray { data: data.to_vec() });
    let bits = |data: &'static [u8]| Data::BinaryVector(Bytes::from_static(data));
    let sparse = SparseFloatArray { contents: vec![vec![1, 0, 0, 0, 0, 0, 0, 0x3f]], dim: 0 };
    let two = [("dim", "2")];
    let sixteen = [("dim", "16")];

    assert_eq!(one(DataType::FloatVector, &two, "[1, 0.5]"), vector(2, singles(&[1.0, 0.5])));
    assert_eq!(one(DataType::Float16Vector, &two, "[1, 0.5]"), vector(2, singles(&[1.0, 0.5])));
    // 0x3c00 is 1 and 0x3800 a half.
    assert_eq!(one(DataType::Float16Vector, &two, r#""ADwAOA==""#), vector(2, singles(&[1.0, 0.5])));
    assert_eq!(one(DataType::Int8Vector, &two, "[-128, 127]"), vector(2, singles(&[-128.0, 127.0])));
    assert_eq!(one(DataType::BinaryVector, &sixteen, r#""AQI=""#), vector(16, bits(&[1, 2])));
    assert_eq!(one(DataType::BinaryVector, &sixteen, "[1, 2]"), vector(16, bits(&[1, 2])));
    assert_eq!(
        one(DataType::SparseFloatVector, &[], r#"{"1": 0.5}"#),
        vector(0, Data::SparseFloatVector(sparse))
    );
    assert_eq!(
        one(DataType::FloatVector, &two, "[1]").unwrap_err(),
        "the dim (1) of field data(f) is not equal to schema dim (2): invalid parameter[expected=2][actual=1]"
    );
}

#[test]
fn arrays_have_elements_of_their_type() {
    let rows = one(DataType::Array(ElementType::Int8), &[], r#"[1, "2", 3.0]"#);

    let row = ScalarField {
        data: Some(scalar_field::Data::IntData(IntArray { data: vec![1, 2, 3] })),
        ..Default::default()
    };
    let array = ArrayArray { data: vec![row], element_type: 2 };
    assert_eq!(rows, Ok(scalars(scalar_field::Data::ArrayData(array))));
    assert!(one(DataType::Array(ElementType::Int8), &[], "[128]").is_err());
}

/// A key, a number that may be null, a text that must be there, and dynamic keys.
fn open() -> Schema {
    schema(vec![
        field(100, "id", DataType::Int64),
        Field { nullable: true, ..field(101, "n", DataType::Int32) },
        field(102, "t", DataType::VarChar),
        field(103, DYNAMIC_FIELD, DataType::Json),
    ])
}

#[test]
fn rows_lack_what_may_be_null_and_bring_what_no_field_names() {
    let text = r#"[{"id": 1, "t": "a", "k": {"x": [1, 2]}}, {"t": "b", "n": 5, "id": 2}, {"id": 3, "n": null, "t": "c"}]"#;

    let columns = made(&open(), text, Rows::Whole);

    let column = |name: &str, data, valid: &[bool]| (name.to_owned(), data, valid.to_vec());
    assert_eq!(
        columns,
        Ok(vec![
            column("id", longs(&[1, 2, 3]), &[]),
            column("n", ints(&[5]), &[false, true, false]),
            column("t", texts(&["a", "b", "c"]), &[]),
            column(DYNAMIC_FIELD, jsons(&[r#"{"k":{"x":[1,2]}}"#, "{}", "{}"]), &[]),
        ])
    );
}

#[test]
fn a_partial_row_has_what_changes_and_all_rows_have_the_same() {
    let columns = made(&open(), r#"[{"id": 1, "t": "a"}, {"id": 2, "t": "b"}]"#, Rows::Partial).unwrap();

    assert_eq!(columns.iter().map(|column| column.0.as_str()).collect::<Vec<_>>(), ["id", "t"]);
    assert_eq!(
        made(&open(), r#"[{"id": 1, "n": 1}, {"id": 2}]"#, Rows::Partial).unwrap_err(),
        "fail to deal the insert data, error: field n is given in some rows of a partial update only"
    );
}

#[test]
fn what_is_no_row_is_refused() {
    let closed = schema(open().fields[..3].to_vec());
    let said = |schema: &Schema, text: &str| made(schema, text, Rows::Whole).unwrap_err();
    let begins = "fail to deal the insert data, error: ";

    assert_eq!(
        said(&open(), r#"[{"id": 1, "t": "a"}, {"id": 2}]"#),
        format!("{begins}row 1 has no value for field t")
    );
    assert_eq!(
        said(&closed, r#"{"id": 1, "t": "a", "k": 1}"#),
        format!("{begins}row 0 has pass more field without dynamic schema, please check it: k")
    );
    assert_eq!(said(&open(), r#"{"id": 1, "id": 2}"#), format!("{begins}row 0 has the key id twice"));
    for text in ["1", "[1]", "[[]]", "\"a\""] {
        assert!(said(&open(), text).contains("expected an object"), "{text}");
    }
    assert_eq!(made(&open(), "[]", Rows::Whole), Ok(Vec::new()));
}

#[test]
fn an_array_of_structs_is_a_list_of_objects() {
    let part = |id, name: &str, data_type| Field {
        nullable: true,
        type_params: vec![("dim".to_owned(), "2".to_owned())],
        ..field(id, name, data_type)
    };
    let mut schema = schema(vec![
        field(100, "id", DataType::Int64),
        part(102, "s[n]", DataType::Array(ElementType::Int8)),
        part(103, "s[v]", DataType::ArrayOfVector(crate::model::VectorElement::Float)),
    ]);
    schema.structs = vec![StructField {
        id: FieldId(101),
        name: "s".to_owned(),
        description: String::new(),
        nullable: true,
        parts: vec![FieldId(102), FieldId(103)],
        type_params: Vec::new(),
    }];

    let text = r#"[{"id": 1, "s": [{"n": 1, "v": [0.5, 1]}, {"v": [2, 3], "n": 2}]}, {"id": 2, "s": []}, {"id": 3, "s": null}]"#;
    let made_of = made(&schema, text, Rows::Whole).unwrap();

    let numbers = |data: &[i32]| ScalarField {
        data: Some(scalar_field::Data::IntData(IntArray { data: data.to_vec() })),
        ..Default::default()
    };
    let row = |data: &[f32]| VectorField {
        dim: 2,
        data: Some(vector_field::Data::FloatVector(FloatArray { data: data.to_vec() })),
        ..Default::default()
    };
    let all = VectorArray { dim: 2, data: vec![row(&[0.5, 1.0, 2.0, 3.0]), row(&[])], element_type: 101 };
    let all = Some(vector_field::Data::VectorArray(all));
    let arrays = ArrayArray { data: vec![numbers(&[1, 2]), numbers(&[])], element_type: 2 };
    let there = vec![true, true, false];
    assert_eq!(
        made_of[1..],
        [
            ("s[n]".to_owned(), scalars(scalar_field::Data::ArrayData(arrays)), there.clone()),
            (
                "s[v]".to_owned(),
                field_data::Field::Vectors(VectorField { dim: 2, data: all, ..Default::default() }),
                there
            ),
        ]
    );
    for (structs, part) in [
        (r#"[{"n": 1}]"#, "element 0 has no v"),
        (r#"[{"n": 1, "v": [1, 2], "x": 1}]"#, "it has no sub-field x"),
        (r#"[{"n": 1, "v": [1, 2], "n": 2}]"#, "element 0 has n twice"),
        (r#"{"n": 1, "v": [1, 2]}"#, "an array of structs is a list of objects"),
        (r#"[{"n": 300, "v": [1, 2]}]"#, "s[n]"),
        (r#"[{"n": null, "v": [1, 2]}]"#, "s[n]"),
        (r#"[{"n": 1, "v": [1, 2, 3]}]"#, "dim"),
    ] {
        let said = made(&schema, &format!(r#"{{"id": 1, "s": {structs}}}"#), Rows::Whole).unwrap_err();
        assert!(said.contains(part), "{said}");
    }
}
