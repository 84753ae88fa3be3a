//! The REST door: JSON over HTTP/1.1 on the port of gRPC.
//!
//! Every answer of the application is HTTP 200 with `{code, data}` or `{code, message}`. Source: wire specification 4.
//! An endpoint is a function from a [`Visit`] to JSON, entered in [`router`].

/// One endpoint: the name of the call, the request of gRPC whose rights it takes, and the function from a [`Visit`] to JSON.
macro_rules! endpoint {
    ($call:literal, $request:ty, $run:path) => {
        post(|State(proxy): State<Proxy>, headers: HeaderMap, known: Extensions, body: Bytes| async move {
            // What names no object over gRPC names none here, whatever the body says.
            let named = !<$request as Default>::default().target().names.is_empty();
            let names = (headers, known, (<$request as Asks>::RULE, named));
            answer(&proxy, $call, names, body, async |visit| $run(&proxy, visit).await).await
        })
    };
}

mod access;
mod compaction;
mod groups;
mod search;
mod values;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use contract::pb::milvus::*;
use http::{Extensions, HeaderMap, HeaderValue, header};
use serde_json::{Map, Value as Json, json};
use tracing::Instrument as _;

use super::{Caller, collections};
use crate::base::Kinded as _;
use crate::model::access::Object;
use crate::proxy::access::table::{Asks, Rule, Target};
use crate::proxy::access::{Login, Peer};
use crate::proxy::{Error, Proxy};

/// One request: who asks, and the JSON object that was sent.
pub struct Visit {
    /// Who asks.
    caller: Caller,
    /// The body.
    body: Map<String, Json>,
    /// Whether 64-bit integers may be JSON numbers; else they are texts.
    takes_int64: bool,
}

/// The router of all REST paths there are; every other path answers 404.
pub fn router(proxy: Proxy) -> Router {
    // A JSON text takes a few times the room of the same rows on the wire of gRPC.
    let limit = proxy.settings().max_request_bytes.saturating_mul(4);
    Router::new()
        .route(
            "/v2/vectordb/collections/list",
            endpoint!("RestListCollections", ShowCollectionsRequest, list),
        )
        .route(
            "/v2/vectordb/collections/compact",
            endpoint!("RestCompact", ManualCompactionRequest, compaction::compact),
        )
        .route(
            "/v2/vectordb/collections/get_compaction_state",
            endpoint!("RestGetCompactionState", GetCompactionStateRequest, compaction::state),
        )
        .route("/v2/vectordb/entities/search", endpoint!("RestSearch", SearchRequest, search::search))
        .route(
            "/v2/vectordb/entities/hybrid_search",
            endpoint!("RestHybridSearch", HybridSearchRequest, search::hybrid),
        )
        .route(
            "/v2/vectordb/entities/advanced_search",
            endpoint!("RestHybridSearch", HybridSearchRequest, search::hybrid),
        )
        .route(
            "/v2/vectordb/resource_groups/create",
            endpoint!("RestCreateResourceGroup", CreateResourceGroupRequest, groups::create),
        )
        .route(
            "/v2/vectordb/resource_groups/alter",
            endpoint!("RestUpdateResourceGroups", UpdateResourceGroupsRequest, groups::alter),
        )
        .route(
            "/v2/vectordb/resource_groups/drop",
            endpoint!("RestDropResourceGroup", DropResourceGroupRequest, groups::drop),
        )
        .route(
            "/v2/vectordb/resource_groups/describe",
            endpoint!("RestDescribeResourceGroup", DescribeResourceGroupRequest, groups::describe),
        )
        .route(
            "/v2/vectordb/resource_groups/list",
            endpoint!("RestListResourceGroups", ListResourceGroupsRequest, groups::list),
        )
        .route(
            "/v2/vectordb/resource_groups/transfer_replica",
            endpoint!("RestTransferReplica", TransferReplicaRequest, groups::transfer_replica),
        )
        .merge(access::router())
        .layer(axum::extract::DefaultBodyLimit::max(limit))
        .with_state(proxy)
}

/// Runs one endpoint: reads the headers and the body, and puts what comes of it into an answer.
async fn answer(
    proxy: &Proxy,
    call: &'static str,
    (headers, known, (rule, named)): (HeaderMap, Extensions, (Rule, bool)),
    body: Bytes,
    run: impl AsyncFnOnce(Visit) -> Result<Map<String, Json>, Error>,
) -> Response {
    let started = proxy.clock().monotonic();
    let mut checked = None;
    let outcome = match visit(&headers, &known, &body) {
        Ok(visit) => {
            match proxy.check(&visit.caller, rule, || visit.target(rule, named)).await {
                Ok(allowed) => checked = Some(allowed),
                Err(refused) => {
                    proxy.ended(call, started, Some(refused.kind()));
                    return refused.json();
                }
            }
            run(visit).instrument(tracing::debug_span!("call", call)).await
        }
        Err(error) => Err(error),
    };
    proxy.ended(call, started, outcome.as_ref().err().map(Error::kind));
    if let Some(checked) = checked {
        checked.ended(proxy, outcome.as_ref().err().map(Error::code));
    }
    let body = match outcome {
        Ok(mut fields) => {
            fields.insert("code".to_owned(), json!(0));
            Json::Object(fields)
        }
        Err(error) => json!({ "code": error.code(), "message": error.to_string() }),
    };
    let mut answer = body.to_string().into_response();
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}

fn visit(headers: &HeaderMap, known: &Extensions, body: &[u8]) -> Result<Visit, Error> {
    let body = match serde_json::from_slice(body) {
        Ok(Json::Object(body)) => body,
        // Milvus takes `null`, which some clients send for no body at all, for an empty object.
        Ok(Json::Null) => Map::new(),
        Ok(other) => return Err(Error::NotJson { reason: format!("{other} is not an object") }),
        Err(reason) => return Err(Error::NotJson { reason: reason.to_string() }),
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let named = body.get("dbName").and_then(Json::as_str).filter(|name| !name.is_empty());
    let database = named.or_else(|| text("db-name").filter(|name| !name.is_empty())).map(str::to_owned);
    let takes_int64 = text("accept-type-allow-int64").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let caller = Caller {
        database,
        login: known.get::<Login>().cloned(),
        from: known.get::<Peer>().map(|peer| peer.0.ip()),
    };
    Ok(Visit { caller, body, takes_int64 })
}

impl Visit {
    /// What the request is about, in the words of REST; nothing by name unless it is `named`.
    fn target(&self, rule: Rule, named: bool) -> Target {
        if !named {
            return Target::default();
        }
        let one = match rule.needs {
            Some((Object::User, _)) => self.text("userName"),
            _ => self.text("collectionName"),
        };
        let mut names = self.texts("collectionNames");
        names.extend((!one.is_empty()).then_some(one));
        Target { database: String::new(), names }
    }

    /// A text that must be there. `request` is the name of the request's type in Milvus's words.
    fn required(&self, request: &str, key: &str) -> Result<String, Error> {
        match self.body.get(key).and_then(Json::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(missing(request, key)),
        }
    }

    /// The texts of a list; empty if there is none.
    fn texts(&self, key: &str) -> Vec<String> {
        let list = self.body.get(key).and_then(Json::as_array);
        list.map(|list| list.iter().filter_map(Json::as_str).map(str::to_owned).collect()).unwrap_or_default()
    }

    /// A text; empty if there is none.
    fn text(&self, key: &str) -> String {
        self.body.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
    }
}

/// Milvus's words for a key that must be there.
fn missing(request: &str, key: &str) -> Error {
    let mut letters = key.chars();
    let key: String =
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    Error::MissingParameter {
        reason: format!(
            "Key: '{request}.{key}' Error:Field validation for '{key}' failed on the 'required' tag"
        ),
    }
}

/// An answer with nothing but data.
fn data(data: Json) -> Map<String, Json> {
    Map::from_iter([("data".to_owned(), data)])
}

/// The names of the collections of a database.
async fn list(proxy: &Proxy, visit: Visit) -> Result<Map<String, Json>, Error> {
    let shown = collections::show(proxy, visit.caller, ShowCollectionsRequest::default()).await?;
    Ok(data(json!(shown.collection_names)))
}
