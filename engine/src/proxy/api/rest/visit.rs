//! What a request of REST says: its headers, its body, and what it is about.

use std::time::Duration;

use bytes::Bytes;
use contract::pb::common::KeyValuePair;
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Map, Value as Json};

use super::{Door, Version};
use crate::intake::Error as Rejected;
use crate::model::access::Object;
use crate::proxy::access::table::{Rule, Target};
use crate::proxy::access::{Checked, Login, Peer};
use crate::proxy::api::Caller;
use crate::proxy::convert::json::{Pairs, parsed, unreadable};
use crate::proxy::convert::params::shown;
use crate::proxy::convert::{consistency, json_schema};
use crate::proxy::{Error, Proxy};

/// How long a client waits that does not say it. Source: wire specification 4.1.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest that one may say.
const MOST_PATIENCE: Duration = Duration::from_secs(86_400);
/// Keys whose values are the client's data, in which a null means something, and options, of which one that is null is not one that
/// was left out.
const DATA: [&str; 3] = ["data", "exprParams", "options"];
/// The names of the levels of consistency.
const LEVELS: &str = "[Strong, Session, Bounded, Eventually, Customized]";

/// One request: who asks, and the JSON object that was sent.
#[derive(Debug)]
pub struct Visit {
    /// Who asks.
    pub(super) caller: Caller,
    /// The body. A key with a null is one that is not there, but in the client's data.
    pub(super) body: Map<String, Json>,
    /// The rows of an insert or upsert, as they came.
    pub(super) rows: Option<Bytes>,
    /// Whether 64-bit integers may be JSON numbers; else they are texts.
    pub(super) takes_int64: bool,
    /// How long the client waits.
    pub(super) patience: Duration,
}

/// Reads a request. What is wrong with its body comes beside what the headers say.
pub(super) fn read(
    door: Door,
    uri: &Uri,
    headers: &HeaderMap,
    known: &Extensions,
    body: &Bytes,
) -> (Visit, Option<Error>) {
    let in_query = door.version != Version::V2 && body.is_empty();
    let content = if in_query { Ok((query(uri), None)) } else { content(door.rule, body) };
    let (content, flaw) = match content {
        Ok(content) => (content, None),
        Err(flaw) => ((Map::new(), None), Some(flaw)),
    };
    let (mut body, rows) = content;
    if door.version == Version::Legacy {
        for (theirs, ours) in [("db_name", "dbName"), ("collection_name", "collectionName")] {
            body.remove(ours);
            if let Some(value) = body.remove(theirs) {
                body.insert(ours.to_owned(), value);
            }
        }
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Over gRPC, too, some calls are made in the connection's database whatever the request is about.
    let named = body.get("dbName").and_then(Json::as_str).filter(|name| !name.is_empty());
    let named = named.filter(|_| door.rule.names_database);
    let database = named.or_else(|| text("db-name").filter(|name| !name.is_empty())).map(str::to_owned);
    let takes_int64 = text("accept-type-allow-int64").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let patience = text("request-timeout").and_then(|seconds| seconds.trim().parse().ok());
    let patience = patience.filter(|seconds| *seconds > 0).map_or(PATIENCE, Duration::from_secs);
    let caller = Caller {
        database,
        login: known.get::<Login>().cloned(),
        from: known.get::<Peer>().map(|peer| peer.0.ip()),
        request: text("request-id").filter(|name| !name.is_empty()).map(str::to_owned),
    };
    (Visit { caller, body, rows, takes_int64, patience: patience.min(MOST_PATIENCE) }, flaw)
}

/// The pairs of a query as a body.
fn query(uri: &Uri) -> Map<String, Json> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map(|query| query.0).unwrap_or_default();
    pairs.into_iter().map(|(key, value)| (key, Json::String(value))).collect()
}

/// The keys of a body, and its rows where it brings some.
fn content(rule: Rule, body: &Bytes) -> Result<(Map<String, Json>, Option<Bytes>), Error> {
    let text = body.trim_ascii();
    if text.is_empty() {
        let reason = "the request body should be nil, however {} is valid".to_owned();
        return Err(Rejected::NotJson { reason }.into());
    }
    // Milvus takes `null`, which some clients send for no body at all, for an empty object.
    if text == b"null" {
        return Ok((Map::new(), None));
    }
    let Pairs(pairs) = serde_json::from_slice(text).map_err(|reason| unreadable(&reason))?;
    let brings_rows = matches!(rule.call, "Insert" | "Upsert");
    let (mut object, mut rows) = (Map::new(), None);
    for (key, raw) in pairs {
        if brings_rows && key == "data" {
            rows = (raw.get() != "null").then(|| body.slice_ref(raw.get().as_bytes()));
            continue;
        }
        let value = parsed(raw.get())?;
        let value = if DATA.contains(&key.as_str()) { value } else { without_nulls(value) };
        object.insert(key, value);
    }
    object.retain(|_, value| !value.is_null());
    Ok((object, rows))
}

/// A value without keys of nothing, as in Go an absent key and a null are the same.
fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                let value = if DATA.contains(&key.as_str()) { value } else { without_nulls(value) };
                (key, value)
            })
            .collect(),
        Json::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

impl Visit {
    /// What the request is about, in the words of REST; nothing by name unless it is `named`.
    pub(super) fn target(&self, rule: Rule, named: bool) -> Target {
        if !named {
            return Target::default();
        }
        let one = match rule.needs {
            Some((Object::User, _)) => self.text("userName"),
            _ => self.text("collectionName"),
        };
        // Only a flush of the oldest API names several.
        let mut names = if rule.call == "Flush" { self.texts("collection_names") } else { Vec::new() };
        if names.is_empty() || !one.is_empty() {
            names.push(one);
        }
        Target { database: String::new(), names }
    }

    /// Sees that the caller may make these calls, too, about the same collection, before any of them is made. Each is to be
    /// told how it ended.
    ///
    /// # Errors
    /// [`Error::Refused`] if one is not allowed.
    pub(super) async fn also<const N: usize>(
        &self,
        proxy: &Proxy,
        rules: [Rule; N],
    ) -> Result<Vec<Checked>, Error> {
        let mut allowed = Vec::new();
        for rule in rules {
            let checked = proxy.check(&self.caller, rule, || self.target(rule, true)).await;
            allowed.push(checked.map_err(Error::Refused)?);
        }
        Ok(allowed)
    }

    /// The value of a key, whatever the case of its letters, as in Go; one that is written just so comes first.
    pub(super) fn value(&self, key: &str) -> Option<&Json> {
        let alike = || self.body.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        self.body.get(key).or_else(|| alike().map(|(_, value)| value))
    }

    /// A text that must be there. `request` is the name of the request's type in Milvus's words.
    pub(super) fn required(&self, request: &str, key: &str) -> Result<String, Error> {
        match self.value(key).and_then(Json::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(Error::missing(request, key)),
        }
    }

    /// The texts of a list; empty if there is none.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let list = self.value(key).and_then(Json::as_array);
        list.map(|list| list.iter().filter_map(Json::as_str).map(str::to_owned).collect()).unwrap_or_default()
    }

    /// The texts of a list that must have some.
    pub(super) fn required_texts(&self, request: &str, key: &str) -> Result<Vec<String>, Error> {
        let texts = self.texts(key);
        if texts.is_empty() { Err(Error::missing(request, key)) } else { Ok(texts) }
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, key: &str) -> String {
        self.value(key).and_then(Json::as_str).unwrap_or_default().to_owned()
    }

    /// The pairs of an object as the wire has them; none if there is none.
    pub(super) fn pairs(&self, key: &str) -> Vec<KeyValuePair> {
        self.value(key).map(json_schema::pairs).unwrap_or_default()
    }

    /// The pairs of an object that must have some.
    pub(super) fn required_pairs(&self, request: &str, key: &str) -> Result<Vec<KeyValuePair>, Error> {
        let pairs = self.pairs(key);
        if pairs.is_empty() { Err(Error::missing(request, key)) } else { Ok(pairs) }
    }

    /// The level of consistency that is asked for, if one is.
    pub(super) fn level(&self) -> Result<Option<i32>, Error> {
        level(&self.text("consistencyLevel"))
    }

    /// A visit of somebody who is not checked, with this body.
    #[cfg(test)]
    pub(super) fn of(body: &Json) -> Self {
        let rows = body.get("data").map(|rows| Bytes::from(rows.to_string()));
        let body = body.as_object().cloned().unwrap();
        Self { caller: Caller::default(), body, rows, takes_int64: false, patience: PATIENCE }
    }
}

/// The number of a level of consistency; `None` for no name.
///
/// # Errors
/// [`Error::Choice`] for a name that means nothing.
pub(super) fn level(name: &str) -> Result<Option<i32>, Error> {
    if name.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::Choice { what: "consistencyLevel", choice: LEVELS, actual: shown(name) };
    consistency::level_named(name).map(Some).ok_or_else(wrong)
}
