//! The REST door: JSON over HTTP/1.1 on the port of gRPC.
//!
//! Every answer of the application is HTTP 200 with `{code, data}` or `{code, message}`. Source: wire specification 4.
//! An endpoint is a function from a [`Visit`] to JSON, entered in a router with the request of gRPC whose rights it takes;
//! what it does is a call of gRPC, made of what was sent.

/// One endpoint's handler: the version of the API, the name of the call, the request of gRPC whose rights it takes, and the
/// function from a [`Visit`] to JSON.
macro_rules! handler {
    ($version:ident, $call:literal, $request:ty, $run:expr) => {
        |State(proxy): State<Proxy>, uri: Uri, headers: HeaderMap, known: Extensions, body: Bytes| async move {
            let door = Door {
                call: $call,
                rule: <$request as Asks>::RULE,
                // What names no object over gRPC names none here, whatever the body says.
                named: !<$request as Default>::default().target().names.is_empty(),
                version: Version::$version,
            };
            answer(&proxy, door, (uri, headers, known, body), async |visit| $run(&proxy, visit).await).await
        }
    };
}

/// One endpoint of version 2.
macro_rules! endpoint {
    ($call:literal, $request:ty, $run:expr) => {
        axum::routing::post(handler!(V2, $call, $request, $run))
    };
}

mod access;
mod aliases;
mod collections;
mod compaction;
mod create;
mod databases;
mod entities;
mod groups;
mod imports;
mod indexes;
mod legacy;
mod partitions;
mod schemas;
mod search;
mod texts;
mod unbuilt;
mod v1;
mod values;
mod visit;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Map, Value as Json, json};
use tracing::Instrument as _;

use super::counting::rows_kind;
use crate::base::Kinded as _;
use crate::intake::Error as Rejected;
use crate::proxy::access::table::Rule;
use crate::proxy::convert::params::cut;
use crate::proxy::convert::status::failure;
use crate::proxy::{Error, Proxy};

pub use visit::Visit;

/// Longest text of a failure: what is wrong is told by its beginning. Unit: bytes.
const MAX_MESSAGE: usize = 4096;

/// What an endpoint answers with, beside the code.
type Data = Result<Map<String, Json>, Error>;

/// The router of all REST paths there are; every other path answers 404.
pub fn router(proxy: Proxy) -> Router {
    // A JSON text takes a few times the room of the same rows on the wire of gRPC.
    let limit = proxy.settings().max_request_bytes.saturating_mul(4);
    Router::new()
        .nest("/v2/vectordb/collections", collections::router().merge(schemas::router()))
        .nest("/v2/vectordb/databases", databases::router())
        .nest("/v2/vectordb/partitions", partitions::router())
        .nest("/v2/vectordb/entities", entities::router())
        .nest("/v2/vectordb/indexes", indexes::router())
        .nest("/v2/vectordb/aliases", aliases::router())
        .nest("/v2/vectordb/resource_groups", groups::router())
        .nest("/v2/vectordb", access::router())
        .nest("/v2/vectordb/common", texts::router())
        .nest("/v2/vectordb/jobs/import", imports::router())
        .nest("/v2/vectordb", unbuilt::router())
        .nest("/v1/vector", v1::router())
        .nest("/api/v1", legacy::router())
        .layer(axum::extract::DefaultBodyLimit::max(limit))
        .with_state(proxy)
}

/// Which API is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `/v1/vector`.
    V1,
    /// `/v2/vectordb`.
    V2,
    /// `/api/v1`, whose bodies are messages of gRPC.
    Legacy,
}

impl Version {
    /// The code of an answer without a failure, where it has one.
    const fn success(self) -> Option<i32> {
        match self {
            Self::V1 => Some(200),
            Self::V2 => Some(0),
            Self::Legacy => None,
        }
    }
}

/// What is known of an endpoint before anybody comes.
#[derive(Clone, Copy, Debug)]
struct Door {
    /// The name that it is counted by.
    call: &'static str,
    /// What it takes.
    rule: Rule,
    /// Whether what it is about has a name.
    named: bool,
    version: Version,
}

/// Runs one endpoint: reads the headers and the body, sees whether the caller may, and puts what comes of it into an answer.
async fn answer(
    proxy: &Proxy,
    door: Door,
    (uri, headers, known, body): (Uri, HeaderMap, Extensions, Bytes),
    run: impl AsyncFnOnce(Visit) -> Data,
) -> Response {
    let Door { call, rule, .. } = door;
    // Whether the caller may is seen before what is wrong with the body: one that cannot be read names nothing.
    let (visit, flaw) = visit::read(door, &uri, &headers, &known, &body);
    let counting = proxy.began(call, rule.call, || {
        let mut about = visit.target(rule, door.named);
        about.database = visit.caller.database(&about.database);
        about
    });
    if let (Some(meter), Some(kind)) = (proxy.meter(), rows_kind(rule.call)) {
        meter.received(kind, body.len());
    }
    drop(body);
    let checked = match proxy.check(&visit.caller, rule, || visit.target(rule, door.named)).await {
        Ok(checked) => checked,
        Err(refused) => {
            counting.ended(Some(refused.kind()));
            return refused.json();
        }
    };
    let outcome = match flaw {
        Some(flaw) => Err(flaw),
        None => within(proxy, visit, run).instrument(tracing::debug_span!("call", call)).await,
    };
    counting.ended(outcome.as_ref().err().map(Error::kind));
    checked.ended(proxy, outcome.as_ref().err().map(Error::code));
    match outcome {
        Ok(mut fields) => {
            if let Some(code) = door.version.success() {
                fields.insert("code".to_owned(), json!(code));
            }
            let text = Json::Object(fields).to_string();
            if let (Some(meter), Some(_)) = (proxy.meter(), rows_kind(rule.call)) {
                meter.sent(text.len());
            }
            json_text(StatusCode::OK, text)
        }
        Err(Error::Refused(refused)) => refused.json(),
        Err(error) => failed(door.version, &error),
    }
}

/// The answer of a call that failed.
fn failed(version: Version, error: &Error) -> Response {
    let status = match (version, error) {
        (_, Error::Timeout) => StatusCode::REQUEST_TIMEOUT,
        (Version::Legacy, Error::Intake(Rejected::NotJson { .. })) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    let message = cut(&error.to_string(), MAX_MESSAGE);
    let body = match version {
        Version::Legacy => {
            let legacy = failure(error).error_code() as i32;
            json!({ "error_code": legacy, "reason": message, "code": error.code() })
        }
        Version::V1 | Version::V2 => json!({ "code": error.code(), "message": message }),
    };
    json_answer(status, &body)
}

/// Runs a call for as long as the client waits; then it is given up, as one is whose client hangs up.
async fn within(proxy: &Proxy, visit: Visit, run: impl AsyncFnOnce(Visit) -> Data) -> Data {
    let patience = visit.patience;
    tokio::select! {
        outcome = run(visit) => outcome,
        () = proxy.clock().sleep(patience) => Err(Error::Timeout),
    }
}

fn json_answer(status: StatusCode, body: &Json) -> Response {
    json_text(status, body.to_string())
}

fn json_text(status: StatusCode, body: String) -> Response {
    let mut answer = (status, body).into_response();
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}

/// An answer with nothing but data.
fn data(data: Json) -> Map<String, Json> {
    Map::from_iter([("data".to_owned(), data)])
}

/// The answer of a change that has nothing to tell.
fn nothing() -> Map<String, Json> {
    data(json!({}))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use serde_json::json;

    use super::{Data, Version, Visit, failed, within};
    use crate::proxy::twin::Twin;
    use crate::proxy::{Error, Proxy};

    #[tokio::test]
    async fn a_call_is_given_up_when_its_client_waits_no_longer() {
        let proxy = Proxy::new(Twin::new().parts());
        let visit = Visit { patience: Duration::ZERO, ..Visit::of(&json!({})) };

        let outcome = within(&proxy, visit, async |_| std::future::pending::<Data>().await).await;

        assert!(matches!(outcome, Err(Error::Timeout)), "{outcome:?}");
        assert_eq!(failed(Version::V2, &Error::Timeout).status(), StatusCode::REQUEST_TIMEOUT);
    }
}
