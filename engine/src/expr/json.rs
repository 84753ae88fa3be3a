//! Looking into the text of a JSON value without building it.
//!
//! The texts were checked when the rows came in; of a text that is not JSON after all, nothing is found.

use std::borrow::Cow;

use crate::expr::Literal;
use crate::expr::literal::Number;
use crate::expr::syntax::Step;

/// A JSON value as far as comparisons look into it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// `null`.
    Null,
    /// Truth value.
    Bool(bool),
    /// Number: whole if written without fraction and exponent and within 64 bits.
    Number(Number),
    /// Text, decoded.
    Text(Cow<'a, str>),
    /// Array, as text.
    Array(&'a str),
    /// Object.
    Object,
}

impl<'a> Found<'a> {
    /// Reads a value from its text.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(is_blank);
        match text.as_bytes().first()? {
            b'n' => Some(Self::Null),
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            b'"' => decode(text).map(Self::Text),
            b'[' => Some(Self::Array(text)),
            b'{' => Some(Self::Object),
            _ => match text.parse::<i64>() {
                Ok(whole) => Some(Self::Number(Number::Int(i128::from(whole)))),
                Err(_) => text.parse().ok().map(|number| Self::Number(Number::Double(number))),
            },
        }
    }

    /// The order to a constant of the same class; equality only for lists; `None` between classes.
    pub(super) fn order(&self, literal: &Literal) -> Option<std::cmp::Ordering> {
        match (self, literal) {
            (Self::Bool(left), Literal::Bool(right)) => Some(left.cmp(right)),
            (Self::Number(left), right) => left.order(right.number()?),
            (Self::Text(left), Literal::Text(right)) => Some(left.as_ref().cmp(right.as_str())),
            (Self::Array(text), Literal::List(members)) => {
                let mut elements = Elements::of(text);
                let equal = members
                    .iter()
                    .all(|member| elements.next().is_some_and(|element| equals(element, member)))
                    && elements.next().is_none();
                equal.then_some(std::cmp::Ordering::Equal)
            }
            _ => None,
        }
    }

    /// Whether the value equals a constant.
    pub(super) fn equals(&self, literal: &Literal) -> bool {
        self.order(literal) == Some(std::cmp::Ordering::Equal)
    }
}

/// Whether the value of a text equals a constant.
pub(super) fn equals(text: &str, literal: &Literal) -> bool {
    Found::read(text).is_some_and(|found| found.equals(literal))
}

/// The text of the value at `path` inside the value of `text`. Of members with one name the first counts.
pub(super) fn find<'a>(text: &'a str, path: &[Step]) -> Option<&'a str> {
    path.iter().try_fold(text, |text, step| {
        let mut scanner = Scanner { text, at: 0 };
        match (scanner.peek()?, step) {
            (b'[', Step::Index(index)) => Elements::of(text).nth(usize::try_from(*index).ok()?),
            (b'{', Step::Key(key)) => scanner.member(key),
            (b'{', Step::Index(index)) => scanner.member(&index.to_string()),
            _ => None,
        }
    })
}

/// Number of elements of the array that the text is; 0 if it is none.
pub(super) fn array_length(text: &str) -> usize {
    Elements::of(text).count()
}

/// Whether anything but nulls and empty containers is in the value.
pub(super) fn has_content(text: &str) -> bool {
    let mut scanner = Scanner { text, at: 0 };
    while let Some(byte) = scanner.peek() {
        match byte {
            b'{' | b'[' | b'}' | b']' | b',' | b':' => scanner.at += 1,
            b'n' => scanner.at += 4,
            b'"' => {
                if scanner.skip_text().is_none() || scanner.peek() != Some(b':') {
                    return true;
                }
            }
            _ => return true,
        }
    }
    false
}

/// The texts of the elements of an array, in order; none of what is no array.
pub(super) struct Elements<'a> {
    scanner: Scanner<'a>,
    is_open: bool,
}

impl<'a> Elements<'a> {
    /// The elements of the array that `text` is.
    pub(super) fn of(text: &'a str) -> Self {
        let mut scanner = Scanner { text, at: 0 };
        let is_array = scanner.take(b'[').is_some();
        let is_open = is_array && scanner.peek() != Some(b']');
        Self { scanner, is_open }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if !self.is_open {
            return None;
        }
        let element = self.scanner.value();
        self.is_open = element.is_some() && self.scanner.take(b',').is_some();
        element
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|&byte| is_blank(char::from(byte))) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// Passes over the value that comes next.
    fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.skip_text()?,
            b'[' | b'{' => self.skip_container()?,
            _ => {
                let rest = self.text.as_bytes().get(start..)?;
                let ends =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':') || is_blank(char::from(*byte));
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                (self.at > start).then_some(())?;
            }
        }
        self.text.get(start..self.at)
    }

    /// Passes over a text that starts here.
    fn skip_text(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Passes over an array or object that starts here.
    fn skip_container(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.skip_text()?;
                    continue;
                }
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }

    /// The value of member `key` of the object that starts here.
    fn member(&mut self, key: &str) -> Option<&'a str> {
        self.take(b'{')?;
        loop {
            (self.peek()? == b'"').then_some(())?;
            let start = self.at;
            self.skip_text()?;
            let name = self.text.get(start..self.at)?;
            self.take(b':')?;
            let value = self.value()?;
            if is_text(name, key) {
                return Some(value);
            }
            self.take(b',')?;
        }
    }
}

/// Whether the JSON text literal `quoted` means `text`.
fn is_text(quoted: &str, text: &str) -> bool {
    if quoted.contains('\\') {
        return decode(quoted).is_some_and(|decoded| decoded == text);
    }
    quoted.len() == text.len() + 2 && &quoted[1..quoted.len() - 1] == text
}

/// The text that a JSON text literal means.
fn decode(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    quoted.get(1..quoted.len().checked_sub(1)?).map(Cow::Borrowed)
}

const fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::{Elements, Found, Step, array_length, find, has_content};
    use crate::expr::literal::Number;

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn values_are_found_by_their_path() {
        let text = r#" { "a" : {"b\u0041": [ 1, "x,]}\"", {"c": -1.5e1} , null ] }, "文": true, "0": "zero", "e": {} } "#;
        let cases = [
            (vec![key("a"), key("bA"), Step::Index(0)], Some("1")),
            (vec![key("a"), key("bA"), Step::Index(1)], Some(r#""x,]}\"""#)),
            (vec![key("a"), key("bA"), Step::Index(2), key("c")], Some("-1.5e1")),
            (vec![key("a"), key("bA"), Step::Index(3)], Some("null")),
            (vec![key("a"), key("bA"), Step::Index(4)], None),
            (vec![key("文")], Some("true")),
            (vec![Step::Index(0)], Some(r#""zero""#)),
            (vec![key("e")], Some("{}")),
            (vec![key("e"), key("x")], None),
            (vec![key("文"), key("x")], None),
            (vec![key("missing")], None),
        ];
        for (path, value) in cases {
            assert_eq!(find(text, &path), value, "{path:?}");
        }
    }

    #[test]
    fn numbers_are_whole_only_as_written_and_within_64_bits() {
        let cases = [
            ("3", Number::Int(3)),
            ("3.0", Number::Double(3.0)),
            ("-9223372036854775808", Number::Int(i128::from(i64::MIN))),
            ("9223372036854775808", Number::Double(9_223_372_036_854_775_808.0)),
            ("0.1", Number::Double(0.1)),
        ];
        for (text, number) in cases {
            assert_eq!(Found::read(text), Some(Found::Number(number)));
        }
    }

    #[test]
    fn nulls_and_empty_containers_are_no_content() {
        for text in ["null", "{}", "[]", r#"{"a": {"b": []}, "c": null}"#, "[[], {}]"] {
            assert!(!has_content(text), "{text}");
        }
        for text in ["0", "false", r#""""#, r#"{"a": {"b": [0]}}"#, r#"[""]"#] {
            assert!(has_content(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_holds_nothing_and_never_panics() {
        for text in [
            "",
            "[",
            "[1",
            "[1,",
            "{",
            r#"{"a"#,
            r#"{"a":"#,
            r#"{"a":1"#,
            r#"{"a" 1}"#,
            "\"\\",
            "]",
            "}",
            "文",
            "[\\",
            "{,}",
        ] {
            let _ = (
                array_length(text),
                has_content(text),
                find(text, &[key("b")]),
                find(text, &[Step::Index(3)]),
            );
            let _ = (Found::read(text), Elements::of(text).count());
        }
    }
}
