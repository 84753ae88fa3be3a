//! Hybrid search: several searches whose hits become one list.

use std::collections::HashMap;

use contract::pb::common::KeyValuePair;
use contract::pb::milvus::{HybridSearchRequest, SearchRequest, SearchResults};
use futures::{StreamExt as _, TryStreamExt as _};

use super::reads::{View, add_fields, at_peer, check_loaded, check_same_collection};
use super::{Caller, models, partitions_of_read, search as searches};
use crate::base::{FieldId, Timestamp};
use crate::calendar::TimeZone;
use crate::inference::Deadline;
use crate::model::{DataType, Metric, Schema};
use crate::plan::{Fusion, Grouping, RankPlan, SearchHits, SearchPlan, rank};
use crate::proxy::convert::lists::Collapse;
use crate::proxy::convert::rank::{self as convert_rank, Judging, MAX_REQUESTS, RankParams, Ranker};
use crate::proxy::convert::search::Giving;
use crate::proxy::convert::status::success;
use crate::proxy::convert::times::{Times, hand_down};
use crate::proxy::convert::{consistency, lists, output, search as convert_search, travel};
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// Nearest neighbours in several fields, ranked as one.
pub async fn search(
    proxy: &Proxy,
    caller: Caller,
    request: HybridSearchRequest,
) -> Result<SearchResults, Error> {
    search_all(proxy, caller, request).await.map_err(|error| at_peer("failed to search", error))
}

/// The time that all searches are to see: one of them may name it for the others, too.
fn asked_time(request: &mut HybridSearchRequest) -> Result<Option<Timestamp>, Error> {
    let mut time = travel::asked(request.travel_timestamp, &request.rank_params, &mut HashMap::new(), "")?;
    for one in &mut request.requests {
        let (field, templates) = (one.travel_timestamp, &mut one.expr_template_values);
        let other = travel::asked(field, &one.search_params, templates, &one.dsl)?;
        match (time, other) {
            (Some(one), Some(other)) if one != other => {
                return Err(Error::Travel { value: format!("{} and {}", one.0, other.0) });
            }
            _ => time = time.or(other),
        }
    }
    Ok(time)
}

async fn search_all(
    proxy: &Proxy,
    caller: Caller,
    mut request: HybridSearchRequest,
) -> Result<SearchResults, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let about = About::partitions(&info, &request.partition_names);
    proxy.admit(&caller, Asked::Search, about, || {
        let queries = request.requests.iter().take(MAX_REQUESTS).map(searches::queries_of);
        queries.sum()
    })?;
    let deadline = proxy.models().deadline();
    partitions_of_read(&info, &request.partition_names)?;
    check_loaded(proxy, &info).await?;
    let schema = &info.schema;
    if request.requests.is_empty() {
        return Err(Error::NoRequests);
    }
    if request.requests.len() > MAX_REQUESTS {
        return Err(Error::TooManyRequests { limit: MAX_REQUESTS });
    }
    let params = convert_rank::params(&request.rank_params, convert_search::window_of(&info))?;
    let first = request.requests.first().map_or(&[][..], |first| &first.search_params);
    let times = Times::of_hybrid(&request.rank_params, first, &info.properties)?;
    let fused = fusion(&request, &params, schema, &times.zone)?;
    if let Fused::By(judging) = &fused {
        proxy.models().ranking(&judging.params)?;
    }
    let grouping = params.groups.resolve(schema)?;
    let output = output::resolve(schema, &request.output_fields, times)?;
    let asked = consistency::Asked {
        use_default: request.use_default_consistency,
        level: request.consistency_level,
        guarantee: request.guarantee_timestamp,
    };
    let view = proxy.view(&info, false, asked, asked_time(&mut request)?).await?;
    let mut fields = output.fields.clone();
    match &fused {
        Fused::As(Fusion::Decayed { decay, .. }) => add_fields(&mut fields, [decay.field]),
        Fused::By(judging) => add_fields(&mut fields, [judging.field]),
        Fused::As(_) => {}
    }
    let is_same = are_of_one_struct(&info, &request.requests)?;
    if schema.fields.iter().any(|field| matches!(field.data_type, DataType::ArrayOfVector(_))) {
        // Hits of elements become rows by it.
        add_fields(&mut fields, [schema.primary().id]);
    }
    let names = &request.partition_names;
    let common = Common { params: &params, grouping, names, fields, view, deadline, is_same };
    let (plans, collapses) = common.plans(proxy, &info, &request.rank_params, &mut request.requests).await?;
    let queries = plans.first().map_or(0, |plan| plan.queries.len());
    let metrics: Vec<Metric> = plans.iter().map(|plan| plan.metric).collect();
    let asked = plans.into_iter().map(|plan| searches::run(proxy, &info, plan, view));
    let mut answers: Vec<SearchHits> =
        futures::stream::iter(asked).buffered(searches::AT_ONCE).try_collect().await?;
    if !is_same {
        let by = collapses.into_iter().zip(&metrics);
        answers = answers.into_iter().zip(by).map(|(hits, (by, metric))| by.rows_of(hits, *metric)).collect();
    }
    let ranking = RankPlan {
        metrics,
        queries,
        fusion: match fused {
            Fused::As(fusion) => fusion,
            Fused::By(judging) => models::judged(proxy, &judging, &answers, deadline).await?,
        },
        count: params.limit + params.offset,
        grouping: grouping.map(|grouping| (grouping, params.group_scorer)),
    };
    let hits = rank(&ranking, answers).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?;
    let giving = Giving {
        limit: params.limit,
        offset: params.offset,
        round_decimal: params.round_decimal,
        group_field: grouping.map(|grouping| grouping.field),
        elements_by: None,
        batch: None,
        highlighting: None,
    };
    Ok(SearchResults {
        status: Some(success()),
        results: Some(searches::results(&info, giving, output, hits).await?),
        collection_name: request.collection_name,
        session_ts: view.session.0,
    })
}

/// Whether all searches are of elements of the arrays of one struct: then what they find are elements, too.
fn are_of_one_struct(info: &CollectionInfo, requests: &[SearchRequest]) -> Result<bool, Error> {
    if info.schema.structs.is_empty() {
        return Ok(false);
    }
    let mut found = None;
    for request in requests {
        let params = convert_search::params(&request.search_params, convert_search::window_of(info))?;
        let field = params.field(&info.schema)?;
        let of = info.schema.struct_of(field.id).map(|of| of.id);
        if of.is_none() || !lists::are_elements(field, params.metric(info, field)?) {
            return Ok(false);
        }
        if *found.get_or_insert(of) != of {
            return Ok(false);
        }
    }
    Ok(found.is_some())
}

/// How scores are put together.
enum Fused {
    /// So.
    As(Fusion),
    /// As a model says of what is found.
    By(Judging),
}

/// How scores are put together: by the function score if there is one, else by the rank parameters.
fn fusion(
    request: &HybridSearchRequest,
    params: &RankParams,
    schema: &Schema,
    zone: &TimeZone,
) -> Result<Fused, Error> {
    if !request.function_chains.is_empty() {
        return Err(Error::ReadNotBuilt { what: "a function chain" });
    }
    let searches = request.requests.len();
    let queries = request.requests.first().map_or(0, searches::asked_queries);
    let ranker = match &request.function_score {
        Some(score) => convert_rank::ranker(score, schema, zone, (searches, queries))?,
        None => None,
    };
    match ranker {
        None => params.fusion(searches).map(Fused::As),
        Some(Ranker::Fusion(fusion)) => Ok(Fused::As(fusion)),
        Some(Ranker::Model(judging)) => Ok(Fused::By(judging)),
        Some(Ranker::Boosting(_)) => Err(Error::ReadNotBuilt { what: "a boost ranker in a hybrid search" }),
    }
}

/// What all searches of a hybrid search have in common.
struct Common<'a> {
    params: &'a RankParams,
    grouping: Option<Grouping>,
    names: &'a [String],
    fields: Vec<FieldId>,
    view: View,
    deadline: Deadline,
    /// Whether what is searched are elements of the arrays of one struct.
    is_same: bool,
}

impl Common<'_> {
    /// All searches, which must have as many queries, and how elements that each finds become rows.
    async fn plans(
        &self,
        proxy: &Proxy,
        info: &CollectionInfo,
        rank_params: &[KeyValuePair],
        requests: &mut [SearchRequest],
    ) -> Result<(Vec<SearchPlan>, Vec<Collapse>), Error> {
        let mut asked = Vec::with_capacity(requests.len());
        for one in requests {
            hand_down(rank_params, &mut one.search_params);
            asked.push(self.plan(proxy, info, one));
        }
        // Models and nodes may be asked for each of them.
        let planned: Vec<(SearchPlan, Collapse)> =
            futures::stream::iter(asked).buffered(searches::AT_ONCE).try_collect().await?;
        let (plans, collapses): (Vec<SearchPlan>, Vec<Collapse>) = planned.into_iter().unzip();
        let queries = plans.first().map_or(0, |plan| plan.queries.len());
        let other = plans.iter().map(|plan| plan.queries.len()).find(|actual| *actual != queries);
        match other {
            Some(actual) => Err(Error::RequestCountsDiffer { expected: queries, actual }),
            None => Ok((plans, collapses)),
        }
    }

    /// One of the searches, and how elements that it finds become rows. It finds its own limit, and the hybrid search's offset
    /// on top.
    async fn plan(
        &self,
        proxy: &Proxy,
        info: &CollectionInfo,
        request: &mut SearchRequest,
    ) -> Result<(SearchPlan, Collapse), Error> {
        let mut params = convert_search::params(&request.search_params, convert_search::window_of(info))?;
        check_same_collection(params.collection_id.as_deref(), info, "may have")?;
        if params.iterator {
            return Err(Error::HybridIterator);
        }
        if request.function_score.is_some() || !request.function_chains.is_empty() {
            return Err(Error::ReadNotBuilt { what: "a function score in one search of a hybrid search" });
        }
        if request.highlighter.is_some() {
            return Err(Error::ReadNotBuilt { what: "a highlighter in one search of a hybrid search" });
        }
        if self.grouping.is_some() && params.radius.is_some() {
            return Err(Error::GroupByRange);
        }
        let field = params.field(&info.schema)?;
        let metric = params.metric(info, field)?;
        let of_elements = lists::are_elements(field, metric);
        lists::check_in_hybrid(&info.schema, (field, metric), &params, self.grouping, self.is_same)?;
        let collapse = if of_elements { Collapse::taken(&mut params, metric)? } else { Collapse::Best };
        let names = if self.names.is_empty() { &request.partition_names } else { self.names };
        let partitions = partitions_of_read(info, names)?;
        params.offset = params.offset.max(self.params.offset);
        let seen = (self.view, partitions, self.fields.clone());
        // Groups are a matter of the whole: a search by groups of its own would hide rows from the others.
        params.groups.clone_from(&self.params.groups);
        let mut plan = searches::plan(proxy, info, request, &mut params, seen, self.deadline).await?;
        if of_elements && !self.is_same && collapse == Collapse::Best {
            // The best element stands for its row.
            plan.grouping = Some(Grouping { field: info.schema.primary().id, size: 1, strict: false });
        }
        if params.without.is_empty() {
            Ok((plan, collapse))
        } else {
            Err(Error::SearchIds { text: "a hybrid search by a key whose vector is null".to_owned() })
        }
    }
}
