//! Settings from defaults, files, environment and flags, in that order. The only place that looks at the environment.

use std::path::{Path, PathBuf};

use contract::settings::{KEYS, OPEN, Settings};
use figment::Figment;
use figment::providers::Serialized;
use serde_json::Value;

use crate::assembly::Error;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`, in order.
    pub files: Vec<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--metrics-listen`.
    pub metrics_listen: Option<String>,
    /// `--internal-listen`.
    pub internal_listen: Option<String>,
}

/// Settings, and what was in the files without being one.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Keys that mean nothing to this version, ascending: a Milvus user's file has hundreds.
    pub unknown: Vec<String>,
}

/// Reads all layers. `environment` is the process's, or a test's.
///
/// # Errors
/// A file that cannot be read or is not YAML, a value of the wrong type or out of its range; each names where.
pub fn load(flags: &Flags, environment: impl Iterator<Item = (String, String)>) -> Result<Loaded, Error> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Error::ReadFile { path: path.clone(), source })?;
        Ok((path.clone(), text))
    };
    let files = flags.files.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    layered(&files, flags, environment)
}

/// As [`load`], with what the files have in them.
///
/// # Errors
/// As there.
pub(super) fn layered(
    files: &[(PathBuf, String)],
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Error> {
    let defaults = defaults();
    let mut layers = Vec::new();
    let mut unknown = Vec::new();
    for (path, text) in files {
        let mut values = parse(path, text)?;
        split_unknown(&mut values, &defaults, "", &mut unknown);
        coerce(&mut values, &defaults);
        let origin = path.display().to_string();
        check_open(&values, &origin)?;
        layers.push(Named { origin, values });
    }
    let values = from_environment(&defaults, environment);
    layers.push(Named { origin: "the environment".to_owned(), values });
    layers.push(Named { origin: "the command line".to_owned(), values: from_flags(flags) });
    let is_listen_set = layers.iter().any(|layer| at(&layer.values, "proxy.listen").is_some());
    let base = Figment::from(Serialized::defaults(&defaults));
    let figment = layers.into_iter().fold(base, |figment, layer| figment.merge(layer));
    let mut settings: Settings = figment.extract().map_err(|source| Error::BadSetting {
        key: source.path.join("."),
        origin: source.metadata.as_ref().map_or_else(|| "a default".to_owned(), |from| from.name.to_string()),
        source: Box::new(source),
    })?;
    if !is_listen_set {
        settings.proxy.listen = format!("0.0.0.0:{}", settings.proxy.port);
    }
    settings.validate().map_err(|source| Error::OutOfRange { source })?;
    unknown.sort();
    unknown.dedup();
    Ok(Loaded { settings, unknown })
}

/// The default of a setting, as the reference shows it; empty for an unknown key.
#[must_use]
pub fn default_of(name: &str) -> String {
    match at(&defaults(), name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

fn defaults() -> Value {
    // Settings are strings, numbers and flags: turning them into a value cannot fail.
    serde_json::to_value(Settings::default()).unwrap_or(Value::Null)
}

fn at<'a>(values: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(values, |value, part| value.get(part))
}

/// Values with the name of where they come from, for error texts.
struct Named {
    origin: String,
    values: Value,
}

impl figment::Provider for Named {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<figment::value::Map<figment::Profile, figment::value::Dict>, figment::Error> {
        Serialized::defaults(&self.values).data()
    }
}

fn parse(path: &Path, text: &str) -> Result<Value, Error> {
    let bad = |source: serde_yaml::Error| {
        let line = source.location().map(|place| place.line());
        Error::BadFile { path: path.to_owned(), line, source }
    };
    let values: Value = serde_yaml::from_str(text).map_err(bad)?;
    match values {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::Object(_) => Ok(values),
        _ => Err(bad(serde::de::Error::custom("a configuration file is a mapping of keys to values"))),
    }
}

/// Moves keys that no default has out of `values`.
fn split_unknown(values: &mut Value, defaults: &Value, prefix: &str, unknown: &mut Vec<String>) {
    let (Value::Object(values), Value::Object(defaults)) = (values, defaults) else { return };
    values.retain(|key, value| {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match defaults.get(key) {
            None => {
                leaves(&name, value, unknown);
                false
            }
            // A section that is empty in the file says nothing.
            Some(Value::Object(_)) if value.is_null() => false,
            // People choose the names in it.
            Some(Value::Object(_)) if is_open(&name) => true,
            Some(default) => {
                split_unknown(value, default, &name, unknown);
                true
            }
        }
    });
}

fn leaves(name: &str, value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            inner.iter().for_each(|(key, value)| leaves(&format!("{name}.{key}"), value, all));
        }
        _ => all.push(name.to_owned()),
    }
}

/// YAML writes numbers where text is meant and the other way round: the default's type decides.
fn coerce(values: &mut Value, defaults: &Value) {
    match (&mut *values, defaults) {
        // Only settings whose names people choose are empty sections.
        (Value::Object(named), Value::Object(defaults)) if defaults.is_empty() => {
            named.values_mut().for_each(texts_of);
        }
        (Value::Object(values), Value::Object(defaults)) => {
            for (key, value) in values {
                if let Some(default) = defaults.get(key) {
                    coerce(value, default);
                }
            }
        }
        (Value::String(text), Value::Number(_) | Value::Bool(_)) => *values = typed(text, defaults),
        (Value::Number(number), Value::String(_)) => *values = Value::String(number.to_string()),
        // A list where a text with commas is meant, as Milvus's own files have it.
        (Value::Array(items), Value::String(_)) => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            *values = Value::String(items.iter().map(text).collect::<Vec<_>>().join(","));
        }
        (Value::Null, Value::String(_)) => *values = Value::String(String::new()),
        _ => {}
    }
}

/// Whether people choose the names in a section.
fn is_open(name: &str) -> bool {
    OPEN.iter().any(|(open, _)| *open == name)
}

/// A section of texts, whatever YAML makes of them.
fn texts_of(section: &mut Value) {
    if section.is_null() {
        *section = Value::Object(serde_json::Map::new());
    }
    let Value::Object(values) = section else { return };
    for value in values.values_mut() {
        match value {
            Value::Null => *value = Value::String(String::new()),
            Value::Bool(_) | Value::Number(_) => *value = Value::String(value.to_string()),
            _ => {}
        }
    }
}

/// Refuses what is no section of sections of texts where people choose the names, without the values: they may be secrets.
fn check_open(values: &Value, origin: &str) -> Result<(), Error> {
    let wrong = |key: String| Err(Error::NotTexts { key, origin: origin.to_owned() });
    for (open, _) in OPEN {
        let Some(section) = at(values, open) else { continue };
        let Value::Object(named) = section else { return wrong(open.to_owned()) };
        for (name, texts) in named {
            match texts {
                Value::Object(texts) if texts.values().all(Value::is_string) => {}
                _ => return wrong(format!("{open}.{name}")),
            }
        }
    }
    Ok(())
}

/// The setting that a variable means whose name, as [`plain`] has it, is within an open section: its name there is what is
/// between the section's and that of one of its texts.
fn within_open(bare: &str) -> Option<String> {
    OPEN.iter().find_map(|(open, texts)| {
        let rest = bare.strip_prefix(&plain(open))?;
        texts.iter().find_map(|text| {
            let name = rest.strip_suffix(&plain(text)).filter(|name| !name.is_empty())?;
            Some(format!("{open}.{name}.{text}"))
        })
    })
}

/// Text as a value of the default's type; text that is none stays text, and is refused with its key later.
fn typed(text: &str, default: &Value) -> Value {
    match default {
        Value::Number(_) => {
            text.trim().parse::<serde_json::Number>().map_or_else(|_| text.into(), Value::Number)
        }
        Value::Bool(_) => text.trim().to_ascii_lowercase().parse().map_or_else(|_| text.into(), Value::Bool),
        _ => text.into(),
    }
}

/// Milvus's rule: case, `_`, `.` and `/` do not count, and a prefix `MILVUS_CONF_` may stand before the name.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '_' | '.' | '/')).collect::<String>().to_ascii_lowercase()
}

/// Whether a variable is what Kubernetes and Docker tell every process of a service that is called like one of our sections:
/// beside a service `proxy`, `PROXY_PORT` is `tcp://10.0.0.1:19530`.
fn is_link(name: &str, text: &str) -> bool {
    name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
}

fn from_environment(defaults: &Value, environment: impl Iterator<Item = (String, String)>) -> Value {
    let mut values = Value::Object(serde_json::Map::new());
    for (name, text) in environment {
        let prefixed = name.strip_prefix("MILVUS_CONF_").or_else(|| name.strip_prefix("REDKITE__"));
        if prefixed.is_none() && is_link(&name, &text) {
            continue;
        }
        let bare = prefixed.unwrap_or(&name);
        let bare = plain(bare);
        let Some(key) = KEYS.iter().find(|key| plain(key.name) == bare) else {
            if let Some(name) = within_open(&bare).filter(|_| prefixed.is_some()) {
                put(&mut values, &name, text.into());
            }
            continue;
        };
        if is_open(key.name) {
            continue;
        }
        if let Some(default) = at(defaults, key.name) {
            put(&mut values, key.name, typed(&text, default));
        }
    }
    values
}

fn from_flags(flags: &Flags) -> Value {
    let mut values = Value::Object(serde_json::Map::new());
    if let Some(path) = &flags.data_dir {
        put(&mut values, "localStorage.path", path.display().to_string().into());
    }
    if let Some(address) = &flags.listen {
        put(&mut values, "proxy.listen", address.clone().into());
    }
    if let Some(address) = &flags.metrics_listen {
        put(&mut values, "redkite.metricsListen", address.clone().into());
    }
    if let Some(address) = &flags.internal_listen {
        put(&mut values, "redkite.internalListen", address.clone().into());
    }
    values
}

fn put(values: &mut Value, name: &str, value: Value) {
    let mut place = values;
    for part in name.split('.') {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use contract::settings::{KEYS, Settings};

    use super::{Flags, Loaded, defaults, leaves, load};
    use crate::assembly::Error;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Error> {
        let file = file(text);
        let flags = Flags { files: vec![file.path().to_owned()], ..Flags::default() };
        load(&flags, environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn without_any_configuration_the_defaults_hold() {
        let loaded = load(&Flags::default(), std::iter::empty()).unwrap();

        assert_eq!(loaded, Loaded { settings: Settings::default(), unknown: Vec::new() });
    }

    #[test]
    fn the_reference_names_every_setting_and_no_other() {
        let mut names = Vec::new();
        for (key, value) in defaults().as_object().unwrap() {
            leaves(key, value, &mut names);
        }
        names.sort();

        assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    }

    #[test]
    fn later_layers_win_and_unknown_keys_are_collected() {
        let text = "minio: {address: one, bucketName: 12}\nqueryNode: {a: {b: 1}}\nlog: {level: debug}\n";
        let loaded =
            loaded(text, &[("MINIO_ADDRESS", "two:9000"), ("MILVUS_CONF_LOG_FORMAT", "json")]).unwrap();

        assert_eq!(loaded.settings.minio.address, "two:9000");
        assert_eq!(loaded.settings.minio.bucket_name, "12");
        assert_eq!((loaded.settings.log.level, loaded.settings.log.format), ("debug".into(), "json".into()));
        assert_eq!(loaded.unknown, ["queryNode.a.b"]);
    }

    #[test]
    fn secrets_and_services_have_names_that_people_choose() {
        let text = "credential: {one: {apikey: 12}, two: }\nfunction: {textEmbedding: {providers: {tei: {enable: false}, openai: {url: }}}}\n";
        let environment = [
            ("MILVUS_CONF_CREDENTIAL_MY_KEY_APIKEY", "s3cret"),
            ("REDKITE__FUNCTION__TEXTEMBEDDING__PROVIDERS__OPENAI__CREDENTIAL", "mykey"),
            ("CREDENTIAL_OTHER_APIKEY", "somebody else's"),
        ];
        let Loaded { settings, unknown } = loaded(text, &environment).unwrap();

        let secrets: Vec<_> = settings
            .credential
            .iter()
            .map(|(name, texts)| {
                (name.as_str(), texts.get("apikey").map(|secret| secret.reveal().to_owned()))
            })
            .collect();
        let expected = [("mykey", Some("s3cret".to_owned())), ("one", Some("12".to_owned())), ("two", None)];
        assert_eq!(secrets, expected);
        let providers = &settings.function.text_embedding.providers;
        assert_eq!(
            (providers["tei"]["enable"].as_str(), providers["openai"]["credential"].as_str()),
            ("false", "mykey")
        );
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(!format!("{settings:?}").contains("s3cret"));

        let error =
            loaded("function: {rerank: {model: {providers: {tei: {enable: perhaps}}}}}\n", &[]).unwrap_err();
        assert!(
            matches!(&error, Error::OutOfRange { source } if source.key == "function.rerank.model.providers")
        );
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_refused_without_being_shown() {
        let cases = [
            ("credential: s3cret\n", "credential"),
            ("credential: {one: s3cret}\n", "credential.one"),
            ("credential: {one: [s3cret]}\n", "credential.one"),
            ("credential: {one: {apikey: [s3cret]}}\n", "credential.one"),
        ];
        for (text, wanted) in cases {
            let error = loaded(text, &[]).unwrap_err();

            assert!(matches!(&error, Error::NotTexts { key, .. } if key == wanted), "{error:?}");
            assert!(!format!("{error:?} {}", crate::base::chain(&error)).contains("s3cret"));
        }
        for url in
            ["https://root:s3cret@inside", "https://inside/?key=s3cret", "https://inside/#s3cret", "s3cret"]
        {
            let text = format!("function: {{textEmbedding: {{providers: {{tei: {{url: '{url}'}}}}}}}}\n");
            let error = loaded(&text, &[]).unwrap_err();

            assert!(
                matches!(&error, Error::OutOfRange { source } if source.key == "function.textEmbedding.providers"),
                "{error:?}"
            );
            assert!(!format!("{error:?} {}", crate::base::chain(&error)).contains("s3cret"));
        }
    }

    #[test]
    fn the_port_for_clients_counts_where_their_address_is_not_set() {
        let listen = |text: &str, environment: &[(&str, &str)]| {
            loaded(text, environment).unwrap().settings.proxy.listen
        };

        assert_eq!(listen("proxy: {port: 19531}\n", &[]), "0.0.0.0:19531");
        assert_eq!(listen("log: {level: info}\n", &[("PROXY_PORT", "19532")]), "0.0.0.0:19532");
        assert_eq!(listen("proxy: {port: 19531, listen: '127.0.0.1:1'}\n", &[]), "127.0.0.1:1");
        assert_eq!(listen("proxy: {port: 19531}\n", &[("PROXY_LISTEN", "[::]:2")]), "[::]:2");
    }

    #[test]
    fn what_kubernetes_says_of_services_that_are_called_like_sections_is_no_setting() {
        let links = [
            ("PROXY_PORT", "tcp://10.0.0.1:19530"),
            ("MINIO_PORT", "tcp://10.0.0.2:9000"),
            ("ETCD_PORT", "tcp://10.0.0.3:2379"),
        ];

        assert_eq!(loaded("{}\n", &links).unwrap().settings, Settings::default());
        let ours = loaded("{}\n", &[("MILVUS_CONF_PROXY_PORT", "tcp://10.0.0.1:19530")]).unwrap_err();
        assert!(matches!(&ours, Error::BadSetting { key, .. } if key == "proxy.port"), "{ours:?}");
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        let error = loaded("minio:\n  address: [unclosed\nlog: {}\n", &[]).unwrap_err();

        assert!(matches!(error, Error::BadFile { line: Some(2..=3), .. }), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_key() {
        let error = loaded("minio:\n  port: many\n", &[]).unwrap_err();

        assert!(matches!(&error, Error::BadSetting { key, .. } if key == "minio.port"), "{error:?}");
    }

    #[test]
    fn a_value_out_of_its_range_is_refused_with_its_key() {
        let error = loaded("dataCoord: {segment: {maxSize: 0}}\n", &[]).unwrap_err();

        assert!(matches!(&error, Error::OutOfRange { source } if source.key == "dataCoord.segment.maxSize"));
    }
}
