//! The settings of a process for people to see, without secrets.

use contract::admin::Setting;
use contract::settings::{Effect, KEYS, Settings, components};
use serde_json::Value;

/// What is shown instead of a secret.
const HIDDEN: &str = "(hidden)";
/// Stands for a value that would be seen if it were shown.
const PROBE: &str = "a-value-that-nobody-has";

/// Every setting with its value in `settings`, ascending by key.
#[must_use]
pub fn table(settings: &Settings) -> Vec<Setting> {
    let (values, defaults) = (as_value(settings), as_value(&Settings::default()));
    let shown = |all: &Value, name: &str| match all.pointer(&pointer(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let row = |key: &contract::settings::Key| {
        let mut value = shown(&values, key.name);
        if !matches!(value.as_str(), "" | "{}") && is_secret(&defaults, key.name) {
            HIDDEN.clone_into(&mut value);
        }
        Setting {
            key: key.name.to_owned(),
            value,
            default: shown(&defaults, key.name),
            components: components(key.name).iter().map(|role| role.name().to_owned()).collect(),
            dynamic: key.effect == Effect::Running,
            meaning: key.meaning.to_owned(),
        }
    };
    KEYS.iter().map(row).collect()
}

fn as_value(settings: &Settings) -> Value {
    // Settings are strings, numbers and flags: turning them into a value cannot fail.
    serde_json::to_value(settings).unwrap_or(Value::Null)
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('.', "/"))
}

/// Whether a setting is of the type whose `Debug` hides it. The types decide, so that no list of secrets can be forgotten.
fn is_secret(defaults: &Value, name: &str) -> bool {
    let mut probed = defaults.clone();
    let Some(place) = probed.pointer_mut(&pointer(name)) else { return false };
    *place = match place {
        Value::String(_) => Value::String(PROBE.to_owned()),
        // A section whose names people choose.
        Value::Object(_) => serde_json::json!({ "name": { "key": PROBE } }),
        _ => return false,
    };
    let read: Result<Settings, _> = serde_json::from_value(probed);
    // A value that cannot be judged is not shown either.
    read.map_or(true, |settings| !format!("{settings:?}").contains(PROBE))
}

#[cfg(test)]
mod tests {
    use contract::settings::{Secret, Settings};

    use super::table;

    #[test]
    fn secrets_that_are_set_are_hidden_and_nothing_else_is() {
        let mut settings = Settings::default();
        settings.minio.secret_access_key = Secret::new("s3cret".to_owned());
        settings.kafka.sasl_password = Secret::new("s3cret".to_owned());
        settings.kafka.ssl.tls_key_password = Secret::new("s3cret".to_owned());
        settings.etcd.auth.password = Secret::new("s3cret".to_owned());
        settings.minio.gcp_credential_json = Secret::new("s3cret".to_owned());
        settings.minio.bucket_name = "b".to_owned();
        let secret = [("apikey".to_owned(), Secret::new("s3cret".to_owned()))];
        settings.credential.insert("one".to_owned(), secret.into());

        let rows = table(&settings);

        let hidden: Vec<_> =
            rows.iter().filter(|row| row.value == "(hidden)").map(|row| row.key.as_str()).collect();
        assert_eq!(
            hidden,
            [
                "common.security.defaultRootPassword",
                "credential",
                "etcd.auth.password",
                "kafka.saslPassword",
                "kafka.ssl.tlsKeyPassword",
                "minio.gcpCredentialJSON",
                "minio.secretAccessKey"
            ]
        );
        assert!(!format!("{rows:?}").contains("s3cret"));
        let bucket = rows.iter().find(|row| row.key == "minio.bucketName").unwrap();
        assert_eq!((bucket.value.as_str(), bucket.default.as_str()), ("b", "a-bucket"));
    }
}
