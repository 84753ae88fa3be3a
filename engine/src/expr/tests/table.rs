//! Texts and what becomes of them.

use super::{batch, closed_schema, filter, schema, templates};
use crate::base::FieldId;
use crate::expr::{Error, Templates, parse};
use crate::model::{Batch, ColumnData, Keys, Value};

/// Ten rows: `id` 0 to 9, `a` in `$meta` twice that; see each column for the gaps.
fn rows() -> Batch {
    fn array(elements: impl IntoIterator<Item = Value>) -> Value {
        Value::Array(elements.into_iter().collect())
    }
    let all: Vec<Vec<Value>> = (0..10_i64)
        .map(|id| {
            let unless = |gap: bool, value: Value| if gap { Value::Null } else { value };
            let json = match id {
                0 => r#"{"k": 3, "arr": [3, 4], "n": {"x": 1}}"#,
                1 => r#"{"k": "3", "arr": [], "z": null}"#,
                2 => r#"{"k": 3.0, "arr": [1, "a", [1, 2]], "z": {}}"#,
                3 => r#"{"k": true, "arr": 7, "z": {"y": []}}"#,
                4 => r#"{"k": 4, "z": [null]}"#,
                5 => r#"{"k": -1, "s": "s10", "z": [0]}"#,
                6 => r#"{"arr": [3.0], "s": "t"}"#,
                7 => "[1, 2, 3]",
                8 => r#"{"k": null}"#,
                _ => "3",
            };
            vec![
                Value::Int(id),
                unless(id == 9, Value::Bool(id % 2 == 0)),
                Value::Int(id),
                Value::Int(id * 1000),
                unless(id == 8, Value::Int(id)),
                unless(id == 7, Value::Int(id * 10)),
                unless(id == 6, Value::Float(id as f32 / 10.0)),
                unless(id == 5, Value::Double(id as f64 + 0.5)),
                unless(id == 4, Value::Text(format!("s{id}"))),
                Value::Text(
                    ["手机A", "手机B", "xPro", "A_", "AB", "a%b", "iPhone Pro", "", "文档1", "Ab"]
                        [id as usize]
                        .to_owned(),
                ),
                unless(id == 9, Value::Json(json.to_owned())),
                Value::Vector(vec![0.0, 1.0]),
                unless(id == 2, Value::Array(vec![Value::Bool(id % 2 == 0)])),
                unless(id == 1, array((0..id % 4).map(|at| Value::Int(id + at)))),
                array((0..id % 3).map(Value::Int)),
                array([Value::Float(0.1), Value::Float(id as f32)]),
                array((0..id).map(|at| Value::Double(at as f64 / 2.0))),
                unless(
                    id == 9,
                    array(
                        ["a", "b%", "文"][..(id % 4) as usize]
                            .iter()
                            .map(|text| Value::Text((*text).to_owned())),
                    ),
                ),
                Value::Json(if id == 3 {
                    "{}".to_owned()
                } else {
                    format!(r#"{{"a": {}, "标题": "文档{id}", "tags": ["AI", {id}]}}"#, id * 2)
                }),
            ]
        })
        .collect();
    batch(&schema(), &all)
}

fn chosen(text: &str) -> Vec<usize> {
    let filter = parse(text, &schema(), &templates()).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.evaluate(&rows()).expect("all columns are there").iter().collect()
}

fn refusal(text: &str) -> String {
    match parse(text, &schema(), &templates()) {
        Ok(filter) => panic!("{text} parsed as {filter}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_whole_json_value_is_compared_as_what_it_is() {
    let values = ["3", "3.0", "\"3\"", "true", "null", r#"{"k": 3}"#, "[3]", "-1", "\"s1\"", "300"];
    let schema = schema();
    let field = schema.field("j").expect("the schema has it").id;
    let mut rows = rows();
    let column = rows.columns.iter_mut().find(|column| column.field == field).expect("the rows have it");
    column.data = ColumnData::Json(values.into_iter().collect());
    column.valid = None;
    let cases: &[(&str, &[usize])] = &[
        ("j == 3", &[0, 1]),
        ("3 < j", &[9]),
        ("-5 < j <= 3", &[0, 1, 7]),
        ("j == \"3\"", &[2]),
        ("j == true", &[3]),
        ("j == [3]", &[6]),
        ("j in [3, 's1']", &[0, 1, 8]),
        ("j not in [3, 's1', 300]", &[2, 3, 4, 5, 6, 7]),
        ("j + 1 == 4", &[0, 1]),
        ("j like \"s%\"", &[8]),
    ];
    for (text, expected) in cases {
        let filter = parse(text, &schema, &templates()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let chosen: Vec<usize> = filter.evaluate(&rows).expect("all columns are there").iter().collect();
        assert_eq!(&chosen, expected, "{text}");
    }
}

#[test]
fn expressions_choose_their_rows() {
    let cases: &[(&str, &[usize])] = &[
        // comparison and spelling
        ("id == 3", &[3]),
        ("3 == id", &[3]),
        ("id != 3", &[0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("0x2 == id", &[2]),
        ("id == 010", &[8]),
        ("id == 0b11", &[3]),
        ("id == 2 + 1", &[3]),
        ("1 + 1 == i32", &[2]),
        ("id == 2 ** 3", &[8]),
        ("id >= 8 && id < 9", &[8]),
        ("id < 1 || id > 8", &[0, 9]),
        ("! (id > 2)", &[0, 1, 2]),
        ("NOT (id > 2) AND id != 0 OR id == 9", &[1, 2, 9]),
        ("id==1 or id==2 and i32==9", &[1]),
        ("i8 == 300", &[]),
        ("i16 > 7999", &[8, 9]),
        ("id > -9223372036854775808", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("id == -(-1)", &[1]),
        ("\t(id\n == 1)\r\n", &[1]),
        // ranges
        ("1 < id < 4", &[2, 3]),
        ("4 >= id > 2", &[3, 4]),
        ("5 > id >= 3", &[3, 4]),
        ("\"s1\" < s < \"s3\"", &[2]),
        ("3 <= a <= 8", &[2, 4]),
        ("1 <= $meta[\"a\"] < 3", &[1]),
        // membership
        ("id in [1, 2, 2, 99,]", &[1, 2]),
        ("id in []", &[]),
        ("id not in []", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("i32 not in [0,1,2,3,4,5]", &[6, 7, 9]),
        ("id IN [1+1]", &[2]),
        ("id NOT IN [0,1,2,3,4,5,6,7]", &[8, 9]),
        ("s in ['s1', \"s2\"]", &[1, 2]),
        ("f in [0.1, 1, 0.2]", &[1, 2]),
        ("d in [0.5, 1]", &[0]),
        ("b in [true]", &[0, 2, 4, 6, 8]),
        ("id in {list}", &[1, 5]),
        ("id == 1 or id == 3 or id in [5, 1] or s == 's7'", &[1, 3, 5, 7]),
        ("not (i32 == 1 or i32 in [2, 3] or i32 == 4)", &[0, 5, 6, 7, 9]),
        ("a == 2 or a == 4.0 or a == \"x\" or $meta['a'] == 8", &[1, 2, 4]),
        // singles are compared as singles
        ("f == 0.1", &[1]),
        ("f <= 0.1", &[0, 1]),
        ("d == 1.5", &[1]),
        ("d > 8", &[8, 9]),
        // arithmetic
        ("id % 5 == 0", &[0, 5]),
        ("id * 2 == 8", &[4]),
        ("2 * id == 8", &[4]),
        ("id / 3 == 1", &[3, 4, 5]),
        ("id + 1 > 9", &[9]),
        ("id - 1 < 0", &[0]),
        ("id * 1.5 == 3", &[2]),
        ("d * 2 >= 17", &[8, 9]),
        ("a + 1 == 5", &[2]),
        ("a % 4 == 0", &[0, 2, 4, 6, 8]),
        ("a / 4 == 1", &[2]),
        ("nokey + 1 != 5", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("id * 9223372036854775807 > 0", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        // columns against columns
        ("id == i32", &[0, 1, 2, 3, 4, 5, 6, 7, 9]),
        ("id < d", &[0, 1, 2, 3, 4, 6, 7, 8, 9]),
        ("i64 > id", &[1, 2, 3, 4, 5, 6, 8, 9]),
        ("s == t", &[]),
        // like
        ("t like \"手机%\"", &[0, 1]),
        ("t like '%Pro'", &[2, 6]),
        ("t LIKE '%Pro%'", &[2, 6]),
        ("t like 'A_'", &[3, 4, 9]),
        (r"t like 'A\_'", &[3]),
        (r"t like 'A\\_'", &[3]),
        (r"t like 'a\%b'", &[5]),
        ("not t like \"手机%\"", &[2, 3, 4, 5, 6, 7, 8, 9]),
        ("t like {text}", &[5]),
        ("标题 like \"文档1%\"", &[1]),
        // regular expressions
        ("t =~ 'Pro'", &[2, 6]),
        ("t =~ \"^手机\"", &[0, 1]),
        ("t !~ '^手机'", &[2, 3, 4, 5, 6, 7, 8, 9]),
        ("not t =~ \"^手机\" and id < 4", &[2, 3]),
        (r"t =~ '^A\W?.$'", &[3, 4, 9]),
        ("t =~ {text}", &[5]),
        ("j[\"s\"] =~ \"^s1\"", &[5]),
        ("j =~ 'x'", &[]),
        ("nokey !~ '.*'", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("empty(t)", &[7]),
        ("Starts_With(t, \"A_\")", &[3]),
        ("starts_with(s, s)", &[0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ("starts_with(s, t)", &[7]),
        ("not starts_with(t, s)", &[0, 1, 2, 3, 5, 6, 7, 8, 9]),
        // nulls: unknown is not chosen, whichever way it is turned
        ("i32 > 7", &[9]),
        ("not (i32 > 7)", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("i32 != 7", &[0, 1, 2, 3, 4, 5, 6, 9]),
        ("i32 is null", &[8]),
        ("i32 IS NOT NULL and id > 6", &[7, 9]),
        ("not (i32 is null) and id > 6", &[7, 9]),
        ("i32 > 7 or id == 8", &[8, 9]),
        ("not (i32 > 7 and id == 8)", &[0, 1, 2, 3, 4, 5, 6, 7, 9]),
        ("not (i32 > 7 and id == 7)", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("b == true and i32 > 1", &[2, 4, 6]),
        ("id is null", &[]),
        ("j is null", &[9]),
        // JSON: two-valued unless the whole value is missing
        ("j[\"k\"] == 3", &[0, 2]),
        ("j['k'] == 3.0", &[0, 2]),
        ("j[\"k\"] == \"3\"", &[1]),
        ("j[\"k\"] == 1", &[]),
        ("j[\"k\"] == true", &[3]),
        ("j[\"k\"] != 3", &[1, 3, 4, 5, 6, 7, 8]),
        ("not (j[\"k\"] == 3)", &[1, 3, 4, 5, 6, 7, 8]),
        ("j[\"k\"] not in [3]", &[1, 3, 4, 5, 6, 7, 8]),
        ("j[\"k\"] in [3, 4.0, \"3\", true]", &[0, 1, 2, 3, 4]),
        ("j[\"k\"] < 4", &[0, 2, 5]),
        ("j[\"arr\"] == [3, 4]", &[0]),
        ("j[\"arr\"][0] == 3", &[0, 6]),
        ("j[0] == 1", &[7]),
        ("j == [1, 2, 3]", &[7]),
        ("j != [1, 2, 3]", &[0, 1, 2, 3, 4, 5, 6, 8]),
        ("j[\"n\"]['x'] == 1", &[0]),
        ("j[\"s\"] like \"s1%\"", &[5]),
        ("exists j[\"k\"]", &[0, 1, 2, 3, 4, 5]),
        ("exists j[\"z\"]", &[5]),
        ("not exists j[\"k\"]", &[6, 7, 8, 9]),
        ("j[\"k\"] is null", &[6, 7, 8, 9]),
        ("j[\"k\"] is not null", &[0, 1, 2, 3, 4, 5]),
        ("json_contains(j[\"arr\"], 3)", &[0, 6]),
        ("JSON_CONTAINS(j[\"arr\"], [1, 2])", &[2]),
        ("json_contains_all(j[\"arr\"], [1, \"a\"])", &[2]),
        ("JSON_CONTAINS_ANY(j[\"arr\"], [4, \"a\"])", &[0, 2]),
        ("not json_contains(j[\"arr\"], 3)", &[1, 2, 3, 4, 5, 7, 8]),
        ("json_contains(j, 2)", &[7]),
        ("array_length(j[\"arr\"]) == 2", &[0]),
        ("array_length(j[\"arr\"]) > 0", &[0, 2, 6]),
        ("array_length(j[\"arr\"]) == 0", &[1, 3, 4, 5, 7, 8]),
        // arrays; an element that is not there satisfies no comparison
        ("ai[0] == 5", &[5]),
        ("ai[1] != 6", &[2, 3, 6, 7]),
        ("ai[2] > 0", &[3, 7]),
        ("ai[9] != 0", &[]),
        ("not (ai[0] == 5)", &[0, 2, 3, 4, 6, 7, 8, 9]),
        ("2 < ai[0] < 7", &[3, 5, 6]),
        ("ai[0] + 1 == 6", &[5]),
        ("ai[0] % 2 == 1", &[3, 5, 7, 9]),
        ("ai[0] in [5, 6, 8]", &[5, 6]),
        ("ai[0] == 5 or ai[0] == 6", &[5, 6]),
        ("ai == [6, 7]", &[6]),
        ("ai == []", &[0, 4, 8]),
        ("ai == [] or ai == [6, 7]", &[0, 4, 6, 8]),
        ("[6, 7] != ai", &[0, 2, 3, 4, 5, 7, 8, 9]),
        ("ai is null", &[1]),
        ("ai is not null and id < 3", &[0, 2]),
        ("array_length(ai) == 0", &[0, 4, 8]),
        ("array_length(ai) != 0", &[2, 3, 5, 6, 7, 9]),
        ("array_contains(ai, 8)", &[7]),
        ("not array_contains(ai, 8)", &[0, 2, 3, 4, 5, 6, 8, 9]),
        ("json_contains(ai, 8)", &[7]),
        ("array_contains_all(ai, [7, 8])", &[7]),
        ("ARRAY_CONTAINS_ANY(ai, [5, 9])", &[3, 5, 7, 9]),
        ("array_contains_any(ai, [])", &[]),
        ("array_contains_all(ai, [])", &[0, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("ab[0] == true", &[0, 4, 6, 8]),
        ("array_contains(ab, false)", &[1, 3, 5, 7, 9]),
        ("as[1] == 1", &[2, 5, 8]),
        ("as[0] in {list}", &[]),
        ("af[0] == 0.1 and af[1] > 7.5", &[8, 9]),
        ("af == [0.1, 3]", &[3]),
        ("array_contains(ad, 0.5) and array_contains(ad, 4)", &[9]),
        ("at[0] == 'a' and id < 3", &[1, 2]),
        ("at[1] like 'b\\%'", &[2, 3, 6, 7]),
        ("at[2] like '_'", &[3, 7]),
        ("at[9] =~ '.*' or (at[9] !~ '.*' and id < 3)", &[0, 1, 2]),
        ("array_contains(at, '文')", &[3, 7]),
        ("id == 2 and ai[0] == 2", &[2]),
        // dynamic keys
        ("a == 4", &[2]),
        ("$meta[\"a\"] == 4", &[2]),
        ("a == 4.0", &[2]),
        ("a == \"4\"", &[]),
        ("nokey == 1", &[]),
        ("nokey != 1", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("exists a", &[0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("tags[0] == \"AI\" and tags[1] == 5", &[5]),
        ("json_contains(tags, \"AI\") and id < 2", &[0, 1]),
        ("array_length(tags) == 2 and id > 7", &[8, 9]),
        ("a < {number}", &[0, 1, 2]),
        ("d > {half} and d < 2", &[1]),
        // constants
        ("true", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("false or id == 1", &[1]),
        ("1 < 2 and id == 1", &[1]),
        ("1 == 1.0 and id == 1", &[1]),
        ("'a' == u8\"a\" and id == 1", &[1]),
        (r#""\x41\102\u0043" == 'ABC' and id == 1"#, &[1]),
    ];
    for (text, rows) in cases {
        assert_eq!(chosen(text), *rows, "{text}");
    }
}

#[test]
fn refusals_speak_as_milvus_does() {
    let cases = [
        ("not id > 5", "not op can only be applied on boolean expression"),
        ("not id in [1,2]", "not op can only be applied on boolean expression"),
        ("not b == true", "not op can only be applied on boolean expression"),
        ("b", "predicate is not a boolean expression: b, data type: Bool"),
        ("id", "predicate is not a boolean expression: id, data type: Int64"),
        ("1", "predicate is not a boolean expression: 1, data type: Int64"),
        ("id + 1", "predicate is not a boolean expression: id + 1, data type: Int64"),
        ("b and id > 1", "'and' can only be used between boolean expressions"),
        ("id > 1 or 1", "'or' can only be used between boolean expressions"),
        ("id > 1 > 0", "comparisons between Bool and Int64 are not supported"),
        ("s > 5", "comparisons between VarChar and Int64 are not supported"),
        ("5 > s", "comparisons between Int64 and VarChar are not supported"),
        ("id == true", "comparisons between Int64 and Bool are not supported"),
        ("f == \"abc\"", "comparisons between Float and VarChar are not supported"),
        ("v == 1", "comparisons between FloatVector and Int64 are not supported"),
        ("s == id", "comparisons between VarChar and Int64 are not supported"),
        ("id == 1.5", "cannot cast value to Int64, value: float_val:1.5"),
        ("i8 == 1.0", "cannot cast value to Int8, value: float_val:1"),
        ("id in [1, \"a\"]", "value '\"a\"' in list cannot be casted to Int64"),
        ("id in [1, 1.5]", "value '1.5' in list cannot be casted to Int64"),
        ("s in [1]", "value '1' in list cannot be casted to VarChar"),
        ("id in [i8]", "value 'i8' in list cannot be a non-const expression"),
        ("id in 1", "the right-hand side of 'in' must be a list, but got: 1"),
        ("id in {number}", "the value of term expression template variable {number} is not array"),
        ("1 in [1]", "'in' can only be used on non-const expression"),
        ("id + 1 in [1]", "'in' can only be used on single field"),
        ("(id > 1) in [1]", "'in' can only be used on single field"),
        ("2 < id < 1", "invalid range: lowerbound is greater than upperbound"),
        ("1 < id < 1", "invalid range: lowerbound is greater than upperbound"),
        ("1 < id < i8", "upperbound cannot be a non-const expression: i8"),
        ("false < b < true", "invalid range operations on boolean expr"),
        ("id + i8 == 1", "not supported to do arithmetic operations between multiple fields"),
        ("id % 2.5 == 1", "modulo can only apply on integer types"),
        ("d % 2 == 1", "modulo can only apply on integer types"),
        ("id / 0 == 1", "division or modulus by zero"),
        ("id % 0 == 1", "division or modulus by zero"),
        ("1 / 0 == 1", "division or modulus by zero"),
        ("s + 1 == 2", "add cannot apply on string field"),
        ("b - 1 == 2", "subtract cannot apply on bool field"),
        ("id + 1 + 2 == 4", "complicated arithmetic operations are not supported"),
        ("1 - id == 4", "subtract field is not yet supported"),
        ("4 % id == 4", "module field is not yet supported"),
        ("id ** 2 == 4", "power can only apply on constants"),
        ("id << 2 == 4", "shift is not supported"),
        ("id & 1 == 1", "BitAnd is not supported: id & 1 == 1"),
        ("-id == 1", "unary operator - is not supported on: id"),
        (
            "id == 9223372036854775808",
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
        ),
        ("id == 9223372036854775807 + 1", "the constant expression 9223372036854775807 + 1 is out of range"),
        ("d == 1e999", "strconv.ParseFloat: parsing \"1e999\": value out of range"),
        ("id =~ \"a\"", "regex match on non-string or non-json field is unsupported"),
        ("ai =~ 'a'", "regex match on non-string or non-json field is unsupported"),
        ("s =~ '('", "invalid regex pattern: unclosed group"),
        ("s =~ t", "the right operand of regex match must be a string literal, but got: t"),
        ("s =~ {number}", "the value of regex expression template variable {number} is not string"),
        ("id like \"a\"", "like operation on non-string or no-json field is unsupported"),
        ("s like {number}", "the value of like expression template variable {number} is not string"),
        ("s like {none}", "the value of expression template variable name {none} is not found"),
        ("exists id", "exists operations are only supportted on json key"),
        ("exists j", "exists operations are only supportted on json key"),
        ("v is null", "IsNull/IsNotNull operations are not supported on vector fields"),
        ("j[\"a\"] == j[\"b\"]", "two column comparison with JSON type is not supported"),
        ("a == id", "two column comparison with JSON type is not supported"),
        ("id == null", "two column comparison with JSON type is not supported"),
        ("id[0] == 1", "Int64 data type not supported accessed with []"),
        ("json_contains_all(j[\"a\"], 1)", "ContainsAll operation element must be an array"),
        ("json_contains_any(j[\"a\"], 1)", "ContainsAny operation element must be an array"),
        (
            "json_contains(id, 1)",
            "contains operation are only supported on json or array fields now, got: id",
        ),
        ("ai == 1", "comparisons between Array and Int64 are not supported"),
        ("ai > [1]", "can not comparisons array fields directly"),
        ("ai == as", "can not comparisons array fields directly"),
        ("ai[0] == id", "can not comparisons array fields directly"),
        ("ai in [[1]]", "can not comparisons array fields directly"),
        ("ai == ['a']", "value '\"a\"' in list cannot be casted to Int64"),
        ("ai[0] == 'a'", "comparisons between Int64 and VarChar are not supported"),
        ("ai[0] == 1.5", "cannot cast value to Int64, value: float_val:1.5"),
        ("ai[0] in [1.5]", "value '1.5' in list cannot be casted to Int64"),
        ("ai['k'] == 1", "Array data type not supported accessed with []"),
        ("ai[0][1] == 1", "Array data type not supported accessed with []"),
        ("ai + 1 == 2", "add cannot apply on array field"),
        ("at[0] + 1 == 2", "add cannot apply on string field"),
        ("ad[0] % 2 == 1", "modulo can only apply on integer types"),
        ("ai[0] is null", "IsNull/IsNotNull operations are not supported on array element access"),
        ("exists ai[0]", "exists operations are only supportted on json key"),
        ("ai like 'a'", "like operation on non-string or no-json field is unsupported"),
        (
            "array_contains(ai, 'a')",
            "contains operation can't compare between array element type: Int64 and VarChar",
        ),
        (
            "array_contains_any(at, ['a', 1])",
            "contains operation can't compare between array element type: VarChar and Int64",
        ),
        ("array_contains_all(ai, 1)", "ContainsAll operation element must be an array"),
        (
            "array_contains(ai[0], 1)",
            "contains operation are only supported on json or array fields now, got: ai[0]",
        ),
        (
            "array_length(ai[0]) == 1",
            "array_length operation are only supported on json or array fields now, got: ai[0]",
        ),
        ("text_match(s, \"a\")", "field \"s\" does not enable match"),
        ("text_match(id, \"a\")", "text match operation on non-string is unsupported"),
        (
            "random_sample(1.5)",
            "the sample factor should be between 0 and 1 and not too close to 0 or 1(1.5)",
        ),
        ("id > ISO '2025-01-01T00:00:00Z'", "field 'id' is not a timestamptz datatype"),
        ("foo(id)", "function foo(int64_t) not found"),
        ("Empty()", "function empty() not found"),
        ("empty(i8)", "function empty(int8_t) not found"),
        ("starts_with(s)", "function starts_with(string) not found"),
        ("starts_with(f, 'a')", "function starts_with(float, string) not found"),
        ("id ===1", "line 1:5 token recognition error at: '='"),
        ("id == 1;", "line 1:7 token recognition error at: ';'"),
        ("price >", "line 1:7 mismatched input '<EOF>' expecting {'(', '[', '{', literal, identifier}"),
        ("(id > 1", "line 1:7 mismatched input '<EOF>' expecting ')'"),
        ("id > 1 id", "invalid expression: id > 1 id"),
        ("", "line 1:0 mismatched input '<EOF>' expecting {'(', '[', '{', literal, identifier}"),
        ("d > {nan}", "the value of expression template variable {nan} is not a number or infinity"),
    ];
    for (text, message) in cases {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn names_outside_a_closed_schema_do_not_exist() {
    for (text, message) in [
        ("zzz == 1", "field zzz not exist"),
        ("ID == 1", "field ID not exist"),
        ("$meta[\"a\"] == 1", "field $meta not exist"),
        ("exists zzz[\"a\"]", "field zzz not exist"),
    ] {
        let error = parse(text, &closed_schema(), &Templates::new()).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_long_chains_are_not() {
    let deep = format!("{}id > 1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(parse(&deep, &schema(), &Templates::new()), Err(Error::TooDeep { .. })));
    for text in ["not ", "- ", "exists ", "[", "1 + ", "{"] {
        assert!(parse(&text.repeat(100_000), &schema(), &Templates::new()).is_err());
    }
    let chain = (0..20_000).map(|id| format!("id == {id}")).collect::<Vec<_>>().join(" or ");
    let chain = parse(&chain, &schema(), &Templates::new()).expect("a chain is flat");
    assert_eq!(parse(&chain.to_string(), &schema(), &Templates::new()), Ok(chain));
    let nested = format!("{}id > 1{}", "(".repeat(200), ")".repeat(200));
    assert_eq!(filter(&nested), filter("id > 1"));
    assert!(parse(&format!("{}1 == id", "1 + ".repeat(100_000)), &schema(), &Templates::new()).is_err());
}

#[test]
fn the_deepest_tree_has_a_canonical_text_that_parses() {
    let mut text = "id > 1".to_owned();
    for level in 0..31 {
        text = format!("not ({text} {} id == {level})", if level % 2 == 0 { "and" } else { "or" });
    }
    let filter = filter(&text);
    assert_eq!(parse(&filter.to_string(), &schema(), &Templates::new()), Ok(filter));
}

#[test]
fn key_lists_are_told_from_other_expressions() {
    let keys = |text: &str| filter(text).keys(&schema());
    assert_eq!(keys("id in [3, 1, 3]"), Some(Keys::Int(vec![3, 1])));
    assert_eq!(keys("((id == 7))"), Some(Keys::Int(vec![7])));
    assert_eq!(keys("id in []"), Some(Keys::Int(Vec::new())));
    assert_eq!(keys("id == 5 or id in [7, 1]"), Some(Keys::Int(vec![5, 7, 1])));
    for text in
        ["id in [1] and i8 == 2", "id not in [1]", "id > 1", "i64 in [1]", "id + 1 == 2", "true", "a in [1]"]
    {
        assert_eq!(keys(text), None, "{text}");
    }
}

#[test]
fn only_constants_are_always_true() {
    for text in ["true", "1 == 1", "id > 1 or true", "not (1 > 2)", "not false and 'a' < 'b'"] {
        assert!(filter(text).is_always_true(), "{text}");
    }
    for text in ["false", "id == id", "id is not null", "id not in []", "id > 1 and true"] {
        assert!(!filter(text).is_always_true(), "{text}");
    }
}

#[test]
fn the_regular_expressions_of_a_filter_are_short_together() {
    let one = format!("t =~ '{}'", "a".repeat(1_500));
    let reason = "those of one filter are longer than 2048 bytes together".to_owned();

    assert!(parse(&one, &schema(), &Templates::new()).is_ok());
    assert_eq!(
        parse(&format!("{one} or {one}"), &schema(), &Templates::new()),
        Err(Error::RegexPattern { reason })
    );
}

#[test]
fn a_filter_knows_the_columns_it_reads() {
    let fields = |text: &str| filter(text).fields().into_iter().map(|FieldId(id)| id).collect::<Vec<_>>();
    assert_eq!(fields("s == 'a' and (id > 1 or not (zzz == 1)) and id < 9"), [100, 108, 118]);
    assert_eq!(fields("true"), Vec::<i64>::new());
    assert_eq!(fields("id < d or j['a'] is null or exists j['b'] or json_contains(j, 1)"), [100, 107, 110]);
}

#[test]
fn rows_without_the_column_are_a_defect_that_is_told() {
    let mut rows = rows();
    rows.columns.remove(0);
    assert_eq!(filter("id > 1").evaluate(&rows), Err(Error::Column { field: FieldId(100) }));
}

#[test]
fn canonical_texts_parse_to_equal_filters() {
    for text in [
        "id in [1, 2]",
        "not (id == 1 and (s like 'a\\\\%\\\"' or d < -1.5e300))",
        r#"j["a\n\"\\"][0] != [1, [true, "x"]]"#,
        "a + -5 >= 3",
        "array_length(tags) == 2",
        "json_contains_all(j, [1, 2.5])",
        "f in [0.1, 1]",
        "1 < i8 <= 5",
        "not (a is null)",
        "id > -9223372036854775808",
        "true",
        "b == false",
        "id < d",
        "s is null or exists zzz",
        r#"s == "\x01\x7f文""#,
    ] {
        let filter = filter(text);
        assert_eq!(parse(&filter.to_string(), &schema(), &Templates::new()), Ok(filter.clone()), "{filter}");
    }
}
