//! Indexes: what the user asked for, and which segment to build one for next.

use super::garbage::leave;
use super::{Decision, merged};
use crate::base::{IndexId, SegmentId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::{ChannelManifest, IndexDefinition, Metric, SegmentManifest};
use crate::rpc::{CollectionInfo, CollectionRef, IndexProgress, NewIndex, Refusal};

pub fn create_index(catalog: &Catalog, wanted: &NewIndex, fresh: Timestamp) -> Decision {
    let old = catalog.collection(&wanted.collection)?;
    let field = old
        .schema
        .field(&wanted.field)
        .filter(|field| !field.is_dynamic)
        .ok_or_else(|| Refusal::IndexFieldNotFound { field: wanted.field.clone() })?;
    let param =
        |key: &str| wanted.params.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let index = IndexDefinition {
        id: IndexId(fresh.as_id()),
        name: if wanted.name.is_empty() { wanted.field.clone() } else { wanted.name.clone() },
        field: field.id,
        index_type: param("index_type").unwrap_or_else(|| "AUTOINDEX".to_owned()),
        metric: param("metric_type").and_then(|name| Metric::from_name(&name)),
        params: wanted.params.clone(),
    };
    if let Some(known) = old.indexes.iter().find(|known| known.name == index.name) {
        let same = known.field == index.field && known.params == index.params;
        return if same { Ok(Vec::new()) } else { Err(Refusal::IndexDiffers) };
    }
    if old.index_on(field.id).is_some() {
        return Err(Refusal::SecondIndexOnField);
    }
    let mut new = CollectionInfo::clone(old);
    new.indexes.push(index);
    Ok(vec![Change::PutCollection(new)])
}

pub fn drop_index(catalog: &Catalog, collection: &CollectionRef, name: &str, fresh: Timestamp) -> Decision {
    let old = catalog.collection(collection)?;
    let on_field = |index: &&IndexDefinition| {
        old.schema.field_by_id(index.field).is_some_and(|field| field.name == name)
    };
    let named = old.indexes.iter().find(|index| index.name == name);
    let Some(index) = named.or_else(|| old.indexes.iter().find(on_field)) else { return Ok(Vec::new()) };
    if old.load.is_some() && index.metric.is_some() {
        return Err(Refusal::DropIndexOfLoaded { collection: old.id.to_string() });
    }
    let id = index.id;
    let mut new = CollectionInfo::clone(old);
    new.indexes.retain(|known| known.id != id);
    let mut changes = vec![Change::PutCollection(new)];
    let mut objects = Vec::new();
    for (shard, manifest) in catalog.manifests.get(&old.id).into_iter().flatten().enumerate() {
        let mut kept = ChannelManifest::clone(manifest);
        for segment in &mut kept.segments {
            let gone = segment.indexes.iter().filter(|built| built.index == id);
            objects.extend(gone.map(|built| built.object.key.clone()));
            segment.indexes.retain(|built| built.index != id);
        }
        if kept != **manifest {
            let channel = old.channels[shard].clone();
            changes.push(Change::PutManifest { collection: old.id, shard, channel, manifest: kept });
        }
    }
    changes.extend(leave(Vec::new(), objects, fresh));
    Ok(changes)
}

pub fn alter_index(
    catalog: &Catalog,
    collection: &CollectionRef,
    name: &str,
    set: &[(String, String)],
    removed: &[String],
) -> Decision {
    let mut new = CollectionInfo::clone(catalog.collection(collection)?);
    let not_found = || Refusal::IndexNotFound { what: format!("indexName={name}") };
    let index = new.indexes.iter_mut().find(|index| index.name == name).ok_or_else(not_found)?;
    index.params = merged(&index.params, set, removed);
    Ok(vec![Change::PutCollection(new)])
}

/// Whether a segment answers searches by this index without a built form: it is scanned exactly instead.
pub fn is_scanned(segment: &SegmentManifest, index: &IndexDefinition, min_rows: u64) -> bool {
    index.metric.is_none()
        || matches!(index.index_type.as_str(), "FLAT" | "BIN_FLAT")
        || segment.rows < min_rows
}

/// The largest segment that lacks an index it should have, and which one; none of those that `taken` says are being
/// worked on.
pub fn next_index_job<'a>(
    collection: &'a CollectionInfo,
    manifests: &'a [std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    taken: impl Fn(SegmentId, IndexId) -> bool,
) -> Option<(&'a SegmentManifest, &'a IndexDefinition)> {
    index_jobs(collection, manifests, min_rows, taken).max_by_key(|(segment, _)| segment.rows)
}

/// All segments that lack an index they should have, each with every such index.
pub fn index_jobs<'a>(
    collection: &'a CollectionInfo,
    manifests: &'a [std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    taken: impl Fn(SegmentId, IndexId) -> bool,
) -> impl Iterator<Item = (&'a SegmentManifest, &'a IndexDefinition)> {
    let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
    segments
        .flat_map(|segment| collection.indexes.iter().map(move |index| (segment, index)))
        .filter(move |(segment, index)| !is_scanned(segment, index, min_rows))
        .filter(|(segment, index)| !segment.indexes.iter().any(|built| built.index == index.id))
        .filter(move |(segment, index)| !taken(segment.id, index.id))
}

/// How far an index is built.
pub fn progress(
    index: &IndexDefinition,
    manifests: &[std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    failure: Option<String>,
) -> IndexProgress {
    let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
    let (mut indexed_rows, mut total_rows) = (0, 0);
    for segment in segments {
        total_rows += segment.rows;
        let built = segment.indexes.iter().any(|built| built.index == index.id);
        if built || is_scanned(segment, index, min_rows) {
            indexed_rows += segment.rows;
        }
    }
    IndexProgress { index: index.clone(), indexed_rows, total_rows, failure }
}
