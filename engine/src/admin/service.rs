//! The calls.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use contract::admin as pb;
use futures::{Stream, TryStreamExt as _};
use pb::admin_server::Admin;
use tonic::{Request, Response, Status};

use super::checksums::{self, Compared};
use super::drain::{find, progress};
use super::pick::{collections, each, reference, sealed, unless_gone};
use super::show;
use super::status::status;
use super::{AdminParts, Standing, dump};
use crate::base::{Kind, newest_format};
use crate::model::ChannelManifest;
use crate::model::name::group_flaw;
use crate::rpc::{CollectionInfo, Error, Fsck, NodeStatus};

/// Answers the calls.
pub(super) struct Desk {
    pub(super) parts: AdminParts,
}

/// What a dump sends.
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// An answer, or the status of its error.
fn answer<T>(outcome: Result<T, Error>) -> Answer<T> {
    outcome.map(Response::new).map_err(|error| status(&error))
}

impl Desk {
    pub(super) const fn new(parts: AdminParts) -> Self {
        Self { parts }
    }

    async fn process(&self) -> pb::GetProcessResponse {
        let AdminParts { candidate, role, address, host, standing, .. } = &self.parts;
        let Standing { node, ready, health, draining, calls, failed_calls } = standing();
        let leads = match candidate {
            Some(candidate) => candidate.lead().await.is_ok(),
            None => false,
        };
        pb::GetProcessResponse {
            role: (*role).to_owned(),
            address: address.clone(),
            host: host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: node.0,
            ready,
            health,
            leads,
            draining,
            newest_format: newest_format(),
            calls,
            failed_calls,
        }
    }

    async fn nodes(&self) -> Result<pb::ListNodesResponse, Error> {
        let (nodes, lead) = tokio::try_join!(self.parts.coord.nodes(), self.parts.coord.lead())?;
        Ok(pb::ListNodesResponse {
            nodes: nodes.iter().map(show::node).collect(),
            leader: Some(show::leader(lead)),
        })
    }

    async fn node(&self, named: &str) -> Result<NodeStatus, Error> {
        let (nodes, lead) = tokio::try_join!(self.parts.coord.nodes(), self.parts.coord.lead())?;
        match find(&nodes, named) {
            Ok(node) => Ok(node.clone()),
            Err(refusal) if lead.settled => Err(refusal.into()),
            Err(refusal) => Err(Error::Failed {
                call: "nodes",
                kind: Kind::Unavailable,
                reason: format!("{refusal} so far: the leader is new and still listens to the nodes"),
            }),
        }
    }

    /// Asks for a node to be emptied, or takes that back.
    async fn drain(&self, named: &str, on: bool) -> Result<pb::DrainProgress, Error> {
        let node = self.node(named).await?.info.id;
        self.parts.coord.drain(node, on).await?;
        Ok(progress(&self.node(&node.to_string()).await?))
    }

    async fn loads(&self) -> Result<pb::ListLoadsResponse, Error> {
        let coord = self.parts.coord.as_ref();
        let (nodes, infos) = tokio::try_join!(coord.nodes(), collections(coord, None))?;
        let name = |info: &Arc<CollectionInfo>| (info.id, (info.database_name.clone(), info.name.clone()));
        let names = infos.iter().map(name).collect();
        let queries = nodes.iter().filter(|status| status.info.duties.queries);
        Ok(pb::ListLoadsResponse { loads: queries.map(|status| show::load(status, &names)).collect() })
    }

    async fn collections(
        &self,
        filter: Option<pb::CollectionFilter>,
    ) -> Result<pb::ListCollectionsResponse, Error> {
        let coord = self.parts.coord.as_ref();
        let one = |info: Arc<CollectionInfo>| async move {
            let manifests = match sealed(coord, &info).await? {
                Ok(manifests) => manifests,
                Err(damage) => return Ok(show::collection::<Arc<ChannelManifest>>(&info, &[], Err(damage))),
            };
            let loaded = match coord.load_progress(crate::rpc::CollectionRef::Id(info.id)).await {
                Err(Error::Failed { call: "load", reason, .. }) => Err(reason),
                other => Ok(unless_gone(other)?.flatten()),
            };
            Ok(show::collection(&info, &manifests, loaded))
        };
        let collections = each(collections(coord, filter).await?, one).await?;
        Ok(pb::ListCollectionsResponse { collections })
    }

    async fn channels(
        &self,
        filter: Option<pb::CollectionFilter>,
    ) -> Result<pb::ListChannelsResponse, Error> {
        let coord = self.parts.coord.as_ref();
        let nodes = coord.nodes().await?;
        let nodes = nodes.as_slice();
        let one = |info: Arc<CollectionInfo>| async move {
            // Of a channel whose manifest is damaged nothing is shown; its collection says why.
            let manifests = sealed(coord, &info).await?.unwrap_or_default();
            let routes = unless_gone(coord.routes(info.id).await)?;
            let owners = routes.as_ref().map(|routes| routes.owners.as_slice()).unwrap_or_default();
            let channels = info.channels.iter().zip(&manifests).map(|(name, manifest)| {
                let owner = owners.iter().find(|owner| owner.channel == *name);
                show::channel(&info, name, manifest, owner, nodes)
            });
            Ok(channels.collect::<Vec<_>>())
        };
        let channels = each(collections(coord, filter).await?, one).await?;
        Ok(pb::ListChannelsResponse { channels: channels.concat() })
    }

    async fn segments(
        &self,
        filter: Option<pb::CollectionFilter>,
    ) -> Result<pb::ListSegmentsResponse, Error> {
        let coord = self.parts.coord.as_ref();
        let nodes = coord.nodes().await?;
        let nodes = nodes.as_slice();
        let one = |info: Arc<CollectionInfo>| async move {
            let manifests = sealed(coord, &info).await?.unwrap_or_default();
            let mut holders = show::holders(nodes, info.id);
            let mut segments = Vec::new();
            for (channel, manifest) in info.channels.iter().zip(&manifests) {
                for segment in &manifest.segments {
                    let nodes = holders.remove(&segment.id).unwrap_or_default();
                    segments.push(show::segment(&info, channel, segment, nodes));
                }
            }
            Ok(segments)
        };
        let segments = each(collections(coord, filter).await?, one).await?;
        Ok(pb::ListSegmentsResponse { segments: segments.concat() })
    }

    async fn replicas(
        &self,
        filter: Option<pb::CollectionFilter>,
    ) -> Result<pb::ListReplicasResponse, Error> {
        let coord = self.parts.coord.as_ref();
        let one = |info: Arc<CollectionInfo>| async move {
            let replicas = unless_gone(coord.replicas(info.id).await)?.unwrap_or_default();
            Ok(replicas.into_iter().map(|replica| show::replica(&info, replica)).collect::<Vec<_>>())
        };
        let replicas = each(collections(coord, filter).await?, one).await?;
        Ok(pb::ListReplicasResponse { replicas: replicas.concat() })
    }

    async fn cluster(&self) -> Result<pb::GetClusterResponse, Error> {
        let lead = self.parts.coord.lead().await?;
        Ok(pb::GetClusterResponse {
            format: lead.format,
            newest_format: lead.newest_format,
            cluster: lead.cluster.clone(),
            jobs: lead.jobs.map(|jobs| pb::Jobs { waiting: jobs.waiting, running: jobs.running }),
            leader: Some(show::leader(lead)),
        })
    }

    async fn fsck(&self, request: pb::FsckRequest) -> Result<pb::FsckResponse, Error> {
        let AdminParts { coord, blobs, .. } = &self.parts;
        let Fsck { orphans, missing, strange, resized, unread, named } = coord.fsck().await?;
        let mut found =
            pb::FsckResponse { missing, orphans, unknown: strange, named, ..pb::FsckResponse::default() };
        found.damaged = resized.into_iter().map(show::resized).collect();
        if request.checksums {
            let Compared { damaged, bytes_read } = checksums::compare(coord.as_ref(), blobs.as_ref()).await?;
            found.bytes_read = bytes_read;
            let known: BTreeSet<String> = damaged.iter().map(|damaged| damaged.key.clone()).collect();
            found.damaged.retain(|resized| !known.contains(&resized.key));
            found.damaged.extend(damaged);
            found.damaged.sort_by(|left, right| left.key.cmp(&right.key));
        }
        found.damaged.extend(unread.into_iter().map(show::unread));
        Ok(found)
    }

    async fn finalize(&self, request: pb::FinalizeRequest) -> Result<pb::FinalizeResponse, Error> {
        let (from, to) = self.parts.coord.finalize(request.format).await?;
        let cluster = self.parts.coord.lead().await?.cluster;
        // The metadata decides; a store that could not be marked is marked when the next process starts, or by another call.
        (self.parts.mark)(cluster, to)
            .await
            .map_err(|error| Error::failed("mark the object store", &error))?;
        Ok(pb::FinalizeResponse { from, to })
    }

    async fn update_groups(&self, request: pb::UpdateResourceGroupsRequest) -> Result<(), Error> {
        let configs = request.configs.into_iter();
        let configs = configs.map(|(name, config)| (name, show::group_config(Some(config)))).collect();
        self.parts.coord.update_groups(configs).await
    }

    async fn transfer_replicas(&self, request: pb::TransferReplicasRequest) -> Result<(), Error> {
        let pb::TransferReplicasRequest { from, to, database, collection, count } = request;
        let collection = reference(&database, &collection);
        self.parts.coord.transfer_replicas(&from, &to, collection, count).await
    }
}

#[tonic::async_trait]
impl Admin for Desk {
    async fn get_process(&self, _: Request<pb::GetProcessRequest>) -> Answer<pb::GetProcessResponse> {
        Ok(Response::new(self.process().await))
    }

    async fn list_settings(&self, _: Request<pb::ListSettingsRequest>) -> Answer<pb::ListSettingsResponse> {
        Ok(Response::new(pb::ListSettingsResponse { settings: self.parts.settings.clone() }))
    }

    async fn get_cluster(&self, _: Request<pb::GetClusterRequest>) -> Answer<pb::GetClusterResponse> {
        answer(self.cluster().await)
    }

    async fn fsck(&self, request: Request<pb::FsckRequest>) -> Answer<pb::FsckResponse> {
        answer(Self::fsck(self, request.into_inner()).await)
    }

    async fn finalize(&self, request: Request<pb::FinalizeRequest>) -> Answer<pb::FinalizeResponse> {
        answer(Self::finalize(self, request.into_inner()).await)
    }

    async fn dump_log(&self, request: Request<pb::DumpLogRequest>) -> Answer<Sent<pb::DumpLogResponse>> {
        let lines = dump::log(&self.parts, request.into_inner()).await?;
        Ok(Response::new(Box::pin(lines.map_ok(|line| pb::DumpLogResponse { line }))))
    }

    async fn dump_segment(
        &self,
        request: Request<pb::DumpSegmentRequest>,
    ) -> Answer<Sent<pb::DumpSegmentResponse>> {
        let lines = dump::segment(&self.parts, request.into_inner()).await?;
        Ok(Response::new(Box::pin(lines.map_ok(|line| pb::DumpSegmentResponse { line }))))
    }

    async fn list_nodes(&self, _: Request<pb::ListNodesRequest>) -> Answer<pb::ListNodesResponse> {
        answer(self.nodes().await)
    }

    async fn resign(&self, _: Request<pb::ResignRequest>) -> Answer<pb::ResignResponse> {
        let was = self.parts.coord.resign().await;
        answer(was.map(|was| pb::ResignResponse { was: Some(show::leader(was)) }))
    }

    async fn start_drain(&self, request: Request<pb::StartDrainRequest>) -> Answer<pb::StartDrainResponse> {
        let progress = self.drain(&request.into_inner().node, true).await;
        answer(progress.map(|progress| pb::StartDrainResponse { progress: Some(progress) }))
    }

    async fn stop_drain(&self, request: Request<pb::StopDrainRequest>) -> Answer<pb::StopDrainResponse> {
        let progress = self.drain(&request.into_inner().node, false).await;
        answer(progress.map(|progress| pb::StopDrainResponse { progress: Some(progress) }))
    }

    async fn get_drain(&self, request: Request<pb::GetDrainRequest>) -> Answer<pb::GetDrainResponse> {
        let status = self.node(&request.into_inner().node).await;
        answer(status.map(|status| pb::GetDrainResponse { progress: Some(progress(&status)) }))
    }

    async fn list_loads(&self, _: Request<pb::ListLoadsRequest>) -> Answer<pb::ListLoadsResponse> {
        answer(self.loads().await)
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Answer<pb::ListCollectionsResponse> {
        answer(self.collections(request.into_inner().filter).await)
    }

    async fn list_channels(
        &self,
        request: Request<pb::ListChannelsRequest>,
    ) -> Answer<pb::ListChannelsResponse> {
        answer(self.channels(request.into_inner().filter).await)
    }

    async fn list_segments(
        &self,
        request: Request<pb::ListSegmentsRequest>,
    ) -> Answer<pb::ListSegmentsResponse> {
        answer(self.segments(request.into_inner().filter).await)
    }

    async fn list_replicas(
        &self,
        request: Request<pb::ListReplicasRequest>,
    ) -> Answer<pb::ListReplicasResponse> {
        answer(self.replicas(request.into_inner().filter).await)
    }

    async fn list_resource_groups(
        &self,
        _: Request<pb::ListResourceGroupsRequest>,
    ) -> Answer<pb::ListResourceGroupsResponse> {
        let groups = self.parts.coord.groups().await;
        let shown = |groups: Vec<_>| groups.into_iter().map(show::group).collect();
        answer(groups.map(|groups| pb::ListResourceGroupsResponse { groups: shown(groups) }))
    }

    async fn create_resource_group(
        &self,
        request: Request<pb::CreateResourceGroupRequest>,
    ) -> Answer<pb::CreateResourceGroupResponse> {
        let pb::CreateResourceGroupRequest { name, config } = request.into_inner();
        if let Some(flaw) = group_flaw(&name) {
            return Err(Status::invalid_argument(flaw));
        }
        let made = self.parts.coord.create_group(&name, show::group_config(config)).await;
        answer(made.map(|()| pb::CreateResourceGroupResponse {}))
    }

    async fn update_resource_groups(
        &self,
        request: Request<pb::UpdateResourceGroupsRequest>,
    ) -> Answer<pb::UpdateResourceGroupsResponse> {
        let updated = self.update_groups(request.into_inner()).await;
        answer(updated.map(|()| pb::UpdateResourceGroupsResponse {}))
    }

    async fn drop_resource_group(
        &self,
        request: Request<pb::DropResourceGroupRequest>,
    ) -> Answer<pb::DropResourceGroupResponse> {
        let dropped = self.parts.coord.drop_group(&request.into_inner().name).await;
        answer(dropped.map(|()| pb::DropResourceGroupResponse {}))
    }

    async fn transfer_nodes(
        &self,
        request: Request<pb::TransferNodesRequest>,
    ) -> Answer<pb::TransferNodesResponse> {
        let pb::TransferNodesRequest { from, to, count } = request.into_inner();
        let moved = self.parts.coord.transfer_nodes(&from, &to, count).await;
        answer(moved.map(|()| pb::TransferNodesResponse {}))
    }

    async fn transfer_replicas(
        &self,
        request: Request<pb::TransferReplicasRequest>,
    ) -> Answer<pb::TransferReplicasResponse> {
        let moved = Self::transfer_replicas(self, request.into_inner()).await;
        answer(moved.map(|()| pb::TransferReplicasResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::blob::MemoryBlobs;
    use crate::log::MemoryLogs;

    #[tokio::test]
    async fn a_collection_with_a_damaged_manifest_is_listed_with_that_beside_all_others() {
        let (coord, key) = crate::coord::beside_damaged().await;
        let desk = Desk::new(AdminParts {
            coord,
            candidate: None,
            blobs: MemoryBlobs::new(),
            logs: MemoryLogs::new(),
            mark: Box::new(|_, _| std::future::ready(Ok(())).boxed()),
            role: "standalone",
            address: String::new(),
            host: String::new(),
            standing: Box::new(Standing::default),
            settings: Vec::new(),
        });

        let listed = desk.collections(None).await.unwrap().collections;

        let shown: Vec<_> =
            listed.iter().map(|one| (one.name.as_str(), one.segments, one.sealed_rows)).collect();
        assert_eq!(shown, [("hurt", 0, 0), ("other", 1, 1_000)]);
        let failures: Vec<&str> = listed.iter().map(|one| one.failure.as_str()).collect();
        assert!(failures[0].contains("is damaged or lost") && failures[0].contains(&key), "{failures:?}");
        assert_eq!(failures[1], "");
    }
}
