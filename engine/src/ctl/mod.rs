//! `redkite ctl`: the admin API for people. Asks a running process and shows what it answers as a table, JSON or YAML.
//!
//! Knows the API and how to reach it; decides nothing about data.

mod arguments;
mod calls;
mod groups;
mod reference;
mod shown;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use contract::admin::admin_client::AdminClient;

use self::arguments::Reach;
pub use self::arguments::{Command, Flags};
use self::calls::Page;
pub use self::reference::markdown;
use crate::base::{RealClock, chain};
use crate::rpc::net::{Carrier, Credentials, NetSettings, reach};
use crate::secure::{self, Connector, ConnectorSettings, REREAD, Tokens};

/// Largest answer. Unit: bytes.
const MAX_ANSWER: usize = 256 << 20;

/// What exit codes mean, for people.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong flags, 3 unreachable, 4 not let in, 5 something is \
wrong with the data, 6 not done in time.";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the token or of a certificate cannot be used.
    #[error("cannot use the credentials")]
    Credentials {
        /// Why.
        #[source]
        source: secure::Error,
    },
    /// Flags that only make sense together.
    #[error("{0}")]
    Usage(&'static str),
    /// Nobody answers there.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The connection ended before the answer did.
    #[error("the connection broke: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
    /// The process said no.
    #[error("{}", said(.0))]
    Refused(#[source] tonic::Status),
    /// The answer could not be written down.
    #[error("cannot write the answer")]
    Write(#[source] std::io::Error),
    /// The answer says that something is wrong with the data.
    #[error("{0}")]
    Found(String),
    /// What was waited for did not come about in time.
    #[error("{0}")]
    TooLate(String),
}

/// What a status says, with its code where the words alone might be anybody's.
fn said(status: &tonic::Status) -> String {
    match status.code() {
        tonic::Code::Unauthenticated => format!("not let in: {}", status.message()),
        tonic::Code::Unimplemented => {
            "nothing answers this call there: it is another port than that of calls between nodes, or an older version"
                .to_owned()
        }
        _ => status.message().to_owned(),
    }
}

impl Error {
    /// Why a call failed: only what the process said itself has no cause here.
    fn of(status: tonic::Status) -> Self {
        match std::error::Error::source(&status) {
            Some(cause) => Self::Broken { reason: chain(cause) },
            None => Self::Refused(status),
        }
    }

    /// The exit code of the process, as [`EXIT_CODES`] says.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Credentials { .. } => 2,
            Self::Unreachable { .. } | Self::Broken { .. } => 3,
            Self::Refused(status) => match status.code() {
                tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => 4,
                _ => 1,
            },
            Self::Write(_) => 1,
            Self::Found(_) => 5,
            Self::TooLate(_) => 6,
        }
    }
}

/// The API at the other end.
type Client = AdminClient<Carrier>;

/// Does what a command asks for. Answers go to `out`, what is wrong to `err`; returns the exit code.
pub async fn run(
    flags: Flags,
    command: Command,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> u8 {
    match obey(flags, command, out).await {
        Ok(()) => 0,
        Err(Error::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let text = match &error {
                // Its cause is the same text.
                Error::Refused(_) => error.to_string(),
                other => chain(other),
            };
            // Nobody is left to be told if this cannot be written either.
            let _ = writeln!(err, "redkite ctl: {text}");
            error.exit_code()
        }
    }
}

async fn obey(flags: Flags, command: Command, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let Flags { reach, output } = flags;
    let client = connect(&reach).await?;
    calls::make(client, command, &mut Page { output, out, clock: RealClock::new() }).await
}

async fn connect(flags: &Reach) -> Result<Client, Error> {
    let clock = RealClock::new();
    let failed = |source| Error::Credentials { source };
    let token = match &flags.token_file {
        Some(path) => {
            let tokens = Tokens::open(path.clone(), REREAD, Arc::clone(&clock) as _).await.map_err(failed)?;
            Some(Arc::new(tokens))
        }
        None => None,
    };
    let connector = match tls(flags)? {
        Some(settings) => {
            let connector = Connector::open(settings, Arc::clone(&clock) as _).await.map_err(failed)?;
            Some(Arc::new(connector))
        }
        None => None,
    };
    let credentials = Credentials { token, connector };
    let settings = NetSettings { connect: flags.timeout(), ..NetSettings::default() };
    let carrier = reach(&flags.address, credentials, settings, clock).await;
    let unreachable = |reason| Error::Unreachable { address: flags.address.clone(), reason };
    Ok(AdminClient::new(carrier.map_err(unreachable)?).max_decoding_message_size(MAX_ANSWER))
}

fn tls(flags: &Reach) -> Result<Option<ConnectorSettings>, Error> {
    let pair = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        _ => Err(Error::Usage("--tls-cert and --tls-key belong together")),
    };
    let identity = pair(&flags.tls_cert, &flags.tls_key)?;
    match (&flags.tls_ca, identity) {
        (Some(authorities), identity) => {
            let server_name = flags.tls_name.clone();
            Ok(Some(ConnectorSettings {
                server_name,
                ..ConnectorSettings::new(authorities.clone(), identity)
            }))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::Usage("--tls-cert needs --tls-ca")),
    }
}
