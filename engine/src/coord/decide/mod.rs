//! What a request means for the catalog: pure, tested as values. A decision is the changes to commit, or a refusal.

mod access;
mod collection;
mod compact;
mod database;
mod fsck;
mod garbage;
mod group;
mod import;
mod index;
mod load;
mod seal;

#[cfg(test)]
mod gc_test;

pub use access::change_policy;
pub use collection::{
    alter_alias, alter_collection, create_collection, create_partition, drop_collection, drop_partition,
    truncate_collection,
};
pub use compact::{
    CompactPlan, Moment, Pace, Sizes, ask_compaction, commit_compaction, give_up_compaction,
    has_still_expired, leaving, most_outputs, next_clustering, next_compaction, note_compaction, plan_of,
    still_there,
};
pub use database::{alter_database, create_database, drop_database};
pub use fsck::{LISTED, compare};
pub use garbage::{may_be_named, spared};
pub use group::{create_group, drop_group, transfer_nodes, transfer_replicas, update_groups};
pub use import::{
    ImportWork, begun_import, commit_import, commit_step, create_import, deletes_kept_from, end_import,
    fail_import, hold_import, publish_import, wanted_of, work_of,
};
pub use index::{alter_index, create_index, drop_index, index_jobs, is_scanned, next_index_job, progress};
pub use load::{LoadRequest, load, release};
pub use seal::{SPARED_MS, Stale, TAKEN_FOR_MS, commit_flush, commit_index, keep_flush, lose_index};

use crate::coord::change::Change;
use crate::rpc::Refusal;

/// The changes to commit; none when the world is already as wanted.
pub type Decision = Result<Vec<Change>, Refusal>;

/// Sets `set` and removes `removed` among key-value pairs, keeping the order of what was there.
fn merged(old: &[(String, String)], set: &[(String, String)], removed: &[String]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = old.iter().filter(|(key, _)| !removed.contains(key)).cloned().collect();
    for (key, value) in set {
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1.clone_from(value),
            None => pairs.push((key.clone(), value.clone())),
        }
    }
    pairs
}
