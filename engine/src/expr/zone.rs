//! What a filter says of rows of which only the least and greatest values are known: whether it may hold for any.

use std::cmp::Ordering;

use crate::base::FieldId;
use crate::expr::Literal;
use crate::expr::literal::order;
use crate::expr::predicate::{Access, ColumnName, Operand, Predicate};
use crate::expr::set::as_single;
use crate::expr::syntax::Compare;
use crate::model::{DataType, Value, Zone};

/// Whether `predicate` may be true of some row. `zones` gives what is known of a column; nothing known is fine.
pub(super) fn may_hold<'a>(predicate: &Predicate, zones: &dyn Fn(FieldId) -> Option<&'a Zone>) -> bool {
    let zone_of = |column: &ColumnName| zones(column.id);
    match predicate {
        Predicate::Always(holds) => *holds,
        Predicate::All(parts) => parts.iter().all(|part| may_hold(part, zones)),
        Predicate::Any(parts) => parts.iter().any(|part| may_hold(part, zones)),
        Predicate::Compare { operand, compare, value } => {
            let Some(zone) = zone_of(&operand.column) else { return true };
            has_value(zone) && may_compare(operand, *compare, value, zone)
        }
        Predicate::In { operand, set } => {
            let Some(zone) = zone_of(&operand.column) else { return true };
            let is_there = |value: &Literal| may_compare(operand, Compare::Equal, value, zone);
            has_value(zone) && set.values().iter().any(is_there)
        }
        Predicate::Like { operand, .. } => zone_of(&operand.column).is_none_or(has_value),
        Predicate::IsNull(column) => zone_of(column).is_none_or(|zone| zone.nulls > 0),
        Predicate::CompareColumns { left, right, .. } | Predicate::Begins { column: left, with: right } => {
            [left, right].into_iter().all(|column| zone_of(column).is_none_or(has_value))
        }
        Predicate::Not(inner) => match &**inner {
            Predicate::IsNull(column) => zone_of(column).is_none_or(has_value),
            _ => true,
        },
        Predicate::TextMatch { column, .. }
        | Predicate::Later { column, .. }
        | Predicate::Shape { column, .. }
        | Predicate::Elements { part: column, .. } => zone_of(column).is_none_or(has_value),
        Predicate::Exists { .. } | Predicate::Contains { .. } => true,
    }
}

/// Whether some row has a value; statements about none are unknown.
const fn has_value(zone: &Zone) -> bool {
    zone.nulls < zone.rows
}

fn may_compare(operand: &Operand, compare: Compare, value: &Literal, zone: &Zone) -> bool {
    let Some((least, greatest)) = &zone.span else { return true };
    if operand.access != Access::Whole || operand.arithmetic.is_some() {
        return true;
    }
    // Singles are compared as singles, so the constant is rounded as it is there.
    let single = (operand.column.data_type == DataType::Float).then(|| as_single(value)).flatten();
    let single = single.map(|single| Literal::Double(f64::from(single)));
    let value = single.as_ref().unwrap_or(value);
    let to = |bound: &Value| literal(bound).and_then(|bound| order(&bound, value));
    let (Some(least), Some(greatest)) = (to(least), to(greatest)) else { return true };
    match compare {
        Compare::Less => least.is_lt(),
        Compare::LessEqual => least.is_le(),
        Compare::Greater => greatest.is_gt(),
        Compare::GreaterEqual => greatest.is_ge(),
        Compare::Equal => least.is_le() && greatest.is_ge(),
        Compare::NotEqual => (least, greatest) != (Ordering::Equal, Ordering::Equal),
    }
}

fn literal(value: &Value) -> Option<Literal> {
    match value {
        Value::Bool(value) => Some(Literal::Bool(*value)),
        Value::Int(value) => Some(Literal::Int(*value)),
        Value::Float(value) => Some(Literal::Double(f64::from(*value))),
        Value::Double(value) => Some(Literal::Double(*value)),
        Value::Text(text) => Some(Literal::Text(text.clone())),
        Value::Null
        | Value::Json(_)
        | Value::Array(_)
        | Value::Vector(_)
        | Value::Bits(_)
        | Value::Shape(_)
        | Value::Sparse(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::base::FieldId;
    use crate::expr;
    use crate::model::fixture::schema_of;
    use crate::model::{DataType, Field, Schema, Value, Zone};

    fn schema() -> Schema {
        let field = |id: i64, name: &str, data_type| Field {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            is_primary: id == 1,
            auto_id: false,
            is_dynamic: false,
            nullable: id != 1,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: Vec::new(),
        };
        let fields = vec![
            field(1, "id", DataType::Int64),
            field(2, "x", DataType::Float),
            field(3, "t", DataType::VarChar),
            field(4, "empty", DataType::Int8),
        ];
        schema_of(fields)
    }

    #[test]
    fn what_lies_beyond_all_values_is_left_out() {
        let zone = |field, nulls, span| Zone { field: FieldId(field), nulls, rows: 10, span };
        let text = |text: &str| Value::Text(text.to_owned());
        let zones = [
            zone(1, 0, Some((Value::Int(5), Value::Int(9)))),
            zone(2, 2, Some((Value::Float(0.1), Value::Float(0.5)))),
            zone(3, 0, Some((text("bb"), text("dd")))),
            zone(4, 10, None),
        ];
        let may_hold = |text: &str| {
            let filter = expr::parse(text, &schema(), &BTreeMap::new()).unwrap();
            filter.may_hold(&|field| zones.iter().find(|zone| zone.field == field))
        };

        let held = [
            "id > 8",
            "id >= 9",
            "id < 6",
            "id <= 5",
            "id == 5",
            "id in [1, 7]",
            "id != 5",
            "x == 0.1",
            "x is null",
            "t > \"dc\"",
            "t like \"a%\"",
            "id > 20 or x < 1",
            "not (id > 20)",
            "id + 9 > 15",
            "empty is null",
            "x is not null",
        ];
        let left_out = [
            "id > 9",
            "id >= 10",
            "id < 5",
            "id <= 4",
            "id == 10",
            "id in [1, 4, 10]",
            "x > 0.5",
            "t < \"bb\"",
            "id > 20 or x > 1",
            "id > 6 and t > \"e\"",
            "empty == 1",
            "empty is not null",
            "t is null",
            "empty in [1, 2]",
            "not (t is not null)",
        ];
        assert_eq!(held.map(|text| (text, may_hold(text))), held.map(|text| (text, true)));
        assert_eq!(left_out.map(|text| (text, may_hold(text))), left_out.map(|text| (text, false)));
    }
}
