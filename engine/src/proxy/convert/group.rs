//! Resource groups, from the wire and to it.

use contract::pb::common::{KeyValuePair, NodeInfo};
use contract::pb::milvus::ResourceGroup;
use contract::pb::rg::{
    ResourceGroupConfig, ResourceGroupLimit, ResourceGroupNodeFilter, ResourceGroupTransfer,
};

use crate::base::CollectionId;
use crate::proxy::Error;
use crate::rpc::{DEFAULT_GROUP, GroupConfig, GroupInfo};

/// How many nodes the default group says it can hold. Source: guide, resource groups.
const DEFAULT_CAPACITY: i32 = 1_000_000;

/// What a group of this name is to ask for. A missing part asks for nothing, except that missing limits are those that
/// the requests need.
///
/// # Errors
/// [`Error::GroupConfig`] for a negative number.
pub fn config(name: &str, config: Option<ResourceGroupConfig>) -> Result<GroupConfig, Error> {
    let config = config.unwrap_or_default();
    let count = |limit: ResourceGroupLimit| {
        u32::try_from(limit.node_num).map_err(|_| Error::GroupConfig {
            text: format!(
                "node num in requests or limits should not less than 0: resource group illegal config[rg={name}][nodeNum={}]",
                limit.node_num
            ),
        })
    };
    let requests = config.requests.map_or(Ok(0), count)?;
    let limits = config.limits.map_or(Ok(requests), count)?;
    let groups = |list: Vec<ResourceGroupTransfer>| list.into_iter().map(|one| one.resource_group).collect();
    let labels = config.node_filter.unwrap_or_default().node_labels;
    Ok(GroupConfig {
        requests,
        limits,
        transfer_from: groups(config.transfer_from),
        transfer_to: groups(config.transfer_to),
        node_filter: labels.into_iter().map(|label| (label.key, label.value)).collect(),
    })
}

/// What a group asks for, as clients see it.
#[must_use]
pub fn config_to_wire(config: GroupConfig) -> ResourceGroupConfig {
    let limit = |count: u32| Some(ResourceGroupLimit { node_num: i32::try_from(count).unwrap_or(i32::MAX) });
    let groups = |names: Vec<String>| {
        names.into_iter().map(|resource_group| ResourceGroupTransfer { resource_group }).collect()
    };
    let labels = config.node_filter.into_iter().map(|(key, value)| KeyValuePair { key, value });
    ResourceGroupConfig {
        requests: limit(config.requests),
        limits: limit(config.limits),
        transfer_from: groups(config.transfer_from),
        transfer_to: groups(config.transfer_to),
        node_filter: Some(ResourceGroupNodeFilter { node_labels: labels.collect() }),
    }
}

/// A group as clients see it; `name` gives a collection's name, if it still is there.
#[must_use]
pub fn to_wire(group: GroupInfo, name: impl Fn(CollectionId) -> Option<String>) -> ResourceGroup {
    let by_name = |counts: std::collections::BTreeMap<CollectionId, u32>| {
        let named = counts
            .into_iter()
            .filter_map(|(id, count)| Some((name(id)?, i32::try_from(count).unwrap_or(i32::MAX))));
        named.collect()
    };
    let capacity = if group.name == DEFAULT_GROUP {
        DEFAULT_CAPACITY
    } else {
        i32::try_from(group.config.requests).unwrap_or(i32::MAX)
    };
    let node = |node: crate::rpc::GroupNode| NodeInfo {
        node_id: node.id.0,
        address: node.address,
        hostname: node.host,
    };
    ResourceGroup {
        name: group.name,
        capacity,
        num_available_node: i32::try_from(group.nodes.len()).unwrap_or(i32::MAX),
        num_loaded_replica: by_name(group.replicas),
        num_outgoing_node: by_name(group.outgoing),
        num_incoming_node: by_name(group.incoming),
        config: Some(config_to_wire(group.config)),
        nodes: group.nodes.into_iter().map(node).collect(),
    }
}

#[cfg(test)]
mod tests {
    use contract::pb::common::KeyValuePair;
    use contract::pb::rg::{
        ResourceGroupConfig, ResourceGroupLimit, ResourceGroupNodeFilter, ResourceGroupTransfer,
    };

    use super::{config, config_to_wire};
    use crate::rpc::GroupConfig;

    #[test]
    fn missing_limits_are_the_requests() {
        let limit = |node_num| Some(ResourceGroupLimit { node_num });
        let of = |requests, limits| {
            config("g", Some(ResourceGroupConfig { requests, limits, ..Default::default() }))
                .map(|config| (config.requests, config.limits))
                .map_err(|error| error.code())
        };

        assert_eq!(config("g", None).unwrap(), GroupConfig::default());
        assert_eq!(of(limit(2), None), Ok((2, 2)));
        assert_eq!(of(limit(2), limit(3)), Ok((2, 3)));
        assert_eq!(of(None, limit(3)), Ok((0, 3)));
        assert_eq!(of(limit(-1), None), Err(303));
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let group = |name: &str| ResourceGroupTransfer { resource_group: name.to_owned() };
        let label = KeyValuePair { key: "zone".to_owned(), value: "a".to_owned() };
        let sent = ResourceGroupConfig {
            requests: Some(ResourceGroupLimit { node_num: 1 }),
            limits: Some(ResourceGroupLimit { node_num: 2 }),
            transfer_from: vec![group("x"), group("y")],
            transfer_to: vec![group("z")],
            node_filter: Some(ResourceGroupNodeFilter { node_labels: vec![label] }),
        };

        assert_eq!(config_to_wire(config("g", Some(sent.clone())).unwrap()), sent);
    }
}
