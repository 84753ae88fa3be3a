//! Paths into JSON values as indexes name them: `meta["a"]['b'][0]`.

/// What an index on JSON values covers: the values at a path, taken as one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonTarget {
    /// Where the values are inside the field, as a JSON pointer (RFC 6901): `/a/b/0`, empty for the whole value. Two ways
    /// to write one path give one pointer.
    pub pointer: String,
    /// The type that values are taken as, in upper case: `VARCHAR`, `ARRAY_DOUBLE`, …
    pub cast: String,
}

/// A path as it is written: a name and the keys and places below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    /// A field, or a key of the dynamic field.
    pub base: String,
    /// Keys of objects, and places in arrays as decimal numbers.
    pub steps: Vec<String>,
}

impl JsonPath {
    /// Reads a path: a name, then any number of texts in quotes or decimal numbers in brackets. `None` if the text is
    /// not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find('[').unwrap_or(text.len());
        let (base, mut rest) = text.split_at(end);
        let base = base.trim_end();
        if !is_name(base) {
            return None;
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step_of(rest.strip_prefix('[')?.trim_start())?;
            steps.push(step);
            rest = after.trim_start().strip_prefix(']')?.trim_start();
        }
        Some(Self { base: base.to_owned(), steps })
    }

    /// The steps as a JSON pointer.
    #[must_use]
    pub fn pointer(&self) -> String {
        pointer_of(self.steps.iter().map(String::as_str))
    }

    /// The steps below the base as a key of an object, as a JSON pointer.
    #[must_use]
    pub fn pointer_with_base(&self) -> String {
        pointer_of(std::iter::once(self.base.as_str()).chain(self.steps.iter().map(String::as_str)))
    }
}

/// The first key of a JSON pointer; `None` of the whole value.
#[must_use]
pub fn first_key(pointer: &str) -> Option<String> {
    let first = pointer.strip_prefix('/')?.split('/').next()?;
    Some(first.replace("~1", "/").replace("~0", "~"))
}

fn pointer_of<'a>(steps: impl Iterator<Item = &'a str>) -> String {
    let mut pointer = String::new();
    for step in steps {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    let starts = text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
    starts && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// The step that `text` begins with, and what is behind it.
fn step_of(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    if quote.is_ascii_digit() {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        return digits.parse::<u64>().ok().map(|index| (index.to_string(), rest));
    }
    if !matches!(quote, '"' | '\'') {
        return None;
    }
    let mut key = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => key.push(match letters.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits: String = letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                    let is_whole = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    u32::from_str_radix(&digits, 16).ok().filter(|_| is_whole).and_then(char::from_u32)?
                }
                other => other,
            }),
            '\n' | '\r' => return None,
            end if end == quote => return text.get(at + 1..).map(|rest| (key, rest)),
            plain => key.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pointer(text: &str) -> Option<(String, String)> {
        JsonPath::parse(text).map(|path| (path.base.clone(), path.pointer()))
    }

    #[test]
    fn one_path_has_one_pointer_however_it_is_written() {
        let cases = [
            ("meta", ("meta", "")),
            (r#"meta["a"]["b"]"#, ("meta", "/a/b")),
            (" meta [ 'a' ] [ \"b\" ] ", ("meta", "/a/b")),
            ("meta['a'][0]['b']", ("meta", "/a/0/b")),
            ("meta[007]", ("meta", "/7")),
            ("$meta[\"a\"]", ("$meta", "/a")),
            (r#"m["a/b"]["c~d"]["e]f"]"#, ("m", "/a~1b/c~0d/e]f")),
            (r#"m["it's"]['say \'x\'']["\u00fc"]"#, ("m", "/it's/say 'x'/ü")),
            ("Größe['ü']", ("Größe", "/ü")),
        ];
        for (text, (base, steps)) in cases {
            assert_eq!(pointer(text), Some((base.to_owned(), steps.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            " ",
            "1",
            "1.0",
            "/",
            "a/b",
            "a.b",
            "a b",
            "[0]",
            "a[",
            "a[]",
            "a[b]",
            "a[-1]",
            "a[1.5]",
            "a['b]",
            "a['b'",
            "a['b']c",
            "a['b']]",
            "a[99999999999999999999]",
            "a[\"\\u12\"]",
            "a[\"\\ud800\"]",
            "a['\n']",
            "*",
            "$",
        ] {
            assert_eq!(pointer(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_key_of_a_pointer_is_the_key_itself() {
        assert_eq!(first_key("/a~1b~0c/d"), Some("a/b~c".to_owned()));
        assert_eq!(first_key(""), None);
    }

    proptest! {
        #[test]
        fn any_keys_written_as_texts_are_read_back(keys in prop::collection::vec(".{0,8}", 0..4)) {
            let written: String = keys.iter().map(|key| format!("[{}]", quoted(key))).collect();
            let path = JsonPath::parse(&format!("m{written}"));

            prop_assert_eq!(path, Some(JsonPath { base: "m".to_owned(), steps: keys }));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,24}") {
            let _ = JsonPath::parse(&text);
            let _ = JsonPath::parse(&format!("m[{text}]"));
        }
    }

    fn quoted(key: &str) -> String {
        let escaped: String = key
            .chars()
            .map(|letter| match letter {
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '"' | '\\' => format!("\\{letter}"),
                plain => plain.to_string(),
            })
            .collect();
        format!("\"{escaped}\"")
    }
}
