//! Texts that are analysed: the analyzers of fields, what functions compute of rows, and the texts that a search brings.

use bytes::Bytes;
use contract::pb::common::{PlaceholderGroup, PlaceholderType};
use prost::Message as _;

use super::search::check_count;
use crate::model::{
    Batch, Column, ColumnData, DataType, Field, Function, IndexDefinition, Schema, SparseRow, SparseRows,
};
use crate::proxy::Error;
use crate::text::{self, FieldAnalyzer, MAX_QUERY_BYTES, TermCounts};

/// The number under which Milvus's engine refuses what it does not understand.
const ENGINE_CODE: i32 = 2000;

/// What an analyzer or a text is refused with.
pub fn refused(error: &text::Error) -> Error {
    Error::Checked { code: ENGINE_CODE, text: format!("invalid analyzer params: {error}") }
}

/// The analyzers of a field.
///
/// # Errors
/// If its parameters say what no analyzer is.
pub fn analyzer(field: &Field) -> Result<FieldAnalyzer, Error> {
    FieldAnalyzer::new(field.type_param("analyzer_params"), field.type_param("multi_analyzer_params"))
        .map_err(|error| refused(&error))
}

/// Checks the analyzers of all fields, and the fields that choose between several.
///
/// # Errors
/// If one cannot be, or the field that chooses is not there or holds no texts.
pub fn check_analyzers(schema: &Schema) -> Result<(), Error> {
    for field in schema.fields.iter().filter(|field| field.data_type == DataType::VarChar) {
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

/// A column of a computed field before it is computed.
#[must_use]
pub fn not_computed(field: &Field, rows: usize) -> Column {
    let mut empty = SparseRows::new();
    (0..rows).for_each(|_| empty.push_none());
    Column { field: field.id, data: ColumnData::SparseVector(empty), valid: None }
}

/// Fills the computed columns of whole rows from the others, whatever they hold. Analyses texts: work for a thread that may be
/// busy.
///
/// # Errors
/// If an analyzer of the schema cannot be, which was checked when the collection was made.
pub fn compute(schema: &Schema, rows: &mut Batch) -> Result<(), Error> {
    for function in &schema.functions {
        let counted = counted(schema, function, rows)?;
        let Some(place) = schema.position(function.output) else { continue };
        if let Some(column) = rows.columns.get_mut(place) {
            column.data = ColumnData::SparseVector(counted);
            column.valid = None;
        }
    }
    Ok(())
}

/// How often each text of a function's input has each of its words; a missing text has none.
fn counted(schema: &Schema, function: &Function, rows: &Batch) -> Result<SparseRows, Error> {
    let missing = || Error::Answer { reason: format!("function {} lacks its input", function.name) };
    let field = schema.field_by_id(function.input).ok_or_else(missing)?;
    let column = rows.column(field.id).ok_or_else(missing)?;
    let ColumnData::VarChar(texts) = &column.data else { return Err(missing()) };
    let analyzer = analyzer(field)?;
    let languages = analyzer.by_field().and_then(|name| rows.column(schema.field(name)?.id));
    let language = |row: usize| match languages {
        Some(Column { data: ColumnData::VarChar(names), valid, .. })
            if valid.as_ref().is_none_or(|valid| valid.contains(row)) =>
        {
            Some(names.get(row))
        }
        _ => None,
    };
    let mut counted = SparseRows::new();
    for row in 0..texts.len() {
        let of_row = analyzer.named(language(row)).filter(|_| column.is_valid(row));
        let TermCounts { terms, counts } = of_row.map(|one| one.terms(texts.get(row))).unwrap_or_default();
        counted.push(SparseRow { indices: &terms, values: &counts });
    }
    Ok(counted)
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
        return Err(refused(&text::Error::TextTooLong { bytes: bytes.len() }));
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
