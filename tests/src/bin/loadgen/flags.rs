//! `--name value` pairs of the command line.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The flags given, by name without the dashes.
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Reads pairs; a name without a value, or a bare word, is an error.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut flags = BTreeMap::new();
        let mut arguments = arguments;
        while let Some(word) = arguments.next() {
            let Some(name) = word.strip_prefix("--") else { bail!("unexpected argument {word}") };
            let value = arguments.next().with_context(|| format!("--{name} needs a value"))?;
            flags.insert(name.to_owned(), value);
        }
        Ok(Self(flags))
    }

    /// The value of a flag that must be there.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.optional(name).with_context(|| format!("--{name} is missing"))
    }

    /// The value of a flag, if given.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a flag read as `T`, or `default` when it was not given.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.optional(name) {
            None => Ok(default),
            Some(text) => text.parse().ok().with_context(|| format!("--{name}: cannot read {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    fn parse(words: &[&str]) -> anyhow::Result<Flags> {
        Flags::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn pairs_are_read_and_defaults_fill_in() {
        let flags = parse(&["--batch", "7"]).expect("pairs");
        assert_eq!((flags.or("batch", 1).ok(), flags.or("clients", 3).ok()), (Some(7), Some(3)));
    }

    #[test]
    fn a_name_without_a_value_is_refused() {
        assert!(parse(&["--batch"]).is_err());
        assert!(parse(&["batch", "7"]).is_err());
    }
}
