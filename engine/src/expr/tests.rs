//! Tests of the whole room: tables of texts, and random expressions against a naive evaluator.

mod indexed;
mod naive;
mod random;
mod structs;
mod table;
mod texts;
mod times_and_shapes;

use crate::base::FieldId;
use crate::expr::{Filter, Literal, Templates, parse};
use crate::model::fixture::schema_of;
use crate::model::{Batch, Bitset, Column, ColumnData, DataType, ElementType, Field, Schema, Value};

/// A field of a test schema.
fn field(id: i64, name: &str, data_type: DataType, nullable: bool) -> Field {
    let type_params = match data_type {
        DataType::FloatVector => vec![("dim".to_owned(), "2".to_owned())],
        DataType::VarChar => vec![("max_length".to_owned(), "100".to_owned())],
        _ => Vec::new(),
    };
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: name == "id",
        auto_id: false,
        is_dynamic: name == "$meta",
        nullable,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params,
    }
}

/// One field of each type, nullable twins of some, and a dynamic field.
fn schema() -> Schema {
    let fields = [
        ("id", DataType::Int64, false),
        ("b", DataType::Bool, true),
        ("i8", DataType::Int8, false),
        ("i16", DataType::Int16, false),
        ("i32", DataType::Int32, true),
        ("i64", DataType::Int64, true),
        ("f", DataType::Float, true),
        ("d", DataType::Double, true),
        ("s", DataType::VarChar, true),
        ("t", DataType::VarChar, false),
        ("j", DataType::Json, true),
        ("v", DataType::FloatVector, false),
        ("ab", DataType::Array(ElementType::Bool), true),
        ("ai", DataType::Array(ElementType::Int64), true),
        ("as", DataType::Array(ElementType::Int8), false),
        ("af", DataType::Array(ElementType::Float), true),
        ("ad", DataType::Array(ElementType::Double), false),
        ("at", DataType::Array(ElementType::VarChar), true),
        ("$meta", DataType::Json, false),
    ];
    Schema {
        enable_dynamic_field: true,
        ..schema_of(
            (100..)
                .zip(fields)
                .map(|(id, (name, data_type, nullable))| field(id, name, data_type, nullable))
                .collect(),
        )
    }
}

/// The schema without `$meta`.
fn closed_schema() -> Schema {
    let mut schema = schema();
    schema.fields.pop();
    schema.enable_dynamic_field = false;
    schema
}

/// Rows of `schema` from values in field order.
fn batch(schema: &Schema, rows: &[Vec<Value>]) -> Batch {
    let columns = schema.fields.iter().enumerate().map(|(at, field)| {
        let mut data = ColumnData::empty(field);
        for row in rows {
            data.push(&row[at]).expect("the value is of the field's type");
        }
        let valid = Bitset::from_fn(rows.len(), |row| rows[row][at] != Value::Null);
        Column { field: field.id, data, valid: (valid.count() < rows.len()).then_some(valid) }
    });
    Batch { rows: rows.len(), columns: columns.collect() }
}

fn filter(text: &str) -> Filter {
    parse(text, &schema(), &Templates::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn templates() -> Templates {
    [
        ("number", Literal::Int(5)),
        ("list", Literal::List(vec![Literal::Int(1), Literal::Int(5)])),
        ("text", Literal::Text("a%".to_owned())),
        ("half", Literal::Double(0.5)),
        ("nan", Literal::Double(f64::NAN)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
