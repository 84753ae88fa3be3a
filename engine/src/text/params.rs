//! The JSON parameters of analyzers, tokenizers and filters.

use serde_json::{Map, Value};

use super::filter::{Compounds, Filter};
use super::jieba::Words;
use super::stem::Stemming;
use super::tokenizer::Tokenizer;
use super::{Error, MAX_PARAMS_BYTES};

/// Most filters of one analyzer.
const MAX_FILTERS: usize = 32;

/// Milvus's analyzers, tokenizers and filters that are not here.
const ANALYZERS_NOT_BUILT: [&str; 2] = ["arabic", "thai"];
const TOKENIZERS_NOT_BUILT: [&str; 4] = ["lindera", "language_identifier", "grpc", "char_group"];
const FILTERS_NOT_BUILT: [&str; 1] = ["pinyin"];

/// How a text is cut, and what its words pass then.
pub(super) type Steps = (Tokenizer, Vec<Filter>);

/// The JSON object of a text.
pub(super) fn object_of(text: &str) -> Result<Map<String, Value>, Error> {
    if text.len() > MAX_PARAMS_BYTES {
        return Err(Error::ParamsTooLong { bytes: text.len() });
    }
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|error| Error::NotJson { reason: error.to_string() })
}

/// The analyzer of `given`: by its type, or of parts; the standard one of nothing.
pub(super) fn steps(given: &Map<String, Value>) -> Result<Steps, Error> {
    let of = Of { what: "an analyzer".to_owned(), given };
    if given.is_empty() {
        return Ok((Tokenizer::Standard, vec![Filter::Lowercase]));
    }
    if !given.contains_key("type") {
        of.check_keys(&["tokenizer", "filter"])?;
        return custom(&of);
    }
    of.check_keys(&["type", "stop_words"])?;
    let name = of.text("type")?;
    let (tokenizer, mut filters) = match name {
        "standard" => (Tokenizer::Standard, vec![Filter::Lowercase]),
        "english" => {
            let filters =
                vec![Filter::Lowercase, Filter::Stem(Stemming::english()), Filter::stop(&["_english_"])?];
            (Tokenizer::Standard, filters)
        }
        "chinese" => (Tokenizer::Jieba(Words::new(None, true, true)), vec![Filter::chinese_words()?]),
        name => return Err(unknown(name, "analyzer", &ANALYZERS_NOT_BUILT, |name| Error::Analyzer { name })),
    };
    if given.contains_key("stop_words") {
        filters.push(Filter::stop(&of.texts("stop_words")?)?);
    }
    Ok((tokenizer, filters))
}

fn unknown(name: &str, what: &'static str, not_built: &[&str], wrong: fn(String) -> Error) -> Error {
    let name = name.to_owned();
    if not_built.contains(&name.as_str()) { Error::NotBuilt { what, name } } else { wrong(name) }
}

fn custom(of: &Of<'_>) -> Result<Steps, Error> {
    let tokenizer = match of.given.get("tokenizer") {
        None => Tokenizer::Standard,
        Some(Value::String(name)) => tokenizer(name, &Map::new())?,
        Some(Value::Object(given)) => {
            let name = Of { what: "a tokenizer".to_owned(), given }.text("type")?;
            tokenizer(name, given)?
        }
        Some(_) => return Err(of.wrong("tokenizer", "a name or an object with a type")),
    };
    let filters = match of.given.get("filter") {
        None => Vec::new(),
        Some(Value::Array(filters)) if filters.len() > MAX_FILTERS => {
            return Err(Error::TooMany { what: "filters of an analyzer", limit: MAX_FILTERS });
        }
        Some(Value::Array(filters)) => filters.iter().map(any_filter).collect::<Result<_, _>>()?,
        Some(_) => return Err(of.wrong("filter", "a list of filters")),
    };
    // Each may put several words in the place of one.
    if filters.iter().filter(|filter| matches!(filter, Filter::Synonyms(_))).count() > 1 {
        return Err(Error::TooMany { what: "synonym filters of an analyzer", limit: 1 });
    }
    Ok((tokenizer, filters))
}

/// The tokenizer called `name`. As in Milvus, parameters that it does not know say nothing.
fn tokenizer(name: &str, given: &Map<String, Value>) -> Result<Tokenizer, Error> {
    let of = Of { what: format!("the tokenizer {name}"), given };
    match name {
        "standard" => Ok(Tokenizer::Standard),
        "whitespace" => Ok(Tokenizer::Whitespace),
        "icu" => Ok(Tokenizer::Icu(Words::new(None, false, false))),
        "jieba" => {
            let words = if given.contains_key("dict") { of.texts("dict")? } else { vec!["_default_"] };
            let search = match given.get("mode").map(Value::as_str) {
                None | Some(Some("search")) => true,
                Some(Some("exact")) => false,
                Some(_) => return Err(of.wrong("mode", "search or exact")),
            };
            let guess = of.boolean("hmm", true)?;
            let is_name = |word: &&&str| word.len() > 1 && word.starts_with('_') && word.ends_with('_');
            if let Some(name) = words.iter().filter(is_name).find(|name| **name != "_default_") {
                return Err(Error::NotBuilt { what: "dictionary", name: (*name).to_owned() });
            }
            let with_default = words.contains(&"_default_");
            let own = words.iter().filter(|word| **word != "_default_").map(|word| (*word).to_owned());
            let own = Some((own.collect::<Vec<_>>(), with_default))
                .filter(|(own, _)| !own.is_empty() || !with_default);
            Ok(Tokenizer::Jieba(Words::new(own, search, guess)))
        }
        name => Err(unknown(name, "tokenizer", &TOKENIZERS_NOT_BUILT, |name| Error::Tokenizer { name })),
    }
}

fn any_filter(given: &Value) -> Result<Filter, Error> {
    match given {
        Value::String(name) => filter(name, &Map::new()),
        Value::Object(given) => {
            let name = Of { what: "a filter".to_owned(), given }.text("type")?;
            filter(name, given)
        }
        _ => Err(Error::Param {
            key: "filter",
            what: "an analyzer".to_owned(),
            wanted: "a list of names and of objects with a type",
        }),
    }
}

fn filter(name: &str, given: &Map<String, Value>) -> Result<Filter, Error> {
    let of = Of { what: format!("the filter {name}"), given };
    let keys: &[&str] = match name {
        "stop" => &["type", "stop_words"],
        "length" => &["type", "min", "max"],
        "stemmer" => &["type", "language"],
        "decompounder" => &["type", "word_list"],
        "regex" => &["type", "expr"],
        "synonym" => &["type", "synonyms", "expand"],
        _ => &["type"],
    };
    of.check_keys(keys)?;
    match name {
        "lowercase" => Ok(Filter::Lowercase),
        "asciifolding" => Ok(Filter::AsciiFolding),
        "decimaldigit" => Ok(Filter::DecimalDigit),
        "alphanumonly" => Filter::ascii_words(),
        "cnalphanumonly" => Filter::chinese_words(),
        "cncharonly" => Filter::chinese_characters(),
        "removepunct" => Filter::no_punctuation(),
        "stop" => Filter::stop(&of.texts("stop_words")?),
        "length" => {
            let (min, max) = (of.count("min")?, of.count("max")?);
            if min.is_none() && max.is_none() {
                return Err(of.wrong("max", "a whole number that is not negative"));
            }
            Ok(Filter::Length { min: min.unwrap_or(0), max: max.unwrap_or(usize::MAX) })
        }
        "stemmer" => {
            let language = of.text("language")?;
            let stemming = Stemming::of(language);
            stemming.map(Filter::Stem).ok_or_else(|| Error::Language { name: language.to_owned() })
        }
        "decompounder" => {
            let words = of.texts("word_list")?;
            if words.is_empty() || words.contains(&"") {
                return Err(of.wrong("word_list", "a list of words"));
            }
            Ok(Filter::Decompound(Compounds::new(&words)))
        }
        "regex" => Filter::keep(of.text("expr")?),
        "synonym" => Filter::synonyms(&of.texts("synonyms")?, of.boolean("expand", true)?),
        name => Err(unknown(name, "filter", &FILTERS_NOT_BUILT, |name| Error::Filter { name })),
    }
}

/// The parameters of one thing.
struct Of<'a> {
    /// What it is, for complaints.
    what: String,
    given: &'a Map<String, Value>,
}

impl<'a> Of<'a> {
    fn check_keys(&self, known: &[&str]) -> Result<(), Error> {
        match self.given.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Error::UnknownKey { key: key.clone(), what: self.what.clone() }),
            None => Ok(()),
        }
    }

    fn wrong(&self, key: &'static str, wanted: &'static str) -> Error {
        Error::Param { key, what: self.what.clone(), wanted }
    }

    fn text(&self, key: &'static str) -> Result<&'a str, Error> {
        self.given.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, "a text"))
    }

    fn texts(&self, key: &'static str) -> Result<Vec<&'a str>, Error> {
        let list = match self.given.get(key) {
            Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
            _ => None,
        };
        list.ok_or_else(|| self.wrong(key, "a list of texts"))
    }

    fn boolean(&self, key: &'static str, default: bool) -> Result<bool, Error> {
        match self.given.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    fn count(&self, key: &'static str) -> Result<Option<usize>, Error> {
        let wrong = || self.wrong(key, "a whole number that is not negative");
        let number = |value: &Value| {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(wrong)
        };
        self.given.get(key).map(number).transpose()
    }
}
