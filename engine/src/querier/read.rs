//! Answers searches and queries of shares.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::QueryNode;
use super::fresh::{Reached, reach};
use super::held::Held;
use super::load::Spans;
use super::shard::{Missing, Shard, Taken};
use crate::base::{ChannelName, Clock, CollectionId, Kind, Kinded, PartitionId, TaskError, Timestamp, heavy};
use crate::exec::{self, Cost};
use crate::expr::Filter;
use crate::model::{DataType, Schema};
use crate::plan::{
    self, Aggregates, Groups, QueryKind, QueryPlan, QueryRows, SearchHits, SearchPlan, merge_query,
    merge_search,
};
use crate::rpc::{
    self, ChannelShare, CollectionInfo, Extent, HoldChannel, Querier, ReadAfter, Refusal, Share, TimeSpan,
};

/// Reads of more rows than this leave the thread that answers requests.
const INLINE_ROWS: u64 = 200_000;
/// So many rows take as long to look at as one takes to be put into its group, and so many more as each value of it takes.
const AGGREGATED: u64 = 20;
/// So many bytes of a text take as long to copy or compare as a value without texts takes. Unit: bytes.
const TEXT_BYTES: u64 = 256;

/// The partitions to read, given those asked for, those loaded, those that the share is of, and what the parts have: rows of a
/// dropped partition that were not sealed before it was are in the log until they are.
fn readable_partitions(
    info: &CollectionInfo,
    wanted: Option<&[PartitionId]>,
    extent: &Extent,
    parts: &[Taken],
) -> Result<Option<Vec<PartitionId>>, rpc::Error> {
    let loaded = info.loaded_partitions();
    match (wanted, loaded, extent) {
        // What is being loaded is not read in part.
        (None, _, Extent::These(list)) => {
            // Mostly they are the same, and there may be a thousand.
            if loaded == Some(list) {
                return Ok(Some(list.clone()));
            }
            let is_there = |id: &&PartitionId| {
                !info.has_dropped(**id) && loaded.is_none_or(|loaded| loaded.contains(id))
            };
            Ok(Some(list.iter().filter(is_there).copied().collect()))
        }
        (None, None, _) => {
            let growing: BTreeSet<PartitionId> =
                parts.iter().flat_map(|part| part.on.growing_partitions()).collect();
            if !growing.iter().any(|id| info.has_dropped(*id)) {
                return Ok(None);
            }
            let known = info.partitions.iter().map(|partition| partition.id);
            Ok(Some(known.chain(growing.into_iter().filter(|id| !info.has_dropped(*id))).collect()))
        }
        (None, Some(loaded), _) => Ok(Some(loaded.to_vec())),
        (Some(wanted), ..) => {
            let is_missing = |id: &&PartitionId| loaded.is_some_and(|loaded| !loaded.contains(id));
            if let Some(missing) = wanted.iter().find(is_missing) {
                return Err(Refusal::PartitionNotLoaded { partition: format!("[{missing}]") }.into());
            }
            if !extent.covers(Some(wanted)) {
                return Err(stale("all partitions that are read".to_owned()));
            }
            Ok(Some(wanted.to_vec()))
        }
    }
}

/// The rows that a read is to be taken for: a filter that analyses texts, or looks at elements, is never short.
fn weight(rows: u64, filter: Option<&Filter>) -> u64 {
    if filter.is_some_and(Filter::is_long_work) { u64::MAX } else { rows }
}

/// The rows that a search of a field of type `searched` is to be taken for, if it compares `rows` of them.
fn search_weight(searched: Option<DataType>, rows: u64, filter: Option<&Filter>) -> u64 {
    match searched {
        // A row has any number of vectors.
        Some(DataType::ArrayOfVector(_)) => u64::MAX,
        _ => weight(rows, filter),
    }
}

/// So many rows take as long to look at as one takes to be aggregated, at the longest.
fn row_weight(aggregates: &Aggregates, schema: &Schema) -> u64 {
    let of_field = |id| match schema.field_by_id(id) {
        Some(field) if field.data_type == DataType::VarChar => 1 + field.max_length() as u64 / TEXT_BYTES,
        _ => 1,
    };
    AGGREGATED * (1 + aggregates.fields().map(of_field).sum::<u64>())
}

fn stale(what: String) -> rpc::Error {
    rpc::Error::Stale { what }
}

fn stale_part(channel: &ChannelName, missing: Missing) -> rpc::Error {
    stale(match missing {
        Missing::Segment(id) => format!("segment {id} of {channel}"),
        Missing::Rows(from) => format!("what {channel} has from {from} on"),
    })
}

fn exec_failed(call: &'static str, error: &exec::Error) -> rpc::Error {
    // Whoever asks knows a later schema than the newest order here.
    if error.is_of_later_schema() {
        return stale("the schema".to_owned());
    }
    if error.kind() == Kind::Invalid {
        return Refusal::BadSearch { text: error.to_string() }.into();
    }
    rpc::Error::failed(call, error)
}

fn not_merged(call: &'static str, error: &plan::Error) -> rpc::Error {
    if error.kind() == Kind::Invalid {
        return Refusal::BadSearch { text: error.to_string() }.into();
    }
    rpc::Error::failed(call, error)
}

/// One read: what it is of, and what it found ready.
struct Found {
    info: Arc<CollectionInfo>,
    parts: Vec<Taken>,
    /// Rows in all parts.
    rows: u64,
    /// Whether vectors of some of them lie on the disk, so that whoever reads them may wait for it.
    on_disk: bool,
}

impl Found {
    /// What a read weighs that has to look at `rows`.
    const fn weight(&self, rows: u64) -> u64 {
        if self.on_disk { u64::MAX } else { rows }
    }
}

/// The shards of a share, in its order.
fn shards_of(held: &Held, share: &Share) -> Result<Vec<Arc<Shard>>, rpc::Error> {
    let shard = |part: &ChannelShare| {
        held.shard(&part.channel).ok_or_else(|| stale(format!("the channel {}", part.channel)))
    };
    share.channels.iter().map(shard).collect()
}

/// What a node must have applied of the `at`th channel of a share.
fn after_of(share: &Share, at: usize, after: ReadAfter) -> ReadAfter {
    share.times.get(at).map_or(after, |time| ReadAfter::Time(*time))
}

/// Sees to it that each part is read at the time that the share names, if it names one.
fn set_times(parts: &mut [Taken], share: &Share) -> Result<(), rpc::Error> {
    for ((part, &time), of) in parts.iter_mut().zip(&share.times).zip(&share.channels) {
        if time < part.clean {
            return Err(stale(format!("what {} was at {time}", of.channel)));
        }
        part.visible = part.visible.min(time);
    }
    Ok(())
}

/// Refuses to read what is not kept any more. What is ordered may keep less than what is held.
fn check_history(held: &Held, share: &Share, parts: &[Taken], time: Timestamp) -> Result<(), rpc::Error> {
    let order = Arc::clone(&held.order.borrow());
    let is_read = |ordered: &&HoldChannel| share.channels.iter().any(|part| part.channel == ordered.channel);
    let ordered = order.channels.iter().filter(is_read).map(|ordered| ordered.manifest.history());
    let from = parts.iter().map(|part| part.history_from).chain(ordered).max().unwrap_or_default();
    if from <= time {
        return Ok(());
    }
    let (from, time) = (from.unix_ms(), time.unix_ms());
    let text = format!(
        "what was there at {time} ms of Unix time is not kept any more, only what was there from {from} ms on"
    );
    Err(Refusal::BadSearch { text }.into())
}

/// What a share names, as it is now.
fn take(shards: &[Arc<Shard>], share: &Share, with_growing: bool) -> Result<Vec<Taken>, rpc::Error> {
    let one = |(shard, part): (&Arc<Shard>, &ChannelShare)| {
        shard.take(part, with_growing).map_err(|missing| stale_part(&shard.channel, missing))
    };
    shards.iter().zip(&share.channels).map(one).collect()
}

impl QueryNode {
    fn find(&self, id: CollectionId) -> Result<Arc<Held>, rpc::Error> {
        self.shared.held.read().get(&id).cloned().ok_or_else(|| stale(format!("collection {id}")))
    }

    /// What `share` names, once enough is applied; refused at once if it is not here.
    async fn ready(
        &self,
        id: CollectionId,
        share: &Share,
        after: ReadAfter,
        with_growing: bool,
    ) -> Result<Found, rpc::Error> {
        let began = self.shared.parts.clock.monotonic();
        loop {
            let held = self.find(id)?;
            let shards = shards_of(&held, share)?;
            let mut parts = take(&shards, share, with_growing)?;
            if after != ReadAfter::Nothing || !share.times.is_empty() {
                if self.wait(&shards, share, after, began).await? == Reached::Replaced {
                    continue;
                }
                // From the shards that were waited for, even if another has taken the place of one: they are as right.
                parts = take(&shards, share, with_growing)?;
            }
            set_times(&mut parts, share)?;
            if let ReadAfter::History(time) = after {
                check_history(&held, share, &parts, time)?;
            }
            let rows = parts.iter().map(|part| part.rows).sum();
            let on_disk = parts.iter().any(|part| part.on.sealed.iter().any(|sealed| sealed.is_on_disk()));
            return Ok(Found { info: held.info.load_full(), parts, rows, on_disk });
        }
    }

    /// Waits until all shards have applied enough, for as long as a read may that `began` then (monotonic).
    async fn wait(
        &self,
        shards: &[Arc<Shard>],
        share: &Share,
        after: ReadAfter,
        began: Duration,
    ) -> Result<Reached, rpc::Error> {
        let (writer, clock) = (self.shared.parts.writer.as_ref(), self.shared.parts.clock.as_ref());
        let one = |(at, shard): (usize, &Arc<Shard>)| {
            let (shard, after) = (Arc::clone(shard), after_of(share, at, after));
            async move {
                tokio::select! {
                    biased;
                    reached = reach(&shard, after, writer, clock) => reached,
                    late = self.late(&shard.channel, began) => Err(late),
                }
            }
        };
        if let [shard] = shards {
            return one((0, shard)).await;
        }
        let all = futures::future::try_join_all(shards.iter().enumerate().map(one)).await?;
        Ok(all.into_iter().find(|one| *one == Reached::Replaced).unwrap_or(Reached::Enough))
    }

    /// The error of a read that waited for as long as it may, then.
    async fn late(&self, channel: &ChannelName, began: Duration) -> rpc::Error {
        let (clock, deadline) = (&self.shared.parts.clock, self.shared.parts.settings.follow_deadline);
        clock.sleep((began + deadline).saturating_sub(clock.monotonic())).await;
        let reason = format!("{channel} could not be followed far enough within {} ms", deadline.as_millis());
        rpc::Error::Failed { call: "read", kind: Kind::Unavailable, reason }
    }

    /// Runs `work` here if it is short, else on a thread that may be busy for long.
    async fn compute<T: Send + 'static>(
        &self,
        began: Duration,
        rows: u64,
        work: impl FnOnce(&Cost<'_>) -> Result<T, rpc::Error> + Send + 'static,
    ) -> Result<T, rpc::Error> {
        let clock = &self.shared.parts.clock;
        let ready = clock.monotonic();
        let timed = |clock: &dyn Clock| {
            let (started, before) = (clock.monotonic(), clock.thread_cpu());
            let cost = Cost::new(clock);
            let result = work(&cost);
            (result, started, clock.thread_cpu().saturating_sub(before) + cost.of_helpers())
        };
        let (result, started, computed) = if rows <= INLINE_ROWS {
            timed(clock.as_ref())
        } else {
            let inner = Arc::clone(clock);
            let on_thread = heavy("read", move || timed(inner.as_ref()));
            let broke = |error: TaskError| rpc::Error::Failed {
                call: "read",
                kind: Kind::Internal,
                reason: error.to_string(),
            };
            on_thread.await.map_err(broke)?
        };
        let now = clock.monotonic();
        self.shared.gauge.ended(
            now,
            Spans { took: now.saturating_sub(began), waited: started.saturating_sub(ready), computed },
        );
        result
    }
}

#[async_trait]
impl Querier for QueryNode {
    async fn search(
        &self,
        mut plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, rpc::Error> {
        let _reading = self.shared.gauge.begin();
        let began = self.shared.parts.clock.monotonic();
        let found = self.ready(plan.collection, &share, after, !plan.ignore_growing).await?;
        let wanted = plan.partitions.as_deref();
        plan.partitions = readable_partitions(&found.info, wanted, &share.extent, &found.parts)?;
        let searched = found.info.schema.field_by_id(plan.field).map(|field| field.data_type);
        let rows = search_weight(searched, found.rows * plan.queries.len() as u64, plan.filter.as_ref());
        self.compute(began, found.weight(rows), move |cost| {
            let asked = plan.read_at;
            let search = |part: &Taken| {
                plan.read_at = asked.min(part.visible);
                exec::search_at_cost(&plan, &found.info.schema, &part.on, cost)
                    .map_err(|error| exec_failed("search", &error))
            };
            let mut parts = found.parts.iter().map(search).collect::<Result<Vec<_>, _>>()?;
            if parts.len() == 1 {
                return Ok(parts.swap_remove(0));
            }
            merge_search(&plan, parts)
                .map_err(|source| not_merged("search", &plan::Error::Columns { source }))
        })
        .await
    }

    async fn query(
        &self,
        mut plan: QueryPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<QueryRows, rpc::Error> {
        let _reading = self.shared.gauge.begin();
        let began = self.shared.parts.clock.monotonic();
        let found = self.ready(plan.collection, &share, after, !plan.ignore_growing).await?;
        let wanted = plan.partitions.as_deref();
        plan.partitions = readable_partitions(&found.info, wanted, &share.extent, &found.parts)?;
        let mut rows = weight(found.rows, plan.filter.as_ref());
        if rows > INLINE_ROWS && rows < u64::MAX {
            let weight = |part: &Taken| exec::query_weight(&plan, &found.info.schema, &part.on);
            rows = found.parts.iter().map(weight).sum();
        }
        if let QueryKind::Aggregates(aggregates) = &plan.kind {
            rows = rows.saturating_mul(row_weight(aggregates, &found.info.schema));
        }
        self.compute(began, found.weight(rows), move |_| {
            let asked = plan.read_at;
            if let QueryKind::Aggregates(aggregates) = plan.kind.clone() {
                let mut groups = Groups::new(&aggregates);
                for part in &found.parts {
                    plan.read_at = asked.min(part.visible);
                    exec::aggregate(&plan, &found.info.schema, &part.on, &mut groups)
                        .map_err(|error| exec_failed("query", &error))?;
                }
                return Ok(groups.into_rows());
            }
            let query = |part: &Taken| {
                plan.read_at = asked.min(part.visible);
                exec::query(&plan, &found.info.schema, &part.on).map_err(|error| exec_failed("query", &error))
            };
            let mut parts = found.parts.iter().map(query).collect::<Result<Vec<_>, _>>()?;
            if parts.len() == 1 {
                return Ok(parts.swap_remove(0));
            }
            merge_query(&plan, parts).map_err(|error| not_merged("query", &error))
        })
        .await
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, rpc::Error> {
        // Rows that are not sealed tell nothing about times; the read itself finds out whether they are here.
        let found = self.ready(collection, &share, after, false).await?;
        Ok(found.parts.iter().map(|part| TimeSpan { from: part.clean, to: part.visible }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FieldId;
    use crate::expr::{self, Templates};
    use crate::model::{ElementType, StructField, VectorElement};
    use crate::plan::{Aggregate, AggregateOp, GroupField};
    use crate::segment::fixture::{KEY, NOTE, field, schema};

    #[test]
    fn searches_of_lists_and_filters_of_elements_are_never_short() {
        let mut schema = schema(DataType::Int64);
        let numbers = FieldId(121);
        schema.fields.push(field(numbers, "s[n]", DataType::Array(ElementType::Int64)));
        schema.structs.push(StructField {
            id: FieldId(120),
            name: "s".to_owned(),
            description: String::new(),
            nullable: true,
            parts: vec![numbers],
            type_params: Vec::new(),
        });
        let filter = |text: &str| expr::parse(text, &schema, &Templates::new()).unwrap();
        let (of_elements, of_rows) =
            (filter("element_filter(s, $[n] > 1)"), filter("array_length(s[n]) > 1"));
        let (vectors, lists) = (DataType::FloatVector, DataType::ArrayOfVector(VectorElement::Float));

        assert_eq!(search_weight(Some(vectors), 3, None), 3);
        assert_eq!(search_weight(Some(vectors), 3, Some(&of_rows)), 3);
        assert_eq!(search_weight(Some(vectors), 3, Some(&of_elements)), u64::MAX);
        assert_eq!(search_weight(Some(lists), 3, None), u64::MAX);
        assert_eq!(weight(3, Some(&of_elements)), u64::MAX);
    }

    #[test]
    fn rows_with_texts_that_may_be_long_are_aggregated_on_a_thread_that_may_be_busy() {
        let weight = |by: &[FieldId], of: &[FieldId]| {
            let by = by.iter().map(|field| GroupField { field: *field, descending: false });
            let of = of.iter().map(|field| Aggregate { op: AggregateOp::Least, field: Some(*field) });
            let aggregates = Aggregates { by: by.collect(), of: of.collect(), limit: None };
            row_weight(&aggregates, &schema(DataType::Int64))
        };

        assert_eq!(weight(&[], &[]), 20);
        assert_eq!(weight(&[KEY], &[KEY]), 60);
        // A text of 64 KiB a row: a few of them.
        assert!((10..50).contains(&(INLINE_ROWS / weight(&[NOTE], &[]))));
        assert_eq!(weight(&[], &[NOTE]), weight(&[NOTE], &[]));
    }
}
