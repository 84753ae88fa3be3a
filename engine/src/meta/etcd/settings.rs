//! Settings of etcd as the metadata store.

use std::path::PathBuf;

use http::Uri;

use crate::base::Secret;
use crate::meta::Error;

/// Names of settings as users know them; errors say them.
pub(super) mod name {
    pub(in super::super) const ENDPOINTS: &str = "etcd.endpoints";
    pub(in super::super) const ROOT: &str = "etcd.rootPath";
    pub(in super::super) const USER: &str = "etcd.auth.userName";
    pub(in super::super) const PASSWORD: &str = "etcd.auth.password";
    pub(in super::super) const TLS: &str = "etcd.ssl.enabled";
    pub(in super::super) const CA: &str = "etcd.ssl.tlsCACert";
    pub(in super::super) const CERT: &str = "etcd.ssl.tlsCert";
    pub(in super::super) const KEY: &str = "etcd.ssl.tlsKey";
    pub(in super::super) const MIN_VERSION: &str = "etcd.ssl.tlsMinVersion";
    pub(in super::super) const REQUEST_TIMEOUT: &str = "etcd.requestTimeout";
}

/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 2379;

/// Where etcd is and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// `host:port` of every member, also with `http://` or `https://` before it.
    pub endpoints: Vec<String>,
    /// Everything lies below this key and a `/`. Slashes at its ends do not count.
    pub root: String,
    /// Who asks; `None` if etcd asks for nobody.
    pub user: Option<EtcdUser>,
    /// How connections are encrypted; `None` if they are not.
    pub tls: Option<EtcdTls>,
    /// Give up a request, with all its attempts, after this. Unit: ms.
    pub request_timeout_ms: u64,
    /// Give up the first look at etcd after this, and go on without it. Unit: ms.
    pub connect_timeout_ms: u64,
    /// Ask the next member too when one has not answered after this. Unit: ms.
    pub overtake_after_ms: u64,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// A file with the password, without the line's end; counts instead of `password` and is read again when it
    /// changes.
    pub password_file: Option<PathBuf>,
}

/// Encryption of connections to etcd. The files are PEM and are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTls {
    /// Certificates that vouch for the servers'.
    pub ca_file: PathBuf,
    /// Our certificate and those between it and the root; needed if etcd asks for it.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
    /// The lowest version to speak: `1.0` to `1.3`, empty for the default. Nothing below 1.2 is ever spoken.
    pub min_version: String,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            endpoints: vec![format!("localhost:{DEFAULT_PORT}")],
            root: "by-dev".to_owned(),
            user: None,
            tls: None,
            request_timeout_ms: 5_000,
            connect_timeout_ms: 10_000,
            overtake_after_ms: 500,
        }
    }
}

/// Where one member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(out, "[{}]:{}", self.host, self.port);
        }
        write!(out, "{}:{}", self.host, self.port)
    }
}

impl EtcdSettings {
    /// Every member, in the order of the settings; refuses settings that cannot work.
    pub(super) fn check(&self) -> Result<Vec<Place>, Error> {
        if self.root.trim_matches('/').is_empty() {
            return refused(name::ROOT, "it is empty");
        }
        if self.request_timeout_ms == 0 {
            return refused(name::REQUEST_TIMEOUT, "it is 0");
        }
        if self.user.as_ref().is_some_and(|user| user.name.is_empty()) {
            return refused(name::USER, "it is empty");
        }
        let texts = self.endpoints.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let places = texts.map(|text| self.place(text)).collect::<Result<Vec<_>, _>>()?;
        if places.is_empty() {
            return refused(name::ENDPOINTS, "it names no member");
        }
        Ok(places)
    }

    fn place(&self, text: &str) -> Result<Place, Error> {
        let address = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(_), _) if self.tls.is_none() => {
                return refused(name::TLS, "it is false, but an endpoint begins with https://");
            }
            (_, Some(_)) if self.tls.is_some() => {
                return refused(name::TLS, "it is true, but an endpoint begins with http://");
            }
            (Some(rest), _) | (_, Some(rest)) => rest.trim_end_matches('/'),
            (None, None) => text,
        };
        let uri = Uri::builder().scheme("http").authority(address).path_and_query("/").build();
        let place = uri.ok().and_then(|uri| {
            let host = uri.host()?.trim_matches(['[', ']']);
            let port = uri.port().map_or(Some(DEFAULT_PORT), |port| Some(port.as_u16()))?;
            (!host.is_empty()).then(|| Place { host: host.to_owned(), port })
        });
        place.map_or_else(|| refused(name::ENDPOINTS, &format!("{text:?} is no host:port")), Ok)
    }
}

pub(super) fn refused<T>(setting: &'static str, why: &str) -> Result<T, Error> {
    Err(Error::BadSetting { setting, why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_in_every_form() {
        let endpoints = ["a:1", " http://b:2/ ", "c", "[::1]:4", ""].map(str::to_owned).to_vec();
        let settings = EtcdSettings { endpoints, ..EtcdSettings::default() };

        let places = settings.check().unwrap();

        let shown = places.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown, ["a:1", "b:2", "c:2379", "[::1]:4"]);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let good = EtcdSettings::default();
        let with = |endpoint: &str| EtcdSettings { endpoints: vec![endpoint.to_owned()], ..good.clone() };
        let user = EtcdUser { name: String::new(), password: Secret::new("hush"), password_file: None };
        for (settings, named) in [
            (EtcdSettings { root: "//".to_owned(), ..good.clone() }, name::ROOT),
            (EtcdSettings { endpoints: Vec::new(), ..good.clone() }, name::ENDPOINTS),
            (with("a b:1"), name::ENDPOINTS),
            (with("https://a:1"), name::TLS),
            (EtcdSettings { tls: Some(EtcdTls::default()), ..with("http://a:1") }, name::TLS),
            (EtcdSettings { user: Some(user), ..good.clone() }, name::USER),
            (EtcdSettings { request_timeout_ms: 0, ..good.clone() }, name::REQUEST_TIMEOUT),
        ] {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, Error::BadSetting { setting, .. } if setting == named), "{error:?}");
        }
    }

    #[test]
    fn settings_show_no_secret() {
        let user = EtcdUser { name: "who".to_owned(), password: Secret::new("hush"), password_file: None };
        let shown = format!("{:?}", EtcdSettings { user: Some(user), ..EtcdSettings::default() });
        assert!(!shown.contains("hush"), "{shown}");
    }
}
