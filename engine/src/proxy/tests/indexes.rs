//! Claims about indexes on JSON values and dynamic keys, and about the names of indexes.

use super::*;

const CAST: (&str, &str) = ("json_cast_type", "DOUBLE");

async fn create(proxy: &Proxy, name: &str, field: &str, params: &[(&str, &str)]) -> Status {
    let request = CreateIndexRequest {
        collection_name: "c".to_owned(),
        index_name: name.to_owned(),
        field_name: field.to_owned(),
        extra_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.create_index(Request::new(request)).await.unwrap().into_inner()
}

/// A proxy with the collection `c` of a key, a vector, a JSON field `j` and dynamic keys.
async fn with_json(is_open: bool) -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    let schema = CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            field("vector", Wire::FloatVector, &[("dim", "8")]),
            field("text", Wire::VarChar, &[("max_length", "8")]),
            field("j", Wire::Json, &[]),
        ],
        enable_dynamic_field: is_open,
        ..Default::default()
    };
    let request = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    };
    assert_good(&proxy.create_collection(Request::new(request)).await.unwrap().into_inner());
    proxy
}

#[tokio::test]
async fn an_index_on_a_json_path_is_checked_in_milvus_words() {
    let proxy = with_json(true).await;
    let bare = with_json(false).await;
    let cases: Vec<(&str, &[(&str, &str)], &str)> = vec![
        (
            "j",
            &[("index_type", "12-s"), CAST],
            "invalid parameter[expected=valid index][actual=invalid index type: 12-s]",
        ),
        ("j", &[("index_type", "INVERTED")], "json index must specify cast type: missing parameter"),
        ("key", &[("index_type", "INVERTED")], "json index must specify cast type: missing parameter"),
        ("j", &[("json_cast_type", "INT64")], "json_cast_type INT64 is not supported"),
        ("j", &[("json_cast_type", "5")], "json_cast_type 5 is not supported"),
        ("j", &[CAST, ("json_path", "1.0")], "cannot parse identifier: 1.0"),
        ("j", &[("params", r#"{"json_cast_type": "bool", "json_path": 1}"#)], "cannot parse identifier: 1"),
        ("j", &[CAST, ("json_path", "j['a'")], "cannot parse identifier: j['a'"),
        (
            "j",
            &[CAST, ("json_path", "/")],
            "cannot parse identifier: /, error: line 1:0 mismatched input '/'",
        ),
        ("j", &[CAST, ("json_path", "text")], "fieldID not match with field name"),
        ("j", &[CAST, ("json_path", "key['a']")], "fieldID not match with field name"),
        ("key", &[CAST, ("json_path", "j['a']")], "fieldID not match with field name"),
        ("j", &[CAST, ("json_cast_function", "X")], "json_cast_function X is not supported"),
        (
            "j",
            &[("json_cast_type", "BOOL"), ("json_cast_function", "STRING_TO_DOUBLE")],
            "json_cast_function STRING_TO_DOUBLE is not supported for json_cast_type BOOL",
        ),
        ("j", &[CAST, ("index_type", "TRIE")], "TRIE are only supported on varchar field"),
        (
            "j",
            &[CAST, ("index_type", "BITMAP")],
            "bitmap index are only supported on bool, int, string and array field",
        ),
        ("j", &[CAST, ("index_type", "HNSW")], "only supports vector data type"),
        (
            "j",
            &[("json_cast_type", "ARRAY_DOUBLE"), ("index_type", "STL_SORT")],
            "STL_SORT are only supported on numeric, varchar or timestamptz field, got JSON",
        ),
        ("id", &[("index_type", "NGRAM")], "ngram index can only be created on VARCHAR or JSON field"),
        (
            "text",
            &[("index_type", "NGRAM"), ("min_gram", "2")],
            "Ngram index must specify both min_gram and max_gram",
        ),
        (
            "text",
            &[("index_type", "NGRAM"), ("min_gram", "3"), ("max_gram", "2")],
            "invalid min_gram or max_gram value for Ngram index",
        ),
        ("j", &[("index_type", "NGRAM")], "JSON field with ngram index must specify json_cast_type"),
    ];
    for (field, params, expected) in cases {
        let status = create(&proxy, "", field, params).await;
        assert!(status.reason.contains(expected), "{expected} is not in {}", status.reason);
    }
    let long = "k".repeat(200_000);
    let refused = create(&proxy, "", "j", &[CAST, ("json_path", &long)]).await;
    assert!(refused.reason.contains("index params size"), "{}", refused.reason);
    let closed = create(&bare, "", "key", &[CAST]).await;
    assert_eq!(closed.reason, "cannot create index on non-exist field: key");
    let unknown = create(&bare, "", "j", &[CAST, ("json_path", "key['a']")]).await;
    assert!(unknown.reason.contains("cannot parse identifier: key['a']"), "{}", unknown.reason);
}

#[tokio::test]
async fn indexes_on_json_paths_are_shown_by_field_or_key_with_the_parameters_as_given() {
    let proxy = with_json(true).await;
    let wanted: [(&str, &str, &[(&str, &str)]); 4] = [
        ("", "j", &[("index_type", "INVERTED"), ("json_cast_type", "varchar"), ("json_path", "j['a'][0]")]),
        ("mine", "j", &[("index_type", "AUTOINDEX"), ("params", r#"{"json_cast_type": "ARRAY_BOOL"}"#)]),
        ("", "key", &[("index_type", "STL_SORT"), ("json_cast_type", "DOUBLE"), ("json_path", "key['b/c']")]),
        ("other", "key", &[("index_type", "BITMAP"), ("json_cast_type", "BOOL")]),
    ];
    for (name, field, params) in wanted {
        assert_good(&create(&proxy, name, field, params).await);
    }

    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let shown = proxy.describe_index(Request::new(request)).await.unwrap().into_inner().index_descriptions;

    let shown: Vec<_> = shown
        .into_iter()
        .map(|index| {
            let params: Vec<_> = index.params.into_iter().map(|pair| (pair.key, pair.value)).collect();
            (index.index_name, index.field_name, index.state, params)
        })
        .collect();
    let named = ["j/a/0", "mine", "$meta/key/b~1c", "other"];
    let expected: Vec<_> = named
        .into_iter()
        .zip(wanted)
        .map(|(name, (_, field, params))| {
            let mut params: Vec<_> =
                params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            if name == "other" {
                params.push(("json_path".to_owned(), "key".to_owned()));
            }
            (name.to_owned(), field.to_owned(), 3, params)
        })
        .collect();
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn every_name_for_processors_is_taken_and_none_for_graphics_cards() {
    let names = [
        "FLAT",
        "IVF_FLAT",
        "IVF_SQ8",
        "IVF_PQ",
        "IVF_RABITQ",
        "HNSW",
        "HNSW_SQ",
        "HNSW_PQ",
        "HNSW_PRQ",
        "SCANN",
        "DISKANN",
        "AISAQ",
        "SVS_FLAT",
        "SVS_VAMANA",
        "SVS_VAMANA_LVQ",
        "SVS_VAMANA_LEANVEC",
    ];
    for name in names {
        let proxy = with_json(false).await;
        assert_good(&create(&proxy, "", "vector", &[("index_type", name), ("metric_type", "L2")]).await);
    }
    let proxy = with_json(false).await;
    for name in ["GPU_CAGRA", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_BRUTE_FORCE"] {
        let refused = create(&proxy, "", "vector", &[("index_type", name), ("metric_type", "L2")]).await;
        let text = format!(
            "invalid parameter[expected=valid index][actual=invalid index type: {name}]: no index is built on a GPU here"
        );
        assert_eq!((refused.code, refused.reason), (1100, text));
    }
    let list = [("index_type", "DISKANN"), ("metric_type", "L2"), ("search_list_size", "0")];
    let refused = create(&proxy, "", "vector", &list).await;
    assert!(refused.reason.contains("param 'search_list_size' (0) should be in range"), "{}", refused.reason);
}

#[tokio::test]
async fn only_a_bitmap_is_told_to_keep_the_places_of_its_values() {
    let proxy = with_json(false).await;
    let alter = async |name: &str| {
        let alter = AlterIndexRequest {
            collection_name: "c".to_owned(),
            index_name: name.to_owned(),
            extra_params: vec![pair("indexoffsetcache.enabled", "true")],
            ..Default::default()
        };
        proxy.alter_index(Request::new(alter)).await.unwrap().into_inner()
    };
    assert_good(&create(&proxy, "bits", "text", &[("index_type", "BITMAP")]).await);
    assert_good(&create(&proxy, "values", "id", &[("index_type", "INVERTED")]).await);

    assert_good(&alter("bits").await);
    let refused = alter("values").await;
    let told = "invalid offset cache index params: invalid parameter";
    assert_eq!((refused.code, refused.reason.as_str()), (1100, told));
}
