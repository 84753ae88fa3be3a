//! `common/run_analyzer`: the REST form of the call that analyses texts.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{AnalyzerToken, RunAnalyzerRequest};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data};
use crate::proxy::access::table::Asks;
use crate::proxy::api::texts;
use crate::proxy::convert::params::{boolean, plain};
use crate::proxy::{Error, Proxy};

/// Milvus's name of the request, in complaints about missing keys.
const REQUEST: &str = "RunAnalyzerReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new().route("/run_analyzer", endpoint!("RestRunAnalyzer", RunAnalyzerRequest, run_analyzer))
}

async fn run_analyzer(proxy: &Proxy, visit: Visit) -> Data {
    let texts: Vec<Vec<u8>> = match visit.body.get("text") {
        Some(Json::Array(texts)) => texts.iter().map(|text| plain(text).into_bytes()).collect(),
        Some(text) => vec![plain(text).into_bytes()],
        None => return Err(Error::missing(REQUEST, "text")),
    };
    let flag = |key: &str| visit.body.get(key).is_some_and(|value| boolean(&plain(value)) == Some(true));
    let request = RunAnalyzerRequest {
        placeholder: texts,
        analyzer_params: visit.body.get("analyzerParams").map(plain).unwrap_or_default(),
        with_detail: flag("withDetail"),
        with_hash: flag("withHash"),
        collection_name: visit.text("collectionName"),
        field_name: visit.text("fieldName"),
        analyzer_names: visit.texts("analyzerNames"),
        ..Default::default()
    };
    let (with_detail, with_hash) = (request.with_detail, request.with_hash);
    let analyzed = texts::run_analyzer(proxy, visit.caller, request).await?;
    let shown = |token: AnalyzerToken| {
        let mut shown = json!({ "token": token.token });
        if with_detail {
            shown["start_offset"] = json!(token.start_offset);
            shown["end_offset"] = json!(token.end_offset);
            shown["position"] = json!(token.position);
            shown["position_length"] = json!(token.position_length);
        }
        if with_hash {
            shown["hash"] = json!(token.hash);
        }
        shown
    };
    let results = analyzed.results.into_iter();
    let results =
        results.map(|one| json!({ "tokens": one.tokens.into_iter().map(shown).collect::<Vec<_>>() }));
    Ok(data(results.collect()))
}
