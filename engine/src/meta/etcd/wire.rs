//! Our transactions and records in etcd's words.

use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, Txn as EtcdTxn, TxnOp, TxnOpResponse, TxnResponse,
};

use crate::meta::txn::{Expect, Txn, Write};
use crate::meta::{Error, Versioned};

use super::race::{Ended, Repeat};

/// etcd refuses larger requests unless it is told otherwise.
const MAX_REQUEST_BYTES: usize = 3 << 19;

/// The key below which everything of one root path lies, with its slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root(String);

impl Root {
    pub(super) fn new(path: &str) -> Self {
        Self(format!("{}/", path.trim_matches('/')))
    }

    /// The key of a record.
    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        [self.0.as_bytes(), key.as_bytes()].concat()
    }

    /// The first key behind those that begin with `prefix`.
    pub(super) fn end(&self, prefix: &str) -> Vec<u8> {
        let mut end = self.key(prefix);
        // Keys are UTF-8 and the root ends with a slash, so that there always is a byte below the highest.
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        end
    }

    /// Key and content of a record below this root.
    pub(super) fn record(&self, found: KeyValue) -> Result<(String, Versioned), Error> {
        let version = version(found.mod_revision());
        let (key, value) = found.into_key_value();
        let ours = key.strip_prefix(self.0.as_bytes()).and_then(|rest| str::from_utf8(rest).ok());
        let Some(ours) = ours else {
            let key = String::from_utf8_lossy(&key).into_owned();
            return Err(Error::Damaged { key, why: "its key is not text" });
        };
        Ok((ours.to_owned(), Versioned { value: Bytes::from(value), version }))
    }

    /// The transaction that does `txn`, or else tells the versions of the keys that `txn` has expectations about, and what
    /// is where its mark would be.
    fn txn(&self, txn: &Txn) -> Result<EtcdTxn, Error> {
        self.check_size(txn)?;
        let compares = txn.expect.iter().map(|expect| match expect {
            Expect::Absent { key } => Compare::version(self.key(key), CompareOp::Equal, 0),
            Expect::Version { key, version } => {
                // No revision is so great, so that the expectation does not hold.
                let revision = i64::try_from(*version).unwrap_or(i64::MAX);
                Compare::mod_revision(self.key(key), CompareOp::Equal, revision)
            }
        });
        let writes = txn.writes.iter().map(|write| match write {
            Write::Put { key, value } => TxnOp::put(self.key(key), value.as_ref(), None),
            Write::Delete { key } => TxnOp::delete(self.key(key), None),
        });
        let looks = txn
            .expect
            .iter()
            .map(|expect| TxnOp::get(self.key(expect.key()), Some(GetOptions::new().with_keys_only())));
        let looks = looks.chain(txn.mark.iter().map(|mark| TxnOp::get(self.key(mark), None)));
        Ok(EtcdTxn::new()
            .when(compares.collect::<Vec<_>>())
            .and_then(writes.collect::<Vec<_>>())
            .or_else(looks.collect::<Vec<_>>()))
    }

    fn check_size(&self, txn: &Txn) -> Result<(), Error> {
        let sizes = txn.writes.iter().map(|write| {
            let value = if let Write::Put { value, .. } = write { value.len() } else { 0 };
            self.0.len() + write.key().len() + value
        });
        if sizes.sum::<usize>() <= MAX_REQUEST_BYTES {
            return Ok(());
        }
        let key = txn.writes.first().map(Write::key).unwrap_or_default().to_owned();
        Err(Error::Malformed { key, why: "the writes of a transaction have at most 1.5 MiB in etcd" })
    }
}

/// A transaction, ready to be sent.
pub(super) struct Request<'a> {
    txn: &'a Txn,
    /// In etcd's words.
    pub words: EtcdTxn,
    /// Whether it may be sent twice.
    pub repeat: Repeat,
}

impl<'a> Request<'a> {
    /// The request that does `txn` below `root`.
    ///
    /// # Errors
    /// Kind `Invalid` for a transaction that is too large for etcd.
    pub(super) fn new(root: &Root, txn: &'a Txn) -> Result<Self, Error> {
        Ok(Self { txn, words: root.txn(txn)?, repeat: repeat(txn) })
    }

    /// How it ended by what etcd answers.
    pub(super) fn ended(&self, answer: &TxnResponse) -> Ended {
        ended(self.txn, answer)
    }
}

/// Whether `txn` may be sent twice. It may if it replaces or deletes what had a certain version: that version never
/// comes back. One that only expects absence may not: what it put may be deleted before the second arrives.
fn repeat(txn: &Txn) -> Repeat {
    let guarded = |expect: &Expect| match expect {
        Expect::Version { key, .. } => txn.writes.iter().any(|write| write.key() == key),
        Expect::Absent { .. } => false,
    };
    if txn.expect.iter().any(guarded) { Repeat::Harmless } else { Repeat::Harmful }
}

fn ended(txn: &Txn, answer: &TxnResponse) -> Ended {
    if answer.succeeded() {
        return Ended::Done(answer.header().map_or(0, |header| version(header.revision())));
    }
    let looks = answer.op_responses();
    if let Some(version) = done_before(txn, looks.get(txn.expect.len())) {
        return Ended::Done(version);
    }
    let found = looks.iter().map(|look| match look {
        TxnOpResponse::Get(found) => found.kvs().first().map(|found| version(found.mod_revision())),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    });
    let broken = txn.expect.iter().zip(found).find(|(expect, found)| !expect.holds(*found));
    let broken = broken.map(|(expect, _)| expect).or(txn.expect.first());
    Ended::Conflict(broken.map(Expect::key).unwrap_or_default().to_owned())
}

/// The version at which `txn` happened, if its mark is there: then another attempt of ours was faster.
fn done_before(txn: &Txn, look: Option<&TxnOpResponse>) -> Option<u64> {
    let (_, value) = txn.marked()?;
    let Some(TxnOpResponse::Get(found)) = look else { return None };
    let record = found.kvs().first()?;
    (record.value() == value.as_ref()).then(|| version(record.mod_revision()))
}

fn version(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_its_keys_and_no_others() {
        let root = Root::new("/by-dev/");
        assert_eq!(root, Root::new("by-dev"));
        assert_eq!(root.key("a"), b"by-dev/a");
        assert_eq!((root.key(""), root.end("")), (b"by-dev/".to_vec(), b"by-dev0".to_vec()));
        assert_eq!(root.end("a/"), b"by-dev/a0");
    }

    #[test]
    fn only_what_replaces_a_version_is_sent_twice() {
        for (txn, expected) in [
            (Txn::new().expect_version("a", 1).put("a", "x").put("b", "y"), Repeat::Harmless),
            (Txn::new().expect_version("a", 1).delete("a"), Repeat::Harmless),
            (Txn::new().expect_version("a", 1).put("b", "y"), Repeat::Harmful),
            (Txn::new().expect_absent("a").put("a", "x"), Repeat::Harmful),
            (Txn::new().put("a", "x"), Repeat::Harmful),
        ] {
            assert_eq!(repeat(&txn), expected, "{txn:?}");
        }
    }

    #[test]
    fn what_etcd_would_refuse_for_its_size_is_malformed() {
        let root = Root::new("r");
        let half = vec![0; 1 << 20];
        assert!(root.txn(&Txn::new().put("a", half.clone())).is_ok());
        let error = root.txn(&Txn::new().put("a", half.clone()).put("b", half)).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    }
}
