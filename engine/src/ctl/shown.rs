//! How each answer is shown as a table.

use contract::admin as pb;
use contract::node_state_name;

use super::table::{Table, bytes, moment};

/// An answer that people can read.
pub(super) trait Shown: serde::Serialize {
    /// As text in columns.
    fn text(&self) -> String;
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn leader(leader: Option<&pb::Leader>) -> String {
    let Some(leader) = leader else { return "nobody leads\n".to_owned() };
    let settled = if leader.settled { "" } else { ", still listening to the nodes" };
    format!("{} leads, epoch {}, version {}{settled}\n", leader.address, leader.epoch, leader.version)
}

impl Shown for pb::ListNodesResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "NODE", "ROLE", "STATE", "ADDRESS", "HOST", "GROUP", "CHANNELS", "SEGMENTS", "HELD", "VERSION",
            "JOINED", "LABELS",
        ]);
        for node in &self.nodes {
            table.row(vec![
                node.id.to_string(),
                node.role.clone(),
                node_state_name(node.state).to_owned(),
                node.address.clone(),
                node.host.clone(),
                node.resource_group.clone(),
                node.channels.to_string(),
                node.segments.to_string(),
                bytes(node.held_bytes),
                node.version.clone(),
                moment(node.joined_unix_ms),
                labels(&node.labels),
            ]);
        }
        format!("{table}\n{}", leader(self.leader.as_ref()))
    }
}

impl Shown for pb::DrainProgress {
    fn text(&self) -> String {
        let node = self.node.clone().unwrap_or_default();
        let mut table =
            Table::new(&["NODE", "ADDRESS", "STATE", "CHANNELS", "SEGMENTS", "FOLLOWED", "HELD", "DONE"]);
        table.row(vec![
            node.id.to_string(),
            node.address,
            node_state_name(node.state).to_owned(),
            self.channels.to_string(),
            self.segments.to_string(),
            self.followed.to_string(),
            bytes(self.bytes),
            yes(self.done),
        ]);
        table.to_string()
    }
}

impl Shown for pb::ResignResponse {
    fn text(&self) -> String {
        match &self.was {
            Some(was) => format!("{} gave up the lead, epoch {}\n", was.address, was.epoch),
            None => "nobody led\n".to_owned(),
        }
    }
}

fn yes(whether: bool) -> String {
    (if whether { "yes" } else { "no" }).to_owned()
}

impl Shown for pb::GetProcessResponse {
    fn text(&self) -> String {
        let mut table =
            Table::new(&["ROLE", "NODE", "ADDRESS", "HOST", "READY", "LEADS", "FORMAT", "VERSION", "HEALTH"]);
        table.row(vec![
            self.role.clone(),
            if self.node == 0 { String::new() } else { self.node.to_string() },
            self.address.clone(),
            self.host.clone(),
            yes(self.ready),
            yes(self.leads),
            self.newest_format.to_string(),
            self.version.clone(),
            self.health.clone(),
        ]);
        table.to_string()
    }
}

impl Shown for pb::ListSettingsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&["KEY", "VALUE", "DEFAULT", "TAKES EFFECT", "COMPONENTS"]);
        for setting in &self.settings {
            table.row(vec![
                setting.key.clone(),
                setting.value.clone(),
                setting.default.clone(),
                (if setting.dynamic { "while running" } else { "at the next start" }).to_owned(),
                setting.components.join(","),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::GetClusterResponse {
    fn text(&self) -> String {
        let newer = if self.newest_format > self.format {
            format!("; the leader can write {}: redkite ctl finalize raises it", self.newest_format)
        } else {
            String::new()
        };
        let jobs = self.jobs.as_ref().map_or_else(String::new, |jobs| {
            format!("jobs {} waiting, {} running\n", jobs.waiting, jobs.running)
        });
        format!(
            "cluster {}\nformat {}{newer}\n{}{jobs}",
            self.cluster,
            self.format,
            leader(self.leader.as_ref())
        )
    }
}

impl Shown for pb::ListLoadsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "NODE",
            "ADDRESS",
            "GROUP",
            "STATE",
            "READS",
            "QUEUE MS",
            "P99 MS",
            "CPU",
            "HELD",
            "TO LOAD",
            "MEMORY",
            "COLLECTIONS",
        ]);
        for load in &self.loads {
            table.row(vec![
                load.node.to_string(),
                load.address.clone(),
                load.resource_group.clone(),
                node_state_name(load.state).to_owned(),
                load.reads.to_string(),
                format!("{:.2}", load.queue_wait_ms),
                format!("{:.2}", load.p99_ms),
                format!("{:.2}", load.search_cpu),
                bytes(load.held_bytes),
                bytes(load.bytes_to_load),
                if load.memory_bytes == 0 { String::new() } else { bytes(load.memory_bytes) },
                load.collections.len().to_string(),
            ]);
        }
        table.to_string()
    }
}

/// What each collection takes of each node.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub(super) struct Memory(pub(super) pb::ListLoadsResponse);

impl Shown for Memory {
    fn text(&self) -> String {
        let mut table =
            Table::new(&["NODE", "ADDRESS", "COLLECTION", "DATABASE", "NAME", "MEMORY", "FAILURE"]);
        for load in &self.0.loads {
            for held in &load.collections {
                table.row(vec![
                    load.node.to_string(),
                    load.address.clone(),
                    held.collection.to_string(),
                    held.database.clone(),
                    held.name.clone(),
                    bytes(held.bytes),
                    held.failure.clone(),
                ]);
            }
        }
        table.to_string()
    }
}

impl Shown for pb::ListCollectionsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "COLLECTION",
            "DATABASE",
            "NAME",
            "SEALED ROWS",
            "SEGMENTS",
            "SIZE",
            "SHARDS",
            "PARTITIONS",
            "REPLICAS",
            "LOADED",
            "CREATED",
        ]);
        for one in &self.collections {
            let loaded = match (one.replicas, one.failure.as_str()) {
                (0, "") => String::new(),
                (_, "") => format!("{}%", one.loaded_percent),
                (_, failure) => failure.to_owned(),
            };
            table.row(vec![
                one.id.to_string(),
                one.database.clone(),
                one.name.clone(),
                one.sealed_rows.to_string(),
                one.segments.to_string(),
                bytes(one.bytes),
                one.shards.to_string(),
                one.partitions.to_string(),
                one.replicas.to_string(),
                loaded,
                moment(one.created_unix_ms),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::ListChannelsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "CHANNEL",
            "COLLECTION",
            "OWNER",
            "ADDRESS",
            "TERM",
            "CHECKPOINT",
            "UNSEALED",
            "FOLLOWERS",
        ]);
        for channel in &self.channels {
            let follower = |one: &pb::Follower| {
                let rows = one.growing_from.map_or(String::new(), |from| format!(" rows from {from}"));
                format!("{}@{}{rows}", one.node, one.applied)
            };
            table.row(vec![
                channel.name.clone(),
                channel.collection_name.clone(),
                if channel.owner == 0 { String::new() } else { channel.owner.to_string() },
                channel.owner_address.clone(),
                channel.term.to_string(),
                channel.checkpoint.to_string(),
                bytes(channel.unsealed_bytes),
                channel.followers.iter().map(follower).collect::<Vec<_>>().join(", "),
            ]);
        }
        table.to_string()
    }
}

/// How far each channel's log is in sealed segments.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub(super) struct Checkpoints(pub(super) pb::ListChannelsResponse);

impl Shown for Checkpoints {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "CHANNEL",
            "COLLECTION",
            "CHECKPOINT",
            "SEALED UP TO",
            "UNSEALED",
            "SEGMENTS",
            "DELETE FILES",
        ]);
        for channel in &self.0.channels {
            table.row(vec![
                channel.name.clone(),
                channel.collection_name.clone(),
                channel.checkpoint.to_string(),
                moment(channel.checkpoint_unix_ms),
                bytes(channel.unsealed_bytes),
                channel.segments.to_string(),
                channel.delete_files.to_string(),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::ListSegmentsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "SEGMENT",
            "COLLECTION",
            "PARTITION",
            "CHANNEL",
            "ROWS",
            "SIZE",
            "INDEXES",
            "NODES",
            "NEWEST",
        ]);
        for segment in &self.segments {
            table.row(vec![
                segment.id.to_string(),
                segment.collection_name.clone(),
                segment.partition.to_string(),
                segment.channel.clone(),
                segment.rows.to_string(),
                bytes(segment.bytes),
                bytes(segment.index_bytes),
                numbers(&segment.nodes),
                moment(segment.newest_unix_ms),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::ListReplicasResponse {
    fn text(&self) -> String {
        let mut table =
            Table::new(&["REPLICA", "COLLECTION", "DATABASE", "GROUP", "NODES", "SEGMENTS", "COMPLETE"]);
        for replica in &self.replicas {
            table.row(vec![
                replica.id.to_string(),
                replica.collection_name.clone(),
                replica.database.clone(),
                replica.resource_group.clone(),
                numbers(&replica.nodes),
                replica.segments.to_string(),
                yes(replica.complete),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::ListResourceGroupsResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            "GROUP",
            "REQUESTS",
            "LIMITS",
            "NODES",
            "REPLICAS",
            "TRANSFER FROM",
            "TRANSFER TO",
            "NODE FILTER",
        ]);
        for group in &self.groups {
            let config = group.config.clone().unwrap_or_default();
            table.row(vec![
                group.name.clone(),
                config.requests.to_string(),
                config.limits.to_string(),
                numbers(&group.nodes),
                group.replicas.to_string(),
                config.transfer_from.join(","),
                config.transfer_to.join(","),
                labels(&config.node_filter),
            ]);
        }
        table.to_string()
    }
}

impl Shown for pb::FsckResponse {
    fn text(&self) -> String {
        let mut table = Table::new(&["WHAT", "OBJECT", "WHY"]);
        let mut list = |what: &str, key: &str, why: &str| {
            table.row(vec![what.to_owned(), key.to_owned(), why.to_owned()]);
        };
        // What loses rows comes first.
        self.missing.iter().for_each(|key| list("missing", key, ""));
        self.damaged.iter().for_each(|damaged| list("damaged", &damaged.key, &damaged.what));
        self.orphans.iter().for_each(|key| list("orphan", key, ""));
        self.unknown.iter().for_each(|key| list("unknown", key, ""));
        let found = self.missing.len() + self.orphans.len() + self.unknown.len() + self.damaged.len();
        let read =
            if self.bytes_read == 0 { String::new() } else { format!(", {} read", bytes(self.bytes_read)) };
        let sum = format!(
            "{} objects named{read}: {} missing, {} damaged, {} orphans, {} of an unknown kind\n",
            self.named,
            self.missing.len(),
            self.damaged.len(),
            self.orphans.len(),
            self.unknown.len()
        );
        if found == 0 { sum } else { format!("{table}\n{sum}") }
    }
}

impl Shown for pb::FinalizeResponse {
    fn text(&self) -> String {
        if self.from == self.to {
            format!("the cluster writes format {} already\n", self.to)
        } else {
            format!("the cluster writes format {} from now on, {} before\n", self.to, self.from)
        }
    }
}

fn numbers(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOINED: u64 = 1_795_852_799_000;

    fn node(id: i64, state: pb::NodeState, labels: &[(&str, &str)]) -> pb::Node {
        pb::Node {
            id,
            role: "querynode".to_owned(),
            address: format!("10.0.0.{id}:19529"),
            host: format!("pod-{id}"),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            resource_group: "__default_resource_group".to_owned(),
            state: state.into(),
            version: "0.1.0".to_owned(),
            memory_bytes: 8 << 30,
            joined_unix_ms: JOINED,
            channels: 0,
            segments: 12,
            held_bytes: 3 << 29,
            newest_format: 1,
        }
    }

    fn lead() -> pb::Leader {
        let (address, version) = ("10.0.0.9:19529".to_owned(), "0.1.0".to_owned());
        pb::Leader { address, epoch: 7, settled: false, version }
    }

    #[test]
    fn nodes_look_like_this() {
        let labelled = node(2, pb::NodeState::Draining, &[("RESOURCE_GROUP", "gold"), ("ZONE", "a")]);
        let nodes = vec![node(1, pb::NodeState::Ready, &[]), labelled];
        let answer = pb::ListNodesResponse { nodes, leader: Some(lead()) };

        insta::assert_snapshot!(answer.text());
    }

    #[test]
    fn a_drain_and_a_load_look_like_this() {
        let progress = pb::DrainProgress {
            node: Some(node(2, pb::NodeState::Draining, &[])),
            channels: 1,
            segments: 5,
            followed: 2,
            bytes: 700,
            done: false,
        };
        let memory = |collection, name: &str, bytes, failure: &str| pb::CollectionMemory {
            collection,
            database: "default".to_owned(),
            name: name.to_owned(),
            bytes,
            failure: failure.to_owned(),
        };
        let load = pb::NodeLoad {
            node: 2,
            address: "10.0.0.2:19529".to_owned(),
            resource_group: "gold".to_owned(),
            reads: 3,
            queue_wait_ms: 0.125,
            p99_ms: 12.5,
            search_cpu: 1.75,
            held_bytes: 3 << 29,
            bytes_to_load: 1 << 20,
            collections: vec![memory(44, "notes", 3 << 29, ""), memory(45, "more", 0, "no room")],
            state: pb::NodeState::Ready.into(),
            ..pb::NodeLoad::default()
        };
        let loads = pb::ListLoadsResponse { loads: vec![load] };

        let page = [progress.text(), loads.text(), Memory(loads).text()].join("\n");

        insta::assert_snapshot!(page);
    }

    #[test]
    fn a_check_and_a_cluster_look_like_this() {
        let sound = pb::FsckResponse { named: 12, ..pb::FsckResponse::default() };
        let damaged = pb::DamagedObject {
            key: "segments/1/2/scalars.parquet".to_owned(),
            what: "it has 5 bytes instead of 7".to_owned(),
        };
        let broken = pb::FsckResponse {
            missing: vec!["segments/1/2/manifest.json".to_owned()],
            damaged: vec![damaged],
            orphans: vec!["deletes/1/c/3.bin".to_owned()],
            unknown: Vec::new(),
            named: 12,
            bytes_read: 5 << 20,
        };
        let cluster = pb::GetClusterResponse {
            leader: Some(lead()),
            format: 1,
            newest_format: 2,
            cluster: "c1".to_owned(),
            jobs: Some(pb::Jobs { waiting: 3, running: 1 }),
        };

        let page = [sound.text(), broken.text(), cluster.text()].join("\n");

        insta::assert_snapshot!(page);
    }

    #[test]
    fn programs_read_states_by_name_and_everything_else_as_the_api_has_it() {
        let progress = pb::DrainProgress {
            node: Some(node(2, pb::NodeState::Draining, &[("ZONE", "a")])),
            ..pb::DrainProgress::default()
        };

        insta::assert_snapshot!(serde_json::to_string_pretty(&progress).unwrap());
    }
}
