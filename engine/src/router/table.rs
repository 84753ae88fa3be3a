//! A table of what was asked for, where one answer serves all who wait for it, and where an answer that was on its way
//! when its subject changed is never kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, Shared};

use crate::rpc::Error;

/// Keys beyond which those of which nothing is known are given up.
const MANY: usize = 4096;

/// A question under way; whoever waits drives it, and it is over when nobody does.
pub type Fetch<T> = Shared<BoxFuture<'static, Result<Arc<T>, Error>>>;

/// What is known under one key.
#[derive(Debug)]
struct Slot<T> {
    /// The newest good answer, unless it was forgotten.
    known: Option<Arc<T>>,
    /// The last good answer, forgotten or not.
    last: Option<Arc<T>>,
    /// The question under way, with its number.
    coming: Option<(u64, Fetch<T>)>,
    /// Whether somebody has looked at it since it was last left alone.
    in_use: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { known: None, last: None, coming: None, in_use: false }
    }
}

/// What a look into the table found.
pub enum Found<T> {
    /// The answer.
    Known(Arc<T>),
    /// The answer will come; it is to be settled under this number.
    Coming(u64, Fetch<T>),
}

/// Answers by key. Failures are not kept.
#[derive(Debug)]
pub struct Table<K, T> {
    slots: HashMap<K, Slot<T>>,
    fetches: u64,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { slots: HashMap::new(), fetches: 0 }
    }
}

impl<K: Hash + Eq + Clone, T: Send + Sync + 'static> Table<K, T> {
    /// The answer under `key`; `ask` makes the question if it has to be asked. An answer that `is_good` does not take is
    /// asked for anew, and kept until the new one is there.
    pub fn look<F>(&mut self, key: &K, is_good: impl Fn(&T) -> bool, ask: F) -> Found<T>
    where
        F: FnOnce() -> BoxFuture<'static, Result<Arc<T>, Error>>,
    {
        let slot = self.slots.entry(key.clone()).or_default();
        slot.in_use = true;
        if let Some(known) = slot.known.as_ref().filter(|known| is_good(known)) {
            return Found::Known(Arc::clone(known));
        }
        if let Some((number, fetch)) = &slot.coming {
            return Found::Coming(*number, fetch.clone());
        }
        self.fetches += 1;
        let fetch = ask().shared();
        slot.coming = Some((self.fetches, fetch.clone()));
        Found::Coming(self.fetches, fetch)
    }

    /// The answer to question `number` has come. Whether it is kept: not if it is a failure or was forgotten meanwhile.
    pub fn settle(&mut self, key: &K, number: u64, answer: &Result<Arc<T>, Error>) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        if slot.coming.as_ref().is_none_or(|(current, _)| *current != number) {
            return false;
        }
        slot.coming = None;
        match answer {
            Ok(value) => {
                slot.known = Some(Arc::clone(value));
                slot.last = Some(Arc::clone(value));
                true
            }
            Err(Error::Refused(_)) => {
                // It is not there any more.
                self.slots.remove(key);
                false
            }
            Err(_) => {
                if slot.known.is_none() && slot.last.is_none() {
                    self.slots.remove(key);
                }
                false
            }
        }
    }

    /// The last good answer under `key`, even if it was forgotten.
    pub fn last(&self, key: &K) -> Option<Arc<T>> {
        self.slots.get(key)?.last.clone()
    }

    /// What is known under `key`.
    pub fn known(&self, key: &K) -> Option<&Arc<T>> {
        self.slots.get(key)?.known.as_ref()
    }

    /// Everything that is known.
    pub fn all_known(&self) -> impl Iterator<Item = &Arc<T>> {
        self.slots.values().filter_map(|slot| slot.known.as_ref())
    }

    /// Puts in an answer that was found another way, unless there is one or one is coming.
    pub fn add(&mut self, key: K, value: &Arc<T>) {
        let slot = self.slots.entry(key).or_default();
        if slot.known.is_none() && slot.coming.is_none() {
            slot.known = Some(Arc::clone(value));
            slot.last = Some(Arc::clone(value));
        }
    }

    /// Whether somebody has looked under `key` since [`Self::leave`].
    pub fn is_in_use(&self, key: &K) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.in_use)
    }

    /// `key` is in use only once somebody looks there again.
    pub fn leave(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.in_use = false;
        }
    }

    /// Forgets what is known under `key`, and does not keep what is coming; the last answer stays for want of a better.
    pub fn forget(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.known = None;
            slot.coming = None;
        }
        if self.slots.len() > MANY {
            self.slots.retain(|_, slot| slot.known.is_some() || slot.coming.is_some());
        }
    }

    /// As [`Self::forget`], for everything.
    pub fn forget_all(&mut self) {
        for slot in self.slots.values_mut() {
            slot.known = None;
            slot.coming = None;
        }
    }

    /// As if nothing had ever been asked about `key`.
    pub fn remove(&mut self, key: &K) {
        self.slots.remove(key);
    }

    /// As if nothing had ever been asked.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Drops every answer that `goes`, and does not keep anything that is coming: what it is about is not known yet.
    pub fn drop_where(&mut self, goes: impl Fn(&K, &T) -> bool) {
        self.slots.retain(|key, slot| {
            slot.coming = None;
            slot.known.as_ref().is_some_and(|known| !goes(key, known))
        });
    }
}
