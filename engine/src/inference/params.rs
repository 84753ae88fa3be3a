//! Parameters of functions: pairs of texts, whose names are taken in any case.

use super::Error;
use super::error::cut;

/// Parameters by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a>(pub &'a [(String, String)]);

impl<'a> Params<'a> {
    /// The value of a parameter, without blanks around it; none if it is empty.
    pub fn text(self, wanted: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// A truth value.
    pub fn flag(self, key: &'static str) -> Result<Option<bool>, Error> {
        let read = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(true),
            "false" | "f" | "0" => Ok(false),
            _ => Err(Error::Param { key, wanted: "true or false", value: cut(text) }),
        };
        self.text(key).map(read).transpose()
    }

    /// A whole number from 1 on.
    pub fn count(self, key: &'static str) -> Result<Option<usize>, Error> {
        let read = |text: &str| match text.parse::<usize>() {
            Ok(number) if (1..=1 << 31).contains(&number) => Ok(number),
            _ => Err(Error::Param { key, wanted: "a whole number above 0", value: cut(text) }),
        };
        self.text(key).map(read).transpose()
    }

    /// One of some words, as the list has it.
    pub fn word(
        self,
        key: &'static str,
        wanted: &'static str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Error> {
        let read = |text: &str| {
            let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
            found.ok_or_else(|| Error::Param { key, wanted, value: cut(text) })
        };
        self.text(key).map(read).transpose()
    }
}

/// Where a text that is too long for the model is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Truncation {
    /// Whether it may be; by the service where nobody says.
    pub may: Option<bool>,
    /// Whether its beginning goes, not its end.
    pub left: bool,
}

impl Truncation {
    /// Reads `truncate` (or `truncation`) and `truncation_direction`.
    pub fn of(params: Params<'_>) -> Result<Self, Error> {
        let sides = ["Left", "Right", "START", "END"];
        // Cohere says by one word whether and where.
        let side = params.text("truncate").filter(|text| text.parse::<bool>().is_err());
        let side = side.map(str::to_uppercase);
        match side.as_deref() {
            Some("NONE") => return Ok(Self { may: Some(false), left: false }),
            Some(side @ ("START" | "END")) => return Ok(Self { may: Some(true), left: side == "START" }),
            _ => {}
        }
        let may = match params.flag("truncate")? {
            None => params.flag("truncation")?,
            given => given,
        };
        let side = params.word("truncation_direction", "Left or Right", &sides)?;
        Ok(Self { may, left: matches!(side, Some("Left" | "START")) })
    }
}
