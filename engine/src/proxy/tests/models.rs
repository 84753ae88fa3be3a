//! Claims about functions that ask a model: what is written, what is found, and what is not done when a model fails.

use contract::pb::schema::{FunctionSchema, FunctionScore, FunctionType};

use super::*;
use crate::inference::fake::FakeModel;

const ALLOW: &str = "collection.function.allowInsertNonBM25FunctionOutputs";

fn asks(endpoint: &str) -> FunctionSchema {
    FunctionSchema {
        name: "meaning".to_owned(),
        r#type: FunctionType::TextEmbedding.into(),
        input_field_names: vec!["text".to_owned()],
        output_field_names: vec!["dense".to_owned()],
        params: vec![pair("provider", "TEI"), pair("endpoint", endpoint), pair("max_client_batch_size", "2")],
        ..Default::default()
    }
}

/// `id` Int64 key, `text` VarChar that a model makes the vector `dense` of, `n` Int64 or null.
fn schema_of_meanings(dim: &str) -> CollectionSchema {
    CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            FieldSchema { nullable: true, ..field("text", Wire::VarChar, &[("max_length", "200")]) },
            field("dense", Wire::FloatVector, &[("dim", dim)]),
            FieldSchema { nullable: true, ..field("n", Wire::Int64, &[]) },
        ],
        functions: vec![asks("http://models")],
        ..Default::default()
    }
}

async fn created(proxy: &Proxy, schema: &CollectionSchema, properties: &[(&str, &str)]) -> Status {
    let create = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        shards_num: 2,
        properties: properties.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.create_collection(Request::new(create)).await.unwrap().into_inner()
}

/// A loaded collection over a model of three numbers.
async fn with_model(properties: &[(&str, &str)]) -> (Proxy, Arc<FakeModel>) {
    let model = FakeModel::new(3);
    let proxy = Proxy::new(crate::proxy::ProxyParts { models: model.models(), ..Twin::new().parts() });
    assert_good(&created(&proxy, &schema_of_meanings("3"), properties).await);
    let index = CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: "dense".to_owned(),
        extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
        ..Default::default()
    };
    assert_good(&proxy.create_index(Request::new(index)).await.unwrap().into_inner());
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    (proxy, model)
}

fn texts(data: &[&str]) -> FieldData {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalars("text", Wire::VarChar, scalar_field::Data::StringData(StringArray { data }))
}

fn numbers(data: &[i64]) -> FieldData {
    scalars("n", Wire::Int64, scalar_field::Data::LongData(LongArray { data: data.to_vec() }))
}

async fn insert(proxy: &Proxy, rows: u32, fields_data: Vec<FieldData>) -> Status {
    let request =
        InsertRequest { collection_name: "c".to_owned(), num_rows: rows, fields_data, ..Default::default() };
    proxy.insert(Request::new(request)).await.unwrap().into_inner().status.unwrap()
}

async fn upsert(proxy: &Proxy, fields_data: Vec<FieldData>, partial_update: bool) -> Status {
    let request = UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows: 1,
        fields_data,
        partial_update,
        ..Default::default()
    };
    proxy.upsert(Request::new(request)).await.unwrap().into_inner().status.unwrap()
}

/// The vectors of all rows, by key.
async fn vectors(proxy: &Proxy) -> Vec<(i64, Vec<f32>)> {
    let request = QueryRequest {
        collection_name: "c".to_owned(),
        output_fields: vec!["id".to_owned(), "dense".to_owned()],
        query_params: vec![pair("limit", "100")],
        ..Default::default()
    };
    let answer = proxy.query(Request::new(request)).await.unwrap().into_inner();
    assert_good(answer.status.as_ref().unwrap());
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for data in answer.fields_data {
        match data.field {
            Some(field_data::Field::Scalars(ScalarField {
                data: Some(scalar_field::Data::LongData(LongArray { data })),
                ..
            })) => keys = data,
            Some(field_data::Field::Vectors(VectorField {
                data: Some(vector_field::Data::FloatVector(found)),
                ..
            })) => values = found.data,
            other => panic!("{other:?}"),
        }
    }
    keys.into_iter().zip(values.chunks(3).map(<[f32]>::to_vec)).collect()
}

fn by_texts(data: &[&str], score: Option<FunctionScore>) -> SearchRequest {
    let values = data.iter().map(|text| text.as_bytes().to_vec()).collect();
    let placeholder = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::VarChar.into(),
        values,
        ..Default::default()
    };
    let group = PlaceholderGroup { placeholders: vec![placeholder] }.encode_to_vec();
    SearchRequest {
        collection_name: "c".to_owned(),
        nq: i64::try_from(data.len()).unwrap(),
        search_params: vec![pair("anns_field", "dense"), pair("topk", "2")],
        search_input: Some(SearchInput::PlaceholderGroup(group.into())),
        function_score: score,
        ..Default::default()
    }
}

/// The keys that are found, each with its score.
async fn found(proxy: &Proxy, request: SearchRequest) -> Vec<(i64, f32)> {
    let answer = proxy.search(Request::new(request)).await.unwrap().into_inner();
    assert_good(answer.status.as_ref().unwrap());
    let results = answer.results.unwrap();
    let Some(i_ds::IdField::IntId(keys)) = results.ids.unwrap().id_field else { panic!("integer keys") };
    keys.data.into_iter().zip(results.scores).collect()
}

#[tokio::test]
async fn a_model_makes_the_vectors_of_texts_and_of_questions() {
    let (proxy, model) = with_model(&[]).await;

    assert_good(
        &insert(&proxy, 3, vec![ids(&[1, 2, 3]), texts(&["ab", "bbb", "c"]), numbers(&[1, 2, 3])]).await,
    );
    assert_good(&upsert(&proxy, vec![ids(&[3]), texts(&["aaaa"]), numbers(&[3])], false).await);

    let expected = [(1, "ab"), (2, "bbb"), (3, "aaaa")].map(|(key, text)| (key, model.vector(text)));
    assert_eq!(vectors(&proxy).await, expected);
    assert_eq!(found(&proxy, by_texts(&["bbb"], None)).await, [(2, 0.0), (1, 6.0)]);
    // Probe, two texts and one, one, the question.
    assert_eq!(model.requests(), 5);
}

#[tokio::test]
async fn a_part_of_a_row_asks_the_model_only_about_a_new_text() {
    let (proxy, model) = with_model(&[]).await;
    assert_good(&insert(&proxy, 1, vec![ids(&[1]), texts(&["ab"]), numbers(&[1])]).await);
    let before = model.requests();

    assert_good(&upsert(&proxy, vec![ids(&[1]), numbers(&[7])], true).await);
    assert_eq!((vectors(&proxy).await, model.requests()), (vec![(1, model.vector("ab"))], before));

    assert_good(&upsert(&proxy, vec![ids(&[1]), texts(&["b"])], true).await);
    assert_eq!((vectors(&proxy).await, model.requests()), (vec![(1, model.vector("b"))], before + 1));
}

#[tokio::test]
async fn nothing_is_written_if_one_text_of_a_write_fails() {
    let (proxy, model) = with_model(&[]).await;
    assert_good(&insert(&proxy, 1, vec![ids(&[1]), texts(&["kept"]), numbers(&[1])]).await);
    let kept = vectors(&proxy).await;
    *model.refuses.lock() = Some("bad".to_owned());

    let all = ["one", "two", "three", "four", "bad"];
    let refused = insert(&proxy, 5, vec![ids(&[2, 3, 4, 5, 6]), texts(&all), numbers(&[0; 5])]).await;
    let text = "call service failed: http://models answered 413 Payload Too Large: not this text";
    assert_eq!(said(Some(refused)), (2400, text.to_owned()));
    let refused = upsert(&proxy, vec![ids(&[1]), texts(&["bad"]), numbers(&[1])], false).await;
    assert_eq!(said(Some(refused)), (2400, text.to_owned()));
    let empty = insert(&proxy, 2, vec![ids(&[7, 8]), texts(&["good", ""]), numbers(&[0; 2])]).await;
    let text = "text of row 1 cannot be empty: TextEmbedding function does not support empty text: invalid parameter";
    assert_eq!(said(Some(empty)), (1100, text.to_owned()));
    let none = insert(&proxy, 1, vec![ids(&[9]), numbers(&[0])]).await;
    assert_eq!(said(Some(none)).0, 1100);

    assert_eq!(vectors(&proxy).await, kept);
    let answer = proxy.search(Request::new(by_texts(&[""], None))).await.unwrap().into_inner();
    assert!(said(answer.status).1.contains("does not support empty text"));
}

#[tokio::test]
async fn rows_bring_vectors_of_their_own_where_the_collection_lets_them() {
    let dense = || FieldData { field_name: "dense".to_owned(), ..super::vectors(3, &[1.0, 2.0, 3.0]) };
    let (proxy, _) = with_model(&[]).await;
    let refused = insert(&proxy, 1, vec![ids(&[1]), texts(&["a"]), numbers(&[1]), dense()]).await;
    assert!(said(Some(refused)).1.contains("unexpected function output field dense"));

    let (proxy, model) = with_model(&[(ALLOW, "true")]).await;
    let before = model.requests();
    assert_good(&insert(&proxy, 1, vec![ids(&[1]), texts(&["a"]), numbers(&[1]), dense()]).await);
    assert_eq!((vectors(&proxy).await, model.requests()), (vec![(1, vec![1.0, 2.0, 3.0])], before));
    assert_good(&insert(&proxy, 1, vec![ids(&[2]), texts(&["b"]), numbers(&[1])]).await);
    assert_eq!(vectors(&proxy).await[1], (2, model.vector("b")));
}

#[tokio::test]
async fn a_collection_is_not_made_over_a_model_that_does_not_fit_or_does_not_answer() {
    let model = FakeModel::new(4);
    let proxy = Proxy::new(crate::proxy::ProxyParts { models: model.models(), ..Twin::new().parts() });
    let dim = "the required embedding dim is [3], but the embedding obtained from the model is [4]";
    assert_eq!(said(Some(created(&proxy, &schema_of_meanings("3"), &[]).await)), (2400, dim.to_owned()));

    let cases: [(fn(&mut CollectionSchema), &str); 4] = [
        (|all| all.functions[0].params.clear(), "param provider is missing"),
        (
            |all| all.functions[0].input_field_names[0] = "n".to_owned(),
            "TextEmbedding function input field must be a VARCHAR/TEXT field, got Int64 field",
        ),
        (
            |all| all.functions[0].output_field_names[0] = "n".to_owned(),
            "TextEmbedding function output field must be a FloatVector field, but got Int64",
        ),
        (|all| all.fields[2].nullable = true, "function output field cannot be nullable"),
    ];
    for (change, wanted) in cases {
        let mut schema = schema_of_meanings("4");
        change(&mut schema);
        let refused = said(Some(created(&proxy, &schema, &[]).await));
        assert!(refused.0 == 1100 && refused.1.contains(wanted), "{wanted} is not in {refused:?}");
    }
    // Nobody is asked where there is no network.
    let alone = Proxy::new(Twin::new().parts());
    let refused = said(Some(created(&alone, &schema_of_meanings("4"), &[]).await));
    assert!(refused.0 == 2 && refused.1.contains("http://models"), "{refused:?}");
    let has = HasCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    for proxy in [proxy, alone] {
        assert!(!proxy.has_collection(Request::new(has.clone())).await.unwrap().into_inner().value);
    }
}

/// What a model says of the texts for some questions.
fn judged(queries: &str) -> FunctionScore {
    let params =
        [("reranker", "model"), ("provider", "tei"), ("endpoint", "http://models"), ("queries", queries)];
    let function = FunctionSchema {
        name: "judge".to_owned(),
        r#type: FunctionType::Rerank.into(),
        input_field_names: vec!["text".to_owned()],
        params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    FunctionScore { functions: vec![function], params: Vec::new() }
}

#[tokio::test]
async fn a_model_ranks_what_was_found_for_each_query() {
    let (proxy, model) = with_model(&[]).await;
    let all = ["red kite", "kite", "blue whale", "whale"];
    assert_good(&insert(&proxy, 4, vec![ids(&[1, 2, 3, 4]), texts(&all), numbers(&[0; 4])]).await);

    let mut request = by_texts(&["x", "y"], Some(judged(r#"["red kite", "blue whale"]"#)));
    request.search_params[1] = pair("topk", "4");
    let expected = [(1, 2.0), (2, 1.0), (3, 0.0), (4, 0.0), (3, 2.0), (4, 1.0), (1, 0.0), (2, 0.0)];
    assert_eq!(found(&proxy, request).await, expected);

    // Of two searches together, each text once.
    let before = model.requests();
    let one = by_texts(&["x"], None);
    let hybrid = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![one.clone(), one],
        rank_params: vec![pair("limit", "1")],
        function_score: Some(judged(r#"["kite"]"#)),
        ..Default::default()
    };
    let answer = proxy.hybrid_search(Request::new(hybrid)).await.unwrap().into_inner();
    assert_good(answer.status.as_ref().unwrap());
    assert_eq!(answer.results.unwrap().scores, [1.0]);
    let asked: Vec<_> = model.asked.lock()[before..].iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(asked, ["/embed", "/embed", "/rerank"]);
}
