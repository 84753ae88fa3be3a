//! How a standalone leaves its bucket, so that a cluster may begin on it: nothing is left in its directory that counts.

use std::sync::Arc;
use std::time::Duration;

use contract::role::Role;
use contract::settings::Settings;

use crate::assembly::Node;
use crate::base::{ChannelName, Clock, Kind, Kinded as _};
use crate::coord::Candidacy;
use crate::rpc::{self, Coord as _, Writer as _};
use crate::writer::ChannelWriter;

/// How long a channel may be nobody's.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const AGAIN: Duration = Duration::from_millis(20);

/// What has to be told.
pub struct Leave {
    writer: Arc<ChannelWriter>,
    candidacy: Arc<Candidacy>,
    clock: Arc<dyn Clock>,
}

impl Leave {
    /// For a standalone with a bucket whose catalog is in its directory; others leave nothing there, or everything.
    pub fn of(role: Role, settings: &Settings, node: &Node) -> Option<Self> {
        let leaves =
            role == Role::Standalone && settings.stores_remotely() && settings.etcd.endpoints.is_empty();
        if leaves { Self::new(node) } else { None }
    }

    /// For a node that writes and leads.
    pub fn new(node: &Node) -> Option<Self> {
        let (writer, candidacy) = (node.writer.clone()?, node.candidacy.clone()?);
        Some(Self { writer, candidacy, clock: Arc::clone(&node.clock) })
    }

    /// Takes no more writes, seals everything, and says so in the bucket. `answered` completes once nobody writes any
    /// more; whoever did until then is answered as ever.
    ///
    /// # Errors
    /// If something cannot be sealed; writes are refused all the same.
    pub async fn seal(&self, answered: impl Future<Output = ()>) -> Result<(), rpc::Error> {
        // Most of it while writes go on, so that they wait only for the rest.
        self.flush().await?;
        answered.await;
        self.writer.hold(true).await;
        self.flush().await?;
        self.candidacy.seal_mirror(true).await
    }

    async fn flush(&self) -> Result<(), rpc::Error> {
        for database in self.candidacy.databases().await? {
            for info in self.candidacy.collections(&database.name).await? {
                for channel in &info.channels {
                    self.flush_channel(channel).await?;
                }
            }
        }
        Ok(())
    }

    /// A channel that was made a moment ago, or a node that has just started, may not be its owner yet.
    async fn flush_channel(&self, channel: &ChannelName) -> Result<(), rpc::Error> {
        let since = self.clock.monotonic();
        loop {
            match self.writer.flush(channel).await {
                Err(error) if error.is_stale() && self.clock.monotonic().saturating_sub(since) < PATIENCE => {
                    self.clock.sleep(AGAIN).await;
                }
                // It was dropped meanwhile.
                Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                flushed => return flushed,
            }
        }
    }
}
