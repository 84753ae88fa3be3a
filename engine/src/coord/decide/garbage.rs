//! What waits to be removed.

use std::collections::BTreeSet;

use crate::base::{ChannelName, CollectionId, SegmentId, Timestamp};
use crate::coord::catalog::{Catalog, Garbage};
use crate::coord::change::Change;
use crate::model::SegmentManifest;

/// A record for `objects` that nobody needs, and for the logs of `channels`. None for nothing.
///
/// `fresh` is an unused number.
pub fn leave(channels: Vec<ChannelName>, objects: Vec<String>, fresh: Timestamp) -> Option<Change> {
    if channels.is_empty() && objects.is_empty() {
        return None;
    }
    Some(Change::PutGarbage(Garbage { id: fresh.as_id(), channels, objects, ..Garbage::default() }))
}

/// A record for segments and other objects that somebody may still be reading.
///
/// - `fresh`: an unused number.
/// - `not_before_unix_ms`: nobody who comes after this needs them.
pub fn leave_held(
    collection: CollectionId,
    segments: &[SegmentManifest],
    objects: Vec<String>,
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Option<Change> {
    let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id).collect();
    let objects: Vec<String> = segments.iter().flat_map(SegmentManifest::objects).chain(objects).collect();
    if objects.is_empty() {
        return None;
    }
    Some(Change::PutGarbage(Garbage {
        id: fresh.as_id(),
        objects,
        collection: Some(collection),
        segments: ids,
        not_before_unix_ms,
        ..Garbage::default()
    }))
}

/// The objects of a record that a manifest names all the same, which must never be: they stay.
pub fn spared(catalog: &Catalog, garbage: &Garbage) -> Vec<String> {
    let going: BTreeSet<&String> = garbage.objects.iter().collect();
    // Keys name their collection, so the others need not be looked at.
    let collection = |key: &&String| key.split('/').nth(1)?.parse().ok().map(CollectionId);
    let collections: BTreeSet<CollectionId> = going.iter().filter_map(collection).collect();
    let named = collections.into_iter().flat_map(|id| catalog.named_objects_of(id));
    named.filter(|key| going.contains(key)).collect()
}

/// Whether a damaged manifest may name objects of a record all the same: nothing of it is to be removed.
pub fn may_be_named(catalog: &Catalog, garbage: &Garbage) -> bool {
    garbage.objects.iter().any(|key| catalog.may_name(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_one_record_however_much_it_is() {
        let objects: Vec<String> = (0..20_000).map(|number| format!("o{number}")).collect();
        let channels = vec![ChannelName::of(CollectionId(1), 0)];

        let left = leave(channels.clone(), objects.clone(), Timestamp(10));

        let record = Garbage { id: 10, channels, objects, ..Garbage::default() };
        assert_eq!(left, Some(Change::PutGarbage(record)));
        assert_eq!(leave(Vec::new(), Vec::new(), Timestamp(1)), None);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let read: Garbage = serde_json::from_str(r#"{"id":4,"channels":[],"objects":["a"]}"#).unwrap();

        assert_eq!(read, Garbage { id: 4, objects: vec!["a".to_owned()], ..Garbage::default() });
    }
}
