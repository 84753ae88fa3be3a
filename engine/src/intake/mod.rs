//! Taking rows in: what a client sends, over a call or in a file, becomes whole, checked rows, with what functions compute of
//! them and where each one goes.
//!
//! Everything that makes rows goes through here, so that rows of an import are what the same rows of an insert are. Columns
//! come as the public protocol has them; only `model` values go on. No calls, no storage.

pub mod arrays;
mod error;
pub mod functions;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod json;
pub mod json_rows;
pub mod narrow;
pub mod route;
pub mod rows;
pub mod sparse;
pub mod structs;

use contract::pb::schema::DataType as WireType;

pub use error::Error;

use crate::calendar::TimeZone;
use crate::model::{Batch, DataType, Schema};

/// The property, and the parameter of a read, that names a time zone.
pub const TIMEZONE: &str = "timezone";

/// The zone of a collection or of a database.
#[must_use]
pub fn zone_of(properties: &[(String, String)]) -> TimeZone {
    let named = properties.iter().find(|(key, _)| key == TIMEZONE);
    // It was checked when it was set.
    named.and_then(|(_, name)| TimeZone::named(name).ok()).unwrap_or_default()
}

/// Checks rows, whatever they came in.
///
/// # Errors
/// Milvus's words for the first value that does not fit.
pub fn check_rows(schema: &Schema, rows: &Batch) -> Result<(), Error> {
    crate::model::check::check_batch(schema, rows)
        .map_err(|error| Error::Checked { code: error.milvus_code(), text: error.to_string() })
}

/// What of a value an error may repeat. Unit: bytes.
const SHOWN: usize = 64;

/// The beginning of a text, as errors show it: never a whole value of a client's, which may have megabytes.
#[must_use]
pub fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

/// At most `most` bytes of a text, with a mark where something was left out.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// A type's number on the wire.
#[must_use]
pub const fn wire_type(data_type: DataType) -> WireType {
    match data_type {
        DataType::Bool => WireType::Bool,
        DataType::Int8 => WireType::Int8,
        DataType::Int16 => WireType::Int16,
        DataType::Int32 => WireType::Int32,
        DataType::Int64 => WireType::Int64,
        DataType::Float => WireType::Float,
        DataType::Double => WireType::Double,
        DataType::VarChar => WireType::VarChar,
        DataType::Text => WireType::Text,
        DataType::Json => WireType::Json,
        DataType::Timestamptz => WireType::Timestamptz,
        DataType::Geometry => WireType::Geometry,
        DataType::Array(_) => WireType::Array,
        DataType::FloatVector => WireType::FloatVector,
        DataType::Float16Vector => WireType::Float16Vector,
        DataType::BFloat16Vector => WireType::BFloat16Vector,
        DataType::Int8Vector => WireType::Int8Vector,
        DataType::BinaryVector => WireType::BinaryVector,
        DataType::SparseFloatVector => WireType::SparseFloatVector,
        DataType::ArrayOfVector(_) => WireType::ArrayOfVector,
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, shown};

    #[test]
    fn an_error_shows_the_beginning_of_a_long_value() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aöb", 2), "a…");
        assert_eq!(shown(&"x".repeat(1 << 20)).len(), 64 + "…".len());
    }
}
