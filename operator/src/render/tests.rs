//! Specs in, objects and complaints out.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, from_value, json};

use super::*;
use crate::crd::{Milvus, read};

fn milvus(spec: Value) -> Milvus {
    let object = json!({
        "apiVersion": "milvus.io/v1beta1", "kind": "Milvus",
        "metadata": {"name": "db", "namespace": "ns", "uid": "uid-db", "generation": 3}, "spec": spec,
    });
    read(from_value(object).unwrap()).unwrap()
}

fn platform() -> Platform {
    Platform {
        engine_image: "redkite/engine:1".into(),
        etcd_image: "example/etcd:1".into(),
        storage_image: "example/versitygw:1".into(),
        home: "operators".into(),
        ..Platform::default()
    }
}

fn checked(spec: Value) -> Checked {
    check(&milvus(spec), &platform(), &Facts::default()).unwrap()
}

fn rendered(spec: Value) -> Objects<Planned> {
    render(&checked(spec))
}

fn cluster(mut spec: Value) -> Objects<Planned> {
    spec["mode"] = json!("cluster");
    rendered(spec)
}

fn workload<'a>(objects: &'a Objects<Planned>, name: &str) -> &'a WorkloadObjects {
    let name = format!("db-milvus-{name}");
    objects
        .workloads
        .iter()
        .find(|workload| workload.deployment.metadata.name.as_ref() == Some(&name))
        .unwrap_or_else(|| panic!("no {name}"))
}

fn pod_of(objects: &Objects<Planned>, name: &str) -> PodSpec {
    workload(objects, name).deployment.spec.clone().unwrap().template.spec.unwrap()
}

/// The pod of the only workload, or of the first.
fn pod(objects: &Objects<Planned>) -> PodSpec {
    objects.workloads[0].deployment.spec.clone().unwrap().template.spec.unwrap()
}

fn names(objects: &Objects<Planned>) -> Vec<String> {
    objects.workloads.iter().map(|workload| workload.deployment.metadata.name.clone().unwrap()).collect()
}

fn settings_of(objects: &Objects<Planned>) -> Value {
    serde_yaml::from_str(&objects.config_map.data.as_ref().unwrap()["user.yaml"]).unwrap()
}

fn engine(objects: &Objects<Planned>) -> Container {
    pod(objects).containers.remove(0)
}

fn complaints(spec: Value) -> Vec<String> {
    let faults = check(&milvus(spec), &platform(), &Facts::default()).unwrap_err();
    faults
        .into_iter()
        .map(|fault| format!("{} {}: {}", fault.reason.name(), fault.path, fault.message))
        .collect()
}

/// All objects as one value, for snapshots.
fn whole(objects: &Objects<Planned>) -> Value {
    fn wanted<T: serde::Serialize>(wanted: &Wanted<T>) -> Value {
        match wanted {
            Wanted::Present(object) => json!(object),
            Wanted::Absent(name) => json!(name),
        }
    }
    let Objects {
        service_account,
        config_map,
        settings_secret,
        claim,
        service,
        ingress,
        policies,
        pod_monitor,
        stores,
        workloads,
        ..
    } = objects;
    let stores = stores.iter().map(|store| {
        let StoreObjects { kind: _, services, budget, stateful_set } = store;
        json!({"services": services, "budget": budget, "statefulSet": stateful_set})
    });
    let workloads = workloads.iter().map(|workload| {
        let WorkloadObjects { component: _, group: _, deployment, budget } = workload;
        json!({"deployment": deployment, "budget": wanted(budget)})
    });
    json!({
        "serviceAccount": wanted(service_account),
        "configMap": config_map,
        "settingsSecret": wanted(settings_secret),
        "claim": claim,
        "service": service,
        "ingress": wanted(ingress),
        "podMonitor": wanted(pod_monitor),
        "policies": policies.iter().map(wanted).collect::<Vec<_>>(),
        "stores": stores.collect::<Vec<_>>(),
        "workloads": workloads.collect::<Vec<_>>(),
    })
}

#[test]
fn the_objects_of_an_empty_cluster() {
    insta::assert_yaml_snapshot!(whole(&cluster(json!({}))));
}

#[test]
fn the_objects_of_a_full_cluster() {
    insta::assert_yaml_snapshot!(whole(&cluster(json!({
        "components": {
            "image": "milvusdb/milvus:v2.6.11",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "proxy": {"replicas": 2, "serviceType": "LoadBalancer", "port": 29530},
            "mixCoord": {"replicas": 2},
            "queryNode": {"groups": [
                {"name": "a", "replicas": 2, "nodeSelector": {"zone": "a"},
                 "extraEnv": [{"name": "MILVUS_SERVER_LABEL_RESOURCE_GROUP", "value": "a"}]},
                {"name": "b", "replicas": -1, "labels": {"tier": "b"}},
            ]},
        },
        "config": {"kafka": {"securityProtocol": "SASL_PLAINTEXT"}, "etcd": {"auth": {
            "enabled": true, "userName": "root", "password": "not-in-a-config-map"}}},
        "dependencies": {
            "msgStreamType": "kafka",
            "kafka": {"external": true, "brokerList": ["kafka-0.example:9092"], "secretRef": "kafka-keys"},
            "etcd": {"external": true, "endpoints": ["http://etcd.example:2379"]},
            "storage": {"external": true, "type": "S3", "endpoint": "s3.example:443", "secretRef": "keys"},
        },
        "redkite": {"networkPolicy": {"enabled": true, "clients": [
            {"namespaceSelector": {"matchLabels": {"team": "search"}}}]}},
    }))));
}

#[test]
fn the_objects_of_an_empty_spec() {
    insta::assert_yaml_snapshot!(whole(&rendered(json!({}))));
}

#[test]
fn the_objects_of_a_full_spec() {
    insta::assert_yaml_snapshot!(whole(&rendered(json!({
        "components": {
            "image": "milvusdb/milvus:v2.6.11",
            "podLabels": {"team": "search", "app.kubernetes.io/name": "not-mine-to-set"},
            "env": [{"name": "A", "value": "global"}, {"name": "B", "value": "kept"}],
            "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}],
            "volumeMounts": [{"name": "certs", "mountPath": "/certs", "readOnly": true}],
            "serviceAccountName": "mine",
            "runWithSubProcess": true,
            "standalone": {
                "podLabels": {"team": "vectors"},
                "env": [{"name": "A", "value": "own"}],
                "resources": {"limits": {"cpu": 4, "memory": "8Gi"}},
                "serviceType": "LoadBalancer",
                "port": 29530,
                "serviceRestfulPort": 8080,
                "serviceLabels": {"expose": "yes"},
                "sidecars": [{"name": "beside", "image": "example/beside:1",
                    "ports": [{"name": "beside", "containerPort": 7000}]}],
                "ingress": {"hosts": ["db.example"], "ingressClassName": "web", "tlsSecretRefs": {"tls": ["db.example"]}},
            },
        },
        "config": {"minio": {"bucketName": "b", "useSSL": true}},
        "dependencies": {
            "msgStreamType": "rocksmq",
            "rocksmq": {"persistence": {"enabled": true, "persistentVolumeClaim": {
                "labels": {"tier": "data"},
                "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "20Gi"}}}}}},
            "storage": {"external": true, "type": "S3", "endpoint": "s3.example:443", "secretRef": "keys"},
        },
    }))));
}

#[test]
fn every_wrong_field_is_named() {
    assert_eq!(
        complaints(json!({
            "components": {
                "imagePullPolicy": "Sometimes",
                "volumes": [{"name": "ok"}, {"noName": true}],
                "standalone": {
                    "replicas": 2,
                    "probes": {"livenessProbe": {"periodSeconds": "ten"}},
                    "sidecars": [{"image": "x"}],
                    "volumeMounts": [{"name": "lost", "mountPath": "/x"}],
                },
            },
            "dependencies": {
                "storage": {"external": true, "endpoint": "host:port"},
                "rocksmq": {"persistence": {"persistentVolumeClaim": {
                    "spec": {"resources": {"requests": {"storage": "lots"}}}}}},
            },
        })),
        [
            "InvalidField spec.dependencies.storage.endpoint: 'host:port' does not end in a port between 0 and 65535",
            "InvalidField spec.components.standalone.probes: invalid type: string \"ten\", expected i32",
            "InvalidField spec.components.standalone.imagePullPolicy: 'Sometimes' is not Always, IfNotPresent or Never",
            "InvalidField spec.components.volumes[1].name: a name is needed",
            "InvalidField spec.components.standalone.sidecars[0].name: a name is needed",
            "InvalidField spec.components.standalone.volumeMounts: the mount at /x names volume 'lost', which is not there",
            "NotSupported spec.components.standalone.replicas: 2 is not 0 or 1: one process at a time may hold the data \
             of a standalone database",
            "InvalidField spec.dependencies.rocksmq.persistence.persistentVolumeClaim.spec.resources.requests.storage: \
             'lots' is no size",
        ]
    );
}

#[test]
fn a_name_that_cannot_name_a_service_is_a_complaint() {
    let mut object = milvus(json!({}));
    for name in ["a.b", "1a", &"a".repeat(57)] {
        object.metadata.name = Some(name.to_owned());

        assert_eq!(
            check(&object, &platform(), &Facts::default()).unwrap_err()[0].path,
            "metadata.name",
            "{name}"
        );
    }
}

/// The one workload that a spec asks for.
fn deployment(spec: Value) -> Deployment {
    rendered(spec).workloads.remove(0).deployment
}

#[test]
fn a_changed_config_changes_the_template() {
    let template = |spec| deployment(spec).spec.unwrap().template;

    assert_ne!(template(json!({})), template(json!({"config": {"log": {"level": "debug"}}})));
}

#[test]
fn that_only_the_config_map_is_to_change_changes_nothing_of_a_workload() {
    let debug = json!({"log": {"level": "debug"}});
    let only = json!({"updateConfigMapOnly": true});
    let plain = deployment(json!({"config": debug.clone()}));

    let new = deployment(json!({"components": only, "config": debug}));

    assert_eq!(new, plain, "a workload that is not there yet has the hash, too");
    assert_eq!(fit_deployment(new, &plain), plain);
}

#[test]
fn where_only_the_config_map_is_to_change_a_workload_keeps_the_hash_of_its_settings() {
    let old = deployment(json!({}));
    let changed = deployment(json!({"config": {"log": {"level": "debug"}}}));
    assert_ne!(changed, old);

    assert_eq!(fit_deployment(changed, &old), old);
}

#[test]
fn where_only_the_config_map_is_to_change_a_workload_without_a_hash_gets_none_and_keeps_the_rest() {
    let planned = deployment(
        json!({"components": {"podAnnotations": {"team": "search"}, "image": "example/engine:2"}}),
    );
    let without = |mut from: Deployment| {
        let metadata = from.spec.as_mut().unwrap().template.metadata.as_mut().unwrap();
        metadata.annotations.as_mut().unwrap().remove(contract::names::ANNOTATION_CONFIG_HASH);
        from
    };
    // As an operator before this one left it.
    let old = without(deployment(json!({"components": {"podAnnotations": {"team": "before"}}})));

    assert_eq!(fit_deployment(planned.clone(), &old), without(planned));
}

#[test]
fn keys_of_the_storage_come_by_reference_and_never_as_text() {
    let objects = rendered(json!({
        "dependencies": {"storage": {"external": true, "endpoint": "s3.example", "secretRef": "keys"}}}));

    let environment = serde_json::to_value(engine(&objects).env).unwrap();
    assert_eq!(
        environment,
        json!([
            {"name": "MINIO_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "accesskey"}}},
            {"name": "MINIO_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "secretkey"}}},
        ])
    );
    assert!(objects.config_map.data.unwrap()["user.yaml"].contains("port: 80\n"));
}

#[test]
fn commands_replace_the_arguments_and_milvus_in_front_means_our_binary() {
    let args = |commands: Value| {
        let container = engine(&rendered(json!({"components": {"standalone": {"commands": commands}}})));
        (container.command, container.args.unwrap())
    };
    let own = ["--config", "/milvus/configs/user.yaml", "--data-dir", "/var/lib/milvus"];

    assert_eq!(
        args(json!(["milvus", "run", "standalone"])),
        (None, [&["run", "standalone"], &own[..]].concat().into_iter().map(str::to_owned).collect())
    );
    assert_eq!(args(json!(["sleep", "1"])), (Some(vec!["sleep".to_owned()]), vec!["1".to_owned()]));
}

#[test]
fn an_autoscaler_owns_the_replicas_at_minus_one() {
    let objects = rendered(json!({"components": {"standalone": {"replicas": -1}}}));

    assert_eq!(objects.workloads[0].deployment.spec.as_ref().unwrap().replicas, None);
}

#[test]
fn a_volume_of_the_users_called_data_does_not_hide_ours() {
    let objects = rendered(json!({"components": {
        "volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": "/milvus/data"}]}}));

    let mounts: Vec<(String, String)> = engine(&objects)
        .volume_mounts
        .unwrap()
        .into_iter()
        .map(|mount| (mount.name, mount.mount_path))
        .collect();
    assert!(mounts.contains(&("milvus-data".to_owned(), "/var/lib/milvus".to_owned())));
    assert!(mounts.contains(&("data".to_owned(), "/milvus/data".to_owned())));
}

#[test]
fn a_mount_called_remove_takes_a_mount_away() {
    let objects = rendered(json!({"components": {
        "volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/old"}],
        "standalone": {"volumeMounts": [{"name": "_remove", "mountPath": "/old"}]}}}));

    assert!(engine(&objects).volume_mounts.unwrap().iter().all(|mount| mount.mount_path != "/old"));
}

#[test]
fn pods_pass_the_restricted_profile() {
    let objects = rendered(json!({"components": {"securityContext": {"runAsUser": 1234}}}));

    let (pod, container) =
        (pod(&objects).security_context.unwrap(), engine(&objects).security_context.unwrap());
    assert_eq!(pod.run_as_non_root, Some(true));
    assert_eq!(pod.seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(container.allow_privilege_escalation, Some(false));
    assert_eq!(container.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
    assert_eq!((container.read_only_root_filesystem, container.run_as_user), (Some(true), Some(1234)));
}

#[test]
fn the_size_of_the_volume_comes_from_persistence_then_from_the_storage_it_replaces() {
    let size = |dependencies: Value| {
        let claim = rendered(json!({"dependencies": dependencies})).claim.unwrap();
        claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0.clone()
    };
    let values = json!({"inCluster": {"values": {"persistence": {"size": "20Gi"}}}});
    let claim = json!({"persistence": {"persistentVolumeClaim": {
        "spec": {"resources": {"requests": {"storage": "7Gi"}}}}}});

    assert_eq!(size(json!({})), "5Gi");
    assert_eq!(size(json!({"storage": values})), "20Gi");
    assert_eq!(size(json!({"storage": values, "woodpecker": claim})), "7Gi");
}

#[test]
fn a_claim_that_exists_is_used_and_never_deleted() {
    let spec = json!({"redkite": {"dataPolicy": "Delete"}, "dependencies": {"rocksmq": {"persistence": {
        "pvcDeletion": true, "persistentVolumeClaim": {"existingClaim": "theirs"}}}}});

    assert_eq!(rendered(spec.clone()).claim, None);
    assert!(!deletes_data(&milvus(spec).spec));
}

/// Names of the workloads whose pods are replaced when `config` is added to a cluster.
fn restarted(config: Value) -> Vec<String> {
    let (before, after) = (cluster(json!({})), cluster(json!({"config": config})));
    let template = |workload: &WorkloadObjects| workload.deployment.spec.clone().unwrap().template;
    let pairs = before.workloads.iter().zip(&after.workloads);
    pairs
        .filter(|(before, after)| template(before) != template(after))
        .map(|(_, after)| after.component.name().to_owned())
        .collect()
}

#[test]
fn a_changed_setting_restarts_only_those_whom_it_concerns() {
    assert_eq!(restarted(json!({"proxy": {"replicaSelectionPolicy": "round_robin"}})), ["proxy"]);
    assert_eq!(restarted(json!({"redkite": {"cache": {"budgetMb": 100}}})), ["querynode"]);
    assert_eq!(restarted(json!({"log": {"level": "debug"}})).len(), 5);
    assert_eq!(restarted(json!({"quotaAndLimits": {"no": "key of ours"}})), Vec::<String>::new());
}

#[test]
fn of_thirty_four_settings_each_restarts_whom_the_engine_says_that_it_concerns() {
    const ALL: &[&str] = &["mixcoord", "streamingnode", "querynode", "datanode", "proxy"];
    const WRITERS: &[&str] = &["streamingnode", "datanode"];
    let table: [(&str, Value, &[&str]); 34] = [
        ("common.gracefulTime", json!(4000), &["proxy"]),
        ("common.retentionDuration", json!(60), &["mixcoord", "proxy"]),
        ("common.security.authorizationEnabled", json!(true), &["proxy"]),
        ("common.security.enablePublicPrivilege", json!(false), &["proxy"]),
        ("common.security.superUsers", json!("ann"), &["proxy"]),
        ("dataCoord.enableCompaction", json!(false), &["mixcoord"]),
        ("dataCoord.compaction.enableAutoCompaction", json!(false), &["mixcoord"]),
        ("dataCoord.segment.maxIdleTime", json!(300), WRITERS),
        ("dataCoord.segment.maxSize", json!(256), &["mixcoord", "streamingnode", "datanode"]),
        ("indexCoord.segment.minSegmentNumRowsToEnableIndex", json!(2048), &["mixcoord"]),
        ("log.format", json!("json"), ALL),
        ("minio.ssl.tlsCACert", json!("/certs/ca.pem"), &[]),
        ("proxy.grpc.serverMaxRecvSize", json!(1_048_576), &["proxy"]),
        ("proxy.replicaSelectionPolicy", json!("round_robin"), &["proxy"]),
        ("proxy.slowQuerySpanInSeconds", json!(1), &["proxy"]),
        ("queryNode.segcore.interimIndex.enableIndex", json!(false), &["querynode"]),
        ("queryNode.segcore.interimIndex.nlist", json!(64), &["querynode"]),
        ("quotaAndLimits.dml.enabled", json!(true), &["proxy"]),
        ("quotaAndLimits.dql.enabled", json!(true), &["proxy"]),
        ("quotaAndLimits.limitWriting.growingSegmentsSizeProtection.highWaterLevel", json!(0.5), WRITERS),
        ("quotaAndLimits.limitWriting.memProtection.enabled", json!(false), WRITERS),
        ("redkite.auditLog", json!(true), &["proxy"]),
        ("redkite.buildThreads", json!(2), &["datanode"]),
        ("redkite.cache.budgetMb", json!(64), &["querynode"]),
        ("redkite.cluster.callTimeoutMs", json!(20_000), ALL),
        ("redkite.cluster.leaderTtlMs", json!(7000), &["mixcoord"]),
        ("redkite.cluster.lostAfterMs", json!(7000), &["mixcoord"]),
        ("redkite.cluster.preferOwnZone", json!(false), &["proxy"]),
        ("redkite.functionHosts", json!("tei:8080"), &["proxy"]),
        ("redkite.memory.loadShare", json!(0.8), &["streamingnode", "querynode", "datanode"]),
        ("redkite.reportedVersion", json!("2.6.0"), &["proxy"]),
        ("rootCoord.maxDatabaseNum", json!(10), &["mixcoord"]),
        ("streaming.flush.growingSegmentBytesHwmThreshold", json!(0.3), WRITERS),
        ("some.key.that.the.engine.does.not.know", json!(1), &[]),
    ];

    for (key, value, wanted) in table {
        let config = key.rsplit('.').fold(value, |inner, part| json!({ (part): inner }));
        assert_eq!(restarted(config), wanted, "{key}");
    }
}

#[test]
fn a_component_of_a_cluster_has_a_number_of_pods_or_leaves_it_to_an_autoscaler() {
    let objects = cluster(json!({"components": {
        "proxy": {"replicas": -1}, "queryNode": {"replicas": 7}, "dataNode": {"replicas": 0}}}));

    let replicas = |name: &str| workload(&objects, name).deployment.spec.as_ref().unwrap().replicas;
    assert_eq!(
        ["proxy", "querynode", "datanode", "mixcoord"].map(replicas),
        [None, Some(7), Some(0), Some(1)]
    );
    assert_eq!(
        complaints(json!({"mode": "cluster", "components": {"queryNode": {"replicas": -2}}})),
        ["InvalidField spec.components.queryNode.replicas: -2 is below -1"]
    );
}

#[test]
fn a_budget_bounds_evictions_only_where_there_are_several_pods() {
    let objects = cluster(json!({"components": {
        "proxy": {"replicas": -1}, "queryNode": {"replicas": 2}, "dataNode": {"replicas": 1}}}));

    let has = |name: &str| matches!(workload(&objects, name).budget, Wanted::Present(_));
    assert_eq!(["proxy", "querynode", "datanode"].map(has), [true, true, false]);
    let without = cluster(
        json!({"components": {"queryNode": {"replicas": 2}}, "redkite": {"disruptionBudgets": false}}),
    );
    assert!(matches!(workload(&without, "querynode").budget, Wanted::Absent(_)));
}

#[test]
fn groups_take_the_place_of_their_component_and_what_is_empty_clears_what_is_inherited() {
    let objects = cluster(json!({"components": {
    "nodeSelector": {"pool": "vectors"},
    "queryNode": {"env": [{"name": "A", "value": "component"}], "groups": [
        {"name": "a", "replicas": 2, "extraEnv": [{"name": "A", "value": "group"}]},
        {"name": "b", "replicas": 0, "nodeSelector": {}, "annotations": {"note": "b"}},
    ]}}}));

    assert!(names(&objects).contains(&"db-milvus-querynode-a".to_owned()));
    assert!(!names(&objects).contains(&"db-milvus-querynode".to_owned()));
    let (a, b) = (pod_of(&objects, "querynode-a"), pod_of(&objects, "querynode-b"));
    assert_eq!(a.containers[0].env.as_ref().unwrap().last().unwrap().value.as_deref(), Some("group"));
    assert_eq!(a.node_selector.unwrap()["pool"], "vectors");
    assert_eq!(b.node_selector, None);
    let selector = workload(&objects, "querynode-a").deployment.spec.as_ref().unwrap().selector.clone();
    assert_eq!(selector.match_labels.unwrap()["milvus.io/deployment-group"], "a");
}

#[test]
fn a_wrong_group_is_named() {
    assert_eq!(
        complaints(json!({"mode": "cluster", "components": {"queryNode": {"groups": [
            {"name": "a", "replicas": 1},
            {"name": "a", "replicas": -3, "labels": {"milvus.io/service": "true"}},
            {"name": "Not-DNS", "replicas": 1},
        ]}}})),
        [
            "InvalidField spec.components.queryNode.groups[1].name: 'a' is there twice",
            "InvalidField spec.components.queryNode.groups[1].labels: 'milvus.io/service' is reserved",
            "InvalidField spec.components.queryNode.groups[1].replicas: -3 is below -1",
            "InvalidField spec.components.queryNode.groups[2].name: 'Not-DNS' is no DNS label",
        ]
    );
}

/// What a value says about a resource of the same name in the anchor is fixed here; see the list of its defects.
#[test]
fn d1_no_key_material_is_in_a_config_map() {
    let objects = cluster(json!({"config": {
        "minio": {"secretAccessKey": "top-secret"}, "etcd": {"auth": {"enabled": true, "password": "top-secret"}}},
        "dependencies": {"etcd": {"external": true, "endpoints": ["e:2379"]}}}));

    assert!(!serde_json::to_string(&objects.config_map).unwrap().contains("top-secret"));
    assert!(matches!(objects.settings_secret, Wanted::Present(_)));
    assert!(!serde_json::to_string(&whole(&objects)["workloads"]).unwrap().contains("top-secret"));
}

#[test]
fn d2_labels_of_a_component_win_and_its_volumes_are_added() {
    let objects = cluster(json!({"components": {
        "podLabels": {"team": "all"}, "volumes": [{"name": "certs", "emptyDir": {}}],
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        "proxy": {"podLabels": {"team": "proxies"}, "volumes": [{"name": "more", "emptyDir": {}}]}}}));

    let template = workload(&objects, "proxy").deployment.spec.clone().unwrap().template;
    assert_eq!(template.metadata.unwrap().labels.unwrap()["team"], "proxies");
    let volumes: Vec<String> =
        template.spec.unwrap().volumes.unwrap().into_iter().map(|it| it.name).collect();
    assert!(volumes.contains(&"certs".to_owned()) && volumes.contains(&"more".to_owned()));
}

#[test]
fn d3_a_component_may_run_an_image_of_its_own() {
    let objects = cluster(json!({"components": {"queryNode": {"image": "example/tuned:1"}}}));

    assert_eq!(pod_of(&objects, "querynode").containers[0].image.as_deref(), Some("example/tuned:1"));
    assert_eq!(pod_of(&objects, "proxy").containers[0].image.as_deref(), Some("redkite/engine:1"));
}

#[test]
fn d4_an_image_by_digest_has_the_components_of_today() {
    let objects = cluster(json!({"components": {"image": "milvusdb/milvus@sha256:aa"}}));

    assert!(names(&objects).contains(&"db-milvus-streamingnode".to_owned()));
    assert!(!names(&objects).contains(&"db-milvus-indexnode".to_owned()));
}

#[test]
fn d5_persistence_in_a_cluster_is_a_claim_for_each_pod() {
    let objects = cluster(
        json!({"dependencies": {"msgStreamType": "woodpecker", "woodpecker": {"persistence": {
        "enabled": true, "persistentVolumeClaim": {"spec": {"resources": {"requests": {"storage": "7Gi"}}}}}}}}),
    );

    assert_eq!(objects.claim, None);
    let volumes = pod_of(&objects, "querynode").volumes.unwrap();
    assert!(volumes.iter().all(|volume| volume.persistent_volume_claim.is_none()));
    let own = volumes.into_iter().find(|volume| volume.name == "data").unwrap().ephemeral.unwrap();
    let requests = own.volume_claim_template.unwrap().spec.resources.unwrap().requests.unwrap();
    assert_eq!(requests["storage"].0, "7Gi");
}

#[test]
fn d9_a_pod_may_take_as_long_to_leave_as_a_hand_over_takes_and_not_a_month() {
    let grace = |objects: &Objects<Planned>, name: &str| {
        pod_of(objects, name).termination_grace_period_seconds.unwrap()
    };
    let objects = cluster(json!({}));
    let patient = cluster(json!({"config": {"queryNode": {"gracefulStopTimeout": 3600}}}));

    assert_eq!((grace(&objects, "querynode"), grace(&objects, "proxy")), (1800, 60));
    assert_eq!(grace(&patient, "querynode"), 7260);
    // All that eight gigabytes can hold, at the least rate, beside twice the patience of 30 s.
    let sized = cluster(json!({"components": {"resources": {"limits": {"memory": "8Gi"}}}}));
    assert_eq!((grace(&sized, "querynode"), grace(&sized, "proxy")), (1144, 60));
}

#[test]
fn d13_a_setting_of_one_component_restarts_that_one_alone() {
    assert_eq!(restarted(json!({"proxy": {"replicaSelectionPolicy": "round_robin"}})), ["proxy"]);
}

#[test]
fn d17_an_autoscaler_has_one_target_that_no_change_of_image_moves() {
    let target = |image: &str| {
        let objects = cluster(json!({"components": {"image": image, "queryNode": {"replicas": -1}}}));
        let found = workload(&objects, "querynode").deployment.clone();
        let count = names(&objects).iter().filter(|name| name.contains("querynode")).count();
        let spec = found.spec.unwrap();
        (count, found.metadata.name, spec.selector, spec.replicas)
    };

    assert_eq!(target("example/engine:1"), target("example/engine:2"));
    assert_eq!((target("example/engine:1").0, target("example/engine:1").3), (1, None));
}

#[test]
fn a_changed_secret_restarts_those_who_read_it_at_their_start() {
    let spec = json!({"mode": "cluster", "components": {"proxy": {"env": [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "own", "key": "word"}}}]}},
        "dependencies": {"storage": {"external": true, "endpoint": "s3.example:443", "secretRef": "keys"}}});
    let template = |keys: &[(&str, &str, &str)]| {
        let mut facts = Facts::default();
        for (secret, key, print) in keys {
            facts
                .secrets
                .entry((*secret).to_owned())
                .or_default()
                .insert((*key).to_owned(), (*print).to_owned());
        }
        let objects = render(&check(&milvus(spec.clone()), &platform(), &facts).unwrap());
        ["proxy", "querynode"].map(|name| workload(&objects, name).deployment.spec.clone().unwrap().template)
    };
    let changed = |keys: &[(&str, &str, &str)]| {
        let before = template(&[("keys", "secretkey", "aaaa"), ("own", "word", "bbbb")]);
        let after = template(keys);
        [before[0] != after[0], before[1] != after[1]]
    };

    assert_eq!(changed(&[("keys", "secretkey", "aaab"), ("own", "word", "bbbb")]), [true, true]);
    assert_eq!(changed(&[("keys", "secretkey", "aaaa"), ("own", "word", "bbbc")]), [true, false]);
    assert_eq!(
        changed(&[("keys", "secretkey", "aaaa"), ("keys", "other", "cccc"), ("own", "word", "bbbb")]),
        [false, false]
    );
}

#[test]
fn d20_no_workload_is_there_only_to_be_idle() {
    assert_eq!(
        names(&cluster(json!({"components": {"rollingMode": 3, "dummyImage": "example/dummy:1"}}))),
        ["mixcoord", "streamingnode", "querynode", "datanode", "proxy"]
            .map(|name| format!("db-milvus-{name}"))
    );
}

#[test]
fn without_streaming_nodes_data_nodes_own_the_log() {
    let objects =
        cluster(json!({"components": {"image": "milvusdb/milvus:v2.5.11", "enableRollingUpdate": false}}));

    assert_eq!(settings_of(&objects)["redkite"]["datanode"]["writes"], true);
    let strategy = |name: &str| {
        workload(&objects, name).deployment.spec.as_ref().unwrap().strategy.clone().unwrap().type_
    };
    assert_eq!(
        (strategy("mixcoord").unwrap(), strategy("querynode").unwrap()),
        ("Recreate".to_owned(), "RollingUpdate".to_owned())
    );
}

#[test]
fn pods_of_a_cluster_and_of_its_stores_pass_the_restricted_profile() {
    let objects = cluster(json!({}));
    let stores =
        objects.stores.iter().map(|store| store.stateful_set.spec.clone().unwrap().template.spec.unwrap());
    let engine =
        objects.workloads.iter().map(|one| one.deployment.spec.clone().unwrap().template.spec.unwrap());

    for pod in stores.chain(engine) {
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in pod.containers {
            let security = container.security_context.unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(security.read_only_root_filesystem, Some(true));
        }
    }
}

/// The mounts of a volume of ours for log files in the pod of a proxy.
fn log_folders(spec: Value) -> Vec<String> {
    let pod = pod_of(&cluster(spec), "proxy");
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let ours = pod.volumes.unwrap().into_iter().filter(|volume| volume.name == "redkite-logs");
    assert!(ours.clone().all(|volume| volume.empty_dir.is_some()));
    let names: Vec<String> = ours.map(|volume| volume.name).collect();
    mounts.into_iter().filter(|mount| names.contains(&mount.name)).map(|mount| mount.mount_path).collect()
}

#[test]
fn a_folder_of_log_files_can_be_written_though_the_image_cannot() {
    let at = |path: &str| json!({"config": {"log": {"file": {"rootPath": path}}}});
    let mut theirs = at("/var/log/milvus");
    theirs["components"] = json!({
        "volumes": [{"name": "logs", "emptyDir": {}}],
        "volumeMounts": [{"name": "logs", "mountPath": "/var/log/"}],
    });

    assert_eq!(log_folders(at("/var/log/milvus")), ["/var/log/milvus"]);
    for covered in [json!({}), at(""), at("/tmp/logs"), at("/var/lib/milvus/logs"), at("/"), theirs] {
        assert_eq!(log_folders(covered.clone()), [""; 0], "{covered}");
    }
}

#[test]
fn nothing_that_selects_the_database_selects_its_stores() {
    let objects = cluster(json!({"redkite": {"networkPolicy": {"enabled": true}}}));
    let own = checked(json!({})).labels();

    for store in &objects.stores {
        let labels = store.stateful_set.spec.clone().unwrap().template.metadata.unwrap().labels.unwrap();
        assert!(own.iter().any(|(key, value)| labels.get(key) != Some(value)), "{labels:?}");
    }
}

#[test]
fn values_of_a_chart_shape_a_store_where_they_mean_something() {
    let objects = cluster(json!({"dependencies": {
        "etcd": {"inCluster": {"values": {
            "replicaCount": 1, "image": {"registry": "quay.io", "repository": "coreos/etcd", "tag": "v3.6.0"},
            "resources": {"requests": {"memory": "64Mi", "cpu": 0.1}}, "persistence": {"size": "2Gi", "storageClass": "fast"},
            "auth": {"rbac": {"enabled": true}}}}},
        "storage": {"inCluster": {"values": {"mode": "standalone", "image": {"repository": "minio/minio"},
            "persistence": {"enabled": false}, "resources": {"requests": null}}}}}}));

    let set = |at: usize| objects.stores[at].stateful_set.spec.clone().unwrap();
    let container = |at: usize| set(at).template.spec.unwrap().containers.remove(0);
    assert_eq!((set(0).replicas, objects.stores[0].budget.is_some()), (Some(1), false));
    assert_eq!(container(0).image.as_deref(), Some("quay.io/coreos/etcd:v3.6.0"));
    assert_eq!(container(0).resources.unwrap().requests.unwrap()["cpu"].0, "0.1");
    let claim = set(0).volume_claim_templates.unwrap().remove(0).spec.unwrap();
    assert_eq!(claim.storage_class_name.as_deref(), Some("fast"));
    // A server of another kind would not understand our arguments.
    assert_eq!(container(1).image.as_deref(), Some("example/versitygw:1"));
    assert_eq!(set(1).volume_claim_templates, None);
    assert_eq!(
        settings_of(&objects)["etcd"],
        json!({"auth": {"enabled": false}, "endpoints": ["db-etcd-0.db-etcd-headless.ns:2379"], "rootPath": "db",
            "ssl": {"enabled": false}})
    );
}

#[test]
fn members_of_an_etcd_that_exists_stay_as_many_as_they_are() {
    let facts = Facts {
        stores: [(StoreKind::Etcd, StoreFact { members: 3, foreign: false })].into(),
        ..Facts::default()
    };
    let spec =
        json!({"mode": "cluster", "dependencies": {"etcd": {"inCluster": {"values": {"replicaCount": 1}}}}});

    let objects = render(&check(&milvus(spec), &platform(), &facts).unwrap());

    assert_eq!(objects.stores[0].stateful_set.spec.as_ref().unwrap().replicas, Some(3));
    assert_eq!(settings_of(&objects)["etcd"]["endpoints"].as_array().unwrap().len(), 3);
}

#[test]
fn a_store_that_somebody_else_made_is_used_and_left_alone() {
    let facts = Facts {
        stores: StoreKind::ALL.map(|kind| (kind, StoreFact { members: 1, foreign: true })).into(),
        ..Facts::default()
    };

    let checked = check(&milvus(json!({"mode": "cluster"})), &platform(), &facts).unwrap();

    assert_eq!(render(&checked).stores, vec![]);
    assert_eq!(
        checked.meta,
        MetaStore::Etcd { endpoints: vec!["db-etcd-0.db-etcd-headless.ns:2379".to_owned()], external: false }
    );
    assert!(random_secrets(&checked).iter().all(|secret| secret.name != "db-minio"));
}

#[test]
fn a_certificate_authority_of_kafka_is_mounted_if_its_secret_has_one() {
    let facts = |keys: &[&str]| Facts {
        secrets: [(
            "keys".to_owned(),
            keys.iter().map(|key| ((*key).to_owned(), "0000".to_owned())).collect(),
        )]
        .into(),
        ..Facts::default()
    };
    let spec = json!({"mode": "cluster", "dependencies": {"msgStreamType": "kafka", "kafka": {
        "external": true, "brokerList": ["k:9093"], "secretRef": "keys"}}});
    let with = render(
        &check(&milvus(spec.clone()), &platform(), &facts(&["username", "password", "ca.pem"])).unwrap(),
    );
    let without = render(&check(&milvus(spec), &platform(), &facts(&["username", "password"])).unwrap());

    assert_eq!(settings_of(&with)["kafka"]["ssl"]["tlsCaCert"], "/milvus/kafka/ca.pem");
    assert_eq!(settings_of(&without)["kafka"]["ssl"], Value::Null);
    let mounted = |objects: &Objects<Planned>| {
        pod_of(objects, "streamingnode").volumes.unwrap().iter().any(|volume| volume.name == "redkite-kafka")
    };
    assert_eq!((mounted(&with), mounted(&without)), (true, false));
}

#[test]
fn every_stream_that_is_not_an_external_kafka_is_the_log_of_our_own() {
    for kind in ["pulsar", "kafka", "woodpecker", "rocksmq", "natsmq", "custom", ""] {
        let spec = json!({"mode": "cluster", "dependencies": {"msgStreamType": kind,
            "pulsar": {"external": true, "endpoint": "pulsar.example:6650"}}});
        let checked = checked(spec);

        assert_eq!(checked.log, Log::Objects, "{kind}");
        assert_eq!(settings_of(&render(&checked))["mq"]["type"], "default");
    }
}

#[test]
fn a_standalone_stands_on_what_is_external_too() {
    let checked = checked(json!({"dependencies": {
        "msgStreamType": "kafka", "kafka": {"external": true, "brokerList": ["k:9092"]},
        "etcd": {"external": true, "endpoints": ["e:2379"]}}}));

    let settings = settings_of(&render(&checked));
    assert_eq!(
        (&settings["etcd"]["endpoints"], &settings["mq"]["type"]),
        (&json!(["e:2379"]), &json!("kafka"))
    );
    assert_eq!(checked.store, DataStore::Embedded);
}

#[test]
fn addresses_that_are_none_are_named() {
    assert_eq!(
        complaints(json!({"mode": "cluster", "dependencies": {
            "msgStreamType": "kafka", "kafka": {"external": true, "brokerList": ["k:9092", "k"]},
            "etcd": {"external": true, "endpoints": ["e:2379", "e:0"], "inCluster": {}}}})),
        [
            "InvalidField spec.dependencies.etcd.endpoints[1]: 'e:0' is no host and port",
            "InvalidField spec.dependencies.kafka.brokerList[1]: 'k' is no host and port",
        ]
    );
    assert_eq!(
        complaints(json!({"mode": "cluster", "dependencies": {"etcd": {"inCluster": {"values": {
            "replicaCount": 0, "tolerations": "none", "persistence": {"size": "much"}}}}}})),
        [
            "InvalidField spec.dependencies.etcd.inCluster.values.replicaCount: 0 is no number of members from 1 to 9",
            "InvalidField spec.dependencies.etcd.inCluster.values.persistence.size: 'much' is no size",
            "InvalidField spec.dependencies.etcd.inCluster.values.tolerations: invalid type: string \"none\", expected a \
             sequence",
        ]
    );
}

#[test]
fn what_is_not_run_is_said() {
    let notes = checked(json!({"mode": "cluster", "components": {"image": "milvusdb/milvus:v2.6.6",
        "cdc": {"replicas": 1}, "rootCoord": {"replicas": 1}, "indexNode": {"replicas": 1}},
        "config": {"proxy": {"port": 19531}},
        "dependencies": {"msgStreamType": "pulsar", "tei": {"enabled": true}}}))
    .notes;

    assert_eq!(
        notes,
        [
            "spec.components.cdc: change data capture is not run",
            "spec.dependencies.tei: the embedding service is not run",
            "spec.config.proxy.port: clients are served on 19530",
            "spec.components.rootCoord: folded into mixCoord",
            "spec.components.indexNode: folded into dataNode",
            "spec.dependencies.msgStreamType: pulsar is not run, the log is kept in the object store",
        ]
    );
}

fn with_certificates(certificates: Value) -> Objects<Planned> {
    cluster(json!({"redkite": {"certificates": certificates}}))
}

/// What a pod mounts of certificates: volume, Secret with keys, folder.
fn certificates_of(objects: &Objects<Planned>, name: &str) -> Vec<String> {
    let pod = pod_of(objects, name);
    let volumes = pod.volumes.unwrap();
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let ours = volumes.into_iter().filter(|volume| volume.name.ends_with("-tls"));
    ours.map(|volume| {
        let secret = volume.secret.unwrap();
        let keys: Vec<String> = secret.items.unwrap().into_iter().map(|item| item.key).collect();
        let folder = &mounts.iter().find(|mount| mount.name == volume.name).unwrap().mount_path;
        format!("{}: {} at {folder}", secret.secret_name.unwrap(), keys.join(" "))
    })
    .collect()
}

#[test]
fn certificates_reach_the_pods_that_need_them_as_whole_folders() {
    let objects = with_certificates(json!({"clients": {}, "nodes": {}}));

    let nodes = "db-node-tls: tls.crt tls.key ca.crt at /milvus/node-tls".to_owned();
    let clients = "db-client-tls: tls.crt tls.key at /milvus/client-tls".to_owned();
    assert_eq!(certificates_of(&objects, "proxy"), [clients, nodes.clone()]);
    assert_eq!(certificates_of(&objects, "querynode"), [nodes]);
    let settings = settings_of(&objects);
    insta::assert_json_snapshot!(json!({
        "security": settings["common"]["security"], "tls": settings["tls"], "internaltls": settings["internaltls"]}));
}

#[test]
fn secrets_of_the_users_take_the_place_of_issued_ones() {
    let objects = with_certificates(json!({
        "clients": {"secretName": "front", "mutual": true},
        "nodes": {"secretName": "back", "serverName": "nodes.example"}}));

    assert_eq!(
        certificates_of(&objects, "proxy"),
        [
            "front: tls.crt tls.key ca.crt at /milvus/client-tls",
            "back: tls.crt tls.key ca.crt at /milvus/node-tls"
        ]
    );
    let settings = settings_of(&objects);
    assert_eq!(settings["common"]["security"], json!({"internaltlsEnabled": true, "tlsMode": 2}));
    assert_eq!(settings["internaltls"]["sni"], "nodes.example");
    assert_eq!(settings["tls"]["caPemPath"], "/milvus/client-tls/ca.crt");
}

#[test]
fn certificates_change_nothing_where_none_are_asked_for() {
    let plain = settings_of(&cluster(json!({})));

    assert_eq!(
        (&plain["common"]["security"], &plain["tls"], &plain["internaltls"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let notes = checked(json!({"redkite": {"certificates": {"nodes": {}}}})).notes;
    assert_eq!(notes, ["spec.redkite.certificates.nodes: a standalone has no calls between pods"]);
}

#[test]
fn a_standalone_that_takes_calls_over_tls_has_the_certificate_that_is_named_for_it() {
    let config = json!({"common": {"security": {"internaltlsEnabled": true}}});
    let nodes = json!({"secretName": "back", "serverName": "nodes.example"});

    let checked = checked(json!({"config": config, "redkite": {"certificates": {"nodes": nodes}}}));

    let side = checked.certificates.nodes.unwrap();
    assert_eq!((side.secret.as_str(), side.issued_for), ("back", None));
    assert_eq!(checked.notes, Vec::<String>::new());
}

#[test]
fn wrong_certificates_are_named_by_field() {
    assert_eq!(
        complaints(json!({"mode": "cluster", "redkite": {"certificates": {
            "clients": {"mutual": true, "names": ["a.example", "*.example", "::1", "two words"]}, "nodes": {"secretName": "back"}, "certificateDays": 90, "authorityDays": 100}}})),
        [
            "InvalidField spec.redkite.certificates.clients.names[3]: 'two words' is neither a host name nor an address",
            "InvalidField spec.redkite.certificates.clients.mutual: needs clients.secretName: the operator issues no \
             certificates to clients",
            "InvalidField spec.redkite.certificates.nodes.serverName: is needed with secretName: pods call each other by \
             addresses, which no certificate is for",
            "InvalidField spec.redkite.certificates.authorityDays: 100 is less than three times certificateDays, 90",
        ]
    );
}
