//! From a text to its words.

use std::sync::Arc;

use parking_lot::Mutex;

use super::filter::Filter;
use super::params::{object_of, steps};
use super::tokenizer::Tokenizer;
use super::{Error, TermCounts, Token, counts};

/// Analyzers that are kept for the next request. With dictionaries of their own they take about 30 MB each.
const KEPT: usize = 8;

/// Cuts texts into words and changes these as its parameters say. Two of equal parameters are equal.
#[derive(Debug)]
pub struct Analyzer {
    params: String,
    tokenizer: Tokenizer,
    filters: Vec<Filter>,
}

impl PartialEq for Analyzer {
    fn eq(&self, other: &Self) -> bool {
        self.params == other.params
    }
}

impl Analyzer {
    /// The analyzer of a field's `analyzer_params`, a JSON object; the standard one for an empty text.
    ///
    /// # Errors
    /// Every [`Error`] about parameters: what is unknown is refused, never left out.
    pub fn new(params: &str) -> Result<Arc<Self>, Error> {
        let (tokenizer, filters) = steps(&object_of(params)?)?;
        Ok(Arc::new(Self { params: params.to_owned(), tokenizer, filters }))
    }

    /// The same as [`Self::new`], from the newest few if they were equal: what analyses for one request after another need
    /// not be made for each.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn kept(params: &str) -> Result<Arc<Self>, Error> {
        static NEWEST: Mutex<Vec<Arc<Analyzer>>> = Mutex::new(Vec::new());
        let found = NEWEST.lock().iter().find(|known| known.params == params).cloned();
        let analyzer = match found {
            Some(analyzer) => analyzer,
            None => Self::new(params)?,
        };
        let mut newest = NEWEST.lock();
        newest.retain(|known| known.params != params);
        newest.insert(0, Arc::clone(&analyzer));
        newest.truncate(KEPT);
        Ok(analyzer)
    }

    /// The parameters it was made of.
    #[must_use]
    pub fn params(&self) -> &str {
        &self.params
    }

    /// The words of a text, in its order. Never fails, whatever the text.
    ///
    /// Offsets are those of the words before the filters. A word that was taken away leaves a gap between positions, and words
    /// that came to the place of one share its position.
    #[must_use]
    pub fn analyze(&self, text: &str) -> Vec<Token> {
        let mut tokens = self.tokenizer.cut(text);
        self.filters.iter().for_each(|filter| filter.apply(&mut tokens));
        tokens.retain(|token| !token.text.is_empty());
        tokens
    }

    /// How often each term is in a text.
    #[must_use]
    pub fn terms(&self, text: &str) -> TermCounts {
        counts(&self.analyze(text))
    }
}
