//! Schemas for tests of every room.

use super::{Field, Schema};

/// A schema of these fields and nothing else.
pub(crate) fn schema_of(fields: Vec<Field>) -> Schema {
    Schema {
        description: String::new(),
        fields,
        enable_dynamic_field: false,
        functions: Vec::new(),
        structs: Vec::new(),
        youngest_dropped: None,
    }
}
