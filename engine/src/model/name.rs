//! What things may be called.

use crate::base::{Kind, Kinded};

/// Longest name of anything, in bytes.
pub const NAME_BYTES: usize = 255;
/// Longest name of a user. Unit: bytes. Source: wire specification 2.18.
const USER_BYTES: usize = 32;

/// Words of the filter language in both spellings: a field of such a name could never be named in a filter.
const KEYWORDS: [&str; 18] = [
    "and",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
    "exists",
    "false",
    "in",
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "like",
    "not",
    "or",
    "phrase_match",
    "random_sample",
    "text_match",
    "true",
];

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is empty.
    Empty,
    /// It has more than [`NAME_BYTES`] bytes.
    Long,
    /// It starts with what is neither a letter nor an underscore.
    First,
    /// It holds what is neither a letter nor a digit nor an underscore.
    Letter,
    /// It is a word of the filter language.
    Keyword,
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A collection.
    Collection,
    /// An alias of a collection.
    Alias,
    /// A partition.
    Partition,
    /// A field.
    Field,
    /// A database.
    Database,
    /// An index.
    Index,
}

/// A name that nothing of its kind can have. `Display` is Milvus's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct NameError {
    /// What was to be named.
    pub named: Named,
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub flaw: Flaw,
}

impl NameError {
    /// The code under which Milvus reports it.
    #[must_use]
    pub const fn milvus_code(&self) -> i32 {
        match self.named {
            Named::Field => 1701,
            Named::Database => 802,
            Named::Collection | Named::Alias | Named::Partition | Named::Index => 1100,
        }
    }

    fn text(&self) -> String {
        let name = &self.name;
        match self.named {
            Named::Collection => self.collection_text("collection name"),
            Named::Alias => self.collection_text("collection alias"),
            Named::Partition => format!(
                "Invalid partition name: {name}. {}",
                self.sentence("partition name", "Partition name")
            ),
            Named::Index => {
                format!("Invalid index name: {name}. {}", self.sentence("index name", "Index name"))
            }
            Named::Field => {
                let sentence = self.sentence("field name", "Field name");
                format!("Invalid field name: {name}. {sentence}: field name invalid[field={name}]")
            }
            Named::Database => {
                let reason = match self.flaw {
                    Flaw::Empty => "database name couldn't be empty",
                    Flaw::Long => "the length of a database name must be less than 255 characters",
                    Flaw::First => "the first character of a database name must be an underscore or letter",
                    Flaw::Letter | Flaw::Keyword => {
                        "database name can only contain numbers, letters and underscores"
                    }
                };
                format!("{reason}: invalid database name[database={name}]")
            }
        }
    }

    fn collection_text(&self, what: &str) -> String {
        let reason = match self.flaw {
            Flaw::Empty => return format!("{what} should not be empty: invalid parameter"),
            Flaw::Long => format!("the length of a {what} must be less than 255 characters"),
            Flaw::First => format!("the first character of a {what} must be an underscore or letter"),
            Flaw::Letter | Flaw::Keyword => {
                format!("{what} can only contain numbers, letters and underscores")
            }
        };
        format!("Invalid {what}: {}. {reason}: invalid parameter", self.name)
    }

    fn sentence(&self, what: &str, capital: &str) -> String {
        let article = if self.named == Named::Index { "an" } else { "a" };
        match self.flaw {
            Flaw::Empty => format!("{capital} should not be empty."),
            Flaw::Long => format!("The length of {article} {what} must be less than 255 characters."),
            Flaw::First => {
                format!("The first character of {article} {what} must be an underscore or letter.")
            }
            Flaw::Letter => format!("{capital} can only contain numbers, letters and underscores."),
            Flaw::Keyword => format!("{capital}: {} is keyword.", self.name),
        }
    }
}

impl Kinded for NameError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Checks the name of something that is to be made.
///
/// Partitions may start with a digit and hold hyphens, as in Milvus.
///
/// # Errors
/// [`NameError`] with the first flaw: empty, long, first letter, other letters, keyword.
pub fn check_name(named: Named, name: &str) -> Result<(), NameError> {
    match flaw(named, name) {
        Some(flaw) => Err(NameError { named, name: name.to_owned(), flaw }),
        None => Ok(()),
    }
}

/// What is wrong with the name of a resource group, in Milvus's words. The rules are those of a collection's name, the words
/// are not.
#[must_use]
pub fn group_flaw(name: &str) -> Option<String> {
    let reason = match flaw(Named::Collection, name)? {
        Flaw::Empty => return Some("resource group name couldn't be empty: invalid parameter".to_owned()),
        Flaw::Long => "the length of a resource group name must be less than 255 characters",
        Flaw::First => "the first character of a resource group name must be an underscore or letter",
        _ => "resource group name can only contain numbers, letters and underscores",
    };
    Some(format!("Invalid resource group name {name}. {reason}: invalid parameter"))
}

/// What is wrong with the name of a role or a group of privileges, in Milvus's words: the rules of a resource group's name.
#[must_use]
pub fn private_flaw(what: &str, name: &str) -> Option<String> {
    let reason = match flaw(Named::Collection, name)? {
        Flaw::Empty => return Some(format!("{what} name couldn't be empty: invalid parameter")),
        Flaw::Long => format!("the length of a {what} name must be less than 255 characters"),
        Flaw::First => format!("the first character of a {what} name must be an underscore or letter"),
        _ => format!("{what} name can only contain numbers, letters and underscores"),
    };
    Some(format!("Invalid {what} name {name}. {reason}: invalid parameter"))
}

/// What is wrong with the name of a user, in Milvus's words.
///
/// Source: wire specification 2.18.
#[must_use]
pub fn user_flaw(name: &str) -> Option<String> {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"_.-".contains(&letter);
    let reason = match name.as_bytes().first() {
        None => "username must be not empty",
        Some(_) if name.len() > USER_BYTES => "the length of username must be less than 32",
        Some(first) if !first.is_ascii_alphabetic() => "the first character must be a letter",
        Some(_) if !name.bytes().all(is_letter) => "username contain only _, ., - letters and numbers",
        Some(_) => return None,
    };
    Some(format!("invalid user name {name}, {reason}: invalid parameter"))
}

/// Checks a partition name that only selects: anything but an empty or a long one may exist.
///
/// # Errors
/// [`NameError`] for these two.
pub fn check_partition_choice(name: &str) -> Result<(), NameError> {
    match flaw(Named::Partition, name) {
        Some(flaw @ (Flaw::Empty | Flaw::Long)) => {
            Err(NameError { named: Named::Partition, name: name.to_owned(), flaw })
        }
        _ => Ok(()),
    }
}

fn flaw(named: Named, name: &str) -> Option<Flaw> {
    let is_partition = named == Named::Partition;
    let is_letter =
        |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || is_partition && letter == b'-';
    let Some(&first) = name.as_bytes().first() else { return Some(Flaw::Empty) };
    if name.len() > NAME_BYTES {
        return Some(Flaw::Long);
    }
    if !(first.is_ascii_alphabetic() || first == b'_' || is_partition && first.is_ascii_digit()) {
        return Some(Flaw::First);
    }
    if !name.bytes().all(is_letter) {
        return Some(Flaw::Letter);
    }
    let lower = name.to_ascii_lowercase();
    let is_spelled = name == lower || name == name.to_ascii_uppercase() || matches!(name, "True" | "False");
    (named == Named::Field && is_spelled && KEYWORDS.contains(&lower.as_str())).then_some(Flaw::Keyword)
}

#[cfg(test)]
mod tests {
    use super::{Named, check_name, check_partition_choice};

    fn refusal(named: Named, name: &str) -> (i32, String) {
        let error = check_name(named, name).expect_err(name);
        (error.milvus_code(), error.to_string())
    }

    #[test]
    fn good_names_pass() {
        let long = "a".repeat(255);
        for named in
            [Named::Collection, Named::Alias, Named::Partition, Named::Field, Named::Database, Named::Index]
        {
            for name in ["a", "_default", "Aa_09", long.as_str(), "is", "In"] {
                assert_eq!(check_name(named, name), Ok(()), "{named:?} {name}");
            }
        }
        assert_eq!(check_name(Named::Partition, "2024-part"), Ok(()));
        assert_eq!(check_partition_choice("!?"), Ok(()));
        assert_eq!(check_name(Named::Collection, "like"), Ok(()));
    }

    #[test]
    fn refusals_speak_as_milvus_does() {
        let long = "a".repeat(256);
        let cases = [
            (
                Named::Collection,
                "1abc",
                1100,
                "Invalid collection name: 1abc. the first character of a collection name must be an underscore or letter: invalid parameter",
            ),
            (
                Named::Collection,
                "bad-name",
                1100,
                "Invalid collection name: bad-name. collection name can only contain numbers, letters and underscores: invalid parameter",
            ),
            (Named::Collection, "", 1100, "collection name should not be empty: invalid parameter"),
            (Named::Alias, "", 1100, "collection alias should not be empty: invalid parameter"),
            (
                Named::Alias,
                "$a",
                1100,
                "Invalid collection alias: $a. the first character of a collection alias must be an underscore or letter: invalid parameter",
            ),
            (
                Named::Partition,
                "-a",
                1100,
                "Invalid partition name: -a. The first character of a partition name must be an underscore or letter.",
            ),
            (
                Named::Partition,
                "a b",
                1100,
                "Invalid partition name: a b. Partition name can only contain numbers, letters and underscores.",
            ),
            (
                Named::Field,
                "12a",
                1701,
                "Invalid field name: 12a. The first character of a field name must be an underscore or letter.: field name invalid[field=12a]",
            ),
            (
                Named::Field,
                "LIKE",
                1701,
                "Invalid field name: LIKE. Field name: LIKE is keyword.: field name invalid[field=LIKE]",
            ),
            (Named::Database, "", 802, "database name couldn't be empty: invalid database name[database=]"),
            (
                Named::Database,
                "a.b",
                802,
                "database name can only contain numbers, letters and underscores: invalid database name[database=a.b]",
            ),
            (
                Named::Index,
                "1",
                1100,
                "Invalid index name: 1. The first character of an index name must be an underscore or letter.",
            ),
        ];
        for (named, name, code, text) in cases {
            assert_eq!(refusal(named, name), (code, text.to_owned()));
        }
        assert!(
            refusal(Named::Collection, &long)
                .1
                .contains("the length of a collection name must be less than 255 characters")
        );
        assert!(check_partition_choice(&long).is_err());
    }
}
