//! Why an analyzer cannot be, or a text cannot be asked about.

use super::{MAX_PARAMS_BYTES, MAX_PHRASE_BYTES, MAX_QUERY_BYTES};
use crate::base::{Kind, Kinded};

/// Why an analyzer cannot be, or a text cannot be asked about. `Display` is Milvus's text where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The parameters are too long.
    #[error("the parameters of an analyzer have {bytes} bytes, at most {MAX_PARAMS_BYTES} are supported")]
    ParamsTooLong {
        /// Bytes there are.
        bytes: usize,
    },
    /// The parameters are no JSON object.
    #[error("the parameters of an analyzer must be a JSON object: {reason}")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// A parameter means nothing here.
    #[error("unknown parameter {key} of {what}")]
    UnknownKey {
        /// Name of the parameter.
        key: String,
        /// What has it.
        what: String,
    },
    /// A parameter is missing, or of another type or range.
    #[error("parameter {key} of {what} must be {wanted}")]
    Param {
        /// Name of the parameter.
        key: &'static str,
        /// What has it.
        what: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// No analyzer has the name.
    #[error("unsupported analyzer: {name}")]
    Analyzer {
        /// The name.
        name: String,
    },
    /// No tokenizer has the name.
    #[error("unsupported tokenizer: {name}")]
    Tokenizer {
        /// The name.
        name: String,
    },
    /// No filter has the name.
    #[error("unsupported filter: {name}")]
    Filter {
        /// The name.
        name: String,
    },
    /// Milvus has it, this version does not.
    #[error("unsupported {what}: {name} is not built yet")]
    NotBuilt {
        /// Whether it is an analyzer, a tokenizer, a filter or something else.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There are too many of something.
    #[error("too many {what}: at most {limit} are supported")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// No list of stop words has the name.
    #[error("unsupported list of stop words: {name}, only _english_ is known")]
    StopWords {
        /// The name.
        name: String,
    },
    /// There is no stemmer for the language.
    #[error("unsupported language of a stemmer: {name}")]
    Language {
        /// The language.
        name: String,
    },
    /// A regular expression that is none, is too large, or looks around, which is not supported.
    #[error("bad regular expression (look-around and back-references are not supported): {reason}")]
    Regex {
        /// What the parser says.
        reason: String,
    },
    /// A synonym rule that is none.
    #[error("bad synonym rule: {rule}")]
    Synonym {
        /// The rule.
        rule: String,
    },
    /// Several analyzers without one for all other rows.
    #[error("multi analyzer must have an analyzer named default")]
    NoDefault,
    /// A name that none of several analyzers has.
    #[error("analyzer {name} of an alias is not among the analyzers")]
    Alias {
        /// The name.
        name: String,
    },
    /// A text to search for is too long.
    #[error("the text has {bytes} bytes, at most {MAX_QUERY_BYTES} are supported")]
    TextTooLong {
        /// Bytes there are.
        bytes: usize,
    },
    /// A phrase to look for is too long.
    #[error("the phrase has {bytes} bytes, at most {MAX_PHRASE_BYTES} are supported")]
    PhraseTooLong {
        /// Bytes there are.
        bytes: usize,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}
