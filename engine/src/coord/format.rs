//! The version of the formats that a cluster writes: one record, which only grows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{FIRST_FORMAT, newest_format};
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn};
use crate::rpc::{NodeStatus, Refusal};

/// Record of the version.
const FORMAT: &str = "cluster/format";

/// What the record says. It is written the same way in every version, so that each can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    format: u32,
}

/// The version that the cluster writes.
///
/// # Errors
/// If the record cannot be read, or [`Error::NewerFormat`] if this build does not read that version.
pub async fn read(metas: &dyn Metas) -> Result<u32, Error> {
    let failed = |source| Error::ReadCatalog { prefix: FORMAT, source };
    let stored = metas.get(FORMAT).await.map_err(failed)?;
    format_of(stored.as_ref().map(|stored| &*stored.value))
}

/// The version that a copy of the records is to be continued in, and that it says from now on: the bucket may say of a later
/// one than the copy, if that was all that its leader still did.
///
/// # Errors
/// As [`read`].
pub fn continue_copy(records: &mut BTreeMap<String, String>, bucket: u32) -> Result<u32, Error> {
    let copied = format_of(records.get(FORMAT).map(String::as_bytes))?;
    if copied < bucket {
        let bytes = record::encode(FORMAT, &Stored { format: bucket })?;
        records.insert(FORMAT.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(copied.max(bucket))
}

fn format_of(record: Option<&[u8]>) -> Result<u32, Error> {
    let format = match record {
        Some(bytes) => record::decode::<Stored>(FORMAT, bytes)?.format,
        None => FIRST_FORMAT,
    };
    if format > newest_format() { Err(Error::NewerFormat { format }) } else { Ok(format) }
}

/// Adds to a transaction that the cluster writes `format` from now on.
///
/// # Errors
/// [`Error::BadRecord`] if it cannot be written down, which would be a defect.
pub fn put(txn: Txn, format: u32) -> Result<Txn, Error> {
    Ok(txn.put(FORMAT, record::encode(FORMAT, &Stored { format })?))
}

/// The version to raise to.
///
/// - `asked`: 0 for the newest.
/// - `now`, `newest`: what the cluster writes, and the most that this leader can.
///
/// # Errors
/// `NotFinal` if that is a step back, more than the leader can write, or more than one of the nodes reads.
pub fn decide(asked: u32, now: u32, newest: u32, nodes: &[NodeStatus]) -> Result<u32, Refusal> {
    let format = if asked == 0 { newest } else { asked };
    let refuse = |why| Err(Refusal::NotFinal { format, why });
    if format < now {
        return refuse(format!("it writes {now} already, and there is no way back"));
    }
    if format > newest {
        return refuse(format!("the leader writes up to {newest}"));
    }
    let behind = |node: &&NodeStatus| node.info.newest_format.max(FIRST_FORMAT) < format;
    if let Some(node) = nodes.iter().find(behind) {
        let info = &node.info;
        let who = format!("node {} ({} at {}, version {})", info.id, info.role, info.address, info.version);
        return refuse(format!("{who} reads up to {} only", info.newest_format.max(FIRST_FORMAT)));
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{FORMAT, continue_copy, decide};
    use crate::base::NodeId;
    use crate::coord::Error;
    use crate::rpc::{NodeInfo, NodeStatus};

    fn node(id: i64, newest_format: u32) -> NodeStatus {
        let info = NodeInfo { id: NodeId(id), newest_format, ..NodeInfo::default() };
        NodeStatus { info, ..NodeStatus::default() }
    }

    #[test]
    fn a_copy_is_continued_in_the_later_version_of_bucket_and_copy() {
        let mut copy = BTreeMap::new();

        assert_eq!(continue_copy(&mut copy, 1).unwrap(), 1);
        assert_eq!(copy, BTreeMap::new());
        let record = |format: u32| {
            let record =
                crate::coord::record::encode(FORMAT, &serde_json::json!({ "format": format })).unwrap();
            String::from_utf8(record.to_vec()).unwrap()
        };
        assert_eq!(continue_copy(&mut copy, 2).unwrap(), 2);
        assert_eq!(copy, BTreeMap::from([(FORMAT.to_owned(), record(2))]));
        assert_eq!(continue_copy(&mut copy, 1).unwrap(), 2);
        assert_eq!(continue_copy(&mut copy, 3).unwrap(), 3);
        assert_eq!(copy, BTreeMap::from([(FORMAT.to_owned(), record(3))]));
        // Which this build does not read.
        assert!(matches!(continue_copy(&mut copy, 1), Err(Error::NewerFormat { format: 3 })));
    }

    #[test]
    fn the_version_only_grows_and_only_as_far_as_everybody_reads() {
        let modern = [node(1, 2), node(2, 3)];
        // One that is too old to say what it reads reads the first version.
        let mixed = [node(1, 2), node(2, 0)];
        let texts = [
            decide(0, 1, 2, &modern),
            decide(2, 2, 2, &modern),
            decide(1, 2, 2, &modern),
            decide(3, 1, 2, &modern),
            decide(0, 1, 2, &mixed),
            decide(1, 1, 2, &mixed),
        ]
        .map(|decided| decided.map_err(|refusal| refusal.to_string()));

        let text = |text: &str| Err(text.to_owned());
        assert_eq!(
            texts,
            [
                Ok(2),
                Ok(2),
                text(
                    "the cluster cannot be finalized to format 1: it writes 2 already, and there is no way back"
                ),
                text("the cluster cannot be finalized to format 3: the leader writes up to 2"),
                text(
                    "the cluster cannot be finalized to format 2: node 2 ( at , version ) reads up to 1 only"
                ),
                Ok(1),
            ]
        );
    }
}
