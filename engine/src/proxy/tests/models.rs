//! Claims about functions that ask a model: what is written, what is found, and what is not done when a model fails.

use contract::pb::schema::{FunctionSchema, FunctionScore, FunctionType, ValueField, value_field};

use super::*;
use crate::inference::fake::FakeModel;
use crate::inference::{Answer, Failure, ModelSettings, Models, Post};

const ALLOW: &str = "collection.function.allowInsertNonBM25FunctionOutputs";

pub(super) fn asks(endpoint: &str) -> FunctionSchema {
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
pub(super) fn schema_of_meanings(dim: &str) -> CollectionSchema {
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

pub(super) async fn created(proxy: &Proxy, schema: &CollectionSchema, properties: &[(&str, &str)]) -> Status {
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
    let proxy = loaded(model.models(), &schema_of_meanings("3"), properties).await;
    (proxy, model)
}

/// A loaded collection over some models.
pub(super) async fn loaded(
    models: Arc<Models>,
    schema: &CollectionSchema,
    properties: &[(&str, &str)],
) -> Proxy {
    let proxy = Proxy::new(crate::proxy::ProxyParts { models, ..Twin::new().parts() });
    loaded_by(proxy, schema, properties, "dense").await
}

/// The same by this proxy, with an index on the vectors of a field.
pub(super) async fn loaded_by(
    proxy: Proxy,
    schema: &CollectionSchema,
    properties: &[(&str, &str)],
    field: &str,
) -> Proxy {
    assert_good(&created(&proxy, schema, properties).await);
    let index = CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: field.to_owned(),
        extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
        ..Default::default()
    };
    assert_good(&proxy.create_index(Request::new(index)).await.unwrap().into_inner());
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    proxy
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
    upsert_rows(proxy, 1, fields_data, partial_update).await
}

async fn upsert_rows(proxy: &Proxy, rows: u32, fields_data: Vec<FieldData>, partial_update: bool) -> Status {
    let request = UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows: rows,
        fields_data,
        partial_update,
        ..Default::default()
    };
    proxy.upsert(Request::new(request)).await.unwrap().into_inner().status.unwrap()
}

/// The numbers of all rows.
async fn numbers_now(proxy: &Proxy) -> Vec<i64> {
    let request = QueryRequest {
        collection_name: "c".to_owned(),
        output_fields: vec!["n".to_owned()],
        query_params: vec![pair("limit", "100")],
        ..Default::default()
    };
    let answer = proxy.query(Request::new(request)).await.unwrap().into_inner();
    assert_good(answer.status.as_ref().unwrap());
    let column = answer.fields_data.into_iter().find(|data| data.field_name == "n").unwrap();
    let Some(field_data::Field::Scalars(ScalarField {
        data: Some(scalar_field::Data::LongData(LongArray { data })),
        ..
    })) = column.field
    else {
        panic!("numbers")
    };
    data
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

/// A model that lets something else happen before its next answer.
struct Meanwhile {
    model: Arc<FakeModel>,
    first: parking_lot::Mutex<Option<futures::future::BoxFuture<'static, ()>>>,
}

#[async_trait::async_trait]
impl Post for Meanwhile {
    async fn post(&self, request: crate::inference::Request) -> Result<Answer, Failure> {
        let first = self.first.lock().take();
        if let Some(first) = first {
            first.await;
        }
        self.model.post(request).await
    }
}

#[tokio::test]
async fn what_others_write_while_a_model_thinks_is_not_lost() {
    let mut schema = schema_of_meanings("3");
    schema.fields[1].default_value = Some(default_text("ab"));
    let post = Arc::new(Meanwhile { model: FakeModel::new(3), first: parking_lot::Mutex::default() });
    let models = Models::new(post.clone(), ModelSettings::default(), crate::base::RealClock::new());
    let proxy = loaded(models, &schema, &[]).await;
    assert_good(&insert(&proxy, 1, vec![ids(&[1]), texts(&["ab"]), numbers(&[1])]).await);
    let other = |number| {
        let proxy = proxy.clone();
        let work =
            async move { assert_good(&upsert(&proxy, vec![ids(&[1]), numbers(&[number])], true).await) };
        *post.first.lock() = Some(Box::pin(work));
    };

    other(7);
    assert_good(&upsert(&proxy, vec![ids(&[1]), texts(&["b"])], true).await);
    assert_eq!(numbers_now(&proxy).await, [7]);
    // A key that is new has the model asked about the default, after the rows were read once.
    other(8);
    assert_good(&upsert_rows(&proxy, 2, vec![ids(&[1, 2])], true).await);
    let expected = vec![(1, post.model.vector("b")), (2, post.model.vector("ab"))];
    assert_eq!((numbers_now(&proxy).await[0], vectors(&proxy).await), (8, expected));
}

#[tokio::test]
async fn a_part_of_old_and_new_rows_leaves_the_vectors_of_the_old_ones() {
    let dense = || FieldData { field_name: "dense".to_owned(), ..super::vectors(3, &[1.0, 2.0, 3.0]) };
    let mut schema = schema_of_meanings("3");
    for default in [None, Some("ab")] {
        schema.fields[1].default_value = default.map(default_text);
        let model = FakeModel::new(3);
        let proxy = loaded(model.models(), &schema, &[(ALLOW, "true")]).await;
        assert_good(&insert(&proxy, 1, vec![ids(&[1]), texts(&["a"]), numbers(&[1]), dense()]).await);
        let before = model.requests();

        let outcome = upsert_rows(&proxy, 2, vec![ids(&[1, 2]), numbers(&[7, 8])], true).await;

        let own = (1, vec![1.0, 2.0, 3.0]);
        if default.is_some() {
            assert_good(&outcome);
            assert_eq!(vectors(&proxy).await, [own, (2, model.vector("ab"))]);
            assert_eq!(model.asked.lock()[before].1["inputs"], serde_json::json!(["ab"]));
        } else {
            assert!(said(Some(outcome)).1.starts_with("text of row 1 cannot be empty"));
            assert_eq!((vectors(&proxy).await, model.requests()), (vec![own], before));
        }
    }
}

#[tokio::test]
async fn texts_whose_vectors_could_not_be_written_are_refused_before_a_model_is_paid() {
    let model = FakeModel::new(32_768);
    let proxy = Proxy::new(crate::proxy::ProxyParts { models: model.models(), ..Twin::new().parts() });
    assert_good(&created(&proxy, &schema_of_meanings("32768"), &[]).await);
    let before = model.requests();
    let keys: Vec<i64> = (0..513).collect();

    let refused = insert(&proxy, 513, vec![ids(&keys), texts(&["a"; 513]), numbers(&[0; 513])]).await;

    let text = "513 texts and the vectors of them take more than 67108864 bytes: invalid parameter";
    assert_eq!((said(Some(refused)), model.requests()), ((1100, text.to_owned()), before));
}

#[tokio::test]
async fn a_search_that_is_refused_anyway_asks_no_model() {
    let (proxy, model) = with_model(&[]).await;
    let before = model.requests();
    let bad = SearchRequest { dsl: "n >".to_owned(), ..by_texts(&["a"], None) };
    let mut wide = by_texts(&["a"], None);
    wide.search_params.push(pair("params", r#"{"radius": "far"}"#));
    let long = SearchRequest {
        nq: 1,
        ..by_texts(&["a"], Some(judged(&serde_json::json!(["q".repeat(70_000)]).to_string())))
    };

    for request in [bad, wide, long] {
        let answer = proxy.search(Request::new(request)).await.unwrap().into_inner();
        assert_ne!(said(answer.status).0, 0);
    }
    assert_eq!(model.requests(), before);
}

/// A model that answers about `x` only to two who ask at once.
struct Together {
    model: Arc<FakeModel>,
    two: tokio::sync::Barrier,
}

#[async_trait::async_trait]
impl Post for Together {
    async fn post(&self, request: crate::inference::Request) -> Result<Answer, Failure> {
        if request.body.as_ref() == br#"{"inputs":["x"]}"# {
            self.two.wait().await;
        }
        self.model.post(request).await
    }
}

#[tokio::test]
async fn a_hybrid_search_asks_about_its_texts_at_once() {
    let post = Arc::new(Together { model: FakeModel::new(3), two: tokio::sync::Barrier::new(2) });
    let models = Models::new(post.clone(), ModelSettings::default(), crate::base::RealClock::new());
    let proxy = loaded(models, &schema_of_meanings("3"), &[]).await;
    let hybrid = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![by_texts(&["x"], None), by_texts(&["x"], None)],
        rank_params: vec![pair("limit", "1")],
        ..Default::default()
    };

    let answer = proxy.hybrid_search(Request::new(hybrid)).await.unwrap().into_inner();

    assert_good(answer.status.as_ref().unwrap());
    // The collection's own probe, and these two.
    assert_eq!(post.model.requests(), 3);
}

#[tokio::test]
async fn a_ranker_is_asked_about_each_text_once_and_not_about_none() {
    let (proxy, model) = with_model(&[(ALLOW, "true")]).await;
    let all = ["red kite", "kite", "kite"];
    assert_good(&insert(&proxy, 3, vec![ids(&[1, 2, 3]), texts(&all), numbers(&[0; 3])]).await);
    let nothing = FieldData { valid_data: vec![false], ..texts(&[]) };
    let dense = FieldData { field_name: "dense".to_owned(), ..super::vectors(3, &[1.0, 2.0, 3.0]) };
    assert_good(&insert(&proxy, 1, vec![ids(&[4]), nothing, numbers(&[0]), dense]).await);
    let mut request = by_texts(&["x"], Some(judged(r#"["red kite"]"#)));
    request.search_params[1] = pair("topk", "4");
    // Some clients leave it out.
    request.nq = 0;

    assert_eq!(found(&proxy, request).await, [(1, 2.0), (2, 1.0), (3, 1.0), (4, 0.0)]);

    let asked = model.asked.lock();
    assert_eq!(asked.last().unwrap().1["texts"], serde_json::json!(["kite", "red kite"]));
}

fn default_text(text: &str) -> ValueField {
    ValueField { data: Some(value_field::Data::StringData(text.to_owned())) }
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
