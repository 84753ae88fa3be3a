//! Whose bucket this is: the first object of a blob store, and the same id in the metadata.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::assembly::Error;
use crate::base::{FIRST_FORMAT, Kind, Kinded, Rng, newest_format};
use crate::blob::{self, BlobEntry, Blobs};
use crate::coord::{
    CLUSTER, REBUILDING, newest_generation, own_generation, put_format, read_format, read_mirror,
};
use crate::meta::{Metas, Txn};

/// Key of the object that says whose the store is.
pub const OBJECT: &str = "redkite.json";
/// Key of the record that says who we are.
const RECORD: &str = CLUSTER;
/// How objects are laid out, as this version writes them.
const LAYOUT: u32 = FIRST_FORMAT;

/// How the keys of the objects begin that say to which format the store was finalized.
const FINALIZED: &str = "finalized/";

/// What [`OBJECT`] holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster that the store belongs to.
    pub cluster: String,
    /// Layout of the objects.
    layout: u32,
    /// Layout that a reader must know at least: the format that the cluster was finalized to.
    pub oldest_reader: u32,
}

/// Whose the catalog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Ours, and in our metadata.
    Ours,
    /// Of a cluster that was stopped in good order and has no metadata any more; whoever leads may take it over.
    Sealed(Identity),
}

/// Makes the store ours if it is nobody's, and refuses it if it is somebody else's, or if its catalog was made anew in
/// another metadata store; refuses either of them if it is newer than we are.
///
/// # Errors
/// [`Error::ForeignStore`] for another cluster's store, [`Error::NewerStore`] for one that a later version wrote,
/// [`Error::Format`] for a cluster that was finalized to a later format,
/// [`Error::CatalogLost`] for one whose metadata is gone, [`Error::CatalogWaits`] (kind `Unavailable`) while the
/// catalog is made anew.
pub async fn claim(blobs: &Arc<dyn Blobs>, metas: &dyn Metas, rng: &dyn Rng) -> Result<Claimed, Error> {
    let failed = |source| Error::OpenMetas { source };
    if metas.get(REBUILDING).await.map_err(failed)?.is_some() {
        return Err(Error::CatalogWaits);
    }
    let unreadable = |source| Error::Format { source };
    read_format(metas).await.map_err(unreadable)?;
    let found = read(blobs.as_ref()).await?;
    // Read after the store: who makes a cluster writes its id to the metadata first.
    let ours = match (known_id(metas).await?, &found) {
        (Some(ours), _) => ours,
        (None, None) => own_id(metas, rng).await?,
        (None, Some(identity)) => return orphaned(blobs, identity).await,
    };
    let identity = match found {
        Some(identity) => identity,
        None => create(blobs.as_ref(), &ours).await?,
    };
    if identity.cluster != ours {
        return Err(Error::ForeignStore { theirs: identity.cluster, ours });
    }
    let catalog = |source| Error::Catalog { source };
    let newest = newest_generation(blobs.as_ref()).await.map_err(catalog)?;
    let own = own_generation(metas).await.map_err(catalog)?;
    if own < newest {
        return Err(Error::CatalogMoved { own, newest });
    }
    // A cluster that is new has one by now.
    let format = read_format(metas).await.map_err(unreadable)?;
    // What marked the store may have broken off after the record was written.
    let marked = mark_finalized(blobs.as_ref(), &ours, format).await;
    marked.map_err(|source| Error::OpenBlobs { source })?;
    Ok(Claimed::Ours)
}

/// A store of a cluster whose metadata is not here.
async fn orphaned(blobs: &Arc<dyn Blobs>, identity: &Identity) -> Result<Claimed, Error> {
    let mirror = read_mirror(Arc::clone(blobs)).await.map_err(|source| Error::Catalog { source })?;
    if mirror.is_some_and(|image| image.sealed) {
        return Ok(Claimed::Sealed(identity.clone()));
    }
    Err(Error::CatalogLost { cluster: identity.cluster.clone() })
}

/// Whose the store is; `None` while it is nobody's.
///
/// # Errors
/// [`Error::NewerStore`] if a later version wrote it, or it was finalized to a later format.
pub async fn read(blobs: &dyn Blobs) -> Result<Option<Identity>, Error> {
    let finalized = finalized(blobs).await?;
    let found = match blobs.read(OBJECT).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(source) => return Err(Error::OpenBlobs { source }),
    };
    let identity: Identity =
        serde_json::from_slice(&found).map_err(|source| Error::BadIdentity { source })?;
    if identity.oldest_reader > newest_format() {
        return Err(Error::NewerStore { layout: identity.layout, oldest_reader: identity.oldest_reader });
    }
    Ok(Some(Identity { oldest_reader: identity.oldest_reader.max(finalized), ..identity }))
}

/// Makes the store that of `cluster`, or finds whose it has become meanwhile.
///
/// # Errors
/// If the store fails.
pub async fn create(blobs: &dyn Blobs, cluster: &str) -> Result<Identity, Error> {
    let identity = Identity { cluster: cluster.to_owned(), layout: LAYOUT, oldest_reader: LAYOUT };
    let bytes = serde_json::to_vec_pretty(&identity).map_err(|source| Error::BadIdentity { source })?;
    match blobs.create(OBJECT, Bytes::from(bytes)).await {
        Ok(()) => Ok(identity),
        // Another node was faster: what it wrote is what counts.
        Err(error) if error.kind() == Kind::Exists => Ok(read(blobs).await?.unwrap_or(identity)),
        Err(source) => Err(Error::OpenBlobs { source }),
    }
}

async fn known_id(metas: &dyn Metas) -> Result<Option<String>, Error> {
    let known = metas.get(RECORD).await.map_err(|source| Error::OpenMetas { source })?;
    Ok(known.map(|known| String::from_utf8_lossy(&known.value).into_owned()))
}

/// Says in the store that readers must know `format`, for those who have the store only. An object is never written
/// anew, so each version that a cluster is finalized to has one of its own.
///
/// # Errors
/// If the store fails; calling again is safe.
pub async fn mark_finalized(blobs: &dyn Blobs, cluster: &str, format: u32) -> Result<(), blob::Error> {
    if format == FIRST_FORMAT {
        return Ok(());
    }
    let identity = Identity { cluster: cluster.to_owned(), layout: format, oldest_reader: format };
    // Texts and numbers always become JSON.
    let bytes = serde_json::to_vec_pretty(&identity).unwrap_or_default();
    match blobs.create(&format!("{FINALIZED}{format}.json"), Bytes::from(bytes)).await {
        Err(error) if error.kind() != Kind::Exists => Err(error),
        _ => Ok(()),
    }
}

/// The format that a store was finalized to.
async fn finalized(blobs: &dyn Blobs) -> Result<u32, Error> {
    let listed = blobs.list(FINALIZED).await.map_err(|source| Error::OpenBlobs { source })?;
    let version = |entry: &BlobEntry| -> Option<u32> {
        entry.key.strip_prefix(FINALIZED)?.strip_suffix(".json")?.parse().ok()
    };
    match listed.iter().filter_map(version).max() {
        Some(format) if format > newest_format() => {
            Err(Error::NewerStore { layout: format, oldest_reader: format })
        }
        found => Ok(found.unwrap_or(FIRST_FORMAT)),
    }
}

/// The id of this cluster, made at the first start.
async fn own_id(metas: &dyn Metas, rng: &dyn Rng) -> Result<String, Error> {
    let id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let txn = Txn::new().expect_absent(RECORD).put(RECORD, Bytes::from(id.clone()));
    // Nobody of an earlier version has read anything of it.
    let txn = put_format(txn, newest_format()).map_err(|source| Error::Format { source })?;
    match metas.commit(txn).await {
        Ok(_) => Ok(id),
        // Another node of a cluster that starts for the first time was faster.
        Err(error) if error.kind() == Kind::Conflict => Ok(known_id(metas).await?.unwrap_or(id)),
        Err(source) => Err(Error::OpenMetas { source }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Claimed, claim, mark_finalized, read};
    use crate::assembly::Error;
    use crate::base::SeededRng;
    use crate::blob::{Blobs, MemoryBlobs};
    use crate::meta::{MemoryMetas, Metas as _, Txn};

    fn store() -> Arc<dyn Blobs> {
        MemoryBlobs::new()
    }

    #[tokio::test]
    async fn a_store_is_claimed_once_and_found_again() {
        let (blobs, metas, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));

        for _ in 0..2 {
            let claimed = claim(&blobs, metas.as_ref(), rng.as_ref()).await.unwrap();
            assert_eq!(claimed, Claimed::Ours);
        }
    }

    #[tokio::test]
    async fn the_store_of_another_cluster_is_refused() {
        let (blobs, other, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        claim(&blobs, MemoryMetas::new().as_ref(), rng.as_ref()).await.unwrap();
        claim(&store(), other.as_ref(), rng.as_ref()).await.unwrap();

        let refused = claim(&blobs, other.as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::ForeignStore { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_store_whose_metadata_is_gone_is_refused_and_nothing_is_written() {
        let (blobs, empty, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        claim(&blobs, MemoryMetas::new().as_ref(), rng.as_ref()).await.unwrap();

        let refused = claim(&blobs, empty.as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::CatalogLost { .. })), "{refused:?}");
        assert_eq!(empty.list("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn metadata_that_was_made_anew_elsewhere_is_refused() {
        let (blobs, metas, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        claim(&blobs, metas.as_ref(), rng.as_ref()).await.unwrap();
        blobs.create("generations/0000000001", "{}".into()).await.unwrap();

        let refused = claim(&blobs, metas.as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::CatalogMoved { own: 0, newest: 1 })), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_starts_while_the_catalog_is_made_anew() {
        let (blobs, metas, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        metas.commit(Txn::new().put("cluster/rebuilding", "1")).await.unwrap();

        let waits = claim(&blobs, metas.as_ref(), rng.as_ref()).await;

        assert!(matches!(waits, Err(Error::CatalogWaits)), "{waits:?}");
    }

    #[tokio::test]
    async fn the_store_of_a_later_version_is_refused() {
        let (blobs, rng) = (store(), SeededRng::new(1));
        let later = r#"{"cluster":"x","layout":9,"oldest_reader":8}"#;
        blobs.create("redkite.json", later.into()).await.unwrap();

        let refused = claim(&blobs, MemoryMetas::new().as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::NewerStore { layout: 9, oldest_reader: 8 })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_store_that_was_finalized_further_is_refused_by_its_bucket_alone() {
        let (blobs, metas, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        claim(&blobs, metas.as_ref(), rng.as_ref()).await.unwrap();
        mark_finalized(blobs.as_ref(), "x", 9).await.unwrap();

        let refused = claim(&blobs, metas.as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::NewerStore { layout: 9, oldest_reader: 9 })), "{refused:?}");
        assert!(matches!(read(blobs.as_ref()).await, Err(Error::NewerStore { .. })));
    }

    #[tokio::test]
    async fn a_cluster_that_was_finalized_further_is_refused_by_its_metadata_alone() {
        let (blobs, metas, rng) = (store(), MemoryMetas::new(), SeededRng::new(1));
        let record = r#"{"version":1,"value":{"format":9}}"#;
        metas.commit(Txn::new().put("cluster/format", Bytes::from_static(record.as_bytes()))).await.unwrap();

        let refused = claim(&blobs, metas.as_ref(), rng.as_ref()).await.unwrap_err();

        let text = crate::base::chain(&refused);
        assert!(
            text.contains("the cluster was finalized to format 9, and this version reads up to"),
            "{text}"
        );
    }
}
