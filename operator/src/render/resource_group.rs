//! A `MilvusResourceGroup` → a workload of its database: its query nodes with the group's template laid over them.

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, EnvVar, EphemeralVolumeSource, PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::fields::Faults;
use super::workload::{Pod, Workload, by_name, check_keys, is_label, union};
use super::{Component, Fault, FaultReason, quantity};
use crate::crd::{GroupCache, GroupTemplate, Milvus, MilvusResourceGroup, Mode};

/// Label of a node of the cluster that says where it stands.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Name of the volume of a cache.
const CACHE_VOLUME: &str = "redkite-cache";
/// Folder of a query node's cache in its data directory.
const CACHE_FOLDER: &str = "cache";
/// Environment of a query node: what it keeps in its cache. Unit: MiB.
const CACHE_BUDGET: &str = "MILVUS_CONF_REDKITE_CACHE_BUDGETMB";

/// Name of the Deployment of a group.
#[must_use]
pub fn resource_group_workload(group: &MilvusResourceGroup) -> String {
    format!("{}-milvus-{}-{}", group.spec.milvus.name, Component::QueryNode.name(), group.name_any())
}

/// Whether another object, made earlier, is about the same group of the same database.
#[must_use]
pub fn is_taken(group: &MilvusResourceGroup, all: &[MilvusResourceGroup]) -> bool {
    let age = |group: &MilvusResourceGroup| {
        (group.metadata.creation_timestamp.as_ref().map(|made| made.0), group.name_any())
    };
    all.iter().any(|other| {
        other.name_any() != group.name_any()
            && other.spec.milvus == group.spec.milvus
            && other.engine_name() == group.engine_name()
            && age(other) < age(group)
    })
}

/// Every field of a group that cannot be carried out beside this database.
#[must_use]
pub fn resource_group_faults(group: &MilvusResourceGroup, milvus: &Milvus) -> Vec<Fault> {
    let mut faults = Faults::default();
    if milvus.spec.mode == Mode::Standalone {
        let message =
            format!("Milvus {} has one process; resource groups need mode: cluster", milvus.name_any());
        faults.add(FaultReason::NotSupported, "spec.milvus.name", message);
    }
    let name = group.name_any();
    if !is_label(&name) {
        faults.add(FaultReason::InvalidField, "metadata.name", format!("'{name}' is no DNS label"));
    }
    let engine_name = group.engine_name();
    if engine_name.contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        let message = format!(
            "'{engine_name}' is no name of a resource group: it has only letters, digits and underscores"
        );
        faults.add(FaultReason::InvalidField, "spec.name", message);
    }
    let query_nodes = milvus.spec.components.as_ref().and_then(|components| components.query_node.as_ref());
    let mut groups = query_nodes.into_iter().flat_map(|nodes| nodes.groups.iter().flatten());
    if groups.any(|other| other.name == name) {
        let message =
            format!("Milvus {} has a group {name} in spec.components.queryNode.groups", milvus.name_any());
        faults.add(FaultReason::InvalidField, "metadata.name", message);
    }
    pod(group, Pod::default(), &mut faults);
    faults.0
}

/// What a pod of a workload has for its work: its limit of processors, or its request if it has none.
#[must_use]
pub fn processors(workload: &Deployment) -> Option<f64> {
    let engine = workload.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    let resources = engine.resources.as_ref()?;
    let limit = resources.limits.as_ref().and_then(|limits| limits.get("cpu"));
    let request = resources.requests.as_ref().and_then(|requests| requests.get("cpu"));
    limit.or(request).and_then(quantity::processors)
}

/// The workload of a group that has no faults.
pub(super) fn read(group: &MilvusResourceGroup, base: &Workload) -> Workload {
    Workload {
        component: Component::QueryNode,
        group: Some(group.name_any()),
        resource_group: Some(group.name_any()),
        replicas: Some(group.replicas().max(0)),
        image: base.image.clone(),
        pod: pod(group, base.pod.clone(), &mut Faults::default()),
    }
}

fn pod(group: &MilvusResourceGroup, pod: Pod, faults: &mut Faults) -> Pod {
    let none = GroupTemplate::default();
    let template = group.spec.template.as_ref().unwrap_or(&none);
    let path = |field: &str| format!("spec.template.{field}");
    for (field, keys) in [("labels", &template.labels), ("annotations", &template.annotations)] {
        check_keys(&path(field), keys.as_ref(), faults);
    }
    let label = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    let zone = template.node_selector.as_ref().and_then(|selector| selector.get(ZONE));
    let cache = template.cache.as_ref().and_then(|written| cache(written, faults));
    let budget = cache.as_ref().map(|(_, budget)| label(CACHE_BUDGET, budget));
    let known: Vec<EnvVar> =
        zone.map(|zone| label(names::ENV_NODE_ZONE, zone)).into_iter().chain(budget).collect();
    let (mut volumes, mut mounts) = (pod.volumes, pod.mounts);
    if let Some((volume, _)) = cache {
        volumes.push(volume);
        mounts.push(VolumeMount {
            name: CACHE_VOLUME.to_owned(),
            mount_path: format!("{}/{CACHE_FOLDER}", names::DATA_DIR),
            ..VolumeMount::default()
        });
    }
    let own = faults.typed_list(&path("env"), template.env.as_ref());
    let env = by_name(by_name(pod.env, known, variable), own, variable);
    let tolerations = template.tolerations.as_ref();
    let spread = template.topology_spread_constraints.as_ref();
    let mut pod_labels = union(Some(&pod.pod_labels), template.labels.as_ref());
    pod_labels.insert(names::LABEL_RESOURCE_GROUP.to_owned(), group.name_any());
    Pod {
        pod_labels,
        pod_annotations: union(Some(&pod.pod_annotations), template.annotations.as_ref()),
        env: by_name(env, vec![label(names::ENV_NODE_GROUP, &group.engine_name())], variable),
        resources: faults.typed(&path("resources"), template.resources.as_ref()).or(pod.resources),
        node_selector: template.node_selector.clone().or(pod.node_selector),
        affinity: faults.typed(&path("affinity"), template.affinity.as_ref()).or(pod.affinity),
        tolerations: match tolerations {
            Some(list) => faults.typed_list(&path("tolerations"), Some(list)),
            None => pod.tolerations,
        },
        spread: match spread {
            Some(list) => Some(faults.typed_list(&path("topologySpreadConstraints"), Some(list))),
            None => pod.spread,
        },
        volumes,
        mounts,
        ..pod
    }
}

/// The volume of a cache, and how many MiB of it may be used.
fn cache(written: &GroupCache, faults: &mut Faults) -> Option<(Volume, String)> {
    let size = Quantity(written.size.clone());
    // File systems keep some of their room to themselves.
    let budget =
        quantity::bytes(&size).map(|bytes| bytes * 9.0 / 10.0 / 1_048_576.0).filter(|mib| *mib >= 1.0);
    let Some(budget) = budget else {
        let message = format!("'{}' is no size of 2Mi or more", written.size);
        faults.add(FaultReason::InvalidField, "spec.template.cache.size", message);
        return None;
    };
    let claim = |class: &String| PersistentVolumeClaimTemplate {
        metadata: None,
        spec: PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: Some(class.clone()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        },
    };
    let claim = written.storage_class_name.as_ref().map(claim);
    let scratch = EmptyDirVolumeSource { medium: None, size_limit: Some(size.clone()) };
    let volume = Volume {
        name: CACHE_VOLUME.to_owned(),
        empty_dir: claim.is_none().then_some(scratch),
        ephemeral: claim.map(|claim| EphemeralVolumeSource { volume_claim_template: Some(claim) }),
        ..Volume::default()
    };
    Some((volume, format!("{:.0}", budget.floor())))
}

fn variable(variable: &EnvVar) -> &String {
    &variable.name
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::render::{Facts, Platform, check, render};

    fn milvus(spec: Value) -> Milvus {
        from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "u"}, "spec": spec})).unwrap()
    }

    fn group(name: &str, spec: Value) -> MilvusResourceGroup {
        let mut spec = spec;
        spec["milvus"] = json!({"name": "db"});
        from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn said(group: &MilvusResourceGroup, milvus: &Milvus) -> Vec<String> {
        let faults = resource_group_faults(group, milvus);
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    }

    #[test]
    fn a_group_is_a_workload_of_its_database_with_its_own_template() {
        let milvus = milvus(json!({"mode": "cluster", "components": {
            "image": "redkite/engine:2",
            "queryNode": {"replicas": 2, "resources": {"limits": {"cpu": "1"}}, "env": [{"name": "A", "value": "a"}]},
        }}));
        let gold = group(
            "gold-a",
            json!({"name": "gold", "replicas": 3, "template": {
                "resources": {"limits": {"memory": "8Gi"}},
                "nodeSelector": {"topology.kubernetes.io/zone": "a"},
            }}),
        );
        let facts = Facts { groups: vec![gold], ..Facts::default() };

        let checked = check(&milvus, &Platform::default(), &facts).unwrap();

        let objects = render(&checked);
        let names: Vec<_> =
            objects.workloads.iter().map(|made| made.deployment.metadata.name.clone().unwrap()).collect();
        let after = "db-milvus-querynode-gold-a";
        assert_eq!(names[2..4], ["db-milvus-querynode".to_owned(), after.to_owned()]);
        insta::assert_yaml_snapshot!(objects.workloads[3].deployment);
        // Both budgets would hold one pod otherwise, and Kubernetes evicts no such pod.
        insta::assert_yaml_snapshot!([&objects.workloads[2].budget, &objects.workloads[3].budget].map(
            |budget| {
                match budget {
                    crate::render::Wanted::Present(budget) => {
                        budget.spec.as_ref().and_then(|spec| spec.selector.clone())
                    }
                    crate::render::Wanted::Absent(_) => None,
                }
            }
        ));
    }

    #[test]
    fn the_cache_of_a_group_is_scratch_space_or_a_claim_of_each_pod() {
        let milvus = milvus(json!({"mode": "cluster"}));
        let made = |cache: Value| {
            let facts = Facts {
                groups: vec![group("gold", json!({"template": {"cache": cache}}))],
                ..Facts::default()
            };
            let objects = render(&check(&milvus, &Platform::default(), &facts).unwrap());
            let gold = Some("db-milvus-querynode-gold");
            let mut all = objects.workloads.iter().map(|made| &made.deployment);
            let gold = all.find(|found| found.metadata.name.as_deref() == gold).unwrap();
            let pod = serde_json::to_value(gold.spec.clone().unwrap().template.spec.unwrap()).unwrap();
            let engine = &pod["containers"][0];
            let named = |list: &Value, name: &str| {
                list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap()
            };
            let budget = named(&engine["env"], "MILVUS_CONF_REDKITE_CACHE_BUDGETMB");
            let mount = named(&engine["volumeMounts"], "redkite-cache");
            (named(&pod["volumes"], "redkite-cache"), mount["mountPath"].clone(), budget["value"].clone())
        };

        assert_eq!(
            made(json!({"size": "10Gi"})),
            (
                json!({"name": "redkite-cache", "emptyDir": {"sizeLimit": "10Gi"}}),
                json!("/var/lib/milvus/cache"),
                json!("9216")
            )
        );
        let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "nvme",
            "resources": {"requests": {"storage": "1Ti"}}});
        assert_eq!(
            made(json!({"size": "1Ti", "storageClassName": "nvme"})),
            (
                json!({"name": "redkite-cache", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}),
                json!("/var/lib/milvus/cache"),
                json!("943718")
            )
        );
        let wrong = group("gold", json!({"template": {"cache": {"size": "much"}}}));
        assert_eq!(said(&wrong, &milvus), ["spec.template.cache.size: 'much' is no size of 2Mi or more"]);
    }

    #[test]
    fn a_wrong_group_is_named_and_its_workload_left_as_it_is() {
        let milvus = milvus(json!({"mode": "cluster", "components": {"queryNode": {"groups": [
            {"name": "iron", "replicas": 1}]}}}));
        let wrong =
            group("gold", json!({"template": {"resources": {"limits": 5}, "labels": {"milvus.io/a": "b"}}}));
        let named = group("gold-a", json!({}));
        let twice = group("iron", json!({}));

        assert_eq!(
            said(&wrong, &milvus),
            [
                "spec.template.labels: 'milvus.io/a' is reserved",
                "spec.template.resources: invalid type: integer `5`, expected a map",
            ]
        );
        assert_eq!(
            said(&named, &milvus),
            [
                "spec.name: 'gold-a' is no name of a resource group: it has only letters, digits and underscores"
            ]
        );
        assert_eq!(
            said(&twice, &milvus),
            ["metadata.name: Milvus db has a group iron in spec.components.queryNode.groups"]
        );
        let facts = Facts { groups: vec![wrong, named], ..Facts::default() };
        let checked = check(&milvus, &Platform::default(), &facts).unwrap();
        assert_eq!(checked.left_alone, ["db-milvus-querynode-gold", "db-milvus-querynode-gold-a"]);
        assert!(checked.workloads.iter().all(|workload| workload.resource_group.is_none()));
    }

    #[test]
    fn a_standalone_has_no_groups() {
        let faults = said(&group("gold", json!({})), &milvus(json!({})));

        assert_eq!(
            faults,
            ["spec.milvus.name: Milvus db has one process; resource groups need mode: cluster"]
        );
    }

    #[test]
    fn of_two_objects_about_one_group_the_older_counts() {
        let made = |name: &str, second: u8| {
            let mut group = group(name, json!({"name": "gold"}));
            let stamp = json!(format!("2026-01-01T00:00:0{second}Z"));
            group.metadata.creation_timestamp = from_value(stamp).unwrap();
            group
        };
        let all = [made("b", 1), made("a", 2)];

        assert_eq!(all.each_ref().map(|group| is_taken(group, &all)), [false, true]);
    }
}
