//! Resource groups: what they ask for, and which of them a replica is in.

use std::collections::BTreeMap;

use super::Decision;
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::rpc::{CollectionInfo, CollectionRef, DEFAULT_GROUP, GroupConfig, Refusal};

pub fn create_group(catalog: &Catalog, limit: usize, name: &str, config: GroupConfig) -> Decision {
    match catalog.group(name) {
        Ok(known) if known == config => return Ok(Vec::new()),
        Ok(_) => return Err(Refusal::GroupExists { group: name.to_owned() }),
        Err(_) => {}
    }
    if catalog.groups.len() >= limit {
        return Err(Refusal::TooManyGroups { limit });
    }
    check(catalog, name, &config, &BTreeMap::new())?;
    Ok(vec![Change::PutGroup { name: name.to_owned(), config }])
}

/// A group goes only when nothing asks for it any more.
pub fn drop_group(catalog: &Catalog, name: &str) -> Decision {
    if name == DEFAULT_GROUP {
        return Err(bad("default resource group is not deletable".to_owned()));
    }
    let Some(config) = catalog.groups.get(name) else { return Ok(Vec::new()) };
    if config.limits != 0 {
        let text = format!("resource group {name}'s limits node num is not 0");
        return Err(bad(format!("{text}, please set it to 0 before it is dropped")));
    }
    let names = |list: &[String]| list.iter().any(|known| known == name);
    if let Some((other, _)) =
        catalog.groups.iter().find(|(_, other)| names(&other.transfer_from) || names(&other.transfer_to))
    {
        return Err(bad(format!("resource group {name} is used by {other} to transfer nodes")));
    }
    let placed = |info: &CollectionInfo| {
        info.load.as_ref().is_some_and(|load| load.replicas.iter().any(|replica| replica.group == name))
    };
    if let Some(info) = catalog.collections.values().find(|info| placed(info)) {
        return Err(bad(format!("resource group {name} still holds a replica of collection {}", info.name)));
    }
    Ok(vec![Change::RemoveGroup(name.to_owned())])
}

pub fn update_groups(catalog: &Catalog, configs: &[(String, GroupConfig)]) -> Decision {
    let new: BTreeMap<&str, &GroupConfig> =
        configs.iter().map(|(name, config)| (name.as_str(), config)).collect();
    for (name, config) in configs {
        catalog.group(name)?;
        check(catalog, name, config, &new)?;
    }
    Ok(configs
        .iter()
        .map(|(name, config)| Change::PutGroup { name: name.clone(), config: config.clone() })
        .collect())
}

/// Moves the claim on nodes; the nodes follow their claims. `nodes` is how many `from` has now.
pub fn transfer_nodes(catalog: &Catalog, from: &str, to: &str, count: u32, nodes: usize) -> Decision {
    if from == to {
        let text = format!(
            "source resource group and target resource group should not be the same, resource group: {from}"
        );
        return Err(Refusal::BadParameter { text });
    }
    if count == 0 {
        let text = format!("transfer node num can't be [{count}]");
        return Err(Refusal::BadParameter { text });
    }
    let (mut source, mut target) = (catalog.group(from)?, catalog.group(to)?);
    if (count as usize) > nodes {
        let (group, expected) = (from.to_owned(), count as usize);
        return Err(Refusal::GroupTooSmall { group, current: nodes, expected });
    }
    source.requests = source.requests.saturating_sub(count);
    if from != DEFAULT_GROUP {
        source.limits = source.limits.saturating_sub(count).max(source.requests);
    }
    target.requests += count;
    target.limits = target.limits.max(target.requests);
    Ok(vec![
        Change::PutGroup { name: from.to_owned(), config: source },
        Change::PutGroup { name: to.to_owned(), config: target },
    ])
}

pub fn transfer_replicas(
    catalog: &Catalog,
    from: &str,
    to: &str,
    collection: &CollectionRef,
    count: u32,
) -> Decision {
    catalog.group(from)?;
    catalog.group(to)?;
    if from == to {
        let text = format!(
            "source resource group and target resource group should not be the same, resource group: {from}"
        );
        return Err(Refusal::BadParameter { text });
    }
    if count == 0 {
        return Err(Refusal::BadParameter { text: "transfer replica num can't be [0]".to_owned() });
    }
    let mut new = CollectionInfo::clone(catalog.collection(collection)?);
    let name = new.name.clone();
    let not_loaded = || Refusal::CollectionNotLoaded { collection: name.clone() };
    let load = new.load.as_mut().ok_or_else(not_loaded)?;
    let found = load.replicas.iter().filter(|replica| replica.group == from).count();
    if found < count as usize {
        let text = format!(
            "only found [{found}] replicas of collection [{name}] in source resource group [{from}], but {count} require"
        );
        return Err(Refusal::BadParameter { text });
    }
    let moved = load.replicas.iter_mut().filter(|replica| replica.group == from).take(count as usize);
    moved.for_each(|replica| to.clone_into(&mut replica.group));
    Ok(vec![Change::PutCollection(new)])
}

/// Refuses a configuration that contradicts itself or names groups that neither exist nor are in `new`.
fn check(
    catalog: &Catalog,
    name: &str,
    config: &GroupConfig,
    new: &BTreeMap<&str, &GroupConfig>,
) -> Result<(), Refusal> {
    let illegal = |what: String| bad(format!("resource group illegal config[rg={name}]: {what}"));
    if config.limits < config.requests {
        return Err(illegal("limits node num should not less than requests node num".to_owned()));
    }
    for (list, others) in [("transfer_from", &config.transfer_from), ("transfer_to", &config.transfer_to)] {
        for other in others {
            if other == name {
                return Err(illegal(format!("resource group in `{list}` {other} should not be itself")));
            }
            if catalog.group(other).is_err() && !new.contains_key(other.as_str()) {
                return Err(illegal(format!("resource group in `{list}` {other} not exist")));
            }
        }
    }
    Ok(())
}

fn bad(text: String) -> Refusal {
    Refusal::BadGroup { text }
}

#[cfg(test)]
mod tests {
    use super::{create_group, drop_group, transfer_nodes};
    use crate::coord::catalog::Catalog;
    use crate::coord::change::Change;
    use crate::rpc::{DEFAULT_GROUP, GroupConfig, Refusal};

    fn asking(requests: u32, limits: u32) -> GroupConfig {
        GroupConfig { requests, limits, ..GroupConfig::default() }
    }

    fn catalog(groups: &[(&str, GroupConfig)]) -> Catalog {
        let mut catalog = Catalog::default();
        for (name, config) in groups {
            catalog.apply(Change::PutGroup { name: (*name).to_owned(), config: config.clone() });
        }
        catalog
    }

    #[test]
    fn a_group_is_made_once_and_not_changed_by_making_it_again() {
        let catalog = catalog(&[("gold", asking(1, 2))]);

        let same = create_group(&catalog, 10, "gold", asking(1, 2));
        let other = create_group(&catalog, 10, "gold", asking(2, 2));

        assert_eq!(same, Ok(Vec::new()));
        assert_eq!(other, Err(Refusal::GroupExists { group: "gold".to_owned() }));
    }

    #[test]
    fn a_group_that_asks_for_nodes_is_not_dropped() {
        let catalog = catalog(&[("gold", asking(0, 2)), ("idle", asking(0, 0))]);

        assert!(matches!(drop_group(&catalog, "gold"), Err(Refusal::BadGroup { .. })));
        assert!(matches!(drop_group(&catalog, DEFAULT_GROUP), Err(Refusal::BadGroup { .. })));
        assert_eq!(drop_group(&catalog, "idle"), Ok(vec![Change::RemoveGroup("idle".to_owned())]));
        assert_eq!(drop_group(&catalog, "gone"), Ok(Vec::new()));
    }

    #[test]
    fn the_claim_on_nodes_moves_from_group_to_group() {
        let catalog = catalog(&[("gold", asking(0, 0))]);

        let moved = transfer_nodes(&catalog, DEFAULT_GROUP, "gold", 2, 3);
        let too_many = transfer_nodes(&catalog, DEFAULT_GROUP, "gold", 4, 3);

        let put = |name: &str, config| Change::PutGroup { name: name.to_owned(), config };
        assert_eq!(moved, Ok(vec![put(DEFAULT_GROUP, asking(0, 1_000_000)), put("gold", asking(2, 2))]));
        let refused = Refusal::GroupTooSmall { group: DEFAULT_GROUP.to_owned(), current: 3, expected: 4 };
        assert_eq!(too_many, Err(refused));
    }
}
