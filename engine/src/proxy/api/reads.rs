//! Searches and queries.

use contract::pb::milvus::search_request::SearchInput;
use contract::pb::milvus::{QueryRequest, QueryResults, SearchRequest, SearchResults};
use contract::pb::schema::{IDs, i_ds};

use super::{Caller, partitions_of_read};
use crate::base::{FieldId, PartitionId, Timestamp};
use crate::expr::Filter;
use crate::model::{Batch, Column, ColumnData, Field, Key, Keys};
use crate::plan::{QueryKind, QueryPlan, QueryRows, SearchPlan};
use crate::proxy::convert::output::{self, Output};
use crate::proxy::convert::status::success;
use crate::proxy::convert::{consistency, filter, query as convert_query, search as convert_search};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, CollectionRef, Consistency, Refusal};

/// How far ahead of the clock a client may ask to read. Source: wire specification 2.3.
const MAX_LAG_MS: u64 = 86_400_000;
/// Everything that was acknowledged before the read: what a change must look at.
const NOW: View = View { read_at: Timestamp::MAX, consistency: Consistency::Strong, session: Timestamp::MAX };

/// Nearest neighbours of some vectors.
pub async fn search(proxy: &Proxy, caller: Caller, request: SearchRequest) -> Result<SearchResults, Error> {
    search_rows(proxy, caller, request).await.map_err(|error| at_peer("failed to search", error))
}

/// Rows by filter, or their number.
pub async fn query(proxy: &Proxy, caller: Caller, request: QueryRequest) -> Result<QueryResults, Error> {
    query_rows(proxy, caller, request).await.map_err(|error| at_peer("failed to query", error))
}

/// Puts Milvus's step in front of what a peer said about data that is not in memory.
fn at_peer(step: &'static str, error: Error) -> Error {
    match error {
        Error::Peer(crate::rpc::Error::Refused(
            Refusal::CollectionNotLoaded { .. }
            | Refusal::PartitionNotLoaded { .. }
            | Refusal::BadSearch { .. },
        )) => Error::during(step)(error),
        other => other,
    }
}

async fn search_rows(
    proxy: &Proxy,
    caller: Caller,
    mut request: SearchRequest,
) -> Result<SearchResults, Error> {
    let info = proxy.info_unchecked(&caller, &request.db_name, &request.collection_name).await?;
    check_built(&request)?;
    check_loaded(proxy, &info).await?;
    let schema = &info.schema;
    let mut params = convert_search::params(&request.search_params)?;
    check_same_collection(params.collection_id.as_deref(), &info, "may have")?;
    let field = params.field(schema)?;
    let metric = params.metric(&info, field)?;
    let asked = consistency::Asked {
        use_default: request.use_default_consistency,
        level: request.consistency_level,
        guarantee: request.guarantee_timestamp,
    };
    let view = proxy.view(&info, params.iterator, asked).await?;
    let partitions = partitions_of_read(&info, &request.partition_names)?;
    let queries = match request.search_input.take() {
        Some(SearchInput::PlaceholderGroup(group)) => convert_search::queries(&group, field, request.nq)?,
        Some(SearchInput::Ids(ids)) => vectors_of(proxy, &info, field, ids, view).await?,
        None => return Err(Error::NoSearchInput),
    };
    let filter = filter::of_read(&request.dsl, schema, std::mem::take(&mut request.expr_template_values))?;
    let output = output::resolve(schema, &request.output_fields)?;
    if let Some(batch) = params.batch.as_mut().filter(|batch| batch.token.is_empty()) {
        batch.token = token(&info, view.session);
    }
    let plan = SearchPlan {
        collection: info.id,
        partitions,
        field: field.id,
        metric,
        queries,
        count: params.limit + params.offset,
        params: std::mem::take(&mut params.index),
        range: params.range(metric)?,
        filter,
        output: output.fields.clone(),
        read_at: view.read_at,
        ignore_growing: params.ignore_growing,
    };
    let hits = proxy.reader().search(plan, view.consistency).await?;
    let results = convert_search::results(schema, &params, &output, hits)?;
    Ok(SearchResults {
        status: Some(success()),
        results: Some(results),
        collection_name: request.collection_name,
        session_ts: view.session.0,
    })
}

/// Refuses what a request may carry but this version does not do, rather than to ignore it.
fn check_built(request: &SearchRequest) -> Result<(), Error> {
    let missing = if request.function_score.is_some() || !request.function_chains.is_empty() {
        "a function score"
    } else if request.highlighter.is_some() {
        "a highlighter"
    } else if request.search_aggregation.is_some() {
        "a search aggregation"
    } else if !request.sub_reqs.is_empty() {
        "a sub-request"
    } else {
        return Ok(());
    };
    Err(Error::ReadNotBuilt { what: missing })
}

/// Refuses to read what is not in memory. That a collection is not loaded is believed only if the coordinator says so:
/// it may have been loaded by way of another proxy a moment ago.
async fn check_loaded(proxy: &Proxy, info: &CollectionInfo) -> Result<(), Error> {
    if info.load.is_some() || proxy.coord().load_progress(CollectionRef::Id(info.id)).await?.is_some() {
        Ok(())
    } else {
        Err(Refusal::CollectionNotLoaded { collection: info.id.to_string() }.into())
    }
}

/// An iterator that started on another collection of the same name must not go on.
fn check_same_collection(
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

/// A name for an iterator, in the form of a UUID. It carries nothing: every batch says where the last one ended.
fn token(info: &CollectionInfo, session: Timestamp) -> String {
    let seed = [info.id.0.to_le_bytes(), session.0.to_le_bytes()].concat();
    let bits = xxhash_rust::xxh3::xxh3_128(&seed);
    let text = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// What a read sees of a collection's history.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    /// Nothing after this time.
    read_at: Timestamp,
    /// At least this.
    consistency: Consistency,
    /// The time to tell the client.
    session: Timestamp,
}

impl Proxy {
    /// What a read sees.
    ///
    /// An iterator reads at one instant for all its pages: the one it names, or a new one. Every other read sees
    /// whatever its consistency level asks for, and may see more.
    async fn view(
        &self,
        info: &CollectionInfo,
        iterator: bool,
        asked: consistency::Asked,
    ) -> Result<View, Error> {
        let now = self.now();
        let named = (asked.guarantee > consistency::LAST_WORD).then_some(Timestamp(asked.guarantee));
        if named.is_some_and(|time| time.unix_ms() > now.unix_ms().saturating_add(MAX_LAG_MS)) {
            return Err(Error::GuaranteeTooFar);
        }
        if !iterator {
            let consistency = consistency::of_read(asked, info.consistency);
            return Ok(View { read_at: Timestamp::MAX, consistency, session: now });
        }
        let pinned = match named {
            Some(time) => time,
            None => self.reader().pin(info.id).await?,
        };
        Ok(View { read_at: pinned, consistency: Consistency::Session(pinned), session: pinned })
    }
}

/// The vectors that are stored under some keys, in the order of the keys.
async fn vectors_of(
    proxy: &Proxy,
    info: &CollectionInfo,
    field: &Field,
    ids: IDs,
    view: View,
) -> Result<Vec<Vec<f32>>, Error> {
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
        (Some(row), Some(column)) if !column.is_valid(row) => {
            let text = format!("the vector field {} of primary key {key} is null", field.name);
            Err(Error::SearchIds { text })
        }
        (Some(row), Some(Column { data: ColumnData::FloatVector { dim, values }, .. })) => {
            Ok(values[row * dim..(row + 1) * dim].to_vec())
        }
        _ => Err(Error::Answer { reason: format!("no vector for key {key}") }),
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

/// Whole rows of some keys as they are now, as far as there are any.
pub(super) async fn current_rows(
    proxy: &Proxy,
    info: &CollectionInfo,
    keys: &Keys,
    partition: Option<PartitionId>,
) -> Result<QueryRows, Error> {
    let output = info.schema.fields.iter().map(|field| field.id).collect();
    rows_of_keys(proxy, info, keys, partition, output, NOW).await
}

/// The newest row of each of some keys, as far as there is one.
async fn rows_of_keys(
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
        filter: Some(filter::of_keys(keys, &info.schema)?),
        limit: None,
        output,
        read_at: view.read_at,
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
    let plan = QueryPlan {
        collection: info.id,
        partitions: partition.map(|partition| vec![partition]),
        filter: Some(filter),
        limit: None,
        output: vec![info.schema.primary().id],
        read_at: Timestamp::MAX,
        ignore_growing: false,
        kind: QueryKind::Rows,
    };
    Ok(proxy.reader().query(plan, Consistency::Strong).await?.keys)
}

async fn query_rows(proxy: &Proxy, caller: Caller, mut request: QueryRequest) -> Result<QueryResults, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_loaded(proxy, &info).await?;
    let schema = &info.schema;
    let params = convert_query::params(&request.query_params)?;
    check_same_collection(params.collection_id.as_deref(), &info, "may have")?;
    let counts = request.output_fields.iter().any(|name| name.trim() == convert_query::COUNT);
    if counts && params.limit.is_some() {
        return Err(Error::CountPaginated);
    }
    let filter = filter::of_read(&request.expr, schema, std::mem::take(&mut request.expr_template_values))?;
    if filter.is_none() && params.limit.is_none() && !counts {
        return Err(Error::EmptyExpression);
    }
    let output = if counts {
        None
    } else {
        Some(output::resolve(schema, &request.output_fields)?.with_first(schema.primary()))
    };
    let asked = consistency::Asked {
        use_default: request.use_default_consistency,
        level: request.consistency_level,
        guarantee: request.guarantee_timestamp,
    };
    let view = proxy.view(&info, params.iterator, asked).await?;
    let plan = QueryPlan {
        collection: info.id,
        partitions: partitions_of_read(&info, &request.partition_names)?,
        filter,
        limit: params.limit.map(|limit| limit + params.offset),
        output: output.as_ref().map(|output| output.fields.clone()).unwrap_or_default(),
        read_at: view.read_at,
        ignore_growing: params.ignore_growing,
        kind: if counts { QueryKind::Count } else { QueryKind::Rows },
    };
    let found = proxy.reader().query(plan, view.consistency).await?;
    let (fields_data, output_fields) = match output {
        None => (vec![convert_query::count_column(found.count)], vec![convert_query::COUNT.to_owned()]),
        Some(output) => returned(schema, output, found.rows, params.offset)?,
    };
    Ok(QueryResults {
        status: Some(success()),
        fields_data,
        collection_name: request.collection_name,
        output_fields,
        session_ts: view.session.0,
        primary_field_name: schema.primary().name.clone(),
        ..Default::default()
    })
}

/// The rows past the offset as columns of the wire, and the names of the columns.
fn returned(
    schema: &crate::model::Schema,
    output: Output,
    rows: Batch,
    offset: usize,
) -> Result<(Vec<contract::pb::schema::FieldData>, Vec<String>), Error> {
    let rows =
        if offset == 0 { rows } else { rows.take(&(offset.min(rows.rows)..rows.rows).collect::<Vec<_>>()) };
    let columns = output::fields_data(schema, &output, rows)?;
    Ok((columns, output.names))
}
