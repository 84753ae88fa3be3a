//! Filter texts and their templates.

use std::collections::HashMap;

use contract::pb::schema::TemplateValue;

use crate::expr::Filter;
use crate::model::Schema;
use crate::proxy::Error;

/// The filter of a read; `None` for an empty text.
///
/// # Errors
/// [`Error::QueryPlan`] with what is wrong and where.
pub fn of_read(
    text: &str,
    schema: &Schema,
    templates: HashMap<String, TemplateValue>,
) -> Result<Option<Filter>, Error> {
    let _ = (schema, templates);
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(Filter))
}

/// The filter of a delete.
///
/// # Errors
/// [`Error::DeleteEverything`] for a text that is empty or true for every row, [`Error::DeletePlan`] for a bad one.
pub fn of_delete(
    text: &str,
    schema: &Schema,
    templates: HashMap<String, TemplateValue>,
) -> Result<Filter, Error> {
    let everything = || Error::DeleteEverything { expr: text.to_owned() };
    of_read(text, schema, templates)?.ok_or_else(everything)
}

/// The keys that a filter names, if it is nothing but a list of keys.
#[must_use]
pub fn keys(_filter: &Filter, _schema: &Schema) -> Option<crate::model::Keys> {
    None
}

/// The filter that the rows of some keys match.
///
/// # Errors
/// None for keys of the schema's type.
pub fn of_keys(_keys: &crate::model::Keys, _schema: &Schema) -> Result<Filter, Error> {
    Ok(Filter)
}
