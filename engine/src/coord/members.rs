//! Which nodes there may be: a record by which a new leader knows whom it has not heard of yet.
//!
//! The record always names more nodes rather than fewer: one is added before it gets its first lease, and gets no lease
//! any more before it is taken out. So who is not in it holds no lease. A new leader ends no change before
//! everybody in it was heard, or is lost; that it could give orders from then on is not done: routes of the earlier
//! leader were found broken by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::{NodeId, chain};
use crate::coord::drive::Coordinator;
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn};
use crate::rpc;

/// Record of the highest number that a node was given.
pub const NUMBERS: &str = "coord/nodes";
/// Record of the nodes that may have something.
pub const MEMBERS: &str = "coord/members";

/// How often the record of nodes is looked after.
const TICK: Duration = Duration::from_millis(500);
/// How often a call that waits for nodes looks again though nobody has reported.
const LOOK: Duration = Duration::from_millis(100);

/// The record as this leader knows it.
#[derive(Debug, Default)]
pub struct Members {
    /// Nodes that are in the record for sure: only they get leases.
    recorded: BTreeSet<NodeId>,
    /// Whether the record may name others besides.
    names_more: bool,
    /// Nodes of the record that are not there, and since when.
    absent: BTreeMap<NodeId, Duration>,
}

impl Members {
    /// As the record says.
    pub fn of(recorded: BTreeSet<NodeId>) -> Self {
        Self { recorded, ..Self::default() }
    }

    /// Whether a node is in the record.
    pub fn has(&self, node: NodeId) -> bool {
        self.recorded.contains(&node)
    }

    /// Takes over that a node is gone for good: it holds no lease, so the record need not wait.
    pub fn left(&mut self, node: NodeId) {
        self.names_more |= self.recorded.remove(&node);
    }

    /// Who the record is to name now, if that differs from what it names. Who was absent for `lost_after` is taken out,
    /// and gets no lease from here on.
    pub fn revise(
        &mut self,
        present: &BTreeSet<NodeId>,
        now: Duration,
        lost_after: Duration,
    ) -> Option<BTreeSet<NodeId>> {
        self.absent.retain(|node, _| !present.contains(node));
        for node in self.recorded.difference(present) {
            self.absent.entry(*node).or_insert(now);
        }
        let gone = self.absent.iter().filter(|(_, since)| now.saturating_sub(**since) >= lost_after);
        for node in gone.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.absent.remove(&node);
            self.left(node);
        }
        let wanted: BTreeSet<_> = self.recorded.union(present).copied().collect();
        (self.names_more || wanted != self.recorded).then_some(wanted)
    }

    /// Who the record is to name when a new node is numbered.
    pub fn with(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.recorded.iter().copied().chain([node]).collect()
    }

    /// The record names these nodes now.
    pub fn recorded(&mut self, nodes: BTreeSet<NodeId>) {
        self.recorded = nodes;
        self.names_more = false;
    }
}

/// The nodes of the record; nobody if no node was ever numbered, `None` if a version without this record numbered them.
///
/// # Errors
/// If a record cannot be read or understood.
pub async fn read(metas: &dyn Metas) -> Result<Option<BTreeSet<NodeId>>, Error> {
    let failed = |prefix| move |source| Error::ReadCatalog { prefix, source };
    if let Some(stored) = metas.get(MEMBERS).await.map_err(failed(MEMBERS))? {
        return record::decode(MEMBERS, &stored.value).map(Some);
    }
    let numbered = metas.get(NUMBERS).await.map_err(failed(NUMBERS))?;
    Ok(numbered.is_none().then(BTreeSet::new))
}

/// The bytes of the record.
///
/// # Errors
/// [`Error::BadRecord`] if it cannot be written down, which would be a defect.
pub fn encode(nodes: &BTreeSet<NodeId>) -> Result<Bytes, Error> {
    record::encode(MEMBERS, nodes)
}

impl Coordinator {
    /// Keeps the record of nodes right until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn keep_members(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(TICK) => {}
            }
            match self.record_members().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        warn!(error = chain(&error), "cannot write down which nodes there are");
                    }
                    failing = true;
                }
            }
        }
    }

    async fn record_members(&self) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().await;
        let now = self.parts.clock.monotonic();
        let present = {
            let placer = self.placer.lock();
            // Before it has listened, a leader does not know who is absent.
            if !placer.is_settled() {
                return Ok(());
            }
            placer.present()
        };
        let lost_after = self.parts.placing.lost_after;
        let Some(wanted) = self.members.lock().revise(&present, now, lost_after) else { return Ok(()) };
        self.commit_txn(Txn::new().put(MEMBERS, encode(&wanted)?)).await?;
        self.members.lock().recorded(wanted);
        Ok(())
    }

    /// Numbers a node and expects it from here on; the caller holds the writing lock.
    pub(super) async fn number_node(&self) -> Result<NodeId, Error> {
        let failed = |source| Error::ReadCatalog { prefix: NUMBERS, source };
        let last: i64 = match self.parts.metas.get(NUMBERS).await.map_err(failed)? {
            Some(stored) => record::decode(NUMBERS, &stored.value)?,
            None => 0,
        };
        let node = NodeId(last + 1);
        let members = self.members.lock().with(node);
        let txn = Txn::new().put(NUMBERS, record::encode(NUMBERS, &node)?).put(MEMBERS, encode(&members)?);
        self.commit_txn(txn).await?;
        self.members.lock().recorded(members);
        Ok(node)
    }

    /// Waits until a new leader knows which nodes there are: before that, counting them would only mislead.
    ///
    /// # Errors
    /// [`rpc::Error::Stale`] if the lead ends meanwhile: nodes report to the next leader, so this one would go on by a count
    /// that is wrong.
    pub(super) async fn listened(&self, call: &'static str) -> Result<(), rpc::Error> {
        let mut reported = self.reported.subscribe();
        let settled = async {
            while !self.placer.lock().is_settled() {
                tokio::select! {
                    changed = reported.changed() => if changed.is_err() { return },
                    () = self.parts.clock.sleep(LOOK) => {}
                }
            }
        };
        tokio::select! {
            () = settled => Ok(()),
            () = self.deposed.cancelled() => Err(Error::Deposed.answer(call)),
            () = self.parts.clock.sleep(2 * self.parts.placing.settle) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Members, read};
    use crate::base::NodeId;
    use crate::meta::{MemoryMetas, Metas as _, Txn};

    const LOST: Duration = Duration::from_secs(5);

    fn nodes(ids: &[i64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn who_is_absent_for_long_is_taken_out_and_has_no_lease_before_that_is_written() {
        let mut members = Members::of(nodes(&[1, 2]));

        let soon = members.revise(&nodes(&[1]), at(10), LOST);
        let late = members.revise(&nodes(&[1]), at(15), LOST);

        assert_eq!((soon, late, members.has(NodeId(2))), (None, Some(nodes(&[1])), false));
        assert_eq!(
            members.revise(&nodes(&[1]), at(16), LOST),
            Some(nodes(&[1])),
            "the write may have failed"
        );
        members.recorded(nodes(&[1]));
        assert_eq!(members.revise(&nodes(&[1]), at(17), LOST), None);
    }

    #[test]
    fn who_comes_back_has_no_lease_before_it_is_in_the_record_again() {
        let mut members = Members::of(nodes(&[1]));
        members.left(NodeId(1));

        let wanted = members.revise(&nodes(&[1]), at(10), LOST);
        let before = members.has(NodeId(1));
        members.recorded(nodes(&[1]));

        assert_eq!((wanted, before, members.has(NodeId(1))), (Some(nodes(&[1])), false, true));
    }

    #[test]
    fn a_short_absence_starts_to_count_anew_each_time() {
        let mut members = Members::of(nodes(&[1]));
        members.revise(&nodes(&[]), at(10), LOST);
        members.revise(&nodes(&[1]), at(14), LOST);

        assert_eq!(members.revise(&nodes(&[]), at(16), LOST), None);
    }

    #[tokio::test]
    async fn nobody_is_expected_where_nobody_was_numbered_and_nothing_is_known_of_older_versions() {
        let metas = MemoryMetas::new();
        let fresh = read(metas.as_ref()).await.unwrap();
        metas.commit(Txn::new().put(super::NUMBERS, "{}")).await.unwrap();
        let older = read(metas.as_ref()).await.unwrap();
        metas.commit(Txn::new().put(super::MEMBERS, super::encode(&nodes(&[3])).unwrap())).await.unwrap();

        assert_eq!(
            (fresh, older, read(metas.as_ref()).await.unwrap()),
            (Some(nodes(&[])), None, Some(nodes(&[3])))
        );
    }
}
