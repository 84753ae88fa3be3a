//! Whose bucket this is: the first object of a blob store, and the same id in the metadata.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::assembly::Error;
use crate::base::{FIRST_FORMAT, Kind, Kinded, Rng, newest_format};
use crate::blob::{self, BlobEntry, Blobs};
use crate::coord::read_format;
use crate::meta::{Metas, Txn};

/// Key of the object that says whose the store is.
const OBJECT: &str = "redkite.json";
/// Key of the record that says who we are.
const RECORD: &str = "cluster/id";
/// How objects are laid out, as this version writes them.
const LAYOUT: u32 = FIRST_FORMAT;

/// How the keys of the objects begin that say to which format the store was finalized.
const FINALIZED: &str = "finalized/";

/// What [`OBJECT`] holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// The cluster that the store belongs to.
    cluster: String,
    /// Layout of the objects.
    layout: u32,
    /// Layout that a reader must know at least.
    oldest_reader: u32,
}

/// Makes the store ours if it is nobody's, and refuses it if it is somebody else's or newer than we are.
///
/// # Errors
/// [`Error::ForeignStore`] for another cluster's store, [`Error::NewerStore`] for one that a later version wrote,
/// [`Error::Format`] for a cluster that was finalized to a later format.
pub async fn claim(blobs: &dyn Blobs, metas: &dyn Metas, rng: &dyn Rng) -> Result<(), Error> {
    let format = read_format(metas).await.map_err(|source| Error::Format { source })?;
    let ours = own_id(metas, rng).await?;
    let found = match blobs.read(OBJECT).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Kind::NotFound => {
            let identity = Identity { cluster: ours.clone(), layout: LAYOUT, oldest_reader: LAYOUT };
            let bytes =
                serde_json::to_vec_pretty(&identity).map_err(|source| Error::BadIdentity { source })?;
            match blobs.create(OBJECT, Bytes::from(bytes)).await {
                Ok(()) => return refuse_newer(blobs).await,
                // Another node was faster: what it wrote is what counts.
                Err(error) if error.kind() == Kind::Exists => {
                    blobs.read(OBJECT).await.map_err(|source| Error::OpenBlobs { source })?
                }
                Err(source) => return Err(Error::OpenBlobs { source }),
            }
        }
        Err(source) => return Err(Error::OpenBlobs { source }),
    };
    let identity: Identity =
        serde_json::from_slice(&found).map_err(|source| Error::BadIdentity { source })?;
    if identity.oldest_reader > newest_format() {
        return Err(Error::NewerStore { layout: identity.layout, oldest_reader: identity.oldest_reader });
    }
    if identity.cluster != ours {
        return Err(Error::ForeignStore { theirs: identity.cluster, ours });
    }
    refuse_newer(blobs).await?;
    // What marked the store may have broken off after the record was written.
    mark_finalized(blobs, &ours, format).await.map_err(|source| Error::OpenBlobs { source })
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

/// Refuses a store that was finalized to a later format.
async fn refuse_newer(blobs: &dyn Blobs) -> Result<(), Error> {
    let listed = blobs.list(FINALIZED).await.map_err(|source| Error::OpenBlobs { source })?;
    let version = |entry: &BlobEntry| -> Option<u32> {
        entry.key.strip_prefix(FINALIZED)?.strip_suffix(".json")?.parse().ok()
    };
    match listed.iter().filter_map(version).max() {
        Some(format) if format > newest_format() => {
            Err(Error::NewerStore { layout: format, oldest_reader: format })
        }
        _ => Ok(()),
    }
}

/// The id of this cluster, made at the first start.
async fn own_id(metas: &dyn Metas, rng: &dyn Rng) -> Result<String, Error> {
    let failed = |source| Error::OpenMetas { source };
    if let Some(known) = metas.get(RECORD).await.map_err(failed)? {
        return Ok(String::from_utf8_lossy(&known.value).into_owned());
    }
    let id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let txn = Txn::new().expect_absent(RECORD).put(RECORD, Bytes::from(id.clone()));
    match metas.commit(txn).await {
        Ok(_) => Ok(id),
        // Another node of a cluster that starts for the first time was faster.
        Err(error) if error.kind() == Kind::Conflict => {
            let known = metas.get(RECORD).await.map_err(failed)?;
            Ok(known.map_or(id, |known| String::from_utf8_lossy(&known.value).into_owned()))
        }
        Err(source) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{claim, mark_finalized};
    use crate::assembly::Error;
    use crate::base::SeededRng;
    use crate::blob::{Blobs as _, MemoryBlobs};
    use crate::meta::{MemoryMetas, Metas as _, Txn};

    #[tokio::test]
    async fn a_store_is_claimed_once_and_found_again() {
        let (blobs, metas, rng) = (MemoryBlobs::new(), MemoryMetas::new(), SeededRng::new(1));

        claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await.unwrap();
        claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await.unwrap();
    }

    #[tokio::test]
    async fn the_store_of_another_cluster_is_refused() {
        let (blobs, rng) = (MemoryBlobs::new(), SeededRng::new(1));
        claim(blobs.as_ref(), MemoryMetas::new().as_ref(), rng.as_ref()).await.unwrap();

        let refused = claim(blobs.as_ref(), MemoryMetas::new().as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::ForeignStore { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn the_store_of_a_later_version_is_refused() {
        let (blobs, rng) = (MemoryBlobs::new(), SeededRng::new(1));
        let later = r#"{"cluster":"x","layout":9,"oldest_reader":8}"#;
        blobs.create("redkite.json", later.into()).await.unwrap();

        let refused = claim(blobs.as_ref(), MemoryMetas::new().as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::NewerStore { layout: 9, oldest_reader: 8 })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_store_that_was_finalized_further_is_refused_by_its_bucket_alone() {
        let (blobs, metas, rng) = (MemoryBlobs::new(), MemoryMetas::new(), SeededRng::new(1));
        claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await.unwrap();
        mark_finalized(blobs.as_ref(), "x", 9).await.unwrap();

        let refused = claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await;

        assert!(matches!(refused, Err(Error::NewerStore { layout: 9, oldest_reader: 9 })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_cluster_that_was_finalized_further_is_refused_by_its_metadata_alone() {
        let (blobs, metas, rng) = (MemoryBlobs::new(), MemoryMetas::new(), SeededRng::new(1));
        let record = r#"{"version":1,"value":{"format":9}}"#;
        metas.commit(Txn::new().put("cluster/format", Bytes::from_static(record.as_bytes()))).await.unwrap();

        let refused = claim(blobs.as_ref(), metas.as_ref(), rng.as_ref()).await.unwrap_err();

        let text = crate::base::chain(&refused);
        assert!(
            text.contains("the cluster was finalized to format 9, and this version reads up to"),
            "{text}"
        );
    }
}
