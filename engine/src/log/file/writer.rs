//! The task behind the writer of one channel: it writes what was appended in groups.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::base::Clock;
use crate::log::Error;
use crate::log::queue::{Queue, Waiting};
use crate::obs::LogMetrics;

use super::channel::Channel;

/// The task behind a writer.
pub(super) struct Writing {
    pub channel: Arc<Channel>,
    pub queue: Arc<Queue>,
    pub clock: Arc<dyn Clock>,
    pub metrics: LogMetrics,
    pub segment_bytes: u64,
    /// A group is closed when it reaches this. Unit: bytes.
    pub batch_bytes: usize,
}

impl Writing {
    /// Writes what comes in until the writer is dropped, fenced, stopped or broken.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // However this ends, nobody waits for an answer that cannot come.
        let _closing = Closing(&self);
        loop {
            // The appenders that the last group woke get a chance to be in the next one together.
            tokio::task::yield_now().await;
            let batch = self.queue.take(self.batch_bytes);
            if !batch.is_empty() {
                self.write(batch).await;
            } else if self.queue.is_finished() {
                return Ok(());
            } else {
                tokio::select! {
                    () = self.queue.wake.notified() => {}
                    () = stop.cancelled() => self.queue.refuse(self.stopped()),
                }
            }
        }
    }

    /// Writes one group and tells its appenders.
    async fn write(&self, batch: Vec<Waiting>) {
        let payloads = batch.iter().map(|waiting| waiting.payload.clone()).collect::<Vec<_>>();
        let mut files = self.channel.files.lock().await;
        // Looked at with the files held: who fences closes the queue with the files held.
        if self.queue.closed().is_some() {
            return self.queue.settle(batch, Ok(()));
        }
        let written = self.channel.write(&mut files, self.queue.term, &payloads, self.segment_bytes).await;
        match written {
            Ok(written) => {
                self.metrics.bytes_total.add(written);
                let now = self.clock.monotonic();
                // Still with the files held: once a newer writer has opened, nothing is acknowledged here.
                for waiting in batch {
                    self.metrics.append_seconds.observe(now.saturating_sub(waiting.since).as_secs_f64());
                    waiting.acknowledge.settle(Ok(()));
                }
            }
            Err(source) => {
                let channel = self.channel.name.clone();
                error!(%channel, term = self.queue.term, error = ?source, "a log write failed; the writer gives up");
                self.queue.close(Error::Poisoned { channel, source: Arc::new(source) });
                self.queue.settle(batch, Ok(()));
            }
        }
    }

    fn stopped(&self) -> Error {
        Error::Stopped { channel: self.channel.name.clone() }
    }
}

struct Closing<'a>(&'a Writing);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.queue.close(self.0.stopped());
    }
}
