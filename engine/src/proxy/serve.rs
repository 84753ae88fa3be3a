//! One port for gRPC and REST: HTTP/1.1 and h2, told apart by the first bytes of a connection; in clear text or all of it
//! over TLS.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use contract::pb::milvus::milvus_service_server::MilvusServiceServer;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tower::ServiceExt as _;

use super::access::{self, Peer, is_grpc};
use super::{Error, Proxy, ProxyParts, api};
use crate::base::{TaskSet, accept, chain};
use crate::secure::Acceptor;

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
/// finished. Clients may ping as often as they like. With an `acceptor`, clients come over TLS only.
///
/// # Errors
/// [`Error::Accept`] if the listener breaks, [`Error::Serve`] if a connection ends by a defect.
pub async fn serve(
    listener: TcpListener,
    parts: ProxyParts,
    acceptor: Option<Arc<Acceptor>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let clock = Arc::clone(&parts.clock);
    let proxy = Proxy::new(parts);
    let router = router(proxy.clone());
    let connections = TaskSet::new();
    connections.start("keep limits", |stop| async move {
        proxy.keep_limits(stop).await;
        Ok(())
    });
    let mut is_idle = true;
    let outcome = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            accepted = accept(&listener, &*clock) => match accepted {
                Ok((stream, peer)) => {
                    is_idle = false;
                    let (router, acceptor) = (router.clone(), acceptor.clone());
                    connections.start("connection", move |stop| converse((stream, Peer(peer)), acceptor, router, stop));
                }
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

/// The calls of the gRPC API.
const CALLS: &str = "/milvus.proto.milvus.MilvusService/{call}";

/// The gRPC API as routes for a port that lets in administrators only: who asks is not looked at again and may do
/// everything, whatever users there are and whether they are checked.
pub fn administrators(parts: ProxyParts) -> Router {
    let proxy = Proxy::new(parts);
    let limit = proxy.settings().max_request_bytes;
    let grpc = grpc(&proxy)
        .map_request(|request: http::Request<axum::body::Body>| request.map(tonic::body::Body::new));
    let calls = Router::new().route_service(CALLS, grpc);
    let calls = calls.layer(axum::middleware::from_fn(access::administrator));
    calls.layer(axum::middleware::map_response(move |answer: Response| async move {
        with_final_code(answer, limit)
    }))
}

fn grpc(proxy: &Proxy) -> MilvusServiceServer<Proxy> {
    let settings = proxy.settings();
    MilvusServiceServer::new(proxy.clone())
        .max_decoding_message_size(settings.max_request_bytes)
        .max_encoding_message_size(settings.max_answer_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
}

/// Both APIs as one service.
pub(super) fn router(proxy: Proxy) -> Router {
    let settings = proxy.settings().clone();
    let grpc = tonic::service::Routes::new(grpc(&proxy)).prepare().into_axum_router();
    let both = api::rest::router(proxy.clone());
    let both = both.merge(grpc).fallback(unknown).method_not_allowed_fallback(unknown);
    let both = both.layer(axum::middleware::from_fn_with_state(proxy, access::door));
    both.layer(axum::middleware::map_response(move |answer: Response| {
        let limit = settings.max_request_bytes;
        async move { with_final_code(answer, limit) }
    }))
}

/// What nobody serves: UNIMPLEMENTED over gRPC, 404 else.
async fn unknown(headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        return tonic::Status::unimplemented("unknown service").into_http();
    }
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

/// One connection, from its handshake, if there is to be one, to its end.
async fn converse(
    (stream, peer): (TcpStream, Peer),
    acceptor: Option<Arc<Acceptor>>,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection was gone at once");
        return Ok(());
    }
    let Some(acceptor) = acceptor else {
        speak(stream, peer, router, stop).await;
        return Ok(());
    };
    tokio::select! {
        accepted = acceptor.accept(stream) => match accepted {
            Ok(stream) => speak(stream, peer, router, stop).await,
            Err(error) => tracing::debug!(error = chain(&error), "turned a client away"),
        },
        () = stop.cancelled() => {}
    }
    Ok(())
}

/// Serves one connection until it ends, or until `stop` and the calls under way are done.
async fn speak<S>(stream: S, peer: Peer, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.map_request(
        move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            request.map(axum::body::Body::new)
        },
    ));
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
    use std::sync::Arc;

    use contract::pb::milvus::GetVersionRequest;
    use contract::pb::milvus::milvus_service_client::MilvusServiceClient;
    use hyper_util::rt::TokioIo;
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::serve;
    use crate::base::{RealClock, TaskSet};
    use crate::proxy::twin::Twin;
    use crate::secure::fixture::Authority;
    use crate::secure::{Acceptor, AcceptorSettings, Connector, ConnectorSettings};

    /// Serves the twin on the address in `REDKITE_TWIN`, for real clients, until the process is ended.
    #[tokio::test]
    #[ignore = "runs until it is stopped"]
    async fn real_clients_can_talk_to_the_twin() {
        let address = std::env::var("REDKITE_TWIN").unwrap_or_else(|_| "127.0.0.1:19530".to_owned());
        let listener = TcpListener::bind(address).await.unwrap();

        serve(listener, Twin::new().parts(), None, CancellationToken::new()).await.unwrap();
    }

    #[tokio::test]
    async fn grpc_and_rest_are_served_over_tls() {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = Authority::new(folder.path(), "authority").certify("server");
        let settings = AcceptorSettings::new(certificate, key, None);
        let acceptor = Arc::new(Acceptor::open(settings, RealClock::new()).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskSet::new();
        let parts = Twin::new().parts();
        tasks.start("serve", |stop| async move { Ok(serve(listener, parts, Some(acceptor), stop).await?) });
        let connect = async |protocol: &str| {
            let settings = ConnectorSettings {
                protocols: vec![protocol.to_owned()],
                ..ConnectorSettings::new(folder.path().join("authority.pem"), None)
            };
            let connector = Connector::open(settings, RealClock::new()).await.unwrap();
            connector.connect(TcpStream::connect(address).await.unwrap(), "localhost").await.unwrap()
        };

        let mut stream = Some(TokioIo::new(connect("h2").await));
        let once = tower::service_fn(move |_: http::Uri| {
            std::future::ready(stream.take().ok_or_else(|| std::io::Error::other("used up")))
        });
        let channel = tonic::transport::Endpoint::from_static("http://localhost")
            .connect_with_connector(once)
            .await
            .unwrap();
        let version = MilvusServiceClient::new(channel).get_version(GetVersionRequest {}).await;
        let mut rest = connect("http/1.1").await;
        rest.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        rest.read_to_end(&mut answer).await.unwrap();

        assert_eq!(version.unwrap().into_inner().version, "3.0.1");
        assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    }
}
