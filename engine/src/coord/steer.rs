//! What operators steer by hand, as a record, so that it outlives the leader that was asked for it: whether anything is moved
//! for balance, until when nothing is removed from the store, and which query nodes are given nothing more.
//!
//! Numbers of nodes are given once, so a name that stays in the record of one that is gone does no harm.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tracing::info;

use crate::base::NodeId;
use crate::coord::drive::Coordinator;
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn};
use crate::rpc::{self, HeldParts, HeldTransfer, Refusal, SteerChange, Steering};

/// Record of all of it.
const STEER: &str = "coord/steer";

/// What operators steer by hand, as the record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steer {
    /// Whether nothing is moved only for balance.
    pub balance_suspended: bool,
    /// Nothing is removed from the store before this. Unit: Unix milliseconds; 0 for no pause.
    pub garbage_from_unix_ms: u64,
    /// Query nodes that are given nothing more to hold.
    pub suspended: BTreeSet<NodeId>,
}

impl Steer {
    /// What it is after a change that is asked for at `now_unix_ms`.
    #[must_use]
    pub fn after(mut self, change: &SteerChange, now_unix_ms: u64) -> Self {
        match change {
            SteerChange::SuspendBalance(on) => self.balance_suspended = *on,
            SteerChange::PauseGarbage { seconds } => {
                let until = now_unix_ms.saturating_add(seconds.saturating_mul(1_000));
                // Whoever asked for longer relies on it.
                self.garbage_from_unix_ms = self.garbage_from_unix_ms.max(until);
            }
            SteerChange::ResumeGarbage => self.garbage_from_unix_ms = 0,
            SteerChange::SuspendNode { node, on: true } => {
                self.suspended.insert(*node);
            }
            SteerChange::SuspendNode { node, on: false } => {
                self.suspended.remove(node);
            }
        }
        self
    }

    /// Whether nothing is removed from the store at `now_unix_ms`.
    #[must_use]
    pub const fn pauses_garbage(&self, now_unix_ms: u64) -> bool {
        now_unix_ms < self.garbage_from_unix_ms
    }

    /// As it is shown at `now_unix_ms`.
    #[must_use]
    pub fn shown(&self, now_unix_ms: u64) -> Steering {
        Steering {
            balance_suspended: self.balance_suspended,
            garbage_paused_ms: self.garbage_from_unix_ms.saturating_sub(now_unix_ms),
            suspended: self.suspended.clone(),
        }
    }
}

/// The record; nothing is steered where there is none.
///
/// # Errors
/// If the record cannot be read or understood.
pub async fn read(metas: &dyn Metas) -> Result<Steer, Error> {
    let failed = |source| Error::ReadCatalog { prefix: STEER, source };
    match metas.get(STEER).await.map_err(failed)? {
        Some(stored) => record::decode(STEER, &stored.value),
        None => Ok(Steer::default()),
    }
}

impl Coordinator {
    /// Changes what operators steer by hand. Once a pause of garbage returns, nothing is being removed any more.
    ///
    /// # Errors
    /// `BadParameter` if there is no such query node; if the record cannot be written, and then nothing was changed.
    pub(super) async fn steer_by_hand(&self, change: SteerChange) -> Result<(), rpc::Error> {
        if let SteerChange::SuspendNode { node, on } = change {
            self.check_query_node(node, on).await?;
        }
        {
            let _one_at_a_time = self.writing.lock().await;
            let known = self.steer.lock().clone();
            let mut wanted = known.clone().after(&change, self.parts.clock.unix_ms());
            let present = self.placer.lock().present();
            wanted.suspended.retain(|node| present.contains(node) || self.members.lock().has(*node));
            if wanted != known {
                let bytes = record::encode(STEER, &wanted).map_err(|error| error.answer("steer"))?;
                let written = self.commit_txn(Txn::new().put(STEER, bytes)).await;
                written.map_err(|error| error.answer("steer"))?;
                info!(?change, "an operator steers by hand");
            }
            *self.steer.lock() = wanted.clone();
            self.place(|placer, _| placer.steer(!wanted.balance_suspended, wanted.suspended));
        }
        match change {
            // Whoever has begun to remove something ends, or sees that it is not to go on.
            SteerChange::PauseGarbage { .. } => drop(self.removing.lock().await),
            SteerChange::ResumeGarbage => self.wake.notify_one(),
            SteerChange::SuspendBalance(_) | SteerChange::SuspendNode { .. } => {}
        }
        Ok(())
    }

    /// A node that is gone may still be taken out of the record.
    async fn check_query_node(&self, node: NodeId, on: bool) -> Result<(), rpc::Error> {
        self.listened("steer a node").await?;
        if !on && self.steer.lock().suspended.contains(&node) {
            return Ok(());
        }
        let nodes = self.placer.lock().nodes();
        if nodes.iter().any(|known| known.info.id == node && known.info.duties.queries) {
            return Ok(());
        }
        Err(Refusal::BadParameter { text: format!("there is no query node {node}") }.into())
    }

    /// What operators steer by hand, as it is now.
    pub(super) fn steered(&self) -> Steering {
        self.steer.lock().shown(self.parts.clock.unix_ms())
    }

    /// Whether nothing is to be removed from the store now.
    pub(super) fn pauses_garbage(&self) -> bool {
        self.steer.lock().pauses_garbage(self.parts.clock.unix_ms())
    }

    /// Has a query node hand over parts of what it holds.
    ///
    /// # Errors
    /// `BadParameter` for what of it cannot be; nothing is moved then.
    pub(super) async fn transfer(&self, transfer: HeldTransfer) -> Result<(), rpc::Error> {
        self.listened("transfer what is held").await?;
        let HeldTransfer { from, to, parts } = transfer;
        let moved = self.place(|placer, now| match &parts {
            HeldParts::Segments(segments) => placer.transfer_segments(from, to, segments, now),
            HeldParts::Channels(channels) => placer.transfer_followers(from, to, channels, now),
        });
        Ok(moved.map_err(|text| Refusal::BadParameter { text })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn the_longest_pause_that_was_asked_for_counts_and_ends_by_itself_or_by_hand() {
        let pause = |seconds| SteerChange::PauseGarbage { seconds };
        let steer = Steer::default().after(&pause(60), NOW).after(&pause(10), NOW + 1_000);

        let paused = [0, 59_999, 60_000].map(|ms| steer.pauses_garbage(NOW + ms));
        assert_eq!(paused, [true, true, false]);
        assert_eq!(steer.shown(NOW + 20_000).garbage_paused_ms, 40_000);
        assert_eq!(steer.shown(NOW + 70_000), Steering::default());
        assert_eq!(steer.after(&SteerChange::ResumeGarbage, NOW), Steer::default());
        assert!(Steer::default().after(&pause(u64::MAX), NOW).pauses_garbage(u64::MAX - 1));
    }

    #[test]
    fn what_is_suspended_is_so_until_it_is_taken_back_however_often_it_is_said() {
        let node = |node, on| SteerChange::SuspendNode { node: NodeId(node), on };
        let changes = [node(1, true), node(2, true), node(1, true), SteerChange::SuspendBalance(true)];
        let steer = changes.iter().fold(Steer::default(), |steer, change| steer.after(change, NOW));

        let expected = Steering {
            balance_suspended: true,
            garbage_paused_ms: 0,
            suspended: [NodeId(1), NodeId(2)].into(),
        };
        assert_eq!(steer.shown(NOW), expected);
        let taken_back = [node(1, false), node(2, false), node(2, false), SteerChange::SuspendBalance(false)];
        let steer = taken_back.iter().fold(steer, |steer, change| steer.after(change, NOW));
        assert_eq!(steer, Steer::default());
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let read: Steer = serde_json::from_str(r#"{"suspended":[4]}"#).unwrap();

        assert_eq!(read, Steer { suspended: [NodeId(4)].into(), ..Steer::default() });
    }
}
