//! Building an index over a sealed segment.

use tokio_util::sync::CancellationToken;

use super::Error;
use super::object::{create, index_key};
use super::sealed::{read_vectors, work};
use crate::base::CollectionId;
use crate::blob::Blobs;
use crate::index::{self, Index, IndexSpec};
use crate::model::{DataType, IndexDefinition, IndexRef, Schema, SegmentManifest};

/// Builds the index of `definition` over a sealed segment on `threads` threads and stores it. `serial` is fresh. Takes
/// seconds to minutes, on a thread that may block.
///
/// Not cancel safe: a dropped call may leave an object that no manifest names. What it builds is given up within moments.
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
    let data_type = schema.field_by_id(field).map(|field| field.data_type).filter(|found| found.is_vector());
    let column = manifest.columns.iter().find(|column| column.fields == [field]);
    let (Some(data_type), Some(column)) = (data_type, column) else {
        return Err(Error::NoVectors { segment, field });
    };
    let spec = spec_of(data_type, definition).map_err(|source| Error::Index { segment, source })?;
    let block = read_vectors(blobs, manifest, column, field, None).await?;
    // Nobody is to build for a caller that is gone, least of all in memory that others count on.
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let built = work(segment, move || {
        Index::build(&spec, &block, threads, &|| stop.is_cancelled()).map(|index| index.encode())
    });
    let artefact = built.await?.map_err(|source| Error::Index { segment, source })?;
    let object =
        create(blobs, index_key(collection, segment, definition.id, serial), artefact.into()).await?;
    Ok(IndexRef { index: definition.id, field, object })
}

/// What a definition asks for. Its own type and metric hold where the user's parameters name none.
pub(super) fn spec_of(data_type: DataType, definition: &IndexDefinition) -> Result<IndexSpec, index::Error> {
    let mut params: Vec<(&str, &str)> =
        definition.params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let named = |params: &[(&str, &str)], wanted: &str| params.iter().any(|(key, _)| *key == wanted);
    if !named(&params, "index_type") {
        params.push(("index_type", &definition.index_type));
    }
    if let Some(metric) = definition.metric.filter(|_| !named(&params, "metric_type")) {
        params.push(("metric_type", metric.name()));
    }
    IndexSpec::parse_for(data_type, params)
}
