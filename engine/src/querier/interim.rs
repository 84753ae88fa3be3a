//! Gives large parts of rows that are not sealed an index, off the way of those who write and read.

use std::sync::Arc;

use tracing::{debug, warn};

use super::held::{Held, Shared};
use super::shard::Shard;
use crate::base::{chain, heavy};
use crate::segment::{InterimSettings, InterimSpec, Part};

/// Indexes the rows of one shard, one part at a time, until the shard is retired.
pub(super) struct Indexer {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Arc<Held>,
    pub(super) shard: Arc<Shard>,
    pub(super) settings: InterimSettings,
}

impl Indexer {
    pub(super) async fn run(self) {
        let stop = self.shard.retired.clone();
        loop {
            let grown = self.shard.grown.notified();
            while let Some((part, spec)) = self.next() {
                if stop.is_cancelled() || !self.index(part, spec).await {
                    break;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = grown => {}
            }
        }
    }

    /// A part that is large enough and has no index yet.
    fn next(&self) -> Option<(Arc<Part>, InterimSpec)> {
        let info = self.held.info.load();
        let specs: Vec<InterimSpec> =
            info.indexes.iter().filter_map(|one| InterimSpec::of(one, self.settings)).collect();
        let parts = self.shard.full_parts();
        parts.into_iter().find_map(|part| {
            let spec = specs.iter().copied().find(|spec| part.lacks_interim(spec))?;
            Some((part, spec))
        })
    }

    /// Indexes a part; `false` if it has to do without for now.
    async fn index(&self, part: Arc<Part>, spec: InterimSpec) -> bool {
        let _turn = self.shared.builds.acquire().await;
        // Rows that are not sealed count as they are, so this holds the room only until the index counts with them.
        let Ok(_room) = self.shared.reserve(part.interim_bytes(&spec)) else { return false };
        let (rows, stop) = (part.rows(), self.shard.retired.clone());
        let clock = &self.shared.parts.clock;
        let started = clock.monotonic();
        let built = heavy("index", move || part.build_interim(&spec, &|| stop.is_cancelled())).await;
        let channel = &self.shard.channel;
        match built {
            Ok(Ok(())) => {
                let took_ms = clock.monotonic().saturating_sub(started).as_millis();
                debug!(%channel, rows, took_ms, "rows that are not sealed were indexed");
                true
            }
            Ok(Err(_)) if self.shard.retired.is_cancelled() => false,
            Ok(Err(error)) => {
                warn!(%channel, rows, error = chain(&error), "rows that are not sealed were not indexed");
                false
            }
            Err(broke) => {
                warn!(%channel, rows, error = %broke, "rows that are not sealed were not indexed");
                false
            }
        }
    }
}
