//! Settings of Google's and Azure's object storage.

use crate::base::Secret;
use crate::blob::Error;

/// Who a request to Google says it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoogleCredentials {
    /// The JSON key of a service account, as Google hands it out.
    Json(Secret),
    /// What the machine or the pod is: its metadata server, or the login of `gcloud`.
    #[default]
    Machine,
    /// Nobody: for public buckets and emulators.
    Anonymous,
}

/// Who a request to Azure says it comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureCredentials {
    /// The account's key, base64 as Azure shows it.
    Key(Secret),
    /// A pod's identity: its token is exchanged at Azure's authority. The file is read again for each exchange.
    Workload {
        /// Which application.
        client_id: String,
        /// Of which directory.
        tenant_id: String,
        /// File with the pod's token.
        token_file: String,
        /// The authority; none for the public cloud's.
        authority: Option<String>,
    },
    /// The identity of the virtual machine.
    Machine {
        /// Which one, if it has several.
        client_id: Option<String>,
    },
}

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Google Cloud Storage.
    Google {
        /// Who a request says it comes from.
        credentials: GoogleCredentials,
    },
    /// Azure Blob Storage; the bucket is a container.
    Azure {
        /// The storage account.
        account: String,
        /// Who a request says it comes from.
        credentials: AzureCredentials,
    },
}

/// Settings of a store at Google or Azure.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct CloudSettings {
    /// Whose store it is.
    pub provider: Provider,
    /// `http://host:port` or `https://host`; none for the provider's own. At Azure it stands for the account, so an
    /// emulator's ends with `/ACCOUNT`.
    pub endpoint: Option<String>,
    /// The bucket, at Azure the container. It has to exist.
    pub bucket: String,
    /// Path in the bucket under which everything lies; may be empty.
    pub root: String,
    /// Certificates to trust besides the system's. PEM text.
    pub ca_pem: Option<String>,
    /// Give up connecting after this. Unit: ms.
    pub connect_timeout_ms: u64,
    /// Give up one attempt of a request after this, and a second more for every 4 MiB that it sends. Unit: ms.
    pub attempt_timeout_ms: u64,
    /// Give up a call with all its requests after this, and a second more for every 4 MiB that it sends. Unit: ms.
    pub request_timeout_ms: u64,
    /// Attempts of a request that fails for reasons that pass, with growing pauses between them.
    pub attempts: u32,
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            provider: Provider::Google { credentials: GoogleCredentials::Machine },
            endpoint: None,
            bucket: String::new(),
            root: String::new(),
            ca_pem: None,
            connect_timeout_ms: 3_000,
            attempt_timeout_ms: 60_000,
            request_timeout_ms: 180_000,
            attempts: 4,
        }
    }
}

impl CloudSettings {
    /// Refuses settings that cannot work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refused = |setting, why: &str| Err(Error::BadSetting { setting, why: why.to_owned() });
        if self.bucket.is_empty() {
            return refused("bucket", "it is empty");
        }
        let has_scheme = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.endpoint.as_ref().is_some_and(|url| !has_scheme(url)) {
            return refused("endpoint", "it begins with neither http:// nor https://");
        }
        match &self.provider {
            Provider::Azure { account, .. } if account.is_empty() => refused("account", "it is empty"),
            Provider::Azure { .. } | Provider::Google { .. } => Ok(()),
        }
    }

    /// What stands before every key: empty or ending with a slash.
    pub(super) fn prefix(&self) -> String {
        match self.root.trim_matches('/') {
            "" => String::new(),
            root => format!("{root}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_show_no_secret() {
        let google = Provider::Google { credentials: GoogleCredentials::Json(Secret::new("hush-hush")) };
        let credentials = AzureCredentials::Key(Secret::new("also-hush"));
        let azure = Provider::Azure { account: "a".to_owned(), credentials };
        for provider in [google, azure] {
            let shown = format!("{:?}", CloudSettings { provider, ..CloudSettings::default() });
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let good = CloudSettings { bucket: "b".to_owned(), ..CloudSettings::default() };
        good.check().unwrap();
        let nobody = AzureCredentials::Machine { client_id: None };
        let nobody = Provider::Azure { account: String::new(), credentials: nobody };

        for (settings, name) in [
            (CloudSettings::default(), "bucket"),
            (CloudSettings { endpoint: Some("host:9000".to_owned()), ..good.clone() }, "endpoint"),
            (CloudSettings { provider: nobody, ..good.clone() }, "account"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, Error::BadSetting { setting, .. } if setting == name), "{error:?}");
        }
    }
}
