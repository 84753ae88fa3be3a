//! What a spec wants of the engine.

use std::collections::BTreeSet;

use contract::names;

use super::NodeClaims;
use crate::crd::{Load, MilvusResourceGroup};

/// What a group is to claim. Groups that the engine does not know yet are left out: it refuses to name them, and two groups may
/// name each other.
#[must_use]
pub fn claims(group: &MilvusResourceGroup, known: &BTreeSet<&str>) -> NodeClaims {
    let spec = &group.spec;
    let requests = spec.requests.map_or(0, |count| count.node_num);
    let there =
        |names: &[String]| names.iter().filter(|name| known.contains(name.as_str())).cloned().collect();
    NodeClaims {
        requests,
        limits: spec.limits.map_or(requests.max(group.replicas()), |count| count.node_num),
        transfer_from: there(&spec.transfer_from),
        transfer_to: there(&spec.transfer_to),
        ..NodeClaims::default()
    }
}

/// The group of each copy, sorted; `None` if the spec does not say.
#[must_use]
pub fn placement(load: &Load) -> Option<Vec<String>> {
    let count = |number: i32| usize::try_from(number.max(1)).unwrap_or(1);
    let mut groups = match (load.resource_groups.as_slice(), load.replicas) {
        ([], None) => return None,
        ([], Some(number)) => vec![names::DEFAULT_RESOURCE_GROUP.to_owned(); count(number)],
        ([one], number) => vec![one.clone(); count(number.unwrap_or(1))],
        (each, _) => each.to_vec(),
    };
    groups.sort();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn group(spec: Value) -> MilvusResourceGroup {
        from_value(json!({"metadata": {"name": "gold"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_group_has_room_for_its_own_nodes_and_asks_others_for_none_unless_told() {
        let own = group(json!({"milvus": {"name": "db"}, "replicas": 3}));
        let asking =
            group(json!({"milvus": {"name": "db"}, "requests": {"nodeNum": 2}, "limits": {"nodeNum": 4}}));

        let none = BTreeSet::new();
        assert_eq!(claims(&own, &none), NodeClaims { requests: 0, limits: 3, ..NodeClaims::default() });
        assert_eq!(claims(&asking, &none), NodeClaims { requests: 2, limits: 4, ..NodeClaims::default() });
    }

    #[test]
    fn groups_that_do_not_exist_yet_are_not_named() {
        let group = group(
            json!({"milvus": {"name": "db"}, "transferFrom": ["silver", "iron"], "transferTo": ["iron"]}),
        );

        let claims = claims(&group, &BTreeSet::from(["gold", "silver"]));

        assert_eq!((claims.transfer_from, claims.transfer_to), (vec!["silver".to_owned()], vec![]));
    }

    #[test]
    fn one_group_takes_all_copies_and_several_one_each() {
        let place = |load: Value| placement(&from_value(load).unwrap()).map(|groups| groups.join(" "));

        assert_eq!(place(json!({})), None);
        assert_eq!(place(json!({"state": "Loaded"})), None);
        let default = names::DEFAULT_RESOURCE_GROUP;
        assert_eq!(place(json!({"replicas": 2})), Some(format!("{default} {default}")));
        assert_eq!(place(json!({"resourceGroups": ["gold"]})), Some("gold".into()));
        assert_eq!(place(json!({"replicas": 2, "resourceGroups": ["gold"]})), Some("gold gold".into()));
        assert_eq!(
            place(json!({"resourceGroups": ["silver", "gold", "gold"]})),
            Some("gold gold silver".into())
        );
    }
}
