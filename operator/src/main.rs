//! The operator's command line.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use operator::drive::{Settings, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Runs Milvus-compatible vector databases on Kubernetes.
#[derive(Parser)]
#[command(name = "redkite-operator", version = env!("CARGO_PKG_VERSION"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watches Milvus objects and does what they say.
    Run(Box<Run>),
    /// Prints the CustomResourceDefinitions as YAML.
    Crds {
        /// Writes each to a file of its own in this folder instead.
        #[arg(long)]
        directory: Option<std::path::PathBuf>,
    },
}

#[derive(Args)]
struct Run {
    /// Image of the engine, for objects that name none or an upstream Milvus image.
    #[arg(long, default_value = concat!("redkite/engine:", env!("CARGO_PKG_VERSION")))]
    engine_image: String,
    /// Pull policy of the engine for objects that name none.
    #[arg(long, default_value = "IfNotPresent")]
    engine_pull_policy: String,
    /// Image of etcd, for databases that keep their metadata beside them.
    #[arg(long, default_value = "quay.io/coreos/etcd:v3.7.3")]
    etcd_image: String,
    /// Image of the S3 server (versitygw), for databases that keep their objects beside them.
    #[arg(long, default_value = "versity/versitygw:v1.8.0")]
    storage_image: String,
    /// Namespaces to watch, separated by commas. None: all.
    #[arg(long, value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// Address of /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    metrics_listen: SocketAddr,
    /// Address of /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8081")]
    health_listen: SocketAddr,
    /// Work without waiting for the leader lease.
    #[arg(long)]
    no_leader_election: bool,
    /// Namespace of the leader lease and of the image catalog.
    #[arg(long, default_value = "redkite-operator")]
    namespace: String,
    /// Name of this copy in the lease.
    #[arg(long, default_value_t = default_identity())]
    identity: String,
    /// Objects worked on at once.
    #[arg(long, default_value_t = 10)]
    concurrency: u16,
    /// What is logged, as `level` or `target=level,…`.
    #[arg(long, default_value = "info")]
    log: String,
}

fn default_identity() -> String {
    format!("process-{}", std::process::id())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds { directory: None } => print_definitions(),
        Command::Crds { directory: Some(folder) } => write_definitions(&folder),
        Command::Run(arguments) => start(*arguments).await,
    }
}

fn print_definitions() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (_, text) in operator::crd::files()? {
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn write_definitions(folder: &std::path::Path) -> anyhow::Result<()> {
    for (name, text) in operator::crd::files()? {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn start(arguments: Run) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log).context("cannot read --log")?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let stop = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let settings = Settings {
        engine_image: arguments.engine_image,
        engine_pull_policy: arguments.engine_pull_policy,
        etcd_image: arguments.etcd_image,
        storage_image: arguments.storage_image,
        namespaces: arguments.watch_namespaces.into_iter().filter(|name| !name.is_empty()).collect(),
        metrics: arguments.metrics_listen,
        health: arguments.health_listen,
        elect: !arguments.no_leader_election,
        home: arguments.namespace,
        identity: arguments.identity,
        concurrency: arguments.concurrency,
    };
    let signalled = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = run(settings, stop.clone()) => result.context("the operator ended"),
        () = signalled => Ok(()),
    }
}
