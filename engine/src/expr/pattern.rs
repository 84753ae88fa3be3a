//! Patterns of `like`.

/// A `like` pattern: `%` is any run of characters, `_` one character, `\` takes the next character as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    shape: Shape,
}

/// What the pattern comes down to. The first four need no search for wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Infix(String),
    Any(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Run,
    One,
    Letter(char),
}

impl Pattern {
    /// The pattern of a text.
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' if parts.last() == Some(&Part::Run) => {}
                '%' => parts.push(Part::Run),
                '_' => parts.push(Part::One),
                '\\' => parts.push(Part::Letter(letters.next().unwrap_or('\\'))),
                plain => parts.push(Part::Letter(plain)),
            }
        }
        Self { text: text.to_owned(), shape: Shape::of(parts) }
    }

    /// The pattern that texts starting with `start` match.
    pub(super) fn prefix(start: &str) -> Self {
        let mut text = String::with_capacity(start.len() + 1);
        for letter in start.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('%');
        Self::new(&text)
    }

    /// The text of the pattern.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Exact(exact) => text == exact,
            Shape::Prefix(start) => text.starts_with(start.as_str()),
            Shape::Suffix(end) => text.ends_with(end.as_str()),
            Shape::Infix(middle) => text.contains(middle.as_str()),
            Shape::Any(parts) => matches_parts(parts, text),
        }
    }
}

impl Shape {
    fn of(parts: Vec<Part>) -> Self {
        let letters = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| if let Part::Letter(letter) = part { Some(*letter) } else { None })
                .collect::<Option<String>>()
        };
        let simple = match parts.as_slice() {
            [Part::Run] => Some(Self::Prefix(String::new())),
            [Part::Run, middle @ .., Part::Run] => letters(middle).map(Self::Infix),
            [Part::Run, end @ ..] => letters(end).map(Self::Suffix),
            [start @ .., Part::Run] => letters(start).map(Self::Prefix),
            all => letters(all).map(Self::Exact),
        };
        simple.unwrap_or(Self::Any(parts))
    }
}

/// Greedy match that goes back to the last run only: linear but for the product of run and rest.
fn matches_parts(parts: &[Part], text: &str) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let letter = text.get(at..).and_then(|rest| rest.chars().next());
        let matched = match (parts.get(part), letter) {
            (Some(Part::Run), _) => {
                part += 1;
                retry = Some((part, at));
                continue;
            }
            (None, None) => return true,
            (Some(Part::One), Some(letter)) => Some(letter.len_utf8()),
            (Some(Part::Letter(wanted)), Some(letter)) if *wanted == letter => Some(letter.len_utf8()),
            _ => None,
        };
        match (matched, retry) {
            (Some(length), _) => {
                part += 1;
                at += length;
            }
            (None, Some((after, from))) => {
                let Some(skipped) = text.get(from..).and_then(|rest| rest.chars().next()) else {
                    return false;
                };
                let next = from + skipped.len_utf8();
                retry = Some((after, next));
                part = after;
                at = next;
            }
            (None, None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("ab%", "abc", true),
            ("ab%", "ab", true),
            ("ab%", "xab", false),
            ("%bc", "abc", true),
            ("%b%", "abc", true),
            ("%", "", true),
            ("%%", "x", true),
            ("", "", true),
            ("", "x", false),
            ("_", "文", true),
            ("_", "", false),
            ("A_", "Ab", true),
            ("A_", "Abc", false),
            ("a%c%e", "abcde", true),
            ("a%c%e", "abcd", false),
            ("%a_c%", "xxabcxx", true),
            (r"\%", "%", true),
            (r"\%", "x", false),
            (r"a\_b", "a_b", true),
            (r"a\_b", "axb", false),
            (r"\\", r"\", true),
            ("%文_档%", "一文b档二", true),
            ("%aab", "aaaab", true),
            ("_%b", "b", false),
            ("_%b", "ab", true),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), matches, "{text:?} like {pattern:?}");
        }
    }

    #[test]
    fn a_prefix_pattern_takes_its_start_literally() {
        assert!(Pattern::prefix(r"5%_\").matches(r"5%_\x"));
        assert!(!Pattern::prefix("5%").matches("50"));
    }
}
