//! Which nodes an operator asked to be emptied: a record, so that a drain outlives the leader that was asked for it.
//!
//! Numbers of nodes are given once, so a name that stays in the record of one that is gone does no harm.

use std::collections::BTreeSet;

use crate::base::NodeId;
use crate::coord::drive::Coordinator;
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn};
use crate::rpc::{self, Refusal};

/// Record of the nodes to be emptied.
const DRAINS: &str = "coord/drains";

/// The nodes of the record.
///
/// # Errors
/// If the record cannot be read or understood.
pub async fn read(metas: &dyn Metas) -> Result<BTreeSet<NodeId>, Error> {
    let failed = |source| Error::ReadCatalog { prefix: DRAINS, source };
    match metas.get(DRAINS).await.map_err(failed)? {
        Some(stored) => record::decode(DRAINS, &stored.value),
        None => Ok(BTreeSet::new()),
    }
}

impl Coordinator {
    /// Empties a node, or takes that back, under this leader and the next ones.
    ///
    /// # Errors
    /// `BadParameter` if there is no such node; if the record cannot be written, and then nothing was changed.
    pub(super) async fn drain_node(&self, node: NodeId, on: bool) -> Result<(), rpc::Error> {
        let _one_at_a_time = self.writing.lock().await;
        let (present, asked) = {
            let placer = self.placer.lock();
            (placer.present(), placer.drains().clone())
        };
        if !present.contains(&node) {
            let text = format!("node {node} is not there");
            return Err(Refusal::BadParameter { text }.into());
        }
        let mut wanted = asked.clone();
        {
            let members = self.members.lock();
            wanted.retain(|id| present.contains(id) || members.has(*id));
        }
        if on {
            wanted.insert(node)
        } else {
            wanted.remove(&node)
        };
        if wanted != asked {
            let bytes = record::encode(DRAINS, &wanted).map_err(|error| error.answer("drain"))?;
            let written = self.commit_txn(Txn::new().put(DRAINS, bytes)).await;
            written.map_err(|error| error.answer("drain"))?;
        }
        self.place(|placer, _| placer.drain(node, on));
        Ok(())
    }
}
