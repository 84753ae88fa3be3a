//! As much of Prometheus's query language as tells which series a query names.

use std::collections::BTreeSet;

/// What a query names, or why it is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Series, with `_bucket`, `_sum` and `_count` where the query has them.
    pub series: BTreeSet<String>,
    /// Labels in selectors and in lists of labels.
    pub labels: BTreeSet<String>,
    /// Functions and aggregations.
    pub calls: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text,
    Number,
    Sign(char),
}

/// Words before a list of labels in brackets.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between operands.
const BETWEEN: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(first) = rest.next() {
        let word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        match first {
            c if c.is_whitespace() => {}
            '"' => {
                let mut escaped = false;
                let closed = rest.by_ref().any(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                if !closed {
                    return Err("a text without an end".to_owned());
                }
                found.push(Token::Text);
            }
            // `5m`, `0.99`, and Grafana's `$__rate_interval`.
            c if c.is_ascii_digit() || c == '$' => {
                while rest.next_if(word).is_some() {}
                found.push(Token::Number);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut text = String::from(c);
                while let Some(more) = rest.next_if(word) {
                    text.push(more);
                }
                found.push(Token::Word(text));
            }
            c if "(){}[],=!~<>+-*/%^".contains(c) => found.push(Token::Sign(c)),
            other => return Err(format!("{other:?} is not part of a query")),
        }
    }
    Ok(found)
}

/// Reads one query.
///
/// # Errors
/// What cannot be in a query, and brackets that do not match.
pub fn read(query: &str) -> Result<Named, String> {
    let tokens = tokens(query)?;
    let mut named = Named::default();
    // Each open bracket, and whether words inside are labels.
    let mut open: Vec<(char, bool)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        match token {
            Token::Sign(sign @ ('(' | '{' | '[')) => {
                let listed =
                    matches!(before, Some(Token::Word(word)) if BEFORE_LABELS.contains(&word.as_str()));
                open.push((*sign, *sign == '{' || listed));
            }
            Token::Sign(sign @ (')' | '}' | ']')) => {
                let expected = open.pop().map(|(sign, _)| sign);
                if !matches!((expected, sign), (Some('('), ')') | (Some('{'), '}') | (Some('['), ']')) {
                    return Err(format!("{sign} closes {expected:?}"));
                }
            }
            Token::Word(word) => {
                let call = tokens.get(at + 1) == Some(&Token::Sign('('));
                let into = if open.last().is_some_and(|(_, labels)| *labels) {
                    &mut named.labels
                } else if BEFORE_LABELS.contains(&word.as_str()) || BETWEEN.contains(&word.as_str()) {
                    continue;
                } else if call
                    || matches!(tokens.get(at + 1), Some(Token::Word(next)) if BEFORE_LABELS.contains(&next.as_str()) && is_aggregation(word))
                {
                    &mut named.calls
                } else {
                    &mut named.series
                };
                into.insert(word.clone());
            }
            Token::Text | Token::Number | Token::Sign(_) => {}
        }
    }
    if open.is_empty() { Ok(named) } else { Err(format!("{open:?} is not closed")) }
}

fn is_aggregation(word: &str) -> bool {
    ["sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile"].contains(&word)
}

#[test]
fn series_labels_and_calls_of_a_query_are_told_apart() {
    let query = r#"histogram_quantile(0.99, sum by (pod, le) (rate(a_bucket{x=~"b(c|{",y!="z"}[5m]))) > 1 and on (job) up == 0"#;

    let named = read(query).unwrap();

    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let expected = Named {
        series: set(&["a_bucket", "up"]),
        labels: set(&["pod", "le", "x", "y", "job"]),
        calls: set(&["histogram_quantile", "sum", "rate"]),
    };
    assert_eq!(named, expected);
}

#[test]
fn brackets_that_do_not_match_are_refused() {
    for query in ["sum(rate(a[5m])", "sum(a}", "a)", "a{b=\"c}"] {
        assert!(read(query).is_err(), "{query}");
    }
}
