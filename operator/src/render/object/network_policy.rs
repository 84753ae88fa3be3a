//! Who may connect to the pods, where a spec asks for it.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Wanted, owned, service_name, store};
use crate::render::{Checked, StoreKind};

/// A policy for the pods of the database, and one for each store beside it.
pub(super) fn render(checked: &Checked) -> Vec<Wanted<NetworkPolicy>> {
    let names = [service_name(checked)].into_iter();
    let names: Vec<String> = names.chain(StoreKind::ALL.map(|kind| kind.name(&checked.name))).collect();
    let Some(clients) = &checked.clients else { return names.into_iter().map(Wanted::Absent).collect() };
    let mut clients = clients.clone();
    if !clients.is_empty() {
        // It looks which certificate is shown there.
        clients.push(operator(&checked.home));
    }
    let mut policies = vec![Wanted::Present(policy(
        checked,
        service_name(checked),
        checked.labels(),
        vec![
            rule(&[names::API_PORT], clients),
            rule(&[names::METRICS_PORT], Vec::new()),
            rule(&[names::INTERNAL_PORT], vec![pods(checked.labels()), operator(&checked.home)]),
        ],
    ))];
    for kind in StoreKind::ALL {
        let name = kind.name(&checked.name);
        if !checked.stores.iter().any(|store| store.kind == kind) {
            policies.push(Wanted::Absent(name));
            continue;
        }
        let own = store::labels(checked, kind);
        let mut rules = vec![rule(&[kind.port()], vec![pods(checked.labels()), operator(&checked.home)])];
        if kind == StoreKind::Etcd {
            rules.push(rule(&[store::ETCD_PEER_PORT, kind.port()], vec![pods(own.clone())]));
            rules.push(rule(&[store::ETCD_METRICS_PORT], Vec::new()));
        }
        policies.push(Wanted::Present(policy(checked, name, own, rules)));
    }
    policies
}

fn policy(
    checked: &Checked,
    name: String,
    selector: BTreeMap<String, String>,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: owned(checked, name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selector), match_expressions: None }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Lets `from` reach the ports; nobody in it means everybody.
fn rule(ports: &[u16], from: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    let port = |number: &u16| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*number))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicyIngressRule {
        ports: Some(ports.iter().map(port).collect()),
        from: (!from.is_empty()).then_some(from),
    }
}

fn pods(labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector { match_labels: Some(labels), match_expressions: None }),
        ..NetworkPolicyPeer::default()
    }
}

/// The operator's namespace: it tells the engine about resource groups and collections and looks whether the stores answer.
fn operator(home: &str) -> NetworkPolicyPeer {
    let labels = [("kubernetes.io/metadata.name".to_owned(), home.to_owned())];
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: (!home.is_empty()).then(|| labels.into()),
            match_expressions: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}
