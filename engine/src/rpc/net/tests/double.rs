//! A duty of every kind that notes what it was asked and answers samples, or one error.

use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

use super::sample::Sample;
use crate::base::{ChannelName, CollectionId, NodeId, Position, Timestamp};
use crate::model::access::Policy;
use crate::model::{ChannelManifest, IndexRef, SegmentManifest};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};
use crate::rpc::net::Served;
use crate::rpc::net::coord_call::Repeat::{self, Safe, Unsafe};
use crate::rpc::net::coord_call::{
    Channels, Groups, LaterChoice, Lend as _, Names, Nodes, Pairs, Segments, SomeNames, SomeNumber,
    coord_calls, of_alias, of_change, of_policy,
};
use crate::rpc::{
    AliasChange, Builder, CollectionChange, CollectionInfo, CollectionRef, CompactJob, CompactionState,
    Coord, DatabaseInfo, Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportDone,
    ImportInfo, ImportJob, IndexJob, IndexProgress, LeadInfo, Mark, NewCollection, NewImport, NewIndex,
    NodeStatus, Orders, PolicyChange, Querier, ReadAfter, ReplicaInfo, Report, Routes, Share, SteerChange,
    Steering, StoredObject, Tail, TimeSpan, Write, Writer, Written,
};

impl Sample for LaterChoice {
    fn sample() -> Self {
        Self::from(true)
    }
}

/// Notes every call; each method answers its sample unless an error is set.
#[derive(Default)]
pub(super) struct Double {
    noted: Mutex<Vec<String>>,
    error: Mutex<Option<Error>>,
}

impl Double {
    /// Answers `error` from now on.
    pub(super) fn fail(&self, error: Error) {
        *self.error.lock() = Some(error);
    }

    /// What was asked since the last time, with all arguments.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.noted.lock())
    }

    fn note(&self, call: &str, arguments: &dyn std::fmt::Debug) -> Result<(), Error> {
        self.noted.lock().push(format!("{call} {arguments:?}"));
        self.error.lock().clone().map_or(Ok(()), Err)
    }

    /// This double behind every duty.
    pub(super) fn served(self: &Arc<Self>) -> Served {
        Served {
            coord: Some(Arc::clone(self) as _),
            writer: Some(Arc::clone(self) as _),
            querier: Some(Arc::clone(self) as _),
            builder: Some(Arc::clone(self) as _),
            admin: None,
        }
    }
}

macro_rules! double {
    ($($call:ident($($name:ident: $taken:ty as $kept:ty),*) -> $value:ty, $repeat:expr;)+) => {
        #[async_trait]
        impl Coord for Double {
            $(async fn $call(&self, $($name: $taken),*) -> Result<$value, Error> {
                self.note(stringify!($call), &($(&$name,)*))?;
                Ok(<$value>::sample())
            })+
        }

        /// Every call of the coordinator, made of both with the same sample; gives what each came to and whether it
        /// may be repeated.
        pub(super) async fn compare_coords(here: &dyn Coord, there: &dyn Coord) -> Vec<(&'static str, Repeat)> {
            let mut all = Vec::new();
            $({
                $(let $name = <$kept>::sample();)*
                all.push((stringify!($call), $repeat));
                let left = here.$call($($name.lend()),*).await;
                let right = there.$call($($name.lend()),*).await;
                assert_eq!(left, right, "{}", stringify!($call));
            })+
            all
        }
    };
}

coord_calls!(double);

#[async_trait]
impl Writer for Double {
    async fn write(&self, write: Write) -> Result<Written, Error> {
        self.note("write", &write)?;
        Ok(Written { at: Timestamp::sample() })
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), Error> {
        self.note("flush", channel)
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        self.note("mark", channel)?;
        Ok(Mark { end: Position(u64::MAX), at: Timestamp(7), now: Timestamp(8) })
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error> {
        self.note("tail", &(channel, from))?;
        let end = Error::Stale { what: "the channel".to_owned() };
        let records = [
            Ok((Position(0), bytes::Bytes::new())),
            Ok((Position(u64::MAX), bytes::Bytes::from(vec![7; 3 << 20]))),
            Err(end),
        ];
        Ok(Box::pin(futures::stream::iter(records)))
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error> {
        self.note("forget", &channels)
    }
}

#[async_trait]
impl Querier for Double {
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error> {
        self.note("search", &(plan, share, after))?;
        Ok(SearchHits::sample())
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        self.note("query", &(plan, share, after))?;
        Ok(QueryRows::sample())
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        self.note("reach", &(collection, share, after))?;
        Ok(vec![
            TimeSpan { from: Timestamp(3), to: Timestamp(u64::MAX) },
            TimeSpan { from: Timestamp(0), to: Timestamp(7) },
        ])
    }
}

#[async_trait]
impl Builder for Double {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error> {
        self.note("build_index", &job)?;
        Ok(IndexRef::sample())
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error> {
        self.note("import", &job)?;
        Ok(ImportDone::sample())
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error> {
        self.note("compact", &job)?;
        Ok(Vec::sample())
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error> {
        self.note("list_objects", &prefix)?;
        Ok(Vec::sample())
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error> {
        self.note("remove_objects", &keys)
    }
}
