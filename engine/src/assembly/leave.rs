//! How a standalone leaves its bucket, so that a cluster may begin on it: nothing is left in its directory that counts.

use std::sync::Arc;
use std::time::Duration;

use contract::role::Role;
use contract::settings::Settings;

use crate::assembly::Node;
use crate::base::{ChannelName, Clock, Kind, Kinded as _};
use crate::coord::Candidacy;
use crate::rpc::{self, Coord, Writer};
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
    /// If something cannot be sealed; writes are refused all the same. If that is because a manifest is damaged, all other
    /// collections are sealed, and what is damaged is named.
    pub async fn seal(&self, answered: impl Future<Output = ()>) -> Result<(), rpc::Error> {
        // Most of it while writes go on, so that they wait only for the rest.
        self.flush().await?;
        answered.await;
        self.writer.hold(true).await;
        check_none(&self.flush().await?)?;
        self.candidacy.seal_mirror(true).await
    }

    async fn flush(&self) -> Result<Vec<String>, rpc::Error> {
        flush(self.candidacy.as_ref(), self.writer.as_ref(), self.clock.as_ref()).await
    }
}

/// Seals all channels, but for those of collections of which a manifest is damaged, which nobody owns. Returns what that is of
/// each, in words.
async fn flush(coord: &dyn Coord, writer: &dyn Writer, clock: &dyn Clock) -> Result<Vec<String>, rpc::Error> {
    let mut damaged = Vec::new();
    for database in coord.databases().await? {
        for info in coord.collections(&database.name).await? {
            if let Err(rpc::Error::Failed { kind: Kind::Corrupt, reason, .. }) =
                coord.manifests(info.id).await
            {
                damaged.push(format!("{}.{}: {reason}", info.database_name, info.name));
                continue;
            }
            for channel in &info.channels {
                flush_channel(writer, clock, channel).await?;
            }
        }
    }
    Ok(damaged)
}

/// A channel that was made a moment ago, or a node that has just started, may not be its owner yet.
async fn flush_channel(
    writer: &dyn Writer,
    clock: &dyn Clock,
    channel: &ChannelName,
) -> Result<(), rpc::Error> {
    let since = clock.monotonic();
    loop {
        match writer.flush(channel).await {
            Err(error) if error.is_stale() && clock.monotonic().saturating_sub(since) < PATIENCE => {
                clock.sleep(AGAIN).await;
            }
            // It was dropped meanwhile.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            flushed => return flushed,
        }
    }
}

/// Goes on if everything was sealed.
///
/// # Errors
/// Kind `Corrupt`, with what is damaged.
fn check_none(damaged: &[String]) -> Result<(), rpc::Error> {
    if damaged.is_empty() {
        return Ok(());
    }
    Err(rpc::Error::Failed { call: "seal everything", kind: Kind::Corrupt, reason: damaged.join("; ") })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::base::{Position, RealClock};
    use crate::rpc::{CollectionRef, Mark, Tail, Write, Written};

    /// Seals what it is asked to, and notes that.
    #[derive(Default)]
    struct Noting(Mutex<Vec<ChannelName>>);

    fn only_flushes() -> rpc::Error {
        rpc::Error::Stale { what: "all but flushes".to_owned() }
    }

    #[async_trait]
    impl Writer for Noting {
        async fn write(&self, _: Write) -> Result<Written, rpc::Error> {
            Err(only_flushes())
        }

        async fn flush(&self, channel: &ChannelName) -> Result<(), rpc::Error> {
            self.0.lock().push(channel.clone());
            Ok(())
        }

        async fn mark(&self, _: &ChannelName) -> Result<Mark, rpc::Error> {
            Err(only_flushes())
        }

        async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, rpc::Error> {
            Err(only_flushes())
        }

        async fn forget(&self, _: &[ChannelName]) -> Result<(), rpc::Error> {
            Err(only_flushes())
        }
    }

    #[tokio::test]
    async fn who_leaves_seals_all_but_what_is_damaged_and_names_that() {
        let (coord, key) = crate::coord::beside_damaged().await;
        let (writer, clock) = (Noting::default(), RealClock::new());

        let damaged = flush(coord.as_ref(), &writer, &*clock).await.unwrap();

        let other = CollectionRef::Name { database: String::new(), name: "other".to_owned() };
        let other = coord.collection(other).await.unwrap().id;
        assert_eq!(*writer.0.lock(), [ChannelName::of(other, 0)]);
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        let refused = check_none(&damaged).unwrap_err();
        assert_eq!(refused.kind(), Kind::Corrupt);
        let text = refused.to_string();
        assert!(text.starts_with("seal everything failed: default.hurt: ") && text.contains(&key), "{text}");

        coord.drop_collection("", "hurt").await.unwrap();
        let damaged = flush(coord.as_ref(), &writer, &*clock).await.unwrap();
        check_none(&damaged).unwrap();
    }
}
