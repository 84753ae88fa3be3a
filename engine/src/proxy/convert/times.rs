//! In which time zone a client reads and writes instants, and which parts of them it wants.

use contract::pb::common::KeyValuePair;

use super::params::plain;
use crate::calendar::{self, Part, TimeZone};
pub use crate::intake::{TIMEZONE, zone_of};
use crate::model::{DataType, Schema};
use crate::proxy::Error;

/// The parameter of a read that lists parts of instants.
const TIME_FIELDS: &str = "time_fields";

/// How instants are read and shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// The zone of times without an offset, and of those that are shown.
    pub zone: TimeZone,
    /// The parts that are returned in place of texts; none for texts.
    pub parts: Vec<Part>,
}

impl Times {
    /// As a read says it by its parameters, or else the collection by its properties.
    ///
    /// # Errors
    /// Milvus's words for a zone or a part that is none.
    pub fn of_read(params: &[KeyValuePair], properties: &[(String, String)]) -> Result<Self, Error> {
        Self::of_hybrid(params, &[], properties)
    }

    /// As a hybrid search says it: each by the parameters of the whole, or else by those of the first search, where clients put
    /// them.
    ///
    /// # Errors
    /// As [`Self::of_read`].
    pub fn of_hybrid(
        whole: &[KeyValuePair],
        first: &[KeyValuePair],
        properties: &[(String, String)],
    ) -> Result<Self, Error> {
        let named = |key| param(whole, key).or_else(|| param(first, key));
        let zone = match named(TIMEZONE) {
            Some(name) => zone(&name)?,
            None => zone_of(properties),
        };
        let parts = match named(TIME_FIELDS) {
            Some(list) => Part::list(&list).map_err(|error| refused(&error))?,
            None => Vec::new(),
        };
        Ok(Self { zone, parts })
    }
}

/// Gives the zone that a hybrid search names to one of its searches that names none, for its filter.
pub fn hand_down(whole: &[KeyValuePair], one: &mut Vec<KeyValuePair>) {
    if param(one, TIMEZONE).is_none()
        && let Some(value) = param(whole, TIMEZONE)
    {
        one.push(KeyValuePair { key: TIMEZONE.to_owned(), value });
    }
}

/// A parameter by itself or in the JSON object `params`; an empty one is none.
pub(super) fn param(params: &[KeyValuePair], key: &str) -> Option<String> {
    let value = |key: &str| params.iter().find(|pair| pair.key == key).map(|pair| pair.value.clone());
    let nested = || {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&value("params")?).ok()?;
        object.get(key).map(plain)
    };
    value(key).or_else(nested).filter(|value| !value.is_empty())
}

/// Checks a time zone that is to be a property.
///
/// # Errors
/// Milvus's words for a name of none.
pub fn check_properties(properties: &[(String, String)]) -> Result<(), Error> {
    properties.iter().filter(|(key, _)| key == TIMEZONE).try_for_each(|(_, name)| zone(name).map(drop))
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::named(name).map_err(|error| refused(&error))
}

fn refused(error: &calendar::Error) -> Error {
    Error::Checked { code: 1100, text: format!("{error}: invalid parameter") }
}

/// Whether rows take long to be made of texts, or texts of rows.
#[must_use]
pub fn takes_long(schema: &Schema) -> bool {
    let is_made_of_texts = |data_type| matches!(data_type, DataType::Timestamptz | DataType::Geometry);
    schema.fields.iter().any(|field| is_made_of_texts(field.data_type))
}
