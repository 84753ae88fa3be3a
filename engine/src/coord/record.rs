//! The catalog's records in the metadata store: JSON with a version, one record a thing.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{FIRST_FORMAT, newest_format};
use crate::coord::Error;
use crate::coord::catalog::{Catalog, Compaction, Garbage};
use crate::coord::change::Change;
use crate::meta::{Metas, Txn};
use crate::model::ChannelManifest;
use crate::rpc::{CollectionInfo, DatabaseInfo, GroupConfig};

/// Version of the records that are the same in every version, such as who leads.
const VERSION: u32 = FIRST_FORMAT;

const DATABASES: &str = "databases/";
const COLLECTIONS: &str = "collections/";
const CHANNELS: &str = "channels/";
const COMPACTIONS: &str = "compactions/";
const FLUSHES: &str = "flushes/";
const GARBAGE: &str = "garbage/";
const GROUPS: &str = "groups/";

#[derive(Serialize, Deserialize)]
struct Record<T> {
    version: u32,
    value: T,
}

/// The bytes of a record that every version reads.
///
/// # Errors
/// [`Error::BadRecord`] if a value cannot be written down, which would be a defect.
pub fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, Error> {
    encode_as(VERSION, key, value)
}

/// The bytes of a record of version `format`.
fn encode_as<T: Serialize>(format: u32, key: &str, value: &T) -> Result<Bytes, Error> {
    let record = Record { version: format, value };
    let bytes =
        serde_json::to_vec(&record).map_err(|source| Error::BadRecord { key: key.to_owned(), source })?;
    Ok(bytes.into())
}

/// The value of a record.
///
/// # Errors
/// [`Error::BadRecord`] if the record is damaged or of a later version.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let bad = |source| Error::BadRecord { key: key.to_owned(), source };
    let record: Record<T> = serde_json::from_slice(bytes).map_err(bad)?;
    if record.version > newest_format() {
        let text = format!("version {} is later than {}", record.version, newest_format());
        return Err(bad(serde::de::Error::custom(text)));
    }
    Ok(record.value)
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
                txn.delete(format!("{CHANNELS}{channel}"))
                    .delete(format!("{FLUSHES}{channel}"))
                    .delete(term_key(channel.as_str()))
            },
        ),
        Change::PutManifest { channel, manifest, .. } => {
            put(txn, format, format!("{CHANNELS}{channel}"), manifest)?
        }
        Change::PutCompaction(one) => put(txn, format, format!("{COMPACTIONS}{}", one.id), one)?,
        Change::RemoveCompaction(id) => txn.delete(format!("{COMPACTIONS}{id}")),
        Change::KeepFlush { channel, since } => put(txn, format, format!("{FLUSHES}{channel}"), since)?,
        Change::ForgetFlush(channel) => txn.delete(format!("{FLUSHES}{channel}")),
        Change::PutGarbage(garbage) => put(txn, format, format!("{GARBAGE}{}", garbage.id), garbage)?,
        Change::RemoveGarbage(id) => txn.delete(format!("{GARBAGE}{id}")),
        Change::PutGroup { name, config } => put(txn, format, format!("{GROUPS}{name}"), config)?,
        Change::RemoveGroup(name) => txn.delete(format!("{GROUPS}{name}")),
    })
}

/// The record of the highest term given out for a channel.
pub fn term_key(channel: &str) -> String {
    format!("terms/{channel}")
}

fn put<T: Serialize>(txn: Txn, format: u32, key: String, value: &T) -> Result<Txn, Error> {
    let bytes = encode_as(format, &key, value)?;
    Ok(txn.put(key, bytes))
}

/// Reads the whole catalog.
///
/// # Errors
/// If the store fails or a record cannot be understood.
pub async fn read(metas: &dyn Metas) -> Result<Catalog, Error> {
    let mut catalog = Catalog::default();
    for (_, database) in all::<DatabaseInfo>(metas, DATABASES).await? {
        catalog.apply(Change::PutDatabase(database));
    }
    for (_, collection) in all::<CollectionInfo>(metas, COLLECTIONS).await? {
        catalog.apply(Change::PutCollection(collection));
    }
    let manifests: std::collections::HashMap<String, ChannelManifest> =
        all(metas, CHANNELS).await?.into_iter().collect();
    let places: Vec<_> = catalog
        .collections
        .values()
        .flat_map(|collection| {
            collection
                .channels
                .iter()
                .enumerate()
                .map(|(shard, channel)| (collection.id, shard, channel.clone()))
        })
        .collect();
    for (collection, shard, channel) in places {
        if let Some(manifest) = manifests.get(&format!("{CHANNELS}{channel}")) {
            let manifest = manifest.clone();
            catalog.apply(Change::PutManifest { collection, shard, channel, manifest });
        }
    }
    for (_, compaction) in all::<Compaction>(metas, COMPACTIONS).await? {
        catalog.apply(Change::PutCompaction(compaction));
    }
    let flushes: std::collections::HashMap<String, i64> = all(metas, FLUSHES).await?.into_iter().collect();
    let channels: Vec<_> = catalog.collections.values().flat_map(|info| info.channels.clone()).collect();
    for channel in channels {
        if let Some(&since) = flushes.get(&format!("{FLUSHES}{channel}")) {
            catalog.apply(Change::KeepFlush { channel, since });
        }
    }
    for (key, config) in all::<GroupConfig>(metas, GROUPS).await? {
        let name = key.strip_prefix(GROUPS).unwrap_or(&key).to_owned();
        catalog.apply(Change::PutGroup { name, config });
    }
    for (_, garbage) in all::<Garbage>(metas, GARBAGE).await? {
        catalog.apply(Change::PutGarbage(garbage));
    }
    Ok(catalog)
}

async fn all<T: DeserializeOwned>(
    metas: &dyn Metas,
    prefix: &'static str,
) -> Result<Vec<(String, T)>, Error> {
    let records = metas.list(prefix).await.map_err(|source| Error::ReadCatalog { prefix, source })?;
    records
        .into_iter()
        .map(|(key, record)| {
            let value = decode(&key, &record.value)?;
            Ok((key, value))
        })
        .collect()
}
