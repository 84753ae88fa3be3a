//! Searches by groups and hits in another order, from the wire.

use super::output::dynamic_key;
use super::params::boolean;
use crate::model::{DYNAMIC_FIELD, DataType, Field, Schema};
use crate::plan::{Grouping, Order, Sorting};
use crate::proxy::Error;

/// Most hits of one group. Source: wire specification 2.9.
const MAX_GROUP_SIZE: i64 = 10;

/// How hits come by groups, as the client says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupParams {
    /// The field whose values are the groups; `None` where hits come one by one.
    pub field: Option<String>,
    size: Option<usize>,
    strict: bool,
    has_path: bool,
}

/// Whether a parameter is one of those that [`GroupParams::read`] takes.
#[must_use]
pub fn is_grouping(key: &str) -> bool {
    matches!(key, "group_by_field" | "group_by_fields" | "group_size" | "strict_group_size" | "json_path")
}

impl GroupParams {
    /// Takes over one parameter.
    ///
    /// # Errors
    /// Milvus's words for what is wrong with it.
    pub fn read(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "group_by_field" | "group_by_fields" if !value.is_empty() => self.field = Some(value.to_owned()),
            "group_size" => {
                let size = value.trim().parse::<i64>();
                let size =
                    size.map_err(|_| Error::NotNumber { name: "group_size", value: value.to_owned() })?;
                if size <= 0 {
                    return Err(Error::GroupSizeNegative { size });
                }
                if size > MAX_GROUP_SIZE {
                    return Err(Error::GroupSizeLarge { size, limit: MAX_GROUP_SIZE });
                }
                self.size = usize::try_from(size).ok();
            }
            "strict_group_size" => {
                let strict = boolean(value);
                self.strict = strict.ok_or_else(|| Error::StrictGroupSize { value: value.to_owned() })?;
            }
            "json_path" => self.has_path = !value.is_empty(),
            _ => {}
        }
        Ok(())
    }

    /// How hits come by groups over `schema`.
    ///
    /// # Errors
    /// Milvus's words for a field that is none, or of a type without groups.
    pub fn resolve(&self, schema: &Schema) -> Result<Option<Grouping>, Error> {
        let Some(name) = &self.field else { return Ok(None) };
        let Some(field) = schema.field(name) else {
            return Err(if name.contains(',') {
                Error::ReadNotBuilt { what: "group by several fields" }
            } else {
                Error::GroupField { field: name.clone() }
            });
        };
        if field.data_type == DataType::Json && self.has_path {
            return Err(Error::ReadNotBuilt { what: "group by a path in a JSON field" });
        }
        check_group_type(field.data_type)?;
        Ok(Some(Grouping { field: field.id, size: self.size.unwrap_or(1), strict: self.strict }))
    }
}

/// Checks that values of a type make groups.
///
/// # Errors
/// [`Error::GroupType`] for any other.
pub fn check_group_type(data_type: DataType) -> Result<(), Error> {
    match data_type {
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Timestamptz
        | DataType::VarChar => Ok(()),
        other => Err(Error::GroupType { data_type: engine_name(other) }),
    }
}

/// The field that hits are put in order by, and the path into it.
///
/// # Errors
/// Milvus's words for a name that means nothing or a type without an order.
pub fn sorted_field<'a>(name: &str, schema: &'a Schema) -> Result<(&'a Field, Vec<String>), Error> {
    sorted_by(name, schema, Ordered::Search)
}

/// A type by the name that Milvus's engine has for it.
const fn engine_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "BOOL",
        DataType::Int8 => "INT8",
        DataType::Int16 => "INT16",
        DataType::Int32 => "INT32",
        DataType::Int64 => "INT64",
        DataType::Float => "FLOAT",
        DataType::Double => "DOUBLE",
        DataType::VarChar => "VARCHAR",
        DataType::Text => "TEXT",
        DataType::Json => "JSON",
        DataType::Timestamptz => "TIMESTAMPTZ",
        DataType::Geometry => "GEOMETRY",
        DataType::Array(_) => "ARRAY",
        DataType::FloatVector => "VECTOR_FLOAT",
        DataType::Float16Vector => "VECTOR_FLOAT16",
        DataType::BFloat16Vector => "VECTOR_BFLOAT16",
        DataType::Int8Vector => "VECTOR_INT8",
        DataType::BinaryVector => "VECTOR_BINARY",
        DataType::SparseFloatVector => "VECTOR_SPARSE_U32_F32",
        DataType::ArrayOfVector(_) => "VECTOR_ARRAY",
    }
}

/// Which read an order is of: each has its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// A search.
    Search,
    /// A query.
    Query,
}

/// The order that `text` names, as `price:asc,rating:desc`.
///
/// # Errors
/// Milvus's words for a field that is none or has no order, and for a direction that is none.
pub fn order(text: &str, schema: &Schema, of: Ordered) -> Result<Order, Error> {
    let by = named_order(text)?.into_iter().map(|(name, descending)| {
        sorted_by(name, schema, of).map(|(field, path)| Sorting { field: field.id, path, descending })
    });
    Ok(Order { by: by.collect::<Result<_, _>>()? })
}

/// The names in an order, and whether each comes from the largest to the smallest.
///
/// # Errors
/// Milvus's words for a direction that is none.
pub fn named_order(text: &str) -> Result<Vec<(&str, bool)>, Error> {
    let one = |item| {
        // A path may hold a colon, a direction none.
        let item: &str = item;
        let (name, direction) = match item.rsplit_once(':') {
            Some((name, direction)) if !direction.contains(']') => (name.trim(), direction.trim()),
            _ => (item.trim(), "asc"),
        };
        let descending = match direction.to_lowercase().as_str() {
            "" | "asc" | "ascending" => false,
            "desc" | "descending" => true,
            _ => {
                let (field, direction) = (name.to_owned(), direction.to_owned());
                return Err(Error::OrderDirection { field, direction });
            }
        };
        Ok((name, descending))
    };
    text.split(',').filter(|item| !item.trim().is_empty()).map(one).collect()
}

fn sorted_by<'a>(name: &str, schema: &'a Schema, of: Ordered) -> Result<(&'a Field, Vec<String>), Error> {
    if let Some(field) = schema.field(name) {
        let has_order = !matches!(field.data_type, DataType::Json | DataType::Array(_) | DataType::Geometry)
            && !field.data_type.is_searched();
        return match (has_order, of) {
            (true, _) => Ok((field, Vec::new())),
            (false, Ordered::Search) => {
                Err(Error::OrderType { field: name.to_owned(), data_type: field.data_type.name() })
            }
            (false, Ordered::Query) => {
                Err(Error::QueryOrderType { field: name.to_owned(), data_type: field.data_type.name() })
            }
        };
    }
    let unknown = || Error::OrderField { field: name.to_owned() };
    let keys = |path: &str| -> Result<Vec<String>, Error> {
        let keys = path.strip_suffix(']').ok_or_else(unknown)?.split("][");
        Ok(keys.map(|key| key.trim_matches(['"', '\'']).to_owned()).collect())
    };
    let dynamic = || schema.dynamic().ok_or_else(unknown);
    match name.split_once('[') {
        Some((base, path)) if schema.field(base).is_some_and(|field| field.data_type == DataType::Json) => {
            Ok((schema.field(base).ok_or_else(unknown)?, keys(path)?))
        }
        // A key of the dynamic field, and what is below it.
        Some((base, path)) if schema.field(base).is_none() && base != DYNAMIC_FIELD => {
            let mut all = vec![dynamic_key(schema, base)?];
            all.extend(keys(path)?);
            Ok((dynamic()?, all))
        }
        _ => Ok((dynamic()?, vec![dynamic_key(schema, name)?])),
    }
}
