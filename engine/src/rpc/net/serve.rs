//! The port for other nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::server::Desk;
use super::{CONNECTION_WINDOW, Error, MAX_FRAME, PING_AFTER, PING_LIMIT, STREAM_WINDOW, Security, Served};
use crate::base::{Clock, TaskSet, accept, chain};
use crate::secure::Tokens;

/// Every call that is for administrators only: of the admin API, and of Milvus's own.
const ADMIN: [&str; 2] = ["/redkite.admin.v1.Admin/{call}", "/milvus.proto.milvus.MilvusService/{call}"];
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 4096;

/// What serving other nodes needs.
#[derive(Clone)]
pub struct ServeParts {
    /// The duties.
    pub served: Served,
    /// How the others are known.
    pub security: Security,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long calls under way may go on after the stop.
    pub grace: Duration,
}

/// Serves other nodes on `listener` until `stop` is cancelled; then no call is taken any more, walks along logs end, and
/// other calls under way get a while to finish.
///
/// # Errors
/// [`Error::Accept`] if the listener breaks, [`Error::Serve`] if a connection ends by a defect.
pub async fn serve(listener: TcpListener, parts: ServeParts, stop: CancellationToken) -> Result<(), Error> {
    let connections = TaskSet::new();
    let host = Arc::new(Host::new(parts, connections.stop_token()));
    let mut is_idle = true;
    let outcome = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            accepted = accept(&listener, &*host.parts.clock) => match accepted {
                Ok((stream, peer)) => {
                    is_idle = false;
                    let host = Arc::clone(&host);
                    connections.start("connection of a node", |stop| async move {
                        host.converse(stream, peer, stop).await;
                        Ok(())
                    });
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

/// What every connection shares.
struct Host {
    parts: ServeParts,
    /// For whoever has shown who it is, and for this machine's own processes.
    router: Router,
    /// For everybody else: calls between nodes, and nothing for administrators.
    outside: Router,
}

impl Host {
    fn new(parts: ServeParts, stop: CancellationToken) -> Self {
        let duties = Desk::new(parts.served.clone(), stop).routes();
        let closed = ADMIN
            .iter()
            .fold(Router::new(), |closed, calls| closed.route(calls, axum::routing::any(keep_out)));
        let outside = duties.clone().merge(closed);
        let router = match &parts.served.admin {
            Some(admin) => duties.merge(admin.clone()),
            None => duties,
        };
        let router = match &parts.security {
            Security::Token(tokens) => {
                router.layer(axum::middleware::from_fn_with_state(Arc::clone(tokens), check))
            }
            Security::Trusted | Security::MutualTls { .. } => router,
        };
        Self { parts, router, outside }
    }

    /// What a connection may call.
    fn router_for(&self, peer: SocketAddr) -> Router {
        let is_known = match &self.parts.security {
            Security::Trusted => peer.ip().to_canonical().is_loopback(),
            Security::Token(_) | Security::MutualTls { .. } => true,
        };
        if is_known { self.router.clone() } else { self.outside.clone() }
    }

    /// One connection, from its handshake to its end. That it broke is the peer's business.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection was gone at once");
            return;
        }
        match &self.parts.security {
            Security::Trusted | Security::Token(_) => {
                self.speak((stream, peer), self.router_for(peer), stop).await;
            }
            Security::MutualTls { acceptor, .. } => tokio::select! {
                accepted = acceptor.accept(stream) => match accepted {
                    Ok(stream) => self.speak((stream, peer), self.router_for(peer), stop).await,
                    // Probes of the port come here too; a node of ours that is turned away says so itself.
                    Err(error) => tracing::debug!(error = chain(&error), "turned away who is no node of ours"),
                },
                () = stop.cancelled() => {}
            },
        }
    }

    async fn speak<S>(&self, (stream, peer): (S, SocketAddr), router: Router, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(router.map_request(
            move |mut request: http::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.map(axum::body::Body::new)
            },
        ));
        let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_LIMIT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_concurrent_streams(MAX_STREAMS)
            .max_send_buf_size(CONNECTION_WINDOW as usize);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.parts.clock.sleep(self.parts.grace) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection of a node broke off");
        }
    }
}

/// What callers of the admin API hear from whom nobody asked for credentials and who is not on this machine.
async fn keep_out() -> Response {
    let text = "the admin API is served beyond this machine only with redkite.admin.tokenFile or internaltls";
    tonic::Status::permission_denied(text).into_http()
}

/// Lets only those in who know the token.
async fn check(State(tokens): State<Arc<Tokens>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    let is_known = match shown.strip_prefix(b"Bearer ") {
        Some(token) => tokens.accepts(token).await,
        None => false,
    };
    if is_known {
        return next.run(request).await;
    }
    tonic::Status::unauthenticated("the token is not that of this cluster").into_http()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::base::RealClock;
    use crate::secure::REREAD;

    /// What somebody at `peer` without credentials hears from the admin API: the gRPC status, or that it is there.
    async fn heard(security: Security, peer: &str) -> String {
        heard_of("redkite.admin.v1.Admin/ListNodes", security, peer).await
    }

    async fn heard_of(call: &str, security: Security, peer: &str) -> String {
        // What only the API itself knows about its calls must not be told to everybody.
        let known = |axum::extract::Path(call): axum::extract::Path<String>| async move {
            if call == "ListNodes" || call == "DropCollection" {
                "let in".into_response()
            } else {
                tonic::Status::unimplemented("").into_http()
            }
        };
        let admin =
            ADMIN.iter().fold(Router::new(), |routes, calls| routes.route(calls, axum::routing::any(known)));
        let served = Served { admin: Some(admin), ..Served::default() };
        let parts = ServeParts { served, security, clock: RealClock::new(), grace: Duration::ZERO };
        let host = Host::new(parts, CancellationToken::new());
        let request = http::Request::post(format!("/{call}"));
        let request = request.body(axum::body::Body::empty()).unwrap();

        let answer = host.router_for(peer.parse().unwrap()).oneshot(request).await.unwrap();

        answer.headers().get("grpc-status").map_or("let in", |status| status.to_str().unwrap()).to_owned()
    }

    #[tokio::test]
    async fn without_credentials_the_admin_api_is_for_this_machine_only() {
        let peers = ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "192.0.2.7:9", "[2001:db8::1]:9"];

        let mut answers = Vec::new();
        for peer in peers {
            answers.push(heard(Security::Trusted, peer).await);
        }

        // 7 is PERMISSION_DENIED.
        assert_eq!(answers, ["let in", "let in", "let in", "7", "7"]);
    }

    #[tokio::test]
    async fn without_credentials_milvus_s_own_calls_are_administered_from_this_machine_only() {
        let call = "milvus.proto.milvus.MilvusService/DropCollection";

        let near = heard_of(call, Security::Trusted, "127.0.0.1:9").await;
        let far = heard_of(call, Security::Trusted, "192.0.2.7:9").await;

        assert_eq!((near.as_str(), far.as_str()), ("let in", "7"));
    }

    #[tokio::test]
    async fn where_a_token_is_asked_for_this_machine_has_to_show_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "secret").unwrap();
        let tokens = Arc::new(Tokens::open(file, REREAD, RealClock::new()).await.unwrap());

        let known = heard(Security::Token(Arc::clone(&tokens)), "127.0.0.1:9").await;
        let unknown =
            heard_of("redkite.admin.v1.Admin/Nothing", Security::Token(Arc::clone(&tokens)), "127.0.0.1:9")
                .await;
        let milvus = "milvus.proto.milvus.MilvusService/DropCollection";
        let own = heard_of(milvus, Security::Token(tokens), "127.0.0.1:9").await;

        // 16 is UNAUTHENTICATED, and comes before it is looked which call is meant.
        assert_eq!((known.as_str(), unknown.as_str(), own.as_str()), ("16", "16", "16"));
    }
}
