//! Calls of other nodes to the duties of this one.

use std::pin::Pin;
use std::sync::Arc;

use contract::internal as pb;
use futures::{Stream, StreamExt as _, future, stream};
use pb::builder_server::BuilderServer;
use pb::coord_server::CoordServer;
use pb::querier_server::QuerierServer;
use pb::writer_server::WriterServer;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::{self, CompactAnswer, Damaged, error_to, unreadable};
use super::coord_call::CoordCall;
use super::{MAX_MESSAGE, Served};
use crate::base::{ChannelName, CollectionId, Kind, Position};
use crate::rpc::{Builder, CompactJob, Coord, Error, Querier, Writer};

/// The duties behind the port.
#[derive(Clone)]
pub(super) struct Desk {
    served: Served,
    stop: CancellationToken,
}

impl Desk {
    pub(super) const fn new(served: Served, stop: CancellationToken) -> Self {
        Self { served, stop }
    }

    /// All services on this desk.
    pub(super) fn routes(self) -> axum::Router {
        let desk = Arc::new(self);
        macro_rules! limited {
            ($server:ident) => {
                $server::from_arc(Arc::clone(&desk))
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE)
            };
        }
        tonic::service::Routes::new(limited!(CoordServer))
            .add_service(limited!(WriterServer))
            .add_service(limited!(QuerierServer))
            .add_service(limited!(BuilderServer))
            .prepare()
            .into_axum_router()
    }

    fn coord(&self) -> Result<&Arc<dyn Coord>, Error> {
        self.served.coord.as_ref().ok_or_else(|| absent("the coordinator"))
    }

    fn writer(&self) -> Result<&Arc<dyn Writer>, Error> {
        self.served.writer.as_ref().ok_or_else(|| absent("a writer"))
    }

    fn querier(&self) -> Result<&Arc<dyn Querier>, Error> {
        self.served.querier.as_ref().ok_or_else(|| absent("a querier"))
    }

    fn builder(&self) -> Result<&Arc<dyn Builder>, Error> {
        self.served.builder.as_ref().ok_or_else(|| absent("a builder"))
    }

    async fn write(&self, call: pb::WriteCall) -> Result<pb::WriteAnswer, Error> {
        let write = convert::write_from(call).map_err(|damaged| unreadable("write", &damaged))?;
        let written = self.writer()?.write(write).await?;
        Ok(pb::WriteAnswer { error: None, at: written.at.0 })
    }

    async fn mark(&self, call: pb::ChannelCall) -> Result<pb::MarkAnswer, Error> {
        let mark = self.writer()?.mark(&ChannelName(call.channel.into())).await?;
        Ok(pb::MarkAnswer { error: None, end: mark.end.0, at: mark.at.0, now: mark.now.0 })
    }

    async fn search(&self, call: pb::SearchCall) -> Result<pb::SearchAnswer, Error> {
        let wrong = |damaged| unreadable("search", &damaged);
        let plan = call.plan.ok_or(Damaged::Lacks("a plan")).and_then(convert::search_from).map_err(wrong)?;
        let share = call.share.ok_or(Damaged::Lacks("a share")).map_err(wrong)?;
        let after = convert::after_from(call.after).map_err(wrong)?;
        let hits = self.querier()?.search(plan, Arc::new(convert::share_from(share)), after).await?;
        Ok(convert::hits_to(&hits))
    }

    async fn query(&self, call: pb::QueryCall) -> Result<pb::QueryAnswer, Error> {
        let wrong = |damaged| unreadable("query", &damaged);
        let plan = call.plan.ok_or(Damaged::Lacks("a plan")).and_then(convert::query_from).map_err(wrong)?;
        let share = call.share.ok_or(Damaged::Lacks("a share")).map_err(wrong)?;
        let after = convert::after_from(call.after).map_err(wrong)?;
        let rows = self.querier()?.query(plan, Arc::new(convert::share_from(share)), after).await?;
        Ok(convert::rows_to(&rows))
    }

    async fn reach(&self, call: pb::ReachCall) -> Result<pb::ReachAnswer, Error> {
        let wrong = |damaged| unreadable("reach", &damaged);
        let share = call.share.ok_or(Damaged::Lacks("a share")).map_err(wrong)?;
        let (share, after) = (convert::share_from(share), convert::after_from(call.after).map_err(wrong)?);
        let spans = self.querier()?.reach(CollectionId(call.collection), Arc::new(share), after).await?;
        Ok(pb::ReachAnswer { error: None, spans: convert::spans_to(&spans) })
    }

    /// The items of a walk: first that it is open, then its records, last why it ended. Ends when this node stops.
    async fn tail(&self, call: pb::TailCall) -> Result<Items, Error> {
        let records = self.writer()?.tail(&ChannelName(call.channel.into()), Position(call.from)).await?;
        let items = records.map(|record| match record {
            Ok((position, bytes)) => {
                pb::TailItem { error: None, record: Some(pb::Record { position: position.0, bytes }) }
            }
            Err(error) => pb::TailItem { error: Some(error_to(&error)), record: None },
        });
        let stop = self.stop.clone();
        let stopped = stream::once(async { stopping() });
        let opened = stream::once(future::ready(pb::TailItem::default()));
        let items = opened.chain(items.take_until(stop.cancelled_owned())).chain(stopped);
        Ok(Box::pin(items.map(Ok)))
    }
}

fn absent(duty: &str) -> Error {
    Error::Stale { what: duty.to_owned() }
}

fn stopping() -> pb::TailItem {
    let error = Error::Failed { call: "tail", kind: Kind::Unavailable, reason: "the walk ended".to_owned() };
    pb::TailItem { error: Some(error_to(&error)), record: None }
}

/// What a walk sends.
type Items = Pin<Box<dyn Stream<Item = Result<pb::TailItem, Status>> + Send>>;

#[tonic::async_trait]
impl pb::coord_server::Coord for Desk {
    async fn ask(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let call: Result<CoordCall, _> = convert::from_json(&request.into_inner().arguments);
        let answer = match (call, self.coord()) {
            (Ok(call), Ok(coord)) => call.make(coord.as_ref()).await,
            (Ok(_), Err(absent)) => convert::answer::<()>("coord", Err(absent)),
            (Err(damaged), _) => convert::answer::<()>("coord", Err(unreadable("coord", &damaged))),
        };
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl pb::writer_server::Writer for Desk {
    type TailStream = Items;

    async fn write(&self, request: Request<pb::WriteCall>) -> Result<Response<pb::WriteAnswer>, Status> {
        let failed = |error| pb::WriteAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::write(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn repeat(&self, request: Request<pb::WriteCall>) -> Result<Response<pb::WriteAnswer>, Status> {
        let failed = |error| pb::WriteAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::write(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn flush(&self, request: Request<pb::ChannelCall>) -> Result<Response<pb::Answer>, Status> {
        let channel = ChannelName(request.into_inner().channel.into());
        let outcome = match self.writer() {
            Ok(writer) => writer.flush(&channel).await,
            Err(absent) => Err(absent),
        };
        Ok(Response::new(convert::answer("flush", outcome)))
    }

    async fn mark(&self, request: Request<pb::ChannelCall>) -> Result<Response<pb::MarkAnswer>, Status> {
        let failed = |error| pb::MarkAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::mark(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn tail(&self, request: Request<pb::TailCall>) -> Result<Response<Items>, Status> {
        let failed = |error| -> Items {
            let item = pb::TailItem { error: Some(error_to(&error)), record: None };
            Box::pin(stream::once(future::ready(Ok(item))))
        };
        Ok(Response::new(Self::tail(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn forget(&self, request: Request<pb::ForgetCall>) -> Result<Response<pb::Answer>, Status> {
        let channels: Vec<_> =
            request.into_inner().channels.into_iter().map(|channel| ChannelName(channel.into())).collect();
        let outcome = match self.writer() {
            Ok(writer) => writer.forget(&channels).await,
            Err(absent) => Err(absent),
        };
        Ok(Response::new(convert::answer("forget", outcome)))
    }
}

#[tonic::async_trait]
impl pb::querier_server::Querier for Desk {
    async fn search(&self, request: Request<pb::SearchCall>) -> Result<Response<pb::SearchAnswer>, Status> {
        let failed = |error| pb::SearchAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::search(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn query(&self, request: Request<pb::QueryCall>) -> Result<Response<pb::QueryAnswer>, Status> {
        let failed = |error| pb::QueryAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::query(self, request.into_inner()).await.unwrap_or_else(failed)))
    }

    async fn reach(&self, request: Request<pb::ReachCall>) -> Result<Response<pb::ReachAnswer>, Status> {
        let failed = |error| pb::ReachAnswer { error: Some(error_to(&error)), ..Default::default() };
        Ok(Response::new(Self::reach(self, request.into_inner()).await.unwrap_or_else(failed)))
    }
}

#[tonic::async_trait]
impl pb::builder_server::Builder for Desk {
    async fn build_index(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let job = convert::from_json(&request.into_inner().arguments);
        let outcome = match (job, self.builder()) {
            (Ok(job), Ok(builder)) => builder.build_index(job).await,
            (Err(damaged), _) => Err(unreadable("build_index", &damaged)),
            (_, Err(absent)) => Err(absent),
        };
        Ok(Response::new(convert::answer("build_index", outcome)))
    }

    async fn compact(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let job = convert::from_json::<CompactJob>(&request.into_inner().arguments);
        let outcome = match (job, self.builder()) {
            (Ok(job), Ok(builder)) => {
                let since = job.keeps_since;
                builder.compact(job).await.map(|made| CompactAnswer::of(made, since))
            }
            (Err(damaged), _) => Err(unreadable("compact", &damaged)),
            (_, Err(absent)) => Err(absent),
        };
        Ok(Response::new(convert::answer("compact", outcome)))
    }

    async fn import(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let job = convert::from_json(&request.into_inner().arguments);
        let outcome = match (job, self.builder()) {
            (Ok(job), Ok(builder)) => builder.import(job).await,
            (Err(damaged), _) => Err(unreadable("import", &damaged)),
            (_, Err(absent)) => Err(absent),
        };
        Ok(Response::new(convert::answer("import", outcome)))
    }

    async fn list_objects(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let prefix = convert::from_json::<String>(&request.into_inner().arguments);
        let outcome = match (prefix, self.builder()) {
            (Ok(prefix), Ok(builder)) => builder.list_objects(&prefix).await,
            (Err(damaged), _) => Err(unreadable("list_objects", &damaged)),
            (_, Err(absent)) => Err(absent),
        };
        Ok(Response::new(convert::answer("list_objects", outcome)))
    }

    async fn remove_objects(&self, request: Request<pb::Call>) -> Result<Response<pb::Answer>, Status> {
        let keys = convert::from_json(&request.into_inner().arguments);
        let outcome = match (keys, self.builder()) {
            (Ok(keys), Ok(builder)) => builder.remove_objects(keys).await,
            (Err(damaged), _) => Err(unreadable("remove_objects", &damaged)),
            (_, Err(absent)) => Err(absent),
        };
        Ok(Response::new(convert::answer("remove_objects", outcome)))
    }
}
