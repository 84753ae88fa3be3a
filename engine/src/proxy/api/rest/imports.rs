//! `jobs/import/…`: imports of files.
//!
//! Over gRPC everybody who is known may see how far imports are. Here that takes a privilege, as do the words that end an import:
//! on the collection that the import is for, whatever else the request names.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{GetImportStateRequest, ImportRequest, ListImportTasksRequest};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::intake::Error as Rejected;
use crate::model::access::Object;
use crate::proxy::access::Checked;
use crate::proxy::access::table::{Asks, Rule, Target};
use crate::proxy::api::imports::{self, Wanted};
use crate::proxy::convert::params::shown;
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, CollectionRef, ImportInfo, ImportState, ImportTask, Refusal};

/// Milvus's names of the requests, in complaints about missing keys.
const CREATE: &str = "ImportReq";
const JOB: &str = "JobIDReq";

/// What seeing how far an import is takes.
const PROGRESS: Rule = on_collection("GetImportProgress", "GetImportProgress");
/// What seeing an import in a list takes.
const LIST: Rule = on_collection("ListImport", "ListImport");
/// What having the rows of an import seen takes.
const COMMIT: Rule = on_collection("CommitImport", "Import");
/// What giving up an import takes.
const ABORT: Rule = on_collection("AbortImport", "Import");

const fn on_collection(call: &'static str, privilege: &'static str) -> Rule {
    Rule { call, needs: Some((Object::Collection, privilege)), names_database: true }
}

/// These paths. Those about one import are open until it is known which collection that is for.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/create", endpoint!("RestCreateImport", ImportRequest, create))
        .route("/describe", endpoint!("RestDescribeImport", GetImportStateRequest, describe))
        .route("/get_progress", endpoint!("RestDescribeImport", GetImportStateRequest, describe))
        .route("/list", endpoint!("RestListImports", ListImportTasksRequest, list))
        .route("/commit", endpoint!("RestCommitImport", GetImportStateRequest, commit))
        .route("/abort", endpoint!("RestAbortImport", GetImportStateRequest, abort))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let collection = text(&visit, "collectionName")?;
    if collection.is_empty() {
        return Err(Error::missing(CREATE, "collectionName"));
    }
    let wanted = Wanted { database: String::new(), collection, partition: text(&visit, "partitionName")? };
    let files = files_of(visit.value("files").ok_or_else(|| Error::missing(CREATE, "files"))?)?;
    let options = visit.value("options").map(options_of).transpose()?.unwrap_or_default();
    let id = imports::begin(proxy, &visit.caller, wanted, files, options).await?;
    Ok(data(json!({ "jobId": id.to_string() })))
}

/// What Milvus says of a value of another kind than the wanted one.
fn mismatch(what: &str, wanted: &str, value: &Json) -> Error {
    let found = match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    Rejected::NotJson { reason: format!("{what} must be {wanted}, got {found}") }.into()
}

/// A text that may be left out; empty then.
fn text(visit: &Visit, key: &str) -> Result<String, Error> {
    match visit.value(key) {
        None => Ok(String::new()),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(other) => Err(mismatch(key, "a string", other)),
    }
}

/// The elements of a list.
fn list_of<'a>(what: &str, wanted: &str, value: &'a Json) -> Result<&'a [Json], Error> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| mismatch(what, wanted, value))
}

/// Sets of paths.
fn files_of(value: &Json) -> Result<Vec<Vec<String>>, Error> {
    let mut sets = Vec::new();
    for (at, set) in list_of("files", "an array of arrays of strings", value)?.iter().enumerate() {
        let mut paths = Vec::new();
        for path in list_of(&format!("files[{at}]"), "an array of strings", set)? {
            let wrong = || mismatch(&format!("a path of files[{at}]"), "a string", path);
            paths.push(path.as_str().ok_or_else(wrong)?.to_owned());
        }
        sets.push(paths);
    }
    Ok(sets)
}

/// Options, each a text: `false` is no word for `"false"`, lest rows be seen that were to wait.
fn options_of(value: &Json) -> Result<Vec<(String, String)>, Error> {
    let pairs = value.as_object().ok_or_else(|| mismatch("options", "an object", value))?;
    let option = |(key, value): (&String, &Json)| match value.as_str() {
        Some(text) => Ok((key.clone(), text.to_owned())),
        None => Err(mismatch(&format!("options.{}", shown(key)), "a string", value)),
    };
    pairs.iter().map(option).collect()
}

/// The number of the import that is meant: a text, or a number.
fn job(visit: &Visit) -> Result<i64, Error> {
    let key = "jobId";
    let given = match visit.value(key) {
        Some(Json::String(text)) if !text.is_empty() => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        None | Some(Json::String(_)) => return Err(Error::missing(JOB, key)),
        Some(other) => return Err(mismatch(key, "a string", other)),
    };
    given.parse().map_err(|_| Error::ImportNumber { given: shown(&given) })
}

/// What an import is about, as its collection is called now; as it was called, if it is gone.
async fn about(proxy: &Proxy, import: &ImportInfo) -> Result<Target, Error> {
    match proxy.coord().collection(CollectionRef::Id(import.collection)).await {
        Ok(info) => Ok(Target { database: info.database_name.clone(), names: vec![info.name.clone()] }),
        Err(rpc::Error::Refused(Refusal::CollectionNotFound { .. })) => {
            Ok(Target { database: import.database.clone(), names: vec![import.collection_name.clone()] })
        }
        Err(error) => Err(error.into()),
    }
}

/// The import that a request means, if the caller may do this with it. What is given back beside it is to be told how the call ended.
async fn allowed(proxy: &Proxy, visit: &Visit, rule: Rule) -> Result<(ImportInfo, Checked), Error> {
    let import = imports::find(proxy, job(visit)?).await?;
    let target = about(proxy, &import).await?;
    let checked = proxy.check(&visit.caller, rule, || target).await.map_err(Error::Refused)?;
    Ok((import, checked))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let (import, checked) = allowed(proxy, &visit, PROGRESS).await?;
    checked.ended(proxy, None);
    Ok(data(described(&import)))
}

/// The imports of a collection; of a whole database, those that the caller may see.
async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let collection = text(&visit, "collectionName")?;
    let known = if collection.is_empty() {
        visible(proxy, &visit).await?
    } else {
        let target = Target { database: String::new(), names: vec![collection.clone()] };
        let checked = proxy.check(&visit.caller, LIST, || target).await.map_err(Error::Refused)?;
        checked.ended(proxy, None);
        imports::of_database(proxy, &visit.caller, "", &collection).await?
    };
    let records: Vec<Json> = known.iter().map(record).collect();
    Ok(data(json!({ "records": records })))
}

/// The imports of the request's database that the caller may see.
async fn visible(proxy: &Proxy, visit: &Visit) -> Result<Vec<ImportInfo>, Error> {
    let mut known = imports::of_database(proxy, &visit.caller, "", "").await?;
    let collections: BTreeMap<_, _> = known.iter().map(|import| (import.collection, import)).collect();
    let mut seen = BTreeSet::new();
    for (collection, import) in collections {
        let target = about(proxy, import).await?;
        if proxy.permits(&visit.caller, LIST, target).await {
            seen.insert(collection);
        }
    }
    known.retain(|import| seen.contains(&import.collection));
    Ok(known)
}

async fn commit(proxy: &Proxy, visit: Visit) -> Data {
    end(proxy, &visit, COMMIT, true).await
}

async fn abort(proxy: &Proxy, visit: Visit) -> Data {
    end(proxy, &visit, ABORT, false).await
}

async fn end(proxy: &Proxy, visit: &Visit, rule: Rule, commits: bool) -> Data {
    let (import, checked) = allowed(proxy, visit, rule).await?;
    let ended = proxy.coord().end_import(import.id, commits).await.map_err(Error::from);
    checked.ended(proxy, ended.as_ref().err().map(Error::code));
    ended.map(|()| nothing())
}

/// An import in a list.
fn record(import: &ImportInfo) -> Json {
    let mut record = json!({
        "jobId": import.id.to_string(),
        "collectionName": import.collection_name,
        "state": import.shown_state(),
        "progress": import.percent(),
    });
    if import.state == ImportState::Failed {
        record["reason"] = json!(import.reason);
    }
    record
}

/// All about an import.
fn described(import: &ImportInfo) -> Json {
    let mut described = record(import);
    let sum = |of: fn(&ImportTask) -> u64| import.tasks.iter().map(of).sum::<u64>();
    described["importedRows"] = json!(import.rows());
    described["totalRows"] = json!(sum(total));
    described["createTime"] = json!(shown_time(import.created_unix_ms));
    described["fileSize"] = json!(sum(|task| task.bytes));
    if import.ended_unix_ms > 0 {
        described["completeTime"] = json!(shown_time(import.ended_unix_ms));
    }
    described["details"] = import.tasks.iter().map(|task| detail(import.state, task)).collect();
    described
}

/// All rows of a set of files, as far as that is known.
fn total(task: &ImportTask) -> u64 {
    task.total.max(task.rows)
}

fn detail(state: ImportState, task: &ImportTask) -> Json {
    let state = match state {
        ImportState::Failed | ImportState::Completed => state,
        _ if task.is_done() => ImportState::Completed,
        _ if task.rows > 0 => ImportState::Importing,
        _ => ImportState::Pending,
    };
    let progress = if task.is_done() { 100 } else { task.read.min(task.bytes) * 100 / task.bytes.max(1) };
    let mut detail = json!({
        "fileName": format!("[{}]", task.files.join(" ")),
        "fileSize": task.bytes,
        "state": state.name(),
        "progress": progress,
        "importedRows": task.rows,
        "totalRows": total(task),
    });
    if task.ended_unix_ms > 0 {
        detail["completeTime"] = json!(shown_time(task.ended_unix_ms));
    }
    detail
}

/// A time as Milvus shows it: `2024-05-06T07:08:09Z`.
fn shown_time(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since March 1st of the year 0, in eras of 400 years. Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::shown_time;

    #[test]
    fn times_are_shown_as_milvus_shows_them() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_714_979_289_999, "2024-05-06T07:08:09Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
        ];
        for (unix_ms, shown) in cases {
            assert_eq!(shown_time(unix_ms), shown);
        }
    }
}
