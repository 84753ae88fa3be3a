//! Log lines: where they go, how they look, and which are written.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::lines::{Compat, JsonLines};
use super::log_file::{LogFile, LogFileSettings};
use super::time_text;
use crate::base::{Clock, Kind, Kinded};

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json(Compat),
}

/// Settings of log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// How a line is written.
    pub format: TraceFormat,
    /// What is written: a level (`info`), or levels by module (`info,engine::log=debug`).
    pub level: String,
    /// Whether lines go to the standard output.
    pub stdout: bool,
    /// The file that lines go to.
    pub file: Option<LogFileSettings>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { format: TraceFormat::Text, level: "info".to_owned(), stdout: true, file: None }
    }
}

/// Why log lines could not be set up, or their level not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The level is none.
    #[error("{level:?} is no level of the log: it is trace, debug, info, warn, error, panic or fatal")]
    BadLevel {
        /// What was given.
        level: String,
    },
    /// The filter is neither a level nor levels by module.
    #[error("cannot read the log filter {filter:?}")]
    BadFilter {
        /// The setting.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The filter is not in place any more.
    #[error("cannot change the filter of log lines")]
    Reload {
        /// What the library said.
        #[source]
        source: reload::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the log file {} (log.file.rootPath)", path.display())]
    OpenFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
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
            Self::BadLevel { .. } | Self::BadFilter { .. } => Kind::Invalid,
            Self::Reload { .. } => Kind::Unavailable,
            Self::OpenFile { source, .. } => Kinded::kind(source),
            Self::SetUpBefore { .. } => Kind::Exists,
        }
    }
}

/// Where lines go.
#[derive(Clone)]
struct Outputs {
    stdout: bool,
    file: Option<Arc<LogFile>>,
}

impl Outputs {
    /// Writes one line with what ends it.
    fn line(&self, line: &[u8]) {
        if self.stdout {
            // Whoever closed the standard output does not want to be told.
            let _ = io::stdout().lock().write_all(line);
        }
        if let Some(file) = &self.file {
            file.write(line);
        }
    }
}

/// The library hands over each line as a whole.
impl io::Write for &Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

type Reload = Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// The log lines of a process. Cloning shares them.
#[derive(Clone)]
pub struct Lines {
    format: TraceFormat,
    outputs: Outputs,
    clock: Arc<dyn Clock>,
    level: Arc<Mutex<String>>,
    reload: Option<Reload>,
}

impl Lines {
    /// Writes nothing but why a process does not start: to the standard output, or to the standard error as text.
    #[must_use]
    pub fn unstarted(settings: &TraceSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            format: settings.format,
            outputs: Outputs { stdout: true, file: None },
            clock,
            level: Arc::new(Mutex::new(settings.level.clone())),
            reload: None,
        }
    }

    /// Writes log lines of this process from now on. Called once, by `main`.
    ///
    /// # Errors
    /// [`TraceError::BadFilter`] for a level that is none, [`TraceError::OpenFile`] for a file that cannot be written,
    /// [`TraceError::SetUpBefore`] at a second call.
    pub fn start(settings: &TraceSettings, clock: Arc<dyn Clock>) -> Result<Self, TraceError> {
        let (filter, handle) = reload::Layer::new(filter_of(&settings.level)?);
        let file = match &settings.file {
            Some(file) => {
                let path = file.folder.clone();
                let opened = LogFile::open(file.clone(), Arc::clone(&clock));
                Some(Arc::new(opened.map_err(|source| TraceError::OpenFile { path, source })?))
            }
            None => None,
        };
        let outputs = Outputs { stdout: settings.stdout, file };
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(outputs.clone());
        let lines = match settings.format {
            TraceFormat::Text => lines.boxed(),
            TraceFormat::Json(compat) => {
                let format = JsonLines { compat, clock: Arc::clone(&clock) };
                lines.fmt_fields(JsonFields::new()).event_format(format).boxed()
            }
        };
        let installed = tracing_subscriber::registry().with(filter).with(lines).try_init();
        installed.map_err(|source| TraceError::SetUpBefore { source })?;
        Ok(Self {
            format: settings.format,
            outputs,
            clock,
            level: Arc::new(Mutex::new(settings.level.to_ascii_lowercase())),
            reload: Some(Arc::new(move |filter| handle.reload(filter))),
        })
    }

    /// Which lines are written.
    #[must_use]
    pub fn level(&self) -> String {
        self.level.lock().clone()
    }

    /// Writes lines of another level from now on.
    ///
    /// # Errors
    /// [`TraceError::BadLevel`] for a level that is none.
    pub fn set_level(&self, level: &str) -> Result<(), TraceError> {
        let mut kept = self.level.lock();
        let level = level.to_ascii_lowercase();
        if !LEVELS.contains(&level.as_str()) {
            return Err(TraceError::BadLevel { level });
        }
        let filter = filter_of(&level)?;
        if let Some(reload) = &self.reload {
            reload(filter).map_err(|source| TraceError::Reload { source })?;
        }
        *kept = level;
        Ok(())
    }

    /// Goes on in the file that has the name now, after somebody renamed the old one. Nothing to do without a file.
    ///
    /// # Errors
    /// [`TraceError::OpenFile`] if it cannot be opened; lines go on into the old one.
    pub fn reopen(&self) -> Result<(), TraceError> {
        let Some(file) = &self.outputs.file else { return Ok(()) };
        file.reopen().map_err(|source| TraceError::OpenFile { path: file.path(), source })
    }

    /// Says why the process ends, in the format of its lines and whatever their level. Whoever looks after the process hears
    /// it too where lines go to a file only.
    pub fn fatal(&self, message: &str, error: &str) {
        let now = self.clock.unix_ms();
        let parts = [message, error].into_iter().filter(|part| !part.is_empty());
        let text = parts.collect::<Vec<_>>().join(": ");
        match self.format {
            TraceFormat::Text => {
                if let Some(file) = &self.outputs.file {
                    let time = time_text(now, "%Y-%m-%dT%H:%M:%S.%3fZ");
                    file.write(format!("{time} FATAL redkite: {text}\n").as_bytes());
                }
                // Nobody is left to be told if this cannot be written either.
                let _ = writeln!(io::stderr(), "Error: {text}");
            }
            TraceFormat::Json(compat) => {
                let line = format!("{}\n", compat.fatal(now, message, error));
                self.outputs.line(line.as_bytes());
                if !self.outputs.stdout {
                    let _ = io::stderr().write_all(line.as_bytes());
                }
            }
        }
    }
}

/// Names of levels, Milvus's among them.
const LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

/// Milvus knows levels above `error`, at which processes end: nothing else is written then.
fn filter_of(filter: &str) -> Result<EnvFilter, TraceError> {
    let directives = match filter.to_ascii_lowercase().as_str() {
        "dpanic" | "panic" | "fatal" => "off",
        _ => filter,
    };
    let bad = |source| TraceError::BadFilter { filter: filter.to_owned(), source };
    EnvFilter::builder().parse(directives).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obs::fixture::Hand;

    #[test]
    fn a_level_is_changed_and_nonsense_is_not_one() {
        let lines = Lines::unstarted(&TraceSettings::default(), Hand::at(0));

        lines.set_level("DEBUG").unwrap();
        let error = lines.set_level("debug,h2=trace").unwrap_err();

        assert_eq!((error.kind(), lines.level().as_str()), (Kind::Invalid, "debug"));
        assert_eq!(filter_of("fatal").unwrap().to_string(), "off");
    }

    #[test]
    fn levels_by_module_are_a_filter_and_nonsense_is_not() {
        filter_of("info,engine::log=debug").unwrap();

        let error = filter_of("a=b=c").unwrap_err();

        assert_eq!(error.kind(), Kind::Invalid);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let file = LogFileSettings {
            folder: path.clone(),
            name: "proxy".to_owned(),
            max_bytes: 1,
            max_age: None,
            max_backups: None,
        };
        let settings = TraceSettings { file: Some(file), ..TraceSettings::default() };

        let error = Lines::start(&settings, Hand::at(0)).map(|_| ()).unwrap_err();

        let text = format!("cannot write the log file {} (log.file.rootPath)", path.display());
        assert_eq!(error.to_string(), text);
    }
}
