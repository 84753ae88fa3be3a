//! The text of `user.yaml`, and which pods a change of it concerns.

use std::collections::BTreeMap;

use contract::role::Role;
use contract::settings::{Effect, KEYS, components};
use serde_json::{Map, Value, json};

use super::Component;
use super::dependency::{Foundation, Log, MetaStore, settings as dictated};

/// Settings with their secrets apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSettings {
    /// What goes into the ConfigMap.
    pub plain: Value,
    /// What a user wrote into the spec and must not stand in a ConfigMap: name of the environment variable → value.
    pub secret: BTreeMap<String, String>,
}

/// The setting of the port that clients are served on, which is not to be chosen here.
pub(super) const CLIENT_PORT: &str = "proxy.port";

/// Settings whose values are secrets. Where they stand in a spec, they reach the pods through a Secret.
const SECRETS: [&str; 6] = [
    "common.security.defaultRootPassword",
    "etcd.auth.password",
    "kafka.saslPassword",
    "kafka.ssl.tlsKeyPassword",
    "minio.gcpCredentialJSON",
    "minio.secretAccessKey",
];

/// The settings of the engine: our defaults under the user's `config` under what the dependencies and certificates dictate.
///
/// Keys are sorted, so that equal settings are equal text. No secret is in the plain part.
pub(super) fn user(
    instance: &str,
    config: Option<&Value>,
    own: &Value,
    foundation: &Foundation,
    certificates: &Value,
) -> UserSettings {
    let mut settings = json!({
        "common": {"storageType": "local"},
        "etcd": {"rootPath": instance},
        "minio": {"bucketName": instance},
        "msgChannel": {"chanNamePrefix": {"cluster": instance}},
    });
    merge(&mut settings, own);
    if let Some(config) = config {
        let mut config = config.clone();
        // Addresses come from `spec.dependencies` alone, as with the peer.
        let dictated = ["minio.address", "minio.port", "etcd.endpoints", "kafka.brokerList", "mq.type"];
        // Services, probes and policies are made for one port; a note says so.
        for path in dictated.into_iter().chain([CLIENT_PORT]) {
            take(&mut config, path);
        }
        merge(&mut settings, &config);
    }
    for dictate in dictated(foundation) {
        merge(&mut settings, &dictate);
    }
    merge(&mut settings, certificates);
    let kafka = matches!(foundation.log, Log::Kafka { .. });
    if let Value::Object(sections) = &mut settings {
        // Sections of streams that nobody uses say nothing, but may hold passwords.
        sections.retain(|name, _| match name.as_str() {
            "pulsar" | "rocksmq" | "natsmq" | "woodpecker" => false,
            "kafka" => kafka,
            _ => true,
        });
    }
    let mut secret = BTreeMap::new();
    for path in SECRETS {
        if let Some(Value::String(text)) = take(&mut settings, path)
            && !text.is_empty()
            && !given_by_reference(path, foundation)
        {
            secret.insert(variable(path), text);
        }
    }
    UserSettings { plain: sorted(settings), secret }
}

/// The environment variable by which the engine knows a setting.
fn variable(path: &str) -> String {
    path.replace('.', "_").to_uppercase()
}

/// Whether a Secret that the spec names brings this value already.
fn given_by_reference(path: &str, foundation: &Foundation) -> bool {
    match path {
        "minio.secretAccessKey" => {
            matches!(&foundation.store, super::DataStore::Bucket(bucket) if bucket.secret.is_some())
        }
        "kafka.saslPassword" => matches!(&foundation.log, Log::Kafka { secret: Some(_), .. }),
        "etcd.auth.password" => !matches!(&foundation.meta, MetaStore::Etcd { external: true, .. }),
        _ => false,
    }
}

/// Removes a value and returns it.
fn take(settings: &mut Value, path: &str) -> Option<Value> {
    let (place, key) = path.rsplit_once('.')?;
    let place = place.split('.').try_fold(settings, |value, part| value.get_mut(part))?;
    place.as_object_mut()?.shift_remove(key)
}

/// The part of the settings that decides what a component does, as text: only keys that the engine knows and that take
/// effect at a start, and of those that belong to one component alone only its own.
#[must_use]
pub(super) fn concerning(settings: &Value, component: Component) -> String {
    let mut lines = Vec::new();
    for key in KEYS {
        let running = key.effect == Effect::Running;
        let value = key.name.split('.').try_fold(settings, |value, part| value.get(part));
        if let (false, true, Some(value)) = (running, concerns(key.name, component), value) {
            lines.push(format!("{}={value}\n", key.name));
        }
    }
    // The order of our own table may change from version to version, and must not restart anybody.
    lines.sort();
    lines.concat()
}

/// Whether a setting can make a difference to a component: as the engine's table of settings says, which is what people read, too.
fn concerns(key: &str, component: Component) -> bool {
    let concerned = components(key);
    component == Component::Standalone
        || concerned.is_empty()
        || Role::from_name(component.name()).is_none_or(|role| concerned.contains(&role))
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
    use super::super::storage::Bucket;
    use super::super::{DataStore, MetaStore};
    use super::*;

    fn embedded() -> Foundation {
        Foundation {
            meta: MetaStore::Embedded,
            store: DataStore::Embedded,
            log: Log::Files,
            stores: Vec::new(),
        }
    }

    fn elsewhere() -> Foundation {
        Foundation {
            meta: MetaStore::Etcd { endpoints: vec!["etcd:2379".into()], external: true },
            store: DataStore::Bucket(Bucket {
                host: "s3.example".into(),
                port: 443,
                secret: Some("keys".into()),
                azure: false,
                external: true,
            }),
            log: Log::Kafka { brokers: vec!["kafka:9092".into()], secret: None, authority: false },
            stores: Vec::new(),
        }
    }

    #[test]
    fn the_users_config_wins_over_defaults_and_the_dependencies_over_both() {
        let config = json!({
            "etcd": {"rootPath": "mine", "endpoints": "ignored"},
            "minio": {"address": "ignored", "bucketName": "b", "useSSL": true},
            "proxy": {"port": 19531, "slowQuerySpanInSeconds": 1},
            "pulsar": {"authParams": "token:secret"},
            "log": null,
        });

        let settings = user("db", Some(&config), &Value::Null, &elsewhere(), &Value::Null);

        assert_eq!(
            settings,
            UserSettings {
                plain: json!({
                    "common": {"storageType": "remote"},
                    "etcd": {"endpoints": ["etcd:2379"], "rootPath": "mine"},
                    "kafka": {"brokerList": ["kafka:9092"]},
                    "log": null,
                    "minio": {"address": "s3.example", "bucketName": "b", "port": 443, "useSSL": true},
                    "mq": {"type": "kafka"},
                    "msgChannel": {"chanNamePrefix": {"cluster": "db"}},
                    "proxy": {"slowQuerySpanInSeconds": 1},
                }),
                secret: BTreeMap::new(),
            }
        );
    }

    #[test]
    fn a_secret_in_the_spec_never_stands_in_the_plain_settings() {
        let config = json!({
            "etcd": {"auth": {"enabled": true, "userName": "root", "password": "one"}},
            "kafka": {"saslUsername": "me", "saslPassword": "two"},
            "minio": {"accessKeyID": "id", "secretAccessKey": "three"},
        });

        let outside = user("db", Some(&config), &Value::Null, &elsewhere(), &Value::Null);
        let inside = user("db", Some(&config), &Value::Null, &embedded(), &Value::Null);

        assert_eq!(
            outside.secret,
            [("ETCD_AUTH_PASSWORD", "one"), ("KAFKA_SASLPASSWORD", "two")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
        for plain in [outside.plain, inside.plain] {
            for word in ["one", "two", "three"] {
                assert!(!plain.to_string().contains(&format!("\"{word}\"")), "{word} in {plain}");
            }
        }
    }

    #[test]
    fn the_order_in_which_a_user_writes_keys_does_not_show() {
        let settings = |config: Value| {
            user("db", Some(&config), &Value::Null, &embedded(), &Value::Null).plain.to_string()
        };

        assert_eq!(
            settings(json!({"a": {"x": 1, "y": 2}, "b": 1})),
            settings(json!({"b": 1, "a": {"y": 2, "x": 1}}))
        );
    }

    #[test]
    fn a_setting_concerns_those_whom_it_can_make_a_difference_to() {
        let concerned = |settings: Value| -> Vec<&str> {
            [Component::Proxy, Component::MixCoord, Component::QueryNode, Component::DataNode]
                .into_iter()
                .filter(|component| !concerning(&settings, *component).is_empty())
                .map(Component::name)
                .collect()
        };

        assert_eq!(concerned(json!({"log": {"level": "debug"}})).len(), 4);
        assert_eq!(concerned(json!({"proxy": {"replicaSelectionPolicy": "round_robin"}})), ["proxy"]);
        assert_eq!(concerned(json!({"redkite": {"cache": {"budgetMb": 5}}})), ["querynode"]);
        let limits = json!({"quotaAndLimits": {"dql": {"enabled": true, "searchRate": {"max": 5}}}});
        assert_eq!(concerned(limits), ["proxy"]);
        let memory = json!({"quotaAndLimits": {"limitWriting": {"memProtection": {"enabled": false}}}});
        assert_eq!(concerned(memory), ["datanode"]);
        assert_eq!(concerned(json!({"common": {"retentionDuration": 60}})), ["proxy", "mixcoord"]);
        assert_eq!(concerned(json!({"some": {"key": "that the engine does not know"}})), Vec::<&str>::new());
    }
}
