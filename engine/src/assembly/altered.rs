//! Settings that an administrator changes while the process runs: those that it reads again anyway, and the level of the log.
//! They hold for this process until its next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::admin::Setting;
use contract::settings::{Effect, KEYS, Settings};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Error, Sources};
use crate::admin;
use crate::base::chain;
use crate::obs::Lines;

/// The setting that the log lines go by.
const LEVEL: &str = "log.level";

/// Why a setting cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum NotAltered {
    /// There is no such setting.
    #[error("there is no setting {key}")]
    Unknown {
        /// What was asked for.
        key: String,
    },
    /// It is read at the start only.
    #[error("the setting {key} takes effect at the next start: change it where it comes from")]
    Fixed {
        /// Which.
        key: &'static str,
    },
    /// It is of another type. The value is not shown: it may be a secret.
    #[error("the value is not one of the setting {key}")]
    Type {
        /// Which.
        key: &'static str,
    },
    /// It is out of its range, or contradicts another one.
    #[error("the value of the setting {key} cannot be: {why}")]
    Range {
        /// Which.
        key: &'static str,
        /// Why.
        why: String,
    },
}

/// The settings of a process by now. Cloning shares them.
#[derive(Clone)]
pub struct Altered {
    started: Arc<Settings>,
    sources: Sources,
    lines: Lines,
    changes: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Altered {
    /// Nothing changed yet of what `sources` say.
    #[must_use]
    pub fn new(started: Settings, sources: Sources, lines: Lines) -> Self {
        Self { started: Arc::new(started), sources, lines, changes: Arc::default() }
    }

    /// Reads all layers of settings, and what was changed over them.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let this = self.clone();
        Arc::new(move || this.now())
    }

    fn now(&self) -> Result<Settings, Error> {
        let read = (self.sources)()?;
        let changes = self.changes.lock();
        // One that was taken over before and does not fit what the files say by now is left out.
        Ok(changes.iter().fold(read, |settings, (key, text)| apply(&settings, key, text).unwrap_or(settings)))
    }

    /// Every setting as it is in force, ascending by key, secrets hidden.
    ///
    /// # Errors
    /// If the settings cannot be read again.
    pub fn table(&self) -> Result<Vec<Setting>, Error> {
        let now = admin::table(&self.now()?);
        let mut rows = admin::table(&self.started);
        for (row, now) in rows.iter_mut().zip(now).filter(|(row, _)| row.dynamic) {
            row.value = now.value;
        }
        if let Some(row) = rows.iter_mut().find(|row| row.key == LEVEL) {
            row.value = self.lines.level();
        }
        Ok(rows)
    }

    /// Changes a setting until the next start of this process; what reads it again does so within seconds.
    ///
    /// # Errors
    /// [`NotAltered`]; nothing is changed then.
    pub fn alter(&self, key: &str, text: &str) -> Result<(), NotAltered> {
        let known = KEYS.iter().find(|known| known.name.eq_ignore_ascii_case(key));
        let Some(known) = known else { return Err(NotAltered::Unknown { key: key.to_owned() }) };
        let key = known.name;
        if key == LEVEL {
            let bad = |why| NotAltered::Range { key, why };
            return self.lines.set_level(text).map_err(|error| bad(chain(&error)));
        }
        if known.effect != Effect::Running {
            return Err(NotAltered::Fixed { key });
        }
        let base = self.now().unwrap_or_else(|_| (*self.started).clone());
        apply(&base, key, text)?;
        self.changes.lock().insert(key, text.to_owned());
        Ok(())
    }
}

/// Settings with one changed.
fn apply(settings: &Settings, key: &'static str, text: &str) -> Result<Settings, NotAltered> {
    let wrong = || NotAltered::Type { key };
    // Settings are strings, numbers and flags: turning them into a value cannot fail.
    let mut values = serde_json::to_value(settings).unwrap_or(Value::Null);
    let place = values.pointer_mut(&format!("/{}", key.replace('.', "/"))).ok_or_else(wrong)?;
    *place = match place {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Bool(_) => Value::Bool(text.trim().to_ascii_lowercase().parse().map_err(|_| wrong())?),
        Value::Number(_) => Value::Number(serde_json::from_str(text.trim()).map_err(|_| wrong())?),
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(wrong()),
    };
    let changed: Settings = serde_json::from_value(values).map_err(|_| wrong())?;
    changed.validate().map_err(|error| NotAltered::Range { key, why: error.to_string() })?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RealClock;
    use crate::obs::TraceSettings;

    fn altered(files: Settings) -> Altered {
        let lines = Lines::unstarted(&TraceSettings::default(), RealClock::new());
        Altered::new(Settings::default(), Arc::new(move || Ok(files.clone())), lines)
    }

    fn value(altered: &Altered, key: &str) -> String {
        altered.table().unwrap().into_iter().find(|row| row.key == key).unwrap().value
    }

    #[test]
    fn what_is_read_again_is_read_as_it_was_changed_and_shown_without_secrets() {
        let mut files = Settings::default();
        files.minio.bucket_name = "of-the-files".to_owned();
        let altered = altered(files);

        altered.alter("MINIO.accessKeyID", "key").unwrap();
        altered.alter("minio.secretAccessKey", "s3cret").unwrap();
        altered.alter("minio.useIAM", "True").unwrap();
        altered.alter("log.level", "debug").unwrap();

        let read = (altered.sources())().unwrap();
        assert_eq!(
            (read.minio.access_key_id.as_str(), read.minio.secret_access_key.reveal(), read.minio.use_iam),
            ("key", "s3cret", true)
        );
        assert_eq!(read.minio.bucket_name, "of-the-files");
        let keys = ["minio.accessKeyID", "minio.secretAccessKey", "minio.useIAM", "log.level"];
        assert_eq!(keys.map(|key| value(&altered, key)), ["key", "(hidden)", "true", "debug"]);
        assert_eq!(value(&altered, "minio.bucketName"), "a-bucket", "the bucket is that of the start");
    }

    #[test]
    fn what_cannot_change_while_the_process_runs_is_refused_by_name() {
        let altered = altered(Settings::default());

        let refused =
            [("no.such", "1"), ("minio.bucketName", "b"), ("minio.useIAM", "perhaps"), ("log.level", "loud")]
                .map(|(key, text)| altered.alter(key, text).unwrap_err());

        let texts = refused.map(|refused| refused.to_string());
        assert_eq!(texts[0], "there is no setting no.such");
        assert_eq!(
            texts[1],
            "the setting minio.bucketName takes effect at the next start: change it where it comes from"
        );
        assert_eq!(texts[2], "the value is not one of the setting minio.useIAM");
        assert!(texts[3].starts_with("the value of the setting log.level cannot be: "), "{}", texts[3]);
        assert_eq!((altered.sources())().unwrap(), Settings::default());
    }
}
