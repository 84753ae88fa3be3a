//! Filter texts and their templates.

use std::collections::{HashMap, HashSet};

use contract::pb::schema::{TemplateArrayValue, TemplateValue, template_array_value, template_value};

use crate::base::FieldId;
use crate::calendar::{self, TimeZone};
use crate::expr::{self, Filter, Literal, Templates};
use crate::model::{DataType, Keys, Schema};
use crate::plan::Group;
use crate::proxy::Error;

/// Name of the template variable that stands for a list of keys.
const KEYS: &str = "keys";
/// Name of the template variable that stands for a list of groups.
const GROUPS: &str = "groups";

/// The filter of a read; `None` for an empty text. Times without an offset are times in `zone`.
///
/// # Errors
/// [`Error::QueryPlan`] with what is wrong and where.
pub fn of_read(
    text: &str,
    schema: &Schema,
    zone: &TimeZone,
    templates: HashMap<String, TemplateValue>,
) -> Result<Option<Filter>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let templates = literals(templates)?;
    expr::parse_in(text, schema, &templates, zone)
        .map(Some)
        .map_err(|detail| Error::QueryPlan { text: complaint(text, &detail) })
}

/// The filter of a delete. Times without an offset are times in `zone`.
///
/// # Errors
/// [`Error::DeleteEverything`] for a text that is empty or true for every row, [`Error::DeletePlan`] for a bad one.
pub fn of_delete(
    text: &str,
    schema: &Schema,
    zone: &TimeZone,
    templates: HashMap<String, TemplateValue>,
) -> Result<Filter, Error> {
    let everything = || Error::DeleteEverything { expr: text.to_owned() };
    if text.trim().is_empty() {
        return Err(everything());
    }
    let templates = literals(templates)?;
    let filter = expr::parse_in(text.trim(), schema, &templates, zone)
        .map_err(|detail| Error::DeletePlan { text: format!("cannot parse expression: {text}: {detail}") })?;
    if filter.is_always_true() { Err(everything()) } else { Ok(filter) }
}

fn complaint(text: &str, detail: &expr::Error) -> String {
    format!("cannot parse expression: {text}, error: {detail}")
}

/// The filter that the rows of some keys match.
///
/// # Errors
/// None for keys of the schema's type.
pub fn of_keys(keys: &Keys, schema: &Schema) -> Result<Filter, Error> {
    let list = match keys {
        Keys::Int(keys) => keys.iter().copied().map(Literal::Int).collect(),
        Keys::Text(keys) => keys.iter().map(|key| Literal::Text(key.to_owned())).collect(),
    };
    let templates = Templates::from([(KEYS.to_owned(), Literal::List(list))]);
    let text = format!("{} in {{{KEYS}}}", schema.primary().name);
    expr::parse(&text, schema, &templates)
        .map_err(|detail| Error::QueryPlan { text: complaint(&text, &detail) })
}

/// The filter that the rows of some groups match.
///
/// # Errors
/// None for groups of the field's type.
pub fn of_groups(groups: &HashSet<Group>, field: FieldId, schema: &Schema) -> Result<Filter, Error> {
    let field = schema.field_by_id(field);
    let field = field.ok_or_else(|| Error::Answer { reason: "no field for the groups".to_owned() })?;
    let literal = |group: &Group| match (group, field.data_type) {
        (Group::None, _) => None,
        (Group::Int(number), DataType::Bool) => Some(Literal::Bool(*number != 0)),
        (Group::Int(number), _) => Some(Literal::Int(*number)),
        (Group::Text(text), _) => Some(Literal::Text(text.clone())),
    };
    let list: Vec<Literal> = groups.iter().filter_map(literal).collect();
    let name = &field.name;
    let text = match (list.is_empty(), groups.contains(&Group::None)) {
        (false, false) => format!("{name} in {{{GROUPS}}}"),
        (false, true) => format!("{name} in {{{GROUPS}}} or {name} is null"),
        (true, _) => format!("{name} is null"),
    };
    let templates = Templates::from([(GROUPS.to_owned(), Literal::List(list))]);
    expr::parse(&text, schema, &templates)
        .map_err(|detail| Error::QueryPlan { text: complaint(&text, &detail) })
}

/// The filter that rows match whose instant in `field`, if they have one, is after `until`, in microseconds since 1970.
///
/// # Errors
/// None for a field of instants.
pub fn of_living(field: FieldId, until: i64, schema: &Schema) -> Result<Filter, Error> {
    let field = schema.field_by_id(field);
    let name = &field.ok_or_else(|| Error::Answer { reason: "no field of ends".to_owned() })?.name;
    let text = format!("{name} is null or {name} > ISO '{}'", calendar::show(until, &TimeZone::default()));
    expr::parse(&text, schema, &Templates::default())
        .map_err(|detail| Error::QueryPlan { text: complaint(&text, &detail) })
}

fn literals(templates: HashMap<String, TemplateValue>) -> Result<Templates, Error> {
    templates
        .into_iter()
        .map(|(name, value)| {
            let missing = || Error::TemplateMissing { name: name.clone() };
            let literal = literal(value).ok_or_else(missing)?;
            Ok((name, literal))
        })
        .collect()
}

fn literal(value: TemplateValue) -> Option<Literal> {
    use template_value::Val;
    Some(match value.val? {
        Val::BoolVal(value) => Literal::Bool(value),
        Val::Int64Val(value) => Literal::Int(value),
        Val::FloatVal(value) => Literal::Double(value),
        Val::StringVal(value) => Literal::Text(value),
        Val::ArrayVal(values) => list(values)?,
        Val::BytesVal(_) => return None,
    })
}

fn list(values: TemplateArrayValue) -> Option<Literal> {
    use template_array_value::Data;
    let values = match values.data {
        None => Vec::new(),
        Some(Data::BoolData(values)) => values.data.into_iter().map(Literal::Bool).collect(),
        Some(Data::LongData(values)) => values.data.into_iter().map(Literal::Int).collect(),
        Some(Data::DoubleData(values)) => values.data.into_iter().map(Literal::Double).collect(),
        Some(Data::StringData(values)) => values.data.into_iter().map(Literal::Text).collect(),
        Some(Data::ArrayData(values)) => values.data.into_iter().map(list).collect::<Option<_>>()?,
        Some(Data::JsonData(values)) => {
            values.data.iter().map(|text| from_json(text)).collect::<Option<_>>()?
        }
    };
    Some(Literal::List(values))
}

/// A JSON text as a constant. Lists of mixed types come this way.
fn from_json(text: &[u8]) -> Option<Literal> {
    fn of(value: serde_json::Value) -> Option<Literal> {
        Some(match value {
            serde_json::Value::Bool(value) => Literal::Bool(value),
            serde_json::Value::Number(value) => match value.as_i64() {
                Some(whole) => Literal::Int(whole),
                None => Literal::Double(value.as_f64()?),
            },
            serde_json::Value::String(value) => Literal::Text(value),
            serde_json::Value::Array(values) => {
                Literal::List(values.into_iter().map(of).collect::<Option<_>>()?)
            }
            serde_json::Value::Null | serde_json::Value::Object(_) => return None,
        })
    }
    of(serde_json::from_slice(text).ok()?)
}
