//! Calls to the owners of channels.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::patience::Patience;
use super::{Error, Router, passes};
use crate::base::{ChannelName, CollectionId, Kind, Kinded as _, Position, RequestId};
use crate::model::Keys;
use crate::rpc::{
    self, CollectionRef, Mark, NodeState, NodeStatus, Operation, Place, Request, Routes, Tail, Write, Writer,
    Written,
};

/// How often it is looked whether the owner that has not answered yet is still the owner: for writes, which only proxies send,
/// who are told of new routes, and for other calls, for which the coordinator is asked each time, since query nodes are told
/// nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOK_SELDOM: Duration = Duration::from_secs(1);

/// How one round of asking an owner ended.
enum Round<T> {
    /// It did it.
    Done(T),
    /// It failed, and may have done it all the same.
    Unclear(rpc::Error),
}

/// The tries of one call about one channel.
struct Tries {
    call: &'static str,
    collection: CollectionId,
    channel: ChannelName,
    patience: Patience,
    /// When the call ends by itself, on the monotonic clock; `None` if it takes as long as it takes.
    end: Option<Duration>,
    /// Routes that did not work.
    seen: Option<Arc<Routes>>,
}

impl Router {
    fn tries(&self, call: &'static str, channel: &ChannelName) -> Result<Tries, rpc::Error> {
        let collection = channel
            .collection()
            .ok_or_else(|| rpc::Error::failed(call, &Error::NotAChannel { channel: channel.clone() }))?;
        let patience = self.patience(self.parts.settings.write_deadline_ms);
        Ok(Tries { call, collection, channel: channel.clone(), patience, end: None, seen: None })
    }

    /// Asks one owner, until it answers, is replaced, or the time is up. In the last two cases it may still do it.
    async fn ask_one<T>(
        &self,
        tries: &Tries,
        place: &Place,
        answer: impl Future<Output = Result<T, rpc::Error>> + Send,
    ) -> Result<T, rpc::Error> {
        let channel = || tries.channel.clone();
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.replaced(tries, place) => {
                Err(rpc::Error::failed(tries.call, &Error::Replaced { channel: channel(), address: place.address.to_string() }))
            }
            () = self.end_of_time(tries.end) => {
                Err(rpc::Error::failed(tries.call, &Error::NoAnswer { channel: channel(), address: place.address.to_string() }))
            }
        }
    }

    /// The routes to go by now, other ones than those that did not work if there are any. A coordinator that does not answer is
    /// not waited for longer than the call may take.
    async fn routes_in_time(&self, tries: &Tries) -> Result<Arc<Routes>, rpc::Error> {
        tokio::select! {
            biased;
            routes = self.routes(tries.collection, tries.seen.as_ref()) => routes,
            () = self.end_of_time(tries.end) => {
                let (call, channel) = (tries.call, tries.channel.clone());
                // The last try mostly begins as the time ends. What is damaged was heard before it.
                let harm = tries.seen.as_ref().and_then(|seen| seen.harm.clone());
                Err(match harm {
                    Some(_) => rpc::Error::failed(call, &Error::NoOwner { channel, harm }),
                    None => rpc::Error::failed(call, &Error::NoRoutes { channel }),
                })
            }
        }
    }

    /// Completes at `end`, on the monotonic clock.
    async fn end_of_time(&self, end: Option<Duration>) {
        match end {
            Some(end) => self.parts.clock.sleep(end.saturating_sub(self.parts.clock.monotonic())).await,
            None => std::future::pending().await,
        }
    }

    /// Completes once the channel has another owner. What the former one still has under way is in the log by then, or
    /// never will be.
    async fn replaced(&self, tries: &Tries, place: &Place) {
        loop {
            let (pause, seen) = match tries.end {
                Some(_) => (LOOK_AGAIN, None),
                None => (LOOK_SELDOM, tries.seen.as_ref()),
            };
            self.parts.clock.sleep(pause).await;
            let routes = self.routes(tries.collection, seen).await;
            if let Some(now) = routes.ok().and_then(|routes| owner(&routes, &tries.channel))
                && now != *place
            {
                return;
            }
        }
    }

    /// Asks owner after owner until one does not say that it is none.
    ///
    /// # Errors
    /// Only if nothing was done.
    async fn ask_owner<T, W>(
        &self,
        tries: &mut Tries,
        run: impl Fn(Arc<dyn Writer>) -> W + Send + Sync,
    ) -> Result<Round<T>, rpc::Error>
    where
        W: Future<Output = Result<T, rpc::Error>> + Send,
    {
        loop {
            let failure = match self.routes_in_time(tries).await {
                Ok(routes) => {
                    let place = owner(&routes, &tries.channel);
                    let harm = routes.harm.clone();
                    tries.seen = Some(routes);
                    match place {
                        Some(place) => match self
                            .ask_one(tries, &place, run(self.parts.dial.writer(&place.address)))
                            .await
                        {
                            Ok(done) => return Ok(Round::Done(done)),
                            Err(error) if error.is_stale() => error,
                            Err(error) => return Ok(Round::Unclear(error)),
                        },
                        None => {
                            let channel = tries.channel.clone();
                            rpc::Error::failed(tries.call, &Error::NoOwner { channel, harm })
                        }
                    }
                }
                Err(error) if passes(&error) => error,
                Err(error) => return Err(error),
            };
            self.pause(&mut tries.patience, failure).await?;
        }
    }

    /// Asks owners until one has done it: for calls that may be done twice.
    async fn ask_again<T, W>(
        &self,
        call: &'static str,
        channel: &ChannelName,
        run: impl Fn(Arc<dyn Writer>) -> W + Send + Sync,
    ) -> Result<T, rpc::Error>
    where
        T: Send,
        W: Future<Output = Result<T, rpc::Error>> + Send,
    {
        let mut tries = self.tries(call, channel)?;
        loop {
            match self.ask_owner(&mut tries, &run).await? {
                Round::Done(done) => return Ok(done),
                Round::Unclear(error) if passes(&error) => self.pause(&mut tries.patience, error).await?,
                Round::Unclear(error) => return Err(error),
            }
        }
    }

    /// Whether a write that may have been done can be done once more: afterwards the same rows are there. What cannot be found out
    /// while the write may take cannot.
    async fn is_repeatable(&self, write: &Write, end: Option<Duration>) -> bool {
        match &write.operation {
            Operation::Insert { .. } => false,
            Operation::Delete { .. } => true,
            Operation::Upsert { replaced, rows, .. } => {
                // Under new keys (made by the server) a second time would add the rows a second time.
                let info = tokio::select! {
                    biased;
                    info = self.parts.coord.collection(CollectionRef::Id(write.collection)) => info.ok(),
                    () = self.end_of_time(end) => None,
                };
                match info {
                    Some(info) => {
                        let column = rows.column(info.schema.primary().id);
                        let keys = column.and_then(|column| Keys::from_column(&column.data));
                        keys.is_some_and(|keys| keys == **replaced)
                    }
                    None => false,
                }
            }
        }
    }

    /// A request that nobody has sent yet.
    fn fresh_request(&self) -> Request {
        let half = || u128::from(self.parts.rng.next_u64());
        Request { id: RequestId(half() << 64 | half()), since: self.parts.time.told(), is_repeat: false }
    }

    /// Asks owner after owner until one has done the write, or nothing but giving up is left. From the first failure on that
    /// leaves open what has happened, `is_open`, and the request is a repeat: but for a write that may be done twice, which an
    /// owner does in any case that does not know it, also one of an earlier version.
    async fn write_once(
        &self,
        tries: &mut Tries,
        write: &Write,
        request: &mut Request,
        is_open: &mut bool,
    ) -> Result<Written, rpc::Error> {
        loop {
            let now = *request;
            // Everything large in a write is shared.
            let run = |writer: Arc<dyn Writer>| {
                let write = Write { request: Some(now), ..write.clone() };
                async move { writer.write(write).await }
            };
            match self.ask_owner(tries, run).await? {
                Round::Done(written) => return Ok(written),
                Round::Unclear(error) if passes(&error) => {
                    *is_open = true;
                    request.is_repeat = request.is_repeat || !self.is_repeatable(write, tries.end).await;
                    self.pause(&mut tries.patience, error).await?;
                }
                Round::Unclear(error) => return Err(error),
            }
        }
    }
}

/// Whether what was to be written to is not there any more.
fn is_gone(error: &rpc::Error) -> bool {
    matches!(error, rpc::Error::Refused(refusal) if refusal.kind() == Kind::NotFound)
}

/// Where the owner of a channel is.
fn owner(routes: &Routes, channel: &ChannelName) -> Option<Place> {
    routes.owners.iter().find(|owner| owner.channel == *channel)?.place.clone()
}

/// Nodes that can be asked to remove logs; those that are going only if there is no other.
fn writers(nodes: &[NodeStatus]) -> Vec<&NodeStatus> {
    let mut writers: Vec<&NodeStatus> =
        nodes.iter().filter(|node| node.info.duties.writes && node.state != NodeState::Leaving).collect();
    writers.sort_by_key(|node| (node.state != NodeState::Serving, node.info.id));
    writers
}

#[async_trait]
impl Writer for Router {
    async fn write(&self, write: Write) -> Result<Written, rpc::Error> {
        let mut tries = self.tries("write", &write.channel)?;
        let end = self.parts.clock.monotonic() + Duration::from_millis(self.parts.settings.write_deadline_ms);
        (tries.end, tries.patience) = (Some(end), Patience::until(end));
        let mut request = write.request.unwrap_or_else(|| self.fresh_request());
        let mut is_open = request.is_repeat;
        match self.write_once(&mut tries, &write, &mut request, &mut is_open).await {
            Ok(written) => {
                self.memory(write.collection).written(written.at);
                Ok(written)
            }
            // Whatever the last owner says, it says it of the last time; only what is gone is gone whatever had happened.
            Err(source) if is_open && !is_gone(&source) => {
                let unknown = Error::UnknownOutcome { channel: write.channel, source };
                tracing::warn!(channel = %tries.channel, "the outcome of a write is unknown");
                Err(rpc::Error::failed("write", &unknown))
            }
            Err(error) => Err(error),
        }
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), rpc::Error> {
        let run = |writer: Arc<dyn Writer>| async move { writer.flush(channel).await };
        self.ask_again("flush", channel, run).await
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, rpc::Error> {
        let run = |writer: Arc<dyn Writer>| async move { writer.mark(channel).await };
        self.ask_again("mark", channel, run).await
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, rpc::Error> {
        let run = |writer: Arc<dyn Writer>| async move { writer.tail(channel, from).await };
        self.ask_again("tail", channel, run).await
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), rpc::Error> {
        let mut patience = self.patience(self.parts.settings.write_deadline_ms);
        loop {
            let mut failure = rpc::Error::failed("forget", &Error::NoWriter);
            match self.parts.coord.nodes().await {
                Ok(nodes) => {
                    for node in writers(&nodes) {
                        match self.parts.dial.writer(&node.info.address).forget(channels).await {
                            Ok(()) => return Ok(()),
                            Err(error) if passes(&error) => failure = error,
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) if passes(&error) => failure = error,
                Err(error) => return Err(error),
            }
            tracing::debug!(kind = failure.kind().label(), "no node could remove logs yet");
            self.pause(&mut patience, failure).await?;
        }
    }
}
