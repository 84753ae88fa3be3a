//! What the operator relies on, checked on the memory twin.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;
use serde_json::{from_value, json};

use super::*;

fn config(text: &str) -> ConfigMap {
    from_value(json!({"metadata": {"namespace": "ns", "name": "a"}, "data": {"key": text}})).unwrap()
}

#[tokio::test]
async fn what_is_applied_is_read_back_and_an_equal_apply_changes_nothing() {
    let cluster = MemoryCluster::default();
    let place = Place::new("ns", "a");

    let first = apply_as(&cluster, &config("one")).await.unwrap();
    let again = apply_as(&cluster, &config("one")).await.unwrap();

    assert_eq!(first, again);
    assert_eq!(get_as::<ConfigMap>(&cluster, &place).await.unwrap(), Some(first));
}

#[tokio::test]
async fn finalizers_are_changed_only_on_the_version_that_was_read() {
    let cluster = MemoryCluster::default();
    let kind = ApiResource::erase::<ConfigMap>(&());
    let place = Place::new("ns", "a");
    let first = apply_as(&cluster, &config("one")).await.unwrap();
    apply_as(&cluster, &config("two")).await.unwrap();

    let version = first.metadata.resource_version.unwrap();
    let error = cluster.set_finalizers(&kind, &place, &version, &["held".to_owned()]).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn deleting_what_is_gone_is_success() {
    let cluster = MemoryCluster::default();
    let kind = ApiResource::erase::<ConfigMap>(&());

    cluster.delete(&kind, &Place::new("ns", "a"), "uid").await.unwrap();
}

#[tokio::test]
async fn a_cut_connection_fails_every_later_call() {
    let cluster = MemoryCluster::default();
    cluster.cut_after(1, true);

    apply_as(&cluster, &config("one")).await.unwrap();
    let lost = apply_as(&cluster, &config("two")).await.unwrap_err();
    let after = apply_as(&cluster, &config("three")).await.unwrap_err();

    assert_eq!((lost.kind(), after.kind()), (Kind::Unavailable, Kind::Unavailable));
    assert!(cluster.mend());
    let stored: ConfigMap = get_as(&cluster, &Place::new("ns", "a")).await.unwrap().unwrap();
    assert_eq!(stored.data.unwrap()["key"], "two");
}
