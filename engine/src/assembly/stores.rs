//! Opens the store of sealed data: a local directory, or a bucket at one of several providers.

use std::path::Path;
use std::sync::Arc;

use contract::settings::{Minio, Settings};

use crate::assembly::Error;
use crate::base::{Clock, Rng, Secret};
use crate::blob::{
    Addressing, AzureCredentials, Blobs, CloudBlobs, CloudSettings, GoogleCredentials, LocalBlobs, Provider,
    S3Blobs, S3Credentials, S3Settings,
};

/// The store of sealed data, and the way to go on with other credentials.
pub struct Store {
    /// The store.
    pub blobs: Arc<dyn Blobs>,
    kind: Kind,
}

enum Kind {
    Directory,
    S3(Arc<S3Blobs>),
    Cloud(Arc<CloudBlobs>),
}

impl Store {
    /// Goes on with what `settings` say now. Returns whether anything was different; what is refused changes nothing.
    ///
    /// # Errors
    /// What cannot be changed while the process runs, credentials that are refused, a store that is away.
    pub async fn reload(&self, settings: &Settings) -> Result<bool, Error> {
        let failed = |source| Error::OpenBlobs { source };
        match &self.kind {
            Kind::Directory => Ok(false),
            Kind::S3(open) => match bucket_of(settings)? {
                Bucket::S3(settings) => Ok(open.reload(&settings).await.map_err(failed)?),
                Bucket::Cloud(_) => Err(Error::FixedSetting { key: "minio.cloudProvider" }),
            },
            Kind::Cloud(open) => match bucket_of(settings)? {
                Bucket::Cloud(settings) => Ok(open.reload(&settings).await.map_err(failed)?),
                Bucket::S3(_) => Err(Error::FixedSetting { key: "minio.cloudProvider" }),
            },
        }
    }
}

/// A bucket at one of several providers.
enum Bucket {
    S3(S3Settings),
    Cloud(CloudSettings),
}

/// The store that `settings` name; below `root` if they name none.
///
/// # Errors
/// Whatever cannot be opened, with its name.
pub async fn open(
    settings: &Settings,
    root: &Path,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
) -> Result<Store, Error> {
    let failed = |source| Error::OpenBlobs { source };
    if !settings.stores_remotely() {
        let blobs = LocalBlobs::open(root.join("blobs"), Arc::clone(rng)).await.map_err(failed)?;
        return Ok(Store { blobs, kind: Kind::Directory });
    }
    match bucket_of(settings)? {
        Bucket::S3(bucket) => {
            let blobs = S3Blobs::open(&bucket, Arc::clone(rng)).await.map_err(failed)?;
            Ok(Store { blobs: Arc::clone(&blobs) as _, kind: Kind::S3(blobs) })
        }
        Bucket::Cloud(bucket) => {
            let blobs =
                CloudBlobs::open(&bucket, Arc::clone(clock), Arc::clone(rng)).await.map_err(failed)?;
            Ok(Store { blobs: Arc::clone(&blobs) as _, kind: Kind::Cloud(blobs) })
        }
    }
}

fn bucket_of(settings: &Settings) -> Result<Bucket, Error> {
    let minio = &settings.minio;
    let provider = match minio.cloud_provider.as_str() {
        "gcp" | "gcpnative" => google(minio),
        "azure" => azure(minio),
        _ => return Ok(Bucket::S3(s3_settings(minio, settings.redkite.create_bucket)?)),
    };
    let endpoint = match &provider {
        Provider::Azure { account, .. } if !minio.address.contains("://") => {
            Some(endpoint(&Minio { address: format!("{account}.blob.{}", minio.address), ..minio.clone() }))
        }
        // Google's own address is the default of its client.
        Provider::Google { .. } if minio.address.ends_with("googleapis.com") => None,
        _ => Some(endpoint(minio)),
    };
    Ok(Bucket::Cloud(CloudSettings {
        provider,
        endpoint,
        bucket: minio.bucket_name.clone(),
        root: minio.root_path.clone(),
        ca_pem: ca_pem(minio)?,
        ..CloudSettings::default()
    }))
}

fn google(minio: &Minio) -> Provider {
    let credentials = if !minio.gcp_credential_json.reveal().is_empty() {
        GoogleCredentials::Json(Secret::new(minio.gcp_credential_json.reveal()))
    } else if minio.use_iam {
        GoogleCredentials::Machine
    } else {
        GoogleCredentials::Anonymous
    };
    Provider::Google { credentials }
}

/// Azure's own variables say who a pod is; they are set by Azure and not by our users.
fn azure(minio: &Minio) -> Provider {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let workload = || {
        Some(AzureCredentials::Workload {
            client_id: given("AZURE_CLIENT_ID")?,
            tenant_id: given("AZURE_TENANT_ID")?,
            token_file: given("AZURE_FEDERATED_TOKEN_FILE")?,
            authority: given("AZURE_AUTHORITY_HOST"),
        })
    };
    let credentials = if minio.use_iam {
        workload().unwrap_or_else(|| AzureCredentials::Machine { client_id: given("AZURE_CLIENT_ID") })
    } else {
        AzureCredentials::Key(Secret::new(minio.secret_access_key.reveal()))
    };
    Provider::Azure { account: minio.access_key_id.clone(), credentials }
}

fn ca_pem(minio: &Minio) -> Result<Option<String>, Error> {
    match minio.ssl.tls_ca_cert.as_str() {
        "" => Ok(None),
        path => {
            let read = std::fs::read_to_string(path);
            Ok(Some(read.map_err(|source| Error::ReadFile { path: path.into(), source })?))
        }
    }
}

fn s3_settings(minio: &Minio, create_bucket: bool) -> Result<S3Settings, Error> {
    let credentials = if minio.use_iam || minio.access_key_id.is_empty() {
        S3Credentials::Chain
    } else {
        S3Credentials::Static {
            access_key: minio.access_key_id.clone(),
            secret_key: Secret::new(minio.secret_access_key.reveal()),
            session_token: None,
        }
    };
    let defaults = S3Settings::default();
    Ok(S3Settings {
        endpoint: Some(endpoint(minio)),
        region: if minio.region.is_empty() { defaults.region.clone() } else { minio.region.clone() },
        bucket: minio.bucket_name.clone(),
        root: minio.root_path.clone(),
        addressing: if minio.use_virtual_host { Addressing::VirtualHost } else { Addressing::Path },
        credentials,
        ca_pem: ca_pem(minio)?,
        create_bucket,
        attempt_timeout_ms: minio.request_timeout_ms,
        ..defaults
    })
}

/// The store's URL from an address that may be a host, a host with port, or a URL already.
fn endpoint(minio: &Minio) -> String {
    if minio.address.contains("://") {
        return minio.address.clone();
    }
    let scheme = if minio.use_ssl { "https" } else { "http" };
    let has_port = minio.address.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    match minio.port {
        port if port != 0 && !has_port => format!("{scheme}://{}:{port}", minio.address),
        _ => format!("{scheme}://{}", minio.address),
    }
}

#[cfg(test)]
mod tests {
    use contract::settings::Minio;

    use super::endpoint;

    #[test]
    fn an_address_becomes_a_url_however_it_is_written() {
        let of = |address: &str, port, use_ssl| {
            endpoint(&Minio { address: address.to_owned(), port, use_ssl, ..Minio::default() })
        };

        assert_eq!(of("store", 9000, false), "http://store:9000");
        assert_eq!(of("store:9001", 9000, false), "http://store:9001");
        assert_eq!(of("store", 0, true), "https://store");
        assert_eq!(of("https://store", 9000, false), "https://store");
    }
}
