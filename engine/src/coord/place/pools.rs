//! How the nodes of a resource group are divided between the replicas of one collection.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::NodeId;

/// A node to be given to one of the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub id: NodeId,
    /// Where it stands, as its labels say; empty if they do not.
    pub zone: String,
    /// Its machine.
    pub host: String,
    /// Decides between nodes that are alike; differs from collection to collection.
    pub draw: u64,
}

/// Divides nodes evenly and disjointly; a replica keeps nodes it has, those with most of its data first.
///
/// - `has`: by replica, the nodes that are its own now and how much of it each has.
/// - returns: by replica in the same order, its nodes, ascending; empty where there are too few.
///
/// Nodes of one zone, then of one host, go to the same replica where that is free of cost, so that the loss of a zone
/// hits few replicas.
pub(super) fn divide(members: &[Member], has: &[BTreeMap<NodeId, usize>]) -> Vec<Vec<NodeId>> {
    let quotas = quotas(members, has);
    let by_id: BTreeMap<_, _> = members.iter().map(|member| (member.id, member)).collect();
    let mut free: BTreeSet<NodeId> = by_id.keys().copied().collect();
    let mut pools: Vec<Vec<NodeId>> = Vec::with_capacity(has.len());
    for (mine, quota) in has.iter().zip(&quotas) {
        let mut kept: Vec<_> = mine.iter().filter(|(id, _)| free.contains(id)).collect();
        kept.sort_by_key(|(id, pieces)| (std::cmp::Reverse(**pieces), **id));
        let pool: Vec<_> = kept.into_iter().take(*quota).map(|(id, _)| *id).collect();
        for id in &pool {
            free.remove(id);
        }
        pools.push(pool);
    }
    for (at, quota) in quotas.iter().enumerate() {
        // The first node decides the zone; with it, one ranking serves for all the others.
        for wave in [1, *quota] {
            let lacking = quota.saturating_sub(pools[at].len());
            if lacking == 0 || (wave == 1 && !pools[at].is_empty()) {
                continue;
            }
            for next in nearest(&free, &by_id, &pools, at).into_iter().take(lacking.min(wave)) {
                free.remove(&next);
                pools[at].push(next);
            }
        }
        pools[at].sort_unstable();
    }
    pools
}

/// How many nodes each replica gets; the larger parts go to those that have more already.
fn quotas(members: &[Member], has: &[BTreeMap<NodeId, usize>]) -> Vec<usize> {
    let replicas = has.len().max(1);
    let (part, larger) = (members.len() / replicas, members.len() % replicas);
    let present: BTreeSet<_> = members.iter().map(|member| member.id).collect();
    let mut order: Vec<_> = (0..has.len()).collect();
    order.sort_by_key(|at| {
        let size = has[*at].keys().filter(|id| present.contains(id)).count();
        (std::cmp::Reverse(size), *at)
    });
    let mut quotas = vec![part; has.len()];
    for at in order.into_iter().take(larger) {
        quotas[at] += 1;
    }
    quotas
}

/// The free nodes, best suited first: of the replica's own zones and hosts, and of no other replica's.
fn nearest(
    free: &BTreeSet<NodeId>,
    by_id: &BTreeMap<NodeId, &Member>,
    pools: &[Vec<NodeId>],
    at: usize,
) -> Vec<NodeId> {
    let known = |id: &NodeId| by_id.get(id).copied();
    let own: Vec<_> = pools[at].iter().filter_map(known).collect();
    let others: Vec<_> = pools
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != at)
        .flat_map(|(_, pool)| pool)
        .filter_map(known)
        .collect();
    let own_zones: BTreeSet<_> = own.iter().map(|member| &member.zone).collect();
    let own_hosts: BTreeSet<_> = own.iter().map(|member| &member.host).collect();
    let other_zones: BTreeSet<_> = others.iter().map(|member| &member.zone).collect();
    let other_hosts: BTreeSet<_> = others.iter().map(|member| &member.host).collect();
    let candidates = free.iter().filter_map(known);
    let cost = |member: &&Member| {
        (
            !own_zones.contains(&member.zone),
            other_zones.contains(&member.zone),
            !own_hosts.contains(&member.host),
            other_hosts.contains(&member.host),
            member.draw,
            member.id,
        )
    };
    let mut ranking: Vec<_> = candidates.collect();
    ranking.sort_by_cached_key(|member| cost(member));
    ranking.into_iter().map(|member| member.id).collect()
}
