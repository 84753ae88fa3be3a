//! What the tools of others say about what we ship: Helm's linter, kubeconform, promtool. `tests/cluster/build kubeconform
//! prometheus` brings them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::chart::{helm, rendered, tool};
use crate::{clone, documents};

/// Runs a tool; what it says if it does not agree.
fn agrees(command: &mut Command) {
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn helm_finds_nothing_to_warn_of_in_the_charts() {
    let Some(helm) = helm() else { return };

    for chart in ["redkite-operator", "milvus"] {
        agrees(Command::new(&helm).args(["lint", "--strict"]).arg(clone(&format!("charts/{chart}"))));
    }
}

#[test]
fn promtool_takes_the_rules_and_each_alert_fires_when_it_is_to_and_each_series_has_what_it_is_to() {
    let Some(promtool) = tool("promtool") else { return };
    let tests = clone("operator/tests/it/rules_test.yaml");

    agrees(Command::new(&promtool).args(["check", "rules"]).arg(clone("config/monitoring/rules.yaml")));
    agrees(Command::new(&promtool).args(["test", "rules"]).arg(&tests));

    let rules: Value =
        serde_yaml::from_str(&std::fs::read_to_string(clone("config/monitoring/rules.yaml")).unwrap())
            .unwrap();
    let tests = std::fs::read_to_string(tests).unwrap();
    let words: BTreeSet<&str> = tests.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let groups = rules["groups"].as_array().unwrap().iter();
    let untested: Vec<&str> = groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .filter(|rule| match (rule["alert"].as_str(), rule["record"].as_str()) {
            (Some(alert), _) => !tests.contains(&format!("alertname=\"{alert}\"")),
            (None, record) => !words.contains(record.unwrap()),
        })
        .filter_map(|rule| rule["alert"].as_str().or(rule["record"].as_str()))
        .collect();
    assert_eq!(untested, Vec::<&str>::new(), "no test lets them fire, or asks for them");
}

/// Makes a schema refuse what it does not name, and take what the API server takes although the schema says otherwise.
fn make_strict(schema: &mut Value) {
    let keeps = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if schema.get("x-kubernetes-int-or-string") == Some(&json!(true)) || schema["format"] == "int-or-string" {
        *schema = json!({"type": ["string", "integer"]});
        return;
    }
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type") == Some(&json!("object"))
                && !keeps
            {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
            fields.values_mut().for_each(make_strict);
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        _ => {}
    }
}

/// How kubeconform looks for a kind.
fn file(kind: &str, group: &str, version: &str) -> String {
    let group = group.split('.').next().filter(|group| !group.is_empty()).map(|group| format!("-{group}"));
    format!("{}{}-{version}.json", kind.to_lowercase(), group.unwrap_or_default())
}

/// Writes the schemas of Kubernetes' own kinds and of ours.
fn write_schemas(swagger: &Path, folder: &Path) {
    let mut swagger: Value = serde_json::from_slice(&std::fs::read(swagger).unwrap()).unwrap();
    let mut definitions = swagger["definitions"].take();
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = json!({"type": ["string", "number"]});
    make_strict(&mut definitions);
    for (name, definition) in definitions.as_object().unwrap() {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |key: &str| kind[key].as_str().unwrap();
            let schema = json!({"$ref": format!("_definitions.json#/definitions/{name}")});
            let path = folder.join(file(text("kind"), text("group"), text("version")));
            std::fs::write(path, schema.to_string()).unwrap();
        }
    }
    std::fs::write(folder.join("_definitions.json"), json!({"definitions": definitions}).to_string())
        .unwrap();
    for entry in std::fs::read_dir(clone("crds")).unwrap() {
        let definition = documents(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).remove(0);
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().unwrap() {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            // The API server adds what every object has.
            for (field, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                schema["properties"][field] = json!({"type": of});
            }
            make_strict(&mut schema);
            let kind = spec["names"]["kind"].as_str().unwrap();
            let name = file(kind, spec["group"].as_str().unwrap(), version["name"].as_str().unwrap());
            std::fs::write(folder.join(name), schema.to_string()).unwrap();
        }
    }
}

/// Every manifest that we ship or render, each with where it is from.
fn manifests(helm: &Path) -> Vec<(String, String)> {
    let of_operator = "podMonitor.enabled=true,serviceMonitor.enabled=true,rules.enabled=true,dashboards.enabled=true,watchNamespaces={one,two}";
    let of_database = "cluster.enabled=false,metrics.serviceMonitor.enabled=true";
    let charts = [
        ("redkite-operator", vec![]),
        ("redkite-operator", vec!["--set", of_operator]),
        ("milvus", vec![]),
        ("milvus", vec!["--set", of_database]),
    ];
    let mut all: Vec<(String, String)> = charts
        .iter()
        .map(|(chart, values)| (format!("{chart} {values:?}"), rendered(helm, "db", chart, values).unwrap()))
        .collect();
    let mut files: Vec<_> =
        std::fs::read_dir(clone("config/samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(clone("config/install.yaml"));
    files.push(clone("config/argocd/argocd-cm.yaml"));
    files.push(clone("config/monitoring/prometheusrule.yaml"));
    all.extend(
        files.into_iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())),
    );
    all
}

#[test]
fn every_manifest_has_only_fields_that_its_kind_has() {
    let (Some(helm), Some(kubeconform)) = (helm(), tool("kubeconform")) else { return };
    let Some(swagger) = tool("kubernetes-swagger.json") else { return };
    let folder = tempfile::tempdir().unwrap();
    write_schemas(&swagger, folder.path());
    // Their definitions belong to the Prometheus operator.
    let of_others = "PodMonitor,ServiceMonitor,PrometheusRule";
    let place = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", folder.path().display());
    let judge = |manifest: &str| {
        let path = folder.path().join("manifest.yaml");
        std::fs::write(&path, manifest).unwrap();
        let output = Command::new(&kubeconform)
            .args(["-strict", "-summary", "-skip", of_others, "-schema-location", &place])
            .arg(&path)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };

    let mut kinds = BTreeSet::new();
    for (from, manifest) in manifests(&helm) {
        let (sound, said) = judge(&manifest);
        assert!(sound, "{from}: {said}");
        kinds.extend(documents(&manifest).iter().map(|one| one["kind"].as_str().unwrap().to_owned()));
    }
    assert!(
        kinds.is_superset(&["Deployment", "ClusterRole", "Role", "Milvus"].map(str::to_owned).into()),
        "{kinds:?}"
    );
    let strange = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dataa: {b: c}}";
    assert!(!judge(strange).0, "a field that is none is not noticed");
}
