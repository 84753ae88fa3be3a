//! Where Kafka is, and how to be let in.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::Secret;
use rdkafka::ClientConfig;

/// Where Kafka is, how to be let in, and the sizes and deadlines of the log on it.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `kafka.brokerList`: `host:port`, with commas between.
    pub broker_list: String,
    /// `kafka.saslUsername`; empty for none.
    pub sasl_username: String,
    /// `kafka.saslPassword`.
    pub sasl_password: Secret,
    /// `kafka.saslMechanisms`: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`. Empty means `PLAIN`.
    pub sasl_mechanisms: String,
    /// `kafka.securityProtocol`: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`. Empty: follows from whether there is
    /// a user name and from `ssl_enabled`.
    pub security_protocol: String,
    /// `kafka.ssl.enabled`: whether the files below are used.
    pub ssl_enabled: bool,
    /// `kafka.ssl.tlsCert`: our certificate, PEM.
    pub tls_cert: Option<PathBuf>,
    /// `kafka.ssl.tlsKey`: its key, PEM.
    pub tls_key: Option<PathBuf>,
    /// `kafka.ssl.tlsCACert`: whom we believe, PEM. Without it, whom the machine believes.
    pub tls_ca_cert: Option<PathBuf>,
    /// `kafka.ssl.tlsKeyPassword`.
    pub tls_key_password: Secret,
    /// `kafka.readTimeout`: deadline of calls that only read. Unit: s in Milvus's files.
    pub read_timeout: Duration,
    /// Deadline of calls that change something, and how long an append is tried before the writer gives up. Also how
    /// long a dead writer's last group can hold up readers when nobody opens the channel anew.
    pub call_timeout: Duration,
    /// Topics are `<prefix>-<channel>`; so are transactional ids. Letters, digits, `-`, `_`.
    pub topic_prefix: String,
    /// Replicas of a new topic; `None` for the broker's default. `min.insync.replicas` is always the broker's.
    pub replication: Option<u16>,
    /// Appends are refused (kind `Exhausted`) while more than this waits in a channel. Unit: bytes.
    pub queue_bytes: usize,
    /// Appends are written in transactions of at most about this. Unit: bytes.
    pub batch_bytes: usize,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            broker_list: String::new(),
            sasl_username: String::new(),
            sasl_password: Secret::default(),
            sasl_mechanisms: String::new(),
            security_protocol: String::new(),
            ssl_enabled: false,
            tls_cert: None,
            tls_key: None,
            tls_ca_cert: None,
            tls_key_password: Secret::default(),
            read_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            topic_prefix: "redkite".to_owned(),
            replication: None,
            queue_bytes: 256 << 20,
            batch_bytes: 16 << 20,
        }
    }
}

impl KafkaSettings {
    /// The files whose contents a client reads when it is made.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [&self.tls_cert, &self.tls_key, &self.tls_ca_cert];
        files.into_iter().filter(|_| self.ssl_enabled).flatten()
    }

    /// What every client is told. Never log it: it holds the secrets.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker_list).set("client.id", "redkite");
        config.set("security.protocol", self.protocol());
        // A broker that comes back should be found at once, not after librdkafka's 10 s.
        config.set("reconnect.backoff.max.ms", "1000");
        if !self.sasl_username.is_empty() {
            let mechanisms = if self.sasl_mechanisms.is_empty() { "PLAIN" } else { &self.sasl_mechanisms };
            config.set("sasl.mechanisms", mechanisms);
            config.set("sasl.username", &self.sasl_username);
            config.set("sasl.password", self.sasl_password.reveal());
        }
        if self.ssl_enabled {
            for (key, file) in [
                ("ssl.certificate.location", &self.tls_cert),
                ("ssl.key.location", &self.tls_key),
                ("ssl.ca.location", &self.tls_ca_cert),
            ] {
                if let Some(file) = file {
                    config.set(key, file.to_string_lossy());
                }
            }
            if !self.tls_key_password.reveal().is_empty() {
                config.set("ssl.key.password", self.tls_key_password.reveal());
            }
        }
        config
    }

    fn protocol(&self) -> &str {
        match (self.security_protocol.as_str(), self.sasl_username.is_empty(), self.ssl_enabled) {
            ("", true, false) => "PLAINTEXT",
            ("", true, true) => "SSL",
            ("", false, false) => "SASL_PLAINTEXT",
            ("", false, true) => "SASL_SSL",
            (given, _, _) => given,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(user: &str, ssl_enabled: bool, given: &str) -> String {
        let settings = KafkaSettings {
            sasl_username: user.to_owned(),
            ssl_enabled,
            security_protocol: given.to_owned(),
            ..KafkaSettings::default()
        };
        settings.client().get("security.protocol").unwrap().to_owned()
    }

    #[test]
    fn the_protocol_follows_from_user_and_tls_unless_it_is_given() {
        assert_eq!(protocol("", false, ""), "PLAINTEXT");
        assert_eq!(protocol("", true, ""), "SSL");
        assert_eq!(protocol("user", false, ""), "SASL_PLAINTEXT");
        assert_eq!(protocol("user", true, ""), "SASL_SSL");
        assert_eq!(protocol("user", false, "SASL_SSL"), "SASL_SSL");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = KafkaSettings {
            sasl_username: "user".to_owned(),
            sasl_password: Secret::new("hush".to_owned()),
            tls_key_password: Secret::new("hush".to_owned()),
            ssl_enabled: true,
            ..KafkaSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
        assert_eq!(settings.client().get("sasl.password"), Some("hush"));
        assert_eq!(settings.client().get("sasl.mechanisms"), Some("PLAIN"));
    }
}
