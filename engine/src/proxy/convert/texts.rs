//! Texts that are analysed: the analyzers of a schema, and the texts that a search brings.

use bytes::Bytes;
use contract::pb::common::{PlaceholderGroup, PlaceholderType};
use prost::Message as _;

use super::search::check_count;
pub use crate::intake::functions::{Signer, analyzer, compute, not_computed, refused};
use crate::model::{DataType, IndexDefinition, Schema};
use crate::proxy::Error;
use crate::text::{self, MAX_QUERY_BYTES};

/// Checks the analyzers of all fields, and the fields that choose between several.
///
/// # Errors
/// If one cannot be, or the field that chooses is not there or holds no texts.
pub fn check_analyzers(schema: &Schema) -> Result<(), Error> {
    for field in schema.fields.iter().filter(|field| field.data_type.is_text()) {
        let analyzer = analyzer(field)?;
        let Some(name) = analyzer.by_field() else { continue };
        match schema.field(name) {
            Some(by) if by.data_type == DataType::VarChar => {}
            Some(_) => {
                let text = format!(
                    "by_field {name} of multi_analyzer_params of field {} must be VarChar",
                    field.name
                );
                return Err(Error::Checked { code: 1100, text });
            }
            None => {
                let text =
                    format!("by_field {name} of multi_analyzer_params of field {} not found", field.name);
                return Err(Error::Checked { code: 1100, text });
            }
        }
    }
    Ok(())
}

/// Whether a placeholder group holds texts. One that cannot be read does not.
#[must_use]
pub fn are_texts(group: &Bytes) -> bool {
    let group = PlaceholderGroup::decode(group.as_ref()).unwrap_or_default();
    group.placeholders.first().is_some_and(|first| first.r#type() == PlaceholderType::VarChar)
}

/// The texts of a placeholder group, for a search in a field that a function fills.
///
/// # Errors
/// If the bytes are no group, there are vectors in it, a text is none or too long, or they are not `nq`.
pub fn queries(group: &Bytes, nq: i64) -> Result<Vec<String>, Error> {
    let group = PlaceholderGroup::decode(group.as_ref())
        .map_err(|reason| Error::PlaceholderBytes { reason: reason.to_string() })?;
    let Some(placeholder) = group.placeholders.into_iter().next() else { return Err(Error::NoSearchInput) };
    check_count(nq, placeholder.values.len())?;
    if placeholder.r#type() != PlaceholderType::VarChar {
        return Err(Error::TextWanted { found: placeholder.r#type().as_str_name().to_owned() });
    }
    placeholder.values.into_iter().map(text_of).collect()
}

/// One text to analyse, as it comes.
///
/// # Errors
/// If it is no text, or too long.
pub fn text_of(bytes: Vec<u8>) -> Result<String, Error> {
    if bytes.len() > MAX_QUERY_BYTES {
        return Err(refused(&text::Error::TextTooLong { bytes: bytes.len() }).into());
    }
    String::from_utf8(bytes).map_err(|_| Error::TextNotUtf8)
}

/// The parameters of scores that an index on counts of words names: `bm25_k1` and `bm25_b`, with Milvus's defaults.
#[must_use]
pub fn saturation(index: Option<&IndexDefinition>) -> [(&'static str, String); 2] {
    let flat = index.and_then(|index| super::index::flattened(&index.params).ok()).unwrap_or_default();
    let of = |key: &'static str, default: &str| {
        let found = flat.iter().find(|(known, _)| known == key);
        (key, found.map_or_else(|| default.to_owned(), |(_, value)| value.trim().to_owned()))
    };
    [of("bm25_k1", "1.2"), of("bm25_b", "0.75")]
}
