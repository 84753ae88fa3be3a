//! What every object store must do. Each implementation runs all of it on an empty store.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Kind, Kinded as _};

use super::{BlobEntry, Blobs, Error, MemoryBlobs};

/// Checks the contract of [`Blobs`] on an empty store.
pub(super) async fn run(blobs: Arc<dyn Blobs>) {
    an_object_is_read_back_whole_and_in_parts(&*blobs).await;
    a_key_is_taken_once(&*blobs).await;
    what_is_not_there_is_not_found(&*blobs).await;
    ranges_outside_the_object_are_refused(&*blobs).await;
    a_listing_is_by_prefix_whole_and_ascending(&*blobs).await;
    deleting_is_idempotent_and_frees_the_key(&*blobs).await;
    keys_that_break_the_rules_are_refused(&*blobs).await;
    of_racing_creates_one_wins(blobs).await;
}

#[tokio::test]
async fn a_memory_store_keeps_the_contract() {
    run(MemoryBlobs::new()).await;
}

async fn an_object_is_read_back_whole_and_in_parts(blobs: &dyn Blobs) {
    let body = (0..100_000u32).flat_map(u32::to_le_bytes).collect::<Bytes>();
    blobs.create("read/large.bin", body.clone()).await.unwrap();
    blobs.create("read/empty", Bytes::new()).await.unwrap();
    blobs.create("read/é ü+%", Bytes::from("x")).await.unwrap();

    assert_eq!(blobs.read("read/large.bin").await.unwrap(), body);
    assert_eq!(blobs.read("read/empty").await.unwrap(), Bytes::new());
    assert_eq!(blobs.read("read/é ü+%").await.unwrap(), Bytes::from("x"));
    let size = body.len() as u64;
    for range in [0..4, 13..5000, size - 3..size, 0..size] {
        let part = body.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        assert_eq!(blobs.read_range("read/large.bin", range).await.unwrap(), part);
    }
    assert_eq!(blobs.read_range("read/large.bin", 7..7).await.unwrap(), Bytes::new());
}

async fn a_key_is_taken_once(blobs: &dyn Blobs) {
    blobs.create("once/a", Bytes::from("first")).await.unwrap();

    for body in ["second", "first"] {
        let error = blobs.create("once/a", Bytes::from(body)).await.unwrap_err();
        assert!(matches!(&error, Error::Exists { key } if key == "once/a"), "{error:?}");
    }

    assert_eq!(blobs.read("once/a").await.unwrap(), Bytes::from("first"));
}

async fn what_is_not_there_is_not_found(blobs: &dyn Blobs) {
    blobs.create("some/where/a", Bytes::from("x")).await.unwrap();
    for key in ["some/where/b", "nowhere/a", "some/where", "some"] {
        assert_eq!(blobs.read(key).await.unwrap_err().kind(), Kind::NotFound, "{key}");
        assert_eq!(blobs.read_range(key, 0..1).await.unwrap_err().kind(), Kind::NotFound, "{key}");
    }
}

async fn ranges_outside_the_object_are_refused(blobs: &dyn Blobs) {
    blobs.create("range/a", Bytes::from("0123456789")).await.unwrap();
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for range in [0..11, 9..20, 10..11, 50..60, 5..4] {
        let error = blobs.read_range("range/a", range.clone()).await.unwrap_err();
        assert!(matches!(error, Error::BadRange { .. }), "{range:?}: {error:?}");
    }
}

async fn a_listing_is_by_prefix_whole_and_ascending(blobs: &dyn Blobs) {
    for key in ["list/b", "list/a/2", "list/a/10", "list/a-1", "list/é", "lis", "listed"] {
        blobs.create(key, Bytes::from(key)).await.unwrap();
    }

    let listed = async |prefix| blobs.list(prefix).await.unwrap();
    let entry = |key: &str| BlobEntry { key: key.to_owned(), size_bytes: key.len() as u64 };
    let all = ["list/a-1", "list/a/10", "list/a/2", "list/b", "list/é"].map(entry);
    assert_eq!(listed("list/").await, all);
    assert_eq!(listed("list/a").await, all[..3]);
    assert_eq!(listed("list/a/").await, all[1..3]);
    assert_eq!(listed("list/a/1").await, all[1..2]);
    assert_eq!(listed("nothing/here").await, []);
    assert_eq!(listed("list/b").await, [entry("list/b")]);
    let everything = listed("").await;
    assert!(everything.is_sorted_by(|one, other| one.key < other.key));
    assert!(everything.contains(&entry("lis")));
}

async fn deleting_is_idempotent_and_frees_the_key(blobs: &dyn Blobs) {
    blobs.create("delete/a/b", Bytes::from("x")).await.unwrap();

    blobs.delete("delete/a/b").await.unwrap();
    blobs.delete("delete/a/b").await.unwrap();
    blobs.delete("delete/never").await.unwrap();

    assert_eq!(blobs.read("delete/a/b").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(blobs.list("delete/").await.unwrap(), []);
    blobs.create("delete/a/b", Bytes::from("y")).await.unwrap();
    assert_eq!(blobs.read("delete/a/b").await.unwrap(), Bytes::from("y"));
}

async fn keys_that_break_the_rules_are_refused(blobs: &dyn Blobs) {
    for key in ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a/./b", "a\\b"] {
        assert_eq!(blobs.create(key, Bytes::new()).await.unwrap_err().kind(), Kind::Invalid, "{key:?}");
        assert_eq!(blobs.read(key).await.unwrap_err().kind(), Kind::Invalid, "{key:?}");
        assert_eq!(blobs.read_range(key, 0..0).await.unwrap_err().kind(), Kind::Invalid, "{key:?}");
        assert_eq!(blobs.delete(key).await.unwrap_err().kind(), Kind::Invalid, "{key:?}");
    }
    assert_eq!(blobs.list("../").await.unwrap_err().kind(), Kind::Invalid);
}

async fn of_racing_creates_one_wins(blobs: Arc<dyn Blobs>) {
    for round in 0..10 {
        let key = format!("race/{round}/key");
        let racers = (0..6).map(|racer| {
            let (blobs, key) = (blobs.clone(), key.clone());
            async move { blobs.create(&key, Bytes::from(vec![racer; 1000])).await.map(|()| racer) }
        });
        let ended = futures::future::join_all(racers).await;

        let won = ended.iter().filter_map(|ended| ended.as_ref().ok()).collect::<Vec<_>>();
        assert_eq!(won.len(), 1, "{ended:?}");
        assert!(
            ended.iter().flat_map(|ended| ended.as_ref().err()).all(|error| error.kind() == Kind::Exists)
        );
        assert_eq!(blobs.read(&key).await.unwrap(), Bytes::from(vec![*won[0]; 1000]));
    }
}
