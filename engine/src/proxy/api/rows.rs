//! Calls that change rows, and flushes.

use std::collections::HashSet;
use std::sync::Arc;

use contract::pb::milvus::{
    DeleteRequest, FlushAllRequest, FlushAllResponse, FlushAllResult, FlushCollectionResult, FlushRequest,
    FlushResponse, GetFlushAllStateRequest, GetFlushAllStateResponse, GetFlushStateRequest,
    GetFlushStateResponse, InsertRequest, MutationResult, UpsertRequest,
};
use contract::pb::schema::{FieldData, LongArray};
use futures::future::try_join_all;
use futures::{StreamExt as _, stream};
use prost::Message;

use super::reads::keys_of;
use super::{Caller, DEFAULT_PARTITION, computed, models, partial, partitions, texts};
use crate::base::{PartitionId, RequestId, Timestamp};
use crate::intake::route::Share;
use crate::intake::{Error as Rejected, check_rows, route};
use crate::model::{Batch, Function, Keys};
use crate::proxy::convert::rows::{KeyColumn, Outputs, Sent, fill_keys, sent};
use crate::proxy::convert::status::success;
use crate::proxy::convert::times::{takes_long, zone_of};
use crate::proxy::convert::{filter, output, schema};
use crate::proxy::limits::{About, Asked, Demand};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, Operation, Refusal, Write};

/// Collections that a flush of all of them seals at a time.
const SEALED_AT_ONCE: usize = 16;
/// Collections that it names which were not sealed, at most.
const NAMED: usize = 10;

/// Adds rows.
pub async fn insert(proxy: &Proxy, caller: Caller, request: InsertRequest) -> Result<MutationResult, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    admit_rows(proxy, &caller, Asked::Insert, (&info, &request.partition_name), &request)?;
    check_schema_is_current(&info, request.schema_timestamp)?;
    let placement = Placement::of(&info, &request.partition_name)?;
    let given = if info.allows_given_keys() { KeyColumn::Allowed } else { KeyColumn::ByAutoId };
    let sent = converted(&info, (request.fields_data, request.num_rows), given).await?;
    let to_ask = sent.to_ask(&info.schema);
    let mut rows = sent.whole(&info.schema)?;
    let made = make_missing_keys(proxy, &info, &mut rows).await?;
    check_rows(&info.schema, &rows)?;
    let rows = texts::with_computed(&info, rows).await?;
    let rows = models::with_embedded(proxy, &info, &to_ask, rows).await?;
    let keys = keys_of_rows(&info, &rows)?;
    tracing::debug!(rows = rows.rows, made_keys = made, "insert");
    // The same rows under other keys are other rows.
    let client = if made { None } else { caller.request_id() };
    let at = write_all(proxy, client, inserts(&info, placement, &keys, rows)).await?;
    if let Some(meter) = proxy.meter() {
        meter.changed("Insert", keys.len());
    }
    let count = to_i64(keys.len());
    Ok(MutationResult { insert_cnt: count, ..changed(keys, at) })
}

/// Replaces the rows of the keys given, or adds rows where there are none.
pub async fn upsert(proxy: &Proxy, caller: Caller, request: UpsertRequest) -> Result<MutationResult, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    admit_rows(proxy, &caller, Asked::Upsert, (&info, &request.partition_name), &request)?;
    check_schema_is_current(&info, request.schema_timestamp)?;
    let placement = Placement::of(&info, &request.partition_name)?;
    let ops = partial::checked_ops(&info.schema, &request.field_ops, &request.fields_data)?;
    let (mut rows, to_ask) = whole_rows(proxy, &info, &ops, request).await?;
    let replaced = keys_of_rows(&info, &rows)?;
    check_no_duplicates(&replaced)?;
    if info.schema.primary().auto_id {
        // The key given only says which row goes; the new row gets a key of its own.
        let first = proxy.coord().allocate_ids(to_u32(rows.rows)).await?;
        fill_keys(&info.schema, &mut rows, first);
    }
    check_rows(&info.schema, &rows)?;
    let rows = texts::with_computed(&info, rows).await?;
    let rows = models::with_embedded(proxy, &info, &to_ask, rows).await?;
    let keys = keys_of_rows(&info, &rows)?;
    let writes = upserts(&info, placement, &replaced, &keys, rows);
    let at = write_all(proxy, caller.request_id(), writes).await?;
    if let Some(meter) = proxy.meter() {
        meter.changed("Upsert", keys.len());
    }
    let count = to_i64(keys.len());
    Ok(MutationResult { upsert_cnt: count, insert_cnt: count, delete_cnt: count, ..changed(keys, at) })
}

/// Lets rows in, or refuses them before they are looked at. Rows without a partition go to the default one, but for a
/// partition key.
fn admit_rows(
    proxy: &Proxy,
    caller: &Caller,
    asked: Asked,
    (info, partition): (&CollectionInfo, &String),
    request: &impl Message,
) -> Result<(), Error> {
    let default = DEFAULT_PARTITION.to_owned();
    let by_key = info.schema.partition_key().is_some();
    let partition = if partition.is_empty() && !by_key { &default } else { partition };
    let about = About::partitions(info, named(partition));
    proxy.admit(caller, asked, about, || bytes_of(request))
}

/// The partition of a request as a list; none if it is not named.
const fn named(partition: &String) -> &[String] {
    if partition.is_empty() { &[] } else { std::slice::from_ref(partition) }
}

/// What a request has on the wire. Unit: bytes.
fn bytes_of(request: &impl Message) -> u64 {
    request.encoded_len() as u64
}

/// The rows of an upsert, and the functions whose models are still to be asked about them.
async fn whole_rows<'a>(
    proxy: &Proxy,
    info: &'a Arc<CollectionInfo>,
    ops: &[partial::FieldOp],
    request: UpsertRequest,
) -> Result<(Batch, Vec<&'a Function>), Error> {
    let is_partial = request.partial_update || !request.field_ops.is_empty();
    let sent = converted(info, (request.fields_data, request.num_rows), KeyColumn::Required).await?;
    if is_partial {
        Ok((partial::merge(proxy, info, &request.partition_name, ops, sent).await?, Vec::new()))
    } else {
        let to_ask = sent.to_ask(&info.schema);
        Ok((sent.whole(&info.schema)?, to_ask))
    }
}

/// The columns of a request, taken apart where a thread may be busy if that takes long.
async fn converted(
    info: &Arc<CollectionInfo>,
    columns: (Vec<FieldData>, u32),
    keys: KeyColumn,
) -> Result<Sent, Error> {
    let zone = zone_of(&info.properties);
    let outputs = if info.allows_given_outputs() { Outputs::MayBeGiven } else { Outputs::Computed };
    if !takes_long(&info.schema) {
        return Ok(sent(&info.schema, &zone, columns, (keys, outputs))?);
    }
    let info = Arc::clone(info);
    let work = move || sent(&info.schema, &zone, columns, (keys, outputs));
    Ok(computed("convert rows", work).await??)
}

/// Removes the rows of some keys, or the rows that match and whatever shares their keys.
pub async fn delete(proxy: &Proxy, caller: Caller, request: DeleteRequest) -> Result<MutationResult, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let named = named(&request.partition_name);
    let about = About::partitions(&info, named);
    proxy.admit(&caller, Asked::Delete, about, || bytes_of(&request))?;
    let filter = filter::of_delete(
        &request.expr,
        &info.schema,
        &zone_of(&info.properties),
        request.expr_template_values,
    )?;
    let partition = partition_of_delete(&info, &request.partition_name)?;
    let keys = match filter.keys(&info.schema) {
        Some(keys) => keys,
        None => keys_of(proxy, &info, filter, partition).await?,
    };
    let count = to_i64(keys.len());
    let at = if keys.is_empty() {
        proxy.coord().allocate_timestamps(1).await?
    } else {
        write_all(proxy, caller.request_id(), deletes(&info, partition, keys)).await?
    };
    if let Some(meter) = proxy.meter() {
        meter.changed("Delete", usize::try_from(count).unwrap_or(0));
    }
    let nothing = Keys::empty(info.schema.primary().data_type);
    Ok(MutationResult { delete_cnt: count, ..changed(nothing, at) })
}

fn partition_of_delete(info: &CollectionInfo, name: &str) -> Result<Option<PartitionId>, Error> {
    if name.is_empty() {
        return Ok(None);
    }
    if info.schema.partition_key().is_some() {
        return Err(Error::PartitionNamesWithKey);
    }
    let partition = partitions::find(info, name).map_err(Error::during("Failed to get partition id"))?;
    Ok(Some(partition.id))
}

/// A client that converted its rows by an older schema must read the new one first.
fn check_schema_is_current(info: &CollectionInfo, known: u64) -> Result<(), Error> {
    if known == 0 || known == info.updated.0 {
        Ok(())
    } else {
        Err(Error::SchemaMismatch { collection: info.name.clone() })
    }
}

/// Which partition rows go to.
#[derive(Clone, Copy, Debug)]
enum Placement {
    /// All to one.
    One(PartitionId),
    /// By the partition key.
    ByKey,
}

impl Placement {
    fn of(info: &CollectionInfo, name: &str) -> Result<Self, Error> {
        if info.schema.partition_key().is_some() {
            return if name.is_empty() { Ok(Self::ByKey) } else { Err(Error::PartitionNamesWithKey) };
        }
        let name = if name.is_empty() {
            DEFAULT_PARTITION
        } else {
            schema::check_partition_name(name)?;
            name
        };
        Ok(Self::One(partitions::find(info, name)?.id))
    }

    /// The partition of a row.
    fn partition(self, info: &CollectionInfo, rows: &Batch, row: usize) -> Option<PartitionId> {
        match self {
            Self::One(partition) => Some(partition),
            Self::ByKey => {
                let column = rows.column(info.schema.partition_key()?.id)?;
                let number = route::partition_of(&column.data, row, info.partitions.len());
                info.partitions.get(number).map(|partition| partition.id)
            }
        }
    }
}

/// Gives rows keys where the server makes them and the client gave none. Says whether it did.
async fn make_missing_keys(proxy: &Proxy, info: &CollectionInfo, rows: &mut Batch) -> Result<bool, Error> {
    let primary = info.schema.primary();
    let is_missing = rows.rows > 0 && rows.column(primary.id).is_some_and(|column| column.data.is_empty());
    if primary.auto_id && is_missing {
        let first = proxy.coord().allocate_ids(to_u32(rows.rows)).await?;
        fill_keys(&info.schema, rows, first);
        return Ok(true);
    }
    Ok(false)
}

fn keys_of_rows(info: &CollectionInfo, rows: &Batch) -> Result<Keys, Error> {
    let column = rows.column(info.schema.primary().id);
    let keys = column.and_then(|column| Keys::from_column(&column.data));
    Ok(keys.ok_or_else(|| Rejected::UpsertWithoutKey { field: info.schema.primary().name.clone() })?)
}

pub(super) fn check_no_duplicates(keys: &Keys) -> Result<(), Error> {
    let is_unique = match keys {
        Keys::Int(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.iter().all(|key| seen.insert(*key))
        }
        Keys::Text(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.iter().all(|key| seen.insert(key))
        }
    };
    if is_unique { Ok(()) } else { Err(Error::DuplicateKeys) }
}

/// Splits rows by channel and partition.
fn shares(info: &CollectionInfo, placement: Placement, keys: &Keys, rows: &Batch) -> Vec<Share> {
    route::shares(keys, info.channels.len(), |row| placement.partition(info, rows, row))
}

/// The writes of an insert. All rows of one place move there without a copy.
fn inserts(info: &CollectionInfo, placement: Placement, keys: &Keys, rows: Batch) -> Vec<Write> {
    if let (Placement::One(partition), 1) = (placement, info.channels.len()) {
        return vec![write_to(info, 0, Operation::Insert { partition, rows: Arc::new(rows) })];
    }
    let one = |share: Share| {
        let rows = Arc::new(rows.take(&share.rows));
        write_to(info, share.shard, Operation::Insert { partition: share.partition, rows })
    };
    shares(info, placement, keys, &rows).into_iter().map(one).collect()
}

/// The writes of an upsert: in every channel the keys to replace that live there, with the rows to add that belong there.
/// The two differ only where the server makes new keys.
fn upserts(
    info: &CollectionInfo,
    placement: Placement,
    replaced: &Keys,
    keys: &Keys,
    rows: Batch,
) -> Vec<Write> {
    if let (Placement::One(partition), 1) = (placement, info.channels.len()) {
        let replaced = Arc::new(replaced.clone());
        return vec![write_to(info, 0, Operation::Upsert { partition, replaced, rows: Arc::new(rows) })];
    }
    let mut olds = route::by_shard(replaced, info.channels.len());
    let mut writes = Vec::new();
    for share in shares(info, placement, keys, &rows) {
        let same_keys = !info.schema.primary().auto_id;
        let old = if same_keys { share.rows.clone() } else { std::mem::take(&mut olds[share.shard]) };
        let operation = Operation::Upsert {
            partition: share.partition,
            replaced: Arc::new(replaced.take(&old)),
            rows: Arc::new(rows.take(&share.rows)),
        };
        if same_keys {
            olds[share.shard].clear();
        }
        writes.push(write_to(info, share.shard, operation));
    }
    for (shard, old) in olds.into_iter().enumerate().filter(|(_, old)| !old.is_empty()) {
        let keys = Arc::new(replaced.take(&old));
        writes.push(write_to(info, shard, Operation::Delete { partition: None, keys }));
    }
    writes
}

fn deletes(info: &CollectionInfo, partition: Option<PartitionId>, keys: Keys) -> Vec<Write> {
    if info.channels.len() == 1 {
        return vec![write_to(info, 0, Operation::Delete { partition, keys: Arc::new(keys) })];
    }
    let by_shard = route::by_shard(&keys, info.channels.len()).into_iter().enumerate();
    by_shard
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(shard, rows)| {
            write_to(info, shard, Operation::Delete { partition, keys: Arc::new(keys.take(&rows)) })
        })
        .collect()
}

fn write_to(info: &CollectionInfo, shard: usize, operation: Operation) -> Write {
    Write::new(info.id, info.channels[shard].clone(), operation)
}

/// Writes to all channels at once; the time is that of the last write.
async fn write_all(proxy: &Proxy, client: Option<RequestId>, writes: Vec<Write>) -> Result<Timestamp, Error> {
    let one = |write| proxy.writer().write(Write { client, ..write });
    let written = try_join_all(writes.into_iter().map(one)).await?;
    Ok(written.into_iter().map(|written| written.at).max().unwrap_or(Timestamp::ZERO))
}

fn changed(keys: Keys, at: Timestamp) -> MutationResult {
    MutationResult {
        status: Some(success()),
        succ_index: (0..to_u32(keys.len())).collect(),
        i_ds: Some(output::ids(keys)),
        acknowledged: true,
        timestamp: at.0,
        ..Default::default()
    }
}

/// Seals what was written to some collections and answers once it is sealed.
pub async fn flush(proxy: &Proxy, caller: Caller, request: FlushRequest) -> Result<FlushResponse, Error> {
    let mut answer = FlushResponse {
        status: Some(success()),
        db_name: caller.database(&request.db_name),
        ..Default::default()
    };
    let mut named = Vec::with_capacity(request.collection_names.len());
    for name in request.collection_names {
        let info = proxy.info(&caller, &request.db_name, &name).await?;
        named.push((name, info));
    }
    admit_flushes(proxy, &caller, named.iter().map(|(_, info)| &**info))?;
    for (name, info) in named {
        let sealed = seal(proxy, &info).await?;
        answer.coll_seal_times.insert(name.clone(), sealed.seconds);
        answer.coll_flush_ts.insert(name.clone(), sealed.at.0);
        answer.coll_seg_i_ds.insert(name.clone(), LongArray { data: sealed.segments.clone() });
        answer.flush_coll_seg_i_ds.insert(name, LongArray { data: sealed.segments });
    }
    Ok(answer)
}

/// Lets flushes of these collections through, or none of them: what was flushed of a call that is refused would be flushed
/// again each time that it is made anew.
fn admit_flushes<'a>(
    proxy: &Proxy,
    caller: &Caller,
    collections: impl Iterator<Item = &'a CollectionInfo>,
) -> Result<(), Error> {
    let flush =
        |info: &'a CollectionInfo| Demand { asked: Asked::Flush, about: About::collection(info), cost: 1 };
    proxy.admit_all(caller, &collections.map(flush).collect::<Vec<_>>())
}

/// What a flush made of a collection.
pub struct Sealed {
    /// Everything written before is sealed.
    at: Timestamp,
    /// The same in seconds.
    seconds: i64,
    /// Ids of all its segments.
    segments: Vec<i64>,
}

/// Seals all rows that are there.
pub async fn seal(proxy: &Proxy, info: &CollectionInfo) -> Result<Sealed, Error> {
    let at = proxy.coord().allocate_timestamps(1).await?;
    try_join_all(info.channels.iter().map(|channel| proxy.writer().flush(channel))).await?;
    let channels = proxy.coord().manifests(info.id).await?;
    let segments =
        channels.iter().flat_map(|channel| &channel.segments).map(|segment| segment.id.0).collect();
    Ok(Sealed { at, seconds: i64::try_from(proxy.clock().unix_ms() / 1000).unwrap_or(0), segments })
}

/// Seals all rows of some collections, also those after one that cannot be sealed. Returns what that made of each, in their order.
///
/// # Errors
/// If some could not be sealed, with their names.
async fn seal_each(proxy: &Proxy, collections: Vec<Arc<CollectionInfo>>) -> Result<Vec<Sealed>, Error> {
    let all = collections.len();
    let one = |(at, info): (usize, Arc<CollectionInfo>)| async move {
        let sealed = seal(proxy, &info).await;
        (at, info, sealed)
    };
    // Several at a time: one that nobody can seal now is waited for as long as a write may take.
    let ended = stream::iter(collections.into_iter().enumerate()).map(one).buffer_unordered(SEALED_AT_ONCE);
    let mut ended: Vec<_> = ended.collect().await;
    ended.sort_unstable_by_key(|(at, ..)| *at);
    let (mut done, mut refused, mut names) = (Vec::with_capacity(all), 0, Vec::new());
    let mut cause = None;
    for (_, info, sealed) in ended {
        match sealed {
            Ok(sealed) => done.push(sealed),
            Err(error) => {
                refused += 1;
                if names.len() < NAMED {
                    names.push(format!("{}.{}", info.database_name, info.name));
                }
                cause.get_or_insert(error);
            }
        }
    }
    match cause {
        None => Ok(done),
        Some(cause) if all == 1 => Err(cause),
        Some(cause) => {
            if refused > names.len() {
                names.push("and others".to_owned());
            }
            Err(Error::NotFlushed { refused, all, named: names.join(", "), cause: Box::new(cause) })
        }
    }
}

/// Whether a flush is done: it was when it answered.
pub async fn flush_state(
    _: &Proxy,
    _: Caller,
    _: GetFlushStateRequest,
) -> Result<GetFlushStateResponse, Error> {
    Ok(GetFlushStateResponse { status: Some(success()), flushed: true })
}

/// Seals what was written to every collection: of all databases, or of those named. One that cannot be sealed keeps no other from
/// it; the call fails then, with its name.
#[expect(deprecated, reason = "clients still send and read what newer ones leave out")]
pub async fn flush_all(
    proxy: &Proxy,
    caller: Caller,
    request: FlushAllRequest,
) -> Result<FlushAllResponse, Error> {
    let databases: Vec<(String, Vec<String>)> = if !request.flush_targets.is_empty() {
        request
            .flush_targets
            .into_iter()
            .map(|target| (caller.database(&target.db_name), target.collection_names))
            .collect()
    } else if !request.db_name.is_empty() {
        vec![(request.db_name, Vec::new())]
    } else {
        proxy.coord().databases().await?.into_iter().map(|database| (database.name, Vec::new())).collect()
    };
    let mut asked = Vec::new();
    for (db_name, names) in databases {
        let mut collections = proxy.coord().collections(&db_name).await?;
        if let Some(name) = names.iter().find(|name| !collections.iter().any(|info| info.name == **name)) {
            return Err(Refusal::CollectionNotFound { database: db_name, collection: name.clone() }.into());
        }
        collections.retain(|info| names.is_empty() || names.contains(&info.name));
        asked.push((db_name, collections));
    }
    admit_flushes(proxy, &caller, asked.iter().flat_map(|(_, collections)| collections).map(|info| &**info))?;
    let all = asked.iter().flat_map(|(_, collections)| collections.iter().cloned()).collect();
    let mut ended = seal_each(proxy, all).await?.into_iter();
    let mut flush_results = Vec::new();
    for (db_name, collections) in asked {
        let mut collection_results = Vec::new();
        for (info, sealed) in collections.iter().zip(&mut ended) {
            collection_results.push(FlushCollectionResult {
                collection_name: info.name.clone(),
                segment_ids: Some(LongArray { data: sealed.segments.clone() }),
                flush_segment_ids: Some(LongArray { data: sealed.segments }),
                seal_time: sealed.seconds,
                flush_ts: sealed.at.0,
                ..Default::default()
            });
        }
        flush_results.push(FlushAllResult { db_name, collection_results });
    }
    let flush_all_ts = proxy.coord().allocate_timestamps(1).await?.0;
    Ok(FlushAllResponse { status: Some(success()), flush_all_ts, flush_results, ..Default::default() })
}

/// Whether a flush of everything is done: it was when it answered.
pub async fn flush_all_state(
    _: &Proxy,
    _: Caller,
    _: GetFlushAllStateRequest,
) -> Result<GetFlushAllStateResponse, Error> {
    Ok(GetFlushAllStateResponse { status: Some(success()), flushed: true, ..Default::default() })
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
