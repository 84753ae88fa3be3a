//! Analysing texts: on request, for the rows that are written, and for searches by texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::pb::milvus::{AnalyzerResult, AnalyzerToken, RunAnalyzerRequest, RunAnalyzerResponse};

use super::reads::View;
use super::{Caller, computed};
use crate::model::{Batch, Field, Function, SparseVector, Vector};
use crate::plan::{QueryKind, QueryPlan, TermStatistics};
use crate::proxy::convert::search::SearchParams;
use crate::proxy::convert::status::success;
use crate::proxy::convert::texts::{self, Signer};
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;
use crate::text::{Analyzer, FieldAnalyzer, TermCounts, Token, term_hash};

/// Most bytes of the texts of one request to analyse: their words take many times as much.
const MAX_ANALYZED_BYTES: usize = 1 << 20;

/// The words of some texts, by an analyzer of the request or of a field.
pub async fn run_analyzer(
    proxy: &Proxy,
    caller: Caller,
    request: RunAnalyzerRequest,
) -> Result<RunAnalyzerResponse, Error> {
    let analyzer = match (request.collection_name.is_empty(), request.field_name.is_empty()) {
        (true, true) => {
            // Not kept for others: it is of this request alone.
            let analyzer = Analyzer::new(&request.analyzer_params).map_err(|error| texts::refused(&error))?;
            FieldAnalyzer::One(analyzer)
        }
        _ if !request.analyzer_params.is_empty() => return Err(Error::AnalyzerTwice),
        _ => {
            let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
            texts::analyzer(analyzed_field(&info, &request.field_name)?)?
        }
    };
    if request.placeholder.iter().map(Vec::len).sum::<usize>() > MAX_ANALYZED_BYTES {
        return Err(Error::AnalyzedTooLong { limit: MAX_ANALYZED_BYTES });
    }
    let (texts, names) = (request.placeholder, request.analyzer_names);
    if names.len() > 1 && names.len() != texts.len() {
        return Err(Error::AnalyzerNames { names: names.len(), texts: texts.len() });
    }
    let texts = texts.into_iter().map(texts::text_of).collect::<Result<Vec<_>, _>>()?;
    let (with_detail, with_hash) = (request.with_detail, request.with_hash);
    let results = computed("analyse texts", move || {
        let analyze = |(at, text): (usize, &String)| {
            let name = names.get(at).or_else(|| names.first()).map(String::as_str);
            let tokens = analyzer.named(name).map(|analyzer| analyzer.analyze(text)).unwrap_or_default();
            let tokens = tokens.into_iter().map(|token| token_to_wire(token, with_detail, with_hash));
            AnalyzerResult { tokens: tokens.collect() }
        };
        texts.iter().enumerate().map(analyze).collect()
    })
    .await?;
    Ok(RunAnalyzerResponse { status: Some(success()), results })
}

fn analyzed_field<'a>(info: &'a CollectionInfo, name: &str) -> Result<&'a Field, Error> {
    let Some(field) = info.schema.field(name) else {
        return Err(Error::Checked { code: 1700, text: format!("field not found[field={name}]") });
    };
    if field.is_on("enable_analyzer") {
        Ok(field)
    } else {
        Err(Error::NotAnalyzed { field: name.to_owned() })
    }
}

fn token_to_wire(token: Token, with_detail: bool, with_hash: bool) -> AnalyzerToken {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let hash = if with_hash { term_hash(&token.text) } else { 0 };
    let plain = AnalyzerToken { token: token.text, hash, ..Default::default() };
    if !with_detail {
        return plain;
    }
    AnalyzerToken {
        start_offset: number(token.start),
        end_offset: number(token.end),
        position: number(token.position),
        position_length: 1,
        ..plain
    }
}

/// Whole rows with what functions compute of them.
pub(super) async fn with_computed(info: &CollectionInfo, rows: Batch) -> Result<Batch, Error> {
    if info.schema.functions.is_empty() {
        return Ok(rows);
    }
    let (schema, mut rows) = (info.schema.clone(), rows);
    Ok(computed("compute functions", move || texts::compute(&schema, &mut rows).map(|()| rows)).await??)
}

/// The vectors that stand for texts in a search of the field that `function` fills: of each term its rarity in the collection.
/// How counts of words are weighed is added to the parameters of the index.
///
/// Asks all nodes that the search will ask how often the terms are there, and what length texts have, before it.
pub(super) async fn queries(
    proxy: &Proxy,
    info: &CollectionInfo,
    function: &Function,
    (group, nq): (&Bytes, i64),
    params: &mut SearchParams,
    view: View,
) -> Result<Vec<Vector>, Error> {
    let texts = texts::queries(group, nq)?;
    let counts = counts(info, function, texts, params.analyzer_name.clone()).await?;
    let mut terms: Vec<u32> = counts.iter().flat_map(|counts| counts.terms.iter().copied()).collect();
    terms.sort_unstable();
    terms.dedup();
    let statistics = statistics(proxy, info, function, &terms, params.ignore_growing, view).await?;
    params.index.extend(saturation(info, function, &statistics));
    let rarities: BTreeMap<u32, f32> = terms
        .iter()
        .zip(&statistics.having)
        .map(|(term, having)| (*term, statistics.rarity(*having)))
        .collect();
    let weighed = |TermCounts { terms, counts }: TermCounts| {
        let weights =
            terms.iter().zip(counts).map(|(term, count)| count * rarities.get(term).unwrap_or(&0.0));
        let values = weights.collect();
        Vector::Sparse(SparseVector { indices: terms, values })
    };
    Ok(counts.into_iter().map(weighed).collect())
}

/// The signatures of the texts in a search of the field that `function` fills.
pub(super) async fn signatures(
    info: &CollectionInfo,
    function: &Function,
    (group, nq): (&Bytes, i64),
) -> Result<Vec<Vector>, Error> {
    let texts = texts::queries(group, nq)?;
    let signer = Signer::new(&info.schema, function)?;
    let sign = move || texts.iter().map(|text| Vector::Bits(signer.sign(Some(text)))).collect();
    computed("sign queries", sign).await
}

async fn counts(
    info: &CollectionInfo,
    function: &Function,
    texts: Vec<String>,
    name: Option<String>,
) -> Result<Vec<TermCounts>, Error> {
    let field = info.schema.field_by_id(function.input);
    let missing = || Error::Answer { reason: format!("function {} lacks its input", function.name) };
    let analyzer = texts::analyzer(field.ok_or_else(missing)?)?;
    computed("analyse queries", move || {
        let one = analyzer.named(name.as_deref());
        let terms = |text: &String| one.map(|one| one.terms(text)).unwrap_or_default();
        texts.iter().map(terms).collect()
    })
    .await
}

async fn statistics(
    proxy: &Proxy,
    info: &CollectionInfo,
    function: &Function,
    terms: &[u32],
    ignore_growing: bool,
    view: View,
) -> Result<TermStatistics, Error> {
    if terms.is_empty() {
        return Ok(TermStatistics::none(0));
    }
    let plan = QueryPlan {
        collection: info.id,
        partitions: None,
        filter: None,
        limit: Some(0),
        order: None,
        output: Vec::new(),
        read_at: view.read_at,
        expired_before: view.expiry.written_before,
        ignore_growing,
        kind: QueryKind::Terms { field: function.output, terms: terms.to_vec() },
    };
    let answer = proxy.reader().query(plan, view.consistency).await?;
    TermStatistics::of_rows(&answer, terms.len())
        .ok_or_else(|| Error::Answer { reason: "it has no statistics of terms".to_owned() })
}

fn saturation(
    info: &CollectionInfo,
    function: &Function,
    statistics: &TermStatistics,
) -> impl Iterator<Item = (String, String)> {
    let of_index = texts::saturation(info.index_on(function.output));
    let average = ("bm25_avgdl", statistics.average().to_string());
    of_index.into_iter().chain([average]).map(|(key, value)| (key.to_owned(), value))
}
