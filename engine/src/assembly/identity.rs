//! Whose bucket this is: the first object of a blob store, and the same id in the metadata.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::assembly::Error;
use crate::base::{Kind, Kinded, Rng};
use crate::blob::Blobs;
use crate::meta::{Metas, Txn};

/// Key of the object that says whose the store is.
const OBJECT: &str = "redkite.json";
/// Key of the record that says who we are.
const RECORD: &str = "cluster/id";
/// How objects are laid out, as this version writes them.
const LAYOUT: u32 = 1;

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

/// Makes the store ours if it is nobody's, and refuses it if it is somebody else's.
///
/// # Errors
/// [`Error::ForeignStore`] for another cluster's store, [`Error::NewerStore`] for one that a later version wrote.
pub async fn claim(blobs: &dyn Blobs, metas: &dyn Metas, rng: &dyn Rng) -> Result<(), Error> {
    let ours = own_id(metas, rng).await?;
    let found = match blobs.read(OBJECT).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Kind::NotFound => {
            let identity = Identity { cluster: ours.clone(), layout: LAYOUT, oldest_reader: LAYOUT };
            let bytes =
                serde_json::to_vec_pretty(&identity).map_err(|source| Error::BadIdentity { source })?;
            match blobs.create(OBJECT, Bytes::from(bytes)).await {
                Ok(()) => return Ok(()),
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
    if identity.oldest_reader > LAYOUT {
        return Err(Error::NewerStore { layout: identity.layout, oldest_reader: identity.oldest_reader });
    }
    if identity.cluster != ours {
        return Err(Error::ForeignStore { theirs: identity.cluster, ours });
    }
    Ok(())
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
    use super::claim;
    use crate::assembly::Error;
    use crate::base::SeededRng;
    use crate::blob::{Blobs as _, MemoryBlobs};
    use crate::meta::MemoryMetas;

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
}
