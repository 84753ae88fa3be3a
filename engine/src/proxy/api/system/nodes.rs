//! Which of Milvus's components there are, and on which nodes.

use contract::pb::common::{KeyValuePair, StateCode};
use contract::pb::milvus::ComponentInfo;
use contract::role::Role;

use super::{Cluster, Unheard};
use crate::base::NodeId;
use crate::rpc::{Duties, NodeInfo, NodeState, NodeStatus};

/// Milvus's names of the coordinator: it is all of them.
const COORDINATORS: [&str; 4] = ["mixcoord", ROOT, DATA, QUERY];
const ROOT: &str = "rootcoord";
const DATA: &str = "datacoord";
const QUERY: &str = "querycoord";

/// One of Milvus's components: a duty of a node, or one of the names of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component<'a> {
    /// Its name.
    pub name: &'static str,
    /// The number of its node; 0 for a node that only coordinates, which has none.
    pub id: NodeId,
    /// The node as its coordinator knows it; `None` if it is not known there, as one that only coordinates is not.
    pub status: Option<&'a NodeStatus>,
    /// The node as it introduces itself; `None` for one that only coordinates.
    pub info: Option<&'a NodeInfo>,
}

/// The components of a node with these duties, in Milvus's words.
fn names(duties: Duties) -> impl Iterator<Item = &'static str> {
    let all = [
        (duties.proxies, Role::Proxy),
        (duties.writes, Role::StreamingNode),
        (duties.queries, Role::QueryNode),
        (duties.builds, Role::DataNode),
    ];
    all.into_iter().filter(|(has, _)| *has).map(|(_, role)| role.name())
}

/// The components that are known: those of the node that was asked first, then those of the coordinator, then those of the other
/// nodes in the order of their numbers. Where the coordinator cannot be heard, it and the node that was asked are all that is known.
pub fn components<'a>(own: &'a NodeInfo, cluster: &'a Result<Cluster, Unheard>) -> Vec<Component<'a>> {
    let nodes = cluster.as_ref().map_or(&[][..], |cluster| cluster.nodes.as_slice());
    let of = |info: &'a NodeInfo, status: Option<&'a NodeStatus>| {
        names(info.duties).map(move |name| Component { name, id: info.id, status, info: Some(info) })
    };
    let known = nodes.iter().find(|status| status.info.id == own.id);
    let others = nodes.iter().filter(|status| status.info.id != own.id);
    // One that does something else as well has a number.
    let leader = cluster.as_ref().ok().and_then(|cluster| {
        let is_there = |info: &&NodeInfo| info.address == cluster.lead.address;
        std::iter::once(own).chain(nodes.iter().map(|status| &status.info)).find(is_there)
    });
    let status = leader.and_then(|info| nodes.iter().find(|status| status.info.id == info.id));
    let id = leader.map_or(NodeId(0), |info| info.id);
    let coordinators = COORDINATORS.map(|name| Component { name, id, status, info: leader });
    let all =
        of(own, known).chain(coordinators).chain(others.flat_map(|status| of(&status.info, Some(status))));
    all.collect()
}

/// Whether it is the coordinator under one of its names.
pub fn coordinates(component: &Component<'_>) -> bool {
    COORDINATORS.contains(&component.name)
}

/// How a component of the first kind deals with one of the second, in Milvus's words; `None` if it does not.
pub fn relation(from: &str, to: &str) -> Option<&'static str> {
    let (writes, queries, builds) =
        (Role::StreamingNode.name(), Role::QueryNode.name(), Role::DataNode.name());
    let is_node = to == writes || to == queries || to == builds;
    match from {
        DATA if to == writes || to == builds => Some("manage"),
        QUERY if to == queries => Some("manage"),
        ROOT if to == Role::Proxy.name() => Some("manage"),
        _ if from == COORDINATORS[0] && (is_node || to == Role::Proxy.name()) => Some("manage"),
        _ if from == Role::Proxy.name() && (to == writes || to == queries || COORDINATORS.contains(&to)) => {
            Some("forward")
        }
        // It follows their logs.
        _ if from == queries && to == writes => Some("forward"),
        _ => None,
    }
}

/// The state of a component.
pub fn state(component: &Component<'_>, own: NodeId, cluster: &Result<Cluster, Unheard>) -> StateCode {
    let Ok(cluster) = cluster else {
        // Who was asked answers; of the coordinator nothing is heard.
        return if coordinates(component) { StateCode::Abnormal } else { StateCode::Healthy };
    };
    if coordinates(component) {
        return if cluster.lead.settled { StateCode::Healthy } else { StateCode::Initializing };
    }
    match component.status.map(|status| status.state) {
        Some(NodeState::Serving) => StateCode::Healthy,
        Some(NodeState::Draining | NodeState::Leaving) => StateCode::Stopping,
        // A leader that still listens has not heard of all nodes: this one answers.
        None if component.id == own && !cluster.lead.settled => StateCode::Healthy,
        None => StateCode::Initializing,
    }
}

/// A component as clients are shown it.
pub fn shown(component: &Component<'_>, own: NodeId, cluster: &Result<Cluster, Unheard>) -> ComponentInfo {
    let pair = |key: &str, value: &str| KeyValuePair { key: key.to_owned(), value: value.to_owned() };
    let mut extra_info = Vec::new();
    if let Some(info) = component.info {
        extra_info.extend([
            pair("role", &info.role),
            pair("hostname", &info.host),
            pair("version", &info.version),
        ]);
    }
    if let Some(status) = component.status {
        extra_info.push(pair("resource_group", &status.group));
        extra_info.push(pair("remaining", &status.remaining.to_string()));
    }
    ComponentInfo {
        node_id: component.id.0,
        role: component.name.to_owned(),
        state_code: state(component, own, cluster).into(),
        extra_info,
    }
}
