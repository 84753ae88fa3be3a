//! `jobs/import/…`: imports of files.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{GetImportStateRequest, ImportRequest, ListImportTasksRequest};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::imports::{self, Wanted};
use crate::proxy::convert::params::{plain, shown};
use crate::proxy::{Error, Proxy};
use crate::rpc::{ImportInfo, ImportState, ImportTask};

/// Milvus's names of the requests, in complaints about missing keys.
const CREATE: &str = "ImportReq";
const JOB: &str = "JobIDReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/create", endpoint!("RestCreateImport", ImportRequest, create))
        .route("/describe", endpoint!("RestDescribeImport", GetImportStateRequest, describe))
        .route("/get_progress", endpoint!("RestDescribeImport", GetImportStateRequest, describe))
        .route("/list", endpoint!("RestListImports", ListImportTasksRequest, list))
        .route("/commit", endpoint!("RestCommitImport", ImportRequest, commit))
        .route("/abort", endpoint!("RestAbortImport", ImportRequest, abort))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let wanted = Wanted {
        database: String::new(),
        collection: visit.required(CREATE, "collectionName")?,
        partition: match visit.value("partitionName") {
            None => String::new(),
            Some(Json::String(name)) => name.clone(),
            Some(other) => return Err(no_text("partitionName", other)),
        },
    };
    let files = visit.value("files").ok_or_else(|| Error::missing(CREATE, "files"))?;
    let wrong =
        || Error::WrongKind { what: "files", wanted: "a list of lists of paths", actual: plain(files) };
    let files: Vec<Vec<String>> = serde_json::from_value(files.clone()).map_err(|_| wrong())?;
    let options = match visit.value("options") {
        None => Vec::new(),
        Some(Json::Object(pairs)) => pairs.iter().map(option).collect::<Result<_, _>>()?,
        Some(other) => {
            let actual = shown(&plain(other));
            return Err(Error::WrongKind { what: "options", wanted: "an object of texts", actual });
        }
    };
    let id = imports::begin(proxy, &visit.caller, wanted, files, options).await?;
    Ok(data(json!({ "jobId": id.to_string() })))
}

/// An option of an import, whose value is a text.
fn option((key, value): (&String, &Json)) -> Result<(String, String), Error> {
    match value {
        Json::String(text) => Ok((key.clone(), text.clone())),
        other => {
            let (key, value) = (shown(key), shown(&plain(other)));
            Err(imports::refused(&format!("option {key} must be a string, got {value}")))
        }
    }
}

fn no_text(what: &'static str, value: &Json) -> Error {
    Error::WrongKind { what, wanted: "a string", actual: shown(&plain(value)) }
}

/// The number of the import that is meant: a text, or a number.
fn job(visit: &Visit) -> Result<i64, Error> {
    let given = visit.value("jobId").map(plain).filter(|text| !text.is_empty());
    let given = given.ok_or_else(|| Error::missing(JOB, "jobId"))?;
    given.parse().map_err(|_| imports::refused(&format!("parse job id failed, jobID={given}")))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    Ok(data(described(&imports::find(proxy, job(&visit)?).await?)))
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let collection = visit.value("collectionName").map(plain).unwrap_or_default();
    let known = imports::of_database(proxy, &visit.caller, "", &collection).await?;
    let records: Vec<Json> = known.iter().map(record).collect();
    Ok(data(json!({ "records": records })))
}

async fn commit(proxy: &Proxy, visit: Visit) -> Data {
    proxy.coord().end_import(job(&visit)?, true).await?;
    Ok(nothing())
}

async fn abort(proxy: &Proxy, visit: Visit) -> Data {
    proxy.coord().end_import(job(&visit)?, false).await?;
    Ok(nothing())
}

const fn name(state: ImportState) -> &'static str {
    match state {
        ImportState::Pending => "Pending",
        ImportState::Importing => "Importing",
        ImportState::Uncommitted => "Uncommitted",
        ImportState::Completed => "Completed",
        ImportState::Failed => "Failed",
    }
}

/// An import in a list.
fn record(import: &ImportInfo) -> Json {
    let mut record = json!({
        "jobId": import.id.to_string(),
        "collectionName": import.collection_name,
        "state": name(import.state),
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
        "state": name(state),
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
