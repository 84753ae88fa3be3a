//! The text of `user.yaml`.

use serde_json::{Map, Value, json};

use super::{DataStore, storage};

/// The settings of the engine: our defaults under the user's `config` under what the dependencies dictate.
///
/// Keys are sorted, so that equal settings are equal text. No secret is in it: keys come from Secrets as environment.
pub(super) fn user(instance: &str, config: Option<&Value>, store: &DataStore) -> Value {
    let mut settings = json!({
        "common": {"storageType": "local"},
        "etcd": {"rootPath": instance},
        "minio": {"bucketName": instance},
        "msgChannel": {"chanNamePrefix": {"cluster": instance}},
    });
    if let Some(config) = config {
        merge(&mut settings, config);
    }
    merge(&mut settings, &storage::settings(store));
    sorted(settings)
}

/// Merges `over` into `under`: maps by key, everything else is replaced; `null` changes nothing.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(key) {
                    Some(slot) => merge(slot, value),
                    None => {
                        under.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (under, over) => *under = over.clone(),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExternalStorage;
    use super::*;

    #[test]
    fn the_users_config_wins_over_defaults_and_the_dependencies_over_both() {
        let config = json!({
            "etcd": {"rootPath": "mine"},
            "minio": {"address": "ignored", "bucketName": "b", "useSSL": true},
            "log": null,
        });
        let store = DataStore::External(ExternalStorage {
            host: "s3.example".into(),
            port: 443,
            secret: Some("keys".into()),
        });

        let settings = user("db", Some(&config), &store);

        assert_eq!(
            settings,
            json!({
                "common": {"storageType": "remote"},
                "etcd": {"rootPath": "mine"},
                "log": null,
                "minio": {"address": "s3.example", "bucketName": "b", "port": 443, "useSSL": true},
                "msgChannel": {"chanNamePrefix": {"cluster": "db"}},
            })
        );
    }

    #[test]
    fn the_order_in_which_a_user_writes_keys_does_not_show() {
        let one = user("db", Some(&json!({"a": {"x": 1, "y": 2}, "b": 1})), &DataStore::Embedded);
        let other = user("db", Some(&json!({"b": 1, "a": {"y": 2, "x": 1}})), &DataStore::Embedded);

        assert_eq!(one.to_string(), other.to_string());
    }
}
