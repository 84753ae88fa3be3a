//! Claims about hybrid searches, rankers, groups and order.

use contract::pb::common::{
    HighlightType, Highlighter, MetricAggSpec, OrderSpec, SearchAggregationSpec, SortSpec, TopHitsSpec,
};
use contract::pb::schema::{
    AggBucket, FunctionSchema, FunctionScore, FunctionType, SearchResultData, agg_hit, bucket_key_entry,
    metric_value,
};

use super::*;

/// Rows 1 to 6 at (1, 0) to (6, 0), with ages 1, 2, 3, 1, 2, 3, names a and b and none, and a number in `$meta`.
async fn filled() -> Proxy {
    let proxy = with_collection(false, 2).await;
    let points: Vec<f32> = (1..=6).flat_map(|at| [at as f32, 0.0]).collect();
    let mut some_names = names(&["a", "b", "a", "b"]);
    some_names.valid_data = vec![true, true, true, true, false, false];
    let dynamic = meta(&[r#"{"n":5}"#, r#"{"n":4}"#, r#"{"n":6}"#, "{}", r#"{"n":1}"#, r#"{"n":9}"#]);
    let sent =
        vec![ids(&[1, 2, 3, 4, 5, 6]), vectors(2, &points), some_names, ages(&[1, 2, 3, 1, 2, 3]), dynamic];
    assert_good(&insert(&proxy, 6, sent).await.status.unwrap());
    proxy
}

const ORIGIN: &[f32] = &[0.0, 0.0];
const FAR: &[f32] = &[7.0, 0.0];

fn hybrid(searches: Vec<SearchRequest>, params: &[(&str, &str)]) -> HybridSearchRequest {
    HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: searches,
        rank_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    }
}

fn both(limit: &str) -> Vec<SearchRequest> {
    [ORIGIN, FAR].map(|query| search_request(&[("topk", limit)], &[query])).to_vec()
}

async fn ask(proxy: &Proxy, request: HybridSearchRequest) -> SearchResults {
    proxy.hybrid_search(Request::new(request)).await.unwrap().into_inner()
}

fn keys(results: &SearchResultData) -> Vec<i64> {
    match results.ids.as_ref().and_then(|ids| ids.id_field.as_ref()) {
        Some(i_ds::IdField::IntId(ids)) => ids.data.clone(),
        other => panic!("not 64-bit integers: {other:?}"),
    }
}

/// The keys of a search that must succeed.
async fn found(proxy: &Proxy, request: SearchRequest) -> Vec<i64> {
    let answer = search(proxy, request).await;
    assert_good(&answer.status.unwrap());
    keys(&answer.results.unwrap())
}

fn function(input: &[&str], params: &[(&str, &str)]) -> FunctionSchema {
    FunctionSchema {
        name: "f".to_owned(),
        r#type: FunctionType::Rerank.into(),
        input_field_names: input.iter().map(|&name| name.to_owned()).collect(),
        params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    }
}

fn scored_by(functions: Vec<FunctionSchema>) -> SearchRequest {
    let function_score = Some(FunctionScore { functions, params: Vec::new() });
    SearchRequest { function_score, ..search_request(&[("topk", "6")], &[ORIGIN]) }
}

#[tokio::test]
async fn a_hybrid_search_ranks_skips_cuts_and_returns_fields() {
    let proxy = filled().await;
    let weights = ("params", r#"{"weights":[1.0,0.5]}"#);
    let params = [("strategy", "weighted"), weights, ("limit", "2"), ("offset", "1"), ("round_decimal", "1")];
    let request = HybridSearchRequest { output_fields: vec!["age".to_owned()], ..hybrid(both("6"), &params) };

    let answer = ask(&proxy, request).await;

    // Distances alone stay distances: key 1 has 1 + 18, 2 has 4 + 12.5, 3 has 9 + 8, 4 has 16 + 4.5.
    let results = answer.results.unwrap();
    assert_good(&answer.status.unwrap());
    assert_eq!((keys(&results), results.scores.clone()), (vec![3, 1], vec![17.0, 19.0]));
    assert_eq!((results.num_queries, results.top_k, results.topks), (1, 2, vec![2]));
    assert_eq!(results.fields_data, [FieldData { field_id: 103, ..ages(&[3, 1]) }]);
    assert_eq!(results.primary_field_name, "id");
}

#[tokio::test]
async fn each_search_of_a_hybrid_search_has_its_own_filter() {
    let proxy = filled().await;
    let mut searches = both("2");
    searches[0].dsl = "id > 2".to_owned();
    searches[1].dsl = "id == 1".to_owned();

    let answer = ask(&proxy, hybrid(searches, &[("limit", "10")])).await;

    // The first place in one search, twice, then the second one.
    assert_eq!(keys(&answer.results.unwrap()), [1, 3, 4]);
}

#[tokio::test]
async fn a_hybrid_search_by_groups_compares_groups() {
    let proxy = filled().await;
    let weights = ("params", r#"{"weights":[1.0,0.0]}"#);
    let groups =
        [("group_by_field", "age"), ("group_size", "2"), ("limit", "2"), ("strategy", "weighted"), weights];

    let answer = ask(&proxy, hybrid(both("6"), &groups)).await.results.unwrap();
    assert_eq!(keys(&answer), [1, 4, 2, 5]);
    let with_scorer: Vec<(&str, &str)> = groups.into_iter().chain([("rank_group_scorer", "sum")]).collect();
    let summed = ask(&proxy, hybrid(both("6"), &with_scorer)).await.results.unwrap();

    assert_eq!(keys(&summed), [1, 4, 2, 5]);
    let groups = FieldData { field_id: 103, ..ages(&[1, 1, 2, 2]) };
    assert_eq!((summed.group_by_field_value.as_ref(), summed.topks), (Some(&groups), vec![4]));
}

#[tokio::test]
async fn one_search_of_a_hybrid_search_has_no_groups_of_its_own() {
    let proxy = filled().await;
    let params = [("limit", "6"), ("strategy", "rrf")];
    let plain = ask(&proxy, hybrid(both("6"), &params)).await.results.unwrap();
    let mut searches = both("6");
    searches[0].search_params.push(pair("group_by_field", "name"));

    let grouped = ask(&proxy, hybrid(searches, &params)).await.results.unwrap();

    assert_eq!(keys(&grouped), keys(&plain));
}

#[tokio::test]
async fn what_cannot_be_ranked_is_refused_in_milvus_words() {
    let proxy = filled().await;
    let weighted = |weights| [("strategy", "weighted"), ("params", weights), ("limit", "3")];
    let cases: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (vec![], "limit not found in rank_params: invalid parameter"),
        (
            vec![("limit", "0")],
            "invalid max query result window, limit [0] is invalid, should be greater than 0: invalid parameter",
        ),
        (
            vec![("limit", "16384"), ("offset", "1")],
            "invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16385: invalid parameter",
        ),
        (
            vec![("limit", "3"), ("params", r#"{"k":0}"#)],
            "The rank params k should be in range (0, 16384), but got 0: invalid parameter",
        ),
        (
            weighted(r#"{"weights":[0.1,1.5]}"#).to_vec(),
            "rank param weight should be in range [0, 1], but got 1.5: invalid parameter",
        ),
        (
            weighted(r#"{"weights":[0.1,0.2,0.3]}"#).to_vec(),
            "the length of weights param mismatch with ann search requests: invalid parameter[expected=2][actual=3]",
        ),
        (vec![("limit", "3"), ("strategy", "best")], "unsupported rank type best: invalid parameter"),
    ];
    for (params, text) in cases {
        let answer = ask(&proxy, hybrid(both("3"), &params)).await;
        assert_eq!(said(answer.status), (1100, text.to_owned()), "{params:?}");
    }
    let many = vec![search_request(&[("topk", "1")], &[ORIGIN]); 1025];
    let answer = ask(&proxy, hybrid(many, &[("limit", "1")])).await;
    let text = "maximum of ann search requests is 1024: invalid parameter";
    assert_eq!(said(answer.status), (1100, text.to_owned()));
}

#[tokio::test]
async fn a_function_score_changes_scores_and_order() {
    let proxy = filled().await;
    let boost =
        scored_by(vec![function(&[], &[("reranker", "boost"), ("filter", "age == 3"), ("weight", "0.1")])]);
    assert_eq!(found(&proxy, boost).await, [3, 1, 6, 2, 4, 5]);

    let decay =
        [("reranker", "decay"), ("function", "gauss"), ("origin", "2"), ("scale", "1"), ("decay", "0.01")];
    assert_eq!(found(&proxy, scored_by(vec![function(&["age"], &decay)])).await, [2, 5, 1, 3, 4, 6]);
}

#[tokio::test]
async fn function_scores_that_are_none_are_refused() {
    let proxy = filled().await;
    let decay = |more: &[(&'static str, &'static str)]| {
        let all = [&[("reranker", "decay"), ("function", "exp")][..], more].concat();
        function(&["age"], &all)
    };
    let model = |more: &[(&'static str, &'static str)]| {
        function(&["name"], &[&[("reranker", "model")][..], more].concat())
    };
    let cases = [
        (function(&["age"], &[("reranker", "best")]), "unsupported reranker best: invalid parameter"),
        (function(&["age"], &[("reranker", "")]), "reranker name not specified: invalid parameter"),
        (
            function(&["age"], &[("reranker", "model"), ("provider", "tei")]),
            "model input field age must be VarChar, got Int8: invalid parameter",
        ),
        (
            function(&["age", "id"], &[("reranker", "model")]),
            "model reranker requires exactly 1 input field, got 2: invalid parameter",
        ),
        (
            model(&[("provider", "best")]),
            "unknown rerank model provider: best, only tei, vllm, cohere, voyageai, siliconflow, dashscope are: invalid parameter",
        ),
        (model(&[("provider", "tei")]), "rerank function missing required param: queries: invalid parameter"),
        (
            model(&[("provider", "tei"), ("queries", r#"["a", "b"]"#)]),
            "queries count (2) != nq count (1): invalid parameter",
        ),
        (
            model(&[("provider", "tei"), ("queries", r#"["a"]"#), ("endpoint", "ftp://x")]),
            "endpoint ftp://x is not a valid http/https link: invalid parameter",
        ),
        (function(&[], &[("reranker", "boost")]), "function must set weight params: invalid parameter"),
        (
            function(&["age", "id"], &[("reranker", "decay")]),
            "decay reranker requires exactly 1 input field, got 2: invalid parameter",
        ),
        (decay(&[("scale", "1")]), "decay origin not specified: invalid parameter"),
        (decay(&[("origin", "1"), ("scale", "-1")]), "decay: scale must be > 0, got -1: invalid parameter"),
        (
            decay(&[("origin", "1"), ("scale", "1"), ("decay", "1")]),
            "decay: decay must be in range (0, 1), got 1: invalid parameter",
        ),
    ];
    for (function, text) in cases {
        let answer = search(&proxy, scored_by(vec![function])).await;
        assert_eq!(said(answer.status), (1100, text.to_owned()));
    }
}

fn doubles(column: &FieldData) -> Vec<f64> {
    match &column.field {
        Some(field_data::Field::Scalars(ScalarField {
            data: Some(scalar_field::Data::DoubleData(all)),
            ..
        })) => all.data.clone(),
        other => panic!("not doubles: {other:?}"),
    }
}

fn strings(column: &FieldData) -> Vec<String> {
    match &column.field {
        Some(field_data::Field::Scalars(ScalarField {
            data: Some(scalar_field::Data::StringData(all)),
            ..
        })) => all.data.clone(),
        other => panic!("not texts: {other:?}"),
    }
}

#[tokio::test]
async fn rows_are_counted_and_measured_by_groups() {
    let proxy = filled().await;
    let outputs = ["name", "count(*)", "SUM( age )", "avg(age)", "max(id)", "count(name)", "min(name)"];

    let found = query(&proxy, "", &outputs, &[("group_by_fields", "name")]).await;

    assert_good(&found.status.unwrap());
    assert_eq!(found.output_fields, outputs);
    let columns = found.fields_data;
    assert_eq!(columns.iter().map(|column| column.field_name.as_str()).collect::<Vec<_>>(), outputs);
    assert_eq!(strings(&columns[0]), ["a", "b", ""]);
    assert_eq!(columns[0].valid_data, [true, true, false]);
    assert_eq!(longs(&columns[1]), [2, 2, 2]);
    assert_eq!(longs(&columns[2]), [4, 3, 5]);
    assert_eq!(doubles(&columns[3]), [2.0, 1.5, 2.5]);
    assert_eq!(longs(&columns[4]), [3, 4, 6]);
    assert_eq!(longs(&columns[5]), [2, 2, 0]);
    assert_eq!((strings(&columns[6]).len(), columns[6].valid_data.as_slice()), (3, &[true, true, false][..]));
}

#[tokio::test]
async fn groups_come_in_an_order_and_in_pages() {
    let proxy = filled().await;
    let page =
        [("group_by_fields", "age, name"), ("order_by_fields", "name:desc"), ("limit", "3"), ("offset", "1")];

    let found = query(&proxy, "id < 6", &["name", "count(*)", "min(id)"], &page).await;

    assert_good(&found.status.unwrap());
    assert_eq!(strings(&found.fields_data[0]), ["b", "b", "a"]);
    assert_eq!(longs(&found.fields_data[1]), [1, 1, 1]);
    assert_eq!(longs(&found.fields_data[2]), [4, 2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_groups_are_returned() {
    let proxy = with_collection(false, 2).await;
    let keys: Vec<i64> = (0..9_000).collect();
    let some_names = names(&vec!["a"; keys.len()]);
    let dynamic = meta(&vec!["{}"; keys.len()]);
    let sent =
        vec![ids(&keys), vectors(2, &vec![1.0; 18_000]), some_names, ages(&vec![3; keys.len()]), dynamic];
    assert_good(&insert(&proxy, 9_000, sent).await.status.unwrap());

    let found = query(&proxy, "", &["id", "sum(age)"], &[("group_by_fields", "id")]).await;

    assert_good(&found.status.unwrap());
    assert!(longs(&found.fields_data[0]) == keys, "every key is a group");
    assert!(longs(&found.fields_data[1]) == vec![3; keys.len()], "each has its sum");
}

#[tokio::test]
async fn without_groups_there_is_one_row_of_aggregates_even_of_no_rows() {
    let proxy = filled().await;
    let outputs = ["count(*)", "sum(age)", "max(name)"];

    let all = query(&proxy, "", &outputs, &[]).await;
    let none = query(&proxy, "id > 6", &outputs, &[]).await;
    let no_groups = query(&proxy, "id > 6", &["name", "sum(age)"], &[("group_by_fields", "name")]).await;

    assert_eq!(longs(&all.fields_data[0]), [6]);
    assert_eq!(longs(&all.fields_data[1]), [12]);
    assert_eq!(strings(&all.fields_data[2]), ["b"]);
    assert_eq!(longs(&none.fields_data[0]), [0]);
    assert_eq!((longs(&none.fields_data[1]), none.fields_data[1].valid_data.clone()), (vec![0], vec![false]));
    assert_eq!(none.fields_data[2].valid_data, [false]);
    assert_eq!(strings(&no_groups.fields_data[0]), [""; 0]);
    assert_eq!(longs(&no_groups.fields_data[1]), [0_i64; 0]);
}

#[tokio::test]
async fn aggregates_that_are_none_are_refused_in_milvus_words() {
    let proxy = filled().await;
    let by = |field: &'static str| vec![("group_by_fields", field)];
    let cases: Vec<(&str, Vec<(&str, &str)>, &str)> = vec![
        ("sum(name)", vec![], "aggregation operator sum does not support data type VarChar"),
        ("max(vector)", vec![], "aggregation operator max does not support data type FloatVector"),
        ("sum(*)", vec![], "sum(*) is not supported, only count(*) is allowed"),
        ("sum(nothing)", vec![], "field nothing not exist"),
        ("count(*)", by("vector"), "group by field vector has unsupported data type FloatVector"),
        ("count(*)", by("nothing"), "field nothing not exist"),
        ("id", by("name"), "output field 'id' is not allowed"),
        (
            "count(*)",
            [by("name"), vec![("order_by_fields", "age"), ("limit", "2")]].concat(),
            "ORDER BY can only reference GROUP BY columns",
        ),
        (
            "count(*)",
            [by("name"), vec![("order_by_fields", "name")]].concat(),
            "ORDER BY requires explicit limit",
        ),
        (
            "count(*)",
            vec![("order_by_fields", "age:asc"), ("limit", "2")],
            "ORDER BY can only reference GROUP BY columns",
        ),
        (
            "sum(age)",
            vec![("order_by_fields", "age:asc"), ("limit", "2")],
            "ORDER BY can only reference GROUP BY columns",
        ),
        ("count(*)", vec![("limit", "2")], "count entities with pagination is not allowed"),
        (
            "count(*)",
            [by("name"), vec![("iterator", "True"), ("limit", "2")]].concat(),
            "aggregation with iterator is not supported",
        ),
    ];
    for (output, params, expected) in cases {
        let (code, text) = said(query(&proxy, "", &[output], &params).await.status);
        assert!(text.contains(expected), "{expected} is not in {text}");
        assert_eq!(code, 1100, "{text}");
    }
}

fn by_name(more: SearchAggregationSpec) -> SearchRequest {
    let spec = SearchAggregationSpec { fields: vec!["name".to_owned()], size: 2, ..more };
    let output_fields = vec!["age".to_owned()];
    let plain = search_request(&[("topk", "1")], &[ORIGIN]);
    SearchRequest { search_aggregation: Some(spec), output_fields, ..plain }
}

#[tokio::test]
async fn hits_are_put_into_buckets_measured_and_ordered() {
    let proxy = filled().await;
    let sum = MetricAggSpec { op: "sum".to_owned(), field_name: "age".to_owned() };
    let key = |key: &str| OrderSpec { key: key.to_owned(), direction: "desc".to_owned(), null_first: false };
    let sort = SortSpec { field_name: "age".to_owned(), direction: "desc".to_owned(), null_first: false };
    let spec = SearchAggregationSpec {
        metrics: [("ages".to_owned(), sum)].into(),
        order: vec![key("ages")],
        top_hits: Some(TopHitsSpec { size: 2, sort: vec![sort] }),
        ..Default::default()
    };

    let answer = search(&proxy, by_name(spec)).await.results.unwrap();

    let shown = |bucket: &AggBucket| {
        let name = match &bucket.key[0].value {
            Some(bucket_key_entry::Value::StringVal(name)) => name.clone(),
            other => panic!("{other:?}"),
        };
        let ages = bucket.metrics["ages"].value.clone();
        let keys: Vec<_> = bucket.hits.iter().map(|hit| hit.pk.clone().unwrap()).collect();
        (name, bucket.count, ages, keys)
    };
    let wanted = |name: &str, ages: i64, keys: [i64; 2]| {
        let ages = Some(metric_value::Value::IntVal(ages));
        (name.to_owned(), 2, ages, keys.map(agg_hit::Pk::IntPk).to_vec())
    };
    assert_eq!(answer.agg_topks, [2]);
    let buckets: Vec<_> = answer.agg_buckets.iter().map(shown).collect();
    assert_eq!(buckets, [wanted("a", 4, [3, 1]), wanted("b", 3, [2, 4])]);
}

#[tokio::test]
async fn aggregations_that_are_none_are_refused() {
    let proxy = filled().await;
    let deep = (0..4).fold(SearchAggregationSpec::default(), |inner, _| SearchAggregationSpec {
        fields: vec!["name".to_owned()],
        size: 1,
        sub_aggregation: Some(Box::new(inner)),
        ..Default::default()
    });
    let order = OrderSpec { key: "x".to_owned(), ..Default::default() };
    let median = MetricAggSpec { op: "median".to_owned(), field_name: "age".to_owned() };
    let cases = [
        (deep, "search_aggregation nesting exceeds max 4 levels"),
        (
            SearchAggregationSpec {
                top_hits: Some(TopHitsSpec { size: 5001, sort: Vec::new() }),
                ..Default::default()
            },
            "number of search_aggregation result entries is too large, 10002 are more than 10000",
        ),
        (
            SearchAggregationSpec { order: vec![order], ..Default::default() },
            "search_aggregation order key x must be a metric alias, _count or _key",
        ),
        (
            SearchAggregationSpec { metrics: [("m".to_owned(), median)].into(), ..Default::default() },
            "search_aggregation metric op median is not supported",
        ),
        (
            SearchAggregationSpec {
                metrics: [(
                    "m".to_owned(),
                    MetricAggSpec { op: "sum".to_owned(), field_name: "n".to_owned() },
                )]
                .into(),
                ..Default::default()
            },
            "JSON / dynamic fields are not yet supported with search_aggregation",
        ),
    ];
    for (spec, text) in cases {
        let answer = search(&proxy, by_name(spec)).await;
        assert_eq!(said(answer.status), (1100, format!("{text}: invalid parameter")));
    }
    let conflicts = [
        (("offset", "1"), "offset is not supported with search_aggregation"),
        (
            ("group_by_field", "name"),
            "search_aggregation and group_by_field/group_size are mutually exclusive",
        ),
        (("iterator", "True"), "search_aggregation is not supported with search iterator"),
    ];
    for ((key, value), text) in conflicts {
        let mut request = by_name(SearchAggregationSpec::default());
        request.search_params.push(pair(key, value));
        assert_eq!(said(search(&proxy, request).await.status), (1100, format!("{text}: invalid parameter")));
    }
}

#[tokio::test]
async fn scores_of_rows_are_not_boosted_by_groups() {
    let proxy = filled().await;
    let boost = function(&[], &[("reranker", "boost"), ("weight", "2")]);
    let grouped = search_request(&[("topk", "2"), ("group_by_field", "name")], &[ORIGIN]);
    let function_score = Some(FunctionScore { functions: vec![boost], params: Vec::new() });

    let answer = search(&proxy, SearchRequest { function_score, ..grouped }).await;

    let text = "segment scorer with group_by is not supported: invalid parameter".to_owned();
    assert_eq!(said(answer.status), (1100, text));
}

#[tokio::test]
async fn hits_by_groups_come_with_their_groups() {
    let proxy = filled().await;
    let by_name = |more: &[(&str, &str)]| {
        search_request(&[&[("topk", "2"), ("group_by_field", "name")][..], more].concat(), &[ORIGIN, FAR])
    };

    let answer = search(&proxy, by_name(&[])).await.results.unwrap();

    assert_eq!((keys(&answer), answer.topks.clone()), (vec![1, 2, 6, 4], vec![2, 2]));
    let mut groups = FieldData { field_id: 102, ..names(&["a", "b", "", "b"]) };
    groups.valid_data = vec![true, true, false, true];
    assert_eq!(answer.group_by_field_value, Some(groups));
    assert_eq!(found(&proxy, by_name(&[("offset", "1")])).await, [2, 5, 4, 3]);
    let strict = [("group_size", "2"), ("strict_group_size", "true")];
    assert_eq!(found(&proxy, by_name(&strict)).await, [1, 3, 2, 4, 6, 5, 4, 2]);
}

#[tokio::test]
async fn groups_and_orders_that_make_no_sense_are_refused() {
    let proxy = filled().await;
    let params = r#"{"radius":9.0}"#;
    let cases: [(&[(&str, &str)], i32, &str); 10] = [
        (&[("group_by_field", "vector")], 1100, "unsupported data type VECTOR_FLOAT for group by operator"),
        (&[("group_by_field", "x")], 1700, "groupBy field not found in schema: field not found[field=x]"),
        (
            &[("group_by_field", "age"), ("group_size", "-1")],
            1100,
            "input group size:-1 is negative, failed to do search_groupby: invalid parameter",
        ),
        (
            &[("group_by_field", "age"), ("group_size", "100")],
            1100,
            "input group size:100 exceeds configured max group size:10: invalid parameter",
        ),
        (
            &[("group_by_field", "age"), ("params", params)],
            1100,
            "Not allowed to do range-search when doing search-group-by: invalid parameter",
        ),
        (
            &[("group_by_field", "age"), ("iterator", "True")],
            1100,
            "Not allowed to do groupBy when doing iteration: invalid parameter",
        ),
        (
            &[("order_by_fields", "age:up")],
            1100,
            "invalid order direction 'up' for field 'age', expected 'asc' or 'desc': invalid parameter",
        ),
        (
            &[("order_by_fields", "vector:asc")],
            1100,
            "order_by field 'vector' has unsortable type FloatVector; supported types: bool, int8/16/32/64, float, double, string, varchar; for JSON fields use path syntax like field[\"key\"]: invalid parameter",
        ),
        (
            &[("order_by_fields", "age"), ("iterator", "True")],
            1100,
            "order_by is not supported when using search iterator: invalid parameter",
        ),
        (
            &[("order_by_fields", "vector[0]")],
            1100,
            "not support getting subkeys of json field yet: invalid parameter",
        ),
    ];
    for (params, code, text) in cases {
        let request = search_request(&[&[("topk", "3")][..], params].concat(), &[ORIGIN]);
        let answer = search(&proxy, request).await;
        assert_eq!(said(answer.status), (code, text.to_owned()), "{params:?}");
    }
}

#[tokio::test]
async fn hits_and_rows_come_in_the_order_asked_for() {
    let proxy = filled().await;
    let by = |fields| search_request(&[("topk", "4"), ("order_by_fields", fields)], &[ORIGIN]);

    // The four nearest, by their ages and then as near as they are.
    assert_eq!(found(&proxy, by("age:desc")).await, [3, 2, 1, 4]);
    assert_eq!(
        found(&proxy, by("age,n:desc")).await,
        [4, 1, 2, 3],
        "what is missing is more than everything"
    );
    assert_eq!(found(&proxy, by("$meta[\"n\"]")).await, [2, 1, 3, 4]);

    let rows = async |fields, limit: &str| {
        let params = [("order_by_fields", fields), ("limit", limit), ("offset", "1")];
        let answer = query(&proxy, "id > 0", &["name"], &params).await;
        assert_good(answer.status.as_ref().unwrap());
        longs(&answer.fields_data[0])
    };
    assert_eq!(rows("age:desc,id:desc", "3").await, [3, 5, 2]);
    assert_eq!(rows("name", "5").await, [3, 2, 4, 5, 6]);
    assert_eq!(rows("name:desc", "2").await, [6, 2]);

    for (params, text) in [
        (vec![("order_by_fields", "age")], "ORDER BY requires explicit limit: invalid parameter"),
        (
            vec![("order_by_fields", "age"), ("limit", "3"), ("iterator", "True")],
            "ORDER BY with iterator is not supported: invalid parameter",
        ),
    ] {
        assert_eq!(said(query(&proxy, "id > 0", &[], &params).await.status), (1100, text.to_owned()));
    }
}

#[tokio::test]
async fn an_iterator_has_one_query_no_offset_and_no_ranker() {
    let proxy = filled().await;
    let batch = |more: &[(&str, &str)], queries: &[&[f32]]| {
        let kind = [("topk", "3"), ("iterator", "True"), ("search_iter_v2", "True")];
        search_request(&[&kind[..], more].concat(), queries)
    };
    let boost = function(&[], &[("reranker", "boost"), ("weight", "2")]);
    let function_score = Some(FunctionScore { functions: vec![boost], params: Vec::new() });
    let cases = [
        (batch(&[("offset", "1")], &[ORIGIN]), "offset is not supported"),
        (batch(&[], &[ORIGIN, FAR]), "nq must be 1"),
        (SearchRequest { function_score, ..batch(&[], &[ORIGIN]) }, "rerank is not supported"),
    ];
    for (request, text) in cases {
        let (code, reason) = said(search(&proxy, request).await.status);
        assert_eq!((code, reason.starts_with(text)), (1100, true), "{reason}");
    }
}

#[tokio::test]
async fn only_scores_of_words_can_be_highlighted() {
    let proxy = filled().await;
    let highlighter = Some(Highlighter { r#type: HighlightType::Lexical.into(), params: Vec::new() });
    let searches: [(&[(&str, &str)], &str); 2] =
        [(&[("topk", "3"), ("metric_type", "L2")], "L2"), (&[("topk", "3")], "")];
    for (params, metric) in searches {
        let plain = search_request(params, &[ORIGIN]);
        let answer = search(&proxy, SearchRequest { highlighter: highlighter.clone(), ..plain }).await;

        let text = format!(
            "Search highlight only support with metric type \"BM25\" but was: {metric}: invalid parameter"
        );
        assert_eq!(said(answer.status), (1100, text));
    }
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_named_although_nothing_is_loaded() {
    let proxy = filled().await;
    let release = ReleaseCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.release_collection(Request::new(release)).await.unwrap().into_inner());
    let partition_names = vec!["gone".to_owned()];
    let a_search = || search_request(&[("topk", "1")], &[ORIGIN]);

    let search_named = SearchRequest { partition_names: partition_names.clone(), ..a_search() };
    let searched = search(&proxy, search_named).await;
    let hybrid_named = HybridSearchRequest {
        partition_names: partition_names.clone(),
        ..hybrid(both("1"), &[("limit", "1")])
    };
    let ranked = ask(&proxy, hybrid_named).await;
    let query_named = QueryRequest {
        collection_name: "c".to_owned(),
        expr: "id > 0".to_owned(),
        partition_names,
        ..Default::default()
    };
    let queried = proxy.query(Request::new(query_named)).await.unwrap().into_inner();
    let unnamed = search(&proxy, a_search()).await;

    for status in [searched.status, ranked.status, queried.status] {
        let (_, text) = said(status);
        assert!(text.contains("partition name gone not found"), "{text}");
    }
    assert!(said(unnamed.status).1.contains("collection not loaded"));
}
