//! Where the pods of a database take calls of administrators: their own port, by the token or a certificate of the cluster. No
//! user of the database and no password means anything there.

use contract::names;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;

use super::certificates::{address, trust_in};
use super::{Driver, Error, step};
use crate::cluster::{Place, get_as, list_as};
use crate::crd::Milvus;
use crate::engine_admin::Door;
use crate::reach::Trust;
use crate::render::{Component, admin_secret, node_tls, nodes_need_tls};

/// How many pods are asked, one after another, until one answers.
const MOST_ASKED: usize = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// What the whole cluster knows: of a coordinator if one serves, else of any node.
    Overview,
    /// Milvus's own calls, which proxies answer.
    Milvus,
    /// What each proxy has counted: all of them.
    Counts,
}

/// Pods that take calls.
pub(super) struct Doors {
    /// Their doors, the best first; at least one.
    pub(super) each: Vec<Door>,
    /// All pods of the database.
    pub(super) pods: Vec<Pod>,
}

/// Why there is no door.
pub(super) enum Closed {
    /// No pod serves that could be asked.
    NotServing,
    /// The operator cannot show who it is.
    Unknown(String),
}

impl Driver {
    /// Doors of the pods that serve. Token and certificates are read anew each time, so that new ones are known at once.
    ///
    /// # Errors
    /// If a call to the API server failed.
    pub(super) async fn doors(&self, milvus: &Milvus, asked: Asked) -> Result<Result<Doors, Closed>, Error> {
        let (namespace, name) = (milvus.namespace().unwrap_or_default(), milvus.name_any());
        let label = (names::LABEL_INSTANCE, name.as_str());
        let pods = list_as::<Pod>(self.cluster.as_ref(), &namespace, label).await;
        let pods = pods.map_err(step("look at the pods of"))?;
        let addresses = addresses(&pods, asked);
        if addresses.is_empty() {
            return Ok(Err(Closed::NotServing));
        }
        let place = Place::new(&namespace, admin_secret(&name));
        let secret = get_as::<Secret>(self.cluster.as_ref(), &place).await;
        let secret = secret.map_err(step("find the Secrets of"))?;
        let token = secret.and_then(|secret| secret.data?.remove(names::ADMIN_TOKEN_KEY));
        let token = token.map(|token| String::from_utf8_lossy(&token.0).trim().to_owned());
        let trust = match self.trust_in_nodes(milvus).await? {
            Ok(trust) => trust,
            Err(why) => return Ok(Err(Closed::Unknown(why))),
        };
        let door = |address| Door { address, trust: trust.clone(), token: token.clone() };
        Ok(Ok(Doors { each: addresses.into_iter().map(door).collect(), pods }))
    }

    /// How nodes show each other who they are, or why the operator cannot: it asks as one of them.
    async fn trust_in_nodes(&self, milvus: &Milvus) -> Result<Result<Option<Trust>, String>, Error> {
        let Some(side) = node_tls(milvus) else {
            let unknown = "spec.config.common.security.internaltlsEnabled: the operator knows no certificate of the nodes; \
                           name it in spec.redkite.certificates.nodes.secretName";
            return Ok(if nodes_need_tls(milvus) { Err(unknown.to_owned()) } else { Ok(None) });
        };
        let place = Place::new(milvus.namespace().unwrap_or_default(), &side.secret);
        let secret = get_as::<Secret>(self.cluster.as_ref(), &place).await;
        let secret = secret.map_err(step("find the certificates of"))?;
        let trust = secret.and_then(|secret| trust_in(&secret, &side));
        let unreadable =
            || format!("{}: Secret {} has no certificate that can be read", side.path, side.secret);
        Ok(trust.map(Some).ok_or_else(unreadable))
    }
}

/// Where to ask, the best first; the order is the same each time.
fn addresses(pods: &[Pod], asked: Asked) -> Vec<String> {
    let component = |pod: &Pod| pod.labels().get(names::LABEL_COMPONENT).cloned().unwrap_or_default();
    let coordinates = |pod: &Pod| component(pod).ends_with("coord");
    let proxies = [Component::Proxy, Component::Standalone].map(Component::name);
    let mut able: Vec<&Pod> = pods.iter().filter(|pod| serves(pod)).collect();
    match asked {
        Asked::Overview => able.sort_by_key(|pod| (!coordinates(pod), pod.name_any())),
        Asked::Milvus | Asked::Counts => {
            able.retain(|pod| proxies.contains(&component(pod).as_str()));
            able.sort_by_key(|pod| pod.name_any());
        }
    }
    let each = able.into_iter().filter_map(|pod| Some(address(ip(pod)?, names::INTERNAL_PORT)));
    let most = match asked {
        Asked::Overview | Asked::Milvus => MOST_ASKED,
        Asked::Counts => usize::MAX,
    };
    each.take(most).collect()
}

pub(super) fn ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

fn serves(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(name: &str, component: &str, ip: &str, ready: &str) -> Pod {
        from_value(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn milvus_s_calls_go_to_proxies_that_serve_and_others_to_a_coordinator_first() {
        let pods = [
            pod("d", "querynode", "10.0.0.4", "True"),
            pod("c", "proxy", "10.0.0.3", "True"),
            pod("b", "proxy", "10.0.0.2", "False"),
            pod("a", "mixcoord", "10.0.0.1", "True"),
        ];

        assert_eq!(addresses(&pods, Asked::Milvus), ["10.0.0.3:19529"]);
        let more =
            ["a", "b", "c", "d"].map(|name| pod(name, "proxy", &format!("10.0.1.{}", name.len()), "True"));
        assert_eq!(addresses(&more, Asked::Milvus).len(), 3);
        assert_eq!(addresses(&more, Asked::Counts).len(), 4);
        let overview = ["10.0.0.1:19529", "10.0.0.3:19529", "10.0.0.4:19529"];
        assert_eq!(addresses(&pods, Asked::Overview), overview);
    }
}
