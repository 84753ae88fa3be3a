//! Credentials that change while the process runs: settings are read again from where they came, and a store goes on with
//! what they say now.

use std::sync::Arc;
use std::time::Duration;

use contract::settings::Settings;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::assembly::Error;
use crate::assembly::stores::Store;
use crate::base::{Clock, chain};

/// How often settings are read again.
pub const REREAD: Duration = Duration::from_secs(10);

/// Reads all layers of settings as they are now.
pub type Sources = Arc<dyn Fn() -> Result<Settings, Error> + Send + Sync>;

/// Keeps the credentials of the store of sealed data fresh. Those of etcd and Kafka are in files that their clients look at
/// by themselves.
pub struct Rereader {
    /// The store.
    pub store: Store,
    /// Where settings come from.
    pub sources: Sources,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How often they are read again.
    pub every: Duration,
}

impl Rereader {
    /// Reads again until `stop`; returns then.
    ///
    /// # Errors
    /// None: settings that cannot be read or used are told once, and what was known goes on.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.clock.sleep(self.every) => {}
            }
            match self.again().await {
                Ok(changed) => {
                    if changed {
                        info!("the object store is asked with other credentials from here on");
                    }
                    told.clear();
                }
                Err(error) => {
                    let reason = chain(&error);
                    if reason != told {
                        warn!(reason, "other settings of the object store are not taken over");
                    }
                    told = reason;
                }
            }
        }
    }

    async fn again(&self) -> Result<bool, Error> {
        let settings = (self.sources)()?;
        self.store.reload(&settings).await
    }
}
