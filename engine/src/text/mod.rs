//! From texts to terms: analyzers by Milvus's parameters, the terms that full-text search counts, matches of words and
//! phrases, and the fragments of texts that show words.
//!
//! Pure and synchronous; analysing is work for threads that may be busy. Knows texts and JSON parameters, no schemas, no
//! columns, no wire types.

mod analyzer;
mod error;
mod field;
mod filter;
mod fold;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod highlight;
mod jieba;
mod matching;
mod minhash;
mod params;
mod stem;
#[cfg(test)]
mod tests;
mod token;
mod tokenizer;

pub use analyzer::Analyzer;
pub use error::Error;
pub use field::FieldAnalyzer;
pub use highlight::{Fragments, Tags, matches};
pub use matching::{Matcher, Rule, TextMatch};
pub use minhash::{MinHash, RunHash};
pub use token::{TermCounts, Token, counts, term_hash};

/// Most bytes that the parameters of an analyzer, or of several of one field, may have.
pub const MAX_PARAMS_BYTES: usize = 64 << 10;
/// Most bytes of one text that is asked about, in a search or a filter.
pub const MAX_QUERY_BYTES: usize = 64 << 10;
/// Most bytes of one phrase: each of its words walks through the text that it is looked for in.
pub const MAX_PHRASE_BYTES: usize = 4 << 10;
