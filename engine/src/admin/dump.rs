//! What a log or a segment holds, line by line.

use std::pin::Pin;
use std::sync::Arc;

use contract::admin as pb;
use futures::{Stream, StreamExt as _, stream};
use serde_json::{Value as Json, json};
use tonic::Status;

use super::pick::{collections, sealed};
use super::status::{failed, status};
use super::{AdminParts, rows};
use crate::base::{ChannelName, Kind, Position, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::log::LogReader;
use crate::log::record::{self, Message};
use crate::model::{ChannelManifest, Schema, SegmentManifest};
use crate::rpc::{CollectionInfo, CollectionRef, Coord, Error, Refusal};
use crate::segment::{Part, Sealed, read_deletes};

/// Lines, until the end or the first error.
pub(super) type Lines = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// The records of a channel's log.
///
/// # Errors
/// If there is no such channel, or nothing is left of its log at the position.
pub(super) async fn log(parts: &AdminParts, request: pb::DumpLogRequest) -> Result<Lines, Status> {
    let pb::DumpLogRequest { channel, from, to } = request;
    let channel = ChannelName(channel.into());
    let (info, manifest) =
        of_channel(parts.coord.as_ref(), &channel).await.map_err(|error| status(&error))?;
    let from = from.map_or(manifest.checkpoint, Position);
    let reader = parts.logs.read(&channel, from).await.map_err(|error| failed("read the log", &error))?;
    let walk = Walk { reader, schema: Arc::clone(&info.schema), to: to.map(Position), ended: false };
    Ok(Box::pin(stream::unfold(walk, |mut walk| async move {
        let line = walk.next().await?;
        walk.ended = line.is_err();
        Some((line, walk))
    })))
}

/// The collection that a channel is of, and what is sealed of the channel.
async fn of_channel(
    coord: &dyn Coord,
    channel: &ChannelName,
) -> Result<(Arc<CollectionInfo>, Arc<ChannelManifest>), Error> {
    let unknown = || Refusal::BadParameter { text: format!("there is no channel {channel}") };
    let id = channel.collection().ok_or_else(unknown)?;
    let info = coord.collection(CollectionRef::Id(id)).await?;
    let at = info.channels.iter().position(|known| known == channel).ok_or_else(unknown)?;
    let damaged = |reason| Error::Failed { call: "manifests", kind: Kind::Corrupt, reason };
    let manifest = sealed(coord, &info).await?.map_err(damaged)?.get(at).cloned().unwrap_or_default();
    Ok((info, manifest))
}

/// A walk along a log.
struct Walk {
    reader: Box<dyn LogReader>,
    schema: Arc<Schema>,
    to: Option<Position>,
    ended: bool,
}

impl Walk {
    /// The next record; `None` where the walk or the log ends.
    async fn next(&mut self) -> Option<Result<String, Status>> {
        if self.ended || self.to.is_some_and(|to| self.reader.position() >= to) {
            return None;
        }
        match self.reader.try_next().await {
            Ok(None) => None,
            Ok(Some((position, bytes))) => Some(match record::decode(&bytes, &self.schema) {
                Ok(message) => Ok(message_line(position, &message, &self.schema).to_string()),
                Err(error) => Err(failed("read a record", &error)),
            }),
            Err(error) => Some(Err(failed("read the log", &error))),
        }
    }
}

fn message_line(position: Position, message: &Message, schema: &Schema) -> Json {
    let whole = |batch: &crate::model::Batch| {
        (0..batch.rows).map(|row| rows::row(schema, batch, row)).collect::<Json>()
    };
    match message {
        Message::Insert { at, partition, rows } => json!({
            "position": position.0, "timestamp": at.0, "kind": "insert", "partition": partition.0,
            "rows": whole(rows),
        }),
        Message::Delete { at, partition, keys } => json!({
            "position": position.0, "timestamp": at.0, "kind": "delete",
            "partition": partition.map(|partition| partition.0), "keys": rows::keys(keys),
        }),
        Message::Upsert { at, partition, replaced, rows } => json!({
            "position": position.0, "timestamp": at.0, "kind": "upsert", "partition": partition.0,
            "replaced": rows::keys(replaced), "rows": whole(rows),
        }),
    }
}

/// The rows of a sealed segment.
///
/// # Errors
/// If there is no such segment, or an object of it cannot be read.
pub(super) async fn segment(parts: &AdminParts, request: pb::DumpSegmentRequest) -> Result<Lines, Status> {
    let pb::DumpSegmentRequest { segment, only_visible, limit } = request;
    let found = find(parts.coord.as_ref(), SegmentId(segment)).await.map_err(|error| status(&error))?;
    let (info, channel, manifest) = found;
    let loaded = load(parts.blobs.as_ref(), &info, &channel, &manifest).await?;
    let part = Arc::clone(loaded.part());
    let visible = part.visible(None, Timestamp::ZERO, Timestamp::MAX);
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let chosen = (0..part.rows()).filter(move |row| !only_visible || visible.contains(*row)).take(limit);
    let visible = part.visible(None, Timestamp::ZERO, Timestamp::MAX);
    let schema = Arc::clone(&info.schema);
    let lines = chosen.map(move |row| Ok(row_line(&part, &schema, row, visible.contains(row)).to_string()));
    Ok(stream::iter(lines).boxed())
}

/// A sealed segment, with its collection and all that is sealed of its channel.
async fn find(
    coord: &dyn Coord,
    segment: SegmentId,
) -> Result<(Arc<CollectionInfo>, Arc<ChannelManifest>, SegmentManifest), Error> {
    for info in collections(coord, None).await? {
        for channel in sealed(coord, &info).await?.unwrap_or_default() {
            if let Some(found) = channel.segments.iter().find(|known| known.id == segment) {
                let found = found.clone();
                return Ok((info, channel, found));
            }
        }
    }
    Err(Refusal::BadParameter { text: format!("there is no sealed segment {segment}") }.into())
}

/// The segment with the deletes that hide some of its rows.
async fn load(
    blobs: &dyn Blobs,
    info: &CollectionInfo,
    channel: &ChannelManifest,
    manifest: &SegmentManifest,
) -> Result<Sealed, Status> {
    let broken = |error| failed("read a segment", &error);
    let sealed = Sealed::load(blobs, Arc::clone(&info.schema), manifest, &[]).await.map_err(broken)?;
    for file in channel.deletes.iter().filter(|file| manifest.needs(file)) {
        sealed.delete(&read_deletes(blobs, file).await.map_err(broken)?);
    }
    Ok(sealed)
}

fn row_line(part: &Part, schema: &Schema, row: usize, visible: bool) -> Json {
    let field = |field: &crate::model::Field| {
        let vectors = part.vectors(field.id);
        let value = match (part.column(field.id), vectors) {
            (Some(column), _) => rows::value(column.value(row)),
            (None, Some(vectors)) if vectors.valid.as_ref().is_none_or(|valid| valid.contains(row)) => {
                rows::value(vectors.block.value(row))
            }
            (None, _) => Json::Null,
        };
        (field.name.clone(), value)
    };
    let fields: serde_json::Map<_, _> = schema.fields.iter().map(field).collect();
    json!({ "timestamp": part.time(row).0, "visible": visible, "row": fields })
}
