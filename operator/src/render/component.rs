//! The components of a database: which of them a spec asks for.

use contract::role::Role;

use super::Level;
use crate::crd::{self, Components, Group, Mode};

/// One component, as Milvus calls it. Each is a workload of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// Everything in one process.
    Standalone,
    /// Serves clients.
    Proxy,
    /// Coordinates.
    MixCoord,
    /// One of the four coordinators of older versions, a candidate for the one leadership.
    RootCoord,
    /// As above.
    DataCoord,
    /// As above.
    IndexCoord,
    /// As above.
    QueryCoord,
    /// Owns log channels.
    StreamingNode,
    /// Holds what is searched.
    QueryNode,
    /// Builds and compacts.
    DataNode,
    /// A data node under its name of older versions.
    IndexNode,
}

impl Component {
    /// The four coordinators of older versions.
    pub const OLD_COORDS: [Self; 4] = [Self::RootCoord, Self::DataCoord, Self::IndexCoord, Self::QueryCoord];

    /// The word in names and labels, and the role on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Proxy => "proxy",
            Self::MixCoord => "mixcoord",
            Self::RootCoord => "rootcoord",
            Self::DataCoord => "datacoord",
            Self::IndexCoord => "indexcoord",
            Self::QueryCoord => "querycoord",
            Self::StreamingNode => "streamingnode",
            Self::QueryNode => "querynode",
            Self::DataNode => "datanode",
            Self::IndexNode => "indexnode",
        }
    }

    /// Where it stands in a spec.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Standalone => "spec.components.standalone",
            Self::Proxy => "spec.components.proxy",
            Self::MixCoord => "spec.components.mixCoord",
            Self::RootCoord => "spec.components.rootCoord",
            Self::DataCoord => "spec.components.dataCoord",
            Self::IndexCoord => "spec.components.indexCoord",
            Self::QueryCoord => "spec.components.queryCoord",
            Self::StreamingNode => "spec.components.streamingNode",
            Self::QueryNode => "spec.components.queryNode",
            Self::DataNode => "spec.components.dataNode",
            Self::IndexNode => "spec.components.indexNode",
        }
    }

    /// What a process of it does.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Standalone => Role::Standalone,
            Self::Proxy => Role::Proxy,
            Self::MixCoord | Self::RootCoord | Self::DataCoord | Self::IndexCoord | Self::QueryCoord => {
                Role::Coordinator
            }
            Self::StreamingNode => Role::StreamingNode,
            Self::QueryNode => Role::QueryNode,
            Self::DataNode | Self::IndexNode => Role::DataNode,
        }
    }

    /// Whether its pods hold what others must have taken over before they may go.
    #[must_use]
    pub const fn hands_over(self) -> bool {
        matches!(self.role(), Role::StreamingNode | Role::QueryNode | Role::DataNode)
    }

    /// Whether clients connect to it.
    #[must_use]
    pub const fn serves_clients(self) -> bool {
        matches!(self, Self::Standalone | Self::Proxy)
    }
}

/// What a spec says about a component beside the defaults of all.
pub(super) struct Written<'a> {
    pub(super) own: Option<&'a crd::Component>,
    pub(super) groups: &'a [Group],
}

fn plain(own: Option<&crd::Component>) -> Written<'_> {
    Written { own, groups: &[] }
}

fn grouped(written: Option<&crd::GroupedComponent>) -> Written<'_> {
    Written {
        own: written.map(|grouped| &grouped.component),
        groups: written.and_then(|grouped| grouped.groups.as_deref()).unwrap_or_default(),
    }
}

/// What the spec says about `component`.
pub(super) fn written(components: &Components, component: Component) -> Written<'_> {
    match component {
        Component::Standalone => {
            plain(components.standalone.as_ref().map(|standalone| &standalone.component))
        }
        Component::Proxy => grouped(components.proxy.as_ref().map(|proxy| &proxy.component)),
        Component::MixCoord => plain(components.mix_coord.as_ref()),
        Component::RootCoord => plain(components.root_coord.as_ref()),
        Component::DataCoord => plain(components.data_coord.as_ref()),
        Component::IndexCoord => plain(components.index_coord.as_ref()),
        Component::QueryCoord => plain(components.query_coord.as_ref()),
        Component::StreamingNode => grouped(components.streaming_node.as_ref()),
        Component::QueryNode => grouped(components.query_node.as_ref()),
        Component::DataNode => grouped(components.data_node.as_ref()),
        Component::IndexNode => plain(components.index_node.as_ref()),
    }
}

/// The components that run, in the order of an upgrade: whoever coordinates first, whoever serves clients last.
///
/// Below level 2.6 four coordinators stay four once one of them is named, index nodes run beside data nodes, and a streaming
/// node runs only if it is asked for. From 2.6 on one coordinator and streaming nodes take their places.
pub(super) fn wanted(mode: Mode, components: &Components, level: Level) -> Vec<Component> {
    if mode == Mode::Standalone {
        return vec![Component::Standalone];
    }
    let named = |component| written(components, component).own.is_some();
    let old = level == Level::Before26;
    let four = old && Component::OLD_COORDS.into_iter().any(named);
    let streams = !old || components.streaming_mode == Some(true) || named(Component::StreamingNode);
    // An image that does not say its version may be an old one: an index node that is asked for by name stays.
    let indexes = old || (level == Level::Unknown && named(Component::IndexNode));
    let mut wanted = Vec::new();
    if indexes {
        wanted.push(Component::IndexNode);
    }
    match four {
        true => wanted.extend([
            Component::RootCoord,
            Component::DataCoord,
            Component::IndexCoord,
            Component::QueryCoord,
        ]),
        false => wanted.push(Component::MixCoord),
    }
    if streams {
        wanted.push(Component::StreamingNode);
    }
    wanted.extend([Component::QueryNode, Component::DataNode, Component::Proxy]);
    wanted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn cluster(components: Value, level: Level) -> Vec<&'static str> {
        let components = from_value(components).unwrap();
        wanted(Mode::Cluster, &components, level).into_iter().map(Component::name).collect()
    }

    #[test]
    fn a_cluster_of_today_has_five_components() {
        let five = ["mixcoord", "streamingnode", "querynode", "datanode", "proxy"];

        assert_eq!(cluster(json!({}), Level::From26), five);
        assert_eq!(cluster(json!({}), Level::Unknown), five);
        // What an upgrade from 2.5 leaves in the spec is folded into what took its place.
        assert_eq!(cluster(json!({"rootCoord": {}, "indexNode": {}}), Level::From26), five);
    }

    #[test]
    fn an_older_cluster_has_index_nodes_and_streams_only_when_asked() {
        assert_eq!(
            cluster(json!({}), Level::Before26),
            ["indexnode", "mixcoord", "querynode", "datanode", "proxy"]
        );
        for asked in [json!({"streamingNode": {}}), json!({"streamingMode": true})] {
            assert!(cluster(asked, Level::Before26).contains(&"streamingnode"));
        }
    }

    #[test]
    fn one_old_coordinator_named_means_all_four() {
        assert_eq!(
            cluster(json!({"rootCoord": {"replicas": 1}}), Level::Before26),
            [
                "indexnode",
                "rootcoord",
                "datacoord",
                "indexcoord",
                "querycoord",
                "querynode",
                "datanode",
                "proxy"
            ]
        );
    }

    #[test]
    fn an_index_node_of_an_image_without_a_version_stays() {
        assert_eq!(cluster(json!({"indexNode": {"replicas": 0}}), Level::Unknown)[0], "indexnode");
    }
}
