//! Specs in, objects and complaints out.

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
    Platform { engine_image: "redkite/engine:1".into(), ..Platform::default() }
}

fn rendered(spec: Value) -> Objects<Planned> {
    render(&check(&milvus(spec), &platform()).unwrap())
}

fn pod(objects: &Objects<Planned>) -> PodSpec {
    objects.deployment.spec.clone().unwrap().template.spec.unwrap()
}

fn engine(objects: &Objects<Planned>) -> Container {
    pod(objects).containers.remove(0)
}

fn complaints(spec: Value) -> Vec<String> {
    let faults = check(&milvus(spec), &platform()).unwrap_err();
    faults
        .into_iter()
        .map(|fault| format!("{} {}: {}", fault.reason.name(), fault.path, fault.message))
        .collect()
}

/// All objects as one value, for snapshots.
fn whole(objects: &Objects<Planned>) -> Value {
    let Objects { service_account, config_map, claim, service, ingress, deployment, .. } = objects;
    json!({
        "serviceAccount": match service_account { Wanted::Present(it) => json!(it), Wanted::Absent(it) => json!(it) },
        "configMap": config_map,
        "claim": claim,
        "service": service,
        "ingress": match ingress { Wanted::Present(it) => json!(it), Wanted::Absent(it) => json!(it) },
        "deployment": deployment,
    })
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
            "NotSupported spec.components.standalone.replicas: 2 is not 0 or 1: one process at a time may hold the data \
             of a standalone database",
            "InvalidField spec.components.standalone.imagePullPolicy: 'Sometimes' is not Always, IfNotPresent or Never",
            "InvalidField spec.components.volumes[1].name: a name is needed",
            "InvalidField spec.components.standalone.sidecars[0].name: a name is needed",
            "InvalidField spec.components.standalone.volumeMounts: the mount at /x names volume 'lost', which is not there",
            "InvalidField spec.dependencies.rocksmq.persistence.persistentVolumeClaim.spec.resources.requests.storage: \
             'lots' is no size",
        ]
    );
}

#[test]
fn cluster_mode_is_one_complaint() {
    assert_eq!(
        complaints(json!({"mode": "cluster", "components": {"standalone": {"replicas": 7}}})),
        ["NotSupported spec.mode: cluster mode is not supported yet: this version runs standalone only"]
    );
}

#[test]
fn a_name_that_cannot_name_a_service_is_a_complaint() {
    let mut object = milvus(json!({}));
    for name in ["a.b", "1a", &"a".repeat(57)] {
        object.metadata.name = Some(name.to_owned());

        assert_eq!(check(&object, &platform()).unwrap_err()[0].path, "metadata.name", "{name}");
    }
}

#[test]
fn a_changed_config_changes_the_template_unless_only_the_config_map_is_to_change() {
    let template = |spec| rendered(spec).deployment.spec.unwrap().template;

    assert_ne!(template(json!({})), template(json!({"config": {"a": 1}})));
    assert_eq!(
        template(json!({"components": {"updateConfigMapOnly": true}})),
        template(json!({"components": {"updateConfigMapOnly": true}, "config": {"a": 1}}))
    );
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

    assert_eq!(objects.deployment.spec.unwrap().replicas, None);
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
