//! Everything the coordinator knows, as a value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::{ChannelName, CollectionId, DatabaseId, SegmentId, Timestamp};
use crate::coord::change::Change;
use crate::coord::damage::Damage;
use crate::coord::stored::{self, Piece, Stored};
use crate::model::access::Policy;
use crate::model::{ChannelManifest, ObjectRef, SegmentManifest};
use crate::rpc::{
    CollectionInfo, CollectionRef, CompactionPlan, DEFAULT_GROUP, DatabaseInfo, GroupConfig, ImportInfo,
    Refusal,
};

/// Name of the database that always exists.
pub const DEFAULT_DATABASE: &str = "default";

/// Nodes that the default resource group takes. Source: Milvus shows this number.
const DEFAULT_LIMIT: u32 = 1_000_000;

/// What is left of something dropped: logs and objects that wait to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Garbage {
    /// Names this piece of garbage; never reused.
    pub id: i64,
    /// Channels whose logs can go.
    pub channels: Vec<ChannelName>,
    /// Keys of objects that can go.
    pub objects: Vec<String>,
    /// Whose segments the objects were, if somebody may still need them.
    #[serde(default)]
    pub collection: Option<CollectionId>,
    /// The objects can go only when no node holds any of these.
    #[serde(default)]
    pub segments: Vec<SegmentId>,
    /// Nothing can go before this time.
    #[serde(default)]
    pub not_before_unix_ms: u64,
    /// The object that all this is in, if it is too much for a record.
    #[serde(skip)]
    pub list: Option<Piece>,
}

/// A compaction that was asked for: remembered, so that whoever asked another leader learns what became of it, and so that
/// it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Compaction {
    /// Its number.
    pub id: i64,
    /// What is compacted.
    pub collection: CollectionId,
    /// Its parts.
    pub plans: Vec<CompactionPlan>,
}

/// An import that was asked for, with what it has stored so far. Whoever leads goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Import {
    /// What others see of it.
    pub info: ImportInfo,
    /// What its client calls the call that began it; empty if it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub named: String,
    /// The time that its rows are to have, once it has been chosen.
    pub at: Option<Timestamp>,
    /// Whether its rows are in the collection.
    pub is_committed: bool,
    /// The objects that say which segments its steps have made, oldest first.
    pub pieces: Vec<Piece>,
    /// What these say: segments, each with the place of its channel among the collection's.
    #[serde(skip)]
    pub segments: Vec<Arc<Vec<(u32, SegmentManifest)>>>,
}

/// The catalog as of one instant.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// By id.
    pub databases: BTreeMap<DatabaseId, Arc<DatabaseInfo>>,
    /// By id.
    pub collections: BTreeMap<CollectionId, Arc<CollectionInfo>>,
    /// What is sealed, by channel in the order of the collection's channels; none of the collections of which a manifest is
    /// damaged.
    pub manifests: BTreeMap<CollectionId, Vec<Arc<ChannelManifest>>>,
    /// Damaged manifests, by collection, in the order of its channels; never an empty list.
    pub unreadable: BTreeMap<CollectionId, Vec<Damage>>,
    /// Where manifests are that are too large for a record.
    pub stored: HashMap<ChannelName, Stored>,
    /// What waits to be removed.
    pub garbage: BTreeMap<i64, Garbage>,
    /// Compactions that were asked for, those of dropped collections too.
    pub compactions: BTreeMap<i64, Compaction>,
    /// Imports that were asked for, those that are over too, for a while.
    pub imports: BTreeMap<i64, Import>,
    /// Flushes that take long: objects of the channel with such a number or a later one are spared and taken.
    pub flushes: BTreeMap<ChannelName, i64>,
    /// Resource groups, also what the default one asks for if that was changed.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// Names and aliases of collections.
    names: HashMap<(DatabaseId, String), CollectionId>,
}

impl Catalog {
    /// The database called `name`; an empty name means the default one.
    pub fn database(&self, name: &str) -> Result<&Arc<DatabaseInfo>, Refusal> {
        let wanted = if name.is_empty() { DEFAULT_DATABASE } else { name };
        self.databases
            .values()
            .find(|database| database.name == wanted)
            .ok_or_else(|| Refusal::DatabaseNotFound { database: wanted.to_owned() })
    }

    /// The collection that `name` or an alias of that name means.
    pub fn named(&self, database: DatabaseId, name: &str) -> Option<&Arc<CollectionInfo>> {
        // The index of names is keyed by owned strings, so a look-up has to own one too.
        self.names.get(&(database, name.to_owned())).and_then(|id| self.collections.get(id))
    }

    /// The collection that is meant.
    pub fn collection(&self, wanted: &CollectionRef) -> Result<&Arc<CollectionInfo>, Refusal> {
        match wanted {
            CollectionRef::Id(id) => self.collections.get(id).ok_or_else(|| Refusal::CollectionNotFound {
                database: DEFAULT_DATABASE.to_owned(),
                collection: id.to_string(),
            }),
            CollectionRef::Name { database, name } => {
                let database = self.database(database)?;
                self.named(database.id, name).ok_or_else(|| Refusal::CollectionNotFound {
                    database: database.name.clone(),
                    collection: name.clone(),
                })
            }
        }
    }

    /// What the resource group called `name` asks for; the default group always exists.
    pub fn group(&self, name: &str) -> Result<GroupConfig, Refusal> {
        match self.groups.get(name) {
            Some(config) => Ok(config.clone()),
            None if name == DEFAULT_GROUP => {
                Ok(GroupConfig { limits: DEFAULT_LIMIT, ..GroupConfig::default() })
            }
            None => Err(Refusal::ResourceGroupNotFound { group: name.to_owned() }),
        }
    }

    /// The collections of a database, in order of creation.
    pub fn collections_of(&self, database: DatabaseId) -> impl Iterator<Item = &Arc<CollectionInfo>> {
        self.collections.values().filter(move |collection| collection.database == database)
    }

    /// Takes over one change that has been committed.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::PutDatabase(database) => {
                self.databases.insert(database.id, Arc::new(database));
            }
            Change::RemoveDatabase(id) => {
                self.databases.remove(&id);
            }
            Change::PutCollection(collection) => {
                self.forget_names(collection.id);
                let names = std::iter::once(&collection.name).chain(&collection.aliases);
                for name in names {
                    self.names.insert((collection.database, name.clone()), collection.id);
                }
                if !self.unreadable.contains_key(&collection.id) {
                    let shards = collection.channels.len();
                    self.manifests.entry(collection.id).or_insert_with(|| vec![Arc::default(); shards]);
                }
                self.collections.insert(collection.id, Arc::new(collection));
            }
            Change::RemoveCollection(collection) => {
                self.forget_names(collection.id);
                self.collections.remove(&collection.id);
                self.manifests.remove(&collection.id);
                self.unreadable.remove(&collection.id);
                for channel in &collection.channels {
                    self.stored.remove(channel);
                    self.flushes.remove(channel);
                }
            }
            Change::PutManifest { collection, shard, channel, manifest } => {
                self.stored.remove(&channel);
                self.put_manifest(collection, shard, manifest);
            }
            Change::PutStored { collection, shard, channel, manifest, stored } => {
                self.stored.insert(channel, stored);
                self.put_manifest(collection, shard, manifest);
            }
            Change::PutCompaction(compaction) => {
                self.compactions.insert(compaction.id, compaction);
            }
            Change::RemoveCompaction(id) => {
                self.compactions.remove(&id);
            }
            Change::PutImport(import) => {
                self.imports.insert(import.info.id, import);
            }
            Change::RemoveImport(id) => {
                self.imports.remove(&id);
            }
            Change::KeepFlush { channel, since } => {
                self.flushes.insert(channel, since);
            }
            Change::ForgetFlush(channel) => {
                self.flushes.remove(&channel);
            }
            Change::PutGarbage(garbage) => {
                self.garbage.insert(garbage.id, garbage);
            }
            Change::RemoveGarbage(id) => {
                self.garbage.remove(&id);
            }
            Change::PutGroup { name, config } => {
                self.groups.insert(name, config);
            }
            Change::RemoveGroup(name) => {
                self.groups.remove(&name);
            }
            Change::PutUser { name, user } => {
                Arc::make_mut(&mut self.policy).users.insert(name, user);
            }
            Change::RemoveUser(name) => {
                Arc::make_mut(&mut self.policy).users.remove(&name);
            }
            Change::PutRole { name, role } => {
                Arc::make_mut(&mut self.policy).roles.insert(name, role);
            }
            Change::RemoveRole(name) => {
                Arc::make_mut(&mut self.policy).roles.remove(&name);
            }
            Change::PutPrivileges { group, privileges } => {
                Arc::make_mut(&mut self.policy).groups.insert(group, privileges);
            }
            Change::RemovePrivileges(group) => {
                Arc::make_mut(&mut self.policy).groups.remove(&group);
            }
        }
    }

    /// Takes over that manifests of a collection are damaged: from here on none of it is known.
    pub fn set_aside(&mut self, id: CollectionId, damage: Vec<Damage>) {
        if !damage.is_empty() {
            self.manifests.remove(&id);
            self.unreadable.insert(id, damage);
        }
    }

    /// Takes over that all manifests of a collection can be read, and that `changes` put those that it has.
    pub fn mend(&mut self, id: CollectionId, changes: Vec<Change>) {
        self.unreadable.remove(&id);
        if let Some(info) = self.collections.get(&id) {
            self.manifests.insert(id, vec![Arc::default(); info.channels.len()]);
        }
        changes.into_iter().for_each(|change| self.apply(change));
    }

    /// What is damaged of a collection, the first if it is more.
    pub fn damage_of(&self, id: CollectionId) -> Option<&Damage> {
        self.unreadable.get(&id).and_then(|damage| damage.first())
    }

    /// Whether a damaged manifest may name the object with this key.
    pub fn may_name(&self, key: &str) -> bool {
        // Keys name their collection.
        let collection = || key.split('/').nth(1)?.parse().ok().map(CollectionId);
        !self.unreadable.is_empty() && collection().is_some_and(|id| self.unreadable.contains_key(&id))
    }

    /// Segments of imports that are not in a collection yet.
    fn imported(&self) -> impl Iterator<Item = &SegmentManifest> {
        let pieces = self.imports.values().flat_map(|import| &import.segments);
        pieces.flat_map(|piece| piece.iter().map(|(_, segment)| segment))
    }

    /// The keys of all objects that the catalog names: those that manifests and imports name, and the catalog's own.
    pub fn named_objects(&self) -> impl Iterator<Item = String> {
        let lists = self.garbage.values().filter_map(|garbage| garbage.list);
        let lists = lists.map(|list| stored::garbage_key(list.number));
        let pieces = self.imports.values().flat_map(|import| &import.pieces);
        let pieces = pieces.map(|piece| stored::import_key(piece.number));
        let imported = self.imported().flat_map(SegmentManifest::objects);
        self.manifests
            .keys()
            .flat_map(|id| self.named_objects_of(*id))
            .chain(lists)
            .chain(pieces)
            .chain(imported)
    }

    /// The keys of all objects of a collection: those that its manifests name, and those that these are in.
    pub fn named_objects_of(&self, collection: CollectionId) -> impl Iterator<Item = String> {
        let manifests = self.manifests.get(&collection).into_iter().flatten();
        let sealed = manifests.flat_map(|manifest| {
            let segments = manifest.segments.iter().flat_map(SegmentManifest::objects);
            segments.chain(manifest.deletes.iter().map(|file| file.object.key.clone()))
        });
        let channels = self.collections.get(&collection).into_iter().flat_map(|info| &info.channels);
        let own = channels.filter_map(move |channel| Some((channel, self.stored.get(channel)?)));
        sealed.chain(own.flat_map(move |(channel, stored)| stored.keys(collection, channel)))
    }

    fn put_manifest(&mut self, collection: CollectionId, shard: usize, manifest: ChannelManifest) {
        if let Some(place) = self.manifests.get_mut(&collection).and_then(|all| all.get_mut(shard)) {
            *place = Arc::new(manifest);
        }
    }

    /// The objects that manifests name with a size: all but the segments' own descriptions.
    pub fn named_refs(&self) -> impl Iterator<Item = &ObjectRef> {
        let sealed = self.manifests.values().flatten().flat_map(|manifest| manifest.refs());
        sealed.chain(self.imported().flat_map(SegmentManifest::refs))
    }

    fn forget_names(&mut self, id: CollectionId) {
        let Some(old) = self.collections.get(&id) else { return };
        for name in std::iter::once(&old.name).chain(&old.aliases) {
            self.names.remove(&(old.database, name.clone()));
        }
    }
}
