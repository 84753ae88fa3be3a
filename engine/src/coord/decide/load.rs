//! What is to be held in memory.

use super::Decision;
use crate::base::PartitionId;
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::rpc::{CollectionInfo, CollectionRef, LoadSpec, Refusal};

/// The one resource group of a process that has all duties.
const DEFAULT_GROUP: &str = "__default_resource_group";

/// `nodes` is how many query nodes there are.
pub fn load(
    catalog: &Catalog,
    collection: &CollectionRef,
    partitions: Option<&[String]>,
    replicas: u32,
    resource_groups: &[String],
    nodes: usize,
) -> Decision {
    let old = catalog.collection(collection)?;
    let bare: Vec<&str> = old
        .schema
        .vectors()
        .filter(|field| old.index_on(field.id).is_none())
        .map(|field| field.name.as_str())
        .collect();
    if !bare.is_empty() {
        return Err(Refusal::NoVectorIndex { fields: bare.join(" ") });
    }
    let replicas = replicas.max(1);
    if replicas as usize > nodes {
        return Err(Refusal::TooManyReplicas { wanted: replicas as usize, nodes });
    }
    if let Some(group) = resource_groups.iter().find(|group| *group != DEFAULT_GROUP) {
        return Err(Refusal::ResourceGroupNotFound { group: group.clone() });
    }
    let wanted = partitions.map(|names| ids_of(old, names)).transpose()?;
    let partitions = match (wanted, &old.load) {
        // Everything stays wanted once everything is.
        (None, _) | (Some(_), Some(LoadSpec { partitions: None, .. })) => None,
        (Some(more), Some(LoadSpec { partitions: Some(loaded), .. })) => {
            let mut all = loaded.clone();
            all.extend(more.into_iter().filter(|id| !loaded.contains(id)));
            Some(all)
        }
        (Some(wanted), None) => Some(wanted),
    };
    let load = Some(LoadSpec { partitions, replicas, resource_groups: resource_groups.to_vec() });
    if old.load == load {
        return Ok(Vec::new());
    }
    Ok(vec![Change::PutCollection(CollectionInfo { load, ..CollectionInfo::clone(old) })])
}

pub fn release(catalog: &Catalog, collection: &CollectionRef, partitions: Option<&[String]>) -> Decision {
    let old = catalog.collection(collection)?;
    let released = partitions.map(|names| ids_of(old, names)).transpose()?;
    let Some(load) = &old.load else { return Ok(Vec::new()) };
    let load = released.and_then(|released| {
        let all = || old.partitions.iter().map(|partition| partition.id).collect();
        let mut left: Vec<PartitionId> = load.partitions.clone().unwrap_or_else(all);
        left.retain(|id| !released.contains(id));
        (!left.is_empty()).then(|| LoadSpec { partitions: Some(left), ..load.clone() })
    });
    Ok(vec![Change::PutCollection(CollectionInfo { load, ..CollectionInfo::clone(old) })])
}

fn ids_of(collection: &CollectionInfo, names: &[String]) -> Result<Vec<PartitionId>, Refusal> {
    names
        .iter()
        .map(|name| {
            let not_found = || Refusal::PartitionNotFound { partition: name.clone() };
            collection.partition(name).map(|partition| partition.id).ok_or_else(not_found)
        })
        .collect()
}
