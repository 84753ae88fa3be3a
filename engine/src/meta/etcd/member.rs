//! One member of etcd: its connection, and when it last answered.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::{BalancedChannelBuilder, Channel, Client, ConnectOptions, KvClient};
use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, mpsc};
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic::transport::channel::Change;

use crate::base::{Clock, Secret};

use super::fault::{Asked, Fault, What, classify};
use super::identity::Identity;
use super::settings::Place;

/// Give up opening a connection after this.
const OPEN_LIMIT: Duration = Duration::from_secs(3);
/// Ask whether a connection with a request under way still lives after this. etcd refuses less than 5 s.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(6);
/// A connection is dead when that question has no answer after this.
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(3);
/// A member that answered less than this ago is taken to be well.
const FRESH: Duration = Duration::from_secs(1);
/// A connection on which nothing was answered for this long, though asked, is given up.
const SILENT: Duration = Duration::from_secs(5);

/// One member, spoken to as one identity.
pub(super) struct Member {
    place: Place,
    /// The place as text.
    pub address: String,
    user: Option<(String, Secret)>,
    tls: Option<TlsConnector>,
    clock: Arc<dyn Clock>,
    /// Empty until the first use; replaced to get a new connection, which those under way do not notice.
    link: Mutex<Arc<OnceCell<KvClient>>>,
    health: Mutex<Health>,
    /// What the server said instead of answering on the last connection that was opened.
    alert: Arc<Mutex<Option<String>>>,
}

/// What the last requests told.
#[derive(Default)]
struct Health {
    /// When it answered last; none after a failure.
    answered_at: Option<Duration>,
    /// When it was first overtaken since it answered.
    overtaken_at: Option<Duration>,
}

impl Member {
    pub(super) fn new(place: Place, identity: &Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            address: place.to_string(),
            place,
            user: identity.user.clone(),
            tls: identity.tls.clone().map(TlsConnector::from),
            clock,
            link: Mutex::default(),
            health: Mutex::default(),
            alert: Arc::default(),
        }
    }

    /// Does `call` on this member's connection, which is made if there is none. If etcd refuses who asks, once more
    /// with a new token: users and their rights change.
    pub(super) async fn ask<T, A>(&self, call: impl Fn(KvClient) -> A) -> Result<T, Fault>
    where
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        let link = self.link.lock().clone();
        let answer = self.ask_on(&link, &call).await;
        let refused = answer.as_ref().is_err_and(|fault| matches!(fault.what, What::Denied | What::Invalid));
        if !refused || self.user.is_none() || !link.initialized() {
            return answer;
        }
        let next = {
            let mut current = self.link.lock();
            if Arc::ptr_eq(&current, &link) {
                *current = Arc::default();
            }
            current.clone()
        };
        self.ask_on(&next, &call).await
    }

    async fn ask_on<T, A>(&self, link: &OnceCell<KvClient>, call: impl Fn(KvClient) -> A) -> Result<T, Fault>
    where
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        let kv = link.get_or_try_init(|| self.open()).await?.clone();
        let answer = call(kv).await.map_err(|source| self.fault(source, Asked::Data));
        let mut health = self.health.lock();
        match &answer {
            Ok(_) => *health = Health { answered_at: Some(self.clock.monotonic()), overtaken_at: None },
            Err(_) => health.answered_at = None,
        }
        answer
    }

    /// Whether it answered a moment ago.
    pub(super) fn is_fresh(&self) -> bool {
        let answered_at = self.health.lock().answered_at;
        answered_at.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < FRESH)
    }

    /// It took so long that another was asked.
    pub(super) fn overtaken(&self) {
        let now = self.clock.monotonic();
        let mut health = self.health.lock();
        health.answered_at = None;
        let since = *health.overtaken_at.get_or_insert(now);
        if now.saturating_sub(since) >= SILENT {
            health.overtaken_at = None;
            // The next request opens a new connection; those under way keep the old one.
            *self.link.lock() = Arc::default();
        }
    }

    fn fault(&self, source: etcd_client::Error, asked: Asked) -> Fault {
        classify(source, asked, &self.address, self.alert.lock().clone())
    }

    async fn open(&self) -> Result<KvClient, Fault> {
        let opened = match self.client(self.user.as_ref()).await {
            // Settings may name a user before etcd asks for one.
            Err(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::FailedPrecondition => {
                self.client(None).await
            }
            opened => opened,
        };
        let client = opened.map_err(|source| self.fault(source, Asked::Token))?;
        // Answers are as large as what was put; the page size bounds their number of records.
        Ok(client.kv_client().max_decoding_message_size(usize::MAX))
    }

    /// A client that connects at its first request, which is the one for a token if there is a user.
    async fn client(&self, user: Option<&(String, Secret)>) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new().with_auto_token_refresh(true);
        if let Some((name, password)) = user {
            options = options.with_user(name, password.reveal());
        }
        // The scheme is what requests say; the connector encrypts whatever it is.
        let url = format!("http://{}", self.address);
        let endpoint = Endpoint::from_shared(url.clone())?
            .http2_keep_alive_interval(KEEP_ALIVE_AFTER)
            .keep_alive_timeout(KEEP_ALIVE_LIMIT);
        let dial = Dial {
            place: self.place.clone(),
            tls: self.tls.clone(),
            clock: self.clock.clone(),
            alert: self.alert.clone(),
        };
        let connector = tower::service_fn(move |_: Uri| dial.clone().dial());
        let channel = Channel::Tonic(endpoint.connect_with_connector_lazy(connector));
        // The library announces its endpoints to the channel, which has its own already.
        let (announce, _announced) = mpsc::channel(1);
        Client::connect_with_balanced_channel([url], Some(options), Ready { channel, announce }).await
    }
}

/// A channel that exists already.
struct Ready {
    channel: Channel,
    announce: mpsc::Sender<Change<Uri, Endpoint>>,
}

impl BalancedChannelBuilder for Ready {
    type Error = etcd_client::Error;

    fn balanced_channel(
        self,
        _: usize,
    ) -> Result<(Channel, mpsc::Sender<Change<Uri, Endpoint>>), etcd_client::Error> {
        Ok((self.channel, self.announce))
    }
}

/// How to open one connection.
#[derive(Clone)]
struct Dial {
    place: Place,
    tls: Option<TlsConnector>,
    clock: Arc<dyn Clock>,
    alert: Arc<Mutex<Option<String>>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Dial {
    async fn dial(self) -> Result<TokioIo<Box<dyn Stream>>, io::Error> {
        tokio::select! {
            biased;
            opened = self.open() => opened.map(TokioIo::new),
            () = self.clock.sleep(OPEN_LIMIT) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }

    async fn open(&self) -> Result<Box<dyn Stream>, io::Error> {
        let stream = TcpStream::connect((self.place.host.as_str(), self.place.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.place.host.clone())
            .map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))?;
        let stream = tls.connect(name, stream).await?;
        Ok(Box::new(Listening { stream, alert: Some(self.alert.clone()) }))
    }
}

/// A stream that notes with which alert the server answers our first bytes: the layers above lose it.
struct Listening<S> {
    stream: S,
    /// Gone once the server said anything else.
    alert: Option<Arc<Mutex<Option<String>>>>,
}

impl<S: AsyncRead + Unpin> Listening<S> {
    /// Holds the failure of a write back until it was heard what the server said before it closed the connection.
    fn heard<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_))) && self.alert.is_some() {
            let mut lost = [0; 1];
            // A closed connection is always about to be readable, if only to say that it is closed.
            let _ = std::task::ready!(Pin::new(self).poll_read(context, &mut ReadBuf::new(&mut lost)));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if let Poll::Ready(ended) = &read
            && let Some(alert) = self.alert.take()
        {
            let inner = ended.as_ref().err().and_then(io::Error::get_ref);
            let said = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
            // Anything else than an alert means that the server lets us in, or that nothing is known.
            *alert.lock() = match said {
                Some(said @ rustls::Error::AlertReceived(_)) => Some(said.to_string()),
                _ => None,
            };
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.heard(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(context);
        self.heard(written, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
