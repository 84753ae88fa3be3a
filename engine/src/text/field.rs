//! The analyzers of one field: one for all rows, or one for each language.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::params::object_of;
use super::{Analyzer, Error};

/// The analyzer that rows get whose language has none.
const DEFAULT: &str = "default";
/// Most analyzers of one field.
const MAX_ANALYZERS: usize = 32;

/// How the texts of a field are analysed.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldAnalyzer {
    /// All alike.
    One(Arc<Analyzer>),
    /// By what another field of the row says.
    Many {
        /// Name of that field.
        by_field: String,
        /// The analyzers by name; `default` is one of them.
        analyzers: BTreeMap<String, Arc<Analyzer>>,
        /// Other names of them.
        aliases: BTreeMap<String, String>,
    },
}

impl FieldAnalyzer {
    /// What a field's parameters `analyzer_params` and `multi_analyzer_params` say; the second wins.
    ///
    /// # Errors
    /// As [`Analyzer::new`], and for several analyzers without a default or with an alias of none.
    pub fn new(params: Option<&str>, several: Option<&str>) -> Result<Self, Error> {
        match several {
            Some(several) => Self::several(several),
            None => Analyzer::kept(params.unwrap_or_default()).map(Self::One),
        }
    }

    fn several(text: &str) -> Result<Self, Error> {
        let what = || "multi_analyzer_params".to_owned();
        let wrong = |key, wanted| Error::Param { key, what: what(), wanted };
        let given = object_of(text)?;
        if let Some(key) =
            given.keys().find(|key| !["analyzers", "by_field", "alias"].contains(&key.as_str()))
        {
            return Err(Error::UnknownKey { key: key.clone(), what: what() });
        }
        let by_field = given.get("by_field").and_then(Value::as_str);
        let by_field = by_field.ok_or_else(|| wrong("by_field", "the name of a field"))?.to_owned();
        let objects = given.get("analyzers").and_then(Value::as_object);
        let objects = objects.ok_or_else(|| wrong("analyzers", "an object of analyzers by name"))?;
        if objects.len() > MAX_ANALYZERS {
            return Err(Error::TooMany { what: "analyzers of a field", limit: MAX_ANALYZERS });
        }
        let analyzer = |(name, params): (&String, &Value)| {
            if !params.is_object() {
                return Err(wrong("analyzers", "an object of analyzers by name"));
            }
            Ok((name.clone(), Analyzer::kept(&params.to_string())?))
        };
        let analyzers: BTreeMap<_, _> = objects.iter().map(analyzer).collect::<Result<_, _>>()?;
        if !analyzers.contains_key(DEFAULT) {
            return Err(Error::NoDefault);
        }
        let nothing = Map::new();
        let aliases = match given.get("alias") {
            None => &nothing,
            Some(aliases) => aliases.as_object().ok_or_else(|| wrong("alias", "an object of names"))?,
        };
        let alias = |(name, of): (&String, &Value)| {
            let of = of.as_str().ok_or_else(|| wrong("alias", "an object of names"))?;
            if analyzers.contains_key(of) {
                Ok((name.clone(), of.to_owned()))
            } else {
                Err(Error::Alias { name: of.to_owned() })
            }
        };
        let aliases = aliases.iter().map(alias).collect::<Result<_, _>>()?;
        Ok(Self::Many { by_field, analyzers, aliases })
    }

    /// The field that chooses between several.
    #[must_use]
    pub fn by_field(&self) -> Option<&str> {
        match self {
            Self::One(_) => None,
            Self::Many { by_field, .. } => Some(by_field),
        }
    }

    /// The analyzer of a name; the default one for a name that none has, or none.
    #[must_use]
    pub fn named(&self, name: Option<&str>) -> Option<&Arc<Analyzer>> {
        match self {
            Self::One(analyzer) => Some(analyzer),
            Self::Many { analyzers, aliases, .. } => {
                let by_name = |name: &str| {
                    analyzers.get(name).or_else(|| aliases.get(name).and_then(|name| analyzers.get(name)))
                };
                name.and_then(by_name).or_else(|| analyzers.get(DEFAULT))
            }
        }
    }
}
