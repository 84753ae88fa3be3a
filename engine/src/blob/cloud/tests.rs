//! The contract against emulators given from outside, and failures against a server that answers by a script.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::base::Secret;
use crate::base::{Kinded as _, RealClock, SeededRng};
use crate::blob::{ProbeSettings, Verdict, conformance, keeps_creates_apart};

use super::*;

/// `http://host:port/…/bucket` from the environment, cut before the bucket; or a word why the test is skipped.
fn outside(name: &str) -> Option<(String, String)> {
    let Ok(url) = std::env::var(name) else {
        println!("skipped: {name} is not set; tests/blobs/run starts the servers");
        return None;
    };
    let (endpoint, bucket) = url.rsplit_once('/').expect("a URL that ends with a bucket");
    Some((endpoint.to_owned(), bucket.to_owned()))
}

fn google() -> Option<CloudSettings> {
    let (endpoint, bucket) = outside("REDKITE_TEST_GCS")?;
    let provider = Provider::Google { credentials: GoogleCredentials::Anonymous };
    Some(CloudSettings { provider, endpoint: Some(endpoint), bucket, ..CloudSettings::default() })
}

fn azure() -> Option<CloudSettings> {
    let (endpoint, bucket) = outside("REDKITE_TEST_AZURE")?;
    let account = endpoint.rsplit('/').next().unwrap().to_owned();
    let key = std::env::var("REDKITE_TEST_AZURE_KEY").expect("the account's key");
    let credentials = AzureCredentials::Key(Secret::new(key));
    let provider = Provider::Azure { account, credentials };
    Some(CloudSettings { provider, endpoint: Some(endpoint), bucket, ..CloudSettings::default() })
}

async fn open(settings: &CloudSettings) -> Result<Arc<CloudBlobs>, Error> {
    CloudBlobs::open(settings, RealClock::new(), SeededRng::from_system()).await
}

/// A root that no other run has used.
fn fresh(settings: &CloudSettings) -> CloudSettings {
    let root = format!("run-{:016x}", SeededRng::from_system().next_u64());
    CloudSettings { root, ..settings.clone() }
}

async fn keeps_the_contract(settings: CloudSettings) {
    let settings = fresh(&settings);
    let blobs = open(&settings).await.unwrap();
    conformance::run(blobs.clone()).await;
    let rng = SeededRng::new(1);
    let verdict = keeps_creates_apart(&*blobs, &*rng, ProbeSettings::default()).await.unwrap();
    assert_eq!(verdict, Verdict::Apart);

    // A root whose name is the beginning of another one's is still another root.
    let shorter = settings.root[..settings.root.len() - 1].to_owned();
    let other = open(&CloudSettings { root: shorter, ..settings.clone() }).await.unwrap();
    assert_eq!(other.list("").await.unwrap(), []);
    let missing = CloudSettings { bucket: "no-such-bucket".to_owned(), ..settings };
    let error = open(&missing).await.err().unwrap();
    assert!(matches!(error, Error::BadSetting { setting: "bucket", .. }), "{error:?}");
}

/// A repeated create, as after a lost answer: the object's mark decides whose it is.
async fn knows_its_own_objects(settings: CloudSettings) {
    let blobs = open(&fresh(&settings)).await.unwrap();
    blobs.create("mine", Bytes::from_static(b"x")).await.unwrap();

    let path = blobs.shared.path("mine").unwrap();
    let mark = blobs.shared.mark_of(&path).await.unwrap();

    assert_eq!(mark.map(|mark| mark.len()), Some(32));
    assert_eq!(blobs.shared.mark_of(&blobs.shared.path("none").unwrap()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_at_google_keeps_the_contract() {
    let Some(settings) = google() else { return };
    keeps_the_contract(settings.clone()).await;
    knows_its_own_objects(settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_at_azure_keeps_the_contract() {
    let Some(settings) = azure() else { return };
    keeps_the_contract(settings.clone()).await;
    knows_its_own_objects(settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_denied_at_the_start_and_refused_by_a_reload() {
    let Some(good) = azure() else { return };
    let Provider::Azure { account, .. } = good.provider.clone() else { return };
    let credentials = AzureCredentials::Key(Secret::new("d3Jvbmc="));
    let wrong = CloudSettings { provider: Provider::Azure { account, credentials }, ..good.clone() };

    let error = open(&wrong).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("d3Jvbmc="));
    let blobs = open(&good).await.unwrap();
    assert_eq!(blobs.reload(&wrong).await.unwrap_err().kind(), Kind::Denied);
    assert!(!blobs.reload(&good).await.unwrap());
    let patient = CloudSettings { attempts: 9, ..good.clone() };
    assert!(blobs.reload(&patient).await.unwrap());
    let moved = CloudSettings { bucket: "another".to_owned(), ..good };
    let error = blobs.reload(&moved).await.unwrap_err();
    assert!(matches!(error, Error::BadSetting { setting: "bucket", .. }), "{error:?}");
    blobs.list("").await.unwrap();
}

/// What the server does with one request.
#[derive(Clone)]
enum Answer {
    /// Answers with this status, these header lines and this body.
    Says(u16, String, String),
    /// Closes the connection.
    HangsUp,
    /// Promises a longer body than it sends, and closes.
    BreaksOff,
    /// Never answers.
    IsSilent,
}

fn says(status: u16) -> Answer {
    Answer::Says(status, String::new(), String::new())
}

/// An empty listing.
fn nothing() -> Answer {
    Answer::Says(200, String::new(), "<ListBucketResult></ListBucketResult>".to_owned())
}

/// An object's head or body, as one that the call with this mark made.
fn object(mark: &str, body: &str) -> Answer {
    let date = "Sun, 22 Nov 2026 00:00:00 GMT";
    let head = format!("ETag: \"1\"\r\nLast-Modified: {date}\r\nx-goog-meta-{MARK}: {mark}\r\n");
    Answer::Says(200, head, body.to_owned())
}

/// A server on loopback that follows a script, one answer a request; stopped when dropped.
struct Server {
    endpoint: String,
    script: Arc<Mutex<VecDeque<Answer>>>,
    /// The requests' heads.
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the test's own server, stopped with it")]
    async fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (following, noting) = (script.clone(), asked.clone());
        let serving = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(head) = read_request(&mut stream).await else { continue };
                let mark = head.lines().find_map(|line| line.strip_prefix(&format!("x-goog-meta-{MARK}: ")));
                let mark = mark.unwrap_or_default().to_owned();
                noting.lock().push(head);
                let next = following.lock().pop_front();
                match next {
                    Some(Answer::Says(status, headers, body)) => {
                        let len = body.len();
                        let text = format!(
                            "HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
                        );
                        drop(stream.write_all(text.as_bytes()).await);
                    }
                    Some(Answer::BreaksOff) => {
                        let text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n0123";
                        drop(stream.write_all(text.as_bytes()).await);
                    }
                    Some(Answer::IsSilent) => silent.push(stream),
                    Some(Answer::HangsUp) | None => {}
                }
                // A lost answer to a create: from now on the object is there with its mark.
                for answer in following.lock().iter_mut() {
                    if let Answer::Says(_, headers, _) = answer
                        && !mark.is_empty()
                    {
                        *headers = headers.replace("MARK-OF-THE-CREATE", &mark);
                    }
                }
            }
        });
        Self { endpoint, script, asked, serving }
    }

    fn settings(&self) -> CloudSettings {
        CloudSettings {
            provider: Provider::Google { credentials: GoogleCredentials::Anonymous },
            endpoint: Some(self.endpoint.clone()),
            bucket: "things".to_owned(),
            attempt_timeout_ms: 5_000,
            ..CloudSettings::default()
        }
    }

    /// The store on this server, of which the rest of the script is to come.
    async fn store(&self) -> Arc<CloudBlobs> {
        self.script.lock().push_front(nothing());
        let blobs = open(&self.settings()).await.unwrap();
        self.asked.lock().clear();
        blobs
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

/// Reads a request whole and gives its head.
async fn read_request(stream: &mut tokio::net::TcpStream) -> io::Result<String> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let len = len.map_or(0, |len| len.parse::<usize>().unwrap());
            while read.len() < end + 4 + len {
                stream.read_buf(&mut read).await?;
            }
            return Ok(head);
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[tokio::test]
async fn each_answer_has_its_kind_and_only_those_that_may_pass_are_repeated() {
    for (status, kind, requests) in [
        (400, Kind::Invalid, 1),
        (401, Kind::Denied, 1),
        (403, Kind::Denied, 1),
        (404, Kind::NotFound, 1),
        (429, Kind::Unavailable, 4),
        (500, Kind::Unavailable, 4),
        (503, Kind::Unavailable, 4),
        (507, Kind::Exhausted, 1),
    ] {
        let server = Server::start(vec![says(status); 4]).await;
        let error = server.store().await.read("a").await.unwrap_err();
        assert_eq!((error.kind(), server.asked()), (kind, requests), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn what_passes_is_not_seen() {
    let script = vec![says(503), Answer::HangsUp, Answer::BreaksOff, object("", "body")];
    let server = Server::start(script).await;
    let blobs = server.store().await;

    assert_eq!(blobs.read("a").await.unwrap(), Bytes::from_static(b"body"));
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_knows_its_own_object() {
    let script = vec![Answer::HangsUp, says(412), object("MARK-OF-THE-CREATE", "")];
    let server = Server::start(script).await;
    server.store().await.create("a", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(server.asked(), 3);

    let server = Server::start(vec![says(412), object("another", "")]).await;
    let error = server.store().await.create("a", Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(&error, Error::Exists { key } if key == "a"), "{error:?}");
}

#[tokio::test]
async fn a_conflict_about_nothing_is_tried_again_and_then_unavailable() {
    let script = vec![says(412), says(404), Answer::Says(200, "ETag: \"1\"\r\n".to_owned(), String::new())];
    let server = Server::start(script).await;
    server.store().await.create("a", Bytes::new()).await.unwrap();

    let server = Server::start(vec![[says(409), says(404)]; RACED_ATTEMPTS].concat()).await;
    let error = server.store().await.create("a", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_silent_or_away_is_unavailable_in_time() {
    let server = Server::start(vec![Answer::IsSilent; 4]).await;
    let impatient = CloudSettings { attempt_timeout_ms: 50, attempts: 2, ..server.settings() };
    let error = open(&impatient).await.err().unwrap();
    assert_eq!((error.kind(), server.asked()), (Kind::Unavailable, 2), "{error:?}");

    let hurried = CloudSettings { request_timeout_ms: 50, ..server.settings() };
    let error = open(&hurried).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");

    let away = CloudSettings { attempts: 1, ..server.settings() };
    drop(server);
    let error = open(&away).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_key_that_is_no_key_is_a_bad_setting_and_not_shown() {
    let credentials = GoogleCredentials::Json(Secret::new("{\"private_key\": \"hush-hush\"}"));
    let google = Provider::Google { credentials };
    let credentials = AzureCredentials::Key(Secret::new("hush-hush is no base64"));
    let azure = Provider::Azure { account: "a".to_owned(), credentials };
    for provider in [google, azure] {
        let settings = CloudSettings { provider, bucket: "b".to_owned(), ..CloudSettings::default() };
        let error = open(&settings).await.err().unwrap();
        assert!(matches!(error, Error::BadSetting { setting: "credentials", .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test's own server, stopped with it")]
async fn a_private_authority_is_trusted_if_given_and_another_one_never() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            drop(stream.read_buf(&mut Vec::with_capacity(10_000)).await);
            let body = "<ListBucketResult></ListBucketResult>";
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let settings = |ca_pem| CloudSettings {
        provider: Provider::Google { credentials: GoogleCredentials::Anonymous },
        endpoint: Some(endpoint.clone()),
        bucket: "things".to_owned(),
        attempts: 1,
        ca_pem,
        ..CloudSettings::default()
    };

    let blobs = open(&settings(Some(made.cert.pem()))).await.unwrap();

    for ca_pem in [None, Some(other.cert.pem())] {
        let error = open(&settings(ca_pem.clone())).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert_eq!(blobs.reload(&settings(ca_pem)).await.unwrap_err().kind(), Kind::Unavailable);
    }
    assert!(blobs.reload(&settings(Some(made.cert.pem() + &other.cert.pem()))).await.unwrap());
    assert_eq!(blobs.list("").await.unwrap(), []);
    serving.abort();
}
