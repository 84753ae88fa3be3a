//! The catalog's records in the metadata store: JSON with a version, one record a thing.
//!
//! A manifest or a piece of garbage that is too large for a record is an object; its record has `objects` in the place of
//! `value`, and says which.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::base::{ChannelName, CollectionId, FIRST_FORMAT, newest_format};
use crate::coord::Error;
use crate::coord::catalog::{Catalog, Compaction, Garbage, Import};
use crate::coord::change::Change;
use crate::coord::damage::Damage;
use crate::coord::shelf::Shelf;
use crate::coord::stored::{self, Piece, Stored};
use crate::meta::{Metas, Txn, Versioned, Write};
use crate::model::ChannelManifest;
use crate::rpc::{CollectionInfo, DatabaseInfo, GroupConfig};

/// Version of the records that are the same in every version, such as who leads.
const VERSION: u32 = FIRST_FORMAT;

const DATABASES: &str = "databases/";
const COLLECTIONS: &str = "collections/";
const CHANNELS: &str = "channels/";
const COMPACTIONS: &str = "compactions/";
/// Imports that are under way, and some that are over.
const IMPORTS: &str = "imports/";
/// Flushes that are under way.
pub const FLUSHES: &str = "flushes/";
/// Terms that channels were given.
const TERMS: &str = "terms/";
const GARBAGE: &str = "garbage/";
const GROUPS: &str = "groups/";
const USERS: &str = "users/";
const ROLES: &str = "roles/";
/// Groups of privileges that users made.
const PRIVILEGES: &str = "privileges/";

/// What a record ends with: before eight hexadecimal digits, and after them.
const SUM_BEGIN: &str = ",\"crc32\":\"";
const SUM_END: &str = "\"}";
/// Length of both with the digits.
const SUM_BYTES: usize = SUM_BEGIN.len() + 8 + SUM_END.len();

#[derive(Serialize, Deserialize)]
struct Record<T> {
    version: u32,
    value: T,
}

/// A record whose value is in objects.
#[derive(Serialize, Deserialize)]
struct Pointer<T> {
    version: u32,
    objects: T,
}

/// What has to be known of a record before it is read.
#[derive(Deserialize)]
struct Head {
    version: u32,
    objects: Option<IgnoredAny>,
}

/// The bytes of a record that every version reads.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, Error> {
    encode_as(VERSION, key, value)
}

/// The bytes of a record of version `format` that says in which objects the value is.
///
/// # Errors
/// [`Error::BadRecord`] if it cannot be written down, which would be a defect.
pub fn pointer<T: Serialize>(format: u32, key: &str, objects: &T) -> Result<Bytes, Error> {
    bytes_of(key, &Pointer { version: format, objects })
}

/// The bytes of a record of version `format`.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn encode_as<T: Serialize>(format: u32, key: &str, value: &T) -> Result<Bytes, Error> {
    bytes_of(key, &Record { version: format, value })
}

/// A record and, as one more field at its end that earlier versions pass over, the CRC-32 of all before it.
fn bytes_of<T: Serialize>(key: &str, record: &T) -> Result<Bytes, Error> {
    let mut bytes =
        serde_json::to_vec(record).map_err(|source| Error::BadRecord { key: key.to_owned(), source })?;
    if bytes.pop_if(|last| *last == b'}').is_some() {
        let crc32 = crc32fast::hash(&bytes);
        bytes.extend_from_slice(format!("{SUM_BEGIN}{crc32:08x}{SUM_END}").as_bytes());
    }
    Ok(bytes.into())
}

/// Refuses a record that is not what was written. One without a checksum is of an earlier version, or one in whose last
/// field a bit changed: then the rest is whole.
fn check_sum(key: &str, bytes: &[u8]) -> Result<(), Error> {
    let sum = || {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        let digits = sum.strip_prefix(SUM_BEGIN.as_bytes())?.strip_suffix(SUM_END.as_bytes())?;
        Some((body, u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?))
    };
    match sum() {
        Some((body, sum)) if crc32fast::hash(body) != sum => {
            let source = serde::de::Error::custom("the record is damaged: its checksum is wrong");
            Err(Error::BadRecord { key: key.to_owned(), source })
        }
        Some(_) | None => Ok(()),
    }
}

/// The value of a record.
///
/// # Errors
/// [`Error::BadRecord`] if the record is damaged or of a later version.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    head(key, bytes)?;
    Ok(parse::<Record<T>>(key, bytes)?.value)
}

/// Refuses a record that is damaged or of a later version.
fn head(key: &str, bytes: &[u8]) -> Result<Head, Error> {
    check_sum(key, bytes)?;
    let head: Head = parse(key, bytes)?;
    if head.version > newest_format() {
        let text = format!("version {} is later than {}", head.version, newest_format());
        return Err(Error::BadRecord { key: key.to_owned(), source: serde::de::Error::custom(text) });
    }
    Ok(head)
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::BadRecord { key: key.to_owned(), source })
}

/// What a record says: the value, or where it is.
enum Found<T, P> {
    Here(T),
    There(P),
}

fn find<T: DeserializeOwned, P: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<Found<T, P>, Error> {
    if head(key, bytes)?.objects.is_some() {
        return Ok(Found::There(parse::<Pointer<P>>(key, bytes)?.objects));
    }
    decode(key, bytes).map(Found::Here)
}

/// Adds the records of `change` to a transaction, in the version that the cluster writes.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn write(txn: Txn, format: u32, change: &Change) -> Result<Txn, Error> {
    Ok(match change {
        Change::PutDatabase(database) => put(txn, format, format!("{DATABASES}{}", database.id), database)?,
        Change::RemoveDatabase(id) => txn.delete(format!("{DATABASES}{id}")),
        Change::PutCollection(collection) => {
            put(txn, format, format!("{COLLECTIONS}{}", collection.id), collection)?
        }
        Change::RemoveCollection(collection) => collection.channels.iter().fold(
            txn.delete(format!("{COLLECTIONS}{}", collection.id)),
            |txn, channel| {
                txn.delete(channel_key(channel))
                    .delete(format!("{FLUSHES}{channel}"))
                    .delete(term_key(channel.as_str()))
            },
        ),
        Change::PutManifest { channel, manifest, .. } => put(txn, format, channel_key(channel), manifest)?,
        Change::PutStored { channel, stored, .. } => {
            let key = channel_key(channel);
            let bytes = pointer(format, &key, stored)?;
            txn.put(key, bytes)
        }
        Change::PutCompaction(one) => put(txn, format, format!("{COMPACTIONS}{}", one.id), one)?,
        Change::RemoveCompaction(id) => txn.delete(format!("{COMPACTIONS}{id}")),
        Change::PutImport(one) => put(txn, format, format!("{IMPORTS}{}", one.info.id), one)?,
        Change::RemoveImport(id) => txn.delete(format!("{IMPORTS}{id}")),
        Change::KeepFlush { channel, since } => put(txn, format, format!("{FLUSHES}{channel}"), since)?,
        Change::ForgetFlush(channel) => txn.delete(format!("{FLUSHES}{channel}")),
        Change::PutGarbage(garbage) => {
            let key = garbage_key(garbage.id);
            let bytes = match &garbage.list {
                Some(list) => pointer(format, &key, list)?,
                None => encode_as(format, &key, garbage)?,
            };
            txn.put(key, bytes)
        }
        Change::RemoveGarbage(id) => txn.delete(garbage_key(*id)),
        Change::PutGroup { name, config } => put(txn, format, format!("{GROUPS}{name}"), config)?,
        Change::RemoveGroup(name) => txn.delete(format!("{GROUPS}{name}")),
        Change::PutUser { name, user } => put(txn, format, format!("{USERS}{name}"), user)?,
        Change::RemoveUser(name) => txn.delete(format!("{USERS}{name}")),
        Change::PutRole { name, role } => put(txn, format, format!("{ROLES}{name}"), role)?,
        Change::RemoveRole(name) => txn.delete(format!("{ROLES}{name}")),
        Change::PutPrivileges { group, privileges } => {
            put(txn, format, format!("{PRIVILEGES}{group}"), privileges)?
        }
        Change::RemovePrivileges(group) => txn.delete(format!("{PRIVILEGES}{group}")),
    })
}

/// The record of what is sealed of a channel.
pub fn channel_key(channel: &ChannelName) -> String {
    format!("{CHANNELS}{channel}")
}

/// The record of a piece of garbage.
pub fn garbage_key(id: i64) -> String {
    format!("{GARBAGE}{id}")
}

/// The record of the highest term given out for a channel.
pub fn term_key(channel: &str) -> String {
    format!("{TERMS}{channel}")
}

/// The versions of all such records, by channel: with what a generation of the metadata adds to it, each is the highest term.
///
/// # Errors
/// If the store fails.
pub async fn terms(metas: &dyn Metas) -> Result<Vec<(ChannelName, u64)>, Error> {
    let read_failed = |source| Error::ReadCatalog { prefix: TERMS, source };
    let records = metas.list(TERMS).await.map_err(read_failed)?;
    let named = |(key, record): (String, Versioned)| {
        key.strip_prefix(TERMS).map(|channel| (ChannelName(channel.into()), record.version))
    };
    Ok(records.into_iter().filter_map(named).collect())
}

fn put<T: Serialize>(txn: Txn, format: u32, key: String, value: &T) -> Result<Txn, Error> {
    let bytes = encode_as(format, &key, value)?;
    Ok(txn.put(key, bytes))
}

/// Reads the whole catalog: records, and the objects that they name. Manifests that are damaged or lost are set aside.
///
/// # Errors
/// If a store fails, or any other record or object cannot be understood.
pub async fn read(metas: &dyn Metas, shelf: &Shelf) -> Result<Catalog, Error> {
    let mut records = Records::new();
    let all = [
        DATABASES,
        COLLECTIONS,
        CHANNELS,
        GROUPS,
        COMPACTIONS,
        IMPORTS,
        FLUSHES,
        GARBAGE,
        USERS,
        ROLES,
        PRIVILEGES,
    ];
    for prefix in all {
        let found = metas.list(prefix).await.map_err(|source| Error::ReadCatalog { prefix, source })?;
        records.extend(found.into_iter().map(|(key, record)| (key, record.value)));
    }
    let (mut catalog, unread) = catalog_of(&records, shelf).await?;
    let mut damaged: BTreeMap<CollectionId, Vec<Damage>> = BTreeMap::new();
    for Unread { collection, damage, .. } in unread {
        damaged.entry(collection).or_default().push(damage);
    }
    damaged.into_iter().for_each(|(collection, damage)| catalog.set_aside(collection, damage));
    Ok(catalog)
}

/// Reads the catalog that a copy of the records says.
///
/// # Errors
/// As [`read`], and if a manifest is damaged or lost.
pub async fn read_copy(records: &BTreeMap<String, String>, shelf: &Shelf) -> Result<Catalog, Error> {
    let bytes = |(key, value): (&String, &String)| (key.clone(), Bytes::from(value.clone()));
    let (catalog, unread) = catalog_of(&records.iter().map(bytes).collect(), shelf).await?;
    unread.into_iter().next().map_or(Ok(catalog), |one| Err(one.error))
}

/// What [`read_again`] gives.
type Again = (Result<Vec<Change>, Vec<Damage>>, Vec<Write>);

/// Reads the manifests of one collection: the changes that put them, or what is damaged; and the records as they are. A record
/// that is in `known` and is gone is as damaged as it was: also where a channel without one would count as empty.
///
/// # Errors
/// If a store fails.
pub async fn read_again(
    metas: &dyn Metas,
    shelf: &Shelf,
    info: &CollectionInfo,
    known: &[Damage],
) -> Result<Again, Error> {
    let failed = |source| Error::ReadCatalog { prefix: CHANNELS, source };
    let mut records = Records::new();
    for channel in &info.channels {
        let key = channel_key(channel);
        if let Some(record) = metas.get(&key).await.map_err(failed)? {
            records.insert(key, record.value);
        }
    }
    let Manifests { changes, unread } = read_manifests(&records, shelf, [info]).await?;
    let is_gone = |one: &&Damage| !info.recorded && !records.contains_key(&channel_key(&one.channel));
    let gone = known.iter().filter(is_gone).cloned();
    let damage: Vec<Damage> = unread.into_iter().map(|one| one.damage).chain(gone).collect();
    let writes = records.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
    Ok((if damage.is_empty() { Ok(changes) } else { Err(damage) }, writes))
}

type Records = BTreeMap<String, Bytes>;

/// What the records say, and the manifests that are damaged or lost, in the order of collections and channels. Of collections
/// with one of these the catalog has no manifest that counts.
async fn catalog_of(records: &Records, shelf: &Shelf) -> Result<(Catalog, Vec<Unread>), Error> {
    let mut catalog = Catalog::default();
    for (key, bytes) in below(records, DATABASES) {
        catalog.apply(Change::PutDatabase(decode::<DatabaseInfo>(key, bytes)?));
    }
    for (key, bytes) in below(records, COLLECTIONS) {
        catalog.apply(Change::PutCollection(decode::<CollectionInfo>(key, bytes)?));
    }
    let infos: Vec<_> = catalog.collections.values().cloned().collect();
    let Manifests { changes, unread } =
        read_manifests(records, shelf, infos.iter().map(AsRef::as_ref)).await?;
    changes.into_iter().for_each(|change| catalog.apply(change));
    for (key, bytes) in below(records, GROUPS) {
        let name = key.strip_prefix(GROUPS).unwrap_or(key).to_owned();
        catalog.apply(Change::PutGroup { name, config: decode::<GroupConfig>(key, bytes)? });
    }
    read_policy(records, &mut catalog)?;
    for (key, bytes) in below(records, COMPACTIONS) {
        catalog.apply(Change::PutCompaction(decode::<Compaction>(key, bytes)?));
    }
    for (key, bytes) in below(records, IMPORTS) {
        let mut import: Import = decode(key, bytes)?;
        for piece in &import.pieces {
            let segments = shelf.get(&stored::import_key(piece.number), Some(piece)).await?;
            import.segments.push(std::sync::Arc::new(segments));
        }
        catalog.apply(Change::PutImport(import));
    }
    let channels: Vec<_> = catalog.collections.values().flat_map(|info| info.channels.clone()).collect();
    for channel in channels {
        let key = format!("{FLUSHES}{channel}");
        if let Some(bytes) = records.get(&key) {
            catalog.apply(Change::KeepFlush { channel, since: decode(&key, bytes)? });
        }
    }
    for (key, bytes) in below(records, GARBAGE) {
        let garbage = match find::<Garbage, Piece>(key, bytes)? {
            Found::Here(garbage) => garbage,
            Found::There(list) => {
                let garbage = shelf.get::<Garbage>(&stored::garbage_key(list.number), Some(&list)).await?;
                Garbage { list: Some(list), ..garbage }
            }
        };
        catalog.apply(Change::PutGarbage(garbage));
    }
    Ok((catalog, unread))
}

fn read_policy(records: &Records, catalog: &mut Catalog) -> Result<(), Error> {
    let name = |key: &str, prefix: &str| key.strip_prefix(prefix).unwrap_or(key).to_owned();
    for (key, bytes) in below(records, USERS) {
        catalog.apply(Change::PutUser { name: name(key, USERS), user: decode(key, bytes)? });
    }
    for (key, bytes) in below(records, ROLES) {
        catalog.apply(Change::PutRole { name: name(key, ROLES), role: decode(key, bytes)? });
    }
    for (key, bytes) in below(records, PRIVILEGES) {
        catalog
            .apply(Change::PutPrivileges { group: name(key, PRIVILEGES), privileges: decode(key, bytes)? });
    }
    Ok(())
}

/// A manifest that is damaged or lost.
struct Unread {
    collection: CollectionId,
    damage: Damage,
    /// Why it was not read.
    error: Error,
}

impl Unread {
    /// # Errors
    /// `error` itself, if it says nothing of the manifest.
    fn of(collection: CollectionId, channel: &ChannelName, error: Error) -> Result<Self, Error> {
        match Damage::of(channel, &error) {
            Some(damage) => Ok(Self { collection, damage, error }),
            None => Err(error),
        }
    }
}

/// Manifests of collections.
struct Manifests {
    /// What puts those that could be read.
    changes: Vec<Change>,
    /// The others.
    unread: Vec<Unread>,
}

/// # Errors
/// If a store fails.
async fn read_manifests(
    records: &Records,
    shelf: &Shelf,
    infos: impl IntoIterator<Item = &CollectionInfo>,
) -> Result<Manifests, Error> {
    let (mut changes, mut unread, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for info in infos {
        for (shard, channel) in info.channels.iter().enumerate() {
            let key = channel_key(channel);
            let Some(bytes) = records.get(&key) else {
                if info.recorded {
                    unread.push((shard, Unread::of(info.id, channel, Error::NoRecord { key })?));
                }
                continue;
            };
            let (collection, channel) = (info.id, channel.clone());
            match find::<ChannelManifest, Stored>(&key, bytes) {
                Ok(Found::Here(manifest)) => {
                    changes.push(Change::PutManifest { collection, shard, channel, manifest });
                }
                Ok(Found::There(stored)) => there.push((collection, channel, stored, (collection, shard))),
                Err(error) => unread.push((shard, Unread::of(collection, &channel, error)?)),
            }
        }
    }
    for (read, channel, stored, (collection, shard)) in shelf.manifests(there).await {
        match read {
            Ok(manifest) => {
                changes.push(Change::PutStored { collection, shard, channel, manifest, stored });
            }
            Err(error) => unread.push((shard, Unread::of(collection, &channel, error)?)),
        }
    }
    unread.sort_by_key(|(shard, one)| (one.collection, *shard));
    let unread = unread.into_iter().map(|(_, one)| one).collect();
    Ok(Manifests { changes, unread })
}

fn below<'a>(records: &'a Records, prefix: &'static str) -> impl Iterator<Item = (&'a String, &'a Bytes)> {
    records.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Position;

    fn manifest() -> ChannelManifest {
        ChannelManifest { checkpoint: Position(77), ..ChannelManifest::default() }
    }

    #[test]
    fn no_flipped_bit_and_no_lost_byte_of_a_record_is_served() {
        let written = encode("channels/c", &manifest()).unwrap();

        assert_eq!(decode::<ChannelManifest>("channels/c", &written).unwrap(), manifest());
        for bit in 0..written.len() * 8 {
            let mut damaged = written.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = decode::<ChannelManifest>("channels/c", &damaged) {
                assert_eq!(found, manifest(), "bit {bit} of {}", String::from_utf8_lossy(&damaged));
            }
        }
        for length in 0..written.len() {
            assert!(decode::<ChannelManifest>("channels/c", &written[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn records_of_earlier_versions_are_read_and_they_read_ours() {
        #[derive(Deserialize)]
        struct Earlier {
            version: u32,
            value: ChannelManifest,
        }
        let before = serde_json::to_vec(&Record { version: 1, value: manifest() }).unwrap();

        assert_eq!(decode::<ChannelManifest>("channels/c", &before).unwrap(), manifest());
        let ours: Earlier = serde_json::from_slice(&encode("channels/c", &manifest()).unwrap()).unwrap();
        assert_eq!((ours.version, ours.value), (1, manifest()));
    }

    #[test]
    fn a_damaged_record_is_named() {
        let written = encode("channels/c", &manifest()).unwrap();
        let damaged = String::from_utf8(written.to_vec()).unwrap().replace("77", "78");

        let error = decode::<ChannelManifest>("channels/c", damaged.as_bytes()).unwrap_err();

        assert!(crate::base::chain(&error).contains("channels/c"), "{error:?}");
        assert!(crate::base::chain(&error).contains("checksum"), "{error:?}");
    }
}
