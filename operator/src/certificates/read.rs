//! What is public of a certificate, and what is wrong with a Secret that has one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::{AUTHORITY, CERTIFICATE, Error, PRIVATE_KEY};

/// What is public of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Whose signature it has.
    pub issuer: String,
    /// The first moment it holds.
    pub from: Timestamp,
    /// The last moment it holds.
    pub until: Timestamp,
    /// Host names and addresses it is for, sorted.
    pub names: Vec<String>,
}

impl Certificate {
    /// Reads the first certificate of a text.
    ///
    /// # Errors
    /// [`Error`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::of_der(&chain(pem)?[0])
    }

    /// When a third of its life is left.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        let life = self.until.as_second() - self.from.as_second();
        Timestamp::from_second(self.until.as_second() - life / 3).unwrap_or(self.until)
    }

    /// A host that a caller may expect of whoever shows this certificate; any that a pattern stands for.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let mut hosts = self.names.iter().filter(|name| name.parse::<IpAddr>().is_err());
        hosts.next().or(self.names.first()).map(|name| match name.strip_prefix('*') {
            Some(rest) => format!("redkite{rest}"),
            None => name.clone(),
        })
    }
}

/// All certificates of a text, at least one.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem { text: error.to_string() })?;
    if found.is_empty() { Err(Error::Empty) } else { Ok(found) }
}

/// What a Secret must have beside a certificate with its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Whether authorities to trust.
    pub authority: bool,
    /// The name that the certificate must be for, by those authorities.
    pub name: Option<&'a str>,
}

/// What is wrong with a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSecret {
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence that begins with the key of the Secret. Nothing of a private key is in it.
    pub message: String,
}

/// Reads the certificate of a Secret and checks, as the engine will, that it can be used.
///
/// # Errors
/// The first thing that is wrong.
pub fn read_secret(
    data: &BTreeMap<String, Vec<u8>>,
    expected: Expected<'_>,
    now: Timestamp,
) -> Result<Certificate, BadSecret> {
    let bad = |reason, message: String| BadSecret { reason, message };
    let value = |key: &str| {
        let found = data.get(key).filter(|value| !value.is_empty());
        found.ok_or_else(|| bad("SecretDecodeError", format!("{key} is missing")))
    };
    let unreadable = |key: &str, error: &Error| bad("SecretDecodeError", format!("{key}: {error}"));
    let shown = chain(value(CERTIFICATE)?).map_err(|error| unreadable(CERTIFICATE, &error))?;
    let certificate = Certificate::of_der(&shown[0]).map_err(|error| unreadable(CERTIFICATE, &error))?;
    fits(&shown, value(PRIVATE_KEY)?)?;
    if certificate.until <= now {
        let message = format!("{CERTIFICATE} ended at {}", certificate.until);
        return Err(bad("CertificateExpired", message));
    }
    if certificate.from > now {
        let message = format!("{CERTIFICATE} does not hold before {}", certificate.from);
        return Err(bad("CertificateNotYetValid", message));
    }
    if expected.authority {
        let trusted = chain(value(AUTHORITY)?).map_err(|error| unreadable(AUTHORITY, &error))?;
        let mut roots = RootCertStore::empty();
        for authority in trusted {
            roots
                .add(authority)
                .map_err(|error| bad("SecretDecodeError", format!("{AUTHORITY}: {error}")))?;
        }
        if let Some(name) = expected.name {
            judge(&shown, roots, name, now).map_err(|text| {
                let text = format!("{CERTIFICATE} is not good for {name} by {AUTHORITY}: {text}");
                bad("CertificateNotTrusted", text)
            })?;
        }
    }
    Ok(certificate)
}

/// Whether the key is the certificate's.
fn fits(shown: &[CertificateDer<'static>], key: &[u8]) -> Result<(), BadSecret> {
    let bad = |reason, message| Err(BadSecret { reason, message });
    let provider = rustls::crypto::ring::default_provider();
    // What the parsers say of a key is left out: it may quote it.
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return bad("SecretDecodeError", format!("{PRIVATE_KEY} is no private key in PEM format"));
    };
    let Ok(key) = provider.key_provider.load_private_key(key) else {
        return bad("SecretDecodeError", format!("{PRIVATE_KEY} is of a kind that is not supported"));
    };
    match CertifiedKey::new(shown.to_vec(), key).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            bad("KeyMismatch", format!("{PRIVATE_KEY} is not the key of {CERTIFICATE}"))
        }
        _ => Ok(()),
    }
}

/// Whether a caller that trusts `roots` and wants `name` takes the certificate.
fn judge(
    shown: &[CertificateDer<'static>],
    roots: RootCertStore,
    name: &str,
    now: Timestamp,
) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let host = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let verdict = verifier.verify_server_cert(&shown[0], &shown[1..], &host, &[], now);
    verdict.map(drop).map_err(|error| error.to_string())
}
