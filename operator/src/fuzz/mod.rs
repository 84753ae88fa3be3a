//! The table of fuzz targets of this crate, as `engine::fuzz` is that of the engine.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::crd::{MilvusCollection, MilvusResourceGroup, MilvusUpgrade, read, read_cluster};
use crate::render::{Facts, Platform, check, render};

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Holds what is promised of these bytes; panics where it does not.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets of this crate.
pub const TARGETS: [Target; 1] = [Target { name: "milvus-object", run: object, seeds: samples }];

/// Any YAML is no object, or one whose faults are named, or one of which objects are rendered: the same each time, with settings
/// that are a mapping in YAML again.
fn object(data: &[u8]) {
    let Ok(value) = serde_yaml::from_slice::<Value>(data) else { return };
    drop(serde_json::from_value::<MilvusCollection>(value.clone()));
    drop(serde_json::from_value::<MilvusResourceGroup>(value.clone()));
    drop(serde_json::from_value::<MilvusUpgrade>(value.clone()));
    let Ok(object) = serde_json::from_value::<DynamicObject>(value) else { return };
    drop(read_cluster(object.clone()));
    let Ok(milvus) = read(object) else { return };
    let platform = Platform {
        engine_image: "redkite/engine:1".into(),
        etcd_image: "example/etcd:1".into(),
        storage_image: "example/versitygw:1".into(),
        home: "operators".into(),
        ..Platform::default()
    };
    let checked = match check(&milvus, &platform, &Facts::default()) {
        Ok(checked) => checked,
        Err(faults) => {
            assert!(!faults.is_empty());
            return;
        }
    };
    let objects = render(&checked);
    let again = render(&checked);
    assert_eq!(objects.config_map, again.config_map);
    for (one, other) in objects.workloads.iter().zip(&again.workloads) {
        assert_eq!(one.deployment, other.deployment);
    }
    let settings = objects.config_map.data.iter().flatten().find(|(name, _)| *name == "user.yaml");
    let settings = settings.map(|(_, text)| serde_yaml::from_str::<Value>(text));
    assert!(matches!(settings, Some(Ok(Value::Object(_)))), "{settings:?}");
}

fn samples() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../config/samples/milvus_certificates.yaml"),
        include_str!("../../../config/samples/milvus_cluster_external.yaml"),
        include_str!("../../../config/samples/milvus_collection.yaml"),
        include_str!("../../../config/samples/milvus_config.yaml"),
        include_str!("../../../config/samples/milvus_deletion.yaml"),
        include_str!("../../../config/samples/milvus_groups.yaml"),
        include_str!("../../../config/samples/milvus_minimum.yaml"),
        include_str!("../../../config/samples/milvus_resources.yaml"),
        include_str!("../../../config/samples/milvus_s3.yaml"),
        include_str!("../../../config/samples/milvus_zones.yaml"),
        "apiVersion: milvus.io/v1beta1\nkind: Milvus\nmetadata: {name: db}\nspec: {mode: cluster, components: {queryNode: {replicas: 2, resources: {limits: {cpu: 1, memory: 1Gi}}}}, config: {log: {level: ~}, minio: {secretAccessKey: x}}}\n",
        "kind: Milvus\napiVersion: milvus.io/v1beta1\nmetadata: {name: db}\nspec: {dependencies: {msgStreamType: kafka, kafka: {external: true, brokerList: [a:1]}, etcd: {inCluster: {values: {replicaCount: 3}}}}}\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests;
