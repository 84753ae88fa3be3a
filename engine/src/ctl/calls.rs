//! From a command to calls, and from their answers to text.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use contract::admin as pb;

use super::arguments::{Command, Drain, Dump, Only, Output};
use super::shown::{Checkpoints, Memory, Shown};
use super::{Client, Error, groups};
use crate::base::Clock;

/// How often progress is asked for.
const AGAIN: Duration = Duration::from_millis(250);

/// Where answers go, and how they look.
pub(super) struct Page<'a> {
    pub(super) output: Output,
    pub(super) out: &'a mut (dyn Write + Send),
    pub(super) clock: Arc<dyn Clock>,
}

impl Page<'_> {
    /// Writes an answer down.
    pub(super) fn show(&mut self, answer: &impl Shown) -> Result<(), Error> {
        let text = match self.output {
            Output::Table => answer.text(),
            Output::Json => {
                serde_json::to_string_pretty(answer).map(|text| text + "\n").map_err(unwritable)?
            }
            Output::Yaml => serde_yaml::to_string(answer).map_err(unwritable)?,
        };
        self.out.write_all(text.as_bytes()).map_err(Error::Write)
    }

    /// Writes a line down that is JSON already.
    fn line(&mut self, line: &str) -> Result<(), Error> {
        writeln!(self.out, "{line}").map_err(Error::Write)
    }

    /// Says that something was done, where there is no more to tell.
    pub(super) fn done(&mut self, what: &str) -> Result<(), Error> {
        match self.output {
            Output::Table => writeln!(self.out, "{what}").map_err(Error::Write),
            Output::Json | Output::Yaml => writeln!(self.out, "{{}}").map_err(Error::Write),
        }
    }
}

/// Answers are numbers, texts and lists of them; one that cannot be written down would be a defect.
fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Write(std::io::Error::other(error))
}

/// Does what `command` says.
///
/// # Errors
/// What the process at the other end refuses, and answers that cannot be written down.
pub(super) async fn make(mut client: Client, command: Command, page: &mut Page<'_>) -> Result<(), Error> {
    match command {
        Command::Process => page.show(&answered(client.get_process(pb::GetProcessRequest {}).await)?),
        Command::Settings { prefix, changed } => {
            let mut answer = answered(client.list_settings(pb::ListSettingsRequest {}).await)?;
            let is_wanted = |setting: &pb::Setting| {
                setting.key.starts_with(&prefix) && (!changed || setting.value != setting.default)
            };
            answer.settings.retain(is_wanted);
            page.show(&answer)
        }
        Command::Cluster => page.show(&answered(client.get_cluster(pb::GetClusterRequest {}).await)?),
        Command::Nodes => page.show(&answered(client.list_nodes(pb::ListNodesRequest {}).await)?),
        Command::Drain(drain) => drain_node(client, drain, page).await,
        Command::Resign => page.show(&answered(client.resign(pb::ResignRequest {}).await)?),
        Command::Load { collections } => {
            let answer = answered(client.list_loads(pb::ListLoadsRequest {}).await)?;
            if collections { page.show(&Memory(answer)) } else { page.show(&answer) }
        }
        Command::Collections(only) => {
            let filter = filter(only);
            page.show(&answered(client.list_collections(pb::ListCollectionsRequest { filter }).await)?)
        }
        Command::Channels(only) => {
            let filter = filter(only);
            page.show(&answered(client.list_channels(pb::ListChannelsRequest { filter }).await)?)
        }
        Command::Checkpoints(only) => {
            let filter = filter(only);
            let channels = answered(client.list_channels(pb::ListChannelsRequest { filter }).await)?;
            page.show(&Checkpoints(channels))
        }
        Command::Segments(only) => {
            let filter = filter(only);
            page.show(&answered(client.list_segments(pb::ListSegmentsRequest { filter }).await)?)
        }
        Command::Replicas(only) => {
            let filter = filter(only);
            page.show(&answered(client.list_replicas(pb::ListReplicasRequest { filter }).await)?)
        }
        Command::Groups(command) => groups::make(client, command, page).await,
        Command::Fsck { checksums } => fsck(client, checksums, page).await,
        Command::Dump(dump) => self::dump(client, dump, page).await,
        Command::Finalize { format } => {
            let request = pb::FinalizeRequest { format: format.unwrap_or(0) };
            page.show(&answered(client.finalize(request).await)?)
        }
    }
}

/// What a call was answered with.
pub(super) fn answered<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Error> {
    answer.map(tonic::Response::into_inner).map_err(Error::of)
}

fn filter(only: Only) -> Option<pb::CollectionFilter> {
    let Only { collection, database } = only;
    Some(pb::CollectionFilter {
        database: database.unwrap_or_default(),
        collection: collection.unwrap_or_default(),
    })
}

async fn fsck(mut client: Client, checksums: bool, page: &mut Page<'_>) -> Result<(), Error> {
    let answer = answered(client.fsck(pb::FsckRequest { checksums }).await)?;
    page.show(&answer)?;
    let (missing, damaged) = (answer.missing.len(), answer.damaged.len());
    if missing + damaged == 0 {
        return Ok(());
    }
    Err(Error::Found(format!("{missing} objects are missing and {damaged} are damaged: rows are lost")))
}

async fn dump(mut client: Client, dump: Dump, page: &mut Page<'_>) -> Result<(), Error> {
    match dump {
        Dump::Log { channel, from, to } => {
            let mut lines = answered(client.dump_log(pb::DumpLogRequest { channel, from, to }).await)?;
            while let Some(line) = lines.message().await.map_err(Error::of)? {
                page.line(&line.line)?;
            }
        }
        Dump::Segment { segment, only_visible, limit } => {
            let request = pb::DumpSegmentRequest { segment, only_visible, limit };
            let mut lines = answered(client.dump_segment(request).await)?;
            while let Some(line) = lines.message().await.map_err(Error::of)? {
                page.line(&line.line)?;
            }
        }
    }
    Ok(())
}

async fn drain_node(mut client: Client, drain: Drain, page: &mut Page<'_>) -> Result<(), Error> {
    let progress = match drain {
        Drain::Start { node, wait: None } => {
            answered(client.start_drain(pb::StartDrainRequest { node }).await)?.progress
        }
        Drain::Start { node, wait: Some(seconds) } => {
            Some(empty(client, node, Duration::from_secs(seconds), page.clock.as_ref()).await?)
        }
        Drain::Stop { node } => answered(client.stop_drain(pb::StopDrainRequest { node }).await)?.progress,
        Drain::Status { node } => answered(client.get_drain(pb::GetDrainRequest { node }).await)?.progress,
    };
    page.show(&progress.unwrap_or_default())
}

/// Asks a node to hand over everything, and waits until it has.
async fn empty(
    mut client: Client,
    node: String,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<pb::DrainProgress, Error> {
    let until = clock.monotonic() + patience;
    let started = answered(client.start_drain(pb::StartDrainRequest { node }).await)?;
    let mut progress = started.progress.unwrap_or_default();
    // From here on by number: another process may come to have the same name or address.
    let node = progress.node.as_ref().map(|node| node.id.to_string()).unwrap_or_default();
    while !progress.done {
        if clock.monotonic() >= until {
            let pb::DrainProgress { channels, segments, followed, .. } = progress;
            let left =
                format!("{channels} channels to own, {segments} segments and {followed} channels to follow");
            return Err(Error::TooLate(format!("node {node} still has {left}; it goes on handing over")));
        }
        clock.sleep(AGAIN).await;
        match answered(client.get_drain(pb::GetDrainRequest { node: node.clone() }).await) {
            Ok(answer) => progress = answer.progress.unwrap_or_default(),
            // The leader may have changed, and the next one goes on with it.
            Err(Error::Refused(status)) if status.code() == tonic::Code::Unavailable => {}
            Err(error) => return Err(error),
        }
    }
    Ok(progress)
}
