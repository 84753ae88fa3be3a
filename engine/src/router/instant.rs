//! The one time at which all nodes of a copy read a channel. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::base::{ChannelName, Timestamp};
use crate::rpc::{NodeShare, Share, TimeSpan};

/// Whether more than one node has a part of the same channel: then a row may be deleted on one by what puts another in its
/// place on the other, and each must know up to where to look.
#[must_use]
pub fn is_spread(nodes: &[NodeShare]) -> bool {
    let mut seen = HashSet::new();
    nodes.iter().flat_map(|node| &node.share.channels).any(|part| !seen.insert(&part.channel))
}

/// The shares of `nodes`, each to be read at the same time by channel: the newest that all of them have reached, so that
/// nobody waits, but none before which rows are missing. `spans` are what the nodes said, in their order; `None` if one of
/// them did not speak of all its channels.
#[must_use]
pub fn at_one_time(nodes: &[NodeShare], spans: &[Vec<TimeSpan>]) -> Option<Vec<NodeShare>> {
    let mut common: HashMap<&ChannelName, TimeSpan> = HashMap::new();
    for (node, spans) in nodes.iter().zip(spans) {
        if spans.len() != node.share.channels.len() {
            return None;
        }
        for (part, span) in node.share.channels.iter().zip(spans) {
            let known = common.entry(&part.channel).or_insert(*span);
            *known = TimeSpan { from: known.from.max(span.from), to: known.to.min(span.to) };
        }
    }
    let time = |channel: &ChannelName| -> Option<Timestamp> {
        common.get(channel).map(|span| span.to.max(span.from))
    };
    let timed = |node: &NodeShare| {
        let channels = node.share.channels.clone();
        let extent = node.share.extent.clone();
        let times = channels.iter().map(|part| time(&part.channel)).collect::<Option<_>>()?;
        Some(NodeShare { place: node.place.clone(), share: Arc::new(Share { channels, times, extent }) })
    };
    nodes.iter().map(timed).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{at_one_time, is_spread};
    use crate::base::{ChannelName, CollectionId, NodeId, Timestamp};
    use crate::rpc::{ChannelShare, NodeShare, Place, Share, TimeSpan};

    fn node(id: i64, channels: &[u32]) -> NodeShare {
        let part = |&number: &u32| ChannelShare {
            channel: ChannelName::of(CollectionId(1), number),
            segments: Vec::new(),
            growing_from: None,
        };
        let channels = channels.iter().map(part).collect();
        NodeShare {
            place: Place { node: NodeId(id), address: "a".into() },
            share: Arc::new(Share { channels, ..Share::default() }),
        }
    }

    fn spans(of: &[(u64, u64)]) -> Vec<TimeSpan> {
        of.iter().map(|&(from, to)| TimeSpan { from: Timestamp(from), to: Timestamp(to) }).collect()
    }

    fn times(timed: &[NodeShare]) -> Vec<Vec<u64>> {
        timed.iter().map(|node| node.share.times.iter().map(|time| time.0).collect()).collect()
    }

    #[test]
    fn only_nodes_that_share_a_channel_have_to_agree() {
        assert!(!is_spread(&[node(1, &[0, 1]), node(2, &[2])]));
        assert!(is_spread(&[node(1, &[0, 1]), node(2, &[1, 2])]));
    }

    #[test]
    fn each_channel_is_read_at_the_newest_time_that_all_have_reached() {
        let nodes = [node(1, &[0, 1]), node(2, &[1]), node(3, &[1, 0])];

        let timed =
            at_one_time(&nodes, &[spans(&[(0, 9), (0, 50)]), spans(&[(0, 40)]), spans(&[(0, 60), (0, 7)])]);

        assert_eq!(times(&timed.unwrap()), [vec![7, 40], vec![40], vec![40, 7]]);
    }

    #[test]
    fn a_node_that_is_behind_a_compaction_is_waited_for() {
        let nodes = [node(1, &[0]), node(2, &[0])];

        let timed = at_one_time(&nodes, &[spans(&[(30, 50)]), spans(&[(0, 10)])]);

        assert_eq!(times(&timed.unwrap()), [[30], [30]]);
    }

    #[test]
    fn an_answer_that_lacks_a_channel_is_none() {
        assert_eq!(at_one_time(&[node(1, &[0, 1])], &[spans(&[(0, 1)])]), None);
    }
}
