//! Makes the metadata of a cluster anew from its blob store: by hand after a loss, and by itself when a cluster begins on the
//! bucket of a standalone that was stopped in good order.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use contract::role::Role;
use contract::settings::Settings;

use crate::assembly::identity::{self, Identity};
use crate::assembly::{Error, seams, stores};
use crate::base::{ChannelName, Clock, Kind, Kinded as _, Position, Rng, TaskSet};
use crate::blob::Blobs;
use crate::coord::{self, LogEnds, Rebuilt};
use crate::log::{self, Logs};
use crate::meta::Metas;
use crate::obs::Metrics;
use crate::rpc;

/// Says of logs how far they go.
pub(super) struct Ends(pub(super) Arc<dyn Logs>);

#[async_trait]
impl LogEnds for Ends {
    async fn reaches(&self, channel: &ChannelName, position: Position) -> Result<bool, rpc::Error> {
        match self.0.read(channel, position).await {
            Ok(_) => Ok(true),
            // What was truncated was there, and more.
            Err(log::Error::Truncated { .. }) => Ok(true),
            Err(log::Error::Ahead { .. }) => Ok(false),
            Err(error) => Err(rpc::Error::failed("look for the end of a log", &error)),
        }
    }
}

/// Takes over the catalog that is in the store of `whose` into metadata that is empty.
///
/// # Errors
/// [`Error::CatalogWaits`] if somebody else does the same; [`Error::Catalog`] if it cannot be done.
pub async fn adopt(
    blobs: &Arc<dyn Blobs>,
    metas: &dyn Metas,
    logs: &Arc<dyn Logs>,
    whose: &Identity,
    clock: &dyn Clock,
) -> Result<Rebuilt, Error> {
    let ends = Ends(Arc::clone(logs));
    let Identity { cluster, oldest_reader, .. } = whose;
    let now = clock.unix_ms();
    let rebuilt = coord::rebuild(metas, Arc::clone(blobs), cluster, *oldest_reader, &ends, now).await;
    rebuilt.map_err(|source| match source.kind() {
        Kind::Conflict | Kind::Fenced => Error::CatalogWaits,
        _ => Error::Catalog { source },
    })
}

/// Makes the metadata that `settings` name anew from the blob store that they name; for `role`, whose logs they are.
///
/// # Errors
/// If there is a catalog or a leader; if the store has no copy of a catalog, or one with a hole.
pub async fn rebuild_catalog(
    role: Role,
    settings: &Settings,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: &Metrics,
    tasks: &TaskSet,
) -> Result<Rebuilt, Error> {
    if role != Role::Standalone && !settings.stores_remotely() {
        return Err(Error::NoBucket { role: role.name() });
    }
    let root = Path::new(&settings.local_storage.path);
    let lock = if role == Role::Standalone { Some(Arc::new(seams::lock_directory(root)?)) } else { None };
    let blobs = stores::open(settings, root, &clock, &rng).await?.blobs;
    let metas = seams::open_metas(role, settings, root, lock.as_ref(), &clock).await?;
    let metas = metas.ok_or(Error::NoCatalog { role: role.name() })?;
    let identity = identity::read(blobs.as_ref()).await?;
    let no_mirror = Error::Catalog { source: coord::Error::NoMirror };
    let Identity { cluster, oldest_reader, .. } = identity.ok_or(no_mirror)?;
    let logs =
        seams::open_logs(role, settings, root, lock.as_ref(), &blobs, &clock, &rng, metrics, tasks).await?;
    let (ends, now) = (Ends(logs), clock.unix_ms());
    let rebuilt = coord::rebuild(metas.as_ref(), blobs, &cluster, oldest_reader, &ends, now).await;
    rebuilt.map_err(|source| Error::Catalog { source })
}
