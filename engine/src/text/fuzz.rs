//! Fuzz target of analyzers.

use super::{Analyzer, FieldAnalyzer};

/// Any parameters, up to a zero byte, are refused, or make an analyzer. Each word that it finds in the text behind the zero lies
/// in it, and a second look finds the same.
pub fn analyzer(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (Some(params), Some(text)) = (text(), text()) else { return };
    drop(FieldAnalyzer::new(None, Some(params)));
    let Ok(analyzer) = Analyzer::new(params) else { return };
    let tokens = analyzer.analyze(text);
    for token in &tokens {
        assert!(!token.text.is_empty());
        assert!(text.get(token.start..token.end).is_some(), "{token:?}");
    }
    assert!(tokens.windows(2).all(|pair| pair[0].position <= pair[1].position), "{tokens:?}");
    assert_eq!(analyzer.analyze(text), tokens);
    let counts = analyzer.terms(text);
    assert!(counts.terms.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(counts.counts.iter().sum::<f32>(), tokens.len() as f32);
}

/// Inputs for [`analyzer`] to begin with.
pub fn analyzers() -> Vec<Vec<u8>> {
    const PARAMS: [&str; 15] = [
        "",
        r#"{"type":"standard","stop_words":["_english_","of"]}"#,
        r#"{"type":"english"}"#,
        r#"{"type":"chinese"}"#,
        r#"{"tokenizer":"whitespace","filter":["lowercase","asciifolding"]}"#,
        r#"{"tokenizer":"standard","filter":[{"type":"length","min":2,"max":5},"alphanumonly"]}"#,
        r#"{"tokenizer":{"type":"jieba","dict":["手机","_default_"],"mode":"exact","hmm":false}}"#,
        r#"{"tokenizer":{"type":"jieba","dict":["手机"],"mode":"search"},"filter":["cncharonly"]}"#,
        r#"{"filter":[{"type":"stemmer","language":"german"},"cnalphanumonly"]}"#,
        r#"{"filter":[{"type":"decompounder","word_list":["dampf","schiff"]}]}"#,
        r#"{"filter":[{"type":"regex","expr":"^[a-z]+$"},"removepunct"]}"#,
        r#"{"filter":[{"type":"synonym","synonyms":["quick, fast","big => large, huge"],"expand":true}]}"#,
        r#"{"filter":[{"type":"stop","stop_words":"_english_"},"decimaldigit"]}"#,
        r#"{"by_field":"l","analyzers":{"default":{"type":"english"},"x":{}},"alias":{"y":"x"}}"#,
        r#"{"tokenizer":"thai"}"#,
    ];
    const TEXT: &str = "The quick Dampfschiff's café, 小米手机 x-1 ١٢ is big";
    PARAMS.iter().map(|params| [params.as_bytes(), b"\0", TEXT.as_bytes()].concat()).collect()
}
