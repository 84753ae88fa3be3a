//! A secret that all nodes of a cluster share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::files::{File, Watched};
use crate::base::Clock;

/// Tokens in a file, one a line. The first is shown to others, each of them is accepted: to change it without a break, a
/// new one is added below everywhere, then moved to the top, then the old one is removed.
pub struct Tokens {
    tokens: Watched<Vec<Arc<str>>>,
}

impl Tokens {
    /// Reads the file for the first time; it is looked at again at most every `reread`.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read or has no token in it.
    pub async fn open(path: PathBuf, reread: Duration, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let make = |files: &[File]| files.first().map_or_else(|| Ok(Vec::new()), parse);
        Ok(Self { tokens: Watched::open(vec![path], reread, clock, make).await? })
    }

    /// The token to show.
    pub async fn own(&self) -> Arc<str> {
        self.tokens.current().await.first().map_or_else(|| Arc::from(""), Arc::clone)
    }

    /// Whether `shown` is one of the tokens. How long the answer takes tells nothing but the length of `shown`.
    pub async fn accepts(&self, shown: &[u8]) -> bool {
        let tokens = self.tokens.current().await;
        // No early end: every token is compared.
        tokens.iter().fold(false, |found, token| found | is_same(token.as_bytes(), shown))
    }
}

/// The tokens of a file: printable ASCII, blanks around them and empty lines do not count.
pub(super) fn parse(file: &File) -> Result<Vec<Arc<str>>, Error> {
    let tokens: Vec<Arc<str>> = String::from_utf8_lossy(&file.content)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(Arc::from)
        .collect();
    if tokens.is_empty() {
        return Err(Error::Empty { path: file.path.clone(), what: "token" });
    }
    Ok(tokens)
}

/// Compares all bytes wherever the first difference is.
pub(super) fn is_same(token: &[u8], shown: &[u8]) -> bool {
    let differences = token.iter().zip(shown).fold(0_u8, |all, (left, right)| all | (left ^ right));
    std::hint::black_box(differences) == 0 && token.len() == shown.len()
}
