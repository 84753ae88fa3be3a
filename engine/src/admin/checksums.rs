//! Reads every object that the catalog names and compares it with what the catalog says.

use std::collections::BTreeSet;

use contract::admin as pb;

use super::pick::{collections, sealed};
use crate::base::{Kind, Kinded as _};
use crate::blob::Blobs;
use crate::model::ObjectRef;
use crate::rpc::{Coord, Error};

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Compared {
    /// Objects that are not what the catalog says, ascending by key.
    pub(super) damaged: Vec<pb::DamagedObject>,
    /// Bytes that were read.
    pub(super) bytes_read: u64,
}

/// Compares all objects. What leaves the catalog meanwhile is no damage, and an object that is not there is for the listing
/// to tell.
///
/// # Errors
/// If the coordinator or the store fails.
pub(super) async fn compare(coord: &dyn Coord, blobs: &dyn Blobs) -> Result<Compared, Error> {
    let mut compared = Compared::default();
    for object in named(coord).await? {
        let body = match blobs.read(&object.key).await {
            Ok(body) => body,
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(Error::failed("read an object", &error)),
        };
        compared.bytes_read += body.len() as u64;
        if let Some(what) = flaw(&object, &body) {
            compared.damaged.push(pb::DamagedObject { key: object.key, what });
        }
    }
    if !compared.damaged.is_empty() {
        let still: BTreeSet<String> = named(coord).await?.into_iter().map(|object| object.key).collect();
        compared.damaged.retain(|damaged| still.contains(&damaged.key));
        compared.damaged.sort_by(|left, right| left.key.cmp(&right.key));
    }
    Ok(compared)
}

fn flaw(object: &ObjectRef, body: &[u8]) -> Option<String> {
    let size = body.len() as u64;
    if size != object.size_bytes {
        return Some(format!("it has {size} bytes instead of {}", object.size_bytes));
    }
    let found = crc32fast::hash(body);
    (found != object.crc32).then(|| format!("its checksum is {found:08x} instead of {:08x}", object.crc32))
}

async fn named(coord: &dyn Coord) -> Result<Vec<ObjectRef>, Error> {
    let mut all = Vec::new();
    for info in collections(coord, None).await? {
        for channel in sealed(coord, &info).await?.unwrap_or_default() {
            all.extend(channel.refs().cloned());
        }
    }
    Ok(all)
}
