//! `collections/compact` and `collections/get_compaction_state`.

use contract::pb::common::CompactionState;
use contract::pb::milvus::{GetCompactionStateRequest, ManualCompactionRequest};
use serde_json::{Value as Json, json};

use super::{Data, Visit, data};
use crate::proxy::api::compaction;
use crate::proxy::{Error, Proxy};

/// Compacts a collection.
pub async fn compact(proxy: &Proxy, visit: Visit) -> Data {
    let request = ManualCompactionRequest {
        collection_name: visit.required("CompactReq", "collectionName")?,
        db_name: visit.caller.database.clone().unwrap_or_default(),
        major_compaction: visit.body.get("isClustering").and_then(Json::as_bool).unwrap_or(false),
        ..Default::default()
    };
    let asked = compaction::compact(proxy, visit.caller, request).await?;
    Ok(data(json!({ "compactionID": asked.compaction_id })))
}

/// How far a compaction is.
pub async fn state(proxy: &Proxy, visit: Visit) -> Data {
    let job = visit.value("jobID");
    // Numbers of 64 bits come as texts too.
    let number = job.and_then(|job| job.as_i64().or_else(|| job.as_str()?.parse().ok()));
    let compaction_id = number.ok_or_else(|| Error::missing("GetCompactionStateReq", "jobID"))?;
    let known = compaction::state(proxy, visit.caller, GetCompactionStateRequest { compaction_id }).await?;
    let state = CompactionState::try_from(known.state).unwrap_or_default();
    Ok(data(json!({
        "compactionID": compaction_id,
        "state": state.as_str_name(),
        "executingPlanNumber": known.executing_plan_no,
        "timeoutPlanNumber": known.timeout_plan_no,
        "completedPlanNumber": known.completed_plan_no,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{compact, state};
    use crate::model::Schema;
    use crate::proxy::Proxy;
    use crate::proxy::api::rest::Visit;
    use crate::proxy::twin::{COMPACTION, Twin};
    use crate::rpc::{Coord as _, NewCollection};

    #[tokio::test]
    async fn a_compaction_asked_for_over_rest_is_followed_over_rest() {
        let twin = Twin::new();
        let collection = NewCollection {
            database: "default".to_owned(),
            name: "c".to_owned(),
            schema: Schema {
                description: String::new(),
                fields: Vec::new(),
                enable_dynamic_field: false,
                functions: Vec::new(),
                structs: Vec::new(),
                youngest_dropped: None,
            },
            shards: 1,
            partitions_by_key: 0,
            consistency: 0,
            properties: Vec::new(),
        };
        twin.create_collection(collection).await.unwrap();
        let proxy = Proxy::new(twin.parts());

        let asked = compact(&proxy, Visit::of(&json!({ "collectionName": "c" }))).await.unwrap();
        let known =
            state(&proxy, Visit::of(&json!({ "jobID": asked["data"]["compactionID"] }))).await.unwrap();
        let as_text = state(&proxy, Visit::of(&json!({ "jobID": COMPACTION.to_string() }))).await.unwrap();

        let expected = json!({
            "compactionID": COMPACTION,
            "state": "Executing",
            "executingPlanNumber": 1,
            "timeoutPlanNumber": 0,
            "completedPlanNumber": 1,
        });
        assert_eq!((&known["data"], &as_text["data"]), (&expected, &expected));
        assert_eq!(state(&proxy, Visit::of(&json!({}))).await.unwrap_err().code(), 1802);
        assert_eq!(compact(&proxy, Visit::of(&json!({}))).await.unwrap_err().code(), 1802);
        let clustering = json!({ "collectionName": "c", "isClustering": true });
        let refused = compact(&proxy, Visit::of(&clustering)).await.unwrap_err();
        assert_eq!(refused.to_string(), "collection c has no clustering key");
    }
}
