//! Connections to other nodes: one per address, made when it is first needed and kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::{CONNECTION_WINDOW, Credentials, NetSettings, PING_AFTER, PING_LIMIT, STREAM_WINDOW};
use crate::base::{Clock, chain};

/// What a generated client calls through.
pub type Carrier = InterceptedService<Channel, Bearer>;

/// A connection as it was when a call took it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) carrier: Carrier,
    /// Which connection to the address it is.
    number: u64,
}

/// Adds the token to each call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The one connection that a channel was made of has ended; the channel was asked for another one. Whatever call meets
/// this was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection has ended")]
struct Ended;

/// Whether a call ended before anything of it was sent, or before the other side did anything of it.
pub(super) fn was_not_sent(status: &tonic::Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        // Cancelled is a request that still waited for its turn when the connection closed, as it does when a node leaves: one
        // that went out ends with an error of the protocol or of the stream below.
        if error.is::<Ended>()
            || error.downcast_ref().is_some_and(hyper::Error::is_canceled)
            || error.downcast_ref().is_some_and(was_left_out)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the other side, which leaves, said that it takes nothing of this call: it names the last one that it takes, and those
/// after it may be made again elsewhere (RFC 9113, 6.8). Calls up to that one go on, and break off in another way.
fn was_left_out(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type AnyStream = TokioIo<Box<dyn Stream>>;

/// All connections of this node to others.
pub(super) struct Links {
    credentials: Credentials,
    settings: NetSettings,
    clock: Arc<dyn Clock>,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    by_address: HashMap<Arc<str>, Arc<Line>>,
    next_sweep: Duration,
}

/// The way to one address.
#[derive(Default)]
struct Line {
    state: Mutex<LineState>,
    /// Held by whoever makes the connection.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct LineState {
    channel: Option<Channel>,
    /// How many connections there have been.
    number: u64,
    last_use: Duration,
    failure: Option<Failure>,
}

/// Why there is no connection.
#[derive(Clone)]
struct Failure {
    reason: String,
    /// No other try before this.
    retry_at: Duration,
    pause: Duration,
}

/// A way to whatever is served at `address`, for one who is no node.
///
/// # Errors
/// Why no connection could be made.
pub async fn reach(
    address: &str,
    credentials: Credentials,
    settings: NetSettings,
    clock: Arc<dyn Clock>,
) -> Result<Carrier, String> {
    let links = Links::new(credentials, settings, clock);
    Ok(links.link(&Arc::from(address)).await?.carrier)
}

impl Links {
    pub(super) fn new(credentials: Credentials, settings: NetSettings, clock: Arc<dyn Clock>) -> Self {
        Self { credentials, settings, clock, lines: Mutex::default() }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) const fn settings(&self) -> &NetSettings {
        &self.settings
    }

    /// The connection to `address`, made now if there is none. After a failure the next try waits, and whoever comes
    /// meanwhile gets the same failure at once. Cancel safe.
    ///
    /// # Errors
    /// Why there is no connection, as text. Nothing was sent.
    pub(super) async fn link(&self, address: &Arc<str>) -> Result<Link, String> {
        let line = self.line(address);
        let bearer = self.bearer().await;
        let (channel, number) = match self.made(&line) {
            Some(made) => made?,
            None => {
                let _making = line.making.lock().await;
                // Another call may have made it, or failed to, while this one waited.
                match self.made(&line) {
                    Some(made) => made?,
                    None => self.make(address, &line).await?,
                }
            }
        };
        Ok(Link { carrier: InterceptedService::new(channel, bearer), number })
    }

    /// Gives up the connection that `link` is of, if it still is the one to `address`. Calls on it go on.
    pub(super) fn give_up(&self, address: &Arc<str>, link: &Link) {
        let line = self.line(address);
        let mut state = line.state.lock();
        if state.number == link.number {
            state.channel = None;
        }
    }

    /// The line to `address`. Drops connections that were idle for long, now and then.
    fn line(&self, address: &Arc<str>) -> Arc<Line> {
        let now = self.clock.monotonic();
        let idle = self.settings.idle;
        let mut lines = self.lines.lock();
        if now >= lines.next_sweep {
            lines.next_sweep = now + idle / 4;
            lines.by_address.retain(|known, line| {
                known == address || Arc::strong_count(line) > 1 || now < line.state.lock().last_use + idle
            });
        }
        let line = Arc::clone(lines.by_address.entry(Arc::clone(address)).or_default());
        line.state.lock().last_use = now;
        line
    }

    async fn bearer(&self) -> Bearer {
        match &self.credentials.token {
            // Tokens are printable, so they make a header.
            Some(tokens) => Bearer(format!("Bearer {}", tokens.own().await).parse().ok()),
            None => Bearer(None),
        }
    }

    /// The connection there is, or the failure that still counts.
    fn made(&self, line: &Line) -> Option<Result<(Channel, u64), String>> {
        let state = line.state.lock();
        match (&state.channel, &state.failure) {
            (Some(channel), _) => Some(Ok((channel.clone(), state.number))),
            (None, Some(failure)) if self.clock.monotonic() < failure.retry_at => {
                Some(Err(failure.reason.clone()))
            }
            _ => None,
        }
    }

    async fn make(&self, address: &str, line: &Line) -> Result<(Channel, u64), String> {
        let made = tokio::select! {
            made = self.connect(address) => made,
            () = self.clock.sleep(self.settings.connect) => {
                Err(format!("no connection within {:?}", self.settings.connect))
            }
        };
        let mut state = line.state.lock();
        match made {
            Ok(channel) => {
                state.number += 1;
                state.failure = None;
                state.channel = Some(channel.clone());
                tracing::debug!(address, "connected");
                Ok((channel, state.number))
            }
            Err(reason) => {
                let doubled = state.failure.take().map(|failure| failure.pause * 2);
                let pause = doubled.unwrap_or(self.settings.backoff).min(self.settings.backoff_most);
                let retry_at = self.clock.monotonic() + pause;
                state.failure = Some(Failure { reason: reason.clone(), retry_at, pause });
                if doubled.is_none() {
                    // Once for all tries until one succeeds.
                    tracing::warn!(address, reason, "cannot reach a node, trying on");
                }
                Err(reason)
            }
        }
    }

    async fn connect(&self, address: &str) -> Result<Channel, String> {
        let failed = |error: &dyn std::error::Error| format!("cannot connect: {}", chain(error));
        let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let stream: Box<dyn Stream> = match &self.credentials.connector {
            None => Box::new(stream),
            Some(connector) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_matches(['[', ']']);
                Box::new(connector.connect(stream, host).await.map_err(|error| failed(&error))?)
            }
        };
        let mut stream = Some(TokioIo::new(stream));
        // The stream is made here, so that what kept it from being made is known for sure; a channel gets exactly one.
        let once = tower::service_fn(move |_: http::Uri| {
            std::future::ready(stream.take().ok_or(Ended)) as std::future::Ready<Result<AnyStream, Ended>>
        });
        Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| failed(&error))?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .connect_with_connector(once)
            .await
            .map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What a call comes to that is handed to a connection which has just ended.
    async fn late() -> tonic::Status {
        let (near, _far) = tokio::io::duplex(1024);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = handshake.await.unwrap();
        drop(connection);
        let error = sender.send_request(http::Request::new(axum::body::Body::empty())).await.unwrap_err();
        tonic::Status::from_error(Box::new(error))
    }

    /// What a call comes to whose connection breaks off after it was sent.
    async fn broken() -> tonic::Status {
        let (near, far) = tokio::io::duplex(1024);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = handshake.await.unwrap();
        let arrived = tokio_util::sync::CancellationToken::new();
        let serve = hyper::service::service_fn(|_: http::Request<hyper::body::Incoming>| {
            arrived.cancel();
            std::future::pending::<Result<http::Response<axum::body::Body>, std::convert::Infallible>>()
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), serve);
        let gone = async {
            tokio::select! {
                _ = served => {}
                () = arrived.cancelled() => {}
            }
        };
        let call = sender.send_request(http::Request::new(axum::body::Body::empty()));
        let (error, _, ()) = tokio::join!(call, connection, gone);
        tonic::Status::from_error(Box::new(error.unwrap_err()))
    }

    /// Waits until headers of a request come, and says then that `last` is the last call that is taken.
    async fn leave_after(last: u8, mut peer: tokio::io::DuplexStream) {
        const HEADERS: u8 = 1;
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        peer.write_all(&settings).await.unwrap();
        peer.read_exact(&mut [0; 24]).await.unwrap();
        loop {
            let mut head = [0; 9];
            peer.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            peer.read_exact(&mut vec![0; length as usize]).await.unwrap();
            if head[3] == HEADERS {
                break;
            }
        }
        let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
        peer.write_all(&go_away).await.unwrap();
    }

    /// What the first call of a connection comes to whose other side leaves and takes calls up to `last`.
    async fn left(last: u8) -> tonic::Status {
        let (near, far) = tokio::io::duplex(1024);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = handshake.await.unwrap();
        let call = sender.send_request(http::Request::new(axum::body::Body::empty()));
        let (error, _, ()) = tokio::join!(call, connection, leave_after(last, far));
        tonic::Status::from_error(Box::new(error.unwrap_err()))
    }

    #[tokio::test]
    async fn a_call_whose_connection_ended_before_its_turn_was_not_sent() {
        assert_eq!((was_not_sent(&late().await), was_not_sent(&broken().await)), (true, false));
    }

    #[tokio::test]
    async fn a_call_that_a_leaving_node_does_not_take_any_more_was_not_sent() {
        // The first call of a connection has the number 1.
        assert_eq!((was_not_sent(&left(0).await), was_not_sent(&left(1).await)), (true, false));
    }
}
