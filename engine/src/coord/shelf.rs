//! Reads and writes the objects of the catalog: the one place where `coord` touches the bucket.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::base::{ChannelName, CollectionId};
use crate::blob::{self, Blobs};
use crate::coord::Error;
use crate::coord::stored::{self, Content, Piece, Stored};
use crate::model::ChannelManifest;

/// Objects read at the same time when a leader starts.
const AT_ONCE: usize = 64;

/// The catalog's objects.
#[derive(Clone)]
pub struct Shelf {
    blobs: Arc<dyn Blobs>,
}

impl Shelf {
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs }
    }

    /// Stores an object under a key that was never used.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.blobs.create(key, body).await.map_err(|source| Error::Store { key: key.to_owned(), source })
    }

    /// Removes objects that no record names. What is not removed is an orphan, which a sweep finds.
    pub async fn discard(&self, keys: &[String]) {
        for key in keys {
            drop(self.blobs.delete(key).await);
        }
    }

    /// The keys that begin with `prefix`, ascending.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Store { key: prefix.to_owned(), source };
        Ok(self.blobs.list(prefix).await.map_err(failed)?.into_iter().map(|entry| entry.key).collect())
    }

    /// What an object says. One that is damaged is read a second time: it may have been damaged on its way.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be read, [`Error::BadRecord`] if it is damaged.
    pub async fn get<T: DeserializeOwned>(&self, key: &str, piece: Option<&Piece>) -> Result<T, Error> {
        let failed = |source: blob::Error| Error::Store { key: key.to_owned(), source };
        let first = self.blobs.read(key).await.map_err(failed)?;
        match stored::unseal(key, &first, piece) {
            Err(Error::BadRecord { .. }) => {
                let second = self.blobs.read(key).await.map_err(failed)?;
                stored::unseal(key, &second, piece)
            }
            read => read,
        }
    }

    /// The newest generation of the metadata that the bucket tells of.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn newest_generation(&self) -> Result<u64, Error> {
        super::rebuild::newest_generation(self.blobs.as_ref()).await
    }

    /// The manifest of a channel.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn manifest(
        &self,
        collection: CollectionId,
        channel: &ChannelName,
        stored: &Stored,
    ) -> Result<ChannelManifest, Error> {
        let mut pieces: Vec<Content> = Vec::new();
        for piece in stored.pieces() {
            let key = stored::manifest_key(collection, channel, piece.number);
            pieces.push(self.get(&key, Some(piece)).await?);
        }
        let manifest = stored::assemble(channel.as_str(), pieces)?;
        let checkpoint = stored.checkpoint.unwrap_or(manifest.checkpoint);
        Ok(ChannelManifest { checkpoint, ..manifest })
    }

    /// The manifests of many channels, in any order, or why one was not read: as [`Self::manifest`] says.
    pub async fn manifests<P>(
        &self,
        wanted: impl IntoIterator<Item = (CollectionId, ChannelName, Stored, P)>,
    ) -> Vec<(Result<ChannelManifest, Error>, ChannelName, Stored, P)> {
        let reads = wanted.into_iter().map(|(collection, channel, stored, place)| async move {
            let manifest = self.manifest(collection, &channel, &stored).await;
            (manifest, channel, stored, place)
        });
        futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect().await
    }
}
