//! What fuzz targets of several rooms are made of: a schema with a field of nearly every type, and rows of it.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use std::sync::LazyLock;

use super::check_schema::{FieldRequest, SchemaRequest, StructRequest, check_schema};
use super::{Batch, Bitset, Column, ColumnData, DataType, Field, Schema, SparseVector, Value};

/// Rows of [`fixture`].
const ROWS: usize = 7;
/// Every so many rows one lacks what may be lacking.
const GAP: usize = 5;

/// A schema, and rows of it. The same for every input, so it is made once.
pub fn fixture() -> &'static (Schema, Batch) {
    static FIXTURE: LazyLock<(Schema, Batch)> = LazyLock::new(|| {
        let schema = schema();
        let rows = rows(&schema);
        (schema, rows)
    });
    &FIXTURE
}

/// The first byte, which says what is done with the others.
pub fn chosen(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(choice, rest)| (*choice, rest))
}

/// Inputs with the choice before them.
pub fn tagged(choice: u8, seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    seeds.into_iter().map(|seed| [&[choice][..], &seed].concat()).collect()
}

fn field(name: &str, data_type: i32, params: &[(&str, &str)]) -> FieldRequest {
    let text_or_scalar = match name {
        "at" => 21,
        "ab" => 1,
        _ => 5,
    };
    FieldRequest {
        name: name.to_owned(),
        data_type,
        element_type: match data_type {
            22 => text_or_scalar,
            106 => 101,
            _ => 0,
        },
        is_primary: name == "id",
        nullable: name != "id" && data_type < 100,
        type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..FieldRequest::default()
    }
}

/// Numbers of types are those of Milvus's protocol.
fn schema() -> Schema {
    let text = [("max_length", "64"), ("enable_analyzer", "true"), ("enable_match", "true")];
    let fields = vec![
        field("id", 5, &[]),
        field("b", 1, &[]),
        field("i8", 2, &[]),
        field("i16", 3, &[]),
        field("i32", 4, &[]),
        field("i64", 5, &[]),
        field("f", 10, &[]),
        field("d", 11, &[]),
        field("s", 21, &text),
        field("j", 23, &[]),
        field("g", 24, &[]),
        field("ts", 26, &[]),
        field("ai", 22, &[("max_capacity", "9")]),
        field("at", 22, &[("max_length", "64"), ("max_capacity", "9")]),
        field("ab", 22, &[("max_capacity", "9")]),
        field("v", 101, &[("dim", "2")]),
        field("h", 102, &[("dim", "2")]),
        field("bits", 100, &[("dim", "16")]),
        field("pairs", 104, &[]),
        field("page", 25, &[]),
    ];
    let part = |request: FieldRequest| FieldRequest { nullable: false, ..request };
    let clips = StructRequest {
        name: "clips".to_owned(),
        nullable: true,
        parts: vec![
            part(field("n", 22, &[("max_capacity", "4")])),
            part(field("e", 106, &[("dim", "2"), ("max_capacity", "4")])),
        ],
        ..StructRequest::default()
    };
    let request = SchemaRequest {
        name: "c".to_owned(),
        fields,
        enable_dynamic_field: true,
        structs: vec![clips],
        ..SchemaRequest::default()
    };
    check_schema(&request).unwrap_or_else(|error| panic!("the fixture has a good schema: {error}"))
}

fn rows(schema: &Schema) -> Batch {
    let column = |field: &Field| {
        let mut data = ColumnData::empty(field);
        let is_there = |row: usize| !field.nullable || row % GAP != GAP - 1;
        for row in 0..ROWS {
            let value = if is_there(row) { value(field, row) } else { Value::Null };
            data.push(&value).unwrap_or_else(|error| panic!("a value is of its field's type: {error}"));
        }
        let valid = field.nullable.then(|| Bitset::from_fn(ROWS, is_there));
        Column { field: field.id, data, valid }
    };
    Batch { rows: ROWS, columns: schema.fields.iter().map(column).collect() }
}

fn value(field: &Field, row: usize) -> Value {
    let number = row as i64;
    match field.data_type {
        DataType::Bool => Value::Bool(row.is_multiple_of(2)),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Timestamptz => {
            Value::Int(number)
        }
        DataType::Float => Value::Float(row as f32 / 2.0),
        DataType::Double => Value::Double(row as f64 / 4.0),
        DataType::VarChar | DataType::Text => Value::Text(format!("word {row} a%b")),
        DataType::Json => {
            Value::Json(format!(r#"{{"k":{row},"s":"a{row}","l":[{row},"x",null],"o":{{"p":{row}.5}}}}"#))
        }
        DataType::Geometry => Value::Shape(
            crate::shape::parse(&format!("POINT ({row} 1)"))
                .unwrap_or_else(|error| panic!("a point: {error}")),
        ),
        DataType::Array(element) => {
            let scalar = Field { data_type: element.scalar(), ..field.clone() };
            Value::Array((0..row % 3).map(|at| value(&scalar, row + at)).collect())
        }
        DataType::ArrayOfVector(element) => {
            let vector = Field { data_type: element.vector(), ..field.clone() };
            Value::Array((0..row % 3).map(|at| value(&vector, row + at)).collect())
        }
        DataType::FloatVector | DataType::Float16Vector | DataType::BFloat16Vector | DataType::Int8Vector => {
            Value::Vector((0..field.dim()).map(|at| (row + at) as f32).collect())
        }
        DataType::BinaryVector => Value::Bits(vec![row as u8; field.dim() / 8]),
        DataType::SparseFloatVector => {
            Value::Sparse(SparseVector { indices: vec![1, 7 + row as u32], values: vec![0.5, 1.0] })
        }
    }
}
