//! What a node is told: the difference between what it has seen and what it is to do.

use std::ops::Bound;
use std::time::Duration;

use super::Placer;
use super::collection::Collection;
use super::node::Node;
use crate::base::{CollectionId, NodeId, Timestamp};
use crate::rpc::{Duties, HoldChannel, HoldOrder, OrderNumber, Orders};

/// How long what a read goes by is held for it, once it is known to be under way.
const LONG_READ: Duration = Duration::from_secs(2);

impl Placer {
    /// What is new for a node since it saw `seen`; `None` for nothing, and while this leader still listens.
    #[must_use]
    pub fn orders(&self, node: NodeId, seen: OrderNumber, now: Timestamp, lease: Duration) -> Option<Orders> {
        let known = self.nodes.get(&node).filter(|_| seen.epoch <= self.epoch)?;
        if !self.settled {
            return self.early_news(known, seen, now, lease);
        }
        let proxy = known.info.duties.proxies;
        let missed = seen.number < known.log.floor || (proxy && seen.number < self.news_floor());
        let whole = seen.epoch != self.epoch || missed || seen.number > self.number;
        let since = if whole { 0 } else { seen.number };
        let news = proxy && self.has_news_since(since);
        if !whole && !news && !known.log.changed_since(since) {
            return None;
        }
        let mut orders = Orders {
            number: self.number(),
            whole,
            now,
            lease,
            group: known.group.clone(),
            // Nobody waits for one that is to be emptied to hand over what nobody can take over.
            keep: if whole && known.serves() {
                self.unreadable.keys().copied().collect()
            } else {
                Vec::new()
            },
            ..Orders::default()
        };
        let later = (Bound::Excluded(since), Bound::Unbounded);
        for (_, collection) in known.log.changes.range(later) {
            match self.hold_order(*collection, node) {
                Some(order) => orders.hold.push(order),
                None if whole => {}
                None => orders.release.push(*collection),
            }
        }
        orders.own = (whole || known.log.own > since).then(|| known.owned.values().cloned().collect());
        if proxy && !whole {
            self.tell_news(since, &mut orders);
        }
        Some(orders)
    }

    /// What a proxy must forget that has seen `since`.
    fn tell_news(&self, since: u64, orders: &mut Orders) {
        let later = (Bound::Excluded(since), Bound::Unbounded);
        for collection in self.news.changes.range(later).map(|(_, collection)| *collection) {
            let redefined = self.redefined.last.get(&collection).is_some_and(|number| *number > since);
            let list = if redefined { &mut orders.changed } else { &mut orders.rerouted };
            list.push(collection);
        }
        orders.policy = self.policy > since;
    }

    /// What a proxy hears while this leader still listens: which collections changed since it leads, so that no change of
    /// the catalog has to wait. Routes of an earlier leader go on being used, and nobody is told to hold or own anything.
    fn early_news(&self, known: &Node, seen: OrderNumber, now: Timestamp, lease: Duration) -> Option<Orders> {
        let Duties { proxies, writes, queries, .. } = known.info.duties;
        let since = if seen.epoch == self.epoch { seen.number } else { 0 };
        if !proxies || writes || queries || !self.has_news_since(since) {
            return None;
        }
        let mut orders = Orders { number: self.number(), now, lease, ..Orders::default() };
        self.tell_news(since, &mut orders);
        Some(orders)
    }

    fn hold_order(&self, id: CollectionId, node: NodeId) -> Option<HoldOrder> {
        let collection = self.collections.get(&id)?;
        let holds = collection.holds.get(&node)?;
        let channels = holds.iter().map(|hold| {
            let channel = &collection.channels[hold.channel];
            HoldChannel {
                channel: channel.name.clone(),
                manifest: channel.manifest.clone(),
                segments: hold.segments.clone(),
                growing_from: hold.growing_from,
            }
        });
        Some(HoldOrder { info: collection.info.clone(), channels: channels.collect() })
    }

    /// Makes proxies forget a collection: its place in the catalog changed. Also for one that is gone.
    pub fn changed(&mut self, collection: CollectionId) -> OrderNumber {
        let number = self.next_number();
        self.news.note(collection, number, !self.collections.contains_key(&collection));
        self.redefined.note(collection, number, true);
        self.number()
    }

    /// Makes proxies forget who may do what.
    pub fn policy_changed(&mut self) {
        self.policy = self.next_number();
    }

    /// Whether there is anything that a proxy must forget which has seen `seen`.
    fn has_news_since(&self, seen: u64) -> bool {
        self.news.changed_since(seen) || self.policy > seen
    }

    /// Whether every live proxy has seen that number, and so has forgotten what changed with it.
    #[must_use]
    pub fn proxies_saw(&self, number: OrderNumber) -> bool {
        if !self.settled && !self.has_heard_all() && self.expected.is_some() {
            // Some proxy may still go by what an earlier leader said.
            return false;
        }
        number.epoch < self.epoch && self.seen_by_proxies() >= self.first
            || number.epoch == self.epoch && self.seen_by_proxies() >= number.number
    }

    /// The greatest number that every live proxy has seen. A proxy for which there is nothing new has seen everything.
    pub(super) fn seen_by_proxies(&self) -> u64 {
        let proxies = self.nodes.values().filter(|node| node.info.duties.proxies);
        let seen = proxies.map(|node| match node.seen {
            seen if seen.epoch != self.epoch => 0,
            seen if self.has_news_since(seen.number) || seen.number < self.news_floor() => seen.number,
            _ => self.number,
        });
        seen.min().unwrap_or(self.number)
    }

    /// The greatest number such that no live proxy reads by older routes, as far as it says. A read that takes very long does
    /// not count: it is told when what it reads is not there any more, and begins anew.
    pub(super) fn read_by_proxies(&self) -> u64 {
        let reading = self.nodes.values().filter_map(|node| node.reads_since);
        let reading = reading.filter(|(_, since)| self.now.saturating_sub(*since) < LONG_READ);
        let oldest =
            reading.map(|(orders, _)| if orders.epoch == self.epoch { orders.number } else { 0 }).min();
        self.seen_by_proxies().min(oldest.unwrap_or(u64::MAX))
    }

    /// Proxies that have seen less than this begin anew.
    fn news_floor(&self) -> u64 {
        self.news.floor.max(self.redefined.floor)
    }

    /// Publishes a collection's routes anew.
    pub(super) fn announce(&mut self, id: CollectionId) {
        if let Some(mut collection) = self.collections.remove(&id) {
            self.announce_as(&mut collection);
            self.collections.insert(id, collection);
        }
    }

    /// The same; returns the number by which proxies hear of it.
    pub(super) fn announce_as(&mut self, collection: &mut Collection) -> u64 {
        let number = self.next_number();
        self.version += 1;
        self.news.note(collection.info.id, number, collection.removed);
        let fresh = self.draw_routes(collection);
        if !collection.routes.readable.covers(fresh.readable.partitions()) {
            collection.readable_since = Some(self.number());
        }
        collection.routes = fresh.into();
        number
    }
}
