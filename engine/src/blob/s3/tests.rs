//! The contract against a real server: versitygw on a temporary directory.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::base::{Kind, Kinded as _, SeededRng};
use crate::blob::conformance;

use super::*;

/// A server of this test's own; killed when dropped.
struct Server {
    _process: Child,
    _dir: tempfile::TempDir,
    endpoint: String,
}

impl Server {
    /// Starts the server, or says why the test is skipped.
    async fn start() -> Option<Self> {
        let home = std::env::var("HOME").unwrap_or_default();
        let cache = std::env::var("REDKITE_CACHE").unwrap_or(format!("{home}/.cache/redkite"));
        let binary = PathBuf::from(cache).join("cluster-bin/versitygw");
        if !binary.exists() {
            assert!(std::env::var_os("REDKITE_REQUIRE_ALL").is_none(), "{} is missing", binary.display());
            println!("skipped: {} is missing", binary.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(binary)
            .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(dir.path())
            .env("ROOT_ACCESS_KEY", "test-user")
            .env("ROOT_SECRET_KEY", "test-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let server = Self { _process: process, _dir: dir, endpoint: format!("http://127.0.0.1:{port}") };
        let up = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), up).await.expect("the server answers");
        Some(server)
    }

    fn settings(&self, root: &str) -> S3Settings {
        S3Settings {
            endpoint: Some(self.endpoint.clone()),
            bucket: "redkite-test".to_owned(),
            root: root.to_owned(),
            credentials: S3Credentials::Static {
                access_key: "test-user".to_owned(),
                secret_key: Secret::new("test-secret"),
                session_token: None,
            },
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
        assert!(blobs.keeps_creates_apart().await.unwrap());
        conformance::run(blobs).await;
    }
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
