//! Services outside that compute with models: vectors that stand for texts, and how well texts answer a question.
//!
//! A table of services (`provider`) says what a request and an answer of each look like; [`Models`] asks them, in pieces, again
//! where that may help, and within bounds; [`Post`] is the seam to the network. Knows texts and numbers, not rows. Which addresses
//! may be asked is decided here (`guard`): a user of the database must not reach by it what only this machine should reach.

mod error;
#[cfg(test)]
pub mod fake;
mod guard;
mod models;
mod params;
mod post;
mod provider;
mod settings;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use models::{Deadline, MAX_WRITE_BYTES, Models, Ranking};
pub use post::{Answer, Failure, HttpPost, Nowhere, Post, Request};
pub use provider::{Purpose, ranks};
pub use settings::{ModelSettings, ProviderSettings, bare};
