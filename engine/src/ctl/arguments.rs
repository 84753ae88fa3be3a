//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// The flags of every command.
#[derive(Args, Debug)]
pub struct Flags {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// How answers are shown.
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// Whom to ask, and how.
#[derive(Args, Debug)]
pub(super) struct Reach {
    /// The process to ask, any role of the cluster: its address of calls between nodes.
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:19529")]
    pub(super) address: String,
    /// File with the token of the cluster, the one of `redkite.admin.tokenFile`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// File of the authority that signed the cluster's certificates; asks over TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// File of the certificate to show.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// File of its key.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// The name that the process's certificate is for, if it is not the host in its address.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) tls_name: Option<String>,
    /// How long to wait for a connection. Seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5)]
    timeout: u64,
}

impl Reach {
    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Columns for people; may change from version to version.
    Table,
    /// The whole answer as JSON, for programs.
    Json,
    /// The whole answer as YAML.
    Yaml,
}

/// What to ask a running process, or to have it do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Shows the process that is asked: its role, health and version.
    Process,
    /// Shows the settings of the process that is asked, without secrets.
    Settings {
        /// Only settings whose names begin with this.
        #[arg(default_value = "")]
        prefix: String,
        /// Only those that differ from their defaults.
        #[arg(long)]
        changed: bool,
    },
    /// Shows who leads and which formats the cluster writes.
    Cluster,
    /// Shows every node that takes part, and who leads. Coordinators that stand by are not among them.
    Nodes,
    /// Makes a node hand over everything it has, or takes that back.
    #[command(subcommand)]
    Drain(Drain),
    /// Makes the coordinator that leads give up the lead, so that a standby takes over at once.
    Resign,
    /// Shows how busy the query nodes are.
    Load {
        /// Shows what each collection takes of each node instead.
        #[arg(long)]
        collections: bool,
    },
    /// Shows collections, their size, and how far they are loaded.
    Collections(Only),
    /// Shows channels: their owners, terms, and who follows them how far.
    Channels(Only),
    /// Shows how far each channel's log is in sealed segments.
    Checkpoints(Only),
    /// Shows sealed segments and the nodes that hold them.
    Segments(Only),
    /// Shows copies of collections in memory.
    Replicas(Only),
    /// Shows and changes resource groups.
    #[command(subcommand)]
    Groups(Groups),
    /// Compares the object store with the catalog; changes nothing. Exit code 5 if something is missing or damaged.
    Fsck {
        /// Reads every object and compares its checksum. Ask another role than a query node, which reads through its cache.
        #[arg(long)]
        checksums: bool,
    },
    /// Shows what a log or a segment holds, one JSON object a line.
    #[command(subcommand)]
    Dump(Dump),
    /// Raises the version of the formats that the cluster writes. There is no way back to a version that does not read it.
    Finalize {
        /// The version to raise to; the newest that the leader writes if it is left out.
        format: Option<u32>,
    },
}

/// Which collections.
#[derive(Args, Debug, Default)]
pub struct Only {
    /// Only this collection: its name, alias or id.
    pub(super) collection: Option<String>,
    /// Its database; without a collection, only this database.
    #[arg(long)]
    pub(super) database: Option<String>,
}

/// What to do with resource groups.
#[derive(Subcommand, Debug)]
pub enum Groups {
    /// Shows resource groups: what they ask for and what they have.
    List,
    /// Makes a resource group.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        config: GroupConfig,
    },
    /// Replaces what a resource group asks for.
    Update {
        /// Its name.
        name: String,
        #[command(flatten)]
        config: GroupConfig,
    },
    /// Drops a resource group that nothing uses and whose limit is 0.
    Drop {
        /// Its name.
        name: String,
    },
    /// Moves the claim on query nodes from one to another.
    TransferNodes {
        /// The group that gives.
        #[arg(long, value_name = "GROUP")]
        from: String,
        /// The group that takes.
        #[arg(long, value_name = "GROUP")]
        to: String,
        /// How many query nodes.
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Moves replicas of a collection from one to another.
    TransferReplicas {
        /// The collection's name, alias or id.
        collection: String,
        /// The group that gives.
        #[arg(long, value_name = "GROUP")]
        from: String,
        /// The group that takes.
        #[arg(long, value_name = "GROUP")]
        to: String,
        /// The collection's database.
        #[arg(long, default_value = "default")]
        database: String,
        /// How many replicas.
        #[arg(default_value_t = 1)]
        count: u32,
    },
}

/// What a resource group asks for.
#[derive(Args, Debug)]
pub struct GroupConfig {
    /// Query nodes it needs.
    #[arg(long, default_value_t = 0)]
    pub(super) requests: u32,
    /// Query nodes it takes at most.
    #[arg(long, default_value_t = 0)]
    pub(super) limits: u32,
    /// A group whose surplus nodes it takes first; may be repeated.
    #[arg(long, value_name = "GROUP")]
    pub(super) transfer_from: Vec<String>,
    /// A group that its surplus nodes go to first; may be repeated.
    #[arg(long, value_name = "GROUP")]
    pub(super) transfer_to: Vec<String>,
    /// A label that its nodes must have; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) node_filter: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} is not KEY=VALUE"))?;
    if key.is_empty() { Err(format!("{text} has no key")) } else { Ok((key.to_owned(), value.to_owned())) }
}

/// What to show.
#[derive(Subcommand, Debug)]
pub enum Dump {
    /// Shows the records of a channel's log.
    Log {
        /// The channel's name, as `channels` shows it.
        channel: String,
        /// The first position; the checkpoint if it is left out, before which the log may have been truncated.
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// The position to end before; where it is left out, the walk ends once it has caught up with whoever writes.
        #[arg(long, value_name = "POSITION")]
        to: Option<u64>,
    },
    /// Shows the rows of a sealed segment.
    Segment {
        /// The segment's id, as `segments` shows it.
        segment: i64,
        /// Leaves out rows that deletes hide.
        #[arg(long)]
        only_visible: bool,
        /// No more rows than this.
        #[arg(long, value_name = "ROWS", default_value_t = 0, hide_default_value = true)]
        limit: u64,
    },
}

/// What to do with a node.
#[derive(Subcommand, Debug)]
pub enum Drain {
    /// Asks a node to hand over everything it has.
    Start {
        /// Its number, its address, or the name of its machine or pod.
        node: String,
        /// Waits until nothing is left, at most so long; exit code 6 if something is left then. Seconds.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Lets a node take part again.
    Stop {
        /// Its number, its address, or the name of its machine or pod.
        node: String,
    },
    /// Shows what a node still has to hand over.
    Status {
        /// Its number, its address, or the name of its machine or pod.
        node: String,
    },
}
