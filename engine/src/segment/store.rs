//! Writing and removing the objects of sealed segments.

use bytes::Bytes;

use super::object::{create, manifest_key, scalars_key, stats_key, vector_key};
use super::stats::Stats;
use super::{Error, scalars, vectors};
use crate::base::{CollectionId, FieldId, PartitionId, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::model::{
    Batch, Column, ColumnData, ColumnRef, DataType, Instants, Schema, SegmentManifest, Value, Zone,
};

/// First line of a manifest object, before the checksum of the rest.
const MANIFEST_FORMAT: &str = "redkite-segment/1";

/// Longest text that the manifest object has as the least or the greatest of a column. Unit: bytes.
const LONGEST_TEXT: usize = 256;

/// What the manifest object says of a scalar column.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Statistics {
    field: FieldId,
    /// Rows without a value.
    nulls: u64,
    /// Least and greatest value, `None` without any, for JSON and arrays, and if one is a long text.
    min: Option<Value>,
    max: Option<Value>,
}

#[derive(serde::Serialize)]
struct StoredManifest<'a> {
    segment: &'a SegmentManifest,
    statistics: Vec<Statistics>,
}

/// Stores whole rows as a sealed segment: one object for the scalar columns with the row times, one per vector field, and
/// the manifest. `times` has one entry a row. `id` is fresh: nothing was ever stored under it.
///
/// Encodes on the calling thread, about a second per gigabyte. Not cancel safe: objects may remain, which
/// [`remove_segment`] or a sweep of names that no manifest has takes away.
///
/// # Errors
/// [`Error::Write`] if the store fails or a name is taken, [`Error::Ragged`] if columns or times have another length.
pub async fn write_segment(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    partition: PartitionId,
    schema: &Schema,
    rows: &Batch,
    times: &[Timestamp],
) -> Result<SegmentManifest, Error> {
    if times.len() != rows.rows || rows.columns.iter().any(|column| column.data.len() != rows.rows) {
        return Err(Error::Ragged { what: "columns and times differ in length" });
    }
    let mut columns = vec![write_scalars(blobs, collection, id, schema, rows, times).await?];
    for column in &rows.columns {
        if column.data.data_type().is_vector() {
            columns.push(write_vectors(blobs, collection, id, column.field, &column.data).await?);
        }
    }
    let columns = Columns { partition, columns, clean_through: Timestamp::ZERO, clustered_by: None };
    finish(blobs, collection, id, schema, columns, rows, times).await
}

/// The stored columns of a segment, before its manifest is.
pub(super) struct Columns {
    pub(super) partition: PartitionId,
    pub(super) columns: Vec<ColumnRef>,
    pub(super) clean_through: Timestamp,
    pub(super) clustered_by: Option<FieldId>,
}

/// Stores the scalar columns of `rows` with the times, and which vectors have a value.
pub(super) async fn write_scalars(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    schema: &Schema,
    rows: &Batch,
    times: &[Timestamp],
) -> Result<ColumnRef, Error> {
    let key = scalars_key(collection, id);
    let body = scalars::encode(rows, times).map_err(|source| Error::Parquet {
        key: key.clone(),
        reading: false,
        source,
    })?;
    let is_scalar = |field: &&crate::model::Field| !field.data_type.is_vector();
    let fields = schema.fields.iter().filter(is_scalar).map(|field| field.id).collect();
    Ok(ColumnRef { fields, object: create(blobs, key, body).await? })
}

/// Stores the vectors of a field.
pub(super) async fn write_vectors(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    field: FieldId,
    vectors: &ColumnData,
) -> Result<ColumnRef, Error> {
    let body = vectors::encode(field, vectors);
    let object = create(blobs, vector_key(collection, id, field), body).await?;
    Ok(ColumnRef { fields: vec![field], object })
}

/// Stores the statistics and the manifest object of a segment whose columns are stored; of `rows` only the scalar columns
/// matter.
pub(super) async fn finish(
    blobs: &dyn Blobs,
    collection: CollectionId,
    id: SegmentId,
    schema: &Schema,
    columns: Columns,
    rows: &Batch,
    times: &[Timestamp],
) -> Result<SegmentManifest, Error> {
    let stats = match Stats::of(rows, schema.primary().id) {
        Some(stats) => Some(create(blobs, stats_key(collection, id), stats.encode()).await?),
        None => None,
    };
    let manifest = SegmentManifest {
        id,
        partition: columns.partition,
        rows: rows.rows as u64,
        oldest: times.iter().copied().min().unwrap_or_default(),
        newest: times.iter().copied().max().unwrap_or_default(),
        clean_through: columns.clean_through,
        clustered_by: columns.clustered_by,
        instants: instants(schema, rows),
        columns: columns.columns,
        stats,
        indexes: Vec::new(),
    };
    create(blobs, manifest_key(collection, id), encode_manifest(&manifest, rows)).await?;
    Ok(manifest)
}

/// What is known of the columns of instants.
fn instants(schema: &Schema, rows: &Batch) -> Vec<Instants> {
    let fields = schema.fields.iter().filter(|field| field.data_type == DataType::Timestamptz);
    let of_column = |column: &Column| {
        let Zone { field, nulls, span, .. } = Zone::of(column);
        let span = match span {
            Some((Value::Int(least), Value::Int(greatest))) => Some((least, greatest)),
            _ => None,
        };
        Instants { field, nulls, span }
    };
    fields.filter_map(|field| rows.column(field.id).map(of_column)).collect()
}

/// Removes every object of a segment, indexes included; what is gone already is fine.
///
/// # Errors
/// [`Error::Remove`] if the store fails; calling again is safe.
pub async fn remove_segment(blobs: &dyn Blobs, manifest: &SegmentManifest) -> Result<(), Error> {
    // All objects of a segment share a prefix, also those that no manifest names, left by builds that broke off.
    let prefixes = manifest.columns.iter().filter_map(|column| {
        let (prefix, _) = column.object.key.rsplit_once('/')?;
        prefix.ends_with(&format!("/{}", manifest.id)).then(|| format!("{prefix}/"))
    });
    if let Some(prefix) = prefixes.min() {
        let found =
            blobs.list(&prefix).await.map_err(|source| Error::Remove { key: prefix.clone(), source })?;
        for entry in found {
            blobs.delete(&entry.key).await.map_err(|source| Error::Remove { key: entry.key, source })?;
        }
    }
    Ok(())
}

/// The manifest object: a line with the format, a line with the CRC-32 of the rest as eight hexadecimal digits, then JSON.
fn encode_manifest(manifest: &SegmentManifest, rows: &Batch) -> Bytes {
    let statistics =
        rows.columns.iter().filter(|column| !column.data.data_type().is_vector()).map(statistics_of);
    let stored = StoredManifest { segment: manifest, statistics: statistics.collect() };
    // Plain records of numbers and texts always become JSON.
    let body = serde_json::to_string_pretty(&stored).unwrap_or_default();
    format!("{MANIFEST_FORMAT}\n{:08x}\n{body}\n", crc32fast::hash(format!("{body}\n").as_bytes())).into()
}

fn statistics_of(column: &Column) -> Statistics {
    let rows = || (0..column.data.len()).filter(|&row| column.is_valid(row));
    let nulls = (column.data.len() - rows().count()) as u64;
    /// First and last of the values in their order.
    fn span<T: Copy>(values: impl Iterator<Item = T>, is_less: impl Fn(T, T) -> bool) -> Option<(T, T)> {
        values.fold(None, |span, value| match span {
            None => Some((value, value)),
            Some((min, max)) => Some((
                if is_less(value, min) { value } else { min },
                if is_less(max, value) { value } else { max },
            )),
        })
    }
    let pair =
        match &column.data {
            ColumnData::Bool(all) => {
                span(rows().map(|row| all[row]), |a, b| !a & b).map(|(a, b)| (Value::Bool(a), Value::Bool(b)))
            }
            ColumnData::Int8(all) => ints(span(rows().map(|row| i64::from(all[row])), |a, b| a < b)),
            ColumnData::Int16(all) => ints(span(rows().map(|row| i64::from(all[row])), |a, b| a < b)),
            ColumnData::Int32(all) => ints(span(rows().map(|row| i64::from(all[row])), |a, b| a < b)),
            ColumnData::Int64(all) => ints(span(rows().map(|row| all[row]), |a, b| a < b)),
            ColumnData::Float(all) => span(rows().map(|row| all[row]), |a, b| a < b)
                .map(|(a, b)| (Value::Float(a), Value::Float(b))),
            ColumnData::Double(all) => span(rows().map(|row| all[row]), |a, b| a < b)
                .map(|(a, b)| (Value::Double(a), Value::Double(b))),
            // Long texts would make manifests as large as the data.
            ColumnData::VarChar(all) => span(rows().map(|row| all.get(row)), |a, b| a < b)
                .filter(|(a, b)| a.len() <= LONGEST_TEXT && b.len() <= LONGEST_TEXT)
                .map(|(a, b)| (Value::Text(a.to_owned()), Value::Text(b.to_owned()))),
            ColumnData::Json(_)
            | ColumnData::Geometry(_)
            | ColumnData::Array(_)
            | ColumnData::FloatVector { .. }
            | ColumnData::BinaryVector { .. }
            | ColumnData::SparseVector(_) => None,
        };
    let (min, max) = pair.unzip();
    Statistics { field: column.field, nulls, min, max }
}

fn ints(span: Option<(i64, i64)>) -> Option<(Value, Value)> {
    span.map(|(min, max)| (Value::Int(min), Value::Int(max)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataType, ObjectRef};
    use crate::segment::fixture::{Row, batch, schema};

    #[test]
    fn the_manifest_object_is_this() {
        let rows = batch(&schema(DataType::Int64), &[Row::of(5, 3), Row::of(-2, 4)]);
        let object = ObjectRef { key: "k".to_owned(), size_bytes: 8, crc32: 9 };
        let manifest = SegmentManifest {
            id: SegmentId(1),
            partition: PartitionId(2),
            rows: 2,
            oldest: Timestamp(3),
            newest: Timestamp(4),
            clean_through: Timestamp::ZERO,
            clustered_by: None,
            instants: Vec::new(),
            stats: None,
            columns: vec![ColumnRef { fields: vec![FieldId(100)], object }],
            indexes: Vec::new(),
        };

        let stored = encode_manifest(&manifest, &rows);

        let text = std::str::from_utf8(&stored).unwrap();
        let (head, body) = text.split_at(27);
        assert_eq!(head, format!("redkite-segment/1\n{:08x}\n", crc32fast::hash(body.as_bytes())));
        let compact: String = body.split_whitespace().collect();
        assert_eq!(
            compact,
            concat!(
                r#"{"segment":{"id":1,"partition":2,"rows":2,"oldest":3,"newest":4,"#,
                r#""columns":[{"fields":[100],"object":{"key":"k","size_bytes":8,"crc32":9}}],"indexes":[]},"#,
                r#""statistics":[{"field":100,"nulls":0,"min":{"Int":-2},"max":{"Int":5}},"#,
                r#"{"field":101,"nulls":0,"min":{"Int":3},"max":{"Int":4}},"#,
                r#"{"field":102,"nulls":1,"min":{"Text":"note4"},"max":{"Text":"note4"}}]}"#
            )
        );
    }
}
