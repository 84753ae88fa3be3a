//! Claims about arrays of structs as clients see them.

use contract::pb::schema::field_partial_update_op::OpType;
use contract::pb::schema::{
    ArrayArray, FieldPartialUpdateOp, StructArrayField, StructArrayFieldSchema, VectorArray,
};

use super::*;

fn part(name: &str, data_type: Wire, element: Wire, params: &[(&str, &str)]) -> FieldSchema {
    FieldSchema { element_type: element.into(), ..field(name, data_type, params) }
}

/// `id` Int64 key, `vector` of 2, and `s` of numbers `n` and vectors `v` of two halves, up to three of them.
fn struct_schema() -> CollectionSchema {
    CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            field("vector", Wire::FloatVector, &[("dim", "2")]),
        ],
        struct_array_fields: vec![StructArrayFieldSchema {
            name: "s".to_owned(),
            description: "some".to_owned(),
            type_params: vec![pair("mmap.enabled", "true")],
            fields: vec![
                part("n", Wire::Array, Wire::Int64, &[("max_capacity", "3")]),
                part("v", Wire::ArrayOfVector, Wire::Float16Vector, &[("max_capacity", "3"), ("dim", "2")]),
            ],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn create(proxy: &Proxy, schema: &CollectionSchema) -> Status {
    let create = CreateCollectionRequest {
        collection_name: "c".to_owned(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    };
    proxy.create_collection(Request::new(create)).await.unwrap().into_inner()
}

async fn index(proxy: &Proxy, name: &str, params: &[(&str, &str)]) -> Status {
    let index = CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: name.to_owned(),
        extra_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.create_index(Request::new(index)).await.unwrap().into_inner()
}

/// The collection with indexes, `s[v]` under `metric`, loaded.
async fn with_structs(metric: &str) -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    assert_good(&create(&proxy, &struct_schema()).await);
    assert_good(&index(&proxy, "vector", &[("index_type", "FLAT"), ("metric_type", "L2")]).await);
    assert_good(&index(&proxy, "s[v]", &[("index_type", "HNSW"), ("metric_type", metric)]).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    proxy
}

/// The columns of `s` for some rows of numbers; the vector of a number is itself twice.
fn structs(rows: &[&[i64]]) -> FieldData {
    let row = |row: &&[i64]| ScalarField {
        data: Some(scalar_field::Data::LongData(LongArray { data: row.to_vec() })),
        ..Default::default()
    };
    let numbers = ArrayArray { data: rows.iter().map(row).collect(), element_type: Wire::Int64.into() };
    let vectors = |row: &&[i64]| {
        let halves = row.iter().flat_map(|number| [half::f16::from_f32(*number as f32).to_le_bytes(); 2]);
        let bytes: Vec<u8> = halves.flatten().collect();
        let data = Some(vector_field::Data::Float16Vector(bytes.into()));
        VectorField { dim: 2, data, ..Default::default() }
    };
    let vectors = VectorArray {
        dim: 2,
        data: rows.iter().map(vectors).collect(),
        element_type: Wire::Float16Vector.into(),
    };
    let vectors = Some(vector_field::Data::VectorArray(vectors));
    let parts = vec![
        scalars("n", Wire::Array, scalar_field::Data::ArrayData(numbers)),
        FieldData {
            r#type: Wire::ArrayOfVector.into(),
            field_name: "v".to_owned(),
            field: Some(field_data::Field::Vectors(VectorField {
                dim: 2,
                data: vectors,
                ..Default::default()
            })),
            ..Default::default()
        },
    ];
    FieldData {
        r#type: Wire::ArrayOfStruct.into(),
        field_name: "s".to_owned(),
        field: Some(field_data::Field::StructArrays(StructArrayField { fields: parts })),
        ..Default::default()
    }
}

/// A column without the numbers of its fields.
fn bare(mut data: FieldData) -> FieldData {
    data.field_id = 0;
    if let Some(field_data::Field::StructArrays(parts)) = &mut data.field {
        parts.fields.iter_mut().for_each(|part| part.field_id = 0);
    }
    data
}

async fn with_rows(metric: &str) -> Proxy {
    let proxy = with_structs(metric).await;
    let fields = vec![ids(&[1, 2, 3]), vectors(2, &[0.0; 6]), structs(&[&[1, 2], &[], &[7, 8, 9]])];
    assert_good(&insert(&proxy, 3, fields).await.status.unwrap());
    proxy
}

#[tokio::test]
async fn a_struct_is_described_as_it_was_asked_for_and_its_parts_are_no_fields() {
    let proxy = with_structs("MAX_SIM_COSINE").await;

    let request = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    let found = proxy.describe_collection(Request::new(request)).await.unwrap().into_inner();

    let schema = found.schema.unwrap();
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["id", "vector"]);
    let mut described = schema.struct_array_fields[0].clone();
    assert_eq!(
        (described.field_id, described.fields[0].field_id, described.fields[1].field_id),
        (102, 103, 104)
    );
    described.field_id = 0;
    described.fields.iter_mut().for_each(|part| part.field_id = 0);
    assert_eq!(vec![described], struct_schema().struct_array_fields);
    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let indexes = proxy.describe_index(Request::new(request)).await.unwrap().into_inner();
    let fields: Vec<&str> =
        indexes.index_descriptions.iter().map(|index| index.field_name.as_str()).collect();
    assert_eq!(fields, ["vector", "s[v]"]);
}

#[tokio::test]
async fn structs_come_back_as_they_went_in() {
    let proxy = with_rows("MAX_SIM_COSINE").await;

    for output in [&["s"][..], &["*"], &["s[n]", "s[v]"]] {
        let found = query(&proxy, "id > 0", output, &[]).await;
        let column = found.fields_data.iter().find(|data| data.field_name == "s").unwrap().clone();
        assert_eq!(bare(column), structs(&[&[1, 2], &[], &[7, 8, 9]]), "{output:?}");
    }
    let one = query(&proxy, "id == 3", &["s[n]"], &[]).await;
    let Some(field_data::Field::StructArrays(parts)) = &one.fields_data[1].field else { panic!("no struct") };
    assert_eq!(parts.fields.iter().map(|part| part.field_name.as_str()).collect::<Vec<_>>(), ["n"]);
    let all = query(&proxy, "id > 0", &["*"], &[]).await;
    assert_eq!(all.output_fields, ["id", "vector", "s"]);
}

#[tokio::test]
async fn an_upsert_replaces_a_struct_and_a_partial_one_keeps_it() {
    let proxy = with_rows("MAX_SIM_COSINE").await;

    let changed = vec![ids(&[1]), vectors(2, &[1.0; 2]), structs(&[&[5]])];
    assert_good(&upsert(&proxy, 1, changed, false).await.status.unwrap());
    assert_good(&upsert(&proxy, 1, vec![ids(&[3]), vectors(2, &[2.0; 2])], true).await.status.unwrap());

    let found = query(&proxy, "id > 0", &["s"], &[]).await;
    assert_eq!(bare(found.fields_data[1].clone()), structs(&[&[5], &[], &[7, 8, 9]]));
}

#[tokio::test]
async fn no_part_of_a_struct_gains_or_loses_elements_by_itself() {
    let proxy = with_rows("MAX_SIM_COSINE").await;
    let Some(field_data::Field::StructArrays(parts)) = structs(&[&[2]]).field else { panic!("no struct") };
    let numbers = FieldData { field_name: "s[n]".to_owned(), ..parts.fields[0].clone() };

    for (op, name) in [(OpType::ArrayAppend, "ARRAY_APPEND"), (OpType::ArrayRemove, "ARRAY_REMOVE")] {
        let of_part =
            FieldPartialUpdateOp { field_name: "s[n]".to_owned(), op: op.into(), ..Default::default() };
        let request = UpsertRequest {
            collection_name: "c".to_owned(),
            num_rows: 1,
            fields_data: vec![ids(&[1]), numbers.clone()],
            field_ops: vec![of_part],
            ..Default::default()
        };
        let (code, text) = said(proxy.upsert(Request::new(request)).await.unwrap().into_inner().status);
        let told = format!("partial update op {name} on field s[n] is not supported yet");
        assert!(code == 1100 && text.contains(&told), "{told} is not in {code} {text}");
    }

    let found = query(&proxy, "id > 0", &["s"], &[]).await;
    assert_eq!(bare(found.fields_data[1].clone()), structs(&[&[1, 2], &[], &[7, 8, 9]]));
}

#[tokio::test]
async fn a_struct_may_be_named_to_be_loaded_for_the_only_vectors_that_there_are() {
    let proxy = Proxy::new(Twin::new().parts());
    let mut schema = struct_schema();
    schema.fields.truncate(1);
    assert_good(&create(&proxy, &schema).await);
    assert_good(&index(&proxy, "s[v]", &[("index_type", "HNSW"), ("metric_type", "MAX_SIM_COSINE")]).await);
    let load = async |fields: [&str; 2]| {
        let load = LoadCollectionRequest {
            collection_name: "c".to_owned(),
            load_fields: fields.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        proxy.load_collection(Request::new(load)).await.unwrap().into_inner()
    };

    let numbers = load(["id", "s[n]"]).await;

    let told = "load fields list [id s[n]] does not contain vector field: invalid parameter";
    assert_eq!((numbers.code, numbers.reason.as_str()), (1100, told));
    assert_good(&load(["id", "s[v]"]).await);
    assert_good(&load(["id", "s"]).await);
}

#[tokio::test]
async fn a_query_by_elements_says_which_they_are_and_counts_them() {
    let proxy = with_rows("MAX_SIM_COSINE").await;
    let elements = |found: &QueryResults| -> Vec<Vec<i64>> {
        found.element_indices.iter().map(|one| one.indices.clone().unwrap().data).collect()
    };

    let all = query(&proxy, "element_filter(s, $[n] in [2, 8, 9])", &["id"], &[]).await;
    assert_eq!((longs(&all.fields_data[0]), elements(&all)), (vec![1, 3], vec![vec![1], vec![1, 2]]));
    let two = query(&proxy, "element_filter(s, $[n] in [2, 8, 9])", &["id"], &[("limit", "2")]).await;
    assert_eq!((longs(&two.fields_data[0]), elements(&two)), (vec![1, 3], vec![vec![1], vec![1]]));
    let second = [("limit", "2"), ("offset", "1")];
    let past = query(&proxy, "element_filter(s, $[n] in [2, 8, 9])", &["id"], &second).await;
    assert_eq!((longs(&past.fields_data[0]), elements(&past)), (vec![3], vec![vec![1, 2]]));
    let cursor = [
        ("limit", "2"),
        ("iterator", "True"),
        ("query_iter_last_pk", "3"),
        ("query_iter_last_element_offset", "1"),
    ];
    let on = query(&proxy, "id >= 3 and (element_filter(s, $[n] in [2, 8, 9]))", &["id"], &cursor).await;
    assert_eq!((longs(&on.fields_data[0]), elements(&on)), (vec![3], vec![vec![2]]));
    let rows = query(&proxy, "match_any(s, $[n] > 1)", &["id"], &[]).await;
    assert_eq!((longs(&rows.fields_data[0]), elements(&rows)), (vec![1, 3], Vec::new()));
}

#[tokio::test]
async fn structs_that_cannot_be_are_refused() {
    type Change = fn(&mut StructArrayFieldSchema);
    let cases: [(Change, &str); 9] = [
        (|of| of.fields.clear(), "has no sub-field"),
        (|of| of.name = "vector".to_owned(), "duplicated field name vector"),
        (|of| of.fields[0].is_primary_key = true, "primary key is not supported for struct field"),
        (
            |of| of.fields[0].nullable = true,
            "sub-field in non-nullable struct cannot be nullable individually, set nullable on the struct instead: structName=s, subFieldName=n",
        ),
        (
            |of| of.fields[0].type_params = vec![pair("max_capacity", "4")],
            "all sub-fields in struct array field must have the same max_capacity",
        ),
        (
            |of| of.fields[1].element_type = Wire::SparseFloatVector.into(),
            "only fixed dimension vector types are supported",
        ),
        (|of| of.fields[0].element_type = Wire::Json.into(), "element type JSON is not supported"),
        (
            |of| of.fields[1].type_params = vec![pair("max_capacity", "3"), pair("dim", "0")],
            "invalid dimension",
        ),
        (|of| of.fields[0].data_type = Wire::Int64.into(), "can only be arrays or arrays of vectors"),
    ];
    let proxy = Proxy::new(Twin::new().parts());
    for (change, part) in cases {
        let mut schema = struct_schema();
        change(&mut schema.struct_array_fields[0]);
        let status = create(&proxy, &schema).await;
        assert!(status.reason.contains(part), "{} and not {part}", status.reason);
    }
    let mut outside = struct_schema();
    let part = outside.struct_array_fields.remove(0).fields.remove(1);
    outside.fields.push(part);
    assert!(
        create(&proxy, &outside)
            .await
            .reason
            .contains("array of vector can only be in the struct array field")
    );
}

#[tokio::test]
async fn searches_and_indexes_that_lists_do_not_have_are_refused() {
    let proxy = with_rows("MAX_SIM_COSINE").await;
    let list = |kind: PlaceholderType, params: &[(&str, &str)]| {
        let params: Vec<(&str, &str)> =
            [("anns_field", "s[v]"), ("topk", "3")].iter().chain(params).copied().collect();
        let mut request = search_request(&params, &[&[1.0, 2.0, 3.0, 4.0]]);
        let Some(SearchInput::PlaceholderGroup(group)) = &request.search_input else { panic!("no vectors") };
        let mut group = PlaceholderGroup::decode(group.clone()).unwrap();
        group.placeholders[0].r#type = kind.into();
        request.search_input = Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into()));
        request
    };
    let lists = PlaceholderType::EmbListFloatVector;
    let cases = [
        (
            list(lists, &[("params", "{\"radius\": 0.5}")]),
            "range search is not supported for multi-search-multi",
        ),
        (list(lists, &[("iterator", "True")]), "search iterator is not supported for multi-search-multi"),
        (list(lists, &[("group_by_field", "id")]), "group by is not supported for multi-search-multi"),
        (list(lists, &[("metric_type", "COSINE")]), "metric type not match"),
        (list(PlaceholderType::FloatVector, &[]), "vector type must be the same"),
        (list(PlaceholderType::EmbListBinaryVector, &[]), "vector type must be the same"),
        (
            SearchRequest { dsl: "element_filter(s, $[n] > 0)".to_owned(), ..list(lists, &[]) },
            "element_filter is not supported for searches of embedding lists",
        ),
        (
            SearchRequest {
                search_input: Some(SearchInput::Ids(contract::pb::schema::IDs {
                    id_field: Some(i_ds::IdField::IntId(LongArray { data: vec![1] })),
                })),
                ..list(lists, &[])
            },
            "array of vector is not supported for search by IDs",
        ),
    ];
    for (request, part) in cases {
        let text = said(search(&proxy, request).await.status).1;
        assert!(text.contains(part), "{text} and not {part}");
    }
    let indexes: [(&str, &[(&str, &str)], &str); 4] = [
        ("s[v]", &[("index_type", "INVERTED")], "metric type not set for vector index"),
        (
            "s[v]",
            &[("index_type", "HNSW"), ("metric_type", "HAMMING")],
            "does not support metric type: HAMMING",
        ),
        ("s[x]", &[("index_type", "INVERTED")], "cannot create index on non-exist field: s[x]"),
        (
            "vector",
            &[("index_type", "HNSW"), ("metric_type", "MAX_SIM")],
            "does not support metric type: MAX_SIM",
        ),
    ];
    for (name, params, part) in indexes {
        let text = index(&proxy, name, params).await.reason;
        assert!(text.contains(part), "{text} and not {part}");
    }
    for kind in ["INVERTED", "STL_SORT", "BITMAP"] {
        assert_good(&index(&proxy, "s[n]", &[("index_type", kind)]).await);
    }
}

#[tokio::test]
async fn the_lists_of_a_search_have_no_more_vectors_than_it_takes() {
    let proxy = with_rows("MAX_SIM_COSINE").await;
    let two_lists = |vectors: usize| {
        let (one, rest) = ([1.0_f32, 2.0], vec![0.5_f32; (vectors - 1) * 2]);
        let mut request = search_request(&[("anns_field", "s[v]"), ("topk", "3")], &[&one[..], &rest[..]]);
        let Some(SearchInput::PlaceholderGroup(group)) = &request.search_input else { panic!("no vectors") };
        let mut group = PlaceholderGroup::decode(group.clone()).unwrap();
        group.placeholders[0].r#type = PlaceholderType::EmbListFloatVector.into();
        request.search_input = Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into()));
        request
    };

    let (code, text) = said(search(&proxy, two_lists(131_073)).await.status);

    let told = "the embedding lists of a search may have 131072 vectors, but have 131073: invalid parameter";
    assert_eq!((code, text.as_str()), (1100, told));
}

#[tokio::test]
async fn what_the_parts_of_a_struct_cannot_be_without_is_not_removed() {
    let proxy = with_structs("MAX_SIM_COSINE").await;
    for key in ["dim", "max_capacity"] {
        let alter = AlterCollectionFieldRequest {
            collection_name: "c".to_owned(),
            field_name: "s[v]".to_owned(),
            delete_keys: vec![key.to_owned()],
            ..Default::default()
        };
        let status = proxy.alter_collection_field(Request::new(alter)).await.unwrap().into_inner();
        assert_eq!(
            status.reason,
            format!("{key} does not allow update in collection field param: invalid parameter")
        );
    }
}

#[tokio::test]
async fn rows_are_ordered_by_no_array_of_vectors() {
    let proxy = with_rows("MAX_SIM_COSINE").await;

    let found = query(&proxy, "id > 0", &["id"], &[("limit", "3"), ("order_by_fields", "s[v]")]).await;

    let text = said(found.status).1;
    assert!(text.contains("ArrayOfVector"), "{text}");
}
