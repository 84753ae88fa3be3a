//! What every metadata store must do. Each implementation runs all of it on an empty store.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Kind, Kinded as _};

use super::{MemoryMetas, Metas, Txn, Versioned};

/// Checks the contract of [`Metas`] on an empty store.
pub(super) async fn run(metas: Arc<dyn Metas>) {
    nothing_is_there_at_first(&*metas).await;
    a_put_is_read_back_with_its_version(&*metas).await;
    a_failed_expectation_changes_nothing(&*metas).await;
    versions_never_come_back(&*metas).await;
    a_listing_is_by_prefix_and_ascending(&*metas).await;
    malformed_calls_are_refused(&*metas).await;
    of_racing_commits_one_wins(metas).await;
}

#[tokio::test]
async fn a_memory_store_keeps_the_contract() {
    run(MemoryMetas::new()).await;
}

async fn nothing_is_there_at_first(metas: &dyn Metas) {
    assert_eq!(metas.get("none").await.unwrap(), None);
    assert_eq!(metas.list("").await.unwrap(), []);
    metas.commit(Txn::new().delete("none")).await.unwrap();
}

async fn a_put_is_read_back_with_its_version(metas: &dyn Metas) {
    let version = metas.commit(Txn::new().expect_absent("p/a").put("p/a", "1").put("p/b", "")).await.unwrap();

    let expected = |value: &'static str| Some(Versioned { value: Bytes::from(value), version });
    assert_eq!(metas.get("p/a").await.unwrap(), expected("1"));
    assert_eq!(metas.get("p/b").await.unwrap(), expected(""));
}

async fn a_failed_expectation_changes_nothing(metas: &dyn Metas) {
    let version = metas.commit(Txn::new().put("c/a", "old")).await.unwrap();
    let before = metas.list("c/").await.unwrap();

    for txn in [
        Txn::new().expect_absent("c/a").put("c/b", "new").delete("c/a"),
        Txn::new().expect_version("c/a", version + 1).put("c/a", "new"),
        Txn::new().expect_version("c/none", version).put("c/a", "new"),
        Txn::new().expect_version("c/a", version).expect_absent("c/a").put("c/a", "new"),
    ] {
        let error = metas.commit(txn).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
    }

    assert_eq!(metas.list("c/").await.unwrap(), before);
    metas.commit(Txn::new().expect_version("c/a", version).put("c/a", "new")).await.unwrap();
}

async fn versions_never_come_back(metas: &dyn Metas) {
    let first = metas.commit(Txn::new().put("v", "x")).await.unwrap();
    let deleted = metas.commit(Txn::new().expect_version("v", first).delete("v")).await.unwrap();
    let second = metas.commit(Txn::new().expect_absent("v").put("v", "x")).await.unwrap();

    assert!(first < deleted && deleted < second);
    let error = metas.commit(Txn::new().expect_version("v", first).put("v", "y")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

async fn a_listing_is_by_prefix_and_ascending(metas: &dyn Metas) {
    let mut txn = Txn::new();
    for key in ["l/b", "l/a/2", "l/a/10", "l/é", "m", "l"] {
        txn = txn.put(key, key);
    }
    metas.commit(txn).await.unwrap();

    let keys = |listed: Vec<(String, Versioned)>| listed.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(metas.list("l/").await.unwrap()), ["l/a/10", "l/a/2", "l/b", "l/é"]);
    assert_eq!(keys(metas.list("l/a/1").await.unwrap()), ["l/a/10"]);
    assert_eq!(keys(metas.list("l/c").await.unwrap()), Vec::<String>::new());
}

async fn malformed_calls_are_refused(metas: &dyn Metas) {
    let many = (0..129).fold(Txn::new(), |txn, number| txn.put(format!("many/{number}"), "x"));
    for txn in [
        Txn::new().put("", "x"),
        Txn::new().put("k".repeat(1025), "x"),
        Txn::new().put("twice", "x").delete("twice"),
        Txn::new().put("large", vec![0; (1 << 20) + 1]),
        many,
    ] {
        assert_eq!(metas.commit(txn).await.unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(metas.get("").await.unwrap_err().kind(), Kind::Invalid);
}

async fn of_racing_commits_one_wins(metas: Arc<dyn Metas>) {
    metas.commit(Txn::new().put("race", "0")).await.unwrap();
    for _ in 0..20 {
        let version = metas.get("race").await.unwrap().unwrap().version;
        let racers = (0..6).map(|racer| {
            let txn = Txn::new().expect_version("race", version).put("race", racer.to_string());
            metas.commit(txn)
        });
        let ended = futures::future::join_all(racers).await;

        let won = ended.iter().filter_map(|ended| ended.as_ref().ok()).collect::<Vec<_>>();
        assert_eq!(won.len(), 1);
        assert_eq!(metas.get("race").await.unwrap().unwrap().version, *won[0]);
    }
}
