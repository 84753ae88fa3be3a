//! Users, roles and what they may do, as clients see it.

use axum::body::Body;
use contract::settings::Secret;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use prost_reflect::DescriptorPool;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use super::*;
use crate::base::RealClock;
use crate::model::access::{Grant, Object, Role, User};
use crate::proxy::serve::router;
use crate::proxy::{AccessSettings, Gate, ProxyParts};

/// A proxy over the twin that checks users, cheaply.
fn guarded(twin: &Arc<Twin>) -> Proxy {
    let access = AccessSettings {
        enabled: true,
        root_password: Secret::new("rootpass".to_owned()),
        super_users: vec!["boss".to_owned()],
        cost: 4,
        ..AccessSettings::default()
    };
    Proxy::new(ProxyParts { access, ..twin.parts() })
}

/// The header of a user with a password, as clients of gRPC write it.
fn by(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

fn root() -> String {
    by("root", "rootpass")
}

/// The code of gRPC, and the text, that a call with an empty request is answered.
async fn call(proxy: &Proxy, method: &str, header: Option<&str>) -> (String, String) {
    ask(router(proxy.clone()), method, header).await
}

async fn ask(routes: axum::Router, method: &str, header: Option<&str>) -> (String, String) {
    let mut request = http::Request::post(format!("/milvus.proto.milvus.MilvusService/{method}"))
        .header(CONTENT_TYPE, "application/grpc");
    if let Some(header) = header {
        request = request.header(AUTHORIZATION, header);
    }
    // An empty message that is not compressed.
    let answer = routes.oneshot(request.body(Body::from(vec![0; 5])).unwrap()).await.unwrap();
    let text = |name: &str| {
        let value = answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default().replace("%20", " ").replace("%60", "`")
    };
    (text("grpc-status"), text("grpc-message"))
}

/// The status of HTTP and the body that a call of REST is answered.
async fn post(proxy: &Proxy, path: &str, header: Option<&str>, body: &Json) -> (StatusCode, Json) {
    let mut request =
        http::Request::post(format!("/v2/vectordb/{path}")).header(CONTENT_TYPE, "application/json");
    if let Some(header) = header {
        request = request.header(AUTHORIZATION, format!("Bearer {header}"));
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = router(proxy.clone()).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Json::Null))
}

/// Every call of the service that a proxy may be asked for.
fn calls() -> Vec<String> {
    let pool = DescriptorPool::decode(contract::PUBLIC_PROTOCOL).unwrap();
    let service = pool.get_service_by_name("milvus.proto.milvus.MilvusService").unwrap();
    service.methods().map(|method| method.name().to_owned()).collect()
}

#[tokio::test]
async fn every_call_is_refused_to_who_is_not_known() {
    let proxy = guarded(&Twin::new());
    let calls = calls();
    assert!(calls.len() > 100);

    for name in calls.iter().map(String::as_str).chain(["Nothing"]) {
        let refused = |text: &str| ("16".to_owned(), text.to_owned());
        assert_eq!(call(&proxy, name, None).await, refused("missing authorization in header"), "{name}");
        let wrong = call(&proxy, name, Some(&by("root", "Milvus"))).await;
        let expected = "auth check failure, please check username and password are correct";
        assert_eq!(wrong, refused(expected), "{name}");
    }
    let key = call(&proxy, "Connect", Some("YS1rZXk=")).await;
    assert_eq!(key.1, "auth check failure, please check api key is correct");
}

#[tokio::test]
async fn a_user_without_roles_may_make_the_open_calls_and_no_other() {
    let twin = Twin::new();
    let proxy = guarded(&twin);
    let ann = User { password: Some(proxy.access().hash("secret-1").await.unwrap()), ..User::default() };
    Arc::make_mut(&mut twin.policy.lock()).users.insert("ann".to_owned(), ann);
    let header = by("ann", "secret-1");
    let mut open = Vec::new();
    let mut denied = 0;

    for name in calls() {
        let (code, text) = call(&proxy, &name, Some(&header)).await;
        match code.as_str() {
            "7" => {
                assert!(text.ends_with("permission deny to ann in the `default` database"), "{name}: {text}");
                denied += 1;
            }
            // Not built.
            "12" => {}
            _ => open.push(name),
        }
    }

    assert!(denied > 60, "{denied}");
    assert_eq!(
        open,
        [
            "HasCollection",
            "DescribeCollection",
            "BatchDescribeCollection",
            "ShowCollections",
            "ListAliases",
            "DescribeIndex",
            "GetIndexStatistics",
            "GetIndexState",
            "GetIndexBuildProgress",
            "GetFlushAllState",
            "GetPersistentSegmentInfo",
            "GetQuerySegmentInfo",
            "GetReplicas",
            "GetMetrics",
            "GetComponentStates",
            "GetCompactionState",
            "GetCompactionStateWithPlans",
            "GetImportState",
            "ListImportTasks",
            "GetVersion",
            "CheckHealth",
            "Connect",
            "AllocTimestamp",
            "ListDatabases",
            "RunAnalyzer",
        ]
    );
}

#[tokio::test]
async fn every_path_of_rest_is_refused_to_who_is_not_known() {
    let proxy = guarded(&Twin::new());
    let unknown = json!({ "code": 1800, "message": "user hasn't authenticated" });

    for path in ["users/list", "collections/list", "entities/search", "no/such/path"] {
        for header in [None, Some("root:wrong"), Some("key")] {
            let answer = post(&proxy, path, header, &json!({})).await;
            assert_eq!(answer, (StatusCode::UNAUTHORIZED, unknown.clone()), "{path} {header:?}");
        }
    }
    assert_eq!(
        post(&proxy, "users/list", Some("root:rootpass"), &json!({})).await.1["data"],
        json!(["root"])
    );
}

#[tokio::test]
async fn users_roles_and_grants_are_made_over_rest_and_count_at_once() {
    let proxy = guarded(&Twin::new());
    let root = async |path: &str, body: Json| {
        let (status, answer) = post(&proxy, path, Some("root:rootpass"), &body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::OK, &json!(0)), "{path} {answer}");
        answer["data"].clone()
    };
    let list = async || post(&proxy, "roles/list", Some("ann:secret-1"), &json!({})).await;

    root("users/create", json!({ "userName": "ann", "password": "secret-1" })).await;
    let (status, denied) = list().await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let text = "PrivilegeSelectOwnership: permission deny to ann in the `default` database";
    assert_eq!(denied, json!({ "code": 1401, "message": text }));

    root("roles/create", json!({ "roleName": "reader" })).await;
    let grant =
        json!({ "roleName": "reader", "privilege": "SelectOwnership", "dbName": "*", "collectionName": "*" });
    root("roles/grant_privilege_v2", grant).await;
    root("users/grant_role", json!({ "userName": "ann", "roleName": "reader" })).await;

    assert_eq!(list().await.1["data"], json!(["admin", "public", "reader"]));
    assert_eq!(root("users/describe", json!({ "userName": "ann" })).await, json!(["reader"]));
    let expected = json!([{
        "objectType": "Global", "objectName": "*", "dbName": "*", "privilege": "SelectOwnership", "grantor": "root",
    }]);
    assert_eq!(root("roles/describe", json!({ "roleName": "reader" })).await, expected);
    let groups = root("privilege_groups/list", json!({})).await;
    assert_eq!(groups.as_array().unwrap().len(), 9);
    root("users/drop", json!({ "userName": "ann" })).await;
    assert_eq!(list().await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn lists_show_only_what_a_user_has_something_to_do_with() {
    let twin = Twin::new();
    let proxy = guarded(&twin);
    let open = Proxy::new(twin.parts());
    for name in ["books", "films"] {
        let schema = contract::pb::schema::CollectionSchema { name: name.to_owned(), ..super::schema(false) };
        let request = CreateCollectionRequest {
            collection_name: name.to_owned(),
            schema: schema.encode_to_vec(),
            shards_num: 1,
            ..Default::default()
        };
        assert_eq!(
            said(Some(open.create_collection(Request::new(request)).await.unwrap().into_inner())).0,
            0
        );
    }
    let grant = Grant {
        object: Object::Collection,
        name: "books".to_owned(),
        database: "default".to_owned(),
        privilege: "Search".to_owned(),
        grantor: "root".to_owned(),
    };
    {
        let mut policy = twin.policy.lock();
        let policy = Arc::make_mut(&mut policy);
        policy.roles.insert("reader".to_owned(), Role { grants: vec![grant], ..Role::default() });
        let ann = User { roles: ["reader".to_owned()].into(), ..User::default() };
        policy.users.insert("ann".to_owned(), ann);
        policy.users.insert("bob".to_owned(), User::default());
    }
    let shown = async |user: &str| {
        let mut request = Request::new(ShowCollectionsRequest::default());
        request.extensions_mut().insert(crate::proxy::access::Login::user(user));
        proxy.show_collections(request).await.unwrap().into_inner().collection_names
    };

    assert_eq!(shown("ann").await, ["books"]);
    assert_eq!(shown("bob").await, Vec::<String>::new());
    assert_eq!(shown("root").await, ["books", "films"]);
}

/// A request of somebody, who has come past the door.
fn of<T>(user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(crate::proxy::access::Login::user(user));
    request
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn names_and_passwords_of_users_keep_the_rules() {
    let proxy = guarded(&Twin::new());
    let create = async |user: &str, password: &str| {
        let (username, password) = (user.to_owned(), base64(password));
        let request = CreateCredentialRequest { username, password, ..Default::default() };
        said(Some(proxy.create_credential(of("root", request)).await.unwrap().into_inner()))
    };
    let long = "a".repeat(33);
    let cases = [
        ("abc", "12345", "invalid password length: invalid parameter[5 out of range 6 <= value <= 256]"),
        ("1abc", "123456", "invalid user name 1abc, the first character must be a letter: invalid parameter"),
        (
            &long,
            "123456",
            &format!(
                "invalid user name {long}, the length of username must be less than 32: invalid parameter"
            ),
        ),
        (
            "abc",
            &"p".repeat(73),
            "invalid password: it has 73 bytes, and no more than 72 count: invalid parameter",
        ),
        ("root", "123456", "user already exists: root"),
    ];
    for (user, password, text) in cases {
        assert_eq!(create(user, password).await, (1100, text.to_owned()), "{user}");
    }
    assert_eq!(create("abc", "123456").await, (0, String::new()));
    assert_eq!(create("abc", "123456").await, (1100, "user already exists: abc".to_owned()));
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_and_by_super_users() {
    let twin = Twin::new();
    let proxy = guarded(&twin);
    let update = async |by: &str, user: &str, old: &str, new: &str| {
        let request = UpdateCredentialRequest {
            username: user.to_owned(),
            old_password: base64(old),
            new_password: base64(new),
            ..Default::default()
        };
        match proxy.update_credential(of(by, request)).await {
            Ok(answer) => said(Some(answer.into_inner())),
            Err(status) => (-1, status.message().to_owned()),
        }
    };
    let knows = async |password: &str| call(&proxy, "GetVersion", Some(&by("ann", password))).await.0 != "16";
    for name in ["ann", "boss"] {
        let user = User { password: Some(proxy.access().hash("secret-1").await.unwrap()), ..User::default() };
        Arc::make_mut(&mut twin.policy.lock()).users.insert(name.to_owned(), user);
    }

    assert_eq!(update("ann", "ann", "secret-1", "secret-2").await, (0, String::new()));
    assert!(knows("secret-2").await && !knows("secret-1").await);
    let wrong = (1400, "old password not correct for ann: not authenticated".to_owned());
    assert_eq!(update("ann", "ann", "secret-1", "secret-3").await, wrong);
    let text = "PrivilegeUpdateUser: permission deny to ann in the `default` database";
    assert_eq!(update("ann", "boss", "secret-1", "secret-3").await, (-1, text.to_owned()));
    assert_eq!(update("root", "ann", "", "secret-3").await, wrong);
    assert_eq!(update("boss", "boss", "", "secret-3").await, (0, String::new()));
    assert_eq!(update("root", "root", "rootpass", "secret-4").await, (0, String::new()));
    assert_eq!(call(&proxy, "GetVersion", Some(&root())).await.0, "16");
}

#[tokio::test]
async fn grants_keep_to_what_their_privilege_is_about() {
    let proxy = guarded(&Twin::new());
    let grant = async |privilege: &str, database: &str, collection: &str| {
        let request = OperatePrivilegeV2Request {
            role: Some(RoleEntity { name: "reader".to_owned(), ..Default::default() }),
            grantor: Some(GrantorEntity {
                privilege: Some(PrivilegeEntity { name: privilege.to_owned() }),
                ..Default::default()
            }),
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        said(Some(proxy.operate_privilege_v2(of("root", request)).await.unwrap().into_inner())).0
    };
    let request = CreateRoleRequest {
        entity: Some(RoleEntity { name: "reader".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    proxy.create_role(of("root", request)).await.unwrap();

    assert_eq!(grant("Search", "default", "books").await, 0);
    assert_eq!(grant("ClusterAdmin", "*", "*").await, 0);
    assert_eq!(grant("DatabaseAdmin", "default", "*").await, 0);
    assert_eq!(grant("ClusterAdmin", "default", "*").await, 1100);
    assert_eq!(grant("DatabaseAdmin", "default", "books").await, 1100);
    assert_eq!(grant("Sleep", "*", "*").await, 65_535);
    let entity = GrantEntity {
        role: Some(RoleEntity { name: "reader".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let request = SelectGrantRequest { entity: Some(entity), ..Default::default() };
    let shown = proxy.select_grant(of("root", request)).await.unwrap().into_inner().entities;
    let shown: Vec<_> = shown
        .into_iter()
        .map(|grant| {
            let privilege = grant.grantor.unwrap().privilege.unwrap().name;
            (grant.object.unwrap().name, grant.object_name, grant.db_name, privilege)
        })
        .collect();
    let row = |object: &str, name: &str, database: &str, privilege: &str| {
        (object.to_owned(), name.to_owned(), database.to_owned(), privilege.to_owned())
    };
    assert_eq!(
        shown,
        [
            row("Collection", "books", "default", "Search"),
            row("Global", "*", "*", "ClusterAdmin"),
            row("Global", "*", "default", "DatabaseAdmin"),
        ]
    );
}

#[tokio::test]
async fn with_checks_off_anybody_may_do_everything_and_users_can_still_be_made() {
    let proxy = Proxy::new(Twin::new().parts());

    assert_ne!(call(&proxy, "GetVersion", Some(&by("who", "ever"))).await.0, "16");
    let made =
        post(&proxy, "users/create", None, &json!({ "userName": "ann", "password": "secret-1" })).await;
    assert_eq!(made, (StatusCode::OK, json!({ "data": {}, "code": 0 })));
}

#[tokio::test]
async fn an_administrator_s_port_asks_for_no_user_and_lets_everything_through() {
    let proxy = guarded(&Twin::new());
    let administrators = crate::proxy::administrators(proxy.parts.as_ref().clone());

    let guarded = ask(router(proxy), "ListCredUsers", None).await;
    let administered = ask(administrators, "ListCredUsers", None).await;

    // 16 is UNAUTHENTICATED; a call that is begun has its code behind its answer.
    assert_eq!((guarded.0.as_str(), administered.0.as_str()), ("16", ""));
}

#[tokio::test]
async fn a_gate_lets_in_administrators_and_nobody_else() {
    let twin = Twin::new();
    let proxy = guarded(&twin);
    for (user, password) in [("ann", "password1"), ("bob", "password2")] {
        let body = json!({ "userName": user, "password": password });
        post(&proxy, "users/create", Some("root:rootpass"), &body).await;
    }
    let body = json!({ "userName": "bob", "roleName": "admin" });
    post(&proxy, "users/grant_role", Some("root:rootpass"), &body).await;
    let parts = &proxy.parts;
    let gate = Gate::new(Arc::clone(&parts.coord), parts.access.clone(), RealClock::new());
    let admits = async |header: Option<String>| {
        let headers = header.map(|header| (AUTHORIZATION, header.parse().unwrap()));
        gate.admits(&headers.into_iter().collect(), None).await.map_err(|refused| refused.to_string())
    };

    assert_eq!(admits(Some(root())).await, Ok(()));
    assert_eq!(admits(Some(by("bob", "password2"))).await, Ok(()));
    assert_eq!(
        admits(Some(by("ann", "password1"))).await,
        Err("only administrators may do this, and ann is none".to_owned())
    );
    let wrong = "auth check failure, please check username and password are correct";
    assert_eq!(admits(Some(by("root", "no"))).await, Err(wrong.to_owned()));
    assert_eq!(admits(None).await, Err("missing authorization in header".to_owned()));
}
