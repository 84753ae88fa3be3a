//! Who we are to etcd and whom we trust: what the settings and the files that they name say right now.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use xxhash_rust::xxh3::Xxh3Default;

use crate::base::Secret;
use crate::meta::Error;

use super::settings::{EtcdSettings, EtcdTls, name, refused};

/// What etcd's own protocol, gRPC, is called in a handshake.
const PROTOCOL: &[u8] = b"h2";

/// Who asks and how connections are encrypted.
#[derive(Clone)]
pub(super) struct Identity {
    /// Tells contents of the files apart; not for anything that must withstand an attacker.
    pub digest: u64,
    /// Name and password.
    pub user: Option<(String, Secret)>,
    pub tls: Option<Arc<ClientConfig>>,
}

/// The contents of the files that the settings name.
#[derive(Default)]
pub(super) struct Files {
    ca: Vec<u8>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Files {
    /// Whether there is a file to look at.
    pub(super) fn are_named(settings: &EtcdSettings) -> bool {
        settings.tls.is_some() || settings.user.as_ref().is_some_and(|user| user.password_file.is_some())
    }

    /// Reads them all.
    ///
    /// # Errors
    /// [`Error::BadSetting`] with the setting of the first that cannot be read.
    pub(super) async fn read(settings: &EtcdSettings) -> Result<Self, Error> {
        let mut files = Self::default();
        if let Some(tls) = &settings.tls {
            files.ca = read(name::CA, &tls.ca_file).await?;
            files.cert = read_if_named(name::CERT, tls.cert_file.as_deref()).await?;
            files.key = read_if_named(name::KEY, tls.key_file.as_deref()).await?;
        }
        let password_file = settings.user.as_ref().and_then(|user| user.password_file.as_deref());
        files.password = read_if_named(name::PASSWORD, password_file).await?;
        Ok(files)
    }

    /// Tells contents apart.
    pub(super) fn digest(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        let parts = [Some(&self.ca), self.cert.as_ref(), self.key.as_ref(), self.password.as_ref()];
        for part in parts {
            // The length first, so that no two sets of files run together to the same bytes.
            hash.update(&part.map_or(usize::MAX, Vec::len).to_le_bytes());
            hash.update(part.map_or(&[], Vec::as_slice));
        }
        hash.digest()
    }

    /// What they say.
    ///
    /// # Errors
    /// [`Error::BadSetting`] with the setting of the first that has not what it should have.
    pub(super) fn identity(&self, settings: &EtcdSettings) -> Result<Identity, Error> {
        let tls = settings.tls.as_ref().map(|tls| self.tls(tls)).transpose()?;
        let mut user = settings.user.as_ref().map(|user| (user.name.clone(), user.password.clone()));
        if let (Some((_, password)), Some(bytes)) = (&mut user, &self.password) {
            let Ok(text) = str::from_utf8(bytes) else {
                return refused(name::PASSWORD, "its file is not text");
            };
            *password = Secret::new(text.trim_end_matches(['\r', '\n']));
        }
        Ok(Identity { digest: self.digest(), user, tls: tls.map(Arc::new) })
    }

    fn tls(&self, tls: &EtcdTls) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(name::CA, &self.ca)? {
            roots.add(certificate).or_else(|source| refused(name::CA, &source.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(&tls.min_version)?)
            .or_else(|source| refused(name::MIN_VERSION, &source.to_string()))?
            .with_root_certificates(roots);
        let mut config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return refused(name::KEY, "it is missing beside etcd.ssl.tlsCert"),
            (None, Some(_)) => return refused(name::CERT, "it is missing beside etcd.ssl.tlsKey"),
            (Some(cert), Some(key)) => {
                let chain = certificates(name::CERT, cert)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .or_else(|source| refused(name::KEY, &format!("its file has no key: {source}")))?;
                let with_key = builder.with_client_auth_cert(chain, key);
                with_key.or_else(|source| refused(name::KEY, &source.to_string()))?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

async fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str().is_empty() {
        return refused(setting, "it is empty");
    }
    let read = tokio::fs::read(path).await;
    read.or_else(|source| refused(setting, &format!("{} cannot be read: {source}", path.display())))
}

async fn read_if_named(setting: &'static str, path: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match path {
        Some(path) => read(setting, path).await.map(Some),
        None => Ok(None),
    }
}

fn certificates(setting: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => refused(setting, "its file has no certificate"),
        Err(source) => refused(setting, &format!("its file has no certificate: {source}")),
    }
}

/// The versions from `lowest` up.
fn versions(lowest: &str) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    match lowest {
        "" | "1.0" | "1.1" | "1.2" => Ok(vec![&version::TLS12, &version::TLS13]),
        "1.3" => Ok(vec![&version::TLS13]),
        _ => refused(name::MIN_VERSION, "it is none of 1.0, 1.1, 1.2 and 1.3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::etcd::EtcdUser;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["etcd.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[tokio::test]
    async fn an_unreadable_or_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |file: &str| dir.path().join(file);
        let ((cert, key), (_, other_key)) = (pair(), pair());
        for (file, text) in [("cert", &cert), ("key", &key), ("other-key", &other_key), ("junk", &"x".into())]
        {
            std::fs::write(path(file), text).unwrap();
        }
        let tls = |ca: &str, cert: Option<&str>, key: Option<&str>, min: &str| EtcdTls {
            ca_file: path(ca),
            cert_file: cert.map(path),
            key_file: key.map(path),
            min_version: min.to_owned(),
        };
        let named = async |tls: EtcdTls| {
            let settings = EtcdSettings { tls: Some(tls), ..EtcdSettings::default() };
            let identity = match Files::read(&settings).await {
                Ok(files) => files.identity(&settings),
                Err(error) => Err(error),
            };
            identity.err().map(|error| match error {
                Error::BadSetting { setting, .. } => setting,
                other => panic!("{other:?}"),
            })
        };

        assert_eq!(named(tls("cert", Some("cert"), Some("key"), "1.3")).await, None);
        assert_eq!(named(tls("cert", None, None, "")).await, None);
        assert_eq!(named(tls("none", None, None, "")).await, Some(name::CA));
        assert_eq!(named(tls("junk", None, None, "")).await, Some(name::CA));
        assert_eq!(named(tls("cert", Some("none"), Some("key"), "")).await, Some(name::CERT));
        assert_eq!(named(tls("cert", Some("junk"), Some("key"), "")).await, Some(name::CERT));
        assert_eq!(named(tls("cert", Some("cert"), None, "")).await, Some(name::KEY));
        assert_eq!(named(tls("cert", Some("cert"), Some("junk"), "")).await, Some(name::KEY));
        assert_eq!(named(tls("cert", Some("cert"), Some("other-key"), "")).await, Some(name::KEY));
        assert_eq!(named(tls("cert", None, Some("key"), "")).await, Some(name::CERT));
        assert_eq!(named(tls("cert", None, None, "1.4")).await, Some(name::MIN_VERSION));
    }

    #[tokio::test]
    async fn a_password_file_counts_instead_of_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "from file\n").unwrap();
        let password = Secret::new("from settings");
        let user = EtcdUser { name: "who".to_owned(), password, password_file: Some(file.clone()) };
        let settings = EtcdSettings { user: Some(user), ..EtcdSettings::default() };

        let before = Files::read(&settings).await.unwrap().identity(&settings).unwrap();
        std::fs::write(&file, "another").unwrap();
        let after = Files::read(&settings).await.unwrap().identity(&settings).unwrap();

        assert_eq!(before.user, Some(("who".to_owned(), Secret::new("from file"))));
        assert_eq!(after.user, Some(("who".to_owned(), Secret::new("another"))));
        assert_ne!(before.digest, after.digest);
    }
}
