//! Claims about structs as they come and go.

use contract::pb::schema::{
    ArrayArray, FloatArray, LongArray, ScalarField, StructArrayField, VectorArray, scalar_field,
};

use super::*;
use crate::calendar::TimeZone;
use crate::intake::rows::{KeyColumn, Outputs, sent};
use crate::model::check_schema::{FieldRequest, SchemaRequest, StructRequest, check_schema};
use crate::model::{Batch, DataType, Value};

/// A key, a vector, and a struct `s` of numbers `n` and vectors `v` of two components.
fn schema(nullable: bool) -> Schema {
    let params = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let field = |name: &str, data_type, element_type, pairs: &[(&str, &str)]| FieldRequest {
        name: name.to_owned(),
        data_type,
        element_type,
        type_params: params(pairs),
        ..FieldRequest::default()
    };
    let request = SchemaRequest {
        name: "c".to_owned(),
        fields: vec![
            FieldRequest { is_primary: true, ..field("id", 5, 0, &[]) },
            field("w", 101, 0, &[("dim", "2")]),
        ],
        structs: vec![StructRequest {
            name: "s".to_owned(),
            nullable,
            parts: vec![
                field("n", 22, 5, &[("max_capacity", "3")]),
                field("v", 106, 101, &[("max_capacity", "3"), ("dim", "2")]),
            ],
            ..StructRequest::default()
        }],
        ..SchemaRequest::default()
    };
    check_schema(&request).unwrap()
}

fn longs(rows: &[&[i64]], name: &str) -> FieldData {
    let row = |row: &&[i64]| ScalarField {
        data: Some(scalar_field::Data::LongData(LongArray { data: row.to_vec() })),
        ..Default::default()
    };
    let all = ArrayArray { data: rows.iter().map(row).collect(), element_type: WireType::Int64.into() };
    let data = Some(scalar_field::Data::ArrayData(all));
    FieldData {
        r#type: WireType::Array.into(),
        field_name: name.to_owned(),
        field: Some(field_data::Field::Scalars(ScalarField { data, ..Default::default() })),
        ..Default::default()
    }
}

fn vectors(rows: &[&[f32]], name: &str) -> FieldData {
    let row = |row: &&[f32]| VectorField {
        dim: 2,
        data: Some(vector_field::Data::FloatVector(FloatArray { data: row.to_vec() })),
        ..Default::default()
    };
    let all = VectorArray {
        dim: 2,
        data: rows.iter().map(row).collect(),
        element_type: WireType::FloatVector.into(),
    };
    let data = Some(vector_field::Data::VectorArray(all));
    FieldData {
        r#type: WireType::ArrayOfVector.into(),
        field_name: name.to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { dim: 2, data, ..Default::default() })),
        ..Default::default()
    }
}

fn of_parts(parts: Vec<FieldData>) -> FieldData {
    FieldData {
        r#type: WireType::ArrayOfStruct.into(),
        field_name: "s".to_owned(),
        field: Some(field_data::Field::StructArrays(StructArrayField { fields: parts })),
        ..Default::default()
    }
}

fn whole(schema: &Schema, rows: usize, of: Option<FieldData>) -> Result<Batch, String> {
    let ids = FieldData {
        r#type: WireType::Int64.into(),
        field_name: "id".to_owned(),
        field: Some(field_data::Field::Scalars(ScalarField {
            data: Some(scalar_field::Data::LongData(LongArray { data: (0..rows as i64).collect() })),
            ..Default::default()
        })),
        ..Default::default()
    };
    let data = Some(vector_field::Data::FloatVector(FloatArray { data: vec![0.0; rows * 2] }));
    let vector = FieldData {
        r#type: WireType::FloatVector.into(),
        field_name: "w".to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { dim: 2, data, ..Default::default() })),
        ..Default::default()
    };
    let fields = [ids, vector].into_iter().chain(of).collect();
    let keys = (KeyColumn::ByAutoId, Outputs::Computed);
    let sent = sent(schema, &TimeZone::default(), (fields, rows as u32), keys);
    let rows = sent.and_then(|sent| sent.whole(schema)).map_err(|error| error.to_string())?;
    crate::intake::check_rows(schema, &rows).map(|()| rows).map_err(|error| error.to_string())
}

#[test]
fn the_parts_of_a_struct_become_arrays_of_their_own() {
    let schema = schema(false);
    let names: Vec<(&str, DataType, i64)> =
        schema.fields.iter().map(|field| (field.name.as_str(), field.data_type, field.id.0)).collect();
    assert_eq!(names[2].0, "s[n]");
    assert_eq!((schema.structs[0].id.0, names[2].2, names[3].2), (102, 103, 104));

    let of = of_parts(vec![longs(&[&[1, 2], &[]], "n"), vectors(&[&[1.0, 2.0, 3.0, 4.0], &[]], "v")]);
    let rows = whole(&schema, 2, Some(of)).unwrap();

    let column = |name: &str| rows.column(schema.field(name).unwrap().id).unwrap();
    assert_eq!(column("s[n]").value(0), Value::Array(vec![Value::Int(1), Value::Int(2)]));
    let pair = vec![Value::Vector(vec![1.0, 2.0]), Value::Vector(vec![3.0, 4.0])];
    assert_eq!(column("s[v]").value(0), Value::Array(pair));
    assert_eq!(column("s[v]").value(1), Value::Array(Vec::new()));
}

#[test]
fn a_struct_that_may_be_missing_is_missing_in_all_parts() {
    let schema = schema(true);
    let some = |part: FieldData| FieldData { valid_data: vec![false, true], ..part };
    let of = of_parts(vec![some(longs(&[&[7]], "n")), some(vectors(&[&[1.0, 2.0]], "v"))]);

    for rows in [whole(&schema, 2, Some(of)).unwrap(), whole(&schema, 2, None).unwrap()] {
        let valid: Vec<Vec<bool>> =
            rows.columns[2..].iter().map(|column| vec![column.is_valid(0), column.is_valid(1)]).collect();
        assert_eq!(valid[0], valid[1]);
        assert!(!valid[0][0]);
    }
    let nothing = |name: &str, data_type: WireType| FieldData {
        r#type: data_type.into(),
        field_name: name.to_owned(),
        valid_data: vec![false, false],
        ..Default::default()
    };
    let of = of_parts(vec![nothing("n", WireType::Array), nothing("v", WireType::ArrayOfVector)]);
    assert!(whole(&schema, 2, Some(of)).is_ok(), "clients send no payload at all then");
    let torn = of_parts(vec![some(longs(&[&[7]], "n")), vectors(&[&[], &[1.0, 2.0]], "v")]);
    assert!(whole(&schema, 2, Some(torn)).unwrap_err().contains("null in some of its sub-fields only"));
}

#[test]
fn structs_that_do_not_fit_are_refused() {
    let schema = schema(false);
    let good = || vec![longs(&[&[1]], "n"), vectors(&[&[1.0, 2.0]], "v")];
    let cases = [
        (Some(of_parts(vec![longs(&[&[1]], "n")])), "has 2 sub-fields, but 1 were sent"),
        (Some(of_parts(vec![longs(&[&[1]], "n"), longs(&[&[1]], "x")])), "has no sub-field x"),
        (Some(longs(&[&[1]], "s")), "sent as something else"),
        (None, "fieldSchema(s) has no corresponding fieldData pass in"),
        (
            Some(of_parts(vec![longs(&[&[1, 2]], "n"), good().remove(1)])),
            "differ in length, row number: 0: v has 1 elements, n has 2",
        ),
        (
            Some(of_parts(vec![longs(&[&[1]], "n"), vectors(&[&[1.0, 2.0, 3.0]], "v")])),
            "should divide the dim(2)",
        ),
        (
            Some(of_parts(vec![longs(&[&[1, 2, 3, 4]], "n"), vectors(&[&[0.0; 8]], "v")])),
            "array length exceeds max capacity",
        ),
        (Some(of_parts(vec![longs(&[&[1]], "n"), vectors(&[&[f32::NAN, 0.0]], "v")])), "is not a number"),
    ];
    assert!(whole(&schema, 1, Some(of_parts(good()))).is_ok());
    for (of, part) in cases {
        let found = whole(&schema, 1, of).unwrap_err();
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn parts_are_put_into_their_structs_again() {
    let schema = schema(false);
    let id = longs(&[&[1]], "id");
    let (n, v) = (longs(&[&[1]], "s[n]"), vectors(&[&[1.0, 2.0]], "s[v]"));

    let folded = folded(&schema, vec![n.clone(), id.clone(), v.clone()]);

    let names: Vec<&str> = folded.iter().map(|data| data.field_name.as_str()).collect();
    assert_eq!(names, ["s", "id"]);
    assert_eq!((folded[0].r#type, folded[0].field_id), (WireType::ArrayOfStruct.into(), 102));
    assert_eq!(flattened(&schema, folded).unwrap(), [n, v, id]);
}
