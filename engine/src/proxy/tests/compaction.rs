//! Compaction, as clients see it.

use contract::pb::common::CompactionState;

use super::*;
use crate::proxy::twin::COMPACTION;

#[tokio::test]
async fn a_compaction_is_asked_for_by_name_or_number_and_followed_until_it_is_done() {
    let (proxy, _twin) = with_twin(false, 1).await;
    let name = "c".to_owned();
    let by_name = ManualCompactionRequest { collection_name: name, ..Default::default() };
    let wrong = ManualCompactionRequest { collection_id: 99_999, ..Default::default() };

    let asked = proxy.manual_compaction(Request::new(by_name)).await.unwrap().into_inner();
    let refused = proxy.manual_compaction(Request::new(wrong)).await.unwrap().into_inner();

    assert_eq!(
        (asked.status.unwrap().code, asked.compaction_id, asked.compaction_plan_count),
        (0, COMPACTION, 2)
    );
    assert_eq!(refused.status.unwrap().code, 100);
    let small =
        ManualCompactionRequest { collection_name: "c".to_owned(), target_size: 512, ..Default::default() };
    let refused = proxy.manual_compaction(Request::new(small)).await.unwrap().into_inner();
    let text = "targetSize (512 MB) must not be less than the greatest size of a segment (1024 MB): invalid parameter";
    assert_eq!(said(refused.status), (1100, text.to_owned()));
    let state = async |compaction_id| {
        let request = GetCompactionStateRequest { compaction_id };
        proxy.get_compaction_state(Request::new(request)).await.unwrap().into_inner()
    };
    let known = state(COMPACTION).await;
    let (open, done) = (CompactionState::Executing, CompactionState::Completed);
    assert_eq!((known.state(), known.executing_plan_no, known.completed_plan_no), (open, 1, 1));
    assert_eq!(state(5).await.state(), done);
    let request = GetCompactionPlansRequest { compaction_id: COMPACTION, ..Default::default() };
    let plans = proxy.get_compaction_state_with_plans(Request::new(request)).await.unwrap().into_inner();
    let infos: Vec<_> = plans.merge_infos.iter().map(|info| (info.sources.clone(), info.target)).collect();
    assert_eq!((plans.state(), infos), (open, vec![(vec![1, 2], 5), (vec![3, 4], 0)]));
}
