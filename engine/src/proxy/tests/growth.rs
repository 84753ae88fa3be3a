//! Claims about collections that gain fields and lose their rows.

use super::*;
use crate::base::Position;

async fn add(proxy: &Proxy, field: FieldSchema) -> Status {
    let request = AddCollectionFieldRequest {
        collection_name: "c".to_owned(),
        schema: field.encode_to_vec(),
        ..Default::default()
    };
    proxy.add_collection_field(Request::new(request)).await.unwrap().into_inner()
}

fn nullable(name: &str) -> FieldSchema {
    FieldSchema { nullable: true, ..field(name, Wire::Int64, &[]) }
}

async fn keys(proxy: &Proxy, expr: &str) -> Vec<i64> {
    let found = query(proxy, expr, &["id"], &[("limit", "10")]).await;
    assert_good(found.status.as_ref().unwrap());
    found.fields_data.iter().find(|column| column.field_name == "id").map(longs).unwrap_or_default()
}

#[tokio::test]
async fn rows_that_are_there_have_no_value_or_the_default_of_a_field_that_is_added() {
    let proxy = with_collection(false, 2).await;
    let sent = vec![ids(&[1, 2]), vectors(2, &[1.0, 0.0, 2.0, 0.0]), meta(&["{}", r#"{"later": 5}"#])];
    insert(&proxy, 2, sent).await;

    assert_good(&add(&proxy, nullable("later")).await);
    let default_value = Some(ValueField { data: Some(value_field::Data::LongData(9)) });
    assert_good(&add(&proxy, FieldSchema { default_value, ..nullable("nine") }).await);
    let later = scalars("later", Wire::Int64, scalar_field::Data::LongData(LongArray { data: vec![3] }));
    let later = FieldData { valid_data: vec![true], ..later };
    let written = insert(&proxy, 1, vec![ids(&[3]), vectors(2, &[3.0, 0.0]), later, meta(&["{}"])]).await;
    assert_eq!(written.insert_cnt, 1);

    assert_eq!(keys(&proxy, "later is null").await, [1, 2]);
    assert_eq!(keys(&proxy, "later > 0").await, [3]);
    assert_eq!(keys(&proxy, "nine == 9").await, [1, 2, 3]);
    assert_eq!(keys(&proxy, "$meta['later'] == 5").await, [2], "the dynamic key of that name is still there");
    let found = query(&proxy, "id > 0", &["later", "nine"], &[("limit", "10")]).await;
    let columns: Vec<(i64, Vec<i64>, Vec<bool>)> =
        found.fields_data.iter().map(|one| (one.field_id, longs(one), one.valid_data.clone())).collect();
    assert_eq!(
        columns,
        [
            (100, vec![1, 2, 3], vec![]),
            (105, vec![0, 0, 3], vec![false, false, true]),
            (106, vec![9, 9, 9], vec![true; 3]),
        ]
    );
}

#[tokio::test]
async fn a_field_that_cannot_be_added_is_refused_in_milvus_words() {
    let proxy = with_collection(false, 1).await;
    let refused = async |field: FieldSchema| add(&proxy, field).await.reason;

    let cases = [
        (nullable("age"), "duplicated field name age"),
        (nullable("id"), "duplicated field name id"),
        (
            FieldSchema { nullable: false, ..nullable("f") },
            "added field must be nullable, please check it, field name = f",
        ),
        (
            FieldSchema { is_primary_key: true, ..nullable("f") },
            "not support to add pk field, field name = f",
        ),
        (nullable("$meta"), "The name is reserved for the system"),
        (nullable("a b"), "Invalid field name: a b"),
    ];
    for (field, text) in cases {
        let reason = refused(field).await;
        assert!(reason.contains(text), "{text} is not in {reason}");
    }
    let request = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    let described = proxy.describe_collection(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(described.schema.unwrap().fields.len(), 4, "nothing was half done");
}

#[tokio::test]
async fn truncating_removes_the_rows_and_nothing_else() {
    let (proxy, twin) = with_twin(false, 2).await;
    insert(&proxy, 2, vec![ids(&[1, 2]), vectors(2, &[1.0, 0.0, 2.0, 0.0]), meta(&["{}", "{}"])]).await;

    let truncate = |name: &str| {
        let request = TruncateCollectionRequest { collection_name: name.to_owned(), ..Default::default() };
        proxy.truncate_collection(Request::new(request))
    };
    assert_eq!(said(truncate("nope").await.unwrap().into_inner().status).0, 100);
    assert_good(&truncate("c").await.unwrap().into_inner().status.unwrap());

    assert_eq!(twin.flushed.lock().len(), 2, "what is not sealed would stay");
    assert_eq!(keys(&proxy, "id > 0").await, Vec::<i64>::new());
    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let indexes = proxy.describe_index(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(indexes.index_descriptions.len(), 1);
    let sent = vec![ids(&[7]), vectors(2, &[7.0, 0.0]), meta(&["{}"])];
    insert(&proxy, 1, sent).await;
    assert_eq!(keys(&proxy, "id > 0").await, [7], "it is still loaded");
}

async fn truncate(proxy: &Proxy) -> Status {
    let request = TruncateCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    proxy.truncate_collection(Request::new(request)).await.unwrap().into_inner().status.unwrap()
}

#[tokio::test(start_paused = true)]
async fn truncating_seals_again_where_a_replaced_owner_sealed_nothing() {
    let (proxy, twin) = with_twin(false, 2).await;
    insert(&proxy, 1, vec![ids(&[1]), vectors(2, &[1.0, 0.0]), meta(&["{}"])]).await;
    (*twin.end.lock(), *twin.idle_flushes.lock()) = (Position(7), 2);

    assert_good(&truncate(&proxy).await);

    assert_eq!(twin.flushed.lock().len(), 4, "both channels, twice");
    assert_eq!(keys(&proxy, "id > 0").await, Vec::<i64>::new());
}

#[tokio::test(start_paused = true)]
async fn truncating_what_cannot_be_sealed_removes_nothing_and_is_to_be_tried_again() {
    let (proxy, twin) = with_twin(false, 2).await;
    insert(&proxy, 1, vec![ids(&[1]), vectors(2, &[1.0, 0.0]), meta(&["{}"])]).await;
    (*twin.end.lock(), *twin.idle_flushes.lock()) = (Position(7), usize::MAX);

    let refused = truncate(&proxy).await;

    assert!(refused.retriable, "{refused:?}");
    assert!(refused.reason.contains("not all rows of c could be sealed"), "{refused:?}");
    assert_eq!(keys(&proxy, "id > 0").await, [1]);
}
