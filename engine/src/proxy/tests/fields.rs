//! Claims about fields of types beyond numbers and texts: arrays and narrow vectors as they come and go.

use contract::pb::schema::field_partial_update_op::OpType;
use contract::pb::schema::{ArrayArray, FieldPartialUpdateOp, SparseFloatArray};

use super::*;

/// `id` Int64 key, `vector` of 2, `tags` up to three Int64 or null, `half` of 2 half-precision floats.
async fn with_arrays() -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    let schema = CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            field("vector", Wire::FloatVector, &[("dim", "2")]),
            FieldSchema {
                nullable: true,
                element_type: Wire::Int64.into(),
                ..field("tags", Wire::Array, &[("max_capacity", "3")])
            },
            field("half", Wire::Float16Vector, &[("dim", "2")]),
        ],
        ..Default::default()
    };
    let create = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    };
    assert_good(&proxy.create_collection(Request::new(create)).await.unwrap().into_inner());
    for name in ["vector", "half"] {
        let index = CreateIndexRequest {
            collection_name: "c".to_owned(),
            field_name: name.to_owned(),
            extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
            ..Default::default()
        };
        assert_good(&proxy.create_index(Request::new(index)).await.unwrap().into_inner());
    }
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    proxy
}

fn tags(rows: &[&[i64]]) -> FieldData {
    let row = |row: &&[i64]| ScalarField {
        data: Some(scalar_field::Data::LongData(LongArray { data: row.to_vec() })),
        ..Default::default()
    };
    let arrays = ArrayArray { data: rows.iter().map(row).collect(), element_type: Wire::Int64.into() };
    scalars("tags", Wire::Array, scalar_field::Data::ArrayData(arrays))
}

/// Components as half-precision floats, by their bits.
fn halves(bits: &[u16]) -> FieldData {
    let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let data = Some(vector_field::Data::Float16Vector(bytes.into()));
    FieldData {
        r#type: Wire::Float16Vector.into(),
        field_name: "half".to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { dim: 2, data, ..Default::default() })),
        ..Default::default()
    }
}

async fn change(proxy: &Proxy, fields_data: Vec<FieldData>, field: &str, op: OpType) -> MutationResult {
    let op = FieldPartialUpdateOp { field_name: field.to_owned(), op: op.into(), ..Default::default() };
    let request = UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows: 1,
        fields_data,
        field_ops: vec![op],
        ..Default::default()
    };
    proxy.upsert(Request::new(request)).await.unwrap().into_inner()
}

async fn stored_tags(proxy: &Proxy) -> FieldData {
    let found = query(proxy, "id > 0", &["tags"], &[]).await;
    FieldData { field_id: 0, ..found.fields_data[1].clone() }
}

#[tokio::test]
async fn arrays_and_narrow_vectors_come_back_as_they_went_in() {
    let proxy = with_arrays().await;
    let sent = FieldData { valid_data: vec![true, false, true], ..tags(&[&[1, 2], &[]]) };
    // 1, the least number above nothing, minus nothing, and the greatest number that there is.
    let half = halves(&[0x3c00, 0x0001, 0x8000, 0x7bff, 0, 0]);
    let fields = vec![ids(&[1, 2, 3]), vectors(2, &[0.0; 6]), sent, half.clone()];
    assert_good(&insert(&proxy, 3, fields).await.status.unwrap());

    let found = query(&proxy, "id > 0", &["tags", "half"], &[]).await;

    let expected = FieldData { valid_data: vec![true, false, true], ..tags(&[&[1, 2], &[], &[]]) };
    assert_eq!(found.fields_data[1].valid_data, expected.valid_data);
    assert_eq!(found.fields_data[1].field, expected.field);
    assert_eq!((found.fields_data[2].r#type, &found.fields_data[2].field), (half.r#type, &half.field));
    let by_element = query(&proxy, "tags[1] == 2 or array_length(tags) == 0", &["id"], &[]).await;
    assert_eq!(longs(&by_element.fields_data[0]), [1, 3]);
    let described = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    let described = proxy.describe_collection(Request::new(described)).await.unwrap().into_inner();
    let types: Vec<_> =
        described.schema.unwrap().fields.iter().map(|field| (field.data_type, field.element_type)).collect();
    assert_eq!(types, [(5, 0), (101, 0), (22, 5), (102, 0)]);
}

#[tokio::test]
async fn elements_are_added_to_and_removed_from_what_is_there() {
    let proxy = with_arrays().await;
    let rows = FieldData { valid_data: vec![true, false], ..tags(&[&[1, 2]]) };
    let fields = vec![ids(&[1, 2]), vectors(2, &[0.0; 4]), rows, halves(&[0; 4])];
    assert_good(&insert(&proxy, 2, fields).await.status.unwrap());

    let added = change(&proxy, vec![ids(&[1]), tags(&[&[1]])], "tags", OpType::ArrayAppend).await;
    assert_good(&added.status.unwrap());
    assert_eq!(stored_tags(&proxy).await.field, tags(&[&[1, 2, 1], &[]]).field);
    let too_many = change(&proxy, vec![ids(&[1]), tags(&[&[4]])], "tags", OpType::ArrayAppend).await;
    let removed = change(&proxy, vec![ids(&[1]), tags(&[&[1, 7]])], "tags", OpType::ArrayRemove).await;
    assert_good(&removed.status.unwrap());
    let from_null = change(&proxy, vec![ids(&[2]), tags(&[&[1]])], "tags", OpType::ArrayRemove).await;
    assert_good(&from_null.status.unwrap());

    let left = stored_tags(&proxy).await;
    assert_eq!((left.field, left.valid_data), (tags(&[&[2], &[]]).field, vec![true, false]));
    assert!(said(too_many.status).1.contains("array length 4 exceeds max_capacity 3"));
    let fresh = vec![ids(&[3]), vectors(2, &[0.0; 2]), tags(&[&[9]]), halves(&[0; 2])];
    assert_good(&change(&proxy, fresh, "tags", OpType::ArrayAppend).await.status.unwrap());
    assert_eq!(stored_tags(&proxy).await.field, tags(&[&[2], &[], &[9]]).field);
}

#[tokio::test]
async fn operations_that_a_field_cannot_carry_are_refused() {
    let proxy = with_arrays().await;
    let sent = || vec![ids(&[1]), vectors(2, &[0.0; 2]), tags(&[&[9]])];
    let cases = [
        ("id", OpType::ArrayAppend, "field \"id\" is the primary key and cannot carry a partial-update op"),
        (
            "vector",
            OpType::ArrayRemove,
            "op ARRAY_REMOVE requires Array field, but field \"vector\" is FloatVector",
        ),
        ("half", OpType::ArrayAppend, "partial-update op targets field \"half\" not present in fields_data"),
        ("tags", OpType::PathReplace, "partial update op PATH_REPLACE on field tags is not supported yet"),
    ];
    for (field, op, expected) in cases {
        let (code, text) = said(change(&proxy, sent(), field, op).await.status);
        assert!(code == 1100 && text.contains(expected), "{expected} is not in {code} {text}");
    }
}

#[tokio::test]
async fn a_search_takes_queries_of_the_fields_own_width_or_singles() {
    let proxy = with_arrays().await;
    let fields = vec![ids(&[1, 2]), vectors(2, &[0.0; 4]), halves(&[0x3c00, 0, 0, 0x3c00])];
    assert_good(&insert(&proxy, 2, fields).await.status.unwrap());
    let ask = async |kind: PlaceholderType, value: Vec<u8>| {
        let placeholder = PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: kind.into(),
            values: vec![value],
            ..Default::default()
        };
        let group = PlaceholderGroup { placeholders: vec![placeholder] };
        let params = [("anns_field", "half"), ("topk", "2"), ("params", "{}")];
        let request = SearchRequest {
            search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
            ..search_request(&params, &[&[0.0]])
        };
        search(&proxy, request).await
    };

    let own = ask(PlaceholderType::Float16Vector, vec![0, 0x3c, 0, 0]).await.results.unwrap();
    let singles: Vec<u8> = [1.0_f32, 0.0].iter().flat_map(|single| single.to_le_bytes()).collect();
    let same = ask(PlaceholderType::FloatVector, singles).await.results.unwrap();
    let other = ask(PlaceholderType::Int8Vector, vec![1, 0]).await;
    let short = ask(PlaceholderType::Float16Vector, vec![0, 0x3c]).await;

    assert_eq!(own.scores, [0.0, 2.0]);
    assert_eq!((same.scores, same.ids), (own.scores, own.ids));
    assert_ne!(said(other.status).0, 0);
    assert_ne!(said(short.status).0, 0);
}

/// `id` Int64 key, `bits` of 16, `pairs`, which may be missing.
async fn with_bits_and_pairs() -> Proxy {
    let proxy = without_indexes().await;
    for name in ["bits", "pairs"] {
        assert_good(&indexed(&proxy, name, &[]).await);
    }
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    proxy
}

/// `id` Int64 key, `bits` of 16, `pairs` sparse or null.
async fn without_indexes() -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    let schema = CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            field("bits", Wire::BinaryVector, &[("dim", "16")]),
            FieldSchema { nullable: true, ..field("pairs", Wire::SparseFloatVector, &[]) },
        ],
        ..Default::default()
    };
    let create = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    };
    assert_good(&proxy.create_collection(Request::new(create)).await.unwrap().into_inner());
    proxy
}

async fn indexed(proxy: &Proxy, name: &str, params: &[(&str, &str)]) -> Status {
    let index = CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: name.to_owned(),
        extra_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.create_index(Request::new(index)).await.unwrap().into_inner()
}

fn bits(bytes: &[u8]) -> FieldData {
    vector_column("bits", Wire::BinaryVector, 16, vector_field::Data::BinaryVector(bytes.to_vec().into()))
}

fn pairs(rows: &[&[(u32, f32)]]) -> FieldData {
    let contents: Vec<Vec<u8>> = rows.iter().map(|row| pairs_bytes(row)).collect();
    let data = vector_field::Data::SparseFloatVector(SparseFloatArray { contents, dim: 0 });
    vector_column("pairs", Wire::SparseFloatVector, 0, data)
}

fn pairs_bytes(row: &[(u32, f32)]) -> Vec<u8> {
    row.iter().flat_map(|(index, value)| [index.to_le_bytes(), value.to_le_bytes()].concat()).collect()
}

fn vector_column(name: &str, kind: Wire, dim: i64, data: vector_field::Data) -> FieldData {
    FieldData {
        r#type: kind.into(),
        field_name: name.to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { dim, data: Some(data), ..Default::default() })),
        ..Default::default()
    }
}

#[tokio::test]
async fn bits_and_sparse_vectors_are_searched_and_come_back_as_they_were_sent() {
    let proxy = with_bits_and_pairs().await;
    let sparse =
        FieldData { valid_data: vec![true, false, true], ..pairs(&[&[(1, 0.5), (9, 2.0)], &[(9, 1.0)]]) };
    let fields = vec![ids(&[1, 2, 3]), bits(&[0xff, 0, 0xff, 0xff, 1, 1]), sparse];
    assert_good(&insert(&proxy, 3, fields).await.status.unwrap());
    let ask = async |field: &str, kind: PlaceholderType, value: Vec<u8>| {
        let placeholder = PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: kind.into(),
            values: vec![value],
            ..Default::default()
        };
        let group = PlaceholderGroup { placeholders: vec![placeholder] };
        let params = [("anns_field", field), ("topk", "3"), ("params", "{}")];
        let request = SearchRequest {
            search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
            output_fields: vec!["bits".to_owned(), "pairs".to_owned()],
            ..search_request(&params, &[&[0.0]])
        };
        search(&proxy, request).await
    };

    let found = ask("bits", PlaceholderType::BinaryVector, vec![0xff, 0]).await.results.unwrap();
    assert_eq!(found.scores, [0.0, 8.0, 8.0]);
    let payload = |at: usize| match found.fields_data[at].field.clone() {
        Some(field_data::Field::Vectors(vectors)) => (vectors.dim, vectors.data.unwrap()),
        other => panic!("no vectors: {other:?}"),
    };
    assert_eq!(payload(0), (16, vector_field::Data::BinaryVector(vec![0xff, 0, 0xff, 0xff, 1, 1].into())));
    let contents = vec![pairs_bytes(&[(1, 0.5), (9, 2.0)]), pairs_bytes(&[(9, 1.0)])];
    let rows = SparseFloatArray { contents, dim: 10 };
    assert_eq!(payload(1), (10, vector_field::Data::SparseFloatVector(rows)));
    assert_eq!(found.fields_data[1].valid_data, [true, false, true]);

    let refusals = [
        ("bits", PlaceholderType::BinaryVector, vec![1], "expected vector size(byte) 2, actual 1"),
        ("bits", PlaceholderType::FloatVector, vec![0; 64], "vector type must be the same"),
        ("pairs", PlaceholderType::BinaryVector, vec![1, 1], "vector type must be the same"),
        (
            "pairs",
            PlaceholderType::SparseFloatVector,
            vec![1; 7],
            "invalid data length in sparse float vector: 7",
        ),
        (
            "pairs",
            PlaceholderType::SparseFloatVector,
            pairs_bytes(&[(2, 1.0), (2, 1.0)]),
            "unsorted or same indices in sparse float vector",
        ),
        (
            "pairs",
            PlaceholderType::SparseFloatVector,
            pairs_bytes(&[(1, -1.0)]),
            "negative value in sparse float vector",
        ),
    ];
    for (field, kind, value, expected) in refusals {
        let (code, text) = said(ask(field, kind, value).await.status);
        assert!(code != 0 && text.contains(expected), "{expected} is not in {code} {text}");
    }
}

#[tokio::test]
async fn bad_bits_and_sparse_vectors_are_refused_in_milvus_words() {
    let proxy = with_bits_and_pairs().await;
    let sent = |bytes: &[u8], row: &[(u32, f32)]| vec![ids(&[1]), bits(bytes), pairs(&[row])];
    let cases = [
        (sent(&[1, 2, 3], &[]), "the length(24) of all bits should divide the dim(16)"),
        (sent(&[1, 2, 3, 4], &[]), "the num_rows (2) of field (bits) is not equal to passed num_rows (1)"),
        (sent(&[1, 2], &[(9, 1.0), (1, 1.0)]), "unsorted or same indices in sparse float vector"),
        (sent(&[1, 2], &[(u32::MAX, 1.0)]), "invalid index in sparse float vector: must be less than 2^32-1"),
        (sent(&[1, 2], &[(1, f32::NAN)]), "value 'NaN' is not a number or infinity"),
        (sent(&[1, 2], &[(1, -0.5)]), "negative value in sparse float vector"),
        (vec![ids(&[1]), pairs(&[&[]])], "fieldSchema(bits) has no corresponding fieldData pass in"),
    ];
    for (fields, expected) in cases {
        let (code, text) = said(insert(&proxy, 1, fields).await.status);
        assert!(code != 0 && text.contains(expected), "{expected} is not in {code} {text}");
    }
    assert_good(&insert(&proxy, 1, sent(&[1, 2], &[])).await.status.unwrap());
}

#[tokio::test]
async fn bits_and_sparse_vectors_have_index_types_and_metrics_of_their_own() {
    let proxy = with_bits_and_pairs().await;
    let described = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let described = proxy.describe_index(Request::new(described)).await.unwrap().into_inner();
    let metrics: Vec<&str> = described
        .index_descriptions
        .iter()
        .flat_map(|index| &index.params)
        .filter(|pair| pair.key == "metric_type")
        .map(|pair| pair.value.as_str())
        .collect();
    assert_eq!(metrics, ["HAMMING", "IP"]);

    let cases: [(&str, &[(&str, &str)], &str); 6] = [
        (
            "bits",
            &[("index_type", "BIN_FLAT"), ("metric_type", "IP")],
            "binary vector index does not support metric type: IP",
        ),
        (
            "bits",
            &[("index_type", "FLAT"), ("metric_type", "HAMMING")],
            "data type BinaryVector can't build with this index FLAT",
        ),
        (
            "bits",
            &[("index_type", "MINHASH_LSH"), ("metric_type", "HAMMING")],
            "MINHASH_LSH only supports the metric type MHJACCARD",
        ),
        (
            "pairs",
            &[("index_type", "SPARSE_WAND"), ("metric_type", "L2")],
            "only IP&BM25 is the supported metric type for sparse index",
        ),
        (
            "pairs",
            &[("index_type", "SPARSE_WAND"), ("metric_type", "IP"), ("drop_ratio_build", "1.5")],
            "param 'drop_ratio_build' (1.5)",
        ),
        (
            "pairs",
            &[("index_type", "SPARSE_WAND"), ("metric_type", "IP"), ("inverted_index_algo", "x")],
            "sparse inverted index algo x not found or not supported",
        ),
    ];
    for (field, params, expected) in cases {
        let (code, text) = said(Some(indexed(&proxy, field, params).await));
        assert!(code != 0 && text.contains(expected), "{expected} is not in {code} {text}");
    }
}

#[tokio::test]
async fn every_algorithm_of_sparse_indexes_is_taken_and_shown_with_its_parameters() {
    let proxy = without_indexes().await;
    let cases = [
        "{}",
        r#"{"inverted_index_algo":"DAAT_MAXSCORE","drop_ratio_build":0.4}"#,
        r#"{"inverted_index_algo":"DAAT_MAXSCORE","inverted_index_codec":"block_streamvbyte"}"#,
        r#"{"inverted_index_algo":"DAAT_MAXSCORE","inverted_index_codec":"block_maskedvbyte"}"#,
        r#"{"inverted_index_algo":"DAAT_WAND","quant_type":"fp16"}"#,
        r#"{"inverted_index_algo":"TAAT_NAIVE","quant_type":"fp32"}"#,
        r#"{"inverted_index_algo":"SINDI"}"#,
        r#"{"inverted_index_algo":"SINDI","sindi_window_size":1024}"#,
        r#"{"inverted_index_algo":"SINDI","sindi_window_size":"65535"}"#,
        r#"{"inverted_index_algo":"BLOCK_MAX_MAXSCORE","block_max_block_size":1}"#,
        r#"{"inverted_index_algo":"BLOCK_MAX_WAND","block_max_block_size":2147483647}"#,
    ];
    for params in cases {
        let given = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP"), ("params", params)];
        assert_good(&indexed(&proxy, "pairs", &given).await);
        let describe = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
        let shown = proxy.describe_index(Request::new(describe)).await.unwrap().into_inner();
        let shown: Vec<_> = shown.index_descriptions.into_iter().map(|index| index.params).collect();
        assert_eq!(shown, [given.map(|(key, value)| pair(key, value)).to_vec()]);
        let drop = DropIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
        assert_good(&proxy.drop_index(Request::new(drop)).await.unwrap().into_inner());
    }
}

#[tokio::test]
async fn parameters_of_sparse_indexes_outside_their_limits_are_refused() {
    let proxy = without_indexes().await;
    let cases = [
        ("inverted_index_algo", "sindi", "sparse inverted index algo sindi not found or not supported"),
        (
            "inverted_index_codec",
            "x",
            "inverted_index_codec x not found or not supported, supported: [block_streamvbyte block_maskedvbyte]",
        ),
        ("quant_type", "u16", "quant_type u16 not found or not supported, supported: [fp16 fp32]"),
        ("quant_type", "x", "quant_type x not found or not supported, supported: [fp16 fp32]"),
        (
            "sindi_window_size",
            "1023",
            "Out of range in json: param 'sindi_window_size' (1023) should be in range [1024, 65535]",
        ),
        (
            "sindi_window_size",
            "65536",
            "Out of range in json: param 'sindi_window_size' (65536) should be in range [1024, 65535]",
        ),
        ("sindi_window_size", "4096.0", "wrong data type in json, key: 'sindi_window_size', value: '4096.0'"),
        (
            "block_max_block_size",
            "0",
            "Out of range in json: param 'block_max_block_size' (0) should be in range [1, 2147483647]",
        ),
        (
            "block_max_block_size",
            "-1",
            "Out of range in json: param 'block_max_block_size' (-1) should be in range [1, 2147483647]",
        ),
        ("block_max_block_size", "x", "invalid integer value, key: 'block_max_block_size', value: 'x'"),
    ];
    for (key, value, expected) in cases {
        let given = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP"), (key, value)];
        let (code, text) = said(Some(indexed(&proxy, "pairs", &given).await));
        assert_eq!((code, text), (1100, format!("{expected}: invalid parameter")));
    }
}
