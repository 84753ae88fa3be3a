//! Rates and denials as clients see them.

use super::rest::ask;
use super::*;
use crate::proxy::access::{Login, Rights};
use crate::proxy::{Asked, LimitSettings, ProxyParts, Rate};

/// As [`with_twin`], with one rate of everything of a kind in all databases. The slowest are one in many hours: no test
/// takes so long.
async fn limited(asked: Asked, rate: Rate) -> Proxy {
    let (_, twin) = with_twin(false, 1).await;
    let limits = LimitSettings { rates: [(asked, rate)].into(), ..LimitSettings::default() };
    Proxy::new(ProxyParts { limits, ..twin.parts() })
}

const SELDOM: f64 = 0.000_01;

fn code(status: Option<Status>) -> (i32, String, bool) {
    let status = status.unwrap();
    (status.code, status.reason, status.retriable)
}

fn good() -> (i32, String, bool) {
    (0, String::new(), false)
}

fn exceeded(rate: &str) -> (i32, String, bool) {
    (8, format!("rate limit exceeded[rate={rate}]"), true)
}

fn denied() -> (i32, String) {
    (9, "quota exceeded[reason=access has been disabled by the administrator]".to_owned())
}

#[tokio::test]
async fn searches_are_counted_by_their_vectors() {
    let proxy = limited(Asked::Search, Rate { all: SELDOM, ..Rate::NONE }).await;
    let one = || search_request(&[("topk", "1")], &[&[0.0, 0.0]]);
    let hybrid = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![one(), one()],
        rank_params: vec![pair("limit", "1")],
        ..Default::default()
    };

    let first = search(&proxy, one()).await;
    let second = search(&proxy, one()).await;
    let both = proxy.hybrid_search(Request::new(hybrid)).await.unwrap().into_inner();

    assert_eq!(code(first.status), good());
    assert_eq!(code(second.status), exceeded("0.00001"));
    assert_eq!(code(both.status), exceeded("0.00001"));
    assert_eq!(code(query(&proxy, "id > 0", &[], &[]).await.status), good(), "another kind");
}

#[tokio::test]
async fn the_legacy_number_of_a_refusal_is_the_one_that_old_clients_wait_for() {
    let proxy = limited(Asked::Query, Rate { all: 0.0, ..Rate::NONE }).await;

    let refused = query(&proxy, "id > 0", &[], &[]).await.status.unwrap();

    assert_eq!(refused.error_code(), ErrorCode::RateLimit);
}

#[tokio::test]
async fn rest_is_counted_with_grpc() {
    let proxy = limited(Asked::Query, Rate { all: SELDOM, ..Rate::NONE }).await;
    query(&proxy, "id > 0", &[], &[]).await;

    let path = (http::Method::POST, "/v2/vectordb/entities/query");
    let (_, answer) = ask(&proxy, path, &[], r#"{"collectionName": "c", "filter": "id > 0"}"#).await;

    assert_eq!(answer["code"], 8, "{answer}");
}

#[tokio::test]
async fn writes_are_counted_by_their_bytes_and_nothing_of_a_refused_one_is_there() {
    let proxy = limited(Asked::Insert, Rate { collection: 100.0, ..Rate::NONE }).await;
    let row = |id| vec![ids(&[id]), vectors(2, &[0.0, 1.0]), ages(&[1])];
    let size = InsertRequest {
        collection_name: "c".to_owned(),
        num_rows: 1,
        fields_data: row(1),
        ..Default::default()
    }
    .encoded_len();

    let (first, second) = (insert(&proxy, 1, row(1)).await, insert(&proxy, 1, row(2)).await);

    assert!((51..=100).contains(&size), "a second has room for one, of {size} bytes");
    assert_eq!((code(first.status), code(second.status)), (good(), exceeded("100")));
    assert_eq!(longs(&query(&proxy, "", &["count(*)"], &[]).await.fields_data[0]), [1]);
    assert_eq!(code(upsert(&proxy, 1, row(3), false).await.status), good(), "another kind");
}

#[tokio::test]
async fn a_partition_has_a_rate_where_it_is_named() {
    let proxy = limited(Asked::Query, Rate { partition: SELDOM, ..Rate::NONE }).await;
    let named = async || {
        let request = QueryRequest {
            collection_name: "c".to_owned(),
            expr: "id > 0".to_owned(),
            partition_names: vec!["_default".to_owned(), "_default".to_owned()],
            ..Default::default()
        };
        code(proxy.query(Request::new(request)).await.unwrap().into_inner().status)
    };

    assert_eq!((named().await, named().await), (good(), exceeded("0.00001")));
    assert_eq!(code(query(&proxy, "id > 0", &[], &[]).await.status), good());
}

#[tokio::test]
async fn a_collection_may_have_a_rate_of_its_own() {
    let proxy = limited(Asked::Search, Rate { collection: 0.0, ..Rate::NONE }).await;
    let set = async |properties: Vec<KeyValuePair>| {
        let request =
            AlterCollectionRequest { collection_name: "c".to_owned(), properties, ..Default::default() };
        assert_good(&proxy.alter_collection(Request::new(request)).await.unwrap().into_inner());
    };
    let searched =
        async || code(search(&proxy, search_request(&[("topk", "1")], &[&[0.0, 0.0]])).await.status);
    let queried = async || code(query(&proxy, "id > 0", &[], &[]).await.status);
    assert_eq!(searched().await, exceeded("0"), "by the settings");

    set(vec![pair("collection.searchRate.max.vps", "1000"), pair("collection.queryRate.max.qps", "0")]).await;

    assert_eq!((searched().await, queried().await), (good(), exceeded("0")));
}

#[tokio::test]
async fn changes_of_the_catalog_are_counted() {
    let proxy = limited(Asked::Index, Rate { database: 0.0, ..Rate::NONE }).await;
    let drop = DropIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let flush = FlushRequest { collection_names: vec!["c".to_owned()], ..Default::default() };

    let dropped = proxy.drop_index(Request::new(drop)).await.unwrap().into_inner();
    let flushed = proxy.flush(Request::new(flush)).await.unwrap().into_inner();

    assert_eq!(code(Some(dropped)), exceeded("0"));
    assert_eq!(code(flushed.status), good());
}

#[tokio::test]
async fn a_database_denies_writes_until_it_is_altered_again() {
    let proxy = with_collection(false, 1).await;
    let alter = async |request: AlterDatabaseRequest| {
        let request = AlterDatabaseRequest { db_name: "default".to_owned(), ..request };
        assert_good(&proxy.alter_database(Request::new(request)).await.unwrap().into_inner());
    };
    let written = async || {
        let row = vec![ids(&[1]), vectors(2, &[0.0, 1.0]), ages(&[1])];
        let (code, reason, _) = code(insert(&proxy, 1, row).await.status);
        (code, reason)
    };

    let properties = vec![pair("database.force.deny.writing", "true")];
    alter(AlterDatabaseRequest { properties, ..Default::default() }).await;
    let (refused, read) = (written().await, query(&proxy, "id > 0", &[], &[]).await);
    alter(AlterDatabaseRequest {
        delete_keys: vec!["database.force.deny.writing".to_owned()],
        ..Default::default()
    })
    .await;

    assert_eq!((refused, code(read.status)), (denied(), good()));
    assert_eq!(written().await, (0, String::new()));
}

#[tokio::test]
async fn operators_are_not_counted() {
    let proxy = limited(Asked::Query, Rate { all: 0.0, ..Rate::NONE }).await;
    let request =
        QueryRequest { collection_name: "c".to_owned(), expr: "id > 0".to_owned(), ..Default::default() };
    let mut request = Request::new(request);
    request.extensions_mut().insert(Login { user: "operator".into(), rights: Rights::All });

    let answer = proxy.query(request).await.unwrap().into_inner();

    assert_eq!(code(answer.status), good());
}

/// As [`limited`], with what is behind it and a second collection, `d`.
async fn limited_pair(asked: Asked, rate: Rate) -> (Proxy, Arc<Twin>) {
    let (proxy, twin) = with_twin(false, 1).await;
    let create = CreateCollectionRequest {
        collection_name: "d".to_owned(),
        schema: CollectionSchema { name: "d".to_owned(), ..schema(false) }.encode_to_vec(),
        shards_num: 1,
        ..Default::default()
    };
    assert_good(&proxy.create_collection(Request::new(create)).await.unwrap().into_inner());
    let limits = LimitSettings { rates: [(asked, rate)].into(), ..LimitSettings::default() };
    (Proxy::new(ProxyParts { limits, ..twin.parts() }), twin)
}

#[tokio::test]
async fn a_flush_of_several_collections_is_let_through_as_one_or_flushes_none() {
    let (proxy, twin) = limited_pair(Asked::Flush, Rate { collection: SELDOM, ..Rate::NONE }).await;
    let flush = async |names: &[&str]| {
        let collection_names = names.iter().map(|&name| name.to_owned()).collect();
        let request = FlushRequest { collection_names, ..Default::default() };
        code(proxy.flush(Request::new(request)).await.unwrap().into_inner().status)
    };
    let all = async || {
        code(proxy.flush_all(Request::new(FlushAllRequest::default())).await.unwrap().into_inner().status)
    };
    assert_eq!(flush(&["d"]).await, good());

    let refused = [flush(&["c", "d"]).await, flush(&["c", "d"]).await, all().await];

    assert_eq!(refused, [(); 3].map(|()| exceeded("0.00001")));
    assert_eq!(twin.flushed.lock().len(), 1, "only what was let through");
    assert_eq!(flush(&["c"]).await, good(), "nothing was used up");
}

#[tokio::test]
async fn a_flush_of_more_collections_than_a_second_has_room_for_can_be_made() {
    let (proxy, twin) = limited_pair(Asked::Flush, Rate { all: SELDOM, ..Rate::NONE }).await;
    let flush_all = async || {
        code(proxy.flush_all(Request::new(FlushAllRequest::default())).await.unwrap().into_inner().status)
    };

    assert_eq!((flush_all().await, twin.flushed.lock().len()), (good(), 2));
    assert_eq!((flush_all().await, twin.flushed.lock().len()), (exceeded("0.00001"), 2));
}

#[tokio::test]
async fn a_collection_that_rest_makes_is_loaded_or_not_made_at_all() {
    let (_, twin) = limited_pair(Asked::Collection, Rate::NONE).await;
    let rates = [Asked::Collection, Asked::Index].map(|asked| (asked, Rate { all: SELDOM, ..Rate::NONE }));
    let limits = LimitSettings { rates: rates.into(), ..LimitSettings::default() };
    let proxy = Proxy::new(ProxyParts { limits, ..twin.parts() });
    let create = async |name: &str| {
        let body = format!(r#"{{"collectionName": "{name}", "dimension": 4}}"#);
        ask(&proxy, (http::Method::POST, "/v2/vectordb/collections/create"), &[], &body).await.1["code"]
            .clone()
    };
    let loaded = async |name: &str| {
        let collection = rpc::CollectionRef::Name { database: "default".to_owned(), name: name.to_owned() };
        rpc::Coord::collection(&*twin, collection).await.ok().map(|info| info.load.is_some())
    };

    assert_eq!((create("e").await, loaded("e").await), (0.into(), Some(true)));
    assert_eq!((create("f").await, loaded("f").await), (8.into(), None));
}

#[tokio::test]
async fn what_changes_a_collection_is_denied_with_the_other_changes_of_the_catalog() {
    let proxy = with_collection(false, 1).await;
    let collection_name = || "c".to_owned();
    let calls = async || {
        let truncate = TruncateCollectionRequest { collection_name: collection_name(), ..Default::default() };
        let rename = RenameCollectionRequest {
            old_name: "c".to_owned(),
            new_name: "c".to_owned(),
            ..Default::default()
        };
        let alter = AlterCollectionRequest {
            collection_name: collection_name(),
            properties: vec![pair("collection.ttl.seconds", "60")],
            ..Default::default()
        };
        let alter_field = AlterCollectionFieldRequest {
            collection_name: collection_name(),
            field_name: "name".to_owned(),
            properties: vec![pair("max_length", "5")],
            ..Default::default()
        };
        let add_field =
            AddCollectionFieldRequest { collection_name: collection_name(), ..Default::default() };
        let alias = || "a".to_owned();
        let create =
            CreateAliasRequest { collection_name: collection_name(), alias: alias(), ..Default::default() };
        let change =
            AlterAliasRequest { collection_name: collection_name(), alias: alias(), ..Default::default() };
        let drop = DropAliasRequest { alias: alias(), ..Default::default() };
        [
            proxy.truncate_collection(Request::new(truncate)).await.unwrap().into_inner().status.unwrap(),
            proxy.rename_collection(Request::new(rename)).await.unwrap().into_inner(),
            proxy.alter_collection(Request::new(alter)).await.unwrap().into_inner(),
            proxy.alter_collection_field(Request::new(alter_field)).await.unwrap().into_inner(),
            proxy.add_collection_field(Request::new(add_field)).await.unwrap().into_inner(),
            proxy.create_alias(Request::new(create)).await.unwrap().into_inner(),
            proxy.alter_alias(Request::new(change)).await.unwrap().into_inner(),
            proxy.drop_alias(Request::new(drop)).await.unwrap().into_inner(),
        ]
        .map(|status| (status.code, status.reason) == denied())
    };
    let deny = async |properties: &[&str]| {
        let request = AlterDatabaseRequest {
            db_name: "default".to_owned(),
            properties: properties.iter().map(|key| pair(key, "true")).collect(),
            ..Default::default()
        };
        assert_good(&proxy.alter_database(Request::new(request)).await.unwrap().into_inner());
    };
    assert_eq!(calls().await, [false; 8]);

    deny(&["database.force.deny.writing"]).await;
    assert_eq!(calls().await, [true, false, false, false, false, false, false, false]);
    deny(&["database.force.deny.ddl"]).await;
    assert_eq!(calls().await, [true; 8]);
}

#[tokio::test]
async fn a_database_is_altered_also_where_nobody_says_what_it_denies() {
    let (proxy, twin) = with_twin(false, 1).await;
    twin.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let request = AlterDatabaseRequest {
        db_name: "default".to_owned(),
        properties: vec![pair("database.force.deny.writing", "true")],
        ..Default::default()
    };

    assert_good(&proxy.alter_database(Request::new(request)).await.unwrap().into_inner());
}
