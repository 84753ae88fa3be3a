//! Ids are types: a segment is never mistaken for a collection.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(out)
            }
        }
    )+};
}

ids! {
    /// One database, for its whole life. The default database has id 1.
    DatabaseId,
    /// One collection, for its whole life. Allocated by `coord`, never reused.
    CollectionId,
    /// One partition of one collection. Allocated by `coord`, never reused.
    PartitionId,
    /// One segment, growing and sealed alike. Allocated by `coord`, never reused.
    SegmentId,
    /// One index of one field of one collection. Allocated by `coord`, never reused.
    IndexId,
    /// One field of a collection's schema: 100 and up in schema order, as Milvus numbers them.
    FieldId,
    /// One running process that carries duties.
    NodeId,
}

/// One shard of a collection: the unit of order, of ownership and of the log.
///
/// The name is Milvus's virtual channel name, `by-dev-rootcoord-dml_<n>_<collection>v<shard>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ChannelName(pub std::sync::Arc<str>);

impl ChannelName {
    /// The channel of shard `shard` of `collection`.
    #[must_use]
    pub fn of(collection: CollectionId, shard: u32) -> Self {
        Self(format!("by-dev-rootcoord-dml_{shard}_{collection}v{shard}").into())
    }

    /// The collection whose shard this is, if the name is one that [`Self::of`] makes.
    #[must_use]
    pub fn collection(&self) -> Option<CollectionId> {
        let (_, ids) = self.0.rsplit_once('_')?;
        let (collection, _) = ids.split_once('v')?;
        collection.parse().ok().map(CollectionId)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Self> for ChannelName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl std::fmt::Display for ChannelName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// Place of a record in its channel's log. The first record has position 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Of the first record of a channel.
    pub const FIRST: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}
