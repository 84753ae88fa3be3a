//! Manifests: ours and, where they are present, those of the peer's users.

use std::path::{Path, PathBuf};

use operator::crd::{self, Mode};
use operator::render::{Platform, check, render};
use serde_json::Value;

use crate::{clone, documents, schema};

fn definition() -> Value {
    let (_, value) = crd::definitions().unwrap().remove(0);
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

/// The objects a manifest makes, or what is wrong with it.
fn outcome(object: Value) -> Result<Vec<String>, Vec<String>> {
    let mut object: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
    object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    object.metadata.uid = Some("uid".to_owned());
    let milvus = crd::read(object).unwrap();
    let mode = milvus.spec.mode;
    match check(&milvus, &platform()) {
        Ok(checked) => {
            let deployment = render(&checked).deployment.metadata.name.unwrap();
            Ok(vec![deployment])
        }
        Err(faults) if mode == Mode::Cluster => {
            assert_eq!(faults[0].path, "spec.mode");
            Err(vec!["cluster".to_owned()])
        }
        Err(faults) => {
            Err(faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect())
        }
    }
}

#[test]
fn our_samples_are_strictly_valid_and_each_makes_a_standalone() {
    let definition = definition();
    let files = yaml_files(&clone("config/samples"));
    assert!(files.len() >= 6);
    for path in files {
        for object in objects(&path) {
            assert_eq!(schema::violations(&definition, &object), Vec::<String>::new(), "{}", path.display());
            assert_eq!(
                outcome(object),
                Ok(vec!["my-release-milvus-standalone".to_owned()]),
                "{}",
                path.display()
            );
        }
    }
}

/// Where the manifests of the peer's users are: `PEER_MANIFESTS`, else beside the clone.
fn peer_folder() -> PathBuf {
    std::env::var_os("PEER_MANIFESTS").map_or_else(|| clone("../shared/peer-manifests"), PathBuf::from)
}

#[test]
fn every_manifest_of_the_peers_users_is_taken() {
    let folder = peer_folder();
    let mut files = yaml_files(&folder);
    files.extend(yaml_files(&folder.join("beta")));
    if files.is_empty() {
        println!("skipped: the peer's manifests are not at {}; PEER_MANIFESTS says where", folder.display());
        return;
    }
    let definition = definition();
    let mut unknown = Vec::new();
    let (mut made, mut refused) = (0, 0);
    for path in &files {
        for object in objects(path) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let violations = schema::violations(&definition, &object);
            unknown.extend(violations.into_iter().map(|violation| format!("{name} {violation}")));
            match outcome(object) {
                Ok(_) => made += 1,
                Err(reasons) if reasons == ["cluster"] => refused += 1,
                Err(reasons) => panic!("{name}: {reasons:?}"),
            }
        }
    }

    // The one field the peer's own definition does not know either.
    assert_eq!(unknown, ["milvus_pulsar_with_authn_jwt_token.yaml .spec.component: unknown field"]);
    assert!(made >= 25 && refused >= 12, "{made} made, {refused} refused");
}
