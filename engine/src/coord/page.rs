//! Pages of the catalog's mirror in the bucket: what they say, and what a chain of them amounts to. Pure.
//!
//! The newest page is the end of a chain that leads back, page by page, to one that holds everything. Pages beside the
//! chain were given up: their changes are in a later one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::meta::Write;

/// Keys of pages begin so.
pub const PAGES: &str = "catalog/";
/// Record of how often the metadata of this cluster was made anew; absent for never.
pub const GENERATION: &str = "cluster/generation";
/// Record that says whose metadata this is.
pub const CLUSTER: &str = "cluster/id";
/// Record that is there while a rebuild is under way.
pub const REBUILDING: &str = "cluster/rebuilding";

/// One page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The page that this one continues; `None` if it holds everything.
    pub after: Option<i64>,
    /// How often the metadata had been made anew.
    pub generation: u64,
    /// Neither time nor ids were given out from here on before a later page said so.
    pub bound: Timestamp,
    /// Whether nothing is in any log that is not sealed, and nobody writes.
    #[serde(default)]
    pub sealed: bool,
    /// Records, by key; `None` for one that was deleted.
    pub writes: Vec<(String, Option<String>)>,
}

/// Everything that a chain of pages says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Records by key.
    pub records: BTreeMap<String, String>,
    /// How often the metadata had been made anew.
    pub generation: u64,
    /// Neither time nor ids were given out from here on.
    pub bound: Timestamp,
    /// Whether nothing is in any log that is not sealed, and nobody writes.
    pub sealed: bool,
}

impl Image {
    /// What pages say, the oldest first, which holds everything.
    pub fn of(pages: impl IntoIterator<Item = Page>) -> Self {
        let mut image = Self::default();
        for page in pages {
            for (key, value) in page.writes {
                match value {
                    Some(value) => image.records.insert(key, value),
                    None => image.records.remove(&key),
                };
            }
            image.generation = page.generation;
            image.bound = image.bound.max(page.bound);
            image.sealed = page.sealed;
        }
        image
    }

    /// The page that holds everything of it.
    pub fn page(&self) -> Page {
        let writes = self.records.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        Page {
            after: None,
            generation: self.generation,
            bound: self.bound,
            sealed: self.sealed,
            writes: writes.collect(),
        }
    }
}

/// Key of the page with this number.
pub fn page_key(number: i64) -> String {
    format!("{PAGES}{number:020}.bin")
}

/// The number of the page under `key`; `None` for a key that is no page's.
pub fn number_of(key: &str) -> Option<i64> {
    key.strip_prefix(PAGES)?.strip_suffix(".bin")?.parse().ok()
}

/// Whether a record is part of the mirror. Others are of one metadata store only: who leads, which nodes there may be and which
/// of them are to be emptied, what operators steer by hand, terms, its identity, the bound of time, which pages have by themselves, and that of what a leader
/// says, which is of no use once all nodes were stopped.
pub fn is_mirrored(key: &str) -> bool {
    let is_own = key.starts_with("coord/") && key != "coord/nodes" || key.starts_with("terms/");
    !is_own && ![GENERATION, CLUSTER, REBUILDING].contains(&key)
}

/// The part of a transaction that the mirror takes.
pub fn mirrored(writes: &[Write]) -> Vec<(String, Option<String>)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let of = |write: &Write| match write {
        Write::Put { key, value } => (key.clone(), Some(text(value))),
        Write::Delete { key } => (key.clone(), None),
    };
    writes.iter().filter(|write| is_mirrored(write.key())).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Txn;

    #[test]
    fn pages_name_what_is_there_at_last() {
        let page = |after, bound, writes: &[(&str, Option<&str>)]| Page {
            after,
            generation: 3,
            bound: Timestamp(bound),
            sealed: after == Some(2),
            writes: writes.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect(),
        };
        let pages = [
            page(None, 10, &[("a", Some("1")), ("b", Some("2"))]),
            page(Some(1), 9, &[("a", None), ("c", Some("3"))]),
            page(Some(2), 12, &[("c", Some("4"))]),
        ];

        let image = Image::of(pages);

        let records = [("b", "2"), ("c", "4")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Image { records: records.into(), generation: 3, bound: Timestamp(12), sealed: true };
        assert_eq!(image, expected);
        assert_eq!(Image::of([image.page()]), expected);
    }

    #[test]
    fn what_belongs_to_one_store_stays_there() {
        let txn = Txn::new()
            .put("coord/time", "1")
            .put("coord/said", "1")
            .put("coord/epoch", "1")
            .put("coord/nodes", "n")
            .put("coord/drains", "d")
            .put("coord/steer", "s")
            .put("cluster/format", "f")
            .put("terms/c", "")
            .put("cluster/id", "x")
            .put("collections/4", "c")
            .delete("channels/c");

        let taken = [
            ("coord/nodes", Some("n")),
            ("cluster/format", Some("f")),
            ("collections/4", Some("c")),
            ("channels/c", None),
        ];
        let taken = taken.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(mirrored(&txn.writes), taken);
    }

    #[test]
    fn a_page_is_found_by_its_name() {
        assert_eq!(page_key(466_000), "catalog/00000000000000466000.bin");
        assert_eq!(number_of(&page_key(466_000)), Some(466_000));
        assert_eq!(number_of("catalog/x.bin"), None);
    }
}
