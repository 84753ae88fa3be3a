//! The past time that a read names, from the wire.
//!
//! Clients from 2.3 on have no argument for it, so there are three ways: the field of the request, which older clients and raw calls fill, a
//! parameter `travel_timestamp` of a search, and a value of that name for the expression's templates.

use std::collections::HashMap;

use contract::pb::common::KeyValuePair;
use contract::pb::schema::{TemplateValue, template_value};

use super::times::param;
use crate::base::Timestamp;
use crate::proxy::Error;

/// What parameters and templates call it.
pub const TRAVEL: &str = "travel_timestamp";

/// The time that a read is to see, of the past or not; `None` for the newest there is. A value for templates is taken out of
/// them, unless the expression itself names it.
///
/// # Errors
/// [`Error::Travel`] for what is no time, or for several.
pub fn asked(
    field: u64,
    params: &[KeyValuePair],
    templates: &mut HashMap<String, TemplateValue>,
    expression: &str,
) -> Result<Option<Timestamp>, Error> {
    let wrong = |text: &str| Error::Travel { value: text.to_owned() };
    let param = match param(params, TRAVEL) {
        Some(text) => Some(text.parse::<u64>().map_err(|_| wrong(&text))?),
        None => None,
    };
    let is_named = expression
        .split('{')
        .skip(1)
        .any(|rest| rest.split_once('}').is_some_and(|(name, _)| name.trim() == TRAVEL));
    let template = match templates.get(TRAVEL).filter(|_| !is_named).and_then(|value| value.val.as_ref()) {
        Some(template_value::Val::Int64Val(value)) => {
            Some(u64::try_from(*value).map_err(|_| wrong(&value.to_string()))?)
        }
        Some(_) => return Err(wrong("a value of another type")),
        None => None,
    };
    if !is_named {
        templates.remove(TRAVEL);
    }
    let mut named = [Some(field), param, template].into_iter().flatten().filter(|time| *time > 0);
    let Some(time) = named.next() else { return Ok(None) };
    match named.find(|other| *other != time) {
        Some(other) => Err(wrong(&format!("{time} and {other}"))),
        None => Ok(Some(Timestamp(time))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(val: template_value::Val) -> TemplateValue {
        TemplateValue { val: Some(val) }
    }

    /// What is asked by the field, the parameters `params`, and a template, in an expression.
    fn of(
        field: u64,
        params: &str,
        template: Option<i64>,
        expression: &str,
    ) -> (Result<Option<u64>, String>, usize) {
        let params = [KeyValuePair { key: "params".to_owned(), value: params.to_owned() }];
        let template = template.map(|time| (TRAVEL.to_owned(), value(template_value::Val::Int64Val(time))));
        let mut templates: HashMap<_, _> = template.into_iter().collect();
        let asked = asked(field, &params, &mut templates, expression);
        (asked.map(|time| time.map(|time| time.0)).map_err(|error| error.to_string()), templates.len())
    }

    #[test]
    fn a_time_is_found_wherever_a_client_can_put_it() {
        assert_eq!(of(0, "{}", None, ""), (Ok(None), 0));
        assert_eq!(of(7, "{}", None, ""), (Ok(Some(7)), 0));
        assert_eq!(
            of(0, r#"{"nprobe": 16, "travel_timestamp": 470628229923733504}"#, None, ""),
            (Ok(Some(470_628_229_923_733_504)), 0)
        );
        assert_eq!(of(0, "{}", Some(9), "id > 3"), (Ok(Some(9)), 0));
        assert_eq!(of(0, "{}", Some(9), "n == { travel_timestamp }"), (Ok(None), 1), "also with blanks");
        assert_eq!(of(9, r#"{"travel_timestamp": "9"}"#, Some(9), ""), (Ok(Some(9)), 0));
        assert_eq!(of(0, "{}", Some(9), "n == {travel_timestamp}"), (Ok(None), 1), "it is the expression's");
    }

    #[test]
    fn what_is_no_time_and_several_times_are_refused() {
        for (field, params, template) in
            [(0, r#"{"travel_timestamp": "now"}"#, None), (0, "{}", Some(-1)), (7, "{}", Some(8))]
        {
            let (refused, _) = of(field, params, template, "");
            assert!(refused.unwrap_err().contains("travel_timestamp"), "{field} {params} {template:?}");
        }
    }
}
