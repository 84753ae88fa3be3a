//! What is to be held in memory.

use std::collections::BTreeMap;

use super::Decision;
use crate::base::{PartitionId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::rpc::{CollectionInfo, CollectionRef, DEFAULT_GROUP, LoadSpec, Refusal, ReplicaSpec};

/// What a load asks for.
pub struct LoadRequest<'a> {
    /// Only these partitions, by name.
    pub partitions: Option<&'a [String]>,
    /// How many copies; at least 1 is meant.
    pub replicas: u32,
    /// None: all in the default group; one: all there; else one for each copy.
    pub groups: &'a [String],
}

/// `nodes` says how many query nodes a group has; `fresh` is the first of as many unused numbers as there are replicas.
pub fn load(
    catalog: &Catalog,
    collection: &CollectionRef,
    asked: &LoadRequest<'_>,
    nodes: impl Fn(&str) -> usize,
    fresh: Timestamp,
) -> Decision {
    let old = catalog.collection(collection)?;
    let bare: Vec<&str> = old
        .schema
        .searched()
        .filter(|field| old.index_on(field.id).is_none())
        .map(|field| field.name.as_str())
        .collect();
    // Milvus asks for the indexes of the collection first, and says so when there is none at all.
    if old.indexes.is_empty() && !bare.is_empty() {
        return Err(Refusal::IndexNotFound { what: format!("collection={}", old.name) });
    }
    if !bare.is_empty() {
        return Err(Refusal::NoVectorIndex { fields: bare.join(" ") });
    }
    let groups = groups_of(catalog, asked, &nodes)?;
    let mut wanted_nodes = BTreeMap::<&str, usize>::new();
    for group in &groups {
        *wanted_nodes.entry(group).or_default() += 1;
    }
    if let Some((&group, &wanted)) =
        wanted_nodes.iter().find(|&(group, &wanted)| wanted > nodes(group).max(1))
    {
        return Err(Refusal::TooManyReplicas { wanted, nodes: nodes(group) });
    }
    let known = old.load.as_ref().map_or(&[][..], |load| &load.replicas);
    let replicas = replicas_of(known, groups, fresh);
    let partitions = asked.partitions;
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
    let load = Some(LoadSpec { partitions, replicas });
    if old.load == load {
        return Ok(Vec::new());
    }
    Ok(vec![Change::PutCollection(CollectionInfo { load, ..CollectionInfo::clone(old) })])
}

/// The group of each copy.
fn groups_of(
    catalog: &Catalog,
    asked: &LoadRequest<'_>,
    nodes: impl Fn(&str) -> usize,
) -> Result<Vec<String>, Refusal> {
    let count = asked.replicas.max(1) as usize;
    // Whatever number is asked for, no list is made that is longer than there are nodes.
    if let Some(group) = match asked.groups {
        [] => Some(DEFAULT_GROUP),
        [one] => Some(one.as_str()),
        _ => None,
    } {
        catalog.group(group)?;
        if count > nodes(group).max(1) {
            return Err(Refusal::TooManyReplicas { wanted: count, nodes: nodes(group) });
        }
    }
    let groups = match asked.groups {
        [] => vec![DEFAULT_GROUP.to_owned(); count],
        [one] => vec![one.clone(); count],
        each => each.to_vec(),
    };
    for group in &groups {
        catalog.group(group)?;
    }
    Ok(groups)
}

/// Copies that are wanted already stay what they are; the rest of them go, and what is missing is new.
fn replicas_of(known: &[ReplicaSpec], groups: Vec<String>, fresh: Timestamp) -> Vec<ReplicaSpec> {
    let mut left = known.to_vec();
    let new = |(number, group): (u64, String)| {
        let place = left.iter().position(|replica| replica.group == group);
        let id = Timestamp(fresh.0 + number).as_id();
        place.map_or(ReplicaSpec { id, group }, |place| left.remove(place))
    };
    (0..).zip(groups).map(new).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_is_made_of_more_copies_than_there_are_nodes() {
        let catalog = Catalog::default();
        let groups = |replicas, groups: &[String]| {
            groups_of(&catalog, &LoadRequest { partitions: None, replicas, groups }, |_| 2)
        };
        let default = DEFAULT_GROUP.to_owned();

        assert_eq!(groups(2, &[]), Ok(vec![default.clone(); 2]));
        for named in [&[][..], &[default]] {
            let wanted = u32::MAX as usize;
            assert_eq!(groups(u32::MAX, named), Err(Refusal::TooManyReplicas { wanted, nodes: 2 }));
        }
    }
}
