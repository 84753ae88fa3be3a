//! Calls about compaction.

use contract::pb::common;
use contract::pb::milvus::{
    CompactionMergeInfo, GetCompactionPlansRequest, GetCompactionPlansResponse, GetCompactionStateRequest,
    GetCompactionStateResponse, ManualCompactionRequest, ManualCompactionResponse,
};

use super::Caller;
use crate::base::{CollectionId, SegmentId};
use crate::proxy::convert::status::success;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionRef, CompactionPlan, CompactionState, CompactionStep};

/// The least size that a merge may be asked for: Milvus's greatest size of a segment. Unit: MB.
const LEAST_TARGET: i64 = 1024;

/// Compacts a collection, named or by number; a major compaction clusters it. A size to merge to is checked and then not
/// looked at: what can be merged is merged to the configured size.
pub async fn compact(
    proxy: &Proxy,
    caller: Caller,
    request: ManualCompactionRequest,
) -> Result<ManualCompactionResponse, Error> {
    let info = if request.collection_name.is_empty() {
        proxy.coord().collection(CollectionRef::Id(CollectionId(request.collection_id))).await?
    } else {
        proxy.info(&caller, &request.db_name, &request.collection_name).await?
    };
    proxy.admit_one(&caller, Asked::Compaction, About::collection(&info))?;
    if request.target_size != 0 && request.target_size < LEAST_TARGET {
        return Err(Error::TargetSize { asked: request.target_size, least: LEAST_TARGET });
    }
    let compaction_id = proxy.coord().compact(info.id, request.major_compaction).await?;
    let planned = proxy.coord().compaction(compaction_id).await?.plans.len();
    let compaction_plan_count = i32::try_from(planned).unwrap_or(i32::MAX);
    Ok(ManualCompactionResponse { status: Some(success()), compaction_id, compaction_plan_count })
}

/// How far a compaction is.
pub async fn state(
    proxy: &Proxy,
    _: Caller,
    request: GetCompactionStateRequest,
) -> Result<GetCompactionStateResponse, Error> {
    let known = proxy.coord().compaction(request.compaction_id).await?;
    Ok(GetCompactionStateResponse {
        status: Some(success()),
        state: whole(&known).into(),
        executing_plan_no: known.executing.into(),
        timeout_plan_no: 0,
        completed_plan_no: known.completed.into(),
        failed_plan_no: known.failed.into(),
    })
}

/// How far a compaction is, and which segments it makes one.
pub async fn plans(
    proxy: &Proxy,
    _: Caller,
    request: GetCompactionPlansRequest,
) -> Result<GetCompactionPlansResponse, Error> {
    let known = proxy.coord().compaction(request.compaction_id).await?;
    Ok(GetCompactionPlansResponse {
        status: Some(success()),
        state: whole(&known).into(),
        merge_infos: known.plans.iter().flat_map(shown).collect(),
    })
}

/// One entry for each new segment, as the wire knows only one; one with target 0 while there is none.
fn shown(plan: &CompactionPlan) -> Vec<CompactionMergeInfo> {
    let info = |target: i64| CompactionMergeInfo {
        sources: plan.sources.iter().map(|SegmentId(id)| *id).collect(),
        target,
        ..Default::default()
    };
    match plan.targets.as_slice() {
        [] => vec![info(0)],
        targets => targets.iter().map(|target| info(target.0)).collect(),
    }
}

fn whole(state: &CompactionState) -> common::CompactionState {
    let is_open = state.plans.iter().any(|plan| plan.step == CompactionStep::Executing);
    if is_open { common::CompactionState::Executing } else { common::CompactionState::Completed }
}
