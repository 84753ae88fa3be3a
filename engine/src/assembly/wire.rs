//! How a process reaches other nodes and is reached: in memory when it is alone, over gRPC else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::role::Role;
use contract::settings::{DataRate, QuotaAndLimits, Services, Settings, TlsFiles};
use tokio::net::TcpListener;
use tracing::warn;

use crate::assembly::{Error, NodeCalls, NodeSeams, Publish};
use crate::base::{Clock, Secret, TaskSet, chain};
use crate::blob::client_config;
use crate::coord;
use crate::inference::{HttpPost, ModelSettings, Models, ProviderSettings, bare};
use crate::meta::Metas;
use crate::proxy::{AccessSettings, Asked, LimitSettings, MB, ProxySettings, Rate};
use crate::rpc::net::{CoordClient, FindLeader, NetDial, NetSettings, Security, ServeParts, serve};
use crate::rpc::{LocalNodes, Served};
use crate::secure::{Acceptor, AcceptorSettings, Connector, ConnectorSettings, REREAD, Tokens};

/// How long calls of other nodes may go on once this one is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Opens the way to other nodes. Without a listener the process is alone.
///
/// # Errors
/// If a certificate, key or token cannot be used.
pub async fn open(
    role: Role,
    settings: &Settings,
    seams: &NodeSeams,
    address: String,
    listener: Option<TcpListener>,
    tasks: &TaskSet,
) -> Result<NodeCalls, Error> {
    let Some(listener) = listener else {
        let local = LocalNodes::new();
        let dial = Arc::clone(&local) as _;
        let own = address.clone();
        let publish: Publish = Box::new(move |served, _| local.open(&own, served));
        return Ok(NodeCalls { address, dial, coord: None, publish });
    };
    let security = security(settings, &seams.clock, &listener).await?;
    let dial = NetDial::new(security.clone(), waits(settings), Arc::clone(&seams.clock));
    let coord = match (&seams.metas, role) {
        (_, Role::Standalone) => None,
        (Some(metas), _) => {
            let find = Arc::new(Records { metas: Arc::clone(metas), failing: AtomicBool::new(false) });
            Some(Arc::new(CoordClient::new(find, Arc::clone(&dial))) as _)
        }
        (None, _) => return Err(Error::NoCatalog { role: role.name() }),
    };
    let (clock, tasks, alone) = (Arc::clone(&seams.clock), tasks.clone(), role == Role::Standalone);
    let (own, staying) = (address.clone(), Arc::clone(&dial));
    let publish: Publish = Box::new(move |served: Served, _| {
        staying.stay(own, served.clone());
        // A standalone has no other nodes: only its operator calls.
        let served = if alone { Served { admin: served.admin, ..Served::default() } } else { served };
        let parts = ServeParts { served, security, clock, grace: GRACE };
        tasks.start("serve other nodes", |stop| async move { Ok(serve(listener, parts, stop).await?) });
    });
    Ok(NodeCalls { address, dial, coord, publish })
}

/// How long calls to other nodes may take. A write as well ends in this time: that its connection is dead would be found out
/// later.
fn waits(settings: &Settings) -> NetSettings {
    let call = Duration::from_millis(settings.redkite.cluster.call_timeout_ms);
    NetSettings { brief: call, write: call, patience: 3 * call, ..NetSettings::default() }
}

/// Finds the leader by the record that it keeps in the metadata.
struct Records {
    metas: Arc<dyn Metas>,
    failing: AtomicBool,
}

#[async_trait]
impl FindLeader for Records {
    async fn leader(&self, _not: Option<&str>) -> Option<String> {
        match coord::find_leader(self.metas.as_ref()).await {
            Ok(leader) => {
                self.failing.store(false, Ordering::Relaxed);
                leader
            }
            Err(error) => {
                // Asked again and again for as long as it lasts.
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!(error = chain(&error), "cannot see who leads");
                }
                None
            }
        }
    }
}

/// Whether whoever calls has to say who it is.
pub fn knows_callers(settings: &Settings) -> bool {
    settings.common.security.internal_tls_enabled || !settings.redkite.admin.token_file.is_empty()
}

async fn security(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    listener: &TcpListener,
) -> Result<Security, Error> {
    let failed = |source| Error::Secure { what: "calls between nodes", source };
    if settings.common.security.internal_tls_enabled {
        let files = &settings.internaltls;
        let server = acceptor_settings(files, true);
        let acceptor = Acceptor::open(server, Arc::clone(clock)).await.map_err(failed)?;
        let identity = (files.server_pem_path.clone().into(), files.server_key_path.clone().into());
        let client = connector_settings(files, identity);
        let connector = Connector::open(client, Arc::clone(clock)).await.map_err(failed)?;
        return Ok(Security::MutualTls { acceptor: Arc::new(acceptor), connector: Arc::new(connector) });
    }
    if let Some(tokens) = tokens(settings, clock).await? {
        return Ok(Security::Token(tokens));
    }
    let is_loopback = listener.local_addr().is_ok_and(|bound: SocketAddr| bound.ip().is_loopback());
    if !is_loopback {
        warn!(
            "calls between nodes are neither encrypted nor authenticated: set redkite.admin.tokenFile or internaltls"
        );
    }
    Ok(Security::Trusted)
}

/// The tokens of the cluster, if there are any.
///
/// # Errors
/// If their file cannot be read or has none.
pub async fn tokens(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Tokens>>, Error> {
    let file = &settings.redkite.admin.token_file;
    if file.is_empty() {
        return Ok(None);
    }
    let tokens = Tokens::open(file.into(), REREAD, Arc::clone(clock)).await;
    Ok(Some(Arc::new(tokens.map_err(|source| Error::Secure { what: "calls between nodes", source })?)))
}

/// The tokens that the port for operators takes. A file that nothing else needs does not keep the process from starting: calls
/// between nodes, where they carry tokens, say by themselves that there are none.
pub async fn tokens_of_operators(settings: &Settings, clock: &Arc<dyn Clock>) -> Option<Arc<Tokens>> {
    match tokens(settings, clock).await {
        Ok(tokens) => tokens,
        Err(error) => {
            warn!(
                error = chain(&error),
                "the port for operators takes no token: see redkite.admin.tokenFile"
            );
            None
        }
    }
}

/// How users are checked, as `common.security` asks for.
pub fn access(settings: &Settings) -> AccessSettings {
    let security = &settings.common.security;
    let names = security.super_users.split(',').map(str::trim).filter(|name| !name.is_empty());
    AccessSettings {
        enabled: security.authorization_enabled,
        root_password: security.default_root_password.clone(),
        super_users: names.map(str::to_owned).collect(),
        root_binds_roles: security.root_should_bind_role,
        public: security.enable_public_privilege,
        audit: settings.redkite.audit_log,
        ..AccessSettings::default()
    }
}

/// The versions and sizes of the client port.
pub fn proxy(settings: &Settings) -> ProxySettings {
    let sizes = &settings.proxy.grpc;
    ProxySettings {
        version: settings.redkite.reported_version.clone(),
        max_request_bytes: sizes.server_max_recv_size,
        max_answer_bytes: sizes.server_max_send_size,
        retention_s: settings.common.retention_duration,
        ..ProxySettings::default()
    }
}

/// Whom models are asked of, as `function` and `credential` say.
pub fn models(settings: &Settings) -> ModelSettings {
    let provider = |texts: &BTreeMap<String, String>| {
        let text = |key: &str| texts.get(key).cloned().unwrap_or_default();
        ProviderSettings {
            enabled: !text("enable").eq_ignore_ascii_case("false"),
            url: text("url"),
            credential: text("credential"),
            resource: text("resource_name"),
        }
    };
    // The environment names them without `_`, and adds to what files say under either name.
    let providers = |services: &Services| {
        let mut merged: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let (plain, other): (Vec<_>, Vec<_>) =
            services.providers.iter().partition(|(name, _)| bare(name) == **name);
        for (name, texts) in other.into_iter().chain(plain) {
            merged.entry(bare(name)).or_default().extend(texts.clone());
        }
        merged.iter().map(|(name, texts)| (name.clone(), provider(texts))).collect()
    };
    let (plain, other): (Vec<_>, Vec<_>) =
        settings.credential.iter().partition(|(name, _)| bare(name) == **name);
    let secrets = other.into_iter().chain(plain);
    let secret = |(name, texts): (&String, &BTreeMap<String, contract::settings::Secret>)| {
        let secret = texts.get("apikey").map(contract::settings::Secret::reveal)?;
        (!secret.is_empty()).then(|| (bare(name), Secret::new(secret)))
    };
    let hosts = settings.redkite.function_hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    ModelSettings {
        embedding: providers(&settings.function.text_embedding),
        rerank: providers(&settings.function.rerank.model),
        credentials: secrets.filter_map(secret).collect(),
        hosts: hosts.map(str::to_owned).collect(),
    }
}

/// What asks models over the network. Reads a file of the system.
///
/// # Errors
/// If the TLS library refuses its settings.
pub fn model_calls(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<Models>, Error> {
    let failed = |why: String| Error::ModelCalls { why };
    let tls = client_config(None).map_err(|error| failed(chain(&error)))?;
    let post = HttpPost::new(tls).map_err(failed)?;
    Ok(Models::new(Arc::new(post), models(settings), Arc::clone(clock)))
}

/// How much clients may ask for, as `quotaAndLimits` says.
pub fn limits(settings: &Settings) -> LimitSettings {
    let QuotaAndLimits {
        enabled,
        ddl,
        db_rate,
        index_rate,
        flush_rate,
        compaction_rate,
        dml,
        dql,
        limit_reading,
        limit_writing,
    } = &settings.quota_and_limits;
    let rate = |all, database| Rate { all, database, ..Rate::NONE };
    let data = |rate: &DataRate, unit: f64| Rate {
        all: rate.max * unit,
        database: rate.db.max * unit,
        collection: rate.collection.max * unit,
        partition: rate.partition.max * unit,
    };
    let flushes = Rate { collection: flush_rate.collection.max, ..rate(flush_rate.max, flush_rate.db.max) };
    let rates = [
        (ddl.enabled, Asked::Collection, rate(ddl.collection_rate, ddl.db.collection_rate)),
        (ddl.enabled, Asked::Partition, rate(ddl.partition_rate, ddl.db.partition_rate)),
        (db_rate.enabled, Asked::Database, rate(db_rate.max, Rate::NONE.database)),
        (index_rate.enabled, Asked::Index, rate(index_rate.max, index_rate.db.max)),
        (flush_rate.enabled, Asked::Flush, flushes),
        (compaction_rate.enabled, Asked::Compaction, rate(compaction_rate.max, compaction_rate.db.max)),
        (dml.enabled, Asked::Insert, data(&dml.insert_rate, MB)),
        (dml.enabled, Asked::Upsert, data(&dml.upsert_rate, MB)),
        (dml.enabled, Asked::Delete, data(&dml.delete_rate, MB)),
        (dql.enabled, Asked::Search, data(&dql.search_rate, 1.0)),
        (dql.enabled, Asked::Query, data(&dql.query_rate, 1.0)),
    ];
    LimitSettings {
        enabled: *enabled,
        rates: rates.into_iter().filter(|rate| rate.0).map(|(_, asked, rate)| (asked, rate)).collect(),
        denies_reads: limit_reading.force_deny,
        denies_writes: limit_writing.force_deny,
    }
}

/// Encryption of the client port, as `common.security.tlsMode` asks for.
///
/// # Errors
/// If a certificate or key cannot be used.
pub async fn client_tls(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Acceptor>>, Error> {
    let mode = settings.common.security.tls_mode;
    if mode == 0 {
        return Ok(None);
    }
    let acceptor = Acceptor::open(acceptor_settings(&settings.tls, mode == 2), Arc::clone(clock)).await;
    Ok(Some(Arc::new(acceptor.map_err(|source| Error::Secure { what: "the client port", source })?)))
}

/// `sni` is for certificates that name something else than the address of a node, such as one for all pods.
fn connector_settings(files: &TlsFiles, identity: (PathBuf, PathBuf)) -> ConnectorSettings {
    ConnectorSettings {
        server_name: (!files.sni.is_empty()).then(|| files.sni.clone()),
        ..ConnectorSettings::new(files.ca_pem_path.clone().into(), Some(identity))
    }
}

fn acceptor_settings(files: &TlsFiles, asks_clients: bool) -> AcceptorSettings {
    let authorities = asks_clients.then(|| files.ca_pem_path.clone().into());
    AcceptorSettings::new(
        files.server_pem_path.clone().into(),
        files.server_key_path.clone().into(),
        authorities,
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use contract::settings::{Settings, TlsFiles};

    use super::{connector_settings, limits, models, proxy, tokens, tokens_of_operators, waits};
    use crate::base::{Clock, RealClock, Secret};
    use crate::inference::{ModelSettings, ProviderSettings};
    use crate::proxy::{Asked, LimitSettings, ProxySettings, Rate};

    #[test]
    fn nodes_are_held_to_the_name_that_is_set_and_else_to_that_of_their_address() {
        let name_for = |sni: &str| {
            let files = TlsFiles { sni: sni.to_owned(), ..TlsFiles::default() };
            connector_settings(&files, (PathBuf::new(), PathBuf::new())).server_name
        };

        assert_eq!((name_for("nodes.redkite"), name_for("")), (Some("nodes.redkite".to_owned()), None));
    }

    #[tokio::test]
    async fn a_file_of_tokens_that_is_not_there_matters_only_to_calls_that_carry_them() {
        let mut settings = Settings::default();
        settings.redkite.admin.token_file = "/nowhere/token".to_owned();
        let clock: Arc<dyn Clock> = RealClock::new();

        assert!(tokens_of_operators(&settings, &clock).await.is_none());
        assert!(tokens(&settings, &clock).await.is_err());
    }

    #[test]
    fn rates_are_kept_where_they_are_switched_on() {
        let mut settings = Settings::default();
        let quota = &mut settings.quota_and_limits;
        quota.dql.search_rate.max = 10.0;
        quota.dml.enabled = true;
        quota.dml.insert_rate.collection.max = 0.5;
        quota.flush_rate.enabled = true;
        quota.limit_reading.force_deny = true;

        let data = |collection: f64| Rate {
            all: -1_048_576.0,
            database: -1_048_576.0,
            collection,
            partition: -1_048_576.0,
        };
        let expected = LimitSettings {
            enabled: true,
            rates: [
                (Asked::Insert, data(524_288.0)),
                (Asked::Upsert, data(-1_048_576.0)),
                (Asked::Delete, data(-1_048_576.0)),
                (Asked::Flush, Rate { collection: 0.1, ..Rate::NONE }),
            ]
            .into(),
            denies_reads: true,
            denies_writes: false,
        };
        assert_eq!(limits(&settings), expected);
        assert_eq!(limits(&Settings::default()), LimitSettings::default());
    }

    #[test]
    fn services_and_secrets_are_found_by_names_without_case_and_lines() {
        let mut settings = Settings::default();
        let texts = |pairs: &[(&str, &str)]| -> std::collections::BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let providers = &mut settings.function.text_embedding.providers;
        providers.insert("azure_openai".to_owned(), texts(&[("resource_name", "r"), ("credential", "old")]));
        providers.insert("azureopenai".to_owned(), texts(&[("credential", "My_Key")]));
        providers.insert("tei".to_owned(), texts(&[("enable", "False")]));
        let secret = |text: &str| contract::settings::Secret::new(text.to_owned());
        // The environment's is the one without `_`, and wins wherever it is in the order of names.
        settings.credential.insert("My_Key".to_owned(), [("apikey".to_owned(), secret("old"))].into());
        settings.credential.insert("mykey".to_owned(), [("apikey".to_owned(), secret("s3cret"))].into());
        settings.credential.insert("key_1".to_owned(), [("apikey".to_owned(), secret("old"))].into());
        settings.credential.insert("key1".to_owned(), [("apikey".to_owned(), secret("new"))].into());
        settings.redkite.function_hosts = " models, 10.0.0.7:80,".to_owned();

        let azure = ProviderSettings {
            resource: "r".to_owned(),
            credential: "My_Key".to_owned(),
            ..ProviderSettings::default()
        };
        let tei = ProviderSettings { enabled: false, ..ProviderSettings::default() };
        let expected = ModelSettings {
            embedding: [("azureopenai".to_owned(), azure), ("tei".to_owned(), tei)].into(),
            credentials: [
                ("mykey".to_owned(), Secret::new("s3cret")),
                ("key1".to_owned(), Secret::new("new")),
            ]
            .into(),
            hosts: vec!["models".to_owned(), "10.0.0.7:80".to_owned()],
            ..ModelSettings::default()
        };
        assert_eq!(models(&settings), expected);
        assert_eq!(models(&Settings::default()), ModelSettings::default());
    }

    #[test]
    fn sizes_of_messages_are_those_of_the_settings() {
        let mut settings = Settings::default();
        assert_eq!(proxy(&settings), ProxySettings::default());

        settings.proxy.grpc.server_max_recv_size = 512 << 20;
        let larger = ProxySettings { max_request_bytes: 512 << 20, ..ProxySettings::default() };
        assert_eq!(proxy(&settings), larger);
    }

    #[test]
    fn a_write_ends_within_the_timeout_of_calls() {
        let mut settings = Settings::default();
        settings.redkite.cluster.call_timeout_ms = 4_000;

        let waits = waits(&settings);

        assert_eq!((waits.write, waits.brief), (Duration::from_secs(4), Duration::from_secs(4)));
    }
}
