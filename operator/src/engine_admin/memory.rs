//! An engine in memory, for tests, with the real one's rules about resource groups, indexes and aliases; and it can go away.
//!
//! Not modelled: who moves where. A test says which nodes a group has; what is loaded is there at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use contract::names;

use super::{
    ALIAS_NOT_FOUND, AliasChange, Door, Engine, Error, GROUP_EXISTS, GROUP_ILLEGAL, GROUP_NOT_FOUND, Target,
};
use crate::crd::GroupNode;
use crate::rollout::Calls;
use crate::scaling::LoadReport;
use crate::topology::{
    EngineAlias, EngineCollection, EngineGroup, EngineIndex, EngineReplica, Loading, NewCollection,
    NodeClaims,
};

/// Code of an alias that is a collection's name.
const ALIAS_IS_COLLECTION: i32 = 1601;
/// Code of an alias that leads elsewhere.
const ALIAS_TAKEN: i32 = 1602;
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
    calls: BTreeMap<String, Calls>,
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
        self.put_collection(
            database,
            EngineCollection { name: name.to_owned(), ..EngineCollection::default() },
        );
    }

    /// Makes a collection, which gets a number of its own.
    pub fn put_collection(&self, database: &str, collection: EngineCollection) {
        let mut state = self.lock();
        state.numbers += 1;
        let key = (database.to_owned(), collection.name.clone());
        let collection = EngineCollection { id: state.numbers, ..collection };
        state.collections.insert(key, collection);
    }

    /// A collection as it is now.
    #[must_use]
    pub fn shown(&self, database: &str, name: &str) -> Option<EngineCollection> {
        self.lock().collections.get(&(database.to_owned(), name.to_owned())).cloned()
    }

    /// Stops or begins to answer.
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// Says how busy it is.
    pub fn set_load(&self, load: LoadReport) {
        self.lock().load = load;
    }

    /// Says how many requests have ended at the process of this address; none at one that is not named.
    pub fn set_calls(&self, address: &str, calls: Calls) {
        self.lock().calls.insert(address.to_owned(), calls);
    }

    /// Where it was asked last, and how.
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
        state.asked = Some(at.clone());
        if state.away {
            let source = Box::new(std::io::Error::other("connection refused"));
            return Err(Error::Unreachable { attempt, address: at.address.clone(), source });
        }
        act(&mut state).map_err(|(code, text)| Error::Refused { attempt, code, text })
    }
}

/// What is attempted with a collection.
fn about(of: Target<'_>, what: &str) -> String {
    format!("{what} collection {} of database {}", of.name, of.database)
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

    /// The collection that a name or an alias means.
    fn named(&mut self, database: &str, name: &str) -> Result<&mut EngineCollection, (i32, String)> {
        let of = |(within, own): &(String, String), found: &EngineCollection| {
            within == database && (own == name || found.aliases.iter().any(|alias| alias == name))
        };
        let found = self.collections.iter_mut().find(|(key, found)| of(key, found));
        let missing = || (super::COLLECTION_NOT_FOUND, format!("collection not found[collection={name}]"));
        found.map(|(_, found)| found).ok_or_else(missing)
    }

    fn change_alias(
        &mut self,
        of: Target<'_>,
        alias: &str,
        change: AliasChange,
    ) -> Result<(), (i32, String)> {
        let holder = self.collections.iter().find_map(|((database, own), found)| {
            let holds = database == of.database && found.aliases.iter().any(|known| known == alias);
            holds.then(|| own.clone())
        });
        if self.collections.contains_key(&(of.database.to_owned(), alias.to_owned())) {
            return Err((ALIAS_IS_COLLECTION, format!("alias and collection name conflict[alias={alias}]")));
        }
        match (change, &holder) {
            (AliasChange::Create, Some(holder)) if holder != of.name => {
                return Err((ALIAS_TAKEN, format!("{alias} is alias to another collection: {holder}")));
            }
            (AliasChange::Move, None) => {
                return Err((ALIAS_NOT_FOUND, format!("alias not found[alias={alias}]")));
            }
            (AliasChange::Drop, None) => return Ok(()),
            _ => {}
        }
        if change != AliasChange::Drop {
            self.named(of.database, of.name)?;
        }
        for ((database, _), found) in &mut self.collections {
            if database == of.database {
                found.aliases.retain(|known| known != alias);
            }
        }
        if change != AliasChange::Drop {
            let found = self.named(of.database, of.name)?;
            found.aliases.push(alias.to_owned());
            found.aliases.sort();
        }
        Ok(())
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
        self.call(format!("look at collection {name} of database {database}"), at, |state| {
            Ok(state.named(database, name).ok().cloned())
        })
    }

    async fn create_collection(&self, of: Target<'_>, collection: &NewCollection) -> Result<(), Error> {
        self.call(about(of, "make"), of.at, |state| {
            let key = (of.database.to_owned(), of.name.to_owned());
            if let Some(known) = state.collections.get(&key) {
                return match known.schema == collection.schema {
                    true => Ok(()),
                    false => Err((
                        BAD_PARAMETER,
                        "create duplicate collection with different parameters".to_owned(),
                    )),
                };
            }
            state.numbers += 1;
            let made = EngineCollection {
                id: state.numbers,
                name: of.name.to_owned(),
                schema: collection.schema.clone(),
                properties: collection.properties.clone(),
                ..EngineCollection::default()
            };
            state.collections.insert(key, made);
            state.changes.push(format!("make collection {}", of.name));
            Ok(())
        })
    }

    async fn drop_collection(&self, of: Target<'_>) -> Result<(), Error> {
        self.call(about(of, "drop"), of.at, |state| {
            let key = (of.database.to_owned(), of.name.to_owned());
            match state.named(of.database, of.name) {
                Err(_) => return Ok(()),
                Ok(found) if found.name != of.name => {
                    return Err((BAD_PARAMETER, "cannot drop the collection via alias".to_owned()));
                }
                Ok(found) if !found.aliases.is_empty() => {
                    let text =
                        format!("unable to drop the collection with aliases {}", found.aliases.join(", "));
                    return Err((BAD_PARAMETER, text));
                }
                Ok(_) => {}
            }
            state.collections.remove(&key);
            state.changes.push(format!("drop collection {}", of.name));
            state.count();
            Ok(())
        })
    }

    async fn set_properties(
        &self,
        of: Target<'_>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.call(about(of, "set properties of"), of.at, |state| {
            let found = state.named(of.database, of.name)?;
            found.properties.extend(properties.clone());
            let set: Vec<String> = properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
            state.changes.push(format!("set {} of {}", set.join(", "), of.name));
            Ok(())
        })
    }

    async fn delete_properties(&self, of: Target<'_>, names: &[String]) -> Result<(), Error> {
        self.call(about(of, "remove properties of"), of.at, |state| {
            state.named(of.database, of.name)?.properties.retain(|key, _| !names.contains(key));
            state.changes.push(format!("remove {} of {}", names.join(", "), of.name));
            Ok(())
        })
    }

    async fn create_index(&self, of: Target<'_>, index: &EngineIndex) -> Result<(), Error> {
        self.call(about(of, "make an index of"), of.at, |state| {
            let found = state.named(of.database, of.name)?;
            match found.indexes.iter().find(|known| known.name == index.name || known.field == index.field) {
                Some(known) if known == index => return Ok(()),
                Some(_) => {
                    let text = "at most one distinct index is allowed per field".to_owned();
                    return Err((BAD_PARAMETER, text));
                }
                None => found.indexes.push(index.clone()),
            }
            state.changes.push(format!("make index {} of {}", index.name, of.name));
            Ok(())
        })
    }

    async fn drop_index(&self, of: Target<'_>, name: &str) -> Result<(), Error> {
        self.call(about(of, "drop an index of"), of.at, |state| {
            let found = state.named(of.database, of.name)?;
            let known = found.indexes.iter().position(|index| index.name == name);
            let Some(known) = known else { return Ok(()) };
            let of_vector = found.indexes[known].params.contains_key("metric_type");
            if of_vector && found.loading != Loading::Not {
                return Err((
                    BAD_PARAMETER,
                    "vector index cannot be dropped on loaded collection".to_owned(),
                ));
            }
            found.indexes.remove(known);
            state.changes.push(format!("drop index {name} of {}", of.name));
            Ok(())
        })
    }

    async fn alias(&self, at: &Door, database: &str, alias: &str) -> Result<Option<EngineAlias>, Error> {
        self.call(format!("look at alias {alias} of database {database}"), at, |state| {
            let holds = |((within, _), found): &(&(String, String), &EngineCollection)| {
                within == database && found.aliases.iter().any(|known| known == alias)
            };
            let found = state.collections.iter().find(holds);
            Ok(found.map(|((_, own), found)| EngineAlias {
                collection: own.clone(),
                loaded: found.loading != Loading::Not,
            }))
        })
    }

    async fn change_alias(&self, of: Target<'_>, alias: &str, change: AliasChange) -> Result<(), Error> {
        self.call(about(of, &format!("change alias {alias} of")), of.at, |state| {
            state.change_alias(of, alias, change)?;
            state.changes.push(match change {
                AliasChange::Create => format!("make alias {alias} of {}", of.name),
                AliasChange::Move => format!("move alias {alias} to {}", of.name),
                AliasChange::Drop => format!("drop alias {alias}"),
            });
            Ok(())
        })
    }

    async fn load(&self, at: &Door, database: &str, name: &str, groups: &[String]) -> Result<(), Error> {
        self.call(format!("load collection {name} of database {database}"), at, |state| {
            if let Some(missing) = groups.iter().find(|group| !state.groups.contains_key(*group)) {
                return Err((GROUP_NOT_FOUND, format!("resource group not found[rg={missing}]")));
            }
            let collection = state.named(database, name)?;
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
        self.call(format!("release collection {name} of database {database}"), at, |state| {
            if let Ok(collection) = state.named(database, name) {
                collection.replicas.clear();
                collection.loading = Loading::Not;
                state.changes.push(format!("release {name}"));
                state.count();
            }
            Ok(())
        })
    }

    async fn calls(&self, at: &Door) -> Result<Calls, Error> {
        self.call("count the requests".to_owned(), at, |state| {
            Ok(state.calls.get(&at.address).copied().unwrap_or_default())
        })
    }

    async fn load_report(&self, at: &Door) -> Result<LoadReport, Error> {
        self.call("read the load".to_owned(), at, |state| Ok(state.load.clone()))
    }
}
