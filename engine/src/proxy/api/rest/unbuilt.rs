//! Paths of Milvus whose part of the engine is not built: who may make the call hears so.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use contract::pb::milvus::*;
use http::{Extensions, HeaderMap, Uri};

use super::{Door, Version, Visit, answer};
use crate::proxy::access::table::Asks;
use crate::proxy::{Error, Proxy};

macro_rules! unbuilt {
    ($($path:literal($request:ty);)+) => {
        Router::new()$(.route(
            concat!("/", $path),
            post(handler!(V2, "RestUnbuilt", $request, async |_: &Proxy, _: Visit| Err(Error::PathNotBuilt { path: $path }))),
        ))+
    };
}

/// These paths.
pub fn router() -> Router<Proxy> {
    unbuilt! {
        "jobs/snapshot/restore_external"(RestoreExternalSnapshotRequest);
        "jobs/snapshot/export"(ExportSnapshotRequest);
        "jobs/snapshot/describe"(GetRestoreSnapshotStateRequest);
        "jobs/snapshot/list"(ListRestoreSnapshotJobsRequest);
        "jobs/external_collection/refresh"(RefreshExternalCollectionRequest);
        "jobs/external_collection/describe"(GetRefreshExternalCollectionProgressRequest);
        "jobs/external_collection/list"(ListRefreshExternalCollectionJobsRequest);
        "file_resources/add"(AddFileResourceRequest);
        "file_resources/remove"(RemoveFileResourceRequest);
        "file_resources/list"(ListFileResourcesRequest);
        "segments/describe"(GetPersistentSegmentInfoRequest);
        "quotacenter/describe"(GetMetricsRequest);
    }
}
