//! An engine in memory, for tests, with the real one's rules about resource groups; and it can go away.
//!
//! Not modelled: who moves where. A test says which nodes a group has; what is loaded is there at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use contract::names;

use super::{Door, Engine, Error, GROUP_EXISTS, GROUP_ILLEGAL, GROUP_NOT_FOUND};
use crate::crd::GroupNode;
use crate::scaling::LoadReport;
use crate::topology::{EngineCollection, EngineGroup, EngineReplica, Loading, NodeClaims};

/// Code of a call without a token.
const UNAUTHENTICATED: i32 = 16;
/// Code of a wrong parameter.
const BAD_PARAMETER: i32 = 1100;

/// An engine in memory.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<String, EngineGroup>,
    collections: BTreeMap<(String, String), EngineCollection>,
    changes: Vec<String>,
    away: bool,
    load: LoadReport,
    asked: Option<Door>,
    numbers: i64,
}

impl MemoryEngine {
    /// Says which pods are the query nodes of a group, as labels and claims would.
    pub fn set_nodes(&self, group: &str, hosts: &[&str]) {
        let nodes = (1..).zip(hosts).map(|(id, host)| GroupNode { id, host: (*host).to_owned() }).collect();
        self.lock().groups.entry(group.to_owned()).or_default().nodes = nodes;
    }

    /// Makes a collection that is not loaded.
    pub fn add_collection(&self, database: &str, name: &str) {
        let mut state = self.lock();
        state.numbers += 1;
        let collection = EngineCollection { id: state.numbers, ..EngineCollection::default() };
        state.collections.insert((database.to_owned(), name.to_owned()), collection);
    }

    /// Stops or begins to answer.
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// Says how busy it is.
    pub fn set_load(&self, load: LoadReport) {
        self.lock().load = load;
    }

    /// Where it was asked last how busy it is, and how.
    #[must_use]
    pub fn asked(&self) -> Option<Door> {
        self.lock().asked.clone()
    }

    /// All changes so far, in words.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.lock().changes.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.groups.entry(names::DEFAULT_RESOURCE_GROUP.to_owned()).or_default();
        state
    }

    fn call<T>(
        &self,
        attempt: String,
        at: &Door,
        act: impl FnOnce(&mut State) -> Result<T, (i32, String)>,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        if state.away {
            let source = Box::new(std::io::Error::other("connection refused"));
            return Err(Error::Unreachable { attempt, address: at.address.clone(), source });
        }
        act(&mut state).map_err(|(code, text)| Error::Refused { attempt, code, text })
    }
}

impl State {
    fn check(&self, name: &str, claims: &NodeClaims) -> Result<(), (i32, String)> {
        let mut others = claims.transfer_from.iter().chain(&claims.transfer_to);
        match others.find(|other| !self.groups.contains_key(*other)) {
            Some(other) => {
                Err((GROUP_ILLEGAL, format!("resource group illegal config[rg={name}]: {other} not exist")))
            }
            None if claims.limits < claims.requests => {
                Err((GROUP_ILLEGAL, format!("resource group illegal config[rg={name}]: limits")))
            }
            None => Ok(()),
        }
    }

    /// Counts replicas by group anew.
    fn count(&mut self) {
        for group in self.groups.values_mut() {
            group.replicas.clear();
        }
        for ((_, name), collection) in &self.collections {
            for replica in &collection.replicas {
                if let Some(group) = self.groups.get_mut(&replica.group) {
                    *group.replicas.entry(name.clone()).or_default() += 1;
                }
            }
        }
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn groups(&self, at: &Door) -> Result<BTreeMap<String, EngineGroup>, Error> {
        self.call("list resource groups".to_owned(), at, |state| Ok(state.groups.clone()))
    }

    async fn create_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error> {
        self.call(format!("make resource group {name}"), at, |state| {
            match state.groups.get(name) {
                Some(known) if known.claims == *claims => return Ok(()),
                Some(_) => return Err((GROUP_EXISTS, format!("resource group {name} already exist"))),
                None => state.check(name, claims)?,
            }
            state.changes.push(format!("make {name}"));
            let made = EngineGroup { claims: claims.clone(), ..EngineGroup::default() };
            state.groups.insert(name.to_owned(), made);
            Ok(())
        })
    }

    async fn update_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error> {
        self.call(format!("change resource group {name}"), at, |state| {
            state.check(name, claims)?;
            let missing = || (GROUP_NOT_FOUND, format!("resource group not found[rg={name}]"));
            state.groups.get_mut(name).ok_or_else(missing)?.claims = claims.clone();
            state.changes.push(format!("change {name} to {}..{}", claims.requests, claims.limits));
            Ok(())
        })
    }

    async fn drop_group(&self, at: &Door, name: &str) -> Result<(), Error> {
        self.call(format!("drop resource group {name}"), at, |state| {
            let Some(known) = state.groups.get(name) else { return Ok(()) };
            if known.claims.limits != 0 {
                let text = format!("resource group {name}'s limits node num is not 0");
                return Err((GROUP_ILLEGAL, text));
            }
            if !known.replicas.is_empty() {
                return Err((GROUP_ILLEGAL, format!("resource group {name} still holds a replica")));
            }
            state.groups.remove(name);
            state.changes.push(format!("drop {name}"));
            Ok(())
        })
    }

    async fn collection(
        &self,
        at: &Door,
        database: &str,
        name: &str,
    ) -> Result<Option<EngineCollection>, Error> {
        let key = (database.to_owned(), name.to_owned());
        self.call(format!("look at collection {name} of database {database}"), at, |state| {
            Ok(state.collections.get(&key).cloned())
        })
    }

    async fn load(&self, at: &Door, database: &str, name: &str, groups: &[String]) -> Result<(), Error> {
        let key = (database.to_owned(), name.to_owned());
        self.call(format!("load collection {name} of database {database}"), at, |state| {
            if let Some(missing) = groups.iter().find(|group| !state.groups.contains_key(*group)) {
                return Err((GROUP_NOT_FOUND, format!("resource group not found[rg={missing}]")));
            }
            let missing =
                || (super::COLLECTION_NOT_FOUND, format!("collection not found[collection={name}]"));
            let collection = state.collections.get_mut(&key).ok_or_else(missing)?;
            if groups.is_empty() {
                return Err((BAD_PARAMETER, "no replica".to_owned()));
            }
            let mut left = std::mem::take(&mut collection.replicas);
            for (at, group) in (1..).zip(groups) {
                let known = left.iter().position(|replica| replica.group == *group);
                let new = || EngineReplica {
                    id: 100 * collection.id + at,
                    group: group.clone(),
                    partial: false,
                    nodes: vec![at],
                    followed: vec![true],
                };
                let replica = known.map_or_else(new, |known| left.remove(known));
                collection.replicas.push(replica);
            }
            collection.loading = Loading::Done;
            state.changes.push(format!("load {name} in {}", groups.join(", ")));
            state.count();
            Ok(())
        })
    }

    async fn release(&self, at: &Door, database: &str, name: &str) -> Result<(), Error> {
        let key = (database.to_owned(), name.to_owned());
        self.call(format!("release collection {name} of database {database}"), at, |state| {
            if let Some(collection) = state.collections.get_mut(&key) {
                collection.replicas.clear();
                collection.loading = Loading::Not;
                state.changes.push(format!("release {name}"));
                state.count();
            }
            Ok(())
        })
    }

    async fn load_report(&self, at: &Door, token: &str) -> Result<LoadReport, Error> {
        let token = token.to_owned();
        self.lock().asked = Some(at.clone());
        self.call("read the load".to_owned(), at, |state| match token.is_empty() {
            true => Err((UNAUTHENTICATED, "no token".to_owned())),
            false => Ok(state.load.clone()),
        })
    }
}
