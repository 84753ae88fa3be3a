//! The leader lease: of several copies one works, the others wait.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a lease is good for without being renewed: the longest a failover takes. Unit: seconds.
const DURATION_SECONDS: u64 = 15;
/// How long before its end it is renewed. Unit: seconds.
const GRACE_SECONDS: u64 = 5;

/// A lease that is being held or waited for.
pub struct Lease {
    held: watch::Receiver<bool>,
    keeper: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

/// The lease cannot be kept.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// It cannot be made or read.
    #[error("cannot open lease {name} in namespace {namespace}")]
    Open {
        /// Name of the lease.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Why.
        #[source]
        source: Box<LeaseManagerError>,
    },
    /// The task that keeps it has ended.
    #[error("the lease is no longer kept")]
    Ended,
    /// It could not be given back; it runs out by itself.
    #[error("cannot release the lease")]
    Release {
        /// Why.
        #[source]
        source: Box<LeaseManagerError>,
    },
}

impl Lease {
    /// Starts to ask for lease `name` in `namespace` under `identity`, and keeps asking.
    ///
    /// # Errors
    /// [`LeaseError::Open`] if the API server refuses.
    pub async fn open(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> Result<Self, LeaseError> {
        let failed = |source| LeaseError::Open {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            source: Box::new(source),
        };
        let manager = LeaseManagerBuilder::new(client, name)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_field_manager(format!("{name}-{identity}"))
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await
            .map_err(failed)?;
        let (held, keeper) = manager.watch().await;
        Ok(Self { held, keeper })
    }

    /// Waits until the lease is ours. Cancel safe.
    ///
    /// # Errors
    /// [`LeaseError::Ended`] if nobody keeps it any more.
    pub async fn held(&mut self) -> Result<(), LeaseError> {
        self.held.wait_for(|held| *held).await.map(drop).map_err(|_| LeaseError::Ended)
    }

    /// Waits until the lease is no longer ours. Cancel safe.
    pub async fn lost(&mut self) {
        // An error means that nobody keeps the lease: it is lost too.
        drop(self.held.wait_for(|held| !*held).await);
    }

    /// Gives the lease back, so that another copy need not wait for its end.
    ///
    /// # Errors
    /// [`LeaseError::Release`] if the API server refuses.
    pub async fn release(self) -> Result<(), LeaseError> {
        drop(self.held);
        match self.keeper.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(LeaseError::Release { source: Box::new(source) }),
            Err(_) => Err(LeaseError::Ended),
        }
    }
}
