//! How a log line is written as JSON, as Milvus's logger writes it, or with the keys and values that public guides read.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::time_text;
use crate::base::Clock;

/// Whose keys and values a line has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Milvus's own.
    #[default]
    Milvus,
    /// Those that Milvus's guides and collectors expect: times by ISO 8601, levels in small letters.
    Guide,
}

/// The level of the line that says why a process ends. It is written whatever the level of the log is.
const FATAL: &str = "FATAL";

impl Compat {
    fn time(self, unix_ms: u64) -> String {
        match self {
            Self::Milvus => time_text(unix_ms, "%Y/%m/%d %H:%M:%S.%3f +00:00"),
            Self::Guide => time_text(unix_ms, "%Y-%m-%dT%H:%M:%S.%3fZ"),
        }
    }

    fn level(self, level: &str) -> String {
        match self {
            Self::Milvus => level.to_ascii_uppercase(),
            Self::Guide => level.to_ascii_lowercase(),
        }
    }

    /// The line of an error that ends the process.
    pub(super) fn fatal(self, unix_ms: u64, message: &str, error: &str) -> String {
        let mut said = Said { message: Some(message.to_owned()), rest: Map::new() };
        if !error.is_empty() {
            said.put("error", error.into());
        }
        let (caller, target) = ("main.rs".to_owned(), "redkite");
        self.line(unix_ms, Head { level: FATAL, caller, target }, said)
    }

    fn line(self, unix_ms: u64, head: Head<'_>, said: Said) -> String {
        let mut line = Map::new();
        let mut put = |key: &str, value: String| line.insert(key.to_owned(), Value::String(value));
        put("level", self.level(head.level));
        put("time", self.time(unix_ms));
        put("caller", head.caller);
        put("target", head.target.to_owned());
        put("message", said.message.unwrap_or_default());
        for (key, value) in said.rest {
            // What a line always has keeps its meaning.
            let key = if line.contains_key(&key) { format!("{key}_") } else { key };
            line.insert(key, value);
        }
        Value::Object(line).to_string()
    }
}

/// What a line says before its message.
struct Head<'a> {
    level: &'a str,
    caller: String,
    target: &'a str,
}

/// Lines of JSON.
pub(super) struct JsonLines {
    pub(super) compat: Compat,
    pub(super) clock: Arc<dyn Clock>,
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let known = span.extensions();
            let fields = known.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| serde_json::from_str(&fields.fields).ok());
            said.rest.extend::<Map<String, Value>>(fields.unwrap_or_default());
        }
        event.record(&mut said);
        let about = event.metadata();
        let head = Head { level: level_name(*about.level()), caller: caller(about), target: about.target() };
        writeln!(writer, "{}", self.compat.line(self.clock.unix_ms(), head, said))
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "TRACE",
        Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARN",
        Level::ERROR => "ERROR",
    }
}

/// File and line with the folder that the file is in, as Milvus has it: `coord/lead.rs:12`.
fn caller(about: &Metadata<'_>) -> String {
    let file = about.file().unwrap_or_default();
    let mut parts = file.rsplitn(3, '/');
    let (name, folder) = (parts.next().unwrap_or_default(), parts.next());
    let file = folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
    about.line().map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: Option<String>,
    rest: Map<String, Value>,
}

impl Said {
    fn put(&mut self, key: &str, value: Value) {
        match (key, value) {
            ("message", Value::String(text)) if self.message.is_none() => self.message = Some(text),
            (key, value) => {
                self.rest.insert(key.to_owned(), value);
            }
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::json;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::obs::fixture::Hand;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is written, as it is read again; without the line of the source.
    fn lines(compat: Compat, say: impl FnOnce()) -> Vec<Value> {
        let page = Page::default();
        let format = JsonLines { compat, clock: Hand::at(1_795_910_400_007) };
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(format)
            .with_writer(page.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        let read = |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let caller = line["caller"].as_str().unwrap().split(':').next().unwrap().to_owned();
            line["caller"] = caller.into();
            line
        };
        text.lines().map(read).collect()
    }

    #[test]
    fn a_line_has_the_keys_of_milvus_and_then_what_it_says() {
        let said = lines(Compat::Milvus, || {
            let _span = tracing::info_span!("call", call = "Search").entered();
            tracing::warn!(target: "audit", latency_ms = 7_u64, text = "a \"b\"\n", ratio = f64::NAN, "slow query");
        });

        assert_eq!(
            said,
            [json!({
                "level": "WARN", "time": "2026/11/29 00:00:00.007 +00:00", "caller": "obs/lines.rs",
                "target": "audit", "message": "slow query", "call": "Search", "latency_ms": 7,
                "text": "a \"b\"\n", "ratio": null,
            })]
        );
    }

    #[test]
    fn a_line_for_collectors_has_iso_times_and_small_letters() {
        let said = lines(Compat::Guide, || tracing::debug!("x"));

        assert_eq!(
            said,
            [json!({
                "level": "debug", "time": "2026-11-29T00:00:00.007Z", "caller": "obs/lines.rs",
                "target": "engine::obs::lines::tests", "message": "x",
            })]
        );
    }

    #[test]
    fn what_a_line_always_has_keeps_its_meaning() {
        let said = lines(Compat::Milvus, || tracing::info!(level = 3, time = "now", "x"));

        let found = |key: &str| said[0][key].clone();
        assert_eq!(
            ["level", "level_", "time_", "message"].map(found),
            [json!("INFO"), json!(3), json!("now"), json!("x")]
        );
    }

    #[test]
    fn why_a_process_ends_is_a_line_like_others() {
        let line = Compat::Milvus.fatal(1_795_910_400_000, "the node did not start", "cannot listen");

        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "level": "FATAL", "time": "2026/11/29 00:00:00.000 +00:00", "caller": "main.rs",
                "target": "redkite", "message": "the node did not start", "error": "cannot listen",
            })
        );
    }
}
