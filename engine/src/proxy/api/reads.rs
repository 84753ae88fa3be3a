//! What reads have in common, and queries.

use std::sync::Arc;

use contract::pb::milvus::{ElementIndices, QueryRequest, QueryResults};
use contract::pb::schema::FieldData;

use super::{Caller, computed, partitions_of_read};
use crate::base::{FieldId, PartitionId, Timestamp};
use crate::expr::Filter;
use crate::model::{Batch, Expiry, Keys, Schema};
use crate::plan::{Order, QueryKind, QueryPlan, QueryRows};
use crate::proxy::convert::grouping::{self, Ordered};
use crate::proxy::convert::output::{self, Output};
use crate::proxy::convert::query::QueryParams;
use crate::proxy::convert::query_aggregates::AggregateQuery;
use crate::proxy::convert::search::window_of;
use crate::proxy::convert::status::success;
use crate::proxy::convert::times::{Times, takes_long};
use crate::proxy::convert::{consistency, filter, lists, query as convert_query, travel};
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, CollectionRef, Consistency, Refusal};

/// How far ahead of the clock a client may ask to read. Source: wire specification 2.3.
const MAX_LAG_MS: u64 = 86_400_000;

/// Rows by filter, or their number.
pub async fn query(proxy: &Proxy, caller: Caller, request: QueryRequest) -> Result<QueryResults, Error> {
    query_rows(proxy, caller, request).await.map_err(|error| at_peer("failed to query", error))
}

/// Puts Milvus's step in front of what a peer said about data that is not in memory.
pub(super) fn at_peer(step: &'static str, error: Error) -> Error {
    match error {
        Error::Peer(crate::rpc::Error::Refused(
            Refusal::CollectionNotLoaded { .. }
            | Refusal::PartitionNotLoaded { .. }
            | Refusal::BadSearch { .. },
        )) => Error::during(step)(error),
        other => other,
    }
}

/// Refuses to read what is not in memory. That a collection is not loaded is believed only if the coordinator says so:
/// it may have been loaded by way of another proxy a moment ago.
pub(super) async fn check_loaded(proxy: &Proxy, info: &CollectionInfo) -> Result<(), Error> {
    if info.load.is_some() || proxy.coord().load_progress(CollectionRef::Id(info.id)).await?.is_some() {
        Ok(())
    } else {
        Err(Refusal::CollectionNotLoaded { collection: info.id.to_string() }.into())
    }
}

/// An iterator that started on another collection of the same name must not go on.
pub(super) fn check_same_collection(
    wanted: Option<&str>,
    info: &CollectionInfo,
    verb: &'static str,
) -> Result<(), Error> {
    match wanted {
        Some(wanted) if !matches!(wanted, "" | "0") && *wanted != info.id.to_string() => {
            Err(Error::CollectionChanged { verb, wanted: wanted.to_owned(), actual: info.id.0 })
        }
        _ => Ok(()),
    }
}

/// What a read sees of a collection's history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// Nothing after this time.
    pub(super) read_at: Timestamp,
    /// At least this.
    pub(super) consistency: Consistency,
    /// The time to tell the client.
    pub(super) session: Timestamp,
    /// Nothing of this, by the cluster's time as this node has it. Found once a read, so that all nodes, and all parts of a
    /// read that has several, agree.
    pub(super) expiry: Expiry,
}

impl View {
    /// The rows of `filter` that have not ended by an instant of their own.
    pub(super) fn living(&self, schema: &Schema, filter: Option<Filter>) -> Result<Option<Filter>, Error> {
        let Some((field, until)) = self.expiry.by_field else { return Ok(filter) };
        let living = filter::of_living(field, until, schema)?;
        Ok(Some(match filter {
            Some(filter) => filter.and(living),
            None => living,
        }))
    }
}

impl Proxy {
    /// What a read sees.
    ///
    /// An iterator reads at one instant for all its pages: the one it names, or a new one. Every other read sees
    /// whatever its consistency level asks for, and may see more.
    pub(super) async fn view(
        &self,
        info: &CollectionInfo,
        iterator: bool,
        asked: consistency::Asked,
        travel: Option<Timestamp>,
    ) -> Result<View, Error> {
        let now = self.now();
        if let Some(at) = travel {
            return self.view_of_past(info, now, at);
        }
        let expiry = info.expiry(now);
        let named = (asked.guarantee > consistency::LAST_WORD).then_some(Timestamp(asked.guarantee));
        if named.is_some_and(|time| time.unix_ms() > now.unix_ms().saturating_add(MAX_LAG_MS)) {
            return Err(Error::GuaranteeTooFar);
        }
        if !iterator {
            let consistency = consistency::of_read(asked, info.consistency);
            return Ok(View { read_at: Timestamp::MAX, consistency, session: now, expiry });
        }
        let pinned = match named {
            Some(time) => time,
            None => self.reader().pin(info.id).await?,
        };
        Ok(View { read_at: pinned, consistency: Consistency::Session(pinned), session: pinned, expiry })
    }

    /// What was there at a time. One that is to come is waited for, as long as a read may take.
    fn view_of_past(&self, info: &CollectionInfo, now: Timestamp, at: Timestamp) -> Result<View, Error> {
        if at.unix_ms() > now.unix_ms().saturating_add(MAX_LAG_MS) {
            return Err(Error::GuaranteeTooFar);
        }
        let retention_s = info.retention_s(self.settings().retention_s);
        let asked_s = now.unix_ms().saturating_sub(at.unix_ms()).div_ceil(1_000);
        if asked_s > retention_s {
            return Err(Error::TravelTooFar { retention_s, asked_s });
        }
        Ok(View { read_at: at, consistency: Consistency::History(at), session: at, expiry: info.expiry(at) })
    }

    /// Everything that was acknowledged before the read: what a change must look at.
    fn view_of_change(&self, info: &CollectionInfo) -> View {
        let (consistency, expiry) = (Consistency::Strong, info.expiry(self.now()));
        View { read_at: Timestamp::MAX, consistency, session: Timestamp::MAX, expiry }
    }
}

/// Whole rows of some keys as they are now, as far as there are any.
pub(super) async fn current_rows(
    proxy: &Proxy,
    info: &CollectionInfo,
    keys: &Keys,
    partition: Option<PartitionId>,
) -> Result<QueryRows, Error> {
    let output = info.schema.fields.iter().map(|field| field.id).collect();
    rows_of_keys(proxy, info, keys, partition, output, proxy.view_of_change(info)).await
}

/// The newest row of each of some keys, as far as there is one.
pub(super) async fn rows_of_keys(
    proxy: &Proxy,
    info: &CollectionInfo,
    keys: &Keys,
    partition: Option<PartitionId>,
    output: Vec<FieldId>,
    view: View,
) -> Result<QueryRows, Error> {
    let plan = QueryPlan {
        collection: info.id,
        partitions: partition.map(|partition| vec![partition]),
        filter: view.living(&info.schema, Some(filter::of_keys(keys, &info.schema)?))?,
        limit: None,
        order: None,
        output,
        read_at: view.read_at,
        expired_before: view.expiry.written_before,
        ignore_growing: false,
        kind: QueryKind::Rows,
    };
    Ok(proxy.reader().query(plan, view.consistency).await?)
}

/// The keys of all rows that match: what a delete by filter removes.
pub(super) async fn keys_of(
    proxy: &Proxy,
    info: &CollectionInfo,
    filter: Filter,
    partition: Option<PartitionId>,
) -> Result<Keys, Error> {
    check_loaded(proxy, info).await?;
    let view = proxy.view_of_change(info);
    let plan = QueryPlan {
        collection: info.id,
        partitions: partition.map(|partition| vec![partition]),
        filter: view.living(&info.schema, Some(filter))?,
        limit: None,
        order: None,
        output: vec![info.schema.primary().id],
        read_at: view.read_at,
        expired_before: view.expiry.written_before,
        ignore_growing: false,
        kind: QueryKind::Rows,
    };
    Ok(proxy.reader().query(plan, view.consistency).await?.keys)
}

async fn query_rows(proxy: &Proxy, caller: Caller, mut request: QueryRequest) -> Result<QueryResults, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Query, About::partitions(&info, &request.partition_names))?;
    let partitions = partitions_of_read(&info, &request.partition_names)?;
    check_loaded(proxy, &info).await?;
    let schema = &info.schema;
    let params = convert_query::params(&request.query_params, window_of(&info))?;
    check_same_collection(params.collection_id.as_deref(), &info, "may have")?;
    let aggregates = AggregateQuery::of(schema, &request.output_fields, &params)?;
    let counts =
        aggregates.is_none() && request.output_fields.iter().any(|name| name.trim() == convert_query::COUNT);
    if counts && params.limit.is_some() {
        return Err(Error::CountPaginated);
    }
    let times = Times::of_read(&request.query_params, &info.properties)?;
    let mut templates = std::mem::take(&mut request.expr_template_values);
    let travel =
        travel::asked(request.travel_timestamp, &request.query_params, &mut templates, &request.expr)?;
    let filter = filter::of_read(&request.expr, schema, &times.zone, templates)?;
    if filter.is_none() && params.limit.is_none() && !counts && aggregates.is_none() {
        return Err(Error::EmptyExpression);
    }
    let returned = match (aggregates, counts) {
        (Some(aggregates), _) => Returned::Groups(Box::new(aggregates), times),
        (None, true) => Returned::Count,
        (None, false) => {
            let output = output::resolve(schema, &request.output_fields, times)?;
            let order = grouping::order(&params.order_by, schema, Ordered::Query)?;
            Returned::Rows(output.with_first(schema.primary()), order)
        }
    };
    let asked = consistency::Asked {
        use_default: request.use_default_consistency,
        level: request.consistency_level,
        guarantee: request.guarantee_timestamp,
    };
    let view = proxy.view(&info, params.iterator, asked, travel).await?;
    let plan = QueryPlan {
        collection: info.id,
        partitions,
        filter: view.living(schema, filter)?,
        limit: params.limit.map(|limit| limit + params.offset),
        order: None,
        output: Vec::new(),
        read_at: view.read_at,
        expired_before: view.expiry.written_before,
        ignore_growing: params.ignore_growing,
        kind: QueryKind::Rows,
    };
    let mut plan = returned.asked_of(plan);
    let are_rows = matches!(returned, Returned::Rows(..));
    let elements = plan.filter.as_ref().filter(|_| are_rows);
    let elements = elements.and_then(|filter| ChosenElements::of(schema, filter));
    if let Some(elements) = &elements {
        elements.ask(&mut plan, &params);
    }
    let mut found = proxy.reader().query(plan, view.consistency).await?;
    let (mut offset, mut element_indices) = (params.offset, Vec::new());
    if let Some(elements) = elements {
        (found, element_indices) = elements.choose(found, &params).await?;
        offset = 0;
    }
    let (fields_data, output_fields) = if returned.takes_long(schema, &found) {
        let info = Arc::clone(&info);
        let work = move || returned.shown(&info.schema, found, offset);
        computed("show rows", work).await??
    } else {
        returned.shown(schema, found, offset)?
    };
    Ok(QueryResults {
        status: Some(success()),
        fields_data,
        collection_name: request.collection_name,
        output_fields,
        session_ts: view.session.0,
        primary_field_name: schema.primary().name.clone(),
        element_indices,
    })
}

/// The elements of an array of structs that a filter chooses: a query returns these, one by one, in the place of their rows.
struct ChosenElements {
    filter: Filter,
    /// A part of the struct.
    part: FieldId,
}

impl ChosenElements {
    fn of(schema: &Schema, filter: &Filter) -> Option<Self> {
        let of = schema.struct_field(filter.struct_of_elements()?)?;
        of.parts.first().map(|part| Self { filter: filter.clone(), part: *part })
    }

    /// Has a plan bring what choosing them needs.
    fn ask(&self, plan: &mut QueryPlan, params: &QueryParams) {
        add_fields(&mut plan.output, self.filter.fields().into_iter().chain([self.part]));
        // The row in which the page before ended may have no more.
        plan.limit = plan.limit.map(|limit| limit + usize::from(params.after.is_some()));
    }

    /// The rows of the page, with the elements of each.
    async fn choose(
        self,
        mut found: QueryRows,
        params: &QueryParams,
    ) -> Result<(QueryRows, Vec<ElementIndices>), Error> {
        let (window, after) = ((params.offset, params.limit), params.after.clone());
        let work = move || {
            let rows = (&found.keys, &found.rows);
            let chosen = lists::chosen(&self.filter, rows, self.part, after.as_ref(), window)?;
            found.rows = found.rows.take(&chosen.rows);
            Ok::<_, Error>((found, chosen.elements))
        };
        computed("choose elements", work).await?
    }
}

/// Adds fields to those that are read, each once.
pub(super) fn add_fields(fields: &mut Vec<FieldId>, more: impl IntoIterator<Item = FieldId>) {
    for field in more {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
}

/// Answers of groups that take more than this are made on a thread that may be busy. Unit: bytes.
const INLINE_BYTES: usize = 128 << 10;

/// What a query returns.
enum Returned {
    /// Rows by their keys, or in an order that names fields.
    Rows(Output, Order),
    /// How many rows there are.
    Count,
    /// What is counted and measured of groups of rows.
    Groups(Box<AggregateQuery>, Times),
}

impl Returned {
    /// The plan of a query of rows, as one of what is returned.
    fn asked_of(&self, plan: QueryPlan) -> QueryPlan {
        match self {
            Self::Rows(output, order) => {
                let mut fields = output.fields.clone();
                add_fields(&mut fields, order.fields());
                let order = (!order.by.is_empty()).then(|| order.clone());
                QueryPlan { output: fields, order, ..plan }
            }
            Self::Count => QueryPlan { kind: QueryKind::Count, ..plan },
            Self::Groups(query, _) => {
                // A node that does not know groups finds no rows then.
                let limit = Some(0);
                QueryPlan { kind: QueryKind::Aggregates(query.aggregates.clone()), limit, ..plan }
            }
        }
    }

    /// Whether [`Self::shown`] is more than a thread that serves should do.
    fn takes_long(&self, schema: &Schema, found: &QueryRows) -> bool {
        match self {
            Self::Rows(..) => takes_long(schema),
            Self::Count => false,
            Self::Groups(..) => found.rows.memory_bytes() > INLINE_BYTES,
        }
    }

    /// What was found past the offset as columns of the wire, and the names of the columns.
    fn shown(
        self,
        schema: &Schema,
        found: QueryRows,
        offset: usize,
    ) -> Result<(Vec<FieldData>, Vec<String>), Error> {
        match self {
            Self::Rows(output, _) => {
                let rows = past(found.rows, offset);
                let columns = output::fields_data(schema, &output, rows)?;
                Ok((columns, output.names))
            }
            Self::Count => {
                Ok((vec![convert_query::count_column(found.count)], vec![convert_query::COUNT.to_owned()]))
            }
            Self::Groups(query, times) => query.shown(&found, &times),
        }
    }
}

fn past(rows: Batch, offset: usize) -> Batch {
    if offset == 0 { rows } else { rows.take(&(offset.min(rows.rows)..rows.rows).collect::<Vec<_>>()) }
}
