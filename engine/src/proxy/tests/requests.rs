//! What a client calls its calls.

use super::rest::ask;
use super::*;
use crate::base::RequestId;
use crate::proxy::access::{Login, Rights};
use crate::proxy::api::Caller;

/// A request with headers.
fn with<T>(message: T, headers: &[(&'static str, &'static str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn named(name: &str) -> Option<RequestId> {
    Caller { request: Some(name.to_owned()), ..Caller::default() }.request_id()
}

fn row() -> InsertRequest {
    let fields_data = vec![ids(&[1]), vectors(2, &[0.0, 1.0])];
    InsertRequest { collection_name: "c".to_owned(), num_rows: 1, fields_data, ..Default::default() }
}

#[tokio::test]
async fn the_name_of_a_call_goes_with_its_writes_whatever_the_client_speaks() {
    let (proxy, twin) = with_twin(false, 1).await;
    for header in ["client-request-id", "client_request_id"] {
        let inserted = proxy.insert(with(row(), &[(header, "mine")])).await.unwrap().into_inner();
        assert_good(&inserted.status.unwrap());
    }
    for headers in [&[][..], &[("client-request-id", "")]] {
        proxy.insert(with(row(), headers)).await.unwrap();
    }
    let upsert = UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows: 1,
        fields_data: row().fields_data,
        ..Default::default()
    };
    proxy.upsert(with(upsert, &[("client-request-id", "other")])).await.unwrap();
    let delete =
        DeleteRequest { collection_name: "c".to_owned(), expr: "id in [1]".to_owned(), ..Default::default() };
    proxy.delete(with(delete, &[("client-request-id", "mine")])).await.unwrap();
    let path = (http::Method::POST, "/v2/vectordb/entities/insert");
    let body = r#"{"collectionName": "c", "data": [{"id": 2, "vector": [0, 1]}]}"#;
    let (_, answer) = ask(&proxy, path, &[("Request-Id", "mine")], body).await;
    assert_eq!(answer["code"], 0, "{answer}");

    let (mine, other) = (named("mine"), named("other"));
    assert_ne!(mine, other);
    assert_eq!(*twin.named.lock(), [mine, mine, None, None, other, mine, mine]);
}

#[tokio::test]
async fn rows_whose_keys_the_server_makes_are_others_each_time() {
    let (proxy, twin) = with_twin(true, 1).await;
    let fields_data = vec![vectors(2, &[0.0, 1.0])];
    let insert = InsertRequest { fields_data, ..row() };

    proxy.insert(with(insert, &[("client-request-id", "mine")])).await.unwrap();

    assert_eq!(*twin.named.lock(), [None]);
}

#[test]
fn two_users_have_no_names_in_common() {
    let login = |user: &str| Login { user: user.into(), rights: Rights::OfRoles };
    let call = |user, name: &str| Caller {
        login: Some(login(user)),
        request: Some(name.to_owned()),
        ..Caller::default()
    };

    assert_eq!(call("ann", "1").request_id(), call("ann", "1").request_id());
    assert_ne!(call("ann", "1").request_id(), call("bob", "1").request_id());
    assert_ne!(call("ann", "b1").request_id(), call("annb", "1").request_id());
}
