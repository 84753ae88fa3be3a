//! The duties of another node: each call becomes a message and its answer a value.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contract::internal as pb;
use futures::StreamExt as _;
use pb::builder_client::BuilderClient;
use pb::coord_client::CoordClient;
use pb::querier_client::QuerierClient;
use pb::writer_client::WriterClient;
use serde::de::DeserializeOwned;
use tonic::{Code, Status, Streaming};

use super::MAX_MESSAGE;
use super::convert::{self, CompactAnswer};
use super::coord_call::CoordCall;
use super::link::{Carrier, Link, Links, was_not_sent};
use crate::base::{ChannelName, CollectionId, Kind, Position, Timestamp, chain};
use crate::model::{IndexRef, SegmentManifest};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};
use crate::rpc::{
    Builder, CompactJob, Error, ImportDone, ImportJob, IndexJob, Mark, Querier, ReadAfter, Share,
    StoredObject, Tail, TimeSpan, Write, Writer, Written,
};

/// The node at an address.
pub(super) struct Remote {
    links: Arc<Links>,
    address: Arc<str>,
}

impl Remote {
    pub(super) const fn new(links: Arc<Links>, address: Arc<str>) -> Self {
        Self { links, address }
    }

    /// Makes one call. `send` is called a second time only if nothing was sent the first time. Dropping the call makes
    /// the peer drop it too.
    async fn call<A, F>(
        &self,
        call: &'static str,
        limit: Option<Duration>,
        send: impl Fn(Link) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let calling = async {
            let mut is_first = true;
            loop {
                let link = self.links.link(&self.address).await.map_err(|reason| self.unreached(&reason))?;
                let status = match send(link.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => status,
                };
                // Only what this side made has a cause: then the connection is not to be trusted any more.
                if std::error::Error::source(&status).is_some() {
                    self.links.give_up(&self.address, &link);
                }
                if !was_not_sent(&status) {
                    return Err(self.broken(call, &status));
                }
                if !std::mem::take(&mut is_first) {
                    return Err(self.unreached(&chain(&status)));
                }
            }
        };
        let Some(limit) = limit else { return calling.await };
        tokio::select! {
            outcome = calling => outcome,
            () = self.links.clock().sleep(limit) => Err(self.failed(call, format!("no answer within {limit:?}"))),
        }
    }

    /// What a call comes to that got no answer. Errors of duties are answers; this is about the way to them.
    fn broken(&self, call: &'static str, status: &Status) -> Error {
        match status.code() {
            Code::Unauthenticated => Error::Failed {
                call,
                kind: Kind::Denied,
                reason: format!("{} does not accept our token", self.address),
            },
            Code::Unimplemented => self.failed(call, "its version does not have this call".to_owned()),
            _ => self.failed(call, chain(status)),
        }
    }

    /// What a call comes to of which nothing was sent.
    fn unreached(&self, reason: &str) -> Error {
        Error::Stale { what: format!("{} ({reason})", self.address) }
    }

    fn failed(&self, call: &'static str, reason: String) -> Error {
        Error::Failed { call, kind: Kind::Unavailable, reason: format!("{}: {reason}", self.address) }
    }

    /// A call of the coordinator there.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: &'static str,
        asked: &CoordCall,
    ) -> Result<T, Error> {
        let message = pb::Call { arguments: convert::json(call, asked)? };
        let send = |link: Link| {
            let message = message.clone();
            async move {
                CoordClient::new(link.carrier)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE)
                    .ask(message)
                    .await
            }
        };
        let settings = self.links.settings();
        let limit = match asked {
            CoordCall::beat { .. } => settings.beat,
            // The one call that lists the object store, as `list_objects` does.
            CoordCall::fsck {} => settings.flush,
            _ => settings.brief,
        };
        let answer = self.call(call, Some(limit), send).await?;
        convert::from_answer(call, answer.into_inner())
    }
}

fn writer(link: Link) -> WriterClient<Carrier> {
    WriterClient::new(link.carrier)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

fn querier(link: Link) -> QuerierClient<Carrier> {
    QuerierClient::new(link.carrier)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

fn builder(link: Link) -> BuilderClient<Carrier> {
    BuilderClient::new(link.carrier)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

#[async_trait]
impl Writer for Remote {
    async fn write(&self, write: Write) -> Result<Written, Error> {
        let message = convert::write_to(&write);
        let is_repeat = write.request.is_some_and(|request| request.is_repeat);
        drop(write);
        let send = |link| {
            let message = message.clone();
            async move {
                // An owner of a version that would do it a second time does not know this call.
                if is_repeat { writer(link).repeat(message).await } else { writer(link).write(message).await }
            }
        };
        let answer = self.call("write", Some(self.links.settings().write), send).await?.into_inner();
        convert::answered("write", answer.error)?;
        Ok(Written { at: Timestamp(answer.at) })
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), Error> {
        let message = pb::ChannelCall { channel: channel.as_str().to_owned() };
        let send = |link| {
            let message = message.clone();
            async move { writer(link).flush(message).await }
        };
        let answer = self.call("flush", Some(self.links.settings().flush), send).await?;
        convert::from_answer("flush", answer.into_inner())
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        let message = pb::ChannelCall { channel: channel.as_str().to_owned() };
        let send = |link| {
            let message = message.clone();
            async move { writer(link).mark(message).await }
        };
        let answer = self.call("mark", Some(self.links.settings().brief), send).await?.into_inner();
        convert::answered("mark", answer.error)?;
        let at = Timestamp(answer.at);
        Ok(Mark { end: Position(answer.end), at, now: at.max(Timestamp(answer.now)) })
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error> {
        let message = pb::TailCall { channel: channel.as_str().to_owned(), from: from.0 };
        let send = |link: Link| {
            let message = message.clone();
            async move {
                let mut items = writer(link.clone()).tail(message).await?.into_inner();
                let first = items.message().await?;
                Ok((first, items, link))
            }
        };
        let (first, items, link) = self.call("tail", Some(self.links.settings().brief), send).await?;
        match first {
            Some(opened) => convert::answered("tail", opened.error)?,
            None => return Err(self.failed("tail", "the walk ended before it began".to_owned())),
        }
        Ok(walk(items, link, Arc::clone(&self.address)))
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error> {
        let channels = channels.iter().map(|channel| channel.as_str().to_owned()).collect();
        let message = pb::ForgetCall { channels };
        let send = |link| {
            let message = message.clone();
            async move { writer(link).forget(message).await }
        };
        let answer = self.call("forget", Some(self.links.settings().remove), send).await?;
        convert::from_answer("forget", answer.into_inner())
    }
}

/// The records of an open walk, and the error that ends it. Keeps its connection.
fn walk(items: Streaming<pb::TailItem>, link: Link, address: Arc<str>) -> Tail {
    let failed = move |reason: String| Error::Failed {
        call: "tail",
        kind: Kind::Unavailable,
        reason: format!("{address}: {reason}"),
    };
    let next = |state: Option<(Streaming<pb::TailItem>, Link)>| async {
        let (mut items, link) = state?;
        Some(match items.message().await {
            Ok(Some(pb::TailItem { error: None, record: Some(record) })) => {
                (Ok(Ok((Position(record.position), record.bytes))), Some((items, link)))
            }
            Ok(Some(pb::TailItem { error: Some(error), .. })) => {
                (Ok(Err(convert::error_from("tail", error))), None)
            }
            // An item of a later version that this one need not know.
            Ok(Some(pb::TailItem { error: None, record: None })) => (Err(None), Some((items, link))),
            Ok(None) => (Err(Some("the walk ended".to_owned())), None),
            Err(status) => (Err(Some(chain(&status))), None),
        })
    };
    Box::pin(futures::stream::unfold(Some((items, link)), next).filter_map(move |item| {
        std::future::ready(match item {
            Ok(item) => Some(item),
            Err(reason) => reason.map(|reason| Err(failed(reason))),
        })
    }))
}

#[async_trait]
impl Querier for Remote {
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error> {
        let message = pb::SearchCall {
            plan: Some(convert::search_to(&plan)),
            share: Some(convert::share_to(&share)),
            after: Some(convert::after_to(after)),
        };
        let send = |link| {
            let message = message.clone();
            async move { querier(link).search(message).await }
        };
        let mut answer = self.call("search", Some(self.links.settings().read), send).await?.into_inner();
        convert::answered("search", answer.error.take())?;
        convert::hits_from(&answer).map_err(|damaged| convert::unreadable("search", &damaged))
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        let message = pb::QueryCall {
            plan: Some(convert::query_to(&plan)),
            share: Some(convert::share_to(&share)),
            after: Some(convert::after_to(after)),
        };
        let send = |link| {
            let message = message.clone();
            async move { querier(link).query(message).await }
        };
        let mut answer = self.call("query", Some(self.links.settings().read), send).await?.into_inner();
        convert::answered("query", answer.error.take())?;
        convert::rows_from(&answer).map_err(|damaged| convert::unreadable("query", &damaged))
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        let message = pb::ReachCall {
            collection: collection.0,
            share: Some(convert::share_to(&share)),
            after: Some(convert::after_to(after)),
        };
        let send = |link| {
            let message = message.clone();
            async move { querier(link).reach(message).await }
        };
        let answer = self.call("reach", Some(self.links.settings().read), send).await?.into_inner();
        convert::answered("reach", answer.error)?;
        Ok(convert::spans_from(answer.spans))
    }
}

#[async_trait]
impl Builder for Remote {
    /// Has no deadline: a peer that is gone is noticed by its silence.
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error> {
        let message = pb::Call { arguments: convert::json("build_index", &job)? };
        let send = |link| {
            let message = message.clone();
            async move { builder(link).build_index(message).await }
        };
        let answer = self.call("build_index", None, send).await?;
        convert::from_answer("build_index", answer.into_inner())
    }

    /// Has no deadline, as building.
    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error> {
        let message = pb::Call { arguments: convert::json("import", &job)? };
        let send = |link| {
            let message = message.clone();
            async move { builder(link).import(message).await }
        };
        let answer = self.call("import", None, send).await?;
        convert::from_answer("import", answer.into_inner())
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error> {
        let message = pb::Call { arguments: convert::json("compact", &job)? };
        let send = |link| {
            let message = message.clone();
            async move { builder(link).compact(message).await }
        };
        let answer = self.call("compact", None, send).await?;
        let answer: CompactAnswer = convert::from_answer("compact", answer.into_inner())?;
        answer.checked(job.keeps_since).ok_or_else(|| {
            let reason =
                "a node of an earlier version may have dropped what is kept for reads of the past".to_owned();
            Error::Failed { call: "compact", kind: Kind::Unavailable, reason }
        })
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error> {
        let message = pb::Call { arguments: convert::json("list_objects", &prefix)? };
        let send = |link| {
            let message = message.clone();
            async move { builder(link).list_objects(message).await }
        };
        let answer = self.call("list_objects", Some(self.links.settings().flush), send).await?;
        convert::from_answer("list_objects", answer.into_inner())
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error> {
        let message = pb::Call { arguments: convert::json("remove_objects", &keys)? };
        let send = |link| {
            let message = message.clone();
            async move { builder(link).remove_objects(message).await }
        };
        let answer = self.call("remove_objects", Some(self.links.settings().remove), send).await?;
        convert::from_answer("remove_objects", answer.into_inner())
    }
}
