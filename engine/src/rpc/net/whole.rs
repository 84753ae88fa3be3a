//! Calls of the coordinator that are done to their end, whoever gives up waiting for them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::coord_call::{
    Channels, Groups, LaterChoice, Lend as _, Names, Nodes, Pairs, Segments, SomeNames, SomeNumber,
    coord_calls,
};
use crate::base::{ChannelName, CollectionId, Kind, NodeId, TaskSet, Timestamp};
use crate::model::ChannelManifest;
use crate::model::access::Policy;
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress,
    LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report,
    Routes, SteerChange, Steering,
};

/// A coordinator of this process, each of whose calls is a task of its own. A call goes on when its caller is gone, a client
/// that gave up or a connection that broke: what is left half way would be in the metadata and not in the coordinator's memory.
/// Once the process is to stop, only those calls go on that somebody waits for.
pub struct WholeCalls {
    inner: Arc<dyn Coord>,
    tasks: TaskSet,
}

impl WholeCalls {
    /// The calls of `inner`, done in `tasks`.
    #[must_use]
    pub fn new(inner: Arc<dyn Coord>, tasks: TaskSet) -> Arc<Self> {
        Arc::new(Self { inner, tasks })
    }

    async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (mut answer, answered) = oneshot::channel();
        self.tasks.start(name, |stop| async move {
            let given_up = async {
                stop.cancelled().await;
                answer.closed().await;
            };
            // A call that panics is answered, and ends by itself: the caller would ask the next leader the same.
            let call = AssertUnwindSafe(call).catch_unwind().map(|outcome| {
                let reason = "the call broke, which is a defect of the coordinator".to_owned();
                outcome.unwrap_or(Err(Error::Failed { call: name, kind: Kind::Internal, reason }))
            });
            let outcome = tokio::select! {
                biased;
                outcome = call => Some(outcome),
                () = given_up => None,
            };
            // Nobody may be there any more to hear it.
            drop(outcome.map(|outcome| answer.send(outcome)));
            Ok(())
        });
        let broken_off =
            || Error::Failed { call: name, kind: Kind::Unavailable, reason: "the process ended".to_owned() };
        answered.await.unwrap_or_else(|_| Err(broken_off()))
    }
}

macro_rules! finish {
    ($($call:ident($($name:ident: $taken:ty as $kept:ty),*) -> $value:ty, $repeat:expr;)+) => {
        #[async_trait]
        impl Coord for WholeCalls {
            fn doubt(&self) {
                self.inner.doubt();
            }

            $(async fn $call(&self, $($name: $taken),*) -> Result<$value, Error> {
                let inner = Arc::clone(&self.inner);
                $(let $name = <$kept>::from($name);)*
                self.finish(stringify!($call), async move { inner.$call($($name.lend()),*).await }).await
            })+
        }
    };
}

coord_calls!(finish);
