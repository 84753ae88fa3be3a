//! Claims about highlighters: which words of the hits of a search are shown, and how.

use contract::pb::common::{HighlightType, Highlighter, SearchAggregationSpec};

use super::texts::{by_text, created, fill, indexed, schema_of_texts, texts, with_texts};
use super::*;

/// Of texts that are searched for and of texts of fields.
fn highlighter(params: &[(&str, &str)]) -> Option<Highlighter> {
    let params = params.iter().map(|(key, value)| pair(key, value)).collect();
    Some(Highlighter { r#type: HighlightType::Lexical.into(), params })
}

const OF_SEARCH: (&str, &str) = ("highlight_search_text", "true");

/// Of each field that is highlighted: its name, and of each hit the key and the fragments.
type Shown = Vec<(String, Vec<(i64, Vec<String>)>)>;

async fn shown(proxy: &Proxy, request: SearchRequest) -> Shown {
    let found = search(proxy, request).await;
    assert_good(&found.status.unwrap());
    let results = found.results.unwrap();
    let Some(i_ds::IdField::IntId(ids)) = results.ids.and_then(|ids| ids.id_field) else {
        panic!("keys are numbers")
    };
    let field = |of: contract::pb::common::HighlightResult| {
        assert_eq!(of.datas.len(), ids.data.len(), "one of each hit");
        assert!(of.datas.iter().all(|data| data.scores.is_empty()), "words have no scores of their own");
        let fragments = of.datas.into_iter().map(|data| data.fragments);
        (of.field_name, ids.data.iter().copied().zip(fragments).collect())
    };
    results.highlight_results.into_iter().map(field).collect()
}

fn of_text(hits: &[(i64, &[&str])]) -> (String, Vec<(i64, Vec<String>)>) {
    of("text", hits)
}

fn of(field: &str, hits: &[(i64, &[&str])]) -> (String, Vec<(i64, Vec<String>)>) {
    let hit = |(key, fragments): &(i64, &[&str])| {
        (*key, fragments.iter().map(|&fragment| fragment.to_owned()).collect())
    };
    (field.to_owned(), hits.iter().map(hit).collect())
}

#[tokio::test]
async fn the_words_that_are_searched_for_are_shown_in_each_hit() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;

    let request = SearchRequest { highlighter: highlighter(&[OF_SEARCH]), ..by_text("Fox", &[]) };
    let found = search(&proxy, request.clone()).await.results.unwrap();
    assert_eq!((found.fields_data.len(), found.output_fields.len()), (0, 0), "texts are not returned for it");
    let both = of_text(&[(1, &["<em>fox</em> and the <em>foxes</em>"]), (3, &["<em>fox</em>"])]);
    assert_eq!(shown(&proxy, request.clone()).await, std::slice::from_ref(&both));
    let with_metric = SearchRequest {
        highlighter: request.highlighter.clone(),
        output_fields: vec!["text".to_owned()],
        ..by_text("Fox", &[("metric_type", "BM25"), ("offset", "1")])
    };
    assert_eq!(shown(&proxy, with_metric).await, [of_text(&[(3, &["<em>fox</em>"])])]);
    let in_order = SearchRequest {
        highlighter: request.highlighter.clone(),
        ..by_text("Fox", &[("order_by_fields", "n:desc")])
    };
    assert_eq!(
        shown(&proxy, in_order).await,
        [of_text(&[(3, &["<em>fox</em>"]), (1, &["<em>fox</em> and the <em>foxes</em>"])])]
    );
    let in_groups = SearchRequest {
        highlighter: request.highlighter.clone(),
        ..by_text("Fox", &[("group_by_field", "n")])
    };
    assert_eq!(shown(&proxy, in_groups).await, [both]);
    let none = SearchRequest { highlighter: request.highlighter, ..by_text("cat", &[]) };
    assert_eq!(shown(&proxy, none).await, [of_text(&[])]);
    let nothing = SearchRequest { highlighter: highlighter(&[]), ..by_text("fox", &[]) };
    assert!(shown(&proxy, nothing).await.is_empty(), "nothing is to be highlighted");
}

#[tokio::test]
async fn each_query_has_its_words_and_all_have_those_that_are_named() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;
    let two = |params: &[(&str, &str)]| {
        let values = ["fox", "dogs"].map(|text| text.as_bytes().to_vec()).to_vec();
        let r#type = PlaceholderType::VarChar.into();
        let placeholder = PlaceholderValue { tag: "$0".to_owned(), r#type, values, ..Default::default() };
        let group = PlaceholderGroup { placeholders: vec![placeholder] };
        SearchRequest {
            nq: 2,
            search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
            highlighter: highlighter(params),
            ..by_text("", &[])
        }
    };
    let braces = [("pre_tags", r#"["{"]"#), ("post_tags", r#"["}"]"#)];
    let quick = ("highlight_query", r#"[{"type": "TextMatch", "field": "text", "text": "quick the"}]"#);

    let own: &[(i64, &[&str])] =
        &[(1, &["{fox} and the {foxes}"]), (3, &["{fox}"]), (2, &["{dog}"]), (3, &["{dogs} and a fox"])];
    assert_eq!(shown(&proxy, two(&[&braces[..], &[OF_SEARCH]].concat())).await, [of_text(own)]);
    let named: &[(i64, &[&str])] =
        &[(1, &[]), (3, &["{quick} dogs and a fox"]), (2, &[]), (3, &["{quick} dogs and a fox"])];
    assert_eq!(shown(&proxy, two(&[&braces[..], &[quick]].concat())).await, [of_text(named)]);
    let both: &[(i64, &[&str])] = &[
        (1, &["{fox} and the {foxes}"]),
        (3, &["{quick} dogs and a {fox}"]),
        (2, &["{dog}"]),
        (3, &["{quick} {dogs} and a fox"]),
    ];
    assert_eq!(shown(&proxy, two(&[&braces[..], &[quick, OF_SEARCH]].concat())).await, [of_text(both)]);
    let cut = [("fragment_size", "9"), ("fragment_offset", "2"), ("num_of_fragments", "1"), OF_SEARCH];
    let short: &[(i64, &[&str])] =
        &[(1, &["e {fox} and"]), (3, &["a {fox}"]), (2, &["a {dog}"]), (3, &["k {dogs} an"])];
    assert_eq!(shown(&proxy, two(&[&braces[..], &cut].concat())).await, [of_text(short)]);
}

#[tokio::test]
async fn fields_are_highlighted_by_analyzers_of_their_own() {
    let proxy = Proxy::new(Twin::new().parts());
    let mut schema = schema_of_texts();
    let several = r#"{"analyzers": {"default": {}, "en": {"type": "english"}}, "by_field": "lang"}"#;
    let params = [("max_length", "200"), ("enable_analyzer", "true"), ("multi_analyzer_params", several)];
    schema.fields[1] = field("text", Wire::VarChar, &params);
    schema.fields[3] = field("lang", Wire::VarChar, &[("max_length", "9")]);
    let params = [
        ("max_length", "200"),
        ("enable_analyzer", "true"),
        ("analyzer_params", r#"{"tokenizer": "whitespace"}"#),
    ];
    schema.fields.push(FieldSchema { nullable: true, ..field("title", Wire::VarChar, &params) });
    assert_good(&created(&proxy, &schema).await);
    assert_good(&indexed(&proxy, "words", &[]).await);
    let load = LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
    let column = |name: &str, data: &[&str]| {
        let data = data.iter().map(|&text| text.to_owned()).collect();
        scalars(name, Wire::VarChar, scalar_field::Data::StringData(StringArray { data }))
    };
    let titles = FieldData { valid_data: vec![true, false], ..column("title", &["Sea-side sea Sea"]) };
    let rows =
        vec![ids(&[1, 2]), texts(&["two seas, the sea", "sea seas"]), column("lang", &["en", "xx"]), titles];
    assert_good(&insert(&proxy, 2, rows).await.status.unwrap());
    let of_both = r#"[{"type": "TextMatch", "field": "title", "text": "Sea"},
                      {"type": "TextMatch", "field": "text", "text": "THE two"}]"#;
    let params = [OF_SEARCH, ("highlight_query", of_both)];
    let request = |analyzer: &[(&str, &str)]| SearchRequest {
        highlighter: highlighter(&params),
        ..by_text("sea", analyzer)
    };

    let titles: &[(i64, &[&str])] = &[(1, &["<em>Sea</em>"]), (2, &[])];
    let found = shown(&proxy, request(&[("analyzer_name", "en")])).await;
    // Words of both languages are looked for as the search's analyzer gives them; a row's words are those of its own.
    let english: &[(i64, &[&str])] =
        &[(1, &["<em>two</em> <em>seas</em>, the <em>sea</em>"]), (2, &["<em>sea</em> seas"])];
    assert_eq!(found, [of("text", english), of("title", titles)]);
    let found =
        shown(&proxy, SearchRequest { highlighter: highlighter(&params), ..by_text("seas", &[]) }).await;
    assert_eq!(found, [of("text", &[(2, &["<em>seas</em>"])]), of("title", &[(2, &[])])]);
}

#[tokio::test]
async fn what_cannot_be_highlighted_is_refused() {
    let proxy = with_texts(&[]).await;
    fill(&proxy).await;
    let by_query = |query: &str| SearchRequest {
        highlighter: highlighter(&[("highlight_query", query)]),
        ..by_text("fox", &[])
    };
    let semantic = Highlighter { r#type: HighlightType::Semantic.into(), params: Vec::new() };
    let search_aggregation =
        Some(SearchAggregationSpec { fields: vec!["n".to_owned()], size: 3, ..Default::default() });
    let cases = [
        (
            by_query(r#"[{"type": "TextMatch", "field": "x", "text": "fox"}]"#),
            1700,
            "highlight query field x not found in schema: field not found[field=x]",
        ),
        (
            by_query(r#"[{"type": "TextMatch", "field": "n", "text": "fox"}]"#),
            1100,
            "field n does not enable analyzer",
        ),
        (
            SearchRequest { highlighter: highlighter(&[("fragment_size", "-1")]), ..by_text("fox", &[]) },
            1100,
            "invalid fragment_size: -1",
        ),
        (
            SearchRequest { highlighter: highlighter(&[]), ..by_text("fox", &[("metric_type", "IP")]) },
            1100,
            "Search highlight only support with metric type \"BM25\" but was: IP",
        ),
        (
            SearchRequest { highlighter: Some(semantic), ..by_text("fox", &[]) },
            1100,
            "a highlighter with a model is not supported yet",
        ),
        (
            SearchRequest {
                search_aggregation,
                highlighter: highlighter(&[OF_SEARCH]),
                ..by_text("fox", &[])
            },
            1100,
            "highlighter and search_aggregation cannot be used simultaneously",
        ),
    ];
    for (request, code, text) in cases {
        let (found, reason) = said(search(&proxy, request).await.status);
        assert_eq!((found, reason.contains(text)), (code, true), "{text} is not in {reason}");
    }
    let one = SearchRequest { highlighter: highlighter(&[OF_SEARCH]), ..by_text("fox", &[]) };
    let hybrid = HybridSearchRequest {
        collection_name: "c".to_owned(),
        requests: vec![one.clone(), one],
        rank_params: vec![pair("limit", "3"), pair("strategy", "rrf"), pair("params", "{}")],
        ..Default::default()
    };
    let (_, reason) = said(proxy.hybrid_search(Request::new(hybrid)).await.unwrap().into_inner().status);
    assert!(reason.contains("a highlighter in one search of a hybrid search"), "{reason}");
}
