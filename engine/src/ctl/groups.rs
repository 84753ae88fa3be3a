//! Commands about resource groups.

use contract::admin as pb;

use super::arguments::{GroupConfig, Groups};
use super::calls::{Page, answered};
use super::{Client, Error};

/// Does what `command` says.
///
/// # Errors
/// What the process at the other end refuses, and answers that cannot be written down.
pub(super) async fn make(mut client: Client, command: Groups, page: &mut Page<'_>) -> Result<(), Error> {
    match command {
        Groups::List => {
            page.show(&answered(client.list_resource_groups(pb::ListResourceGroupsRequest {}).await)?)
        }
        Groups::Create { name, config } => {
            let done = format!("resource group {name} is there");
            let request = pb::CreateResourceGroupRequest { name, config: Some(of(config)) };
            answered(client.create_resource_group(request).await)?;
            page.done(&done)
        }
        Groups::Update { name, config } => {
            let done = format!("resource group {name} is changed");
            let request = pb::UpdateResourceGroupsRequest { configs: [(name, of(config))].into() };
            answered(client.update_resource_groups(request).await)?;
            page.done(&done)
        }
        Groups::Drop { name } => {
            let done = format!("resource group {name} is gone");
            answered(client.drop_resource_group(pb::DropResourceGroupRequest { name }).await)?;
            page.done(&done)
        }
        Groups::TransferNodes { from, to, count } => {
            let done = format!("the claim on {count} query nodes moved from {from} to {to}");
            answered(client.transfer_nodes(pb::TransferNodesRequest { from, to, count }).await)?;
            page.done(&done)
        }
        Groups::TransferReplicas { collection, from, to, database, count } => {
            let done = format!("{count} replicas of {collection} move from {from} to {to}");
            let request = pb::TransferReplicasRequest { from, to, database, collection, count };
            answered(client.transfer_replicas(request).await)?;
            page.done(&done)
        }
    }
}

fn of(config: GroupConfig) -> pb::ResourceGroupConfig {
    let GroupConfig { requests, limits, transfer_from, transfer_to, node_filter } = config;
    let node_filter = node_filter.into_iter().collect();
    pb::ResourceGroupConfig { requests, limits, transfer_from, transfer_to, node_filter }
}
