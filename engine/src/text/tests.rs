//! Analyzers, counts and matches, against what they are said to do and against naive twins.

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::stem::Stemming;
use super::{Analyzer, Error, FieldAnalyzer, MAX_PARAMS_BYTES, Rule, TextMatch, Token, counts, term_hash};

fn words(params: &str, text: &str) -> Vec<String> {
    Analyzer::new(params).unwrap().analyze(text).into_iter().map(|token| token.text).collect()
}

fn refusal(params: &str) -> String {
    Analyzer::new(params).unwrap_err().to_string()
}

#[test]
fn analyzers_of_every_type_do_what_they_are_named_for() {
    let milvus = "The Milvus vector database is built for scale!";
    let cases: [(&str, &str, &[&str]); 4] = [
        ("", milvus, &["the", "milvus", "vector", "database", "is", "built", "for", "scale"]),
        (
            r#"{"type": "standard", "stop_words": ["is", "_english_"]}"#,
            milvus,
            &["milvus", "vector", "database", "built", "scale"],
        ),
        (r#"{"type": "english"}"#, milvus, &["milvus", "vector", "databas", "built", "scale"]),
        (
            r#"{"type": "chinese"}"#,
            "Milvus 是 LF AI & Data Foundation 下的一个开源项目,以 Apache 2.0 许可发布。",
            &[
                "Milvus",
                "是",
                "LF",
                "AI",
                "Data",
                "Foundation",
                "下",
                "的",
                "一个",
                "开源",
                "项目",
                "以",
                "Apache",
                "2.0",
                "许可",
                "发布",
            ],
        ),
    ];
    for (params, text, wanted) in cases {
        assert_eq!(words(params, text), wanted, "{params}");
    }
}

#[test]
fn tokenizers_cut_where_they_say() {
    let custom = |tokenizer: &str| format!(r#"{{"tokenizer": {tokenizer}}}"#);
    let cases: [(&str, &str, &[&str]); 10] = [
        (r#""standard""#, "It's 3.14, Dr. Who: naïve—ok", &["It's", "3.14", "Dr", "Who", "naïve", "ok"]),
        (r#""whitespace""#, " a-b\tc,d \n", &["a-b", "c,d"]),
        (r#""jieba""#, "你好!世界。", &["你好", "!", "世界", "。"]),
        (
            r#"{"type": "jieba", "mode": "search"}"#,
            "中华人民共和国",
            &["中华", "华人", "人民", "共和", "共和国", "中华人民共和国"],
        ),
        (r#"{"type": "jieba", "mode": "exact", "hmm": false}"#, "中华人民共和国", &["中华人民共和国"]),
        (
            r#"{"type": "jieba", "dict": ["结巴分词器"], "mode": "exact", "hmm": false}"#,
            "结巴分词器中文",
            &["结巴分词器", "中", "文"],
        ),
        (
            r#"{"type": "jieba", "dict": ["_default_", "结巴分词器"], "mode": "exact"}"#,
            "结巴分词器中文",
            &["结巴分词器", "中文"],
        ),
        (r#"{"type": "jieba", "dict": [], "hmm": false}"#, "中文", &["中", "文"]),
        (r#"{"type": "jieba", "mode": "exact", "mood": 1}"#, "世界", &["世界"]),
        (
            r#""icu""#,
            "Привет! It's 3.14, 中文测试。テスト",
            &["Привет", "!", " ", "It's", " ", "3.14", ",", " ", "中文", "测试", "。", "テスト"],
        ),
    ];
    for (tokenizer, text, wanted) in cases {
        assert_eq!(words(&custom(tokenizer), text), wanted, "{tokenizer}");
    }
}

#[test]
fn filters_change_words_in_their_order() {
    let custom = |filters: &str| format!(r#"{{"tokenizer": "whitespace", "filter": [{filters}]}}"#);
    let cases: [(&str, &str, &[&str]); 18] = [
        (r#""lowercase""#, "ÄB İ", &["äb", "i̇"]),
        (
            r#""asciifolding""#,
            "Café Ærø straße ﬁn Łódź 中 ½",
            &["Cafe", "AEro", "strasse", "fin", "Lodz", "中", "½"],
        ),
        (r#""decimaldigit""#, "٣٤ 5 ੬x", &["34", "5", "6x"]),
        (r#""alphanumonly""#, "ab1 a-b é 中", &["ab1"]),
        (r#""cnalphanumonly""#, "ab- 中。 。 — é", &["ab-", "中。"]),
        (r#""cncharonly""#, "ab 中a 。", &["中a"]),
        (r#""removepunct""#, "a! ! ... — $ é 。", &["a!", "é"]),
        (r#"{"type": "stop", "stop_words": ["_english_", "x"]}"#, "the x of y", &["y"]),
        (r#"{"type": "stop", "stop_words": []}"#, "x y", &["x", "y"]),
        (r#"{"type": "length", "min": 2, "max": 3}"#, "a äb abc abcd", &["äb", "abc"]),
        (r#"{"type": "stemmer", "language": "English"}"#, "running databases", &["run", "databas"]),
        (r#"{"type": "stemmer", "language": "german"}"#, "häuser", &["haus"]),
        (
            r#"{"type": "decompounder", "word_list": ["dampf", "schiff", "fahrt"]}"#,
            "dampfschifffahrt dampfschiffe schiff",
            &["dampf", "schiff", "fahrt", "dampfschiffe", "schiff"],
        ),
        (r#"{"type": "regex", "expr": "^[a-c]+$"}"#, "abc abd", &["abc"]),
        (
            r#"{"type": "synonym", "synonyms": ["tv, television", "colour => color"]}"#,
            "tv colour x",
            &["tv", "television", "color", "x"],
        ),
        (
            r#"{"type": "synonym", "synonyms": ["tv, television"], "expand": false}"#,
            "television tv",
            &["tv", "tv"],
        ),
        (r#""lowercase", {"type": "stop", "stop_words": ["a"]}"#, "A b", &["b"]),
        (r#"{"type": "stop", "stop_words": ["a"]}, "lowercase""#, "A b", &["a", "b"]),
    ];
    for (filters, text, wanted) in cases {
        assert_eq!(words(&custom(filters), text), wanted, "{filters}");
    }
}

#[test]
fn words_keep_where_they_were() {
    let english = Analyzer::new(r#"{"type": "english"}"#).unwrap();
    let token = |text: &str, start, end, position| Token { text: text.to_owned(), start, end, position };

    assert_eq!(english.analyze("Über the seas"), [token("über", 0, 5, 0), token("sea", 10, 14, 2)]);
}

#[test]
fn what_is_unknown_is_refused() {
    let filter = |filter: &str| format!(r#"{{"filter": [{filter}]}}"#);
    let cases = [
        ("[]".to_owned(), "the parameters of an analyzer must be a JSON object"),
        ("{".to_owned(), "the parameters of an analyzer must be a JSON object"),
        (r#"{"type": "klingon"}"#.to_owned(), "unsupported analyzer: klingon"),
        (r#"{"type": "thai"}"#.to_owned(), "unsupported analyzer: thai is not built yet"),
        (r#"{"type": "english", "filter": []}"#.to_owned(), "unknown parameter filter of an analyzer"),
        (r#"{"tokenizr": "standard"}"#.to_owned(), "unknown parameter tokenizr of an analyzer"),
        (r#"{"tokenizer": "lindera"}"#.to_owned(), "unsupported tokenizer: lindera is not built yet"),
        (r#"{"tokenizer": "nope"}"#.to_owned(), "unsupported tokenizer: nope"),
        (r#"{"tokenizer": 3}"#.to_owned(), "parameter tokenizer of an analyzer must be"),
        (
            r#"{"tokenizer": {"type": "jieba", "dict": "中文"}}"#.to_owned(),
            "parameter dict of the tokenizer jieba must be a list of texts",
        ),
        (
            r#"{"tokenizer": {"type": "jieba", "mode": "x"}}"#.to_owned(),
            "parameter mode of the tokenizer jieba must be",
        ),
        (
            r#"{"tokenizer": {"type": "jieba", "dict": ["_extend_default_"]}}"#.to_owned(),
            "unsupported dictionary",
        ),
        (filter(r#""nope""#), "unsupported filter: nope"),
        (filter(r#""pinyin""#), "unsupported filter: pinyin is not built yet"),
        (
            filter(r#"{"type": "stop", "stop_words": ["_klingon_"]}"#),
            "unsupported list of stop words: _klingon_",
        ),
        (
            filter(r#"{"type": "stop", "stop_words": "y"}"#),
            "parameter stop_words of the filter stop must be a list of texts",
        ),
        (filter(r#""stop""#), "parameter stop_words of the filter stop must be a list of texts"),
        (filter(r#"{"type": "length", "max": -1}"#), "parameter max of the filter length must be"),
        (
            filter(r#"{"type": "stemmer", "language": "klingon"}"#),
            "unsupported language of a stemmer: klingon",
        ),
        (filter(r#"{"type": "regex", "expr": "(?!a)b"}"#), "bad regular expression (look-around"),
        (filter(r#"{"type": "regex", "expr": "(a{100}){100}{100}"}"#), "bad regular expression"),
        (filter(r#"{"type": "synonym", "synonyms": ["a b, c"]}"#), "bad synonym rule: a b, c"),
        (
            filter(r#"{"type": "synonym", "synonyms": ["a,b,c,d,e,f,g,h,i"]}"#),
            "too many synonyms of one word",
        ),
        (filter(r#"{"type": "lowercase", "x": 1}"#), "unknown parameter x of the filter lowercase"),
        (filter(&[r#""lowercase""#; 33].join(",")), "too many filters of an analyzer"),
        (format!("{{\"type\": \"{}\"}}", "x".repeat(MAX_PARAMS_BYTES)), "the parameters of an analyzer have"),
    ];
    for (params, wanted) in cases {
        let found = refusal(&params);
        assert!(found.starts_with(wanted), "{}: {found}", &params[..params.len().min(80)]);
    }
}

#[test]
fn terms_have_numbers_that_never_change() {
    assert_eq!([term_hash(""), term_hash("milvus"), term_hash("分词")], [0, 0x2b42_5977, 0xa388_e785]);
}

#[test]
fn rows_are_analysed_in_their_language() {
    let params = r#"{"analyzers": {"default": {}, "en": {"type": "english"}}, "by_field": "lang", "alias": {"eng": "en"}}"#;
    let field = FieldAnalyzer::new(None, Some(params)).unwrap();
    let words = |name| {
        let tokens = field.named(name).unwrap().analyze("seas").into_iter();
        tokens.map(|token| token.text).collect::<Vec<_>>()
    };

    assert_eq!(field.by_field(), Some("lang"));
    assert_eq!(
        [words(None), words(Some("xx")), words(Some("en")), words(Some("eng"))],
        [["seas"], ["seas"], ["sea"], ["sea"]]
    );
    let refused = |params: &str| FieldAnalyzer::new(None, Some(params)).unwrap_err();
    assert_eq!(refused(r#"{"analyzers": {"en": {}}, "by_field": "l"}"#), Error::NoDefault);
    assert_eq!(
        refused(r#"{"analyzers": {"default": {}}, "by_field": "l", "alias": {"a": "b"}}"#),
        Error::Alias { name: "b".to_owned() }
    );
}

#[test]
fn a_phrase_is_found_with_so_much_slop_as_it_needs() {
    let needs = |phrase: &str, text: &str| {
        let found = |slop| TextMatch::new("", phrase, Rule::Phrase { slop }).unwrap().matcher().matches(text);
        (0..6).find(|slop| found(*slop))
    };

    assert_eq!(needs("machine learning", "on Machine learning, again"), Some(0));
    assert_eq!(needs("machine learning", "machine deep learning"), Some(1));
    assert_eq!(needs("machine learning", "learning machine"), Some(2));
    assert_eq!(needs("a b c", "a x b x c"), Some(2));
    assert_eq!(needs("a b", "a x x x x x x b"), None);
    assert_eq!(needs("a a", "x a y"), None);
    assert_eq!(needs("", "x"), None);
    let far = TextMatch::new("", "a b", Rule::Phrase { slop: u32::MAX }).unwrap();
    assert!(far.matcher().matches("b x x x a"));
}

#[test]
fn synonyms_of_a_phrase_stand_for_each_other() {
    let params = r#"{"filter": ["lowercase", {"type": "synonym", "synonyms": ["tv, television"]}]}"#;
    let wanted = TextMatch::new(params, "new tv", Rule::Phrase { slop: 0 }).unwrap();

    assert!(wanted.matcher().matches("a New television"));
    assert!(!wanted.matcher().matches("a new radio"));
}

/// Texts with letters of the scripts that stemmers and dictionaries know, and of no script.
fn any_text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        4 => "[a-z]",
        2 => "[ \t\n.,!'’-]",
        1 => "[À-ÿĀ-ſ]",
        1 => "[Α-ωἀ-ῼ]",
        1 => "[\u{600}-\u{6ff}]",
        1 => "[\u{b80}-\u{bff}]",
        1 => "[а-яё]",
        1 => "[İıĞğŞş\u{307}]",
        1 => "[一-丿中国人民共和]",
        1 => any::<char>().prop_map(String::from),
    ];
    vec(letter, 0..60).prop_map(|letters| letters.concat())
}

fn all_params() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        r#"{"type": "english"}"#,
        r#"{"type": "chinese"}"#,
        r#"{"tokenizer": {"type": "jieba", "mode": "exact", "hmm": false}, "filter": ["removepunct"]}"#,
        r#"{"tokenizer": {"type": "jieba", "dict": ["ab", "中国"]}}"#,
        r#"{"tokenizer": "icu"}"#,
        r#"{"tokenizer": {"type": "jieba", "dict": ["_default_", "人民共", "a"]}}"#,
        r#"{"tokenizer": "whitespace", "filter": ["asciifolding", "decimaldigit", "lowercase", "cncharonly"]}"#,
        r#"{"tokenizer": "whitespace", "filter": [{"type": "decompounder", "word_list": ["a", "ab", "é"]},
            {"type": "length", "max": 9}, {"type": "synonym", "synonyms": ["a, b"]}]}"#,
    ]
    .map(str::to_owned)
    .into();
    for (language, _) in Stemming::LANGUAGES {
        all.push(format!(
            r#"{{"tokenizer": "whitespace", "filter": [{{"type": "stemmer", "language": "{language}"}}]}}"#
        ));
    }
    all
}

/// A text of a few words that texts and questions share.
fn few_words() -> impl Strategy<Value = String> {
    vec(prop_oneof!["[a-e]", "[A-E]", "the"], 0..12).prop_map(|words| words.join(" "))
}

/// How far apart the words of a phrase are at best, by trying all places of each.
fn naive_slop(phrase: &[String], text: &[String]) -> Option<i64> {
    fn walk(phrase: &[String], text: &[String], offset: i64, low: i64, high: i64) -> Option<i64> {
        let Some((word, rest)) = phrase.split_first() else { return Some(high - low) };
        let places = (0_i64..).zip(text).filter(|(_, found)| *found == word).map(|(at, _)| at - offset);
        places.filter_map(|at| walk(rest, text, offset + 1, low.min(at), high.max(at))).min()
    }
    let (first, rest) = phrase.split_first()?;
    let places = (0_i64..).zip(text).filter(|(_, found)| *found == first).map(|(at, _)| at);
    places.filter_map(|at| walk(rest, text, 1, at, at)).min()
}

fn times(words: &[String]) -> HashMap<&String, usize> {
    words.iter().fold(HashMap::new(), |mut times, word| {
        *times.entry(word).or_default() += 1;
        times
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_odd_for_an_analyzer(text in any_text()) {
        for params in all_params() {
            for Token { text: word, start, end, .. } in Analyzer::new(&params).unwrap().analyze(&text) {
                prop_assert!(!word.is_empty() && text.get(start..end).is_some_and(|part| !part.is_empty()));
            }
        }
    }

    #[test]
    fn no_parameters_break_the_parser(params in any_text(), text in any_text()) {
        if let Ok(analyzer) = Analyzer::new(&params) {
            drop(analyzer.analyze(&text));
        }
    }

    #[test]
    fn terms_are_counted_as_by_hand(text in few_words()) {
        let mut wanted: BTreeMap<u32, f32> = BTreeMap::new();
        for word in text.split_whitespace() {
            *wanted.entry(term_hash(&word.to_lowercase())).or_default() += 1.0;
        }
        let found = counts(&Analyzer::new("").unwrap().analyze(&text));
        prop_assert!(found.terms.into_iter().zip(found.counts).eq(wanted));
    }

    #[test]
    fn words_are_matched_as_by_hand(query in few_words(), text in few_words(), least in 1_u32..4) {
        let lower = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
        let (asked, there) = (lower(&query), lower(&text));
        let both = times(&asked).into_keys().filter(|word| there.contains(word)).count();

        let wanted = TextMatch::new("", &query, Rule::Words { least }).unwrap();
        prop_assert_eq!(wanted.matcher().matches(&text), both >= least as usize);
    }

    #[test]
    fn phrases_are_matched_as_by_hand(
        query in vec("[a-c]", 1..4),
        text in vec("[a-d]", 0..9),
        slop in 0_u32..4,
    ) {
        let enough = times(&query).into_iter().all(|(word, count)| times(&text).get(word) >= Some(&count));
        let by_hand = naive_slop(&query, &text).is_some_and(|needed| needed <= i64::from(slop)) && enough;

        let wanted = TextMatch::new("", &query.join(" "), Rule::Phrase { slop }).unwrap();
        prop_assert_eq!(wanted.matcher().matches(&text.join(" ")), by_hand);
    }
}
