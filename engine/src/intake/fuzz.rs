//! Fuzz target of rows that clients send.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use contract::pb::milvus::InsertRequest;
use contract::pb::schema::FieldData;
use prost::Message as _;

use super::rows::{KeyColumn, Outputs, sent};
use super::{check_rows, functions, json_rows, sparse};
use crate::calendar::TimeZone;
use crate::model::fuzz::{chosen, fixture, tagged};
use crate::model::wire::{decode_rows, encode_rows};
use crate::model::{Batch, Column, ColumnData};

/// Most rows of an input: more only takes longer.
const MAX_ROWS: u32 = 4_096;

/// Any bytes are no request, or one whose columns are refused or become whole rows; any text is refused as rows in JSON, or becomes
/// columns.
pub fn rows(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 3 {
        0 => columns(data),
        1 => json(data, json_rows::Rows::Whole),
        _ => json(data, json_rows::Rows::Partial),
    }
}

fn columns(data: &[u8]) {
    drop(sparse::vector(data));
    let Ok(request) = InsertRequest::decode(data) else { return };
    take_in(request.fields_data, request.num_rows);
}

fn json(data: &[u8], kind: json_rows::Rows) {
    let (schema, _) = fixture();
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((rows, fields)) = json_rows::columns(schema, text, kind) else { return };
    // Parts of rows go on only with what is stored of them.
    if kind == json_rows::Rows::Whole {
        take_in(fields, rows);
    }
}

fn take_in(fields: Vec<FieldData>, rows: u32) {
    let (schema, _) = fixture();
    if rows > MAX_ROWS {
        return;
    }
    let how = (KeyColumn::Required, Outputs::Computed);
    let Ok(sent) = sent(schema, &TimeZone::default(), (fields, rows), how) else { return };
    let Ok(mut batch) = sent.whole(schema) else { return };
    assert_eq!(batch.rows, rows as usize);
    check_shape(&batch);
    if check_rows(schema, &batch).is_err() {
        return;
    }
    if functions::compute(schema, &mut batch).is_ok() {
        let written = encode_rows(&batch);
        let again = decode_rows(&written).unwrap_or_else(|error| panic!("what is written is read: {error}"));
        check_shape(&again);
        assert_eq!(encode_rows(&again), written);
    }
}

/// Every column has a value for each row.
fn check_shape(batch: &Batch) {
    let (schema, _) = fixture();
    for (Column { field, data, .. }, of) in batch.columns.iter().zip(&schema.fields) {
        assert_eq!((*field, data.len()), (of.id, batch.rows), "{}", of.name);
        if let ColumnData::FloatVector { dim, values } = data {
            assert_eq!((*dim, values.len()), (of.dim(), batch.rows * of.dim()));
        }
    }
}

/// Rows in JSON: one with all there is, one with little.
const ROW: &str = r#"{"id":1,"b":true,"i8":-1,"i16":2,"i32":3,"i64":4,"f":0.5,"d":1e3,"s":"t","j":{"k":[1]},"g":"POINT (1 2)","ts":"2024-01-01T00:00:00Z","ai":[1],"at":["x"],"ab":[true],"v":[0,1],"h":[0.5,2],"bits":[1,255],"pairs":{"1":0.5},"clips":[{"n":1,"e":[0,1]}],"more":null}"#;
const SHORT: &str =
    r#"{"id":"2","v":[0,1],"h":[0.5,2],"bits":[1,255],"pairs":{"indices":[1],"values":[2]},"x":{"y":1.0}}"#;

/// Inputs for [`rows`] to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let (schema, _) = fixture();
    let whole = [format!("[{ROW},{ROW}]"), ROW.to_owned(), format!("[{SHORT}]")];
    let requests = whole.iter().filter_map(|text| {
        let (num_rows, fields_data) = json_rows::columns(schema, text, json_rows::Rows::Whole).ok()?;
        Some(InsertRequest { collection_name: "c".to_owned(), fields_data, num_rows, ..Default::default() })
    });
    let mut sent: Vec<Vec<u8>> = requests.map(|request| request.encode_to_vec()).collect();
    sent.push([[1, 0, 0, 0], 0.5_f32.to_le_bytes()].concat());
    let some = [r#"[{"id":1,"s":"x"},{"id":2,"s":null}]"#, r#"{"id":1,"ai":[]}"#];
    [
        tagged(b'0', sent),
        tagged(b'1', whole.map(String::into_bytes).to_vec()),
        tagged(b'2', some.map(|text| text.as_bytes().to_vec()).to_vec()),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_to_begin_with_are_taken_in() {
        let (schema, _) = fixture();
        for text in [ROW, SHORT] {
            let (rows, fields) = json_rows::columns(schema, text, json_rows::Rows::Whole).unwrap();
            let how = (KeyColumn::Required, Outputs::Computed);
            let batch =
                sent(schema, &TimeZone::default(), (fields, rows), how).unwrap().whole(schema).unwrap();

            assert_eq!(check_rows(schema, &batch).map_err(|error| error.to_string()), Ok(()));
        }
    }
}
