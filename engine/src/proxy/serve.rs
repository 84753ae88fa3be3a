//! One port for gRPC and REST: HTTP/1.1 and h2 in clear text, told apart by the first bytes of a connection.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use contract::pb::milvus::milvus_service_server::MilvusServiceServer;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tower::ServiceExt as _;

use super::{Error, Proxy, ProxyParts, api};
use crate::base::TaskSet;

/// What a stream may send before it is read. Unit: bytes. Rows come in megabytes.
const STREAM_WINDOW: u32 = 4 << 20;
/// What a connection may send before it is read. Unit: bytes.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest frame taken. Unit: bytes.
const MAX_FRAME: u32 = 1 << 20;
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 1024;
/// Largest header block. Unit: bytes.
const MAX_HEADERS: u32 = 1 << 20;

/// Serves both APIs on `listener` until `stop` is cancelled; then no call is taken any more and those under way are
/// finished. Clients may ping as often as they like.
///
/// # Errors
/// [`Error::Accept`] if the listener breaks, [`Error::Serve`] if a connection ends by a defect.
pub async fn serve(listener: TcpListener, parts: ProxyParts, stop: CancellationToken) -> Result<(), Error> {
    let router = router(Proxy::new(parts));
    let connections = TaskSet::new();
    let mut is_idle = true;
    let outcome = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    is_idle = false;
                    let router = router.clone();
                    connections.start("connection", |stop| converse(stream, router, stop));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => break Err(Error::Accept(error)),
            },
            ended = connections.join(), if !is_idle => match ended {
                Ok(()) => is_idle = true,
                Err(error) => break Err(Error::Serve(error)),
            },
        }
    };
    drop(listener);
    connections.stop();
    let finished = connections.join().await.map_err(Error::Serve);
    outcome.and(finished)
}

/// Whether only the connection that was about to come is lost.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Both APIs as one service.
fn router(proxy: Proxy) -> Router {
    let settings = proxy.settings().clone();
    let grpc = MilvusServiceServer::new(proxy.clone())
        .max_decoding_message_size(settings.max_request_bytes)
        .max_encoding_message_size(settings.max_answer_bytes)
        .accept_compressed(CompressionEncoding::Gzip);
    let grpc = tonic::service::Routes::new(grpc).prepare().into_axum_router();
    let both = api::rest::router(proxy).merge(grpc).fallback(unknown).method_not_allowed_fallback(unknown);
    both.layer(axum::middleware::map_response(move |answer: Response| {
        let limit = settings.max_request_bytes;
        async move { with_final_code(answer, limit) }
    }))
}

/// What nobody serves: UNIMPLEMENTED over gRPC, 404 else.
async fn unknown(headers: HeaderMap) -> Response {
    let is_grpc =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return tonic::Status::unimplemented("unknown service").into_http();
    }
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

/// Serves one connection until it ends, or until `stop` and the calls under way are done.
async fn converse(stream: TcpStream, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection was gone at once");
        return Ok(());
    }
    let service = TowerToHyperService::new(
        router
            .map_request(|request: http::Request<hyper::body::Incoming>| request.map(axum::body::Body::new)),
    );
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(CONNECTION_WINDOW as usize);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients hang up as they like: nothing to act on.
        tracing::debug!(error, "connection broke off");
    }
    Ok(())
}

/// Answers that tonic makes before a call is reached get the codes that Milvus uses, none of which makes a client repeat
/// a call that cannot succeed: a message too large, and bytes that are no message.
fn with_final_code(mut answer: Response, limit: usize) -> Response {
    let Some(status) = answer.headers().get("grpc-status") else { return answer };
    let message =
        answer.headers().get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    let replaced = match status.as_bytes() {
        b"11" if message.contains("length") => {
            let size = size_in(message).unwrap_or_default();
            Some(("8", format!("grpc: received message larger than max ({size} vs. {limit})")))
        }
        b"13" if message.contains("decode") => {
            Some(("3", "grpc: the request is not a message of this call".to_owned()))
        }
        _ => None,
    };
    if let Some((code, text)) = replaced
        && let Ok(text) = HeaderValue::from_str(&text.replace(' ', "%20"))
    {
        answer.headers_mut().insert("grpc-status", HeaderValue::from_static(code));
        answer.headers_mut().insert("grpc-message", text);
    }
    answer
}

/// The first size in tonic's percent-encoded text, `… found:%20123%20bytes …`.
fn size_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("found")?;
    let rest = rest.replace("%20", " ");
    rest.split(|letter: char| !letter.is_ascii_digit()).find(|digits| !digits.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::serve;
    use crate::proxy::twin::Twin;
    use tokio_util::sync::CancellationToken;

    /// Serves the twin on the address in `REDKITE_TWIN`, for real clients, until the process is ended.
    #[tokio::test]
    #[ignore = "runs until it is stopped"]
    async fn real_clients_can_talk_to_the_twin() {
        let address = std::env::var("REDKITE_TWIN").unwrap_or_else(|_| "127.0.0.1:19530".to_owned());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();

        serve(listener, Twin::new().parts(), CancellationToken::new()).await.unwrap();
    }
}
