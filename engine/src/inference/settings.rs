//! Which services there are for users, where they are, and by which secrets they are asked.

use std::collections::BTreeMap;

use crate::base::Secret;

/// One service as the operator has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Whether it may be used.
    pub enabled: bool,
    /// Where it is; empty for its usual place.
    pub url: String,
    /// Names of the secrets that it may be asked with, with commas between: the first one where a function names none.
    pub credential: String,
    /// Name of the resource of an account at Azure.
    pub resource: String,
}

impl Default for ProviderSettings {
    /// Milvus's: every service may be used.
    fn default() -> Self {
        Self { enabled: true, url: String::new(), credential: String::new(), resource: String::new() }
    }
}

/// What the operator has set. All names are [`bare`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSettings {
    /// Services that make vectors.
    pub embedding: BTreeMap<String, ProviderSettings>,
    /// Services that rank.
    pub rerank: BTreeMap<String, ProviderSettings>,
    /// Secrets by name.
    pub credentials: BTreeMap<String, Secret>,
    /// The hosts that users may name, with or without a port and a scheme; none for all that are not forbidden.
    pub hosts: Vec<String>,
}

/// A name as it is looked up: case and `_` do not count, as in the names of settings.
#[must_use]
pub fn bare(name: &str) -> String {
    name.chars().filter(|letter| *letter != '_').collect::<String>().to_lowercase()
}
