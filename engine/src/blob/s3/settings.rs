//! Settings of an S3 store, and the client that they make.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, ProvideCredentials as _, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};

use crate::base::Secret;
use crate::blob::Error;

use super::clock::ServerTime;

/// Before a refused request is made again for the first time; it doubles, and chance shortens it. The library's own second
/// would make a write that was refused once ten times as slow as others. With this one, and 15 of 100 requests refused, 99 of 100 writes
/// take less than five times what they take else (the simulated plan `busy-store`; up to six times with 50 ms).
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// How a bucket is named in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// In the path: `http://host/bucket/key`. What servers of one's own understand.
    #[default]
    Path,
    /// In the host: `http://bucket.host/key`. What public clouds want.
    VirtualHost,
}

/// Who a request says it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum S3Credentials {
    /// A fixed pair of keys.
    Static {
        /// The public half.
        access_key: String,
        /// The secret half.
        secret_key: Secret,
        /// For keys that were lent for a time.
        session_token: Option<Secret>,
    },
    /// What the process finds: environment, profile, web identity, container or instance role.
    #[default]
    Chain,
}

/// Settings of an S3 store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct S3Settings {
    /// `http://host:port` or `https://host`; none for the cloud's own of the region.
    pub endpoint: Option<String>,
    /// The region. Servers of one's own take any.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Path in the bucket under which everything lies; may be empty.
    pub root: String,
    /// How the bucket is named in a request.
    pub addressing: Addressing,
    /// Who a request says it comes from.
    pub credentials: S3Credentials,
    /// Certificates to trust besides the system's. PEM text.
    pub ca_pem: Option<String>,
    /// Make the bucket at the start if it does not exist.
    pub create_bucket: bool,
    /// Give up connecting after this. Unit: ms.
    pub connect_timeout_ms: u64,
    /// Give up one attempt of a request after this. Unit: ms.
    pub attempt_timeout_ms: u64,
    /// Give up a request with all its attempts after this. Unit: ms.
    pub request_timeout_ms: u64,
    /// Attempts of a request that fails for reasons that pass, with growing pauses between them.
    pub attempts: u32,
    /// Larger bodies are sent in parts. Unit: bytes. Range: 5 MiB and up.
    pub multipart_over_bytes: usize,
    /// Length of a part. Unit: bytes. Range: 5 MiB and up.
    pub part_bytes: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            root: String::new(),
            addressing: Addressing::Path,
            credentials: S3Credentials::Chain,
            ca_pem: None,
            create_bucket: false,
            connect_timeout_ms: 3_000,
            attempt_timeout_ms: 60_000,
            request_timeout_ms: 180_000,
            attempts: 4,
            multipart_over_bytes: 64 << 20,
            part_bytes: 16 << 20,
        }
    }
}

/// The shortest part that S3 takes, except the last. Unit: bytes.
const MIN_PART_BYTES: usize = 5 << 20;

impl S3Settings {
    /// Refuses settings that cannot work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refused = |setting, why: &str| Err(Error::BadSetting { setting, why: why.to_owned() });
        if self.bucket.is_empty() {
            return refused("bucket", "it is empty");
        }
        if self.part_bytes < MIN_PART_BYTES || self.multipart_over_bytes < MIN_PART_BYTES {
            return refused("part_bytes", "parts have at least 5 MiB");
        }
        let has_scheme = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.endpoint.as_ref().is_some_and(|url| !has_scheme(url)) {
            return refused("endpoint", "it begins with neither http:// nor https://");
        }
        Ok(())
    }

    /// What stands before every key: empty or ending with a slash.
    pub(super) fn prefix(&self) -> String {
        match self.root.trim_matches('/') {
            "" => String::new(),
            root => format!("{root}/"),
        }
    }

    /// Who a client that is made now would be, if the process finds that by itself, for as long as nobody writes down
    /// something else. `None` for fixed keys, and for those that are lent for a time, which are renewed by themselves.
    pub(super) async fn found(&self) -> Option<Credentials> {
        if self.credentials != S3Credentials::Chain {
            return None;
        }
        let provider = chain(&self.http().ok()?, &Region::new(self.region.clone())).await.ok()?;
        let found = provider.provide_credentials().await.ok()?;
        found.expiry().is_none().then_some(found)
    }

    /// What speaks HTTP, and whom it trusts.
    fn http(&self) -> Result<SharedHttpClient, Error> {
        let mut trust = TrustStore::default();
        if let Some(pem) = &self.ca_pem {
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                let why = "it has no certificate".to_owned();
                return Err(Error::BadSetting { setting: "ca_pem", why });
            }
            trust = trust.with_pem_certificate(pem.as_bytes());
        }
        let context = TlsContext::builder().with_trust_store(trust).build();
        let context =
            context.map_err(|source| Error::BadSetting { setting: "ca_pem", why: source.to_string() })?;
        Ok(aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .tls_context(context)
            .build_https())
    }

    /// The client, which signs with `time`. Does not connect yet.
    pub(super) async fn client(&self, time: &ServerTime) -> Result<Client, Error> {
        let http = self.http()?;
        let region = Region::new(self.region.clone());
        let credentials = match &self.credentials {
            S3Credentials::Static { access_key, secret_key, session_token } => {
                let token = session_token.as_ref().map(|token| token.reveal().to_owned());
                let keys = Credentials::new(access_key, secret_key.reveal(), token, None, "settings");
                SharedCredentialsProvider::new(keys)
            }
            S3Credentials::Chain => chain(&http, &region).await?,
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .operation_attempt_timeout(Duration::from_millis(self.attempt_timeout_ms))
            .operation_timeout(Duration::from_millis(self.request_timeout_ms))
            .build();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(region)
            .credentials_provider(credentials)
            .force_path_style(self.addressing == Addressing::Path)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(self.attempts.max(1))
                    .with_initial_backoff(FIRST_BACKOFF),
            )
            .timeout_config(timeouts)
            .time_source(time.clone())
            .retry_classifier(time.clone())
            // Objects carry checksums of their own, and not every server knows the trailing ones.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Client::from_conf(config.build()))
    }
}

/// Who the process is, as it finds out by itself.
async fn chain(http: &SharedHttpClient, region: &Region) -> Result<SharedCredentialsProvider, Error> {
    let found = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .region(region.clone())
        .load()
        .await;
    let why = "no source of credentials is configured";
    let missing = || Error::BadSetting { setting: "credentials", why: why.to_owned() };
    found.credentials_provider().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_show_no_secret() {
        let settings = S3Settings {
            credentials: S3Credentials::Static {
                access_key: "who".to_owned(),
                secret_key: Secret::new("hush-hush"),
                session_token: Some(Secret::new("also-hush")),
            },
            ..S3Settings::default()
        };

        let shown = format!("{settings:?}");

        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let good = S3Settings { bucket: "b".to_owned(), ..S3Settings::default() };
        good.check().unwrap();

        for (settings, name) in [
            (S3Settings::default(), "bucket"),
            (S3Settings { endpoint: Some("host:9000".to_owned()), ..good.clone() }, "endpoint"),
            (S3Settings { part_bytes: 1, ..good.clone() }, "part_bytes"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, Error::BadSetting { setting, .. } if setting == name), "{error:?}");
        }
    }
}
