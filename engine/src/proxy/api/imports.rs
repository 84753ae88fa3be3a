//! Calls about imports of files.

use contract::pb::common::{ImportState as WireState, KeyValuePair};
use contract::pb::milvus::{
    GetImportStateRequest, GetImportStateResponse, ImportRequest, ImportResponse, ListImportTasksRequest,
    ListImportTasksResponse,
};

use super::{Caller, DEFAULT_PARTITION, partitions};
use crate::proxy::convert::params::{boolean, shown};
use crate::proxy::convert::status::success;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, ImportFormat, ImportInfo, ImportOptions, ImportState, NewImport, Refusal};

/// Most files of one import. Source: wire specification 7.
const MAX_FILES: usize = 1024;
/// Most bytes of all their paths.
const MAX_PATH_BYTES: usize = 256 << 10;

/// A refusal in Milvus's words.
pub fn refused(why: &str) -> Error {
    Refusal::Import { text: format!("{why}: importing data failed") }.into()
}

/// Begins an import of one set of files.
pub async fn import(proxy: &Proxy, caller: Caller, request: ImportRequest) -> Result<ImportResponse, Error> {
    let ImportRequest { db_name, collection_name, partition_name, files, options, .. } = request;
    let options = options.into_iter().map(|KeyValuePair { key, value }| (key, value)).collect();
    let wanted = Wanted { database: db_name, collection: collection_name, partition: partition_name };
    let task = begin(proxy, &caller, wanted, vec![files], options).await?;
    Ok(ImportResponse { status: Some(success()), tasks: vec![task] })
}

/// Where rows are to go, by names.
pub struct Wanted {
    /// The database's; empty for the caller's.
    pub database: String,
    /// The collection's.
    pub collection: String,
    /// The partition's; empty for the default one, or by key.
    pub partition: String,
}

/// Begins an import of several sets of files; returns its number.
pub async fn begin(
    proxy: &Proxy,
    caller: &Caller,
    wanted: Wanted,
    files: Vec<Vec<String>>,
    options: Vec<(String, String)>,
) -> Result<i64, Error> {
    let info = proxy.info(caller, &wanted.database, &wanted.collection).await?;
    proxy.admit_one(caller, Asked::Import, About::collection(&info))?;
    check_kind(&info, &wanted.partition, &options)?;
    let options = options_of(options)?;
    check_files(&files)?;
    let partition = match (info.schema.partition_key().is_some(), wanted.partition.as_str()) {
        (true, "") => None,
        (true, _) => {
            return Err(refused("not allow to set partition name for collection with partition key"));
        }
        (false, "") => Some(partitions::find(&info, DEFAULT_PARTITION)?.id),
        (false, name) => Some(partitions::find(&info, name)?.id),
    };
    let named = caller.request_id().map(|name| format!("{:032x}", name.0)).unwrap_or_default();
    Ok(proxy.coord().import(NewImport { collection: info.id, partition, files, options, named }).await?)
}

fn check_files(files: &[Vec<String>]) -> Result<(), Error> {
    if files.iter().all(Vec::is_empty) {
        return Err(Error::EmptyImport);
    }
    let count: usize = files.iter().map(Vec::len).sum();
    if count > MAX_FILES || files.len() > MAX_FILES {
        return Err(refused(&format!(
            "the max number of import files should not exceed {MAX_FILES}, but got {count}"
        )));
    }
    if files.iter().flatten().map(String::len).sum::<usize>() > MAX_PATH_BYTES {
        return Err(refused(&format!("the paths of the files have more than {MAX_PATH_BYTES} bytes")));
    }
    for some in files {
        let is_folder = |file: &String| file.ends_with('/');
        if some.is_empty() || some.iter().any(|file| file.trim_matches('/').is_empty()) {
            return Err(refused("no file to import"));
        }
        // What is in a folder is seen when it is looked at.
        if !some.iter().any(is_folder) {
            ImportFormat::of(some).map_err(|why| refused(&why))?;
        }
    }
    Ok(())
}

fn truth(key: &str, value: &str) -> Result<bool, Error> {
    boolean(value)
        .ok_or_else(|| refused(&format!("option {key} must be true or false, got {}", shown(value))))
}

/// Refuses what is no import of files of rows, for what is wrong with how it is asked for if something is.
fn check_kind(info: &CollectionInfo, partition: &str, options: &[(String, String)]) -> Result<(), Error> {
    let given = |names: &[&str]| {
        let named = options.iter().find(|(key, _)| names.contains(&key.as_str()));
        named.map(|(_, value)| value.as_str())
    };
    let is_on = |key: &str| given(&[key]).map_or(Ok(false), |value| truth(key, value));
    let not_supported =
        |key: &str| refused(&format!("option {key} is not supported: only files of rows are imported"));
    if is_on("l0_import")? {
        return Err(match info.load {
            Some(_) => refused("l0_import: the collection is loaded, release it first"),
            None => not_supported("l0_import"),
        });
    }
    if !is_on("backup")? {
        return Ok(());
    }
    if partition.is_empty() {
        return Err(refused("the partition that a backup is imported into must be specified"));
    }
    let number = |names: &[&str]| {
        let parsed = |value: &str| {
            let wrong = || refused(&format!("parse {} failed, invalid number {}", names[0], shown(value)));
            value.trim().parse::<u64>().map_err(|_| wrong())
        };
        given(names).map(parsed).transpose()
    };
    number(&["storage_version", "storageVersion"])?;
    let (start, end) = (number(&["start_ts", "startTs"])?, number(&["end_ts", "endTs"])?);
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(refused("invalid range of times: start_ts is larger than end_ts"));
    }
    Err(not_supported("backup"))
}

fn options_of(pairs: Vec<(String, String)>) -> Result<ImportOptions, Error> {
    let mut options = ImportOptions::default();
    for (key, value) in pairs {
        match key.as_str() {
            "timeout" => {
                let wrong = || refused(&format!("parse timeout failed, invalid duration {}", shown(&value)));
                options.timeout_ms = Some(milliseconds(&value).ok_or_else(wrong)?);
            }
            "sep" => {
                let mut letters = value.chars();
                let one = letters.next().filter(|_| letters.next().is_none());
                let one = one.filter(|one| one.is_ascii() && !matches!(one, '\0' | '\n' | '\r' | '"'));
                options.separator =
                    one.ok_or_else(|| refused(&format!("unsupported csv separator: {}", shown(&value))))?;
            }
            "nullkey" => options.null = value,
            "auto_commit" => options.commits = truth(&key, &value)?,
            // Others say how Milvus stores what it imports, or are of no import of rows.
            _ => {}
        }
    }
    Ok(options)
}

/// A duration as Go writes it: `300s`, `1h30m`, `1.5h`.
fn milliseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let each = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * each;
        rest = after;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not below zero")]
    let whole = total.ceil() as u64;
    (!text.is_empty() && total.is_finite()).then_some(whole)
}

/// The import of a number.
///
/// # Errors
/// If there is none.
pub async fn find(proxy: &Proxy, id: i64) -> Result<ImportInfo, Error> {
    let mut known = proxy.coord().imports(Some(id)).await?;
    known.pop().ok_or_else(|| refused(&format!("import job not found, jobID={id}")))
}

/// The imports of a database; of one collection, if it is named.
///
/// # Errors
/// If there is no such collection.
pub async fn of_database(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    collection: &str,
) -> Result<Vec<ImportInfo>, Error> {
    let mut known = proxy.coord().imports(None).await?;
    if collection.is_empty() {
        let database = caller.database(database);
        known.retain(|import| import.database == database);
    } else {
        let info = proxy.info(caller, database, collection).await?;
        known.retain(|import| import.collection == info.id);
    }
    Ok(known)
}

/// How far an import is.
pub async fn state(
    proxy: &Proxy,
    _: Caller,
    request: GetImportStateRequest,
) -> Result<GetImportStateResponse, Error> {
    Ok(to_wire(find(proxy, request.task).await?))
}

/// The imports that are known.
pub async fn list(
    proxy: &Proxy,
    caller: Caller,
    request: ListImportTasksRequest,
) -> Result<ListImportTasksResponse, Error> {
    let known = of_database(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let tasks = known.into_iter().take(limit).map(to_wire).collect();
    Ok(ListImportTasksResponse { status: Some(success()), tasks })
}

fn to_wire(import: ImportInfo) -> GetImportStateResponse {
    let state = match import.state {
        ImportState::Pending => WireState::ImportPending,
        ImportState::Importing => WireState::ImportStarted,
        ImportState::Uncommitted => WireState::ImportPersisted,
        ImportState::Completed => WireState::ImportCompleted,
        ImportState::Failed => WireState::ImportFailed,
    };
    let failed = import.state == ImportState::Failed;
    let files: Vec<&str> = import.tasks.iter().flat_map(|task| &task.files).map(String::as_str).collect();
    let took = import.ended_unix_ms.saturating_sub(import.created_unix_ms);
    let infos = [
        ("progress_percent", import.percent().to_string()),
        ("files", files.join(",")),
        ("collection", import.collection_name.clone()),
        ("partition", import.partition_name.clone()),
        (
            "persist_cost",
            format!("{:.2}", if import.ended_unix_ms == 0 { 0.0 } else { took as f64 / 1000.0 }),
        ),
    ];
    let reason = failed.then(|| ("failed_reason", import.reason.clone()));
    let infos = infos.into_iter().chain(reason);
    GetImportStateResponse {
        status: Some(success()),
        state: state.into(),
        row_count: if failed { 0 } else { i64::try_from(import.rows()).unwrap_or(i64::MAX) },
        infos: infos.map(|(key, value)| KeyValuePair { key: key.to_owned(), value }).collect(),
        id: import.id,
        collection_id: import.collection.0,
        create_ts: i64::try_from(import.created_unix_ms / 1000).unwrap_or(i64::MAX),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            ("300s", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("10ms", Some(10)),
            ("1us", Some(1)),
            ("0", Some(0)),
            ("300", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_import_is_refused_at_once_in_milvus_words() {
        let files = |groups: &[&[&str]]| {
            let groups: Vec<Vec<String>> =
                groups.iter().map(|some| some.iter().map(|file| (*file).to_owned()).collect()).collect();
            check_files(&groups).map_err(|error| (error.code(), error.to_string()))
        };
        let said = |text: &str| Err((2100, format!("{text}: importing data failed")));

        assert_eq!(files(&[&["a/1.parquet"], &["b.json"], &["c/id.npy", "c/v.npy"], &["folder/"]]), Ok(()));
        let empty: Result<(), (i32, String)> =
            Err((1100, "import request is empty: invalid parameter".to_owned()));
        assert_eq!((files(&[]), files(&[&[], &[]])), (empty.clone(), empty));
        assert_eq!(files(&[&["a.json"], &[]]), said("no file to import"));
        assert_eq!(files(&[&["a.txt"]]), said("unexpected file type, files=[a.txt]"));
        assert_eq!(files(&[&["a.npy", "b.json"]]), said("unexpected file type, files=[a.npy b.json]"));
        assert_eq!(
            files(&[&["a.parquet", "b.parquet"]]),
            said("for Parquet import, accepts only one file, got 2")
        );
        let many: Vec<Vec<String>> = vec![vec!["a.json".to_owned()]; 1025];
        let text = check_files(&many).unwrap_err().to_string();
        assert!(text.contains("should not exceed 1024, but got 1025"), "{text}");
    }

    #[test]
    fn options_are_read_as_they_are_named() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            options_of(pairs).map_err(|error| error.to_string())
        };
        let all = [("sep", "|"), ("nullkey", "\\N"), ("timeout", "2s"), ("auto_commit", "false"), ("x", "y")];

        let wanted =
            ImportOptions { separator: '|', null: "\\N".to_owned(), timeout_ms: Some(2000), commits: false };
        assert_eq!(read(&all), Ok(wanted));
        for bad in [("sep", "||"), ("sep", "\n"), ("timeout", "soon"), ("auto_commit", "x")] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
    }
}
