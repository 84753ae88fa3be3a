//! Building an index over a sealed segment.

use super::Error;
use super::object::{create, index_key};
use super::sealed::{read_vectors, work};
use crate::base::CollectionId;
use crate::blob::Blobs;
use crate::index::{self, IndexSpec};
use crate::model::{IndexDefinition, IndexRef, Schema, SegmentManifest};

/// Builds the index of `definition` over a sealed segment on `threads` threads and stores it. `serial` is fresh. Takes
/// seconds to minutes, on a thread that may block.
///
/// Not cancel safe: a dropped call goes on building, and may leave an object that no manifest names.
///
/// # Errors
/// [`Error::NoVectors`] if the segment has none of the field, [`Error::Index`] if the definition is wrong or the build
/// fails, [`Error::Read`], [`Error::Damaged`] and [`Error::Write`] of the store.
pub async fn build_index(
    blobs: &dyn Blobs,
    collection: CollectionId,
    schema: &Schema,
    manifest: &SegmentManifest,
    definition: &IndexDefinition,
    serial: i64,
    threads: usize,
) -> Result<IndexRef, Error> {
    let (segment, field) = (manifest.id, definition.field);
    let is_vector = schema.field_by_id(field).is_some_and(|field| field.data_type.is_vector());
    let column = manifest.columns.iter().find(|column| column.fields == [field] && is_vector);
    let column = column.ok_or(Error::NoVectors { segment, field })?;
    let spec = spec_of(definition).map_err(|source| Error::Index { segment, source })?;
    let block = read_vectors(blobs, manifest, column, field).await?;
    let built =
        work(segment, move || index::build(&spec, block, threads, &|| false).map(|index| index.encode()));
    let artefact = built.await?.map_err(|source| Error::Index { segment, source })?;
    let object =
        create(blobs, index_key(collection, segment, definition.id, serial), artefact.into()).await?;
    Ok(IndexRef { index: definition.id, field, object })
}

/// What a definition asks for. Its own type and metric hold where the user's parameters name none.
fn spec_of(definition: &IndexDefinition) -> Result<IndexSpec, index::Error> {
    let mut params: Vec<(&str, &str)> =
        definition.params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let named = |params: &[(&str, &str)], wanted: &str| params.iter().any(|(key, _)| *key == wanted);
    if !named(&params, "index_type") {
        params.push(("index_type", &definition.index_type));
    }
    if let Some(metric) = definition.metric.filter(|_| !named(&params, "metric_type")) {
        params.push(("metric_type", metric.name()));
    }
    IndexSpec::parse(params)
}
