//! The chart of a database: values of Milvus's own chart as one object that the operator takes.

use std::path::Path;

use serde_json::{Value, json};

use crate::chart::{helm, rendered};
use crate::manifests::{checked, definition};
use crate::{documents, schema};

/// What the chart renders with values.
fn with_values(helm: &Path, release: &str, values: &Value) -> Result<Vec<Value>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&mut file, values).unwrap();
    let path = file.path().to_str().unwrap();
    rendered(helm, release, "milvus", &["--values", path]).map(|text| documents(&text))
}

/// The one `Milvus` that the chart renders with values, which the API server and the operator take.
fn object(helm: &Path, release: &str, values: &Value) -> Value {
    let all = with_values(helm, release, values).unwrap();
    let mut of_us: Vec<Value> = all.into_iter().filter(|one| one["kind"] == "Milvus").collect();
    let object = of_us.pop().unwrap();
    assert_eq!(of_us, Vec::<Value>::new(), "one object");
    assert_eq!(schema::violations(&definition(), &object), Vec::<String>::new());
    assert_eq!(checked(object.clone()).err(), None, "{object:#}");
    object
}

/// Components as they are expected, each with the labels of Milvus's own chart.
fn labelled(mut components: Value) -> Value {
    let names = ["standalone", "proxy", "mixCoord", "queryNode", "dataNode", "indexNode", "streamingNode"];
    for name in names.into_iter().filter(|name| components.get(name).is_some()).collect::<Vec<_>>() {
        components[name]["podLabels"] = json!({"component": name.to_lowercase()});
    }
    components["podLabels"] = json!({"app": "milvus"});
    components
}

/// Values of a guide to Milvus, with all that it sets for a cluster.
fn of_a_guide() -> Value {
    json!({
        "cluster": {"enabled": true},
        "image": {"all": {"repository": "milvusdb/milvus", "tag": "v2.6.0", "pullPolicy": "IfNotPresent"}},
        "queryNode": {
            "replicas": 3,
            "resources": {"limits": {"cpu": "4", "memory": "16Gi"}, "requests": {"cpu": "2", "memory": "8Gi"}},
            "tolerations": [{"key": "milvus", "operator": "Equal", "value": "querynode", "effect": "NoSchedule"}],
        },
        "dataNode": {"replicas": 2, "resources": {"limits": {"cpu": "2", "memory": "8Gi"}}},
        "indexNode": {"replicas": 3, "resources": {"limits": {"cpu": "4", "memory": "8Gi"}}, "nodeSelector": {"disk": "fast"}},
        "rootCoord": {"replicas": 1},
        "queryCoordinator": {"replicas": 2},
        "minio": {"mode": "distributed", "replicas": 4, "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}},
        "pulsar": {"enabled": true, "broker": {"replicaCount": 3}},
        "etcd": {"replicaCount": 3, "resources": {"limits": {"cpu": "1", "memory": "2Gi"}}},
        "service": {"type": "LoadBalancer", "port": 19530},
        "metrics": {"enabled": true, "serviceMonitor": {"enabled": true, "interval": "15s"}},
        "log": {"level": "info", "format": "json", "persistence": {"enabled": true, "size": "100Gi"}},
    })
}

#[test]
fn no_values_are_a_cluster_with_the_operators_defaults() {
    let Some(helm) = helm() else { return };

    let object = object(&helm, "milvus", &json!({}));

    assert_eq!(object["metadata"]["name"], "milvus");
    let expected = json!({
        "mode": "cluster",
        "components": labelled(json!({
            "metricInterval": "30s",
            "mixCoord": {},
            "queryNode": {},
            "dataNode": {},
            "streamingNode": {},
            "proxy": {"serviceType": "ClusterIP", "port": 19530},
        })),
        "dependencies": {"msgStreamType": "woodpecker"},
        "config": {"log": {"level": "info", "format": "text"}},
    });
    assert_eq!(object["spec"], expected);
}

#[test]
fn the_values_of_a_guide_keep_their_meaning() {
    let Some(helm) = helm() else { return };

    let object = object(&helm, "milvus-release", &of_a_guide());

    assert_eq!(object["metadata"]["name"], "milvus-release");
    let expected = json!({
        "mode": "cluster",
        "components": labelled(json!({
            "image": "milvusdb/milvus:v2.6.0",
            "imagePullPolicy": "IfNotPresent",
            "metricInterval": "15s",
            "proxy": {"serviceType": "LoadBalancer", "port": 19530},
            "mixCoord": {"replicas": 2},
            "queryNode": {
                "replicas": 3,
                "resources": {"limits": {"cpu": "4", "memory": "16Gi"}, "requests": {"cpu": "2", "memory": "8Gi"}},
                "tolerations": [{"key": "milvus", "operator": "Equal", "value": "querynode", "effect": "NoSchedule"}],
            },
            "dataNode": {
                "replicas": 3,
                "resources": {"limits": {"cpu": "2", "memory": "8Gi"}},
                "nodeSelector": {"disk": "fast"},
            },
            "streamingNode": {},
        })),
        "dependencies": {
            "msgStreamType": "pulsar",
            "pulsar": {"inCluster": {"values": {"broker": {"replicaCount": 3}}}},
            "etcd": {"inCluster": {"values": {
                "replicaCount": 3, "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
            }}},
            "storage": {"inCluster": {"values": {
                "mode": "distributed", "replicas": 4, "resources": {"limits": {"cpu": "2", "memory": "4Gi"}},
            }}},
        },
        "config": {"log": {"level": "info", "format": "json"}},
    });
    assert_eq!(object["spec"], expected);
}

/// Case 114 of the first inventory of guides: its values, as they are.
#[test]
fn g1_114_the_values_of_a_short_guide_render_with_their_numbers() {
    let Some(helm) = helm() else { return };
    let values = json!({
        "cluster": {"enabled": true},
        "image": {"all": {"repository": "milvusdb/milvus", "tag": "v2.3.0"}},
        "proxy": {"replicas": 2},
        "queryNode": {"replicas": 3, "resources": {"limits": {"cpu": 4, "memory": "8Gi"}}},
        "dataNode": {"replicas": 2},
        "indexNode": {"replicas": 1},
        "minio": {"enabled": true, "mode": "standalone"},
        "pulsar": {"enabled": true},
        "etcd": {"replicaCount": 3},
    });

    let object = object(&helm, "milvus", &values);

    let (components, stores) = (&object["spec"]["components"], &object["spec"]["dependencies"]);
    let replicas =
        ["proxy", "queryNode", "dataNode", "indexNode"].map(|name| components[name]["replicas"].as_i64());
    assert_eq!(replicas, [2, 3, 2, 1].map(Some));
    assert_eq!(components["queryNode"]["resources"], json!({"limits": {"cpu": 4, "memory": "8Gi"}}));
    assert_eq!(stores["etcd"]["inCluster"]["values"], json!({"replicaCount": 3}));
    assert_eq!(stores["storage"]["inCluster"]["values"], json!({"mode": "standalone"}));
}

#[test]
fn index_nodes_of_an_older_image_keep_their_values_and_no_streaming_node_is_asked_for() {
    let Some(helm) = helm() else { return };
    let mut values = of_a_guide();
    values["image"]["all"]["tag"] = json!("v2.3.0");

    let components = object(&helm, "milvus-release", &values)["spec"]["components"].take();

    let expected = json!({
        "replicas": 3,
        "resources": {"limits": {"cpu": "4", "memory": "8Gi"}},
        "nodeSelector": {"disk": "fast"},
        "podLabels": {"component": "indexnode"},
    });
    assert_eq!(components["indexNode"], expected);
    assert_eq!(components["dataNode"]["replicas"], 2);
    assert_eq!(components["dataNode"]["nodeSelector"], Value::Null);
    assert_eq!(components["streamingNode"], Value::Null);
}

#[test]
fn a_scaler_gets_the_number_of_pods_under_both_spellings() {
    let Some(helm) = helm() else { return };
    let ours = json!({"queryNode": {"replicas": 3, "hpa": {
        "enabled": true, "minReplicas": 2, "maxReplicas": 10, "cpuUtilization": 70, "memoryUtilization": 80}}});
    let of_guides = json!({"queryNode": {"replicas": 3, "autoscaling": {
        "enabled": true, "minReplicas": 2, "maxReplicas": 10,
        "targetCPUUtilizationPercentage": 70, "targetMemoryUtilizationPercentage": 80}}});

    for values in [ours, of_guides] {
        assert_eq!(
            object(&helm, "milvus", &values)["spec"]["components"]["queryNode"],
            json!({"replicas": -1, "podLabels": {"component": "querynode"}})
        );
        let all = with_values(&helm, "milvus", &values).unwrap();
        let scaler = all.iter().find(|one| one["kind"] == "HorizontalPodAutoscaler").unwrap();
        assert_eq!(scaler["metadata"]["name"], "milvus-querynode-hpa");
        let target = |resource: &str, percent: u8| {
            json!({"type": "Resource", "resource": {
                "name": resource, "target": {"type": "Utilization", "averageUtilization": percent}}})
        };
        let expected = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "milvus-milvus-querynode"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [target("cpu", 70), target("memory", 80)],
        });
        assert_eq!(scaler["spec"], expected);
    }
}

#[test]
fn external_stores_are_named_and_keys_are_only_referred_to() {
    let Some(helm) = helm() else { return };
    let values = json!({
        "externalEtcd": {"enabled": true, "endpoints": ["etcd.example.com:2379"]},
        "externalS3": {
            "enabled": true, "host": "s3.example.com", "port": 443, "useSSL": true, "accessKey": "key", "secretKey": "secret",
            "bucketName": "bucket", "rootPath": "root", "region": "eu-central-1",
        },
        "externalKafka": {"enabled": true, "brokerList": "one:9092,two:9092", "existingSecret": "kafka-keys"},
    });

    let object = object(&helm, "books", &values);

    assert_eq!(object["metadata"]["name"], "books-milvus");
    let expected = json!({
        "msgStreamType": "kafka",
        "kafka": {"external": true, "brokerList": ["one:9092", "two:9092"], "secretRef": "kafka-keys"},
        "etcd": {"external": true, "endpoints": ["etcd.example.com:2379"]},
        "storage": {"external": true, "type": "S3", "endpoint": "s3.example.com:443", "secretRef": "books-milvus-s3"},
    });
    assert_eq!(object["spec"]["dependencies"], expected);
    let bucket = json!({
        "bucketName": "bucket", "rootPath": "root", "region": "eu-central-1", "useSSL": true, "cloudProvider": "aws",
    });
    assert_eq!(object["spec"]["config"]["minio"], bucket);
    let all = with_values(&helm, "books", &values).unwrap();
    let secret = all.iter().find(|one| one["kind"] == "Secret").unwrap();
    assert_eq!(secret["metadata"]["name"], "books-milvus-s3");
    assert_eq!(secret["stringData"], json!({"accesskey": "key", "secretkey": "secret"}));
}

#[test]
fn a_standalone_gets_its_volume_its_probes_and_its_settings() {
    let Some(helm) = helm() else { return };
    let values = json!({
        "cluster": {"enabled": false},
        "standalone": {"resources": {"limits": {"memory": "2Gi"}}, "readinessProbe": {"periodSeconds": 5}},
        "persistence": {"enabled": true, "storageClass": "fast-ssd", "accessMode": "ReadWriteOnce", "size": "500Gi"},
        "securityContext": {"runAsNonRoot": true, "fsGroup": 1000},
        "extraConfigFiles": {"user.yaml": "log:\n  level: debug\ncommon:\n  security:\n    authorizationEnabled: true\n"},
    });

    let object = object(&helm, "milvus", &values);

    let volume = json!({"enabled": true, "persistentVolumeClaim": {"spec": {
        "storageClassName": "fast-ssd", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "500Gi"}}}}});
    let expected = json!({
        "mode": "standalone",
        "components": labelled(json!({
            "metricInterval": "30s",
            "runAsNonRoot": true,
            "securityContext": {"runAsNonRoot": true},
            "standalone": {
                "serviceType": "ClusterIP",
                "port": 19530,
                "resources": {"limits": {"memory": "2Gi"}},
                "probes": {"readinessProbe": {"periodSeconds": 5, "httpGet": {"path": "/healthz", "port": 9091}}},
            },
        })),
        "dependencies": {"msgStreamType": "woodpecker", "woodpecker": {"persistence": volume}},
        "config": {
            "log": {"level": "debug", "format": "text"},
            "common": {"security": {"authorizationEnabled": true}},
        },
    });
    assert_eq!(object["spec"], expected);
}

#[test]
fn values_that_would_be_lost_are_refused_with_what_to_write_instead() {
    let Some(helm) = helm() else { return };
    for (values, hint) in [
        (json!({"backup": {"enabled": true}}), "milvus-backup"),
        (json!({"readOnly": true}), "without write privileges"),
        (json!({"global": {"region": "x"}}), "externalS3.region"),
        (json!({"querynode": {"replicas": 3}}), "querynode is not a value"),
        (json!({"queryNode": {"replicass": 3}}), "replicass"),
        (json!({"queryNode": {"replicas": -2}}), "/queryNode/replicas"),
        (json!({"attu": {"enabled": true}}), "attu is not run"),
        (json!({"externalPulsar": {"enabled": true}}), "externalKafka"),
        (json!({"externalS3": {"enabled": true}}), "externalS3.host"),
        (json!({"externalEtcd": {"enabled": true}}), "externalEtcd.endpoints"),
        (json!({"extraConfigFiles": {"other.yaml": "a: 1"}}), "other.yaml"),
        (json!({"extraConfigFiles": {"user.yaml": "a: [1"}}), "is not YAML"),
        (json!({"proxy": {"hpa": {"enabled": true}}}), "needs a target"),
    ] {
        let error = with_values(&helm, "milvus", &values).unwrap_err();

        assert!(error.contains(hint), "{values}: {error}");
    }
}
