//! Against real servers, which `tests/etcd/run` starts: `REDKITE_TEST_ETCD` has the endpoints of three members without
//! protection, `REDKITE_TEST_ETCD_PIDS` their processes (for tests that stop them), `REDKITE_TEST_ETCD_TLS` the
//! endpoint of one that asks for a certificate and a password, and `REDKITE_TEST_ETCD_CERTS` the folder of its files.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use etcd_client::{Client, ConnectOptions};
use futures::future::join_all;

use crate::base::{Kind, Kinded as _, RealClock, Rng as _, Secret, SeededRng};
use crate::meta::conformance;

use super::*;

/// A variable of the environment, or a word why a test has nothing to do.
fn given(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|text| !text.is_empty());
    if found.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    found
}

fn endpoints(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn any_root() -> String {
    format!("test/{:016x}", SeededRng::from_system().next_u64())
}

/// Settings with a root of their own.
fn settings() -> Option<EtcdSettings> {
    let endpoints = endpoints(&given("REDKITE_TEST_ETCD")?);
    Some(EtcdSettings { endpoints, root: any_root(), ..EtcdSettings::default() })
}

async fn connect(settings: &EtcdSettings) -> Arc<EtcdMetas> {
    EtcdMetas::connect(settings.clone(), RealClock::new()).await.unwrap()
}

#[tokio::test]
async fn an_etcd_store_keeps_the_contract() {
    let Some(settings) = settings() else { return };
    conformance::run(connect(&settings).await).await;
}

#[tokio::test]
async fn a_foreign_root_is_invisible() {
    let Some(settings) = settings() else { return };
    let ours = connect(&settings).await;
    let neighbour = EtcdSettings { root: format!("{}x", settings.root), ..settings.clone() };
    let theirs = connect(&neighbour).await;

    theirs.commit(Txn::new().put("a", "theirs")).await.unwrap();
    let version = ours.commit(Txn::new().expect_absent("a").put("a", "ours")).await.unwrap();

    let expected = Versioned { value: "ours".into(), version };
    assert_eq!(ours.list("").await.unwrap(), [("a".to_owned(), expected)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clients_that_race_one_wins() {
    let Some(settings) = settings() else { return };
    let clients = join_all([connect(&settings), connect(&settings)]).await;
    let mut version = clients[0].commit(Txn::new().put("race", "0")).await.unwrap();
    for round in 0..30 {
        let racers = clients.iter().enumerate().map(|(racer, client)| {
            client.commit(Txn::new().expect_version("race", version).put("race", format!("{round}/{racer}")))
        });
        let ended = join_all(racers).await;

        let won = ended.iter().filter_map(|ended| ended.as_ref().ok()).collect::<Vec<_>>();
        let lost = ended.iter().filter_map(|ended| ended.as_ref().err()).map(Error::kind).collect::<Vec<_>>();
        assert_eq!((won.len(), lost), (1, vec![Kind::Conflict]));
        version = *won[0];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_is_one_moment() {
    const RECORDS: usize = 2_500;
    let Some(settings) = settings() else { return };
    let (reader, writer) = (connect(&settings).await, connect(&settings).await);
    let key = |number: usize| format!("many/{number:04}");
    let all = (0..RECORDS).collect::<Vec<_>>();
    for some in all.chunks(128) {
        let txn = some.iter().fold(Txn::new(), |txn, number| txn.put(key(*number), "0"));
        writer.commit(txn).await.unwrap();
    }

    // Each commit changes the first and the last record together, which lie on different pages.
    let ends =
        |value: usize| Txn::new().put(key(0), value.to_string()).put(key(RECORDS - 1), value.to_string());
    writer.commit(ends(0)).await.unwrap();
    let writing = async {
        for value in 1..200 {
            writer.commit(ends(value)).await.unwrap();
        }
    };
    let reading = async {
        let mut values = Vec::new();
        for _ in 0..20 {
            let listed = reader.list("many/").await.unwrap();
            assert_eq!(
                listed.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
                all.iter().map(|number| key(*number)).collect::<Vec<_>>()
            );
            assert_eq!(listed[0].1, listed[RECORDS - 1].1);
            values.push(listed[0].1.version);
        }
        values
    };
    let ((), versions) = tokio::join!(writing, reading);

    assert!(versions.is_sorted());
    assert!(versions.first() < versions.last(), "nothing was written meanwhile");
}

#[tokio::test]
async fn records_larger_than_a_message_usually_is_are_listed() {
    let Some(settings) = settings() else { return };
    let metas = connect(&settings).await;
    for number in 0..6 {
        metas.commit(Txn::new().put(format!("large/{number}"), vec![number; 1 << 20])).await.unwrap();
    }

    let listed = metas.list("large/").await.unwrap();

    assert_eq!(listed.iter().map(|(_, record)| record.value.len()).sum::<usize>(), 6 << 20);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = vec![silent.local_addr().unwrap().to_string(), gone.to_string()];
    let settings = EtcdSettings {
        endpoints,
        request_timeout_ms: 800,
        connect_timeout_ms: 800,
        overtake_after_ms: 100,
        ..EtcdSettings::default()
    };

    let begun = Instant::now();
    let metas = connect(&settings).await;
    let got = metas.get("a").await.unwrap_err();
    let listed = metas.list("").await.unwrap_err();
    let committed = metas.commit(Txn::new().put("a", "x")).await.unwrap_err();

    assert_eq!([got.kind(), listed.kind(), committed.kind()], [Kind::Unavailable; 3]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Sends a signal to one member.
fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// Calls of every sort, each of which ends within its limit; how many of them failed.
async fn calls_that_fail(metas: &EtcdMetas, settings: &EtcdSettings, rounds: usize) -> usize {
    let limit = Duration::from_millis(settings.request_timeout_ms + 500);
    let mut failed = 0;
    let set = any_root();
    for round in 0..rounds {
        let mut counted = async |call: &mut (dyn Future<Output = Result<u64, Error>> + Unpin + Send)| {
            let begun = Instant::now();
            let ended = call.await;
            assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
            if let Err(error) = &ended {
                eprintln!("round {round}: {}", chain(error));
            }
            failed += usize::from(ended.is_err());
            ended.unwrap_or(0)
        };
        let key = format!("calls/{set}/{round}");
        let version = counted(&mut metas.commit(Txn::new().expect_absent(&key).put(&key, "x"))).await;
        counted(&mut metas.commit(Txn::new().expect_version(&key, version).put(&key, "y"))).await;
        counted(&mut Box::pin(async {
            metas.get(&key).await.map(|found| found.map_or(0, |found| found.version))
        }))
        .await;
        counted(&mut Box::pin(async { metas.list("calls/").await.map(|_| 0) })).await;
    }
    failed
}

#[tokio::test]
async fn calls_go_on_while_one_member_hangs_and_when_it_is_killed() {
    let (Some(settings), Some(pids)) = (settings(), given("REDKITE_TEST_ETCD_PIDS")) else { return };
    let metas = connect(&settings).await;
    let pids = pids.split(',').collect::<Vec<_>>();
    assert_eq!(calls_that_fail(&metas, &settings, 5).await, 0);

    for pid in &pids {
        // A new record that is under way when its member stops is lost, and what builds on it fails too. All else is
        // ours to save.
        signal(pid, "-STOP");
        let failed = calls_that_fail(&metas, &settings, 10).await;
        let then = calls_that_fail(&metas, &settings, 10).await;
        signal(pid, "-CONT");
        assert!(failed <= 3, "{failed} calls failed");
        assert_eq!(then, 0);
    }
    signal(pids[0], "-KILL");
    assert!(calls_that_fail(&metas, &settings, 10).await <= 3);
    assert_eq!(calls_that_fail(&metas, &settings, 10).await, 0);

    let begun = Instant::now();
    connect(&settings).await.get("calls").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_transaction_that_finds_its_own_mark_has_happened_and_others_conflict() {
    let Some(settings) = settings() else { return };
    let metas = connect(&settings).await;
    let first = metas.commit(Txn::new().put("turn", "0")).await.unwrap();
    let txn = |mark| Txn::new().expect_version("turn", first).put("a", "x").mark("turn", mark);

    let done = metas.commit(txn("1")).await.unwrap();
    let again = metas.commit(txn("1")).await.unwrap();
    let other = metas.commit(txn("2")).await.unwrap_err();

    assert_eq!((again, other.kind()), (done, Kind::Conflict));
    let stored = metas.get("turn").await.unwrap().unwrap();
    assert_eq!(stored, Versioned { value: "1".into(), version: done });
}

/// Marked commits, each on the one before, until `ended`; the longest took so long.
async fn commits_one_after_another(metas: &EtcdMetas, ended: &AtomicBool) -> Duration {
    let key = format!("chain/{}", any_root());
    let mut version = metas.commit(Txn::new().expect_absent(&key).put(&key, "0")).await.unwrap();
    let mut longest = Duration::ZERO;
    for number in 1.. {
        let begun = Instant::now();
        let txn = Txn::new().expect_version(&key, version).mark(&key, number.to_string());
        version = metas.commit(txn).await.unwrap();
        longest = longest.max(begun.elapsed());
        if ended.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_calls_go_on_while_one_member_after_another_hangs_and_none_fails() {
    let (Some(settings), Some(pids)) = (settings(), given("REDKITE_TEST_ETCD_PIDS")) else { return };
    let metas = connect(&settings).await;

    for pid in pids.split(',') {
        let ended = AtomicBool::new(false);
        let hang = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            signal(pid, "-STOP");
            tokio::time::sleep(Duration::from_secs(6)).await;
            ended.store(true, Ordering::Relaxed);
        };
        let (longest, ()) = tokio::join!(commits_one_after_another(&metas, &ended), hang);
        signal(pid, "-CONT");
        eprintln!("the slowest commit took {longest:?} while {pid} hung");
        assert!(longest < Duration::from_millis(4_500));
        // The last one is to have caught up before the next one is stopped.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Settings of the member that asks for a certificate and a password, and the folder of certificates.
fn guarded() -> Option<(EtcdSettings, PathBuf)> {
    let endpoints = endpoints(&given("REDKITE_TEST_ETCD_TLS")?);
    let certs = PathBuf::from(given("REDKITE_TEST_ETCD_CERTS")?);
    let tls = EtcdTls {
        ca_file: certs.join("ca.pem"),
        cert_file: Some(certs.join("client.pem")),
        key_file: Some(certs.join("client.key")),
        min_version: "1.3".to_owned(),
    };
    let user =
        EtcdUser { name: "root".to_owned(), password: Secret::new("root-secret"), password_file: None };
    let settings = EtcdSettings {
        endpoints,
        root: any_root(),
        user: Some(user),
        tls: Some(tls),
        ..EtcdSettings::default()
    };
    Some((settings, certs))
}

/// A client of the guarded member that may do everything; the first makes it ask for passwords.
async fn administrator(settings: &EtcdSettings, certs: &std::path::Path) -> Client {
    let read = |file: &str| std::fs::read(certs.join(file)).unwrap();
    let identity = etcd_client::Identity::from_pem(read("client.pem"), read("client.key"));
    let ca = etcd_client::Certificate::from_pem(read("ca.pem"));
    let tls = etcd_client::TlsOptions::new().ca_certificate(ca).identity(identity);
    let options = ConnectOptions::new().with_tls(tls);
    let urls = [format!("https://{}", settings.endpoints[0])];
    let mut open = Client::connect(&urls, Some(options.clone())).await.unwrap();
    // Each fails once it has been done.
    let _ = open.user_add("root", "root-secret", None).await;
    let _ = open.user_grant_role("root", "root").await;
    let _ = open.auth_enable().await;
    Client::connect(&urls, Some(options.with_user("root", "root-secret"))).await.unwrap()
}

async fn refusal(settings: EtcdSettings) -> Error {
    let metas = match EtcdMetas::connect(settings, RealClock::new()).await {
        Ok(metas) => metas,
        Err(error) => return error,
    };
    panic!("connected: {:?}", metas.get("a").await)
}

#[tokio::test]
async fn a_guarded_etcd_lets_only_the_right_in() {
    let Some((settings, certs)) = guarded() else { return };
    let tls = settings.tls.clone().unwrap();
    administrator(&settings, &certs).await;

    conformance::run(connect(&settings).await).await;

    let wrong_ca = EtcdTls { ca_file: certs.join("other-ca.pem"), ..tls.clone() };
    let no_cert = EtcdTls { cert_file: None, key_file: None, ..tls.clone() };
    let other_cert = EtcdTls {
        cert_file: Some(certs.join("other-ca.pem")),
        key_file: Some(certs.join("other-ca.key")),
        ..tls.clone()
    };
    for (tls, named) in
        [(wrong_ca, "etcd.ssl.tlsCACert"), (no_cert, "etcd.ssl.tlsCert"), (other_cert, "etcd.ssl.tlsCert")]
    {
        let error = refusal(EtcdSettings { tls: Some(tls), ..settings.clone() }).await;
        let shown = chain(&error);
        assert_eq!((error.kind(), shown.contains(named)), (Kind::Denied, true), "{shown}");
    }
    let password = Secret::new("wrong-secret");
    let user = EtcdUser { name: "root".to_owned(), password, password_file: None };
    let error = refusal(EtcdSettings { user: Some(user), ..settings.clone() }).await;
    let shown = chain(&error);
    assert_eq!((error.kind(), shown.contains("etcd.auth.")), (Kind::Denied, true), "{shown}");
    assert!(!shown.contains("wrong-secret"), "{shown}");
}

/// Waits until a call succeeds.
async fn until_it_works(metas: &EtcdMetas, value: &'static str) {
    let begun = Instant::now();
    while let Err(error) = metas.commit(Txn::new().put("a", value)).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", chain(&error));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn changed_files_count_without_a_restart() {
    let Some((settings, certs)) = guarded() else { return };
    let mut administrator = administrator(&settings, &certs).await;
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, password_file) = (dir.path().join("ca.pem"), dir.path().join("password"));
    let name = any_root().replace('/', "-");
    let root = format!("{}/", settings.root);
    let rights = etcd_client::Permission::read_write(root.clone()).with_prefix();
    administrator.user_add(&*name, "first", None).await.unwrap();
    administrator.role_add(&*name).await.unwrap();
    administrator.role_grant_permission(&*name, rights).await.unwrap();
    administrator.user_grant_role(&*name, &*name).await.unwrap();
    std::fs::copy(certs.join("ca.pem"), &ca_file).unwrap();
    std::fs::write(&password_file, "first\n").unwrap();
    let tls = EtcdTls { ca_file: ca_file.clone(), ..settings.tls.clone().unwrap() };
    let user = EtcdUser {
        name: name.clone(),
        password: Secret::new("unused"),
        password_file: Some(password_file.clone()),
    };
    let settings = EtcdSettings { user: Some(user), tls: Some(tls), ..settings };
    let metas = connect(&settings).await;
    metas.commit(Txn::new().put("a", "first")).await.unwrap();

    // A new password ends the old token.
    administrator.user_change_password(&*name, "second").await.unwrap();
    std::fs::write(&password_file, "second\n").unwrap();
    until_it_works(&metas, "second").await;

    // A certificate that does not vouch for the server, and then the right one again.
    std::fs::copy(certs.join("other-ca.pem"), &ca_file).unwrap();
    let begun = Instant::now();
    let error = loop {
        match metas.get("a").await {
            Ok(_) => assert!(begun.elapsed() < Duration::from_secs(20), "the changed file does not count"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(error.kind(), Kind::Denied, "{}", chain(&error));
    std::fs::copy(certs.join("ca.pem"), &ca_file).unwrap();
    until_it_works(&metas, "third").await;

    // What is outside of the root is outside of the user's rights.
    let error = refusal(EtcdSettings { root: any_root(), ..settings }).await;
    assert_eq!(error.kind(), Kind::Denied, "{}", chain(&error));
}
