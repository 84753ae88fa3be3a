//! Searches by vectors or by the keys of stored ones.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use contract::pb::common::{HighlightType, SearchAggregationSpec};
use contract::pb::milvus::search_request::SearchInput;
use contract::pb::milvus::{SearchRequest, SearchResults};
use contract::pb::schema::{FunctionScore, IDs, SearchResultData, i_ds};

use super::reads::{View, add_fields, at_peer, check_loaded, check_same_collection, rows_of_keys};
use super::{Caller, computed, models, partitions_of_read, texts};
use crate::base::{FieldId, PartitionId, Timestamp};
use crate::calendar::TimeZone;
use crate::inference::Deadline;
use crate::model::{
    Batch, Column, DataType, Field, Function, FunctionKind, IndexDefinition, Key, Keys, Metric, Schema,
    Vector,
};
use crate::plan::{Fusion, Group, Grouping, Mode, Order, RankPlan, SearchHits, SearchPlan, groups_of, rank};
use crate::proxy::convert::aggregate::Aggregation;
use crate::proxy::convert::grouping::{self, Ordered};
use crate::proxy::convert::highlight::{Highlighting, Wanted};
use crate::proxy::convert::output::Output;
use crate::proxy::convert::rank::{self as convert_rank, Ranker};
use crate::proxy::convert::search::{Giving, SearchParams};
use crate::proxy::convert::status::success;
use crate::proxy::convert::times::{Times, takes_long};
use crate::proxy::convert::{
    consistency, filter, index, lists, output, search as convert_search, texts as convert_texts, travel,
};
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, Consistency};

/// Nearest neighbours of some vectors.
pub async fn search(proxy: &Proxy, caller: Caller, request: SearchRequest) -> Result<SearchResults, Error> {
    search_rows(proxy, caller, request).await.map_err(|error| at_peer("failed to search", error))
}

/// The vectors that a search says it has, or that it brings where it says nothing, within what it may have.
pub(super) fn queries_of(request: &SearchRequest) -> u64 {
    let queries = match (request.nq, &request.search_input) {
        (0, Some(SearchInput::PlaceholderGroup(group))) => convert_search::count_queries(group),
        (0, Some(SearchInput::Ids(IDs { id_field: Some(i_ds::IdField::IntId(ids)) }))) => {
            ids.data.len() as u64
        }
        (0, Some(SearchInput::Ids(IDs { id_field: Some(i_ds::IdField::StrId(ids)) }))) => {
            ids.data.len() as u64
        }
        (nq, _) => u64::try_from(nq).unwrap_or(0),
    };
    queries.clamp(1, 16_384)
}

/// The number of queries that a request says, or else has.
pub(super) fn asked_queries(request: &SearchRequest) -> i64 {
    if request.nq == 0 { i64::try_from(queries_of(request)).unwrap_or(i64::MAX) } else { request.nq }
}

async fn search_rows(
    proxy: &Proxy,
    caller: Caller,
    mut request: SearchRequest,
) -> Result<SearchResults, Error> {
    let info = proxy.info_unchecked(&caller, &request.db_name, &request.collection_name).await?;
    let about = About::partitions(&info, &request.partition_names);
    proxy.admit(&caller, Asked::Search, about, || queries_of(&request))?;
    let deadline = proxy.models().deadline();
    check_built(&request)?;
    let partitions = partitions_of_read(&info, &request.partition_names)?;
    check_loaded(proxy, &info).await?;
    let schema = &info.schema;
    let mut params = convert_search::params(&request.search_params, convert_search::window_of(&info))?;
    check_same_collection(params.collection_id.as_deref(), &info, "may have")?;
    let asked = consistency::Asked {
        use_default: request.use_default_consistency,
        level: request.consistency_level,
        guarantee: request.guarantee_timestamp,
    };
    let (field, templates) = (request.travel_timestamp, &mut request.expr_template_values);
    let travel = travel::asked(field, &request.search_params, templates, &request.dsl)?;
    let view = proxy.view(&info, params.iterator, asked, travel).await?;
    let times = Times::of_read(&request.search_params, &info.properties)?;
    let again =
        Again::of(request.function_score.as_ref(), &params, (schema, &times.zone), asked_queries(&request))?;
    again.check(proxy)?;
    let output = output::resolve(schema, &request.output_fields, times)?;
    again.check_beside(&params)?;
    if let Some(batch) = params.batch.as_mut().filter(|batch| batch.token.is_empty()) {
        batch.token = token(&info, view.session);
    }
    let highlighting = highlighting(&info, &request, &params)?;
    let aggregation = match &request.search_aggregation {
        Some(_) if highlighting.is_some() => {
            let text = "highlighter and search_aggregation cannot be used simultaneously".to_owned();
            return Err(Error::Aggregation { text });
        }
        Some(spec) => Some(aggregation(spec, &mut params, &again, schema, request.nq)?),
        None => None,
    };
    let mut fields = output.fields.clone();
    add_fields(&mut fields, highlighting.iter().flat_map(Highlighting::fields));
    let mut giving = Giving {
        limit: params.limit,
        offset: params.offset,
        round_decimal: params.round_decimal,
        group_field: params.groups.resolve(schema)?.map(|grouping| grouping.field),
        elements_by: None,
        batch: params.batch.clone(),
        highlighting,
    };
    add_fields(&mut fields, again.fields());
    add_fields(&mut fields, aggregation.iter().flat_map(Aggregation::fields));
    if aggregation.is_some() {
        // Vectors are not shown in buckets.
        fields.retain(|id| schema.field_by_id(*id).is_none_or(|field| !field.data_type.is_searched()));
    }
    let plan = plan(proxy, &info, &mut request, &mut params, (view, partitions, fields), deadline).await?;
    if let Some(aggregation) = &aggregation {
        aggregation.check(plan.queries.len())?;
    }
    let (metric, count, grouping) = (plan.metric, plan.count, plan.grouping);
    if again.ranker.is_none() && again.order.by.is_empty() {
        giving.elements_by = grouping.map(|_| metric);
    }
    let mut hits = if plan.queries.is_empty() {
        no_hits(&plan, schema)
    } else {
        let hits = run(proxy, &info, plan, view).await?;
        let again = again.judged(proxy, &params.without, &hits, deadline).await?;
        again.apply(hits, metric, count, grouping)?
    };
    // Nothing is near a vector that is not there.
    params.without.iter().for_each(|&query| hits.counts.insert(query, 0));
    let results = match aggregation {
        Some(aggregation) if takes_long(schema) => {
            let info = Arc::clone(&info);
            computed("show buckets", move || aggregation.results(&info.schema, &output, &hits)).await?
        }
        Some(aggregation) => aggregation.results(schema, &output, &hits),
        None => results(&info, giving, output, hits).await?,
    };
    Ok(SearchResults {
        status: Some(success()),
        results: Some(results),
        collection_name: request.collection_name,
        session_ts: view.session.0,
    })
}

/// The hits of no query.
fn no_hits(plan: &SearchPlan, schema: &Schema) -> SearchHits {
    let output = plan.output.iter().filter_map(|id| schema.field_by_id(*id));
    let rows = Batch { rows: 0, columns: output.map(Column::empty).collect() };
    SearchHits { keys: Keys::empty(schema.primary().data_type), rows, ..SearchHits::none(0) }
}

/// The hits as the wire has them, made where a thread may be busy if that takes long.
pub(super) async fn results(
    info: &Arc<CollectionInfo>,
    giving: Giving,
    output: Output,
    hits: SearchHits,
) -> Result<SearchResultData, Error> {
    if !takes_long(&info.schema) && giving.highlighting.is_none() {
        return convert_search::results(&info.schema, &giving, &output, hits);
    }
    let info = Arc::clone(info);
    computed("show hits", move || convert_search::results(&info.schema, &giving, &output, hits)).await?
}

/// What an aggregation asks for. It is made of the nearest hits, as many as there may be.
fn aggregation(
    spec: &SearchAggregationSpec,
    params: &mut SearchParams,
    again: &Again,
    schema: &Schema,
    queries: i64,
) -> Result<Aggregation, Error> {
    let aggregation = Aggregation::of(spec, schema, queries)?;
    let conflict = if params.iterator || params.batch.is_some() {
        "search_aggregation is not supported with search iterator"
    } else if params.groups.field.is_some() {
        "search_aggregation and group_by_field/group_size are mutually exclusive"
    } else if params.offset > 0 {
        "offset is not supported with search_aggregation"
    } else if again.ranker.is_some() {
        "search_aggregation is not supported with a ranker"
    } else if !again.order.by.is_empty() {
        "search_aggregation is not supported with order_by"
    } else {
        (params.limit, params.offset) = (usize::try_from(convert_search::WINDOW).unwrap_or(1), 0);
        // They say how well the client's own number of hits is found.
        for key in ["ef", "search_list", "search_list_size", "reorder_k"] {
            params.index.remove(key);
        }
        return Ok(aggregation);
    };
    Err(Error::Aggregation { text: conflict.to_owned() })
}

/// Searches that one request has under way at once.
pub(super) const AT_ONCE: usize = 8;

/// What one search asks, with everything checked. `seen` is what it sees, where it looks, and the columns that are wanted of
/// its hits; the field of groups is added to them.
pub(super) async fn plan(
    proxy: &Proxy,
    info: &CollectionInfo,
    request: &mut SearchRequest,
    params: &mut SearchParams,
    seen: (View, Option<Vec<PartitionId>>, Vec<FieldId>),
    deadline: Deadline,
) -> Result<SearchPlan, Error> {
    let (view, partitions, mut output) = seen;
    let schema = &info.schema;
    let field = params.field(schema)?;
    let metric = params.metric(info, field)?;
    let by_parts = |index: &IndexDefinition| index.param("index_type").as_deref() == Some("FAISS");
    if info.index_on(field.id).is_some_and(by_parts) {
        index::search_by_parts(&mut params.index, params.limit + params.offset)?;
    }
    let grouping = params.groups.resolve(schema)?;
    lists::check(schema, field, metric, params, grouping)?;
    if grouping.is_some() && field.data_type == DataType::BinaryVector {
        return Err(Error::GroupBits);
    }
    add_fields(&mut output, grouping.map(|grouping| grouping.field));
    if metric == Metric::MhJaccard && params.radius.is_some() {
        return Err(Error::SignatureRange);
    }
    let Queries { mut vectors, to_embed } =
        queries_asked(proxy, info, request, params, (field, metric), view).await?;
    let count = to_embed.as_ref().map_or(vectors.len(), |(_, texts)| texts.len());
    let asked = count + params.without.len();
    if params.batch.is_some() && asked != 1 {
        return Err(Error::IteratorQueries { nq: asked });
    }
    convert_search::check_hits(count, params.limit + params.offset)?;
    let times = Times::of_read(&request.search_params, &info.properties)?;
    let templates = std::mem::take(&mut request.expr_template_values);
    let filter = view.living(schema, filter::of_read(&request.dsl, schema, &times.zone, templates)?)?;
    lists::check_filter(schema, field, metric, filter.as_ref())?;
    let range = params.range(metric)?;
    if let Some((function, texts)) = to_embed {
        vectors = models::queries(proxy, (field, function), texts, deadline).await?;
    }
    Ok(SearchPlan {
        collection: info.id,
        partitions,
        field: field.id,
        metric,
        queries: vectors,
        count: params.limit + params.offset,
        grouping,
        params: std::mem::take(&mut params.index),
        range,
        filter,
        output,
        read_at: view.read_at,
        expired_before: view.expiry.written_before,
        ignore_growing: params.ignore_growing,
    })
}

/// What a search searches by.
struct Queries<'a> {
    vectors: Vec<Vector>,
    /// Texts of which the model of a function makes vectors. It is asked once everything else is known to be right.
    to_embed: Option<(&'a Function, Vec<String>)>,
}

/// Takes what a request searches by, and computes what can be computed here. Queries by the keys of rows without a vector are noted in
/// `params`.
async fn queries_asked<'a>(
    proxy: &Proxy,
    info: &'a CollectionInfo,
    request: &mut SearchRequest,
    params: &mut SearchParams,
    (field, metric): (&Field, Metric),
    view: View,
) -> Result<Queries<'a>, Error> {
    let schema = &info.schema;
    let signing = schema.function_of(field.id).filter(|function| function.kind == FunctionKind::MinHash);
    let counting = schema.counts_of(field.id);
    let embedding = schema.embedding_of(field.id);
    let mut to_embed = None;
    let vectors = match (request.search_input.take(), counting) {
        (Some(SearchInput::PlaceholderGroup(group)), None)
            if embedding.is_some() && convert_texts::are_texts(&group) =>
        {
            let function = embedding.ok_or(Error::NoSearchInput)?;
            to_embed = Some((function, convert_texts::queries(&group, request.nq)?));
            Vec::new()
        }
        (Some(SearchInput::PlaceholderGroup(group)), None)
            if signing.is_some() && convert_texts::are_texts(&group) =>
        {
            let function = signing.ok_or(Error::NoSearchInput)?;
            texts::signatures(info, function, (&group, request.nq)).await?
        }
        (Some(SearchInput::PlaceholderGroup(group)), Some(function)) => {
            texts::queries(proxy, info, function, (&group, request.nq), params, view).await?
        }
        (Some(SearchInput::Ids(_)), Some(_)) => {
            return Err(Error::ReadNotBuilt { what: "a search by keys in the output field of a function" });
        }
        (Some(SearchInput::PlaceholderGroup(group)), None) => {
            convert_search::queries(&group, field, metric, request.nq)?
        }
        (Some(SearchInput::Ids(_)), None) if matches!(field.data_type, DataType::ArrayOfVector(_)) => {
            let text = "array of vector is not supported for search by IDs".to_owned();
            return Err(Error::SearchIds { text });
        }
        (Some(SearchInput::Ids(ids)), None) => {
            let found = vectors_of(proxy, info, field, ids, view).await?;
            let without = found.iter().enumerate().filter(|(_, vector)| vector.is_none());
            params.without = without.map(|(query, _)| query).collect();
            found.into_iter().flatten().collect()
        }
        (None, _) => return Err(Error::NoSearchInput),
    };
    Ok(Queries { vectors, to_embed })
}

/// The hits of a search.
///
/// Nodes know of the groups in their own parts. Where the groups are to be full, the best ones are found first, and then
/// asked for in a second search at the same instant, so that it does not matter which node has which of their rows.
pub(super) async fn run(
    proxy: &Proxy,
    info: &CollectionInfo,
    mut plan: SearchPlan,
    mut view: View,
) -> Result<SearchHits, Error> {
    if let Some(meter) = proxy.meter() {
        meter.searched(plan.queries.len());
    }
    let Some(grouping) = plan.grouping.filter(|grouping| grouping.strict && grouping.size > 1) else {
        return Ok(proxy.reader().search(plan, view.consistency).await?);
    };
    if view.read_at == Timestamp::MAX {
        view.read_at = proxy.reader().pin(info.id).await?;
        view.consistency = Consistency::Session(view.read_at);
        plan.read_at = view.read_at;
    }
    let first = SearchPlan {
        grouping: Some(Grouping { size: 1, strict: false, ..grouping }),
        output: vec![grouping.field],
        ..plan.clone()
    };
    let best = proxy.reader().search(first, view.consistency).await?;
    let queries = std::mem::take(&mut plan.queries);
    let plan = &plan;
    let one = |(query, found): (Vector, Vec<(Group, Range<usize>)>)| async move {
        let groups: std::collections::HashSet<Group> = found.into_iter().map(|(group, _)| group).collect();
        if groups.is_empty() {
            return Ok(SearchHits::none(1));
        }
        let only = filter::of_groups(&groups, grouping.field, &info.schema)?;
        let filter = match plan.filter.clone() {
            Some(filter) => filter.and(only),
            None => only,
        };
        let plan =
            SearchPlan { queries: vec![query], count: groups.len(), filter: Some(filter), ..plan.clone() };
        Ok::<_, Error>(proxy.reader().search(plan, view.consistency).await?)
    };
    // Each query by itself: of the groups of another one it wants nothing.
    let asked = queries.into_iter().zip(groups_of(&best, grouping.field)).map(one);
    let answers: Vec<SearchHits> = futures::stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    SearchHits::of_each_query(answers).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })
}

/// The hits in some ranges of each query.
fn of_ranges(hits: &SearchHits, ranges: Vec<Vec<Range<usize>>>) -> SearchHits {
    let counts = ranges.iter().map(|ranges| ranges.iter().map(ExactSizeIterator::len).sum()).collect();
    hits.chosen(counts, &ranges.into_iter().flatten().flatten().collect::<Vec<_>>())
}

/// How hits change once they are found: their scores, and then their order.
struct Again {
    ranker: Option<Ranker>,
    order: Order,
}

impl Again {
    fn of(
        score: Option<&FunctionScore>,
        params: &SearchParams,
        (schema, zone): (&Schema, &TimeZone),
        queries: i64,
    ) -> Result<Self, Error> {
        let ranker = match score {
            Some(score) => convert_rank::ranker(score, schema, zone, (1, queries))?,
            None => None,
        };
        Ok(Self { ranker, order: grouping::order(&params.order_by, schema, Ordered::Search)? })
    }

    /// Refuses a model that is not to be asked, before anything is searched.
    fn check(&self, proxy: &Proxy) -> Result<(), Error> {
        match &self.ranker {
            Some(Ranker::Model(judging)) => Ok(proxy.models().ranking(&judging.params).map(|_| ())?),
            _ => Ok(()),
        }
    }

    /// Refuses what does not go together.
    fn check_beside(&self, params: &SearchParams) -> Result<(), Error> {
        // Batches are cut by the scores of the metric, which a ranker changes.
        if (params.iterator || params.batch.is_some()) && self.ranker.is_some() {
            return Err(Error::IteratorRanker);
        }
        if matches!(self.ranker, Some(Ranker::Boosting(_))) && params.groups.field.is_some() {
            return Err(Error::BoostGroups);
        }
        Ok(())
    }

    /// The same once the model, where there is one, has been asked about the hits. Of the queries `without` a vector there are
    /// none.
    async fn judged(
        mut self,
        proxy: &Proxy,
        without: &[usize],
        hits: &SearchHits,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        if let Some(Ranker::Model(judging)) = &mut self.ranker {
            let mut query = 0..;
            // They are ascending.
            let is_there = |query| without.binary_search(&query).is_err();
            judging.queries.retain(|_| query.next().is_some_and(is_there));
            let fusion = models::judged(proxy, judging, std::slice::from_ref(hits), deadline).await?;
            self.ranker = Some(Ranker::Fusion(fusion));
        }
        Ok(self)
    }

    /// The columns that are needed of every hit.
    fn fields(&self) -> Vec<FieldId> {
        let mut fields = match &self.ranker {
            Some(Ranker::Boosting(boosting)) => boosting.fields().collect(),
            Some(Ranker::Fusion(Fusion::Decayed { decay, .. })) => vec![decay.field],
            Some(Ranker::Model(judging)) => vec![judging.field],
            Some(Ranker::Fusion(_)) | None => Vec::new(),
        };
        fields.extend(self.order.fields());
        fields
    }

    fn apply(
        self,
        hits: SearchHits,
        metric: Metric,
        count: usize,
        grouping: Option<Grouping>,
    ) -> Result<SearchHits, Error> {
        let hits = match self.ranker {
            // A model has been asked by now.
            None | Some(Ranker::Model(_)) => hits,
            Some(Ranker::Boosting(boosting)) => {
                let boosted = boosting.apply(metric, hits);
                boosted.map_err(|missing| Error::Answer { reason: missing.to_string() })?
            }
            Some(Ranker::Fusion(fusion)) => {
                let plan = RankPlan {
                    metrics: vec![metric],
                    queries: hits.counts.len(),
                    fusion,
                    count,
                    grouping: grouping.map(|grouping| (grouping, Mode::Max)),
                };
                rank(&plan, vec![hits]).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?
            }
        };
        Ok(if self.order.by.is_empty() { hits } else { in_order(&self.order, &hits, grouping) })
    }
}

/// The hits of each query by other values than their scores; groups stay together and are compared by their first hits.
fn in_order(order: &Order, hits: &SearchHits, grouping: Option<Grouping>) -> SearchHits {
    let keys = order.keys(&hits.rows);
    let mut ranges: Vec<Vec<Range<usize>>> = match grouping {
        None => hits.spans().into_iter().map(|span| span.map(|hit| hit..hit + 1).collect()).collect(),
        Some(grouping) => {
            let groups = groups_of(hits, grouping.field).into_iter();
            groups.map(|groups| groups.into_iter().map(|(_, range)| range).collect()).collect()
        }
    };
    for ranges in &mut ranges {
        ranges.sort_by(|left, right| order.compare(&keys[left.start], &keys[right.start]));
    }
    of_ranges(hits, ranges)
}

/// What is highlighted in the hits, if anything is to be. Only words can be that the search counts, or that are named.
fn highlighting(
    info: &CollectionInfo,
    request: &SearchRequest,
    params: &SearchParams,
) -> Result<Option<Highlighting>, Error> {
    let Some(highlighter) = &request.highlighter else { return Ok(None) };
    if highlighter.r#type() == HighlightType::Semantic {
        return Err(Error::ReadNotBuilt { what: "a highlighter with a model" });
    }
    let other = || Error::HighlightMetric { metric: params.metric.clone() };
    if !params.metric.is_empty() && Metric::from_name(&params.metric) != Some(Metric::Bm25) {
        return Err(other());
    }
    let field = params.field(&info.schema)?;
    let function = info.schema.counts_of(field.id).ok_or_else(other)?;
    let wanted = Wanted::of(highlighter)?;
    let texts = match &request.search_input {
        Some(SearchInput::PlaceholderGroup(group)) if wanted.search_text => {
            convert_texts::queries(group, request.nq)?
        }
        _ => Vec::new(),
    };
    wanted.in_schema(&info.schema, function, texts, params.analyzer_name.as_deref()).map(Some)
}

/// Refuses what a request may carry but this version does not do, rather than to ignore it.
fn check_built(request: &SearchRequest) -> Result<(), Error> {
    let missing = if !request.function_chains.is_empty() {
        "a function chain"
    } else if !request.sub_reqs.is_empty() {
        "a sub-request"
    } else {
        return Ok(());
    };
    Err(Error::ReadNotBuilt { what: missing })
}

/// A name for an iterator, in the form of a UUID. It carries nothing: every batch says where the last one ended.
fn token(info: &CollectionInfo, session: Timestamp) -> String {
    let seed = [info.id.0.to_le_bytes(), session.0.to_le_bytes()].concat();
    let bits = xxhash_rust::xxh3::xxh3_128(&seed);
    let text = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// The vectors that are stored under some keys, in the order of the keys; none of a row without one.
async fn vectors_of(
    proxy: &Proxy,
    info: &CollectionInfo,
    field: &Field,
    ids: IDs,
    view: View,
) -> Result<Vec<Option<Vector>>, Error> {
    let wanted = wanted_keys(info, ids)?;
    convert_search::check_count(0, wanted.len())?;
    let rows = rows_of_keys(proxy, info, &wanted, None, vec![field.id], view).await?;
    let vectors = rows.rows.column(field.id);
    let find = |key: &Key| rows.keys.iter().position(|found| found == *key);
    let missing: Vec<String> =
        wanted.iter().filter(|key| find(key).is_none()).map(|key| key.to_string()).collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        let text = format!("some of the provided primary key IDs do not exist: missing IDs = [{missing}]");
        return Err(Error::SearchIds { text });
    }
    let vector = |key: Key| match (find(&key), vectors) {
        (Some(row), Some(column)) if !column.is_valid(row) => Ok(None),
        (row, column) => {
            let found = row.zip(column).and_then(|(row, column)| Vector::of(column.data.value(row)));
            found.map(Some).ok_or_else(|| Error::Answer { reason: format!("no vector for key {key}") })
        }
    };
    wanted.iter().map(vector).collect()
}

fn wanted_keys(info: &CollectionInfo, ids: IDs) -> Result<Keys, Error> {
    let wanted = match ids.id_field {
        Some(i_ds::IdField::IntId(ids)) => Keys::Int(ids.data),
        Some(i_ds::IdField::StrId(ids)) => Keys::Text(ids.data.iter().map(String::as_str).collect()),
        _ => return Err(Error::NoSearchInput),
    };
    let expected = Keys::empty(info.schema.primary().data_type);
    if std::mem::discriminant(&expected) != std::mem::discriminant(&wanted) {
        let name = info.schema.primary().data_type.name().to_lowercase();
        return Err(Error::SearchIds { text: format!("primary key is {name}, but IDs type mismatch") });
    }
    let mut seen = std::collections::HashSet::new();
    if wanted.iter().all(|key| seen.insert(key)) {
        Ok(wanted)
    } else {
        Err(Error::SearchIds { text: "duplicate IDs found in search request".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use contract::pb::common::{PlaceholderGroup, PlaceholderValue};
    use contract::pb::schema::LongArray;
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_search_that_does_not_say_how_many_vectors_it_has_is_counted_by_those_that_it_brings() {
        let placeholder = PlaceholderValue { values: vec![Vec::new(); 7], ..Default::default() };
        let group = PlaceholderGroup { placeholders: vec![placeholder] }.encode_to_vec();
        let vectors = SearchInput::PlaceholderGroup(group.into());
        let ids = IDs { id_field: Some(i_ds::IdField::IntId(LongArray { data: vec![1, 2, 3] })) };
        let counted = |nq, input: SearchInput| {
            queries_of(&SearchRequest { nq, search_input: Some(input), ..Default::default() })
        };

        assert_eq!([counted(0, vectors.clone()), counted(0, SearchInput::Ids(ids))], [7, 3]);
        assert_eq!([counted(5, vectors.clone()), counted(-1, vectors)], [5, 1], "what it says");
        assert_eq!(counted(0, SearchInput::PlaceholderGroup(vec![0xff].into())), 1, "no vectors at all");
    }
}
