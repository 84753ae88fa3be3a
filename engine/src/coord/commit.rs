//! Makes decisions durable: objects that no record could hold first, then one transaction that expects the epoch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::MutexGuard;

use crate::base::{ChannelName, CollectionId, Kind, Kinded as _, Timestamp};
use crate::coord::catalog::{Catalog, Garbage};
use crate::coord::change::Change;
use crate::coord::decide::{self, Decision};
use crate::coord::drive::{Coordinator, HEARD_WITHIN};
use crate::coord::lead::{self, EPOCH, TURN};
use crate::coord::stored::{self, Arranged, INLINE, Stored};
use crate::coord::{Error, record, terms};
use crate::meta::{self, Txn};
use crate::rpc::{self, OrderNumber};

/// Attempts to store objects while others commit; then the others wait.
const PATIENCE: usize = 3;
/// How long replaced manifests stay, for who has just read the record that named them.
const GRACE_MS: u64 = 60_000;

/// Changes whose objects are stored.
struct Ready {
    /// As they are to be committed.
    changes: Vec<Change>,
    /// The new objects.
    objects: Vec<String>,
    /// What the objects were made against: they are of use only as long as it is so.
    basis: Vec<(ChannelName, Option<Stored>)>,
    /// The first number in the objects' names.
    number: Timestamp,
}

impl Coordinator {
    /// Decides on the catalog as it is, commits, and says what was decided on in an error. Returns once all proxies
    /// have heard of it.
    ///
    /// `decide` may be asked more than once.
    pub(super) async fn change(
        &self,
        call: &'static str,
        decide: impl FnMut(&Catalog) -> Decision + Send,
    ) -> Result<(), rpc::Error> {
        let settled = self.settle(decide).await.map_err(|error| error.answer(call))?;
        let number = settled?;
        // While the bucket is away, what it does not have yet is only less safe.
        let ((), _late) = tokio::join!(self.heard(number), self.mirrored_within(HEARD_WITHIN));
        Ok(())
    }

    /// Decides on the catalog as it is, and commits. Returns the number of the orders that tell the nodes, or what the
    /// decision said instead.
    ///
    /// Objects are stored without keeping others from committing: `decide` is asked before and after, and what it said
    /// before counts if it says so again. While the catalog is sealed, this waits.
    pub(super) async fn settle<E: Send>(
        &self,
        mut decide: impl FnMut(&Catalog) -> Result<Vec<Change>, E> + Send,
    ) -> Result<Result<OrderNumber, E>, Error> {
        let mut attempt = 0;
        loop {
            let first = self.writable().await;
            let decided = match decide(&self.catalog.read()) {
                Ok(decided) => decided,
                Err(refused) => return Ok(Err(refused)),
            };
            if !self.needs_objects(&decided) {
                return self.commit(decided).await.map(Ok);
            }
            drop(first);
            let number = self.timestamps(decided.len() as u32 + 3).await?;
            attempt += 1;
            let (_one_at_a_time, ready) = if attempt > PATIENCE {
                let lock = self.writing.lock().await;
                (lock, self.prepare(&decided, number).await?)
            } else {
                let ready = self.prepare(&decided, number).await?;
                (self.writing.lock().await, ready)
            };
            let again = decide(&self.catalog.read());
            if again.as_ref().is_ok_and(|again| *again == decided) && self.is_usable(&ready) {
                let committed = self.commit(ready.changes).await;
                if matches!(committed, Err(Error::Deposed | Error::NotRenewed)) {
                    self.shelf.discard(&ready.objects).await;
                }
                return committed.map(Ok);
            }
            self.shelf.discard(&ready.objects).await;
            if let Err(refused) = again {
                return Ok(Err(refused));
            }
        }
    }

    /// The right to change the catalog. While it is sealed, this waits.
    pub(super) async fn writable(&self) -> MutexGuard<'_, ()> {
        loop {
            let held = self.writing.lock().await;
            if !self.mirror.is_sealed() {
                return held;
            }
            drop(held);
            self.mirror.unsealed().await;
        }
    }

    fn needs_objects(&self, changes: &[Change]) -> bool {
        let catalog = self.catalog.read();
        changes.iter().any(|change| match change {
            Change::PutManifest { channel, manifest, .. } => {
                catalog.stored.contains_key(channel) || !stored::is_small(manifest)
            }
            Change::PutGarbage(garbage) => !is_small(garbage),
            _ => false,
        })
    }

    /// Whether stored objects still fit, and are not so old that a sweep may take them for orphans.
    fn is_usable(&self, ready: &Ready) -> bool {
        let catalog = self.catalog.read();
        let is_current = |(channel, stored): &(ChannelName, Option<Stored>)| {
            catalog.stored.get(channel) == stored.as_ref()
        };
        ready.basis.iter().all(is_current)
            && !self.mirror.is_sealed()
            && self.timestamps_now().minus_ms(decide::TAKEN_FOR_MS) < ready.number
    }

    /// Stores what no record can hold. Of the numbers from `number` on, three more than there are changes are unused.
    async fn prepare(&self, decided: &[Change], number: Timestamp) -> Result<Ready, Error> {
        let mut ready = Ready { changes: Vec::new(), objects: Vec::new(), basis: Vec::new(), number };
        let mut replaced = Vec::new();
        let stored = async {
            for change in decided {
                let change = self.prepare_manifest(change, &mut ready, &mut replaced).await?;
                ready.changes.push(change);
            }
            if !replaced.is_empty() {
                ready.changes.push(Change::PutGarbage(Garbage {
                    id: number.next().as_id(),
                    objects: std::mem::take(&mut replaced),
                    not_before_unix_ms: self.parts.clock.unix_ms() + GRACE_MS,
                    ..Garbage::default()
                }));
            }
            for (change, at) in ready.changes.iter_mut().zip(2..) {
                let Change::PutGarbage(garbage) = change else { continue };
                if is_small(garbage) {
                    continue;
                }
                let body = stored::seal(garbage)?;
                let list = Timestamp(number.0 + at).as_id();
                let key = stored::garbage_key(list);
                garbage.list = Some(stored::piece_of(list, &body));
                ready.objects.push(key.clone());
                self.shelf.put(&key, body).await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = stored.await {
            self.shelf.discard(&ready.objects).await;
            return Err(error);
        }
        Ok(ready)
    }

    /// Stores a manifest, if the change is one that needs an object; notes what nobody will name any more.
    async fn prepare_manifest(
        &self,
        change: &Change,
        ready: &mut Ready,
        replaced: &mut Vec<String>,
    ) -> Result<Change, Error> {
        let Change::PutManifest { collection, shard, channel, manifest } = change else {
            return Ok(change.clone());
        };
        let (old, before) = {
            let catalog = self.catalog.read();
            let old = catalog.manifests.get(collection).and_then(|all| all.get(*shard)).cloned();
            (old, catalog.stored.get(channel).cloned())
        };
        let known = old.as_deref().zip(before.as_ref());
        let arranged = stored::arrange(known, manifest, ready.number.as_id())?;
        let before_keys: Vec<String> =
            before.iter().flat_map(|stored| stored.keys(*collection, channel)).collect();
        ready.basis.push((channel.clone(), before));
        let Arranged::Object { stored, body } = arranged else {
            replaced.extend(before_keys);
            return Ok(change.clone());
        };
        let key = stored::manifest_key(*collection, channel, ready.number.as_id());
        ready.objects.push(key.clone());
        self.shelf.put(&key, body).await?;
        let kept: BTreeSet<String> = stored.keys(*collection, channel).collect();
        replaced.extend(before_keys.into_iter().filter(|key| !kept.contains(key)));
        let (collection, shard, channel, manifest) = (*collection, *shard, channel.clone(), manifest.clone());
        Ok(Change::PutStored { collection, shard, channel, manifest, stored })
    }

    /// Does a transaction if this coordinator still leads; the caller holds the writing lock.
    ///
    /// While it is open whether an earlier one happened, none is begun: it would be decided on what may be old, and put that
    /// in the place of what is stored.
    pub(super) async fn commit_txn(&self, txn: Txn) -> Result<u64, Error> {
        self.check_lead()?;
        if self.is_unsure() {
            return Err(Error::NotRenewed);
        }
        let writes = txn.writes.clone();
        let (version, number) = {
            let mut turn = self.turn.lock();
            turn.count += 1;
            (turn.version, turn.count)
        };
        let txn = txn.expect_version(EPOCH, self.epoch).expect_version(TURN, version);
        let txn = txn.mark(TURN, lead::mark_of(self.epoch, number));
        let open = Open { coordinator: self, is_open: true };
        let committed = self.parts.metas.commit(txn).await;
        match committed {
            Ok(version) => {
                self.turn.lock().version = version;
                self.mirror.note(&writes);
                open.known();
                Ok(version)
            }
            // One of its own that it does not know of: the epoch is looked at first.
            Err(meta::Error::Conflict { key }) if key == TURN => Err(Error::NotRenewed),
            Err(source) => {
                let error = Error::of_commit(source);
                if matches!(error, Error::Deposed) {
                    self.deposed.cancel();
                }
                if matches!(error.kind(), Kind::Invalid | Kind::Fenced) {
                    open.known();
                }
                Err(error)
            }
        }
    }

    /// Whether a commit may have happened that this coordinator does not know of: nothing is to be removed then, and the
    /// catalog is to be read again.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Acquire)
    }

    /// Makes changes durable and then takes them over; the caller holds the writing lock. Returns the number of the
    /// orders that tell the nodes.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<OrderNumber, Error> {
        if changes.is_empty() {
            return Ok(OrderNumber::default());
        }
        let mut txn = Txn::new();
        for change in &changes {
            txn = record::write(txn, self.format.load(Ordering::Acquire), change)?;
        }
        // With a collection, the terms by which its channels are opened first: then that needs no other commit.
        let made = self.made_channels(&changes);
        let term = self.term(self.commit_txn(terms::make(txn, &made)).await?);
        let touched: BTreeSet<CollectionId> = changes.iter().filter_map(collection_of).collect();
        let redefined: BTreeSet<CollectionId> =
            changes.iter().filter(|one| is_definition(one)).filter_map(collection_of).collect();
        let groups =
            changes.iter().any(|one| matches!(one, Change::PutGroup { .. } | Change::RemoveGroup(_)));
        let policy = changes.iter().any(is_of_policy);
        let number = {
            let mut catalog = self.catalog.write();
            for change in changes {
                catalog.apply(change);
            }
            // Under the catalog's lock, so that the placer hears of changes in their order.
            self.place(|placer, now| {
                if groups {
                    placer.put_groups(catalog.groups.clone(), now);
                }
                for id in touched {
                    match catalog.collections.get(&id) {
                        Some(info) => {
                            let manifests = catalog.manifests.get(&id).cloned().unwrap_or_default();
                            placer.put_collection(Arc::clone(info), manifests, now);
                        }
                        None => placer.remove_collection(id, now),
                    }
                }
                made.iter().for_each(|channel| placer.keep_term(channel, term, now));
                for id in redefined {
                    placer.changed(id);
                }
                if policy {
                    placer.policy_changed();
                }
                placer.number()
            })
        };
        self.wake.notify_one();
        Ok(number)
    }

    /// The channels of collections that these changes make; not more than go into a transaction.
    fn made_channels(&self, changes: &[Change]) -> Vec<ChannelName> {
        let catalog = self.catalog.read();
        let made = changes.iter().filter_map(|change| match change {
            Change::PutCollection(info) if !catalog.collections.contains_key(&info.id) => {
                Some(&info.channels)
            }
            _ => None,
        });
        made.flatten().take(terms::AT_ONCE).cloned().collect()
    }
}

/// A commit whose outcome is not known. If that is so at its end, also because nobody waits for it any more, what is stored is
/// not known again before it is read again.
struct Open<'a> {
    coordinator: &'a Coordinator,
    is_open: bool,
}

impl Open<'_> {
    /// It is known how it ended.
    fn known(mut self) {
        self.is_open = false;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.coordinator.unsure.store(true, Ordering::Release);
            self.coordinator.doubted.notify_one();
        }
    }
}

/// Whether a piece of garbage stays in its record.
fn is_small(garbage: &Garbage) -> bool {
    let bytes: usize = garbage.objects.iter().map(|key| key.len() + 3).sum();
    bytes + 24 * garbage.segments.len() <= INLINE
}

/// Whether proxies must forget what they know of the collection that a change is about, and not only its routes.
const fn is_definition(change: &Change) -> bool {
    matches!(change, Change::PutCollection(_) | Change::RemoveCollection(_))
}

/// Whether proxies must forget who may do what.
const fn is_of_policy(change: &Change) -> bool {
    matches!(
        change,
        Change::PutUser { .. }
            | Change::RemoveUser(_)
            | Change::PutRole { .. }
            | Change::RemoveRole(_)
            | Change::PutPrivileges { .. }
            | Change::RemovePrivileges(_)
    )
}

/// The collection that a change is about.
fn collection_of(change: &Change) -> Option<CollectionId> {
    match change {
        Change::PutCollection(info) | Change::RemoveCollection(info) => Some(info.id),
        Change::PutManifest { collection, .. } | Change::PutStored { collection, .. } => Some(*collection),
        _ => None,
    }
}
