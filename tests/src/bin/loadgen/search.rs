//! Searches one query at a time from each of several clients and compares the answers with the exact ones.

use crate::arrays::{self, Matrix};
use crate::channel::{Caller, Times};
use crate::failures::{Failures, Policy};
use crate::flags::Flags;
use anyhow::{Context, Result, bail, ensure};
use contract::pb::common::{
    DslType, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status,
};
use contract::pb::milvus::{SearchRequest, SearchResults, search_request};
use contract::pb::schema::i_ds::IdField;
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Bytes;

/// The latest answer to each query, undecoded; empty where none came.
type Answers = Vec<Bytes>;

/// What every client goes by.
struct Course {
    requests: Vec<Bytes>,
    /// When it is over.
    end: Instant,
    /// Time from one search of a client to its next one, for a load of a given rate.
    every: Option<Duration>,
    policy: Policy,
}

/// What one client has seen.
struct Seen {
    times: Times,
    answers: Answers,
    failures: Failures,
}

/// Runs the closed loops for the time asked, or until SIGTERM, and says rate, times, failures and recall.
pub async fn run(flags: &Flags) -> Result<Value> {
    let clients = flags.or("clients", 1_usize)?;
    let span = Duration::from_secs_f64(flags.or("seconds", 10.0_f64)?);
    let topk = flags.or("topk", 10_usize)?;
    let queries = arrays::floats(flags.required("queries")?)?;
    let requests = requests(flags, &queries, topk)?;
    let uri = flags.required("uri")?;
    let mut callers = Vec::new();
    for _ in 0..clients {
        callers.push(Caller::connect(uri, "Search").await?);
    }
    let warmup = flags.or("warmup", 200_usize)?;
    if let Some(caller) = callers.first_mut() {
        for message in requests.iter().cycle().take(warmup) {
            caller.call(message.clone()).await?;
        }
    }
    let rate = flags.or("rate", 0.0_f64)?;
    #[expect(clippy::cast_precision_loss, reason = "there are few clients")]
    let every = (rate > 0.0).then(|| Duration::from_secs_f64(clients as f64 / rate));
    let start = Instant::now();
    let course =
        Arc::new(Course { requests, end: start + span, every, policy: flags.or("failures", Policy::Stop)? });
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (client, caller) in callers.into_iter().enumerate() {
        // Clients begin at different queries, so that together they do not ask the same thing at the same moment.
        let first = client * course.requests.len() / clients;
        let began = start + every.unwrap_or_default() * u32::try_from(client)? / u32::try_from(clients)?;
        tasks.spawn(repeat(caller, Arc::clone(&course), first, began, stop.clone()));
    }
    let mut all = Seen {
        times: Times::default(),
        answers: vec![Bytes::new(); course.requests.len()],
        failures: Failures::default(),
    };
    let mut told = signal(SignalKind::terminate())?;
    loop {
        let done = tokio::select! {
            _ = told.recv() => {
                stop.cancel();
                continue;
            }
            done = tasks.join_next() => done,
        };
        let Some(done) = done else { break };
        let Seen { times, answers, failures } = done??;
        all.times.append(times);
        all.failures.append(failures);
        let given = answers.into_iter().zip(&mut all.answers).filter(|(new, _)| !new.is_empty());
        given.for_each(|(new, kept)| *kept = new);
    }
    let seconds = start.elapsed().as_secs_f64();
    let Seen { mut times, answers, failures } = all;
    #[expect(clippy::cast_precision_loss, reason = "call counts are far below 2^52")]
    let rate = times.count() as f64 / seconds;
    Ok(
        json!({"op": "search", "clients": clients, "topk": topk, "params": flags.optional("params").unwrap_or("{}"),
        "filter": flags.optional("filter").unwrap_or(""), "queries": times.count(), "seconds": seconds, "qps": rate,
        "p50_ms": times.quantile(0.5), "p99_ms": times.quantile(0.99), "max_ms": times.quantile(1.0),
        "failed": failures.count(), "failures": failures.texts(), "recall": recall(flags, &answers, topk)?}),
    )
}

async fn repeat(
    mut caller: Caller,
    course: Arc<Course>,
    first: usize,
    began: Instant,
    stop: CancellationToken,
) -> Result<Seen> {
    let count = course.requests.len();
    let mut seen =
        Seen { times: Times::default(), answers: vec![Bytes::new(); count], failures: Failures::default() };
    let mut due = began;
    for index in (0..count).cycle().skip(first) {
        if course.every.is_some() {
            tokio::time::sleep_until(due.into()).await;
        }
        let start = if course.every.is_some() { due } else { Instant::now() };
        if start >= course.end || stop.is_cancelled() {
            break;
        }
        due += course.every.unwrap_or_default();
        let message = course.requests.get(index).context("an index below the length")?.clone();
        match caller.call(message).await.and_then(checked) {
            Ok(answer) => {
                seen.times.add(start);
                seen.answers[index] = answer;
            }
            Err(failure) => seen.failures.add(failure, course.policy)?,
        }
    }
    Ok(seen)
}

/// The part of an answer that says whether it is one; reading no more keeps the load generator small.
#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
}

fn checked(answer: Bytes) -> Result<Bytes> {
    let status = Outcome::decode(answer.clone())?.status.unwrap_or_default();
    ensure!(status.code == 0, "search was refused: {} {}", status.code, status.reason);
    Ok(answer)
}

fn requests(flags: &Flags, queries: &Matrix<f32>, topk: usize) -> Result<Vec<Bytes>> {
    let pairs = [
        ("anns_field", flags.optional("field").unwrap_or("vector").to_owned()),
        ("topk", topk.to_string()),
        ("params", flags.optional("params").unwrap_or("{}").to_owned()),
        ("metric_type", flags.optional("metric").unwrap_or("IP").to_owned()),
        ("round_decimal", "-1".to_owned()),
    ];
    let output: Vec<String> =
        flags.optional("output").map_or(Vec::new(), |names| names.split(',').map(str::to_owned).collect());
    let collection = flags.required("collection")?;
    let request = |query: &[f32]| {
        let value = PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: PlaceholderType::FloatVector.into(),
            values: vec![query.iter().flat_map(|value| value.to_le_bytes()).collect()],
            ..PlaceholderValue::default()
        };
        let group = PlaceholderGroup { placeholders: vec![value] };
        let request = SearchRequest {
            collection_name: collection.to_owned(),
            dsl: flags.optional("filter").unwrap_or_default().to_owned(),
            dsl_type: DslType::BoolExprV1.into(),
            search_params: pairs
                .iter()
                .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: value.clone() })
                .collect(),
            output_fields: output.clone(),
            guarantee_timestamp: 1,
            nq: 1,
            consistency_level: contract::pb::common::ConsistencyLevel::Eventually.into(),
            search_input: Some(search_request::SearchInput::PlaceholderGroup(Bytes::from(
                group.encode_to_vec(),
            ))),
            ..SearchRequest::default()
        };
        Bytes::from(request.encode_to_vec())
    };
    Ok((0..queries.rows()).map(|row| request(queries.row(row))).collect())
}

/// The share of the true nearest that were found, over the queries that were answered; null without the exact answers.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn recall(flags: &Flags, answers: &[Bytes], topk: usize) -> Result<Value> {
    let truth = flags.optional("truth").map(arrays::integers).transpose()?;
    let (mut found, mut wanted) = (0_usize, 0_usize);
    for (query, answer) in answers.iter().enumerate().filter(|(_, answer)| !answer.is_empty()) {
        let ids = ids(answer)?;
        let Some(truth) = &truth else { continue };
        let nearest: Vec<i64> =
            truth.row(query).iter().take(topk).filter(|id| **id >= 0).map(|id| i64::from(*id)).collect();
        found += nearest.iter().filter(|id| ids.contains(id)).count();
        wanted += nearest.len();
    }
    Ok(if wanted == 0 { Value::Null } else { json!(found as f64 / wanted as f64) })
}

fn ids(answer: &Bytes) -> Result<Vec<i64>> {
    let answer = SearchResults::decode(answer.clone())?;
    match answer.results.and_then(|results| results.ids).and_then(|ids| ids.id_field) {
        Some(IdField::IntId(ids)) => Ok(ids.data),
        None => Ok(Vec::new()),
        Some(_) => bail!("expected integer keys"),
    }
}
