//! The contract against a real server: versitygw on a temporary directory.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use tokio::process::{Child, Command};

use crate::base::{Kind, Kinded as _, Secret, SeededRng};
use crate::blob::{ProbeSettings, Verdict, conformance, keeps_creates_apart};

use super::*;

/// A server of this test's own; killed when dropped.
struct Server {
    process: Child,
    _dir: Arc<tempfile::TempDir>,
    endpoint: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn keys(secret: &str) -> S3Credentials {
    S3Credentials::Static {
        access_key: "test-user".to_owned(),
        secret_key: Secret::new(secret),
        session_token: None,
    }
}

impl Server {
    /// Starts a server of an empty store, or says why the test is skipped.
    async fn start() -> Option<Self> {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_with(dir, free_port(), "test-secret", None).await
    }

    /// Starts the server, with a certificate and its key over TLS, or says why the test is skipped.
    async fn start_with(
        dir: Arc<tempfile::TempDir>,
        port: u16,
        secret: &str,
        tls: Option<(&str, &str)>,
    ) -> Option<Self> {
        let home = std::env::var("HOME").unwrap_or_default();
        let cache = std::env::var("REDKITE_CACHE").unwrap_or(format!("{home}/.cache/redkite"));
        let binary = PathBuf::from(cache).join("cluster-bin/versitygw");
        if !binary.exists() {
            assert!(std::env::var_os("REDKITE_REQUIRE_ALL").is_none(), "{} is missing", binary.display());
            println!("skipped: {} is missing", binary.display());
            return None;
        }
        let store = dir.path().join("store");
        std::fs::create_dir_all(&store).unwrap();
        let mut command = Command::new(binary);
        command.args(["--port", &format!("127.0.0.1:{port}")]);
        if let Some((certificate, key)) = tls {
            for (flag, name, pem) in [("--cert", "cert.pem", certificate), ("--key", "key.pem", key)] {
                let path = dir.path().join(name);
                std::fs::write(&path, pem).unwrap();
                command.arg(flag).arg(path);
            }
        }
        let process = command
            .arg("posix")
            .arg(store)
            .env("ROOT_ACCESS_KEY", "test-user")
            .env("ROOT_SECRET_KEY", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let server = Self { process, _dir: dir, endpoint: format!("http://127.0.0.1:{port}") };
        let up = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), up).await.expect("the server answers");
        Some(server)
    }

    /// Ends the server and waits for it.
    async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }

    fn settings(&self, root: &str) -> S3Settings {
        Self::settings_of(self.endpoint.clone(), root)
    }

    fn settings_of(endpoint: String, root: &str) -> S3Settings {
        S3Settings {
            endpoint: Some(endpoint),
            bucket: "redkite-test".to_owned(),
            root: root.to_owned(),
            credentials: keys("test-secret"),
            create_bucket: true,
            ..S3Settings::default()
        }
    }
}

async fn open(settings: &S3Settings) -> Result<Arc<S3Blobs>, Error> {
    S3Blobs::open(settings, SeededRng::new(1)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_contract() {
    let Some(server) = Server::start().await else { return };
    for root in ["", "files/one/"] {
        let settings = S3Settings { bucket: format!("bucket-{}", root.len()), ..server.settings(root) };
        let blobs = open(&settings).await.unwrap();
        let rng = SeededRng::new(2);
        let verdict = keeps_creates_apart(&*blobs, &*rng, ProbeSettings::default()).await.unwrap();
        assert_eq!(verdict, Verdict::Apart);
        conformance::run(blobs).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_given_from_outside_keeps_the_contract() {
    let Ok(url) = std::env::var("REDKITE_TEST_S3") else {
        println!("skipped: REDKITE_TEST_S3 is not set; tests/blobs/run starts a server");
        return;
    };
    let (endpoint, bucket) = url.rsplit_once('/').expect("a URL that ends with a bucket");
    let read = |name| std::env::var(name).expect("both keys");
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: bucket.to_owned(),
        root: format!("run-{:016x}", SeededRng::from_system().next_u64()),
        credentials: S3Credentials::Static {
            access_key: read("REDKITE_TEST_S3_ACCESS_KEY"),
            secret_key: Secret::new(read("REDKITE_TEST_S3_SECRET_KEY")),
            session_token: None,
        },
        ..S3Settings::default()
    };
    let blobs = open(&settings).await.unwrap();
    conformance::run(blobs.clone()).await;
    let verdict = keeps_creates_apart(&*blobs, &*SeededRng::new(2), ProbeSettings::default()).await;
    assert_eq!(verdict.unwrap(), Verdict::Apart);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_and_authority_change_without_a_restart() {
    let made = ["old", "new"].map(|_| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let port = free_port();
    let settings = |secret: &str, certificate: &str| S3Settings {
        endpoint: Some(format!("https://127.0.0.1:{port}")),
        credentials: keys(secret),
        ca_pem: Some(certificate.to_owned()),
        attempts: 1,
        ..Server::settings_of(String::new(), "")
    };
    let start = async |secret, (certificate, key): &(String, String)| {
        Server::start_with(dir.clone(), port, secret, Some((certificate, key))).await
    };
    let Some(server) = start("old-secret", &made[0]).await else { return };
    let blobs = open(&settings("old-secret", &made[0].0)).await.unwrap();
    blobs.create("a", Bytes::from_static(b"x")).await.unwrap();
    assert!(!blobs.reload(&settings("old-secret", &made[0].0)).await.unwrap());

    server.stop().await;
    let server = start("new-secret", &made[1]).await.unwrap();

    assert_eq!(blobs.read("a").await.unwrap_err().kind(), Kind::Unavailable);
    let old_secret = blobs.reload(&settings("old-secret", &made[1].0)).await.unwrap_err();
    assert_eq!(old_secret.kind(), Kind::Denied, "{old_secret:?}");
    assert!(blobs.reload(&settings("new-secret", &made[1].0)).await.unwrap());
    assert_eq!(blobs.read("a").await.unwrap(), Bytes::from_static(b"x"));
    let wrong = blobs.reload(&settings("wrong-secret", &made[1].0)).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Denied, "{wrong:?}");
    let elsewhere = S3Settings { root: "x".to_owned(), ..settings("new-secret", &made[1].0) };
    let elsewhere = blobs.reload(&elsewhere).await.unwrap_err();
    assert!(matches!(elsewhere, Error::BadSetting { setting: "root", .. }), "{elsewhere:?}");
    assert_eq!(blobs.read("a").await.unwrap(), Bytes::from_static(b"x"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_do_not_see_each_other_and_long_listings_are_whole() {
    let Some(server) = Server::start().await else { return };
    let one = open(&server.settings("one")).await.unwrap();
    let other = open(&server.settings("one-more")).await.unwrap();
    let keys = (0..1100).map(|number| format!("k/{number:04}")).collect::<Vec<_>>();
    let creating = keys.iter().map(|key| one.create(key, Bytes::from_static(b"x")));
    futures::stream::iter(creating).buffer_unordered(16).try_collect::<()>().await.unwrap();

    let listed = one.list("k/").await.unwrap().into_iter().map(|entry| entry.key).collect::<Vec<_>>();

    assert_eq!(listed, keys);
    assert_eq!(other.list("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_in_parts_and_are_still_created_once() {
    let Some(server) = Server::start().await else { return };
    let settings = S3Settings { multipart_over_bytes: 5 << 20, part_bytes: 5 << 20, ..server.settings("") };
    let blobs = open(&settings).await.unwrap();
    let body = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Bytes>();

    blobs.create("large", body.clone()).await.unwrap();
    let again = blobs.create("large", Bytes::from(vec![7; 6 << 20])).await;

    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    assert_eq!(blobs.read("large").await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_told_apart() {
    let Some(server) = Server::start().await else { return };
    let good = server.settings("");

    let missing = S3Settings { bucket: "no-such-bucket".to_owned(), create_bucket: false, ..good.clone() };
    let error = open(&missing).await.err().unwrap();
    assert!(matches!(error, Error::BadSetting { setting: "bucket", .. }), "{error:?}");

    let secret_key = Secret::new("wrong-secret");
    let credentials =
        S3Credentials::Static { access_key: "test-user".to_owned(), secret_key, session_token: None };
    let error = open(&S3Settings { credentials, ..good.clone() }).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("wrong-secret"));
}

#[derive(Debug)]
struct Shifted(i64);

impl TimeSource for Shifted {
    fn now(&self) -> SystemTime {
        let (now, by) = (SharedTimeSource::default().now(), Duration::from_secs(self.0.unsigned_abs()));
        if self.0 < 0 { now - by } else { now + by }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_clock_is_wrong_is_let_in() {
    let Some(server) = Server::start().await else { return };
    for off_secs in [-3_600, 3_600, 90_000] {
        let time = SharedTimeSource::new(Shifted(off_secs));
        let settings = server.settings(&format!("off-{off_secs}"));
        let blobs = S3Blobs::open_at(&settings, SeededRng::new(1), time).await.unwrap();

        blobs.create("some/key", Bytes::from_static(b"content")).await.unwrap();

        assert_eq!(blobs.read("some/key").await.unwrap(), "content");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = S3Settings {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        bucket: "bucket".to_owned(),
        credentials: S3Credentials::Static {
            access_key: "a".to_owned(),
            secret_key: Secret::new("b"),
            session_token: None,
        },
        attempts: 1,
        ..S3Settings::default()
    };

    let error = open(&settings).await.err().unwrap();

    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
}
