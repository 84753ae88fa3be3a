//! The coordinator's calls through a [`CatalogCache`].

use std::sync::Arc;

use async_trait::async_trait;

use super::CatalogCache;
use crate::base::{ChannelName, CollectionId, NodeId, SegmentId, Timestamp};
use crate::model::ChannelManifest;
use crate::model::access::Policy;
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress,
    LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report,
    Routes, SteerChange, Steering,
};

fn named(database: &str, name: &str) -> CollectionRef {
    CollectionRef::Name { database: database.to_owned(), name: name.to_owned() }
}

#[async_trait]
impl Coord for CatalogCache {
    async fn allocate_timestamps(&self, count: u32) -> Result<Timestamp, Error> {
        self.inner.allocate_timestamps(count).await
    }

    async fn allocate_ids(&self, count: u32) -> Result<i64, Error> {
        self.ids.take(&self.inner, count).await
    }

    async fn create_database(&self, name: &str, properties: Vec<(String, String)>) -> Result<(), Error> {
        self.inner.create_database(name, properties).await
    }

    async fn drop_database(&self, name: &str) -> Result<(), Error> {
        self.inner.drop_database(name).await
    }

    async fn alter_database(
        &self,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), Error> {
        self.inner.alter_database(name, set, removed).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseInfo>, Error> {
        self.inner.databases().await
    }

    async fn create_collection(&self, collection: NewCollection) -> Result<Arc<CollectionInfo>, Error> {
        let _touching = self.touching(vec![named(&collection.database, &collection.name)]);
        self.inner.create_collection(collection).await
    }

    async fn drop_collection(&self, database: &str, name: &str) -> Result<(), Error> {
        let _touching = self.touching(vec![named(database, name)]);
        self.inner.drop_collection(database, name).await
    }

    async fn alter_collection(
        &self,
        collection: CollectionRef,
        change: CollectionChange,
    ) -> Result<(), Error> {
        let mut touched = vec![collection.clone()];
        if let CollectionChange::Rename { database, name } = &change {
            touched.push(named(database, name));
        }
        let _touching = self.touching(touched);
        self.inner.alter_collection(collection, change).await
    }

    async fn collection(&self, collection: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
        self.known_info(collection).await
    }

    async fn collections(&self, database: &str) -> Result<Vec<Arc<CollectionInfo>>, Error> {
        self.inner.collections(database).await
    }

    async fn create_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.create_partition(collection, name).await
    }

    async fn drop_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.drop_partition(collection, name).await
    }

    async fn alter_alias(&self, database: &str, alias: &str, change: AliasChange) -> Result<(), Error> {
        let mut touched = vec![named(database, alias)];
        if let AliasChange::Create { collection } | AliasChange::Alter { collection } = &change {
            touched.push(named(database, collection));
        }
        let _touching = self.touching(touched);
        self.inner.alter_alias(database, alias, change).await
    }

    async fn create_index(&self, index: NewIndex) -> Result<(), Error> {
        let _touching = self.touching(vec![index.collection.clone()]);
        self.inner.create_index(index).await
    }

    async fn drop_index(&self, collection: CollectionRef, name: &str) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.drop_index(collection, name).await
    }

    async fn alter_index(
        &self,
        collection: CollectionRef,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.alter_index(collection, name, set, removed).await
    }

    async fn indexes(&self, collection: CollectionRef) -> Result<Vec<IndexProgress>, Error> {
        self.inner.indexes(collection).await
    }

    async fn load(
        &self,
        collection: CollectionRef,
        partitions: Option<Vec<String>>,
        replicas: u32,
        resource_groups: Vec<String>,
    ) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.load(collection, partitions, replicas, resource_groups).await
    }

    async fn release(&self, collection: CollectionRef, partitions: Option<Vec<String>>) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.release(collection, partitions).await
    }

    async fn load_progress(&self, collection: CollectionRef) -> Result<Option<u8>, Error> {
        self.inner.load_progress(collection).await
    }

    async fn manifests(&self, collection: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, Error> {
        self.inner.manifests(collection).await
    }

    async fn commit_flush(&self, flushed: Flushed) -> Result<(), Error> {
        self.inner.commit_flush(flushed).await
    }

    async fn keep_flush(&self, channel: &ChannelName, since: i64) -> Result<(), Error> {
        self.inner.keep_flush(channel, since).await
    }

    async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, Error> {
        self.inner.followed(channels).await
    }

    async fn channel_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, Error> {
        self.inner.channel_term(channel, node).await
    }

    async fn open_channel(&self, channel: &ChannelName, node: NodeId) -> Result<(u64, Timestamp), Error> {
        self.inner.open_channel(channel, node).await
    }

    async fn allocate_node(&self) -> Result<NodeId, Error> {
        self.inner.allocate_node().await
    }

    async fn beat(&self, report: Report) -> Result<Orders, Error> {
        self.inner.beat(report).await
    }

    async fn routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error> {
        self.known_routes(collection).await
    }

    async fn create_group(&self, name: &str, config: GroupConfig) -> Result<(), Error> {
        self.inner.create_group(name, config).await
    }

    async fn drop_group(&self, name: &str) -> Result<(), Error> {
        self.inner.drop_group(name).await
    }

    async fn update_groups(&self, configs: Vec<(String, GroupConfig)>) -> Result<(), Error> {
        self.inner.update_groups(configs).await
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        self.inner.groups().await
    }

    async fn transfer_nodes(&self, from: &str, to: &str, count: u32) -> Result<(), Error> {
        self.inner.transfer_nodes(from, to, count).await
    }

    async fn transfer_replicas(
        &self,
        from: &str,
        to: &str,
        collection: CollectionRef,
        count: u32,
    ) -> Result<(), Error> {
        let _touching = self.touching(vec![collection.clone()]);
        self.inner.transfer_replicas(from, to, collection, count).await
    }

    async fn replicas(&self, collection: CollectionId) -> Result<Vec<ReplicaInfo>, Error> {
        self.inner.replicas(collection).await
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, Error> {
        self.inner.nodes().await
    }

    async fn balance(
        &self,
        collection: CollectionId,
        from: NodeId,
        to: Vec<NodeId>,
        segments: Vec<SegmentId>,
    ) -> Result<(), Error> {
        let _touching = self.touching(vec![CollectionRef::Id(collection)]);
        self.inner.balance(collection, from, to, segments).await
    }

    async fn drain(&self, node: NodeId, on: bool) -> Result<(), Error> {
        self.inner.drain(node, on).await
    }

    async fn steer(&self, change: SteerChange) -> Result<(), Error> {
        self.inner.steer(change).await
    }

    async fn steering(&self) -> Result<Steering, Error> {
        self.inner.steering().await
    }

    async fn transfer_held(&self, transfer: HeldTransfer) -> Result<(), Error> {
        self.inner.transfer_held(transfer).await
    }

    async fn compact(&self, collection: CollectionId, major: bool) -> Result<i64, Error> {
        self.inner.compact(collection, major).await
    }

    async fn compaction(&self, id: i64) -> Result<CompactionState, Error> {
        self.inner.compaction(id).await
    }

    async fn import(&self, import: NewImport) -> Result<i64, Error> {
        self.inner.import(import).await
    }

    async fn imports(&self, id: Option<i64>) -> Result<Vec<ImportInfo>, Error> {
        self.inner.imports(id).await
    }

    async fn end_import(&self, id: i64, commits: bool) -> Result<(), Error> {
        self.inner.end_import(id, commits).await
    }

    async fn policy(&self) -> Result<Arc<Policy>, Error> {
        self.known_policy().await
    }

    async fn change_policy(&self, change: PolicyChange) -> Result<(), Error> {
        let _changing = self.changing_policy();
        self.inner.change_policy(change).await
    }

    async fn lead(&self) -> Result<LeadInfo, Error> {
        self.inner.lead().await
    }

    async fn resign(&self) -> Result<LeadInfo, Error> {
        self.inner.resign().await
    }

    async fn fsck(&self) -> Result<Fsck, Error> {
        self.inner.fsck().await
    }

    async fn finalize(&self, format: u32) -> Result<(u32, u32), Error> {
        self.inner.finalize(format).await
    }
}
