//! Which node is meant, and what it still has to hand over.

use contract::admin as pb;

use super::show;
use crate::base::NodeId;
use crate::rpc::{NodeState, NodeStatus, Refusal};

/// The node that `named` means: its number, its address, or its host if no other node has the same.
///
/// # Errors
/// `BadParameter` if there is none, or more than one.
pub(super) fn find<'a>(nodes: &'a [NodeStatus], named: &str) -> Result<&'a NodeStatus, Refusal> {
    let number = named.parse().map(NodeId).ok();
    let exact = |node: &&NodeStatus| Some(node.info.id) == number || node.info.address == named;
    if let Some(node) = nodes.iter().find(exact) {
        return Ok(node);
    }
    let mut there = nodes.iter().filter(|node| node.info.host == named);
    match (there.next(), there.next()) {
        (Some(node), None) => Ok(node),
        (None, _) => Err(Refusal::BadParameter { text: format!("there is no node {named}") }),
        (Some(_), Some(_)) => Err(Refusal::BadParameter {
            text: format!("more than one node is on {named}: name it by its number or address"),
        }),
    }
}

/// What a node still has to hand over.
pub(super) fn progress(status: &NodeStatus) -> pb::DrainProgress {
    let left = status.left;
    pb::DrainProgress {
        node: Some(show::node(status)),
        channels: left.channels,
        segments: left.segments,
        followed: left.followed,
        bytes: show::held_bytes(status),
        done: status.state != NodeState::Serving && status.remaining == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{find, progress};
    use crate::base::NodeId;
    use crate::rpc::{Left, NodeInfo, NodeState, NodeStatus};

    fn node(id: i64, address: &str, host: &str) -> NodeStatus {
        let info = NodeInfo {
            id: NodeId(id),
            address: address.to_owned(),
            host: host.to_owned(),
            ..NodeInfo::default()
        };
        NodeStatus { info, ..NodeStatus::default() }
    }

    #[test]
    fn a_node_is_found_by_number_address_or_a_host_of_its_own() {
        let nodes = [node(1, "a:1", "pod-1"), node(2, "a:2", "box"), node(3, "a:3", "box")];

        let found =
            ["2", "a:3", "pod-1", "box", "4"].map(|name| find(&nodes, name).map(|node| node.info.id.0));

        let texts = found.map(|found| found.map_err(|refusal| refusal.to_string()));
        assert_eq!(
            texts,
            [
                Ok(2),
                Ok(3),
                Ok(1),
                Err("more than one node is on box: name it by its number or address".to_owned()),
                Err("there is no node 4".to_owned()),
            ]
        );
    }

    #[test]
    fn only_a_node_that_drains_and_has_nothing_left_is_done() {
        let serving = node(1, "a:1", "");
        let draining = NodeStatus { state: NodeState::Draining, ..serving.clone() };
        let left = Left { followed: 1, ..Left::default() };
        let busy = NodeStatus { left, remaining: 1, ..draining.clone() };

        let done = [serving, busy, draining].map(|status| progress(&status).done);

        assert_eq!(done, [false, false, true]);
    }
}
