//! Claims about rows that live for a while only.

use super::*;
use crate::base::{NodeTime, RealClock, Timestamp};
use crate::proxy::ProxyParts;

/// A proxy that has heard that the cluster's time is so much later than the clock of its machine, over the same duties.
pub(super) fn ahead(twin: &Arc<Twin>, ms: u64) -> Proxy {
    let clock = RealClock::new();
    let time = NodeTime::new(clock.clone());
    time.hear(Timestamp::from_unix_ms(crate::base::Clock::unix_ms(&*clock)).plus_ms(ms));
    Proxy::new(ProxyParts { time, ..twin.parts() })
}

pub(super) async fn set(proxy: &Proxy, key: &str, value: &str) -> Status {
    let properties = vec![pair(key, value)];
    let request =
        AlterCollectionRequest { collection_name: "c".to_owned(), properties, ..Default::default() };
    proxy.alter_collection(Request::new(request)).await.unwrap().into_inner()
}

/// What a count, a query, a query by keys, a search and a hybrid search find.
async fn found(proxy: &Proxy) -> [usize; 5] {
    let count = longs(&query(proxy, "", &["count(*)"], &[]).await.fields_data[0])[0];
    let ids = async |expr: &str| longs(&query(proxy, expr, &["id"], &[]).await.fields_data[0]).len();
    let searched = |results: SearchResults| {
        assert_good(&results.status.unwrap());
        results.results.unwrap().scores.len()
    };
    let one = search_request(&[("topk", "9")], &[&[0.0, 0.0]]);
    let both = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![one.clone(), one.clone()],
        rank_params: vec![pair("limit", "9")],
        ..Default::default()
    };
    [
        usize::try_from(count).unwrap(),
        ids("id > 0").await,
        ids("id in [1, 2, 3]").await,
        searched(search(proxy, one).await),
        searched(proxy.hybrid_search(Request::new(both)).await.unwrap().into_inner()),
    ]
}

#[tokio::test]
async fn rows_live_by_the_time_of_the_cluster_and_not_by_the_clock_of_the_machine() {
    let (proxy, twin) = with_twin(false, 2).await;
    let points = vectors(2, &[1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
    assert_good(&insert(&proxy, 3, vec![ids(&[1, 2, 3]), points]).await.status.unwrap());
    let later = ahead(&twin, 100_000);

    assert_eq!(found(&later).await, [3; 5]);
    for (ttl, expected) in [("200", 3), ("60", 0), ("0", 3), ("99", 0), ("-1", 3)] {
        assert_good(&set(&proxy, "collection.ttl.seconds", ttl).await);
        assert_eq!(found(&later).await, [expected; 5], "of a ttl of {ttl} s");
        assert_eq!(found(&proxy).await, [3; 5], "where no time has passed");
    }
}

#[tokio::test]
async fn what_has_expired_is_no_row_to_merge_with_and_an_upsert_renews() {
    let (proxy, twin) = with_twin(false, 2).await;
    let sent = vec![ids(&[1, 2]), vectors(2, &[1.0, 0.0, 2.0, 0.0]), ages(&[5, 6])];
    assert_good(&insert(&proxy, 2, sent).await.status.unwrap());
    assert_good(&set(&proxy, "collection.ttl.seconds", "60").await);
    let later = ahead(&twin, 100_000);

    let partial = upsert(&later, 1, vec![ids(&[1]), ages(&[9])], true).await;
    let (code, _) = said(partial.status);
    assert_ne!(code, 0, "a vector is missing");
    let there = upsert(&proxy, 1, vec![ids(&[2]), ages(&[9])], true).await;
    assert_good(&there.status.unwrap());
}

#[tokio::test]
async fn a_row_ends_at_the_instant_in_the_field_that_the_property_names() {
    let (proxy, twin) = with_twin(false, 2).await;
    let ends = FieldSchema { nullable: true, ..field("ends", Wire::Timestamptz, &[]) };
    let add = AddCollectionFieldRequest {
        collection_name: "c".to_owned(),
        schema: ends.encode_to_vec(),
        ..Default::default()
    };
    assert_good(&proxy.add_collection_field(Request::new(add)).await.unwrap().into_inner());
    let points = vectors(2, &[1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
    let texts = ["2000-01-01T00:00:00Z", "2990-01-01T00:00:00Z"].map(str::to_owned).to_vec();
    let ends = FieldData {
        valid_data: vec![true, true, false],
        ..scalars("ends", Wire::Timestamptz, scalar_field::Data::StringData(StringArray { data: texts }))
    };
    assert_good(&insert(&proxy, 3, vec![ids(&[1, 2, 3]), points, ends]).await.status.unwrap());

    assert_eq!(found(&proxy).await, [3; 5]);
    assert_good(&set(&proxy, "ttl_field", "ends").await);
    assert_eq!(found(&proxy).await, [2; 5]);
    assert_eq!(found(&ahead(&twin, 1_000 * 366 * 86_400_000)).await, [1; 5]);

    let (code, text) = said(Some(set(&proxy, "collection.ttl.seconds", "60").await));
    assert_eq!(code, 1100);
    assert!(text.contains("exclude each other"), "{text}");
    assert_good(&set(&proxy, "collection.ttl.seconds", "0").await);
}
