//! Log lines: where they go and how they look.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::base::{Kind, Kinded};

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of log lines.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TraceSettings {
    /// How a line is written.
    pub format: TraceFormat,
    /// What is written: a level (`info`) or levels by module (`info,engine::log=debug`).
    pub filter: String,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { format: TraceFormat::Text, filter: "info".to_owned() }
    }
}

/// Why log lines could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The filter is not one.
    #[error("cannot read the log filter {filter:?}")]
    BadFilter {
        /// The setting.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Log lines were set up before.
    #[error("log lines are set up already")]
    SetUpBefore {
        /// What the library said.
        #[source]
        source: tracing_subscriber::util::TryInitError,
    },
}

impl Kinded for TraceError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadFilter { .. } => Kind::Invalid,
            Self::SetUpBefore { .. } => Kind::Exists,
        }
    }
}

/// Writes log lines of this process to standard output from now on. Called once, by `main`.
///
/// # Errors
/// [`TraceError::BadFilter`] for a filter that cannot be read, [`TraceError::SetUpBefore`] at a second call.
pub fn start_tracing(settings: &TraceSettings) -> Result<(), TraceError> {
    let filter = read_filter(&settings.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let installed = match settings.format {
        TraceFormat::Text => lines.finish().try_init(),
        TraceFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    installed.map_err(|source| TraceError::SetUpBefore { source })
}

fn read_filter(filter: &str) -> Result<EnvFilter, TraceError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TraceError::BadFilter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_module_are_a_filter_and_nonsense_is_not() {
        read_filter("info,engine::log=debug").unwrap();

        let error = read_filter("a=b=c").unwrap_err();

        assert_eq!(error.kind(), Kind::Invalid);
    }
}
