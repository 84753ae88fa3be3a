//! Claims about reads of the past.

use std::collections::HashMap;

use contract::pb::schema::{TemplateValue, template_value};

use super::lives::{ahead, set};
use super::*;
use crate::base::Timestamp;
use crate::rpc::Consistency;

const TRAVEL: &str = "travel_timestamp";

fn templates(time: u64) -> HashMap<String, TemplateValue> {
    let time = template_value::Val::Int64Val(i64::try_from(time).unwrap());
    HashMap::from([(TRAVEL.to_owned(), TemplateValue { val: Some(time) })])
}

/// Keys of all rows at a time, by each way in which a client can name it: what was refused instead, if anything was.
async fn keys_at(proxy: &Proxy, time: u64) -> Vec<Result<Vec<i64>, String>> {
    let query = |request: QueryRequest| async move {
        let request = QueryRequest {
            collection_name: "c".to_owned(),
            expr: "id > 0".to_owned(),
            output_fields: vec!["id".to_owned()],
            ..request
        };
        let found = proxy.query(Request::new(request)).await.unwrap().into_inner();
        match said(found.status) {
            (0, _) => Ok(longs(&found.fields_data[0])),
            (_, text) => Err(text),
        }
    };
    let searched = |found: SearchResults| match said(found.status) {
        (0, _) => {
            let mut keys = match found.results.unwrap().ids.unwrap().id_field {
                Some(contract::pb::schema::i_ds::IdField::IntId(ids)) => ids.data,
                other => panic!("not integers: {other:?}"),
            };
            keys.sort_unstable();
            Ok(keys)
        }
        (_, text) => Err(text),
    };
    let json = format!(r#"{{"{TRAVEL}": {time}}}"#);
    let one = search_request(&[("topk", "9"), ("params", &json)], &[&[0.0, 0.0]]);
    let field = SearchRequest { travel_timestamp: time, ..search_request(&[("topk", "9")], &[&[0.0, 0.0]]) };
    let plain = search_request(&[("topk", "9")], &[&[0.0, 0.0]]);
    let hybrid = HybridSearchRequest {
        collection_name: "c".to_owned(),
        // The second one goes by what the first one names.
        requests: vec![one.clone(), plain],
        rank_params: vec![pair("limit", "9")],
        ..Default::default()
    };
    vec![
        query(QueryRequest { travel_timestamp: time, ..Default::default() }).await,
        query(QueryRequest { expr_template_values: templates(time), ..Default::default() }).await,
        searched(search(proxy, one).await),
        searched(search(proxy, field).await),
        searched(proxy.hybrid_search(Request::new(hybrid)).await.unwrap().into_inner()),
    ]
}

#[tokio::test]
async fn a_read_of_the_past_sees_what_was_there_and_none_goes_back_further_than_is_kept() {
    let (proxy, twin) = with_twin(false, 2).await;
    let points = vectors(2, &[1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
    let first = insert(&proxy, 3, vec![ids(&[1, 2, 3]), points]).await.timestamp;
    let expr = "id in [1]".to_owned();
    let delete = DeleteRequest { collection_name: "c".to_owned(), expr, ..Default::default() };
    let second = proxy.delete(Request::new(delete)).await.unwrap().into_inner().timestamp;
    assert!(first < second);
    let later = ahead(&twin, 100_000);

    let refused = keys_at(&later, first).await;
    assert!(refused.iter().all(|refused| {
        refused
            .as_ref()
            .is_err_and(|text| text.contains("only support to travel back to 0s so far, but got 1"))
    }));
    for (retention, is_kept) in [("3600", true), ("60", false)] {
        assert_good(&set(&proxy, "timetravel.retention.seconds", retention).await);
        let found = (keys_at(&later, first).await, keys_at(&later, second).await);
        if is_kept {
            assert_eq!(found, (vec![Ok(vec![1, 2, 3]); 5], vec![Ok(vec![2, 3]); 5]));
            assert_eq!(twin.asked.lock().last(), Some(&Consistency::History(Timestamp(second))));
        } else {
            assert!(found.0.iter().chain(&found.1).all(Result::is_err), "{found:?}");
        }
    }
    assert_eq!(longs(&query(&later, "id > 0", &["id"], &[]).await.fields_data[0]), [2, 3]);
}

#[tokio::test]
async fn a_past_that_is_none_is_refused() {
    let (proxy, _) = with_twin(false, 2).await;
    let far = Timestamp::from_unix_ms(1 << 45).0;
    for (params, text) in [
        (r#"{"travel_timestamp": "yesterday"}"#.to_owned(), "travel_timestamp is not one hybrid timestamp"),
        (format!(r#"{{"travel_timestamp": {far}}}"#), "Timestamp lag too large"),
    ] {
        let request = search_request(&[("topk", "9"), ("params", &params)], &[&[0.0, 0.0]]);
        let (_, said) = said(search(&proxy, request).await.status);
        assert!(said.contains(text), "{params}: {said}");
    }
    let at = |time: &str| {
        let params = format!(r#"{{"travel_timestamp": {time}}}"#);
        search_request(&[("topk", "9"), ("params", &params)], &[&[0.0, 0.0]])
    };
    let both = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![at("5"), at("7")],
        rank_params: vec![pair("limit", "9")],
        ..Default::default()
    };
    let (_, text) = said(proxy.hybrid_search(Request::new(both)).await.unwrap().into_inner().status);
    assert!(text.contains("travel_timestamp is not one hybrid timestamp: 5 and 7"), "{text}");
    for value in ["-1", "x", "99999999999"] {
        let (code, text) = said(Some(set(&proxy, "timetravel.retention.seconds", value).await));
        assert!(
            code == 1100 && text.contains("timetravel.retention.seconds is out of range"),
            "{value}: {text}"
        );
    }
}
