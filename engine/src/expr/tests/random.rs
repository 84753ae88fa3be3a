//! Random expressions over random rows, against the naive evaluator; random texts, against panics.

use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

use super::{batch, naive, schema};
use crate::expr::{Filter, Templates, parse};
use crate::model::{DataType, Value, Zone};

type Truth = Rc<dyn Fn(&[Value]) -> Option<bool>>;

/// An expression as text, and its truth for a row as the naive evaluator sees it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) text: String,
    truth: Truth,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text)
    }
}

fn case(text: String, truth: impl Fn(&[Value]) -> Option<bool> + 'static) -> BoxedStrategy<Case> {
    Just(Case { text, truth: Rc::new(truth) }).boxed()
}

fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -4..5_i64, 1 => select(vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 128, -129, 1 << 53, (1 << 53) + 1])]
}

/// Quarters: exact as singles, doubles and fractions.
fn quarters() -> impl Strategy<Value = f64> {
    prop_oneof![8 => (-16..17_i32).prop_map(|quarters| f64::from(quarters) / 4.0), 1 => select(vec![9_007_199_254_740_992.0, 1e15])]
}

fn letters() -> impl Strategy<Value = String> {
    vec(select(vec!['a', 'b', '文', '%', '_', '"', '\\', '\n']), 0..4)
        .prop_map(|letters| letters.into_iter().collect())
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        whole().prop_map(Json::from),
        quarters().prop_map(Json::from),
        letters().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
    ]
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![4 => scalar(), 1 => Just(Json::Null)];
    leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            vec((select(vec!["k", "a", "文\n\"", "0"]), inner), 0..3)
                .prop_map(|members| members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>())
                .prop_map(Json::from),
        ]
    })
}

fn object() -> impl Strategy<Value = Json> {
    vec((select(vec!["k", "a", "文\n\"", "0"]), tree()), 0..4).prop_map(|members| {
        members
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

fn value_of(data_type: DataType, is_dynamic: bool) -> BoxedStrategy<Value> {
    let small =
        |low: i64, high: i64| whole().prop_map(move |value| Value::Int(value.clamp(low, high))).boxed();
    match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int8 => small(-128, 127),
        DataType::Int16 => small(-32_768, 32_767),
        DataType::Int32 => small(i64::from(i32::MIN), i64::from(i32::MAX)),
        DataType::Int64 => whole().prop_map(Value::Int).boxed(),
        DataType::Float => (-16..17_i8).prop_map(|quarters| Value::Float(f32::from(quarters) / 4.0)).boxed(),
        DataType::Double => quarters().prop_map(Value::Double).boxed(),
        DataType::VarChar => letters().prop_map(Value::Text).boxed(),
        DataType::Json if is_dynamic => object().prop_map(|json| Value::Json(json.to_string())).boxed(),
        DataType::Json => {
            prop_oneof![3 => object(), 1 => tree()].prop_map(|json| Value::Json(json.to_string())).boxed()
        }
        DataType::Array(element) => {
            vec(value_of(element.scalar(), false), 0..4).prop_map(Value::Array).boxed()
        }
        _ => Just(Value::Vector(vec![0.0, 1.0])).boxed(),
    }
}

pub(super) fn row() -> impl Strategy<Value = Vec<Value>> {
    schema()
        .fields
        .into_iter()
        .map(|field| {
            let value = value_of(field.data_type, field.is_dynamic);
            if field.nullable { prop_oneof![3 => value, 1 => Just(Value::Null)].boxed() } else { value }
        })
        .collect::<Vec<_>>()
}

fn sign() -> impl Strategy<Value = &'static str> {
    select(vec!["<", "<=", ">", ">=", "==", "!="])
}

fn flipped(sign: &str) -> &str {
    match sign {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

/// The number in a field as a fraction.
fn number(row: &[Value], name: &str) -> Option<(i128, i128)> {
    match naive::value(row, name) {
        Value::Int(value) => Some((i128::from(*value), 1)),
        Value::Float(value) => Some(naive::fraction(f64::from(*value))),
        Value::Double(value) => Some(naive::fraction(*value)),
        _ => None,
    }
}

fn text(row: &[Value], name: &str) -> Option<String> {
    if let Value::Text(text) = naive::value(row, name) { Some(text.clone()) } else { None }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

fn json_literal(json: &Json) -> String {
    match json {
        Json::String(text) => literal(text),
        Json::Array(members) => {
            format!("[{}]", members.iter().map(json_literal).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

const INTS: [&str; 5] = ["id", "i8", "i16", "i32", "i64"];

fn numbers() -> BoxedStrategy<Case> {
    let ints = (select(INTS.to_vec()), sign(), whole(), any::<bool>()).prop_flat_map(
        |(name, sign, right, is_left)| {
            let text =
                if is_left { format!("{right} {sign} {name}") } else { format!("{name} {sign} {right}") };
            let sign = if is_left { flipped(sign) } else { sign };
            case(text, move |row| {
                Some(naive::accepts(sign, Some(naive::order(number(row, name)?, (right.into(), 1)))))
            })
        },
    );
    let floats = (select(vec!["f", "d"]), sign(), quarters()).prop_flat_map(|(name, sign, right)| {
        case(format!("{name} {sign} {right:?}"), move |row| {
            Some(naive::accepts(sign, Some(naive::order(number(row, name)?, naive::fraction(right)))))
        })
    });
    let exact = (sign(), whole()).prop_flat_map(|(sign, right)| {
        case(format!("d {sign} {right}"), move |row| {
            Some(naive::accepts(sign, Some(naive::order(number(row, "d")?, (right.into(), 1)))))
        })
    });
    let names = select(vec!["id", "i8", "i32", "i64", "f", "d"]);
    let columns = (names.clone(), sign(), names).prop_flat_map(|(left, sign, right)| {
        case(format!("{left} {sign} {right}"), move |row| {
            Some(naive::accepts(sign, Some(naive::order(number(row, left)?, number(row, right)?))))
        })
    });
    let ranges = (select(INTS.to_vec()), -5..5_i64, 1..5_i64, any::<(bool, bool, bool)>()).prop_flat_map(
        |(name, low, more, (has_low, has_high, descends))| {
            let high = low + more;
            let (first, second) = (if has_low { "=" } else { "" }, if has_high { "=" } else { "" });
            let text = if descends {
                format!("{high} >{second} {name} >{first} {low}")
            } else {
                format!("{low} <{first} {name} <{second} {high}")
            };
            case(text, move |row| {
                let (value, _) = number(row, name)?;
                let (low, high) = (i128::from(low), i128::from(high));
                Some((value > low || has_low && value == low) && (value < high || has_high && value == high))
            })
        },
    );
    let lists =
        (select(INTS.to_vec()), vec(whole(), 0..5), any::<bool>()).prop_flat_map(|(name, list, negated)| {
            case(format!("{name} {}in {list:?}", if negated { "not " } else { "" }), move |row| {
                let (value, _) = number(row, name)?;
                Some(list.iter().any(|&member| i128::from(member) == value) != negated)
            })
        });
    let float_lists = (select(vec!["f", "d"]), vec(quarters(), 0..5)).prop_flat_map(|(name, list)| {
        case(format!("{name} IN {list:?}"), move |row| {
            let value = number(row, name)?;
            Some(list.iter().any(|&member| naive::order(naive::fraction(member), value).is_eq()))
        })
    });
    prop_oneof![ints, floats, exact, columns, ranges, lists, float_lists].boxed()
}

fn computed() -> BoxedStrategy<Case> {
    let operator = select(vec!["+", "-", "*", "/", "%"]);
    let ints = (select(INTS.to_vec()), operator.clone(), 1..5_i64, any::<bool>(), sign(), whole())
        .prop_flat_map(|(name, operator, right, is_negative, sign, bound)| {
            let right = if is_negative { -right } else { right };
            case(format!("{name} {operator} {right} {sign} {bound}"), move |row| {
                let result = naive::compute(number(row, name)?, operator, (right.into(), 1), true);
                Some(naive::accepts(sign, Some(naive::order(result, (bound.into(), 1)))))
            })
        });
    // Singles in quarters: every result is exact in a double.
    let floats = (select(vec!["+", "-", "*"]), -4..5_i64, sign(), -8..9_i64).prop_flat_map(
        |(operator, right, sign, bound)| {
            case(format!("f {operator} {right} {sign} {bound}"), move |row| {
                let result = naive::compute(number(row, "f")?, operator, (right.into(), 1), false);
                Some(naive::accepts(sign, Some(naive::order(result, (bound.into(), 1)))))
            })
        },
    );
    let json = (path(), operator, 1..5_i64, sign(), -8..9_i64).prop_flat_map(
        |(path, operator, right, sign, bound)| {
            case(format!("{} {operator} {right} {sign} {bound}", path.text), move |row| {
                let found = (path.find)(row)?;
                let result = found.as_ref().and_then(naive::number).and_then(|(left, is_whole)| {
                    let is_exact =
                        is_whole || left.0.unsigned_abs() < 1 << 20 && operator != "/" && operator != "%";
                    if !is_exact && operator == "%" {
                        return None;
                    }
                    if !is_whole && operator == "/" {
                        // Exact as a fraction: only the order to whole numbers counts.
                        return Some((left.0, left.1 * i128::from(right)));
                    }
                    Some(naive::compute(left, operator, (right.into(), 1), is_whole))
                });
                Some(naive::accepts(sign, result.map(|result| naive::order(result, (bound.into(), 1)))))
            })
        },
    );
    prop_oneof![2 => ints, 1 => floats, 1 => json].boxed()
}

fn texts() -> BoxedStrategy<Case> {
    let name = || select(vec!["s", "t"]);
    let compares = (name(), sign(), letters()).prop_flat_map(|(name, sign, right)| {
        case(format!("{name} {sign} {}", literal(&right)), move |row| {
            Some(naive::accepts(sign, Some(text(row, name)?.cmp(&right))))
        })
    });
    let columns = sign().prop_flat_map(|sign| {
        case(format!("s {sign} t"), move |row| {
            Some(naive::accepts(sign, Some(text(row, "s")?.cmp(&text(row, "t")?))))
        })
    });
    let lists = (name(), vec(letters(), 0..5)).prop_flat_map(|(name, list)| {
        let written = list.iter().map(|member| literal(member)).collect::<Vec<_>>().join(",");
        case(format!("{name} in [{written}]"), move |row| Some(list.contains(&text(row, name)?)))
    });
    let likes = (name(), pattern()).prop_flat_map(|(name, pattern)| {
        case(format!("{name} like {}", literal(&pattern)), move |row| {
            let letters: Vec<char> = text(row, name)?.chars().collect();
            Some(naive::is_like(&letters, &pattern.chars().collect::<Vec<_>>()))
        })
    });
    let searches = (name(), found(), search()).prop_flat_map(|(name, (sign, negated), search)| {
        case(format!("{name} {sign} {}", literal(&search.text())), move |row| {
            Some(search.is_in(&text(row, name)?) != negated)
        })
    });
    let bools = (sign(), any::<bool>()).prop_flat_map(|(sign, right)| {
        case(format!("b {sign} {right}"), move |row| match naive::value(row, "b") {
            Value::Bool(left) => Some(naive::accepts(sign, Some(left.cmp(&right)))),
            _ => None,
        })
    });
    let nulls = (select(vec!["id", "b", "i32", "f", "s", "j", "ai", "at"]), any::<bool>()).prop_flat_map(
        |(name, negated)| {
            case(format!("{name} is {}null", if negated { "not " } else { "" }), move |row| {
                Some((*naive::value(row, name) == Value::Null) != negated)
            })
        },
    );
    prop_oneof![compares, columns, lists, likes, searches, bools, nulls].boxed()
}

/// A pattern without an escape at its end, where the escape stands for itself.
fn pattern() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "文", "%", "_", "\\%", "\\_", "\\\\"]), 0..5).prop_map(|parts| parts.concat())
}

/// A regular expression.
fn search() -> impl Strategy<Value = naive::Search> {
    use naive::Search::{Any, End, Letter, OneOf, Or, Start, Then, Times};
    let letter = || select(vec!['a', 'b', '文', '%', '_', '"', '\\', '\n']);
    let leaf = prop_oneof![
        4 => letter().prop_map(Letter),
        1 => Just(Any),
        1 => (vec(letter(), 1..3), any::<bool>()).prop_map(|(letters, negated)| OneOf(letters, negated)),
        1 => Just(Start),
        1 => Just(End),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let times = select(vec![(0, None), (1, None), (0, Some(1)), (2, None), (1, Some(2))]);
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Then),
            vec(inner.clone(), 1..3).prop_map(Or),
            (inner, times).prop_map(|(inner, (low, high))| Times(Box::new(inner), low, high)),
        ]
    })
}

/// `=~` or `!~`, and whether it is the latter.
fn found() -> impl Strategy<Value = (&'static str, bool)> {
    select(vec![("=~", false), ("!~", true)])
}

/// What is at a path: `None` for a row without the JSON value, `Some(None)` for nothing at the path.
type Find = dyn Fn(&[Value]) -> Option<Option<Json>>;

/// A path, and what is there.
#[derive(Clone)]
struct Path {
    text: String,
    find: Rc<Find>,
}

impl std::fmt::Debug for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text)
    }
}

fn path() -> impl Strategy<Value = Path> {
    let pointers = vec![
        ("j", "j[\"k\"]", "/k"),
        ("j", "j['a'][1]", "/a/1"),
        ("j", "j[0]", "/0"),
        ("j", "j['文\\n\"']['k']", "/文\n\"/k"),
        ("$meta", "k", "/k"),
        ("$meta", "$meta['a']", "/a"),
        ("$meta", "a['k']", "/a/k"),
        ("$meta", "k[0][0]", "/k/0/0"),
    ];
    select(pointers).prop_map(|(field, text, pointer)| Path {
        text: text.to_owned(),
        find: Rc::new(move |row| naive::json(row, field).map(|json| json.pointer(pointer).cloned())),
    })
}

fn paths() -> BoxedStrategy<Case> {
    let compares = (path(), sign(), scalar()).prop_flat_map(|(path, sign, right)| {
        case(format!("{} {sign} {}", path.text, json_literal(&right)), move |row| {
            let found = (path.find)(row)?;
            Some(naive::accepts(sign, found.and_then(|left| naive::order_json(&left, &right))))
        })
    });
    let arrays =
        (path(), select(vec!["==", "!="]), vec(scalar(), 0..3)).prop_flat_map(|(path, sign, right)| {
            let right = Json::from(right);
            case(format!("{} {sign} {}", path.text, json_literal(&right)), move |row| {
                let found = (path.find)(row)?;
                Some(naive::accepts(sign, found.and_then(|left| naive::order_json(&left, &right))))
            })
        });
    let lists = (path(), vec(scalar(), 0..4), any::<bool>()).prop_flat_map(|(path, list, negated)| {
        let written = json_literal(&Json::from(list.clone()));
        case(format!("{} {}in {written}", path.text, if negated { "NOT " } else { "" }), move |row| {
            let found = (path.find)(row)?;
            let is_in = found.is_some_and(|left| {
                list.iter().any(|right| naive::order_json(&left, right) == Some(std::cmp::Ordering::Equal))
            });
            Some(is_in != negated)
        })
    });
    let likes = (path(), pattern()).prop_flat_map(|(path, pattern)| {
        case(format!("{} like {}", path.text, literal(&pattern)), move |row| {
            let found = (path.find)(row)?;
            let pattern: Vec<char> = pattern.chars().collect();
            Some(matches!(found, Some(Json::String(text)) if naive::is_like(&text.chars().collect::<Vec<_>>(), &pattern)))
        })
    });
    let searches = (path(), found(), search()).prop_flat_map(|(path, (sign, negated), search)| {
        case(format!("{} {sign} {}", path.text, literal(&search.text())), move |row| {
            let found = (path.find)(row)?;
            Some(matches!(found, Some(Json::String(text)) if search.is_in(&text)) != negated)
        })
    });
    let exists = (path(), any::<bool>()).prop_flat_map(|(path, by_null)| {
        let text =
            if by_null { format!("{} is not null", path.text) } else { format!("exists {}", path.text) };
        case(text, move |row| Some((path.find)(row).flatten().is_some_and(|json| naive::has_content(&json))))
    });
    let contains = (path(), vec(scalar(), 0..3), any::<bool>()).prop_flat_map(|(path, list, every)| {
        let written = json_literal(&Json::from(list.clone()));
        let name = if every { "json_contains_all" } else { "ARRAY_CONTAINS_ANY" };
        case(format!("{name}({}, {written})", path.text), move |row| {
            let Some(Json::Array(elements)) = (path.find)(row)? else { return Some(false) };
            let holds = |wanted: &Json| {
                elements
                    .iter()
                    .any(|element| naive::order_json(element, wanted) == Some(std::cmp::Ordering::Equal))
            };
            Some(if every { list.iter().all(holds) } else { list.iter().any(holds) })
        })
    });
    let lengths = (path(), sign(), 0..3_i64).prop_flat_map(|(path, sign, right)| {
        case(format!("array_length({}) {sign} {right}", path.text), move |row| {
            let length = (path.find)(row)?.and_then(|json| json.as_array().map(Vec::len)).unwrap_or(0);
            Some(naive::accepts(sign, Some((length as i64).cmp(&right))))
        })
    });
    prop_oneof![3 => compares, 1 => arrays, 1 => lists, 1 => likes, 1 => searches, 1 => exists, 1 => contains, 1 => lengths]
        .boxed()
}

/// The elements of an array as JSON, to compare them as that is compared; numbers that singles hold are exact.
fn elements(row: &[Value], name: &str) -> Option<Vec<Json>> {
    let Value::Array(elements) = naive::value(row, name) else { return None };
    let json = |value: &Value| match value {
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(f64::from(*value)),
        Value::Double(value) => Json::from(*value),
        Value::Text(value) => Json::from(value.clone()),
        other => panic!("no element {other:?}"),
    };
    Some(elements.iter().map(json).collect())
}

/// A constant that elements of the array may be compared with.
fn element_of(name: &str) -> BoxedStrategy<Json> {
    match name {
        "ab" => any::<bool>().prop_map(Json::from).boxed(),
        "ai" | "as" => whole().prop_map(Json::from).boxed(),
        "at" => letters().prop_map(Json::from).boxed(),
        _ => (-16..17_i32).prop_map(|quarters| Json::from(f64::from(quarters) / 4.0)).boxed(),
    }
}

fn arrays() -> BoxedStrategy<Case> {
    let name = || select(vec!["ab", "ai", "as", "af", "ad", "at"]);
    let equal = |left: &Json, right: &Json| naive::order_json(left, right) == Some(std::cmp::Ordering::Equal);
    let compares = (name(), 0..4_usize, sign()).prop_flat_map(|(name, at, sign)| {
        element_of(name).prop_flat_map(move |right| {
            case(format!("{name}[{at}] {sign} {}", json_literal(&right)), move |row| {
                let elements = elements(row, name)?;
                // What is not there is not even unequal.
                let order = elements.get(at).map(|left| naive::order_json(left, &right));
                Some(order.is_some_and(|order| naive::accepts(sign, order)))
            })
        })
    });
    let lists = (name(), 0..4_usize, any::<bool>()).prop_flat_map(move |(name, at, negated)| {
        vec(element_of(name), 0..4).prop_flat_map(move |list| {
            let written = json_literal(&Json::from(list.clone()));
            case(format!("{name}[{at}] {}in {written}", if negated { "not " } else { "" }), move |row| {
                let found = elements(row, name)?
                    .get(at)
                    .is_some_and(|left| list.iter().any(|right| equal(left, right)));
                Some(found != negated)
            })
        })
    });
    let wholes = (name(), select(vec!["==", "!="])).prop_flat_map(|(name, sign)| {
        vec(element_of(name), 0..3).prop_flat_map(move |list| {
            let right = Json::from(list);
            case(format!("{name} {sign} {}", json_literal(&right)), move |row| {
                let left = Json::from(elements(row, name)?);
                Some(naive::accepts(sign, naive::order_json(&left, &right)))
            })
        })
    });
    let contains = (name(), any::<bool>()).prop_flat_map(move |(name, every)| {
        vec(element_of(name), 0..3).prop_flat_map(move |list| {
            let function = if every { "array_contains_all" } else { "JSON_CONTAINS_ANY" };
            let written = json_literal(&Json::from(list.clone()));
            case(format!("{function}({name}, {written})"), move |row| {
                let elements = elements(row, name)?;
                let holds = |wanted: &Json| elements.iter().any(|element| equal(element, wanted));
                Some(if every { list.iter().all(holds) } else { list.iter().any(holds) })
            })
        })
    });
    let lengths = (name(), sign(), 0..4_i64).prop_flat_map(|(name, sign, right)| {
        case(format!("array_length({name}) {sign} {right}"), move |row| {
            Some(naive::accepts(sign, Some((elements(row, name)?.len() as i64).cmp(&right))))
        })
    });
    let likes = (0..3_usize, pattern()).prop_flat_map(|(at, pattern)| {
        case(format!("at[{at}] like {}", literal(&pattern)), move |row| {
            let pattern: Vec<char> = pattern.chars().collect();
            let elements = elements(row, "at")?;
            let text = elements.get(at).and_then(Json::as_str);
            Some(text.is_some_and(|text| naive::is_like(&text.chars().collect::<Vec<_>>(), &pattern)))
        })
    });
    let searches = (0..3_usize, found(), search()).prop_flat_map(|(at, (sign, negated), search)| {
        case(format!("at[{at}] {sign} {}", literal(&search.text())), move |row| {
            let elements = elements(row, "at")?;
            let text = elements.get(at).and_then(Json::as_str);
            Some(text.is_some_and(|text| search.is_in(text)) != negated)
        })
    });
    let computed = (
        select(vec!["ai", "as"]),
        0..3_usize,
        select(vec!["+", "-", "*", "/", "%"]),
        1..5_i64,
        sign(),
        whole(),
    )
        .prop_flat_map(|(name, at, operator, right, sign, bound)| {
            case(format!("{name}[{at}] {operator} {right} {sign} {bound}"), move |row| {
                let elements = elements(row, name)?;
                let Some(left) = elements.get(at).and_then(Json::as_i64) else { return Some(false) };
                let result = naive::compute((left.into(), 1), operator, (right.into(), 1), true);
                Some(naive::accepts(sign, Some(naive::order(result, (bound.into(), 1)))))
            })
        });
    prop_oneof![3 => compares, 1 => lists, 1 => wholes, 2 => contains, 1 => lengths, 1 => likes, 1 => searches, 1 => computed].boxed()
}

pub(super) fn expression() -> impl Strategy<Value = Case> {
    let leaf = prop_oneof![
        4 => numbers(),
        2 => computed(),
        3 => texts(),
        4 => paths(),
        3 => arrays(),
        1 => any::<bool>().prop_flat_map(|holds| case(holds.to_string(), move |_| Some(holds))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let not = (inner.clone(), select(vec!["not ", "!", "NOT "])).prop_map(|(inner, word)| Case {
            text: format!("{word}({})", inner.text),
            truth: Rc::new(move |row| (inner.truth)(row).map(|truth| !truth)),
        });
        let all =
            (vec(inner.clone(), 2..4), select(vec![" and ", " && ", " AND "])).prop_map(|(parts, word)| {
                Case {
                    text: joined(&parts, word),
                    truth: Rc::new(move |row| {
                        let truths: Vec<_> = parts.iter().map(|part| (part.truth)(row)).collect();
                        if truths.contains(&Some(false)) {
                            Some(false)
                        } else {
                            truths.into_iter().try_fold(true, |_, truth| truth)
                        }
                    }),
                }
            });
        let any = (vec(inner, 2..4), select(vec![" or ", " || ", " OR "])).prop_map(|(parts, word)| Case {
            text: joined(&parts, word),
            truth: Rc::new(move |row| {
                let truths: Vec<_> = parts.iter().map(|part| (part.truth)(row)).collect();
                if truths.contains(&Some(true)) {
                    Some(true)
                } else {
                    truths.into_iter().try_fold(false, |_, truth| truth)
                }
            }),
        });
        prop_oneof![not, all, any]
    })
}

fn joined(parts: &[Case], word: &str) -> String {
    parts.iter().map(|part| format!("({})", part.text)).collect::<Vec<_>>().join(word)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_agrees_with_the_naive_evaluator(case in expression(), rows in vec(row(), 0..70)) {
        let filter = parse(&case.text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let chosen: Vec<usize> = filter.evaluate(&batch(&schema(), &rows)).expect("all columns are there").iter().collect();
        let expected: Vec<usize> = (0..rows.len()).filter(|&at| (case.truth)(&rows[at]) == Some(true)).collect();
        prop_assert_eq!(chosen, expected);
    }

    #[test]
    fn rows_are_never_left_out_by_what_is_known_of_their_columns(case in expression(), rows in vec(row(), 0..4)) {
        let filter = parse(&case.text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let rows = batch(&schema(), &rows);
        let scalars = rows.columns.iter().filter(|column| !column.data.data_type().is_vector());
        let zones: Vec<Zone> = scalars.map(Zone::of).collect();
        let zone_of = |field| zones.iter().find(|zone| zone.field == field);
        let found = filter.evaluate(&rows).expect("all columns are there").count();
        prop_assert!(found == 0 || filter.may_hold(&zone_of), "{found} rows");
        prop_assert!(found == 0 || filter.may_hold(&|_| None));
    }

    #[test]
    fn the_canonical_text_parses_to_an_equal_filter(case in expression()) {
        let filter = parse(&case.text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let canonical = filter.to_string();
        prop_assert_eq!(parse(&canonical, &schema(), &Templates::new()), Ok(filter));
    }

    #[test]
    fn the_bytes_of_a_filter_are_read_as_an_equal_filter(case in expression()) {
        let filter = parse(&case.text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter));
    }

    #[test]
    fn damaged_bytes_of_a_filter_never_panic(
        case in expression(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let filter = parse(&case.text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut bytes = filter.to_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Filter::from_bytes(&bytes);
    }

    #[test]
    fn any_text_parses_or_fails_but_never_panics(text in "\\PC{0,40}") {
        let _ = parse(&text, &schema(), &Templates::new());
    }

    #[test]
    fn any_run_of_tokens_parses_or_fails_but_never_panics(tokens in vec(select(TOKENS.to_vec()), 0..14)) {
        let text = tokens.join(" ");
        if let Ok(filter) = parse(&text, &schema(), &super::templates()) {
            prop_assert_eq!(parse(&filter.to_string(), &schema(), &Templates::new()), Ok(filter.clone()));
            let rows = batch(&schema(), &[]);
            prop_assert!(filter.evaluate(&rows).is_ok());
        }
    }
}

const TOKENS: [&str; 77] = [
    "id",
    "b",
    "i8",
    "f",
    "d",
    "s",
    "j",
    "v",
    "ai",
    "at[1]",
    "array_contains_all(",
    "zzz",
    "$meta",
    "[",
    "]",
    "[0]",
    "['k']",
    "(",
    ")",
    "{",
    "}",
    "{number}",
    "{list}",
    "1",
    "0",
    "-1",
    "9223372036854775808",
    "0x1p3",
    "1.5",
    ".5",
    "1.",
    "1e400",
    "017",
    "08",
    "'a'",
    "\"b\"",
    "'",
    "\\",
    "r'\\'",
    "true",
    "FALSE",
    "null",
    "is null",
    "IS NOT NULL",
    "is",
    "and",
    "or",
    "not",
    "in",
    "NOT",
    "like",
    "=~",
    "!~",
    "exists",
    "json_contains(",
    "array_length(",
    "text_match(",
    "random_sample(",
    "st_within(",
    "starts_with(",
    ",",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "<<",
    "&",
    "~",
    "=",
    "ISO 'x'",
];

#[test]
fn the_deepest_filter_has_bytes_too() {
    let deep = (0..31).fold("i64 > 0".to_owned(), |inner, level| format!("not (i8 == {level} and {inner})"));

    let filter = parse(&deep, &schema(), &Templates::new()).unwrap();

    assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter));
}
