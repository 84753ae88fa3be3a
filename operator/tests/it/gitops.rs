//! What tools of delivery are given: Kustomize bases, what Argo CD has to know, the list of images.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use operator::crd::{self, ConditionType, Phase};
use serde_json::{Value, json};

use crate::chart::{helm, template, tool};
use crate::manifests::{checked, definition};
use crate::{clone, documents, schema};

/// What Kustomize makes of a folder.
fn kustomized(kubectl: &Path, folder: &Path) -> Vec<Value> {
    let output = Command::new(kubectl).arg("kustomize").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", folder.display());
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// Kind and name of each, in order.
fn outline(objects: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> = objects
        .iter()
        .map(|object| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])))
        .collect();
    all.sort();
    all
}

#[test]
fn kustomize_makes_the_install_and_the_monitoring_of_their_bases() {
    let Some(kubectl) = tool("kubectl") else { return };
    let install = documents(&std::fs::read_to_string(clone("config/install.yaml")).unwrap());

    assert_eq!(outline(&kustomized(&kubectl, &clone("config"))), outline(&install));

    let made = kustomized(&kubectl, &clone("config/monitoring"));
    assert_eq!(outline(&made), ["ConfigMap redkite-dashboards", "PrometheusRule redkite-operator"]);
    let dashboards: BTreeSet<String> = made[0]["data"].as_object().unwrap().keys().cloned().collect();
    let files: BTreeSet<String> = std::fs::read_dir(clone("config/monitoring"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(dashboards, files);
}

#[test]
fn a_base_of_a_database_can_be_carried_out_and_a_prefix_reaches_the_names_in_it() {
    let Some(kubectl) = tool("kubectl") else { return };
    let definition = definition();
    for (base, wanted) in [
        ("standalone", &["Milvus one-milvus"][..]),
        ("cluster", &["Milvus one-milvus", "MilvusResourceGroup one-reserved"][..]),
    ] {
        let overlay = tempfile::tempdir().unwrap();
        let copy = overlay.path().join("base");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(clone(&format!("config/bases/{base}"))).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let text = "resources: [base]\nnamePrefix: one-\nnamespace: data\n";
        std::fs::write(overlay.path().join("kustomization.yaml"), text).unwrap();

        let made = kustomized(&kubectl, overlay.path());

        assert_eq!(outline(&made), wanted, "{base}");
        let milvus = made.iter().find(|object| object["kind"] == "Milvus").unwrap();
        assert_eq!(schema::violations(&definition, milvus), Vec::<String>::new(), "{base}");
        checked(milvus.clone()).unwrap_or_else(|faults| panic!("{base}: {faults:?}"));
        for group in made.iter().filter(|object| object["kind"] == "MilvusResourceGroup") {
            assert_eq!(group["spec"]["milvus"]["name"], milvus["metadata"]["name"]);
            let group: crd::MilvusResourceGroup = serde_json::from_value(group.clone()).unwrap();
            let milvus: crd::Milvus = serde_json::from_value(milvus.clone()).unwrap();
            let faults = operator::render::resource_group_faults(&group, &milvus);
            assert!(faults.is_empty(), "{faults:?}");
        }
    }
}

/// Words in quotation marks that stand right behind `before`.
fn quoted<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split_once('"')).map(|(word, _)| word).collect()
}

#[test]
fn argo_cd_is_told_of_every_kind_in_words_that_a_status_has() {
    let text = std::fs::read_to_string(clone("config/argocd/argocd-cm.yaml")).unwrap();
    let data = documents(&text).remove(0)["data"].take();
    let scripts = data.as_object().unwrap();

    let kinds: BTreeSet<String> = crd::definitions()
        .unwrap()
        .iter()
        .map(|(_, definition)| {
            let word = |at: &str| definition.pointer(at).unwrap().as_str().unwrap().to_owned();
            format!("resource.customizations.health.{}_{}", word("/spec/group"), word("/spec/names/kind"))
        })
        .collect();
    assert_eq!(scripts.keys().cloned().collect::<BTreeSet<_>>(), kinds);
    let known: BTreeSet<&str> = ["Healthy", "Progressing", "Degraded", "Suspended"].into();
    let told: BTreeSet<&str> = [ConditionType::Ready, ConditionType::Stalled].map(ConditionType::name).into();
    let states = [Phase::Stopped, Phase::Unhealthy].map(|phase| json!(phase));
    for (kind, script) in scripts {
        let script = script.as_str().unwrap();
        let mut healths = quoted(script, "{status = \"");
        healths.extend(quoted(script, "health(\""));
        assert!(healths.is_subset(&known) && healths.contains("Healthy"), "{kind}: {healths:?}");
        if kind.ends_with("MilvusUpgrade") {
            continue;
        }
        assert_eq!(quoted(script, "found[\""), told, "{kind}");
        let named = quoted(script, "status.status == \"");
        assert!(!named.contains("") && named.contains("Stopped"), "{kind}");
        let of_state: BTreeSet<&str> = states.iter().filter_map(Value::as_str).chain(["True"]).collect();
        assert!(named.is_subset(&of_state), "{kind}: {named:?}");
    }
}

#[test]
fn the_list_of_images_is_what_the_chart_starts() {
    let text = std::fs::read_to_string(clone("config/images.txt")).unwrap();
    let listed: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let Some(helm) = helm() else { return };

    let rendered = documents(&template(&helm, &[]).unwrap());

    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut wanted: Vec<&str> = arguments
        .filter_map(|argument| argument.split_once("-image="))
        .map(|(_, image)| image)
        .chain(container["image"].as_str())
        .collect();
    wanted.sort_unstable();
    assert_eq!(listed, wanted, "not current: run `make gen`");
}
