//! Highlighters from the wire: which words are shown of the hits of a search, and how; the fragments, to the wire.

use std::collections::HashSet;
use std::sync::Arc;

use contract::pb::common::{HighlightData, HighlightResult, Highlighter, KeyValuePair};
use serde_json::Value as Json;

use super::params::{boolean, shown};
use super::texts::analyzer;
use crate::base::FieldId;
use crate::model::{Column, ColumnData, Field, Function, Schema, Texts};
use crate::plan::SearchHits;
use crate::proxy::Error;
use crate::text::{Analyzer, FieldAnalyzer, Fragments, Tags, matches};

/// How long a fragment is where nobody says. Unit: characters.
const SIZE: usize = 100;
/// How many fragments of a text there are where nobody says.
const MOST: usize = 5;
/// Most bytes of the texts whose words are highlighted in the hits of all queries, as JSON.
const MAX_QUERY_BYTES: usize = 1 << 20;
/// Most tags on either side.
const MAX_TAGS: usize = 64;
/// Most bytes of a tag: each word that is found gets one.
const MAX_TAG_BYTES: usize = 256;
/// Most texts whose words are highlighted in the hits of all queries.
const MAX_QUERIES: usize = 1024;
/// Most bytes of the texts of hits that one search analyses.
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Most bytes of the fragments of one search.
const MAX_FRAGMENT_BYTES: usize = 64 << 20;

/// The parameters of a highlighter, read and checked as far as they can be without a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Whether the words of the texts that are searched for are highlighted.
    pub search_text: bool,
    /// Names of fields, each with a text whose words are highlighted in it.
    queries: Vec<(String, String)>,
    fragments: Fragments,
}

impl Wanted {
    /// Reads the parameters of a lexical highlighter.
    ///
    /// # Errors
    /// Milvus's words for the first parameter that is wrong.
    pub fn of(highlighter: &Highlighter) -> Result<Self, Error> {
        let (mut before, mut after) = (vec!["<em>".to_owned()], vec!["</em>".to_owned()]);
        let (mut search_text, mut queries) = (false, Vec::new());
        let (mut lead, mut size, mut most) = (0, SIZE, MOST);
        for KeyValuePair { key, value } in &highlighter.params {
            match key.as_str() {
                "pre_tags" => before = tags("pre_tags", value)?,
                "post_tags" => after = tags("post_tags", value)?,
                "highlight_search_text" => search_text = flag("highlight_search_text", value)?,
                // The Java client of 2.6 sends the second name.
                "highlight_query" | "highlight_queries" => queries = self::queries(value)?,
                "fragment_offset" => lead = count("fragment_offset", value, 0)?,
                "fragment_size" => size = count("fragment_size", value, 1)?,
                "num_of_fragments" => most = count("num_of_fragments", value, 1)?,
                _ => {}
            }
        }
        let tags = Tags::new(before, after).ok_or(Error::HighlightNoTags { name: "pre_tags" })?;
        Ok(Self { search_text, queries, fragments: Fragments { tags, lead, size, most } })
    }

    /// What is highlighted in the hits of a search in the words that `function` counts.
    ///
    /// - `texts`: what each query searches for; none unless [`Self::search_text`].
    /// - `analyzer_name`: which of a field's several analyzers all these texts are for; `None` for the default one.
    ///
    /// # Errors
    /// If a field is not there or is not analysed.
    pub fn in_schema(
        self,
        schema: &Schema,
        function: &Function,
        texts: Vec<String>,
        analyzer_name: Option<&str>,
    ) -> Result<Highlighting, Error> {
        let mut fields: Vec<Highlighted> = Vec::new();
        if self.search_text {
            let missing = || Error::Answer { reason: format!("function {} lacks its input", function.name) };
            let field = schema.field_by_id(function.input).ok_or_else(missing)?;
            fields.push(Highlighted { of_each: texts, ..Highlighted::new(schema, field)? });
        }
        for (name, text) in self.queries {
            let at = match fields.iter().position(|field| field.name == name) {
                Some(at) => at,
                None => {
                    let missing = || Error::HighlightField { field: name.clone() };
                    let field = schema.field(&name).ok_or_else(missing)?;
                    fields.push(Highlighted::new(schema, field)?);
                    fields.len() - 1
                }
            };
            fields[at].of_all.push(text);
        }
        let analyzer_name = analyzer_name.map(str::to_owned);
        Ok(Highlighting { fields, analyzer_name, fragments: self.fragments })
    }
}

fn tags(name: &'static str, value: &str) -> Result<Vec<String>, Error> {
    let wrong = |_| Error::HighlightJson { name, wanted: "a list of texts" };
    let tags: Vec<String> = serde_json::from_str(value).map_err(wrong)?;
    if tags.len() > MAX_TAGS {
        return Err(Error::HighlightLong { name, limit: MAX_TAGS, unit: "tags" });
    }
    if tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES) {
        return Err(Error::HighlightLong { name, limit: MAX_TAG_BYTES, unit: "bytes in a tag" });
    }
    if tags.is_empty() { Err(Error::HighlightNoTags { name }) } else { Ok(tags) }
}

fn flag(name: &'static str, value: &str) -> Result<bool, Error> {
    boolean(value).ok_or_else(|| Error::HighlightParam { name, value: shown(value) })
}

fn count(name: &'static str, value: &str, least: usize) -> Result<usize, Error> {
    let count: Option<i64> = value.trim().parse().ok();
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count >= least);
    count.ok_or_else(|| Error::HighlightParam { name, value: shown(value) })
}

/// Names of fields and texts, of a list of objects with a `type`, a `field` and a `text`.
fn queries(value: &str) -> Result<Vec<(String, String)>, Error> {
    let name = "highlight_query";
    let wrong = || Error::HighlightJson { name, wanted: "a list of objects with a type, a field and a text" };
    if value.len() > MAX_QUERY_BYTES {
        return Err(Error::HighlightLong { name, limit: MAX_QUERY_BYTES, unit: "bytes" });
    }
    let list: Vec<Json> = serde_json::from_str(value).map_err(|_| wrong())?;
    if list.len() > MAX_QUERIES {
        return Err(Error::HighlightLong { name, limit: MAX_QUERIES, unit: "texts" });
    }
    let query = |query: &Json| {
        let text = |key: &str| query.get(key).and_then(Json::as_str).map(str::to_owned).ok_or_else(wrong);
        match text("type")? {
            kind if kind == "TextMatch" => Ok((text("field")?, text("text")?)),
            kind => Err(Error::HighlightQueryType { name: shown(&kind) }),
        }
    };
    list.iter().map(query).collect()
}

/// What is highlighted in the hits of a search, and how.
#[derive(Clone, Debug)]
pub struct Highlighting {
    fields: Vec<Highlighted>,
    analyzer_name: Option<String>,
    fragments: Fragments,
}

/// What is highlighted in one field.
#[derive(Clone, Debug)]
struct Highlighted {
    id: FieldId,
    name: String,
    analyzer: FieldAnalyzer,
    /// The field that chooses between several analyzers.
    language: Option<FieldId>,
    /// Texts whose words are highlighted in the hits of every query.
    of_all: Vec<String>,
    /// Texts whose words are highlighted in the hits of one query each; none, or one a query.
    of_each: Vec<String>,
}

impl Highlighted {
    fn new(schema: &Schema, field: &Field) -> Result<Self, Error> {
        if !field.data_type.is_text() || !field.is_on("enable_analyzer") {
            return Err(Error::NotAnalyzed { field: field.name.clone() });
        }
        let analyzer = analyzer(field)?;
        let language = analyzer.by_field().and_then(|name| schema.field(name)).map(|field| field.id);
        let (of_all, of_each) = (Vec::new(), Vec::new());
        Ok(Self { id: field.id, name: field.name.clone(), analyzer, language, of_all, of_each })
    }
}

/// What the fragments of one search may still take.
struct Budget {
    /// Of the texts that are analysed for them. Unit: bytes.
    texts: usize,
    /// Of themselves. Unit: bytes.
    fragments: usize,
}

impl Budget {
    fn analyse(&mut self, text: &str) -> Result<(), Error> {
        let too_much = Error::HighlightHits { what: "the texts", limit: MAX_TEXT_BYTES };
        self.texts = self.texts.checked_sub(text.len()).ok_or(too_much)?;
        Ok(())
    }

    fn keep(&mut self, fragments: &[String]) -> Result<(), Error> {
        let too_much = Error::HighlightHits { what: "the fragments", limit: MAX_FRAGMENT_BYTES };
        let bytes = fragments.iter().map(String::len).sum();
        self.fragments = self.fragments.checked_sub(bytes).ok_or(too_much)?;
        Ok(())
    }
}

impl Highlighting {
    /// The columns that are needed of every hit.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        self.fields.iter().flat_map(|field| [Some(field.id), field.language]).flatten()
    }

    /// The fragments of all hits, in their order: of each field those of each hit. Of a text that has none of the words, or is
    /// null, there are none. Analyses texts: work for a thread that may be busy.
    ///
    /// # Errors
    /// If the texts of the hits, or their fragments, are more than one search may have; [`Error::Answer`] for hits without the
    /// columns.
    pub fn results(&self, hits: &SearchHits) -> Result<Vec<HighlightResult>, Error> {
        let mut budget = Budget { texts: MAX_TEXT_BYTES, fragments: MAX_FRAGMENT_BYTES };
        let result = |field: &Highlighted| {
            let datas = self.of_field(field, hits, &mut budget)?;
            Ok::<_, Error>(HighlightResult { field_name: field.name.clone(), datas })
        };
        self.fields.iter().map(result).collect()
    }

    fn of_field(
        &self,
        field: &Highlighted,
        hits: &SearchHits,
        budget: &mut Budget,
    ) -> Result<Vec<HighlightData>, Error> {
        if hits.scores.is_empty() {
            return Ok(Vec::new());
        }
        let (column, texts) = texts_of(hits, field.id)
            .ok_or_else(|| Error::Answer { reason: format!("no texts of field {}", field.name) })?;
        let languages = field.language.and_then(|id| texts_of(hits, id));
        let asked = field.analyzer.named(self.analyzer_name.as_deref());
        let of_all = words(asked, &field.of_all);
        let mut datas = Vec::with_capacity(hits.scores.len());
        for (query, span) in hits.spans().into_iter().enumerate() {
            let of_query = words(asked, field.of_each.get(query));
            let is_wanted = |word: &str| of_all.contains(word) || of_query.contains(word);
            let has_words = !of_all.is_empty() || !of_query.is_empty();
            for hit in span {
                let language = languages.filter(|(column, _)| column.is_valid(hit));
                let language = language.map(|(_, names)| names.get(hit));
                let mut data = HighlightData::default();
                if let Some(analyzer) =
                    field.analyzer.named(language).filter(|_| has_words && column.is_valid(hit))
                {
                    let text = texts.get(hit);
                    budget.analyse(text)?;
                    let found = matches(&analyzer.analyze(text), is_wanted);
                    data.fragments = self.fragments.of(text, &found);
                    budget.keep(&data.fragments)?;
                }
                datas.push(data);
            }
        }
        Ok(datas)
    }
}

/// A column of texts of the hits, and its texts.
fn texts_of(hits: &SearchHits, field: FieldId) -> Option<(&Column, &Texts)> {
    let column = hits.rows.column(field)?;
    let ColumnData::VarChar(texts) = &column.data else { return None };
    Some((column, texts))
}

/// All words of some texts.
fn words<'a>(
    analyzer: Option<&Arc<Analyzer>>,
    texts: impl IntoIterator<Item = &'a String>,
) -> HashSet<String> {
    let Some(analyzer) = analyzer else { return HashSet::new() };
    texts.into_iter().flat_map(|text| analyzer.analyze(text)).map(|token| token.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Batch, Keys};

    fn read(params: &[(&str, &str)]) -> Result<Wanted, String> {
        let pair =
            |(key, value): &(&str, &str)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() };
        let highlighter = Highlighter { params: params.iter().map(pair).collect(), ..Default::default() };
        Wanted::of(&highlighter).map_err(|error| error.to_string())
    }

    fn of_tags(before: &str, after: &str) -> Tags {
        Tags::new(vec![before.to_owned()], vec![after.to_owned()]).unwrap()
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let fragments = Fragments { tags: of_tags("<em>", "</em>"), lead: 0, size: 100, most: 5 };
        assert_eq!(read(&[]), Ok(Wanted { search_text: false, queries: Vec::new(), fragments }));

        let all = [
            ("pre_tags", r#"["{"]"#),
            ("post_tags", r#"["}"]"#),
            ("highlight_search_text", "True"),
            ("highlight_query", r#"[{"type": "TextMatch", "field": "f", "text": "t"}]"#),
            ("fragment_offset", "7"),
            ("fragment_size", "8"),
            ("num_of_fragments", "9"),
            ("what_is_not_known", "x"),
        ];
        let fragments = Fragments { tags: of_tags("{", "}"), lead: 7, size: 8, most: 9 };
        let queries = vec![("f".to_owned(), "t".to_owned())];
        assert_eq!(read(&all), Ok(Wanted { search_text: true, queries, fragments }));
    }

    #[test]
    fn parameters_that_are_wrong_are_refused() {
        let (many, long) = (serde_json::json!(vec!["a"; 65]), serde_json::json!(["a".repeat(257)]));
        let (many, long) = (many.to_string(), long.to_string());
        let queries = format!("[{}{{}}]", "{},".repeat(1024));
        let cases = [
            ("pre_tags", "[]", "pre_tags cannot be empty list"),
            ("post_tags", "[]", "post_tags cannot be empty list"),
            ("pre_tags", "<em>", "pre_tags is not a list of texts in JSON"),
            ("post_tags", "[1]", "post_tags is not a list of texts in JSON"),
            ("pre_tags", many.as_str(), "pre_tags of a highlighter has more than 64 tags"),
            ("pre_tags", long.as_str(), "pre_tags of a highlighter has more than 256 bytes in a tag"),
            ("fragment_offset", "-1", "invalid fragment_offset: -1"),
            ("fragment_size", "0", "invalid fragment_size: 0"),
            ("fragment_size", "-10", "invalid fragment_size: -10"),
            ("fragment_size", "ten", "invalid fragment_size: ten"),
            ("fragment_size", "99999999999999999999", "invalid fragment_size: 99999999999999999999"),
            ("num_of_fragments", "0", "invalid num_of_fragments: 0"),
            ("num_of_fragments", "1.5", "invalid num_of_fragments: 1.5"),
            ("highlight_search_text", "yes", "invalid highlight_search_text: yes"),
            (
                "highlight_query",
                r#"[{"type": "PhraseMatch", "field": "f", "text": "t"}]"#,
                "unsupported highlight query type PhraseMatch, only TextMatch is",
            ),
            (
                "highlight_queries",
                r#"[{"type": "TextMatch", "field": "f"}]"#,
                "highlight_query is not a list of objects with a type, a field and a text in JSON",
            ),
            (
                "highlight_query",
                queries.as_str(),
                "highlight_query of a highlighter has more than 1024 texts",
            ),
        ];
        for (key, value, wanted) in cases {
            assert_eq!(read(&[(key, value)]), Err(format!("{wanted}: invalid parameter")), "{key}");
        }
    }

    #[test]
    fn a_search_analyses_and_shows_only_so_much() {
        let texts: Texts = ["one two", "two"].into_iter().collect();
        let column = Column { field: FieldId(1), data: ColumnData::VarChar(texts), valid: None };
        let hits = SearchHits {
            counts: vec![2],
            keys: Keys::Int(vec![1, 2]),
            scores: vec![2.0, 1.0],
            rows: Batch { rows: 2, columns: vec![column] },
        };
        let field = Highlighted {
            id: FieldId(1),
            name: "f".to_owned(),
            analyzer: FieldAnalyzer::new(None, None).unwrap(),
            language: None,
            of_all: vec!["two".to_owned()],
            of_each: Vec::new(),
        };
        let fragments = Fragments { tags: of_tags("[", "]"), lead: 0, size: 9, most: 1 };
        let all = Highlighting { fields: Vec::new(), analyzer_name: None, fragments };
        let within = |texts, fragments| {
            let mut budget = Budget { texts, fragments };
            let shown = all.of_field(&field, &hits, &mut budget).map_err(|error| error.to_string())?;
            Ok::<_, String>((
                shown.into_iter().flat_map(|data| data.fragments).collect::<Vec<_>>(),
                budget.texts,
            ))
        };

        assert_eq!(within(11, 10), Ok((vec!["[two]".to_owned(), "[two]".to_owned()], 1)));
        let refused = |what: &str, limit: usize| {
            Err(format!(
                "the {what} to highlight have more than {limit} bytes, ask for fewer hits: invalid parameter"
            ))
        };
        assert_eq!(within(9, 10), refused("texts", MAX_TEXT_BYTES));
        assert_eq!(within(10, 9), refused("fragments", MAX_FRAGMENT_BYTES));
    }
}
