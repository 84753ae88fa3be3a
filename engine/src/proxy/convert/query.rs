//! What a query asks, from the wire.

use contract::pb::common::KeyValuePair;
use contract::pb::schema::{
    DataType as WireType, FieldData, LongArray, ScalarField, field_data, scalar_field,
};

use super::lists::Cursor;
use super::params::boolean;
use crate::proxy::Error;

/// The name of the column of a count.
pub const COUNT: &str = "count(*)";

/// The parameters of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParams {
    /// At most so many rows.
    pub limit: Option<usize>,
    /// Rows skipped; ignored without a limit.
    pub offset: usize,
    /// Whether rows that are not sealed yet are left out.
    pub ignore_growing: bool,
    /// Whether the query belongs to an iterator, whose pages must all see the same instant.
    pub iterator: bool,
    /// The collection that an iterator started on.
    pub collection_id: Option<String>,
    /// The fields that rows are put in order by; empty for their keys.
    pub order_by: String,
    /// The fields whose values make groups; empty where no groups are wanted.
    pub group_by: String,
    /// Where the page before ended, of an iterator whose filter chooses elements.
    pub after: Option<Cursor>,
}

/// Reads the parameters of a query that returns at most `most` rows.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn params(pairs: &[KeyValuePair], most: i64) -> Result<QueryParams, Error> {
    let mut read = QueryParams::default();
    let (mut limit, mut offset) = (None, 0);
    let (mut last_key, mut last_element) = (String::new(), None);
    for KeyValuePair { key, value } in pairs {
        match key.as_str() {
            "limit" => limit = Some(whole("limit", value)?),
            "offset" => offset = whole("offset", value)?,
            "ignore_growing" => {
                read.ignore_growing =
                    boolean(value).ok_or_else(|| Error::IgnoreGrowing { value: value.clone() })?;
            }
            "iterator" => read.iterator = boolean(value).unwrap_or(false),
            "collection_id" => read.collection_id = Some(value.clone()),
            "order_by_fields" => read.order_by.clone_from(value),
            "group_by_fields" => read.group_by.clone_from(value),
            "query_iter_last_pk" => last_key.clone_from(value),
            "query_iter_last_element_offset" => {
                last_element = u64::try_from(whole("query_iter_last_element_offset", value)?).ok();
            }
            _ => {}
        }
    }
    read.after = last_element.map(|element| Cursor { key: last_key, element });
    if !read.order_by.is_empty() {
        if read.iterator {
            return Err(Error::OrderIterator);
        }
        limit.ok_or(Error::OrderWithoutLimit)?;
    }
    let Some(limit) = limit else { return Ok(read) };
    check_window(offset, limit, most)?;
    read.limit = usize::try_from(limit).ok();
    read.offset = usize::try_from(offset).unwrap_or(0);
    Ok(read)
}

fn whole(name: &'static str, text: &str) -> Result<i64, Error> {
    text.trim().parse().map_err(|_| Error::QueryNumber { name, value: text.to_owned() })
}

/// Checks how many rows a read may skip and return, together at most `most`.
///
/// # Errors
/// [`Error::QueryWindow`] in Milvus's words.
pub fn check_window(offset: i64, limit: i64, most: i64) -> Result<(), Error> {
    let text = if offset < 0 {
        format!("offset [{offset}] is invalid, should be gte than 0")
    } else if limit <= 0 {
        format!("limit [{limit}] is invalid, should be greater than 0")
    } else if offset.saturating_add(limit) > most {
        format!("(offset+limit) should be in range [1, {most}], but got {}", offset.saturating_add(limit))
    } else {
        return Ok(());
    };
    Err(Error::QueryWindow { text })
}

/// The one column of a count.
#[must_use]
pub fn count_column(count: u64) -> FieldData {
    let data = vec![i64::try_from(count).unwrap_or(i64::MAX)];
    FieldData {
        r#type: WireType::Int64.into(),
        field_name: COUNT.to_owned(),
        field: Some(field_data::Field::Scalars(ScalarField {
            data: Some(scalar_field::Data::LongData(LongArray { data })),
            ..Default::default()
        })),
        ..Default::default()
    }
}
