//! Handshakes over loopback with certificates made on the spot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use super::fixture::Authority;
use super::{Acceptor, AcceptorSettings, Connector, ConnectorSettings, Error, Tokens};
use crate::base::{Kind, Kinded as _, RealClock, TaskSet};

/// A server that sends back what it gets, and the authority it is of.
struct Echo {
    folder: TempDir,
    authority: Authority,
    address: String,
    _tasks: TaskSet,
}

impl Echo {
    async fn start(wants_certificates: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let (certificate, key) = authority.certify("server");
        let clients = wants_certificates.then(|| folder.path().join("authority.pem"));
        let settings =
            AcceptorSettings { reread: Duration::ZERO, ..AcceptorSettings::new(certificate, key, clients) };
        let acceptor = Arc::new(Acceptor::open(settings, RealClock::new()).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks = TaskSet::new();
        let connections = tasks.clone();
        tasks.start("accept", |_| async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let acceptor = Arc::clone(&acceptor);
                connections.start("echo", |_| async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut byte = [0];
                        while stream.read_exact(&mut byte).await.is_ok() {
                            stream.write_all(&byte).await?;
                        }
                    }
                    Ok(())
                });
            }
        });
        Self { folder, authority, address, _tasks: tasks }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn connect(&self, settings: ConnectorSettings) -> Result<TlsStream<TcpStream>, Error> {
        let connector = Connector::open(settings, RealClock::new()).await.unwrap();
        let stream = TcpStream::connect(&self.address).await.unwrap();
        connector.connect(stream, "localhost").await
    }

    /// What the right client trusts, with the certificate `identity`.
    fn trusting(&self, identity: Option<&str>) -> ConnectorSettings {
        let identity = identity
            .map(|name| (self.path().join(format!("{name}.pem")), self.path().join(format!("{name}.key"))));
        ConnectorSettings::new(self.path().join("authority.pem"), identity)
    }
}

/// Whether what is sent comes back.
async fn is_echoed(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok() && &byte == b"x"
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn the_right_client_is_served() {
    let echo = Echo::start(false).await;

    let mut stream = echo.connect(echo.trusting(None)).await.unwrap();

    assert!(is_echoed(&mut stream).await);
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let echo = Echo::start(false).await;
    Authority::new(echo.path(), "other");

    let refused = echo.connect(ConnectorSettings::new(echo.path().join("other.pem"), None)).await;

    assert_eq!(refused.err().map(|error| error.kind()), Some(Kind::Denied));
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let echo = Echo::start(false).await;
    let settings = ConnectorSettings { server_name: Some("elsewhere".to_owned()), ..echo.trusting(None) };

    assert!(matches!(echo.connect(settings).await, Err(Error::Handshake { .. })));
}

#[tokio::test]
async fn mutual_tls_takes_only_clients_of_the_authority() {
    let echo = Echo::start(true).await;
    echo.authority.certify("client");
    Authority::new(echo.path(), "other").certify("stranger");
    let mut served = Vec::new();

    for identity in [Some("client"), None, Some("stranger")] {
        // The server's verdict comes with the first bytes it sends.
        served.push(match echo.connect(echo.trusting(identity)).await {
            Ok(mut stream) => is_echoed(&mut stream).await,
            Err(_) => false,
        });
    }

    assert_eq!(served, [true, false, false]);
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_old_ones_live_on() {
    let echo = Echo::start(false).await;
    let mut old = echo.connect(echo.trusting(None)).await.unwrap();

    echo.authority.certify("server");
    let mut new = echo.connect(echo.trusting(None)).await.unwrap();

    assert_ne!(shown(&old), shown(&new));
    assert!(is_echoed(&mut old).await && is_echoed(&mut new).await);
}

#[tokio::test]
async fn a_broken_new_certificate_leaves_the_old_one_in_use() {
    let echo = Echo::start(false).await;
    let before = shown(&echo.connect(echo.trusting(None)).await.unwrap());

    std::fs::write(echo.path().join("server.pem"), "not a certificate").unwrap();
    let mut stream = echo.connect(echo.trusting(None)).await.unwrap();

    assert_eq!(shown(&stream), before);
    assert!(is_echoed(&mut stream).await);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_at_the_start() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, _) = authority.certify("one");
    let (_, key) = authority.certify("other");

    let opened = Acceptor::open(AcceptorSettings::new(certificate, key, None), RealClock::new()).await;

    assert!(matches!(opened, Err(Error::Unusable { .. })));
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_dropped_in_time() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = Authority::new(folder.path(), "authority").certify("server");
    let limit = Duration::from_millis(20);
    let settings =
        AcceptorSettings { handshake_limit: limit, ..AcceptorSettings::new(certificate, key, None) };
    let acceptor = Acceptor::open(settings, RealClock::new()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();

    assert!(matches!(acceptor.accept(stream).await, Err(Error::TooSlow { .. })));
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_only_every_so_often() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "one\n").unwrap();
    let clock = crate::base::TestClock::starting_at(0);
    let tokens = Tokens::open(path.clone(), Duration::from_secs(3), clock).await.unwrap();

    std::fs::write(&path, "two\n").unwrap();
    let at_once = tokens.own().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let later = tokens.own().await;

    assert_eq!((&*at_once, &*later), ("one", "two"));
}

#[tokio::test]
async fn every_token_of_the_file_is_accepted_and_the_first_is_shown() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "  new \n\nold\n").unwrap();
    let tokens = Tokens::open(path, Duration::ZERO, RealClock::new()).await.unwrap();
    let mut accepted = Vec::new();

    for shown in ["new", "old", "ol", "older", "", "neW"] {
        accepted.push(tokens.accepts(shown.as_bytes()).await);
    }

    assert_eq!(&*tokens.own().await, "new");
    assert_eq!(accepted, [true, true, false, false, false, false]);
}
