//! Claims about texts: functions of a schema, what they compute, searches by texts, and analysing on request.

use contract::pb::schema::{FunctionSchema, FunctionType};

use super::*;

const ENGLISH: &str = r#"{"type": "english"}"#;

fn function() -> FunctionSchema {
    FunctionSchema {
        name: "words of text".to_owned(),
        description: "d".to_owned(),
        r#type: FunctionType::Bm25.into(),
        input_field_names: vec!["text".to_owned()],
        output_field_names: vec!["words".to_owned()],
        ..Default::default()
    }
}

/// `id` Int64 key, `text` VarChar or null whose English words are counted in `words`, `n` Int64 or null.
pub(super) fn schema_of_texts() -> CollectionSchema {
    let params = [
        ("max_length", "200"),
        ("enable_analyzer", "true"),
        ("enable_match", "true"),
        ("analyzer_params", ENGLISH),
    ];
    CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            FieldSchema { nullable: true, ..field("text", Wire::VarChar, &params) },
            field("words", Wire::SparseFloatVector, &[]),
            FieldSchema { nullable: true, ..field("n", Wire::Int64, &[]) },
        ],
        functions: vec![function()],
        ..Default::default()
    }
}

pub(super) async fn created(proxy: &Proxy, schema: &CollectionSchema) -> Status {
    let create = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        shards_num: 2,
        ..Default::default()
    };
    proxy.create_collection(Request::new(create)).await.unwrap().into_inner()
}

pub(super) async fn indexed(proxy: &Proxy, field: &str, params: &[(&str, &str)]) -> Status {
    let index = CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: field.to_owned(),
        extra_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.create_index(Request::new(index)).await.unwrap().into_inner()
}

pub(super) async fn with_texts(params: &[(&str, &str)]) -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    assert_good(&created(&proxy, &schema_of_texts()).await);
    assert_good(&indexed(&proxy, "words", params).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    proxy
}

pub(super) fn texts(data: &[&str]) -> FieldData {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalars("text", Wire::VarChar, scalar_field::Data::StringData(StringArray { data }))
}

fn numbers(data: &[i64]) -> FieldData {
    scalars("n", Wire::Int64, scalar_field::Data::LongData(LongArray { data: data.to_vec() }))
}

/// Rows 1 to 4; the last one has no text.
pub(super) async fn fill(proxy: &Proxy) {
    let some = FieldData {
        valid_data: vec![true, true, true, false],
        ..texts(&["The fox and the foxes", "a dog", "quick dogs and a fox"])
    };
    let inserted = insert(proxy, 4, vec![ids(&[1, 2, 3, 4]), some, numbers(&[10, 20, 30, 40])]).await;
    assert_good(&inserted.status.unwrap());
}

pub(super) fn by_text(text: &str, params: &[(&str, &str)]) -> SearchRequest {
    let placeholder = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::VarChar.into(),
        values: vec![text.as_bytes().to_vec()],
        ..Default::default()
    };
    let group = PlaceholderGroup { placeholders: vec![placeholder] };
    let all: Vec<(&str, &str)> =
        [("anns_field", "words"), ("topk", "9")].into_iter().chain(params.iter().copied()).collect();
    SearchRequest {
        search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
        ..search_request(&all, &[&[0.0]])
    }
}

async fn hits(proxy: &Proxy, request: SearchRequest) -> (Vec<i64>, Vec<f32>) {
    let found = search(proxy, request).await;
    assert_good(&found.status.unwrap());
    let results = found.results.unwrap();
    match results.ids.and_then(|ids| ids.id_field) {
        Some(i_ds::IdField::IntId(ids)) => (ids.data, results.scores),
        _ => (Vec::new(), results.scores),
    }
}

#[tokio::test]
async fn texts_are_ranked_by_their_words() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;

    let (keys, scores) = hits(&proxy, by_text("FOXES", &[])).await;
    // Four texts of 2, 1, 3 and no words after the analyzer; two have a fox, one twice.
    let rarity = (1.0_f32 + 2.5 / 2.5).ln();
    let score = |count: f32, length: f32| rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 1.5));
    assert_eq!(keys, [1, 3]);
    let wanted = [score(2.0, 2.0), score(1.0, 3.0)];
    assert!(
        scores.iter().zip(wanted).all(|(score, wanted)| (score - wanted).abs() < 1e-5),
        "{scores:?} {wanted:?}"
    );
    assert_eq!(hits(&proxy, by_text("the and", &[])).await, (Vec::new(), Vec::new()));
    assert!(hits(&proxy, by_text("cat", &[("metric_type", "BM25")])).await.0.is_empty());
    let filtered = SearchRequest { dsl: "text_match(text, 'dog')".to_owned(), ..by_text("fox", &[]) };
    let one = hits(&proxy, filtered).await;
    assert_eq!((one.0, one.1[0]), (vec![3], scores[1]), "a filter changes no score");
}

#[tokio::test]
async fn an_index_says_how_words_are_weighed() {
    let found = async |params: &str| {
        let index = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "BM25"), ("params", params)];
        let proxy = with_texts(&index).await;
        fill(&proxy).await;
        hits(&proxy, by_text("fox", &[])).await
    };
    let scores = async |params: &str| found(params).await.1;

    let rarity = (1.0_f32 + 2.5 / 2.5).ln();
    assert_eq!(scores(r#"{"bm25_k1": 0, "bm25_b": 0.5}"#).await, [rarity, rarity]);
    assert_ne!(scores("{}").await, scores(r#"{"bm25_b": 0}"#).await);
    let usual = found("{}").await;
    for params in [
        r#"{"inverted_index_algo": "SINDI", "sindi_window_size": 65535, "bm25_k1": 1.2, "bm25_b": 0.75}"#,
        r#"{"inverted_index_algo": "DAAT_MAXSCORE", "quant_type": "u16"}"#,
        r#"{"inverted_index_algo": "BLOCK_MAX_WAND", "quant_type": "u32", "block_max_block_size": 128}"#,
    ] {
        assert_eq!(found(params).await, usual, "{params}");
    }
}

#[tokio::test]
async fn what_is_computed_is_neither_given_nor_returned() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;
    let sparse = vector_field::Data::SparseFloatVector(Default::default());
    let given = FieldData {
        r#type: Wire::SparseFloatVector.into(),
        field_name: "words".to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { data: Some(sparse), ..Default::default() })),
        ..Default::default()
    };
    let refused = said(insert(&proxy, 1, vec![ids(&[9]), texts(&["x"]), given]).await.status);
    assert!(
        refused.0 == 1100 && refused.1.starts_with("unexpected function output field words"),
        "{refused:?}"
    );

    let all = query(&proxy, "id == 1", &["*"], &[]).await;
    assert_eq!(all.output_fields, ["id", "text", "n"]);
    let refused = said(query(&proxy, "id == 1", &["words"], &[]).await.status);
    assert!(refused.1.starts_with("not allowed to retrieve raw data of field words"), "{refused:?}");
    let request = SearchRequest { output_fields: vec!["words".to_owned()], ..by_text("fox", &[]) };
    let refused = said(search(&proxy, request).await.status);
    assert!(refused.1.contains("not allowed to retrieve raw data of field words"), "{refused:?}");
}

#[tokio::test]
async fn an_upsert_counts_the_words_anew() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;

    assert_good(&upsert(&proxy, 1, vec![ids(&[2]), numbers(&[21])], true).await.status.unwrap());
    assert_eq!(hits(&proxy, by_text("dog", &[])).await.0, [2, 3]);
    assert_good(&upsert(&proxy, 1, vec![ids(&[2]), texts(&["a cat"])], true).await.status.unwrap());
    assert_eq!(hits(&proxy, by_text("dog", &[])).await.0, [3]);
    assert_eq!(hits(&proxy, by_text("cats", &[])).await.0, [2]);
    let whole = vec![ids(&[1]), texts(&["cats, cats, cats"]), numbers(&[1])];
    assert_good(&upsert(&proxy, 1, whole, false).await.status.unwrap());
    assert_eq!(hits(&proxy, by_text("cat", &[])).await.0, [1, 2]);
}

#[tokio::test]
async fn a_schema_with_functions_comes_back_as_it_was_given() {
    let proxy = with_texts(&[]).await;
    let describe = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    let described = proxy.describe_collection(Request::new(describe)).await.unwrap().into_inner();
    let schema = described.schema.unwrap();

    let wanted =
        FunctionSchema { id: 1, input_field_ids: vec![101], output_field_ids: vec![102], ..function() };
    assert_eq!(schema.functions, [wanted]);
    assert_eq!(schema.fields[1].type_params, schema_of_texts().fields[1].type_params);
    let computed: Vec<bool> = schema.fields.iter().map(|field| field.is_function_output).collect();
    assert_eq!(computed, [false, false, true, false]);
    let described = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let described = proxy.describe_index(Request::new(described)).await.unwrap().into_inner();
    assert_eq!(
        described.index_descriptions[0].params,
        [pair("index_type", "AUTOINDEX"), pair("metric_type", "BM25")]
    );
}

#[tokio::test]
async fn searches_by_something_else_than_texts_are_refused() {
    let proxy = with_texts(&[]).await;
    let ask = async |request| said(search(&proxy, request).await.status).1;

    let by_vector = search_request(&[("anns_field", "words"), ("topk", "1")], &[&[0.0]]);
    let refused = ask(by_vector).await;
    assert!(
        refused.contains("please provide varchar/text for BM25 Function based search, got FloatVector"),
        "{refused}"
    );
    let by_key = SearchRequest {
        search_input: Some(SearchInput::Ids(contract::pb::schema::IDs {
            id_field: Some(i_ds::IdField::IntId(LongArray { data: vec![1] })),
        })),
        ..by_text("", &[])
    };
    assert!(ask(by_key).await.contains("a search by keys in the output field of a function"));
    let long = "x ".repeat(40_000);
    assert!(ask(by_text(&long, &[])).await.contains("the text has 80000 bytes"));
    assert!(ask(by_text("fox", &[("metric_type", "IP")])).await.contains("metric type not match"));
}

#[tokio::test]
async fn indexes_of_counted_words_are_for_bm25() {
    let proxy = Proxy::new(Twin::new().parts());
    let mut schema = schema_of_texts();
    schema.fields.push(field("own", Wire::SparseFloatVector, &[]));
    assert_good(&created(&proxy, &schema).await);
    let inverted = ("index_type", "SPARSE_INVERTED_INDEX");
    let cases: [(&str, &[(&str, &str)], &str); 6] = [
        (
            "words",
            &[inverted, ("metric_type", "BM25"), ("quant_type", "fp16")],
            "quant_type fp16 not found or not supported, supported: [u16 u32]",
        ),
        (
            "words",
            &[inverted, ("metric_type", "IP")],
            "index metric type of BM25 function output field must be BM25",
        ),
        (
            "own",
            &[inverted, ("metric_type", "BM25")],
            "only BM25 Function output field support BM25 metric type",
        ),
        (
            "words",
            &[inverted, ("metric_type", "BM25"), ("bm25_k1", "3.5")],
            "param 'bm25_k1' (3.5) should be in range [0.000000, 3.000000]",
        ),
        (
            "words",
            &[inverted, ("metric_type", "BM25"), ("params", r#"{"bm25_b": -0.1}"#)],
            "param 'bm25_b' (-0.1) should be in range [0.000000, 1.000000]",
        ),
        (
            "words",
            &[inverted, ("metric_type", "BM25"), ("bm25_k1", "x")],
            "invalid float value, key: 'bm25_k1'",
        ),
    ];
    for (field, params, wanted) in cases {
        let refused = said(Some(indexed(&proxy, field, params).await));
        assert!(refused.0 == 1100 && refused.1.contains(wanted), "{wanted} is not in {refused:?}");
    }
}

#[tokio::test]
async fn schemas_that_cannot_be_computed_are_refused() {
    let cases: [(fn(&mut CollectionSchema), &str); 18] = [
        (|all| all.functions[0].name.clear(), "function name cannot be empty"),
        (|all| all.functions.push(function()), "duplicate function name words of text"),
        (
            |all| all.functions[0].r#type = 2,
            "TextEmbedding function output field must be a FloatVector field, but got SparseFloatVector",
        ),
        (|all| all.functions[0].r#type = 5, "functions of type MolFingerprint are not built yet"),
        (
            |all| all.functions[0].r#type = 4,
            "MinHash function: output field must be a BinaryVector field, but got SparseFloatVector",
        ),
        (|all| all.functions[0].r#type = 0, "check function params with unknown function type"),
        (|all| all.functions[0].input_field_names[0] = "x".to_owned(), "function input field not found: x"),
        (|all| all.functions[0].output_field_names[0] = "x".to_owned(), "function output field not found: x"),
        (
            |all| all.functions[0].input_field_names.clear(),
            "BM25 function should have exactly one input field",
        ),
        (
            |all| all.functions[0].input_field_names[0] = "n".to_owned(),
            "BM25 function input field must be a VARCHAR/TEXT field, got Int64 field",
        ),
        (
            |all| all.functions[0].output_field_names[0] = "n".to_owned(),
            "BM25 function output field must be a SparseFloatVector field, but got Int64",
        ),
        (
            |all| all.fields[1].type_params.retain(|pair| !pair.key.starts_with("enable")),
            "BM25 function input field must set enable_analyzer to true",
        ),
        (|all| all.fields[2].nullable = true, "function output field cannot be nullable"),
        (|all| all.functions[0].params.push(pair("k1", "1")), "BM25 function accepts no params"),
        (
            |all| {
                all.functions.clear();
                all.fields[1].type_params[1].value = "false".to_owned();
            },
            "field text which has enable_match or is input of BM25 function must also enable_analyzer",
        ),
        (
            |all| all.fields[1].type_params[3].value = r#"{"tokenizer": "nope"}"#.to_owned(),
            "unsupported tokenizer: nope",
        ),
        (
            |all| all.fields[3].type_params.push(pair("enable_match", "true")),
            "enable_match is only supported on VarChar fields, field type is not supported, field name = n",
        ),
        (
            |all| {
                let several = r#"{"analyzers": {"default": {}}, "by_field": "n"}"#;
                all.fields[1].type_params.truncate(2);
                all.fields[1].type_params.push(pair("multi_analyzer_params", several));
            },
            "by_field n of multi_analyzer_params of field text must be VarChar",
        ),
    ];
    for (change, wanted) in cases {
        let (proxy, mut schema) = (Proxy::new(Twin::new().parts()), schema_of_texts());
        change(&mut schema);
        let refused = said(Some(created(&proxy, &schema).await));
        assert!(refused.0 != 0 && refused.1.contains(wanted), "{wanted} is not in {refused:?}");
    }
}

async fn analyzed(proxy: &Proxy, request: RunAnalyzerRequest) -> RunAnalyzerResponse {
    proxy.run_analyzer(Request::new(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn texts_are_analysed_on_request() {
    let proxy = with_texts(&[]).await;
    let placeholder = vec![b"The foxes".to_vec()];
    let plain = RunAnalyzerRequest {
        analyzer_params: ENGLISH.to_owned(),
        placeholder: placeholder.clone(),
        ..Default::default()
    };
    let token = |text: &str| AnalyzerToken { token: text.to_owned(), ..Default::default() };

    let found = analyzed(&proxy, plain.clone()).await;
    assert_good(&found.status.unwrap());
    assert_eq!(found.results, [AnalyzerResult { tokens: vec![token("fox")] }]);
    let of_field = RunAnalyzerRequest {
        collection_name: "c".to_owned(),
        field_name: "text".to_owned(),
        placeholder,
        with_detail: true,
        with_hash: true,
        ..Default::default()
    };
    let detailed = AnalyzerToken {
        start_offset: 4,
        end_offset: 9,
        position: 1,
        position_length: 1,
        hash: crc32fast::hash(b"fox"),
        ..token("fox")
    };
    assert_eq!(analyzed(&proxy, of_field.clone()).await.results, [AnalyzerResult { tokens: vec![detailed] }]);

    let refusals = [
        (
            RunAnalyzerRequest { analyzer_params: ENGLISH.to_owned(), ..of_field.clone() },
            1100,
            "run analyzer can't use analyzer params and (collection,field) in same time",
        ),
        (
            RunAnalyzerRequest { analyzer_params: "[]".to_owned(), ..plain.clone() },
            2000,
            "must be a JSON object",
        ),
        (
            RunAnalyzerRequest { analyzer_params: r#"{"tokenizer": "x"}"#.to_owned(), ..plain.clone() },
            2000,
            "unsupported tokenizer",
        ),
        (
            RunAnalyzerRequest { field_name: "x".to_owned(), ..of_field.clone() },
            1700,
            "field not found[field=x]",
        ),
        (
            RunAnalyzerRequest { field_name: "n".to_owned(), ..of_field },
            1100,
            "field n does not enable analyzer",
        ),
        (RunAnalyzerRequest { placeholder: vec![vec![0xff]], ..plain.clone() }, 1100, "is not UTF-8"),
        (
            RunAnalyzerRequest { placeholder: vec![vec![b'a'; 60_000]; 20], ..plain },
            1100,
            "the texts to analyse have more than 1048576 bytes together",
        ),
    ];
    for (request, code, wanted) in refusals {
        let refused = said(analyzed(&proxy, request).await.status);
        assert!(refused.0 == code && refused.1.contains(wanted), "{wanted} is not in {refused:?}");
    }
}

#[tokio::test]
async fn each_row_is_analysed_in_its_language() {
    let proxy = Proxy::new(Twin::new().parts());
    let several = r#"{"analyzers": {"default": {}, "en": {"type": "english"}}, "by_field": "lang"}"#;
    let params = [("max_length", "200"), ("enable_analyzer", "true"), ("multi_analyzer_params", several)];
    let mut schema = schema_of_texts();
    schema.fields[1] = field("text", Wire::VarChar, &params);
    schema.fields[3] = field("lang", Wire::VarChar, &[("max_length", "9")]);
    assert_good(&created(&proxy, &schema).await);
    assert_good(&indexed(&proxy, "words", &[]).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    let data = ["en", "xx"].map(str::to_owned).to_vec();
    let langs = scalars("lang", Wire::VarChar, scalar_field::Data::StringData(StringArray { data }));
    let rows = vec![ids(&[1, 2]), texts(&["seas", "seas"]), langs];
    assert_good(&insert(&proxy, 2, rows).await.status.unwrap());

    assert_eq!(hits(&proxy, by_text("seas", &[])).await.0, [2]);
    assert_eq!(hits(&proxy, by_text("seas", &[("analyzer_name", "en")])).await.0, [1]);
}

#[tokio::test]
async fn a_long_text_is_kept_found_and_ranked_as_a_short_one_is() {
    let mut schema = schema_of_texts();
    schema.fields[1].data_type = Wire::Text.into();
    schema.fields[1].type_params.retain(|param| param.key != "max_length");
    let proxy = Proxy::new(Twin::new().parts());
    assert_good(&created(&proxy, &schema).await);
    assert_good(&indexed(&proxy, "words", &[]).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    let long = format!("{}a fox", "dog ".repeat(30_000));
    let column = |data: &[&str]| FieldData { r#type: Wire::Text.into(), ..texts(data) };
    let some = FieldData { valid_data: vec![true, true, false], ..column(&["a fox", &long]) };
    assert_good(&insert(&proxy, 3, vec![ids(&[1, 2, 3]), some, numbers(&[1, 2, 3])]).await.status.unwrap());

    let whole = query(&proxy, "text like 'dog%'", &["text"], &[]).await;
    assert_eq!(longs(&whole.fields_data[0]), [2]);
    let wanted = FieldData { valid_data: vec![true], field_id: 101, ..column(&[&long]) };
    assert_eq!(whole.fields_data[1], wanted);
    let found = async |filter: &str| longs(&query(&proxy, filter, &["id"], &[]).await.fields_data[0]);
    assert_eq!(found("text == 'a fox'").await, [1]);
    assert_eq!(found("text in ['a fox', 'x']").await, [1]);
    assert_eq!(found("text is null").await, [3]);
    assert_eq!(found("text_match(text, 'foxes')").await, [1, 2]);
    assert_eq!(hits(&proxy, by_text("fox", &[])).await.0, [1, 2]);
    let longest = " ".repeat(2 << 20);
    assert_good(&insert(&proxy, 1, vec![ids(&[4]), column(&[&longest])]).await.status.unwrap());
    let longer = insert(&proxy, 1, vec![ids(&[5]), column(&[&format!("{longest} ")])]).await;
    let told =
        "length of text field text exceeds max length, row number: 0, length: 2097153, max length: 2097152";
    let text = said(longer.status).1;
    assert!(text.contains(told), "{text}");
}

#[tokio::test]
async fn a_long_text_is_no_key_and_makes_no_groups() {
    let of_text = |change: fn(&mut FieldSchema)| {
        let mut schema = schema_of_texts();
        schema.functions.clear();
        schema.fields[1] = field("text", Wire::Text, &[]);
        change(&mut schema.fields[1]);
        schema.fields[0].is_primary_key = !schema.fields[1].is_primary_key;
        schema
    };
    let proxy = Proxy::new(Twin::new().parts());
    let refused = async |change: fn(&mut FieldSchema)| created(&proxy, &of_text(change)).await.reason;

    let text = refused(|field| field.is_primary_key = true).await;
    assert!(text.contains("the data type of primary key should be Int64 or VarChar"), "{text}");
    let text = refused(|field| field.is_partition_key = true).await;
    assert!(text.contains("the data type of partition key should be Int64 or VarChar"), "{text}");
    assert_good(&created(&proxy, &of_text(|field| field.nullable = true)).await);
    assert_good(&indexed(&proxy, "words", &[("index_type", "AUTOINDEX"), ("metric_type", "IP")]).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    let groups = query(&proxy, "id > 0", &["count(*)"], &[("group_by_fields", "text")]).await;
    let text = said(groups.status).1;
    assert!(text.contains("text") && text.contains("unsupported data type Text"), "{text}");
}
