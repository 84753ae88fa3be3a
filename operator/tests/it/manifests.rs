//! Manifests: ours and, where they are present, those of the peer's users.

use std::path::{Path, PathBuf};

use operator::crd;
use operator::render::{Checked, Facts, Objects, Planned, Platform, Wanted, check, render};
use serde_json::Value;

use crate::{clone, documents, schema};

/// The schema of `Milvus`.
pub fn definition() -> Value {
    let mut all = crd::definitions().unwrap().into_iter();
    let (_, value) = all.find(|(name, _)| *name == "milvus.io_milvuses.yaml").unwrap();
    value["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// Every `Milvus` of a file.
fn objects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    documents(&text).into_iter().filter(|document| document["kind"] == "Milvus").collect()
}

fn platform() -> Platform {
    Platform { engine_image: "redkite/engine:1".into(), ..Platform::default() }
}

/// What a manifest means, or what is wrong with it.
pub fn checked(object: Value) -> Result<Checked, Vec<String>> {
    let mut object: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
    object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    object.metadata.uid = Some("uid".to_owned());
    let milvus = crd::read(object).unwrap();
    check(&milvus, &platform(), &Facts::default()).map_err(|faults| {
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    })
}

/// The workloads with their number of pods, and what else there is, each in a line.
fn outline(objects: &Objects<Planned>) -> Vec<String> {
    let mut lines = Vec::new();
    for workload in &objects.workloads {
        let spec = workload.deployment.spec.as_ref().unwrap();
        let name = workload.deployment.metadata.name.as_ref().unwrap();
        let instance = &workload.deployment.metadata.labels.as_ref().unwrap()["app.kubernetes.io/instance"];
        let short = name.strip_prefix(&format!("{instance}-milvus-")).unwrap();
        let replicas = spec.replicas.map_or_else(|| "?".to_owned(), |replicas| replicas.to_string());
        let recreate = spec.strategy.as_ref().unwrap().type_.as_deref() == Some("Recreate");
        lines.push(format!("{short} {replicas}{}", if recreate { " Recreate" } else { "" }));
    }
    for store in &objects.stores {
        let set = &store.stateful_set;
        let members = set.spec.as_ref().unwrap().replicas.unwrap();
        let name = set.metadata.name.clone().unwrap();
        lines.push(format!("store {} {members}", name.rsplit('-').next().unwrap()));
    }
    if let Some(claim) = &objects.claim {
        let requests = claim.spec.as_ref().unwrap().resources.as_ref().unwrap().requests.as_ref().unwrap();
        lines.push(format!("claim {}", requests["storage"].0));
    }
    let service = objects.service.spec.as_ref().unwrap().type_.as_deref().unwrap();
    if service != "ClusterIP" {
        lines.push(format!("service {service}"));
    }
    if let Wanted::Present(_) = objects.ingress {
        lines.push("ingress".to_owned());
    }
    if let Wanted::Present(_) = objects.settings_secret {
        lines.push("secret settings".to_owned());
    }
    lines
}

/// All that a file's objects make: the whole of what is rendered, for a snapshot.
fn whole(object: Value) -> Value {
    let checked = checked(object).unwrap();
    let objects = render(&checked);
    let deployments: Vec<Value> = objects
        .workloads
        .iter()
        .map(|workload| serde_json::to_value(&workload.deployment).unwrap())
        .collect();
    let template = |deployment: &Value| {
        let pod = &deployment["spec"]["template"]["spec"];
        let engine = &pod["containers"][0];
        serde_json::json!({
            "name": deployment["metadata"]["name"],
            "selector": deployment["spec"]["selector"]["matchLabels"],
            "args": engine["args"],
            "image": engine["image"],
            "env": engine["env"],
            "volumes": pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].clone()).collect::<Vec<_>>(),
        })
    };
    serde_json::json!({
        "outline": outline(&objects),
        "settings": checked.settings.plain,
        "deployments": deployments.iter().map(template).collect::<Vec<_>>(),
        "service": objects.service.spec,
        "notes": checked.notes,
    })
}

#[test]
fn our_samples_are_strictly_valid_and_can_be_carried_out() {
    let definition = definition();
    let files = yaml_files(&clone("config/samples"));
    assert!(files.len() >= 8);
    for path in files {
        for object in objects(&path) {
            assert_eq!(schema::violations(&definition, &object), Vec::<String>::new(), "{}", path.display());
            checked(object).unwrap_or_else(|faults| panic!("{}: {faults:?}", path.display()));
        }
    }
}

/// The schemas of the kinds that only we have, by kind.
fn own_definitions() -> std::collections::BTreeMap<String, Value> {
    let own = crd::definitions().unwrap().into_iter().filter(|(name, _)| name.starts_with("redkite.io_"));
    own.map(|(_, value)| {
        let kind = value["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        (kind, value["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    })
    .collect()
}

#[test]
fn our_samples_of_groups_and_collections_are_strictly_valid_beside_their_database() {
    let definitions = own_definitions();
    let mut seen = Vec::new();
    for path in yaml_files(&clone("config/samples")) {
        let all = documents(&std::fs::read_to_string(&path).unwrap());
        for object in &all {
            let kind = object["kind"].as_str().unwrap_or_default();
            let Some(definition) = definitions.get(kind) else { continue };
            assert_eq!(schema::violations(definition, object), Vec::<String>::new(), "{}", path.display());
            seen.push(kind.to_owned());
            if kind == "MilvusResourceGroup" {
                let group: crd::MilvusResourceGroup = serde_json::from_value(object.clone()).unwrap();
                let milvus = all.iter().find(|other| other["kind"] == "Milvus").unwrap();
                let milvus: crd::Milvus = serde_json::from_value(milvus.clone()).unwrap();
                let faults = operator::render::resource_group_faults(&group, &milvus);
                assert!(faults.is_empty(), "{}: {faults:?}", path.display());
            }
        }
    }

    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["MilvusCollection", "MilvusResourceGroup"]);
}

/// Manifests as users write them: one for each kind that the peer's samples show.
#[test]
fn what_users_write_makes_these_objects() {
    let definition = definition();
    let files = yaml_files(&clone("operator/tests/it/manifests"));
    assert!(files.len() >= 12);
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let made: Vec<Value> = objects(&path)
            .into_iter()
            .map(|object| {
                assert_eq!(schema::violations(&definition, &object), Vec::<String>::new(), "{name}");
                whole(object)
            })
            .collect();
        insta::assert_yaml_snapshot!(name, made);
    }
}

/// Where the manifests of the peer's users are: `PEER_MANIFESTS`, else beside the clone.
fn peer_folder() -> PathBuf {
    std::env::var_os("PEER_MANIFESTS").map_or_else(|| clone("../shared/peer-manifests"), PathBuf::from)
}

const TODAY: [&str; 5] = ["mixcoord 1", "streamingnode 1", "querynode 1", "datanode 1", "proxy 1"];
const FOUR: [&str; 8] = [
    "indexnode 1",
    "rootcoord 1",
    "datacoord 1",
    "indexcoord 1",
    "querycoord 1",
    "querynode 1",
    "datanode 1",
    "proxy 1",
];

/// What each manifest of the peer makes, each of its `Milvus` objects in turn. Where nothing is said it is one standalone.
fn expected(name: &str) -> Vec<Vec<String>> {
    let words =
        |all: &[&[&str]]| all.iter().flat_map(|some| some.iter()).map(|word| (*word).to_owned()).collect();
    let stores = ["store etcd 3", "store minio 1"];
    let small = ["store etcd 1", "store minio 1"];
    let one: Vec<String> = match name {
        "cluster_demo" => words(&[&TODAY, &small, &["service LoadBalancer"]]),
        "milvus_cluster_minimum" => words(&[&TODAY, &small]),
        "milvus_cluster_default"
        | "milvus_cluster_mixcoord"
        | "milvus_cluster_woodpecker"
        | "milvus_deletion"
        | "milvus_cluster_cdc" => words(&[&TODAY, &stores]),
        "milvus_external_minio_ssl" => words(&[&TODAY, &["store etcd 3"]]),
        "milvus_cluster_4coords" => words(&[&FOUR, &stores]),
        "milvus_cluster_resource" => words(&[&FOUR, &stores, &["service LoadBalancer"]]),
        "beta/milvus_streaming_node" => {
            words(&[&["indexnode 1", "mixcoord 1 Recreate", "querynode 1", "datanode 1", "proxy 1"], &stores])
        }
        "beta/milvus_woodpecker" => words(&[&["indexnode 0"], &TODAY, &stores]),
        "milvus_deployment_groups" => words(&[
            &["mixcoord 1", "streamingnode-g1 1", "streamingnode-g2 1", "querynode-g1 2", "querynode-g2 2"],
            &["datanode-g1 2", "datanode-g2 2", "proxy-g1 1", "proxy-g2 1"],
            &stores,
        ]),
        "hpa" => {
            return vec![
                words(&[&TODAY[..4], &["proxy ?"], &stores]),
                words(&[&TODAY[..3], &["datanode-zone-a ?", "proxy 1"], &stores]),
            ];
        }
        "milvusupgrade" => return Vec::new(),
        "demo" => words(&[&["standalone 1 Recreate", "claim 20Gi", "service LoadBalancer"]]),
        "milvus_volume_mount_removal" => {
            return vec![words(&[&["standalone 1 Recreate", "claim 5Gi"]]); 2];
        }
        _ => words(&[&["standalone 1 Recreate", "claim 5Gi"]]),
    };
    vec![one]
}

#[test]
fn every_manifest_of_the_peers_users_is_taken_and_makes_the_listed_workloads() {
    let folder = peer_folder();
    let mut files = yaml_files(&folder);
    files.extend(yaml_files(&folder.join("beta")));
    if files.is_empty() {
        println!("skipped: the peer's manifests are not at {}; PEER_MANIFESTS says where", folder.display());
        return;
    }
    let definition = definition();
    let mut unknown = Vec::new();
    for path in &files {
        let relative = path.strip_prefix(&folder).unwrap().with_extension("");
        let name = relative.to_string_lossy().into_owned();
        let mut made = Vec::new();
        for object in objects(path) {
            let violations = schema::violations(&definition, &object);
            unknown.extend(violations.into_iter().map(|violation| format!("{name} {violation}")));
            let checked = checked(object).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
            made.push(outline(&render(&checked)));
        }
        assert_eq!(made, expected(&name), "{name}");
    }

    // The one field the peer's own definition does not know either.
    assert_eq!(unknown, ["milvus_pulsar_with_authn_jwt_token .spec.component: unknown field"]);
    assert!(files.len() >= 40, "{} files", files.len());
}
