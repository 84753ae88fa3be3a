//! Secrets: settings that a user wrote into the spec in clear text, and random ones that are made once.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, Secret, SecretKeySelector};

use contract::names;

use super::{Wanted, admin_secret, owned};
use crate::render::{Checked, StoreKind, hash};

/// Name of the Secret with settings of the spec.
pub(super) fn name(checked: &Checked) -> String {
    format!("{}-settings", checked.name)
}

/// A variable with the value under a key of a Secret.
pub(super) fn variable(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// The Secret with settings of the spec, if any of them is secret.
pub(super) fn render(checked: &Checked) -> Wanted<Secret> {
    let name = name(checked);
    let values = &checked.settings.secret;
    if values.is_empty() {
        return Wanted::Absent(name);
    }
    let data = values.iter().map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes())));
    Wanted::Present(Secret {
        metadata: owned(checked, name),
        data: Some(data.collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// Changes when a secret setting does, so that the pods that read it at their start are replaced. Sixteen bits of a hash:
/// enough to see nearly every change, too few to find the secret by.
pub(super) fn fingerprint(checked: &Checked) -> String {
    let values = &checked.settings.secret;
    if values.is_empty() {
        return String::new();
    }
    hash::of(&format!("{} {values:?}", checked.uid)).chars().take(4).collect()
}

/// A Secret that is made once, with values that nobody chose, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomSecret {
    /// Its name.
    pub name: String,
    /// Keys that get a random value.
    pub random: Vec<&'static str>,
    /// Keys that get this value.
    pub fixed: Vec<(&'static str, String)>,
    /// Whether it goes with its object. One whose store stays must stay with it.
    pub owned: bool,
}

/// The random Secrets that a checked object needs.
#[must_use]
pub fn random_secrets(checked: &Checked) -> Vec<RandomSecret> {
    let mut secrets = vec![RandomSecret {
        name: admin_secret(&checked.name),
        random: vec![names::ADMIN_TOKEN_KEY],
        fixed: Vec::new(),
        owned: true,
    }];
    if checked.stores.iter().any(|store| store.kind == StoreKind::Objects) {
        secrets.push(RandomSecret {
            name: StoreKind::Objects.name(&checked.name),
            random: vec![names::SECRET_SECRET_KEY],
            fixed: vec![(names::SECRET_ACCESS_KEY, "redkite".to_owned())],
            owned: false,
        });
    }
    secrets
}

impl RandomSecret {
    /// The Secret, with random values from `random`.
    #[must_use]
    pub fn render(&self, checked: &Checked, mut random: impl FnMut() -> String) -> Secret {
        let mut metadata = owned(checked, self.name.clone());
        metadata.annotations = Some([(names::ANNOTATION_RENDERED.to_owned(), "true".to_owned())].into());
        if !self.owned {
            metadata.owner_references = None;
        }
        let drawn = self.random.iter().map(|key| ((*key).to_owned(), random()));
        let fixed = self.fixed.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        Secret {
            metadata,
            data: Some(
                drawn.chain(fixed).map(|(key, value)| (key, ByteString(value.into_bytes()))).collect(),
            ),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }
}
