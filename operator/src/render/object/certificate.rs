//! Secrets with what the operator issued: certificates, and the authorities behind them.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use super::owned;
use crate::certificates::{
    AUTHORITY, Authorities, CERTIFICATE, Certificate, Credentials, Issued, Key, PRIVATE_KEY,
};
use crate::render::Checked;
use crate::render::certificates::authority_secret;

const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";
/// Annotation: when the last step of a change was done.
const SINCE: &str = "redkite.io/authority-since";
/// Annotation: since when all pods are ready for the next step.
const SEEN: &str = "redkite.io/pods-ready-since";
/// Annotation: the word that asked for the last change.
const ROTATION: &str = "redkite.io/rotation";

/// The Secret with the authorities. No pod mounts it.
#[must_use]
pub fn render_authorities(checked: &Checked, held: &Authorities) -> Secret {
    let Authorities { current, next, previous, rotation, since, seen } = held;
    let mut data = BTreeMap::from([(CERTIFICATE, &*current.pem), (PRIVATE_KEY, current.key.pem())]);
    if let Some(next) = next {
        data.extend([(NEXT_CERTIFICATE, &*next.pem), (NEXT_KEY, next.key.pem())]);
    }
    data.extend(previous.iter().map(|previous| (PREVIOUS_CERTIFICATE, previous.as_str())));
    let mut annotations = BTreeMap::from([(SINCE, since.to_string()), (ROTATION, rotation.clone())]);
    annotations.extend(seen.map(|seen| (SEEN, seen.to_string())));
    secret(checked, authority_secret(&checked.name), "Opaque", data, annotations)
}

/// The authorities of a Secret; `None` if they cannot be used.
#[must_use]
pub fn read_authorities(secret: &Secret) -> Option<Authorities> {
    let credentials = |certificate: &str, key: &str| {
        let pem = text(secret, certificate)?;
        let key = Key::new(text(secret, key)?);
        Some(Credentials { certificate: Certificate::of_pem(pem.as_bytes()).ok()?, pem, key })
    };
    let note = |name: &str| secret.metadata.annotations.as_ref()?.get(name).cloned();
    let time = |name: &str| note(name)?.parse::<Timestamp>().ok();
    Some(Authorities {
        current: credentials(CERTIFICATE, PRIVATE_KEY)?,
        next: credentials(NEXT_CERTIFICATE, NEXT_KEY),
        previous: text(secret, PREVIOUS_CERTIFICATE),
        rotation: note(ROTATION).unwrap_or_default(),
        // One whose time was lost waits the whole overlap from the beginning of its authority's life, which is long over.
        since: time(SINCE).unwrap_or(Timestamp::UNIX_EPOCH),
        seen: time(SEEN),
    })
}

/// The Secret with a certificate that was issued, which pods mount.
#[must_use]
pub fn render_issued(checked: &Checked, name: &str, made: &Credentials, trusted: &str) -> Secret {
    let data = BTreeMap::from([
        (CERTIFICATE, made.pem.as_str()),
        (PRIVATE_KEY, made.key.pem()),
        (AUTHORITY, trusted),
    ]);
    secret(checked, name.to_owned(), "kubernetes.io/tls", data, BTreeMap::new())
}

/// What was issued into a Secret; `None` if it cannot be used.
#[must_use]
pub fn read_issued(secret: &Secret) -> Option<(Issued, Credentials)> {
    let pem = text(secret, CERTIFICATE)?;
    let certificate = Certificate::of_pem(pem.as_bytes()).ok()?;
    let key = Key::new(text(secret, PRIVATE_KEY)?);
    let issued = Issued { certificate: certificate.clone(), trusted: text(secret, AUTHORITY)? };
    Some((issued, Credentials { certificate, pem, key }))
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

fn secret(
    checked: &Checked,
    name: String,
    kind: &str,
    data: BTreeMap<&str, &str>,
    annotations: BTreeMap<&str, String>,
) -> Secret {
    let mut metadata = owned(checked, name);
    let annotations = annotations.into_iter().map(|(name, value)| (name.to_owned(), value));
    let rendered = (names::ANNOTATION_RENDERED.to_owned(), "true".to_owned());
    metadata.annotations = Some(annotations.chain([rendered]).collect());
    let data = data.into_iter();
    Secret {
        metadata,
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec()))).collect(),
        ),
        type_: Some(kind.to_owned()),
        ..Secret::default()
    }
}
