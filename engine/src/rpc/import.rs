//! Rows that come from files: what is asked for, how far it is, and the steps it is done in.

use super::CollectionInfo;
use crate::base::{CollectionId, PartitionId, SegmentId};
use crate::model::SegmentManifest;

/// How an import is to be done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportOptions {
    /// What stands between the values of a CSV file.
    pub separator: char,
    /// The text of a CSV file that stands for no value.
    pub null: String,
    /// After so long it fails, unless a client has heard by then that its rows will come. Unit: milliseconds.
    pub timeout_ms: Option<u64>,
    /// Whether its rows are seen as soon as all are there; else once somebody says so.
    pub commits: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { separator: ',', null: String::new(), timeout_ms: None, commits: true }
    }
}

/// An import to begin.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewImport {
    /// Where the rows go.
    pub collection: CollectionId,
    /// Which partition they go to; `None` where a partition key says it.
    pub partition: Option<PartitionId>,
    /// Paths of files; those of one list are one set of rows.
    pub files: Vec<Vec<String>>,
    /// How.
    pub options: ImportOptions,
    /// What its client calls the call, as a number of its user's; empty if it does not. The same import under the same name within
    /// ten minutes is the one that was begun.
    #[serde(default)]
    pub named: String,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ImportState {
    /// Its files were not looked at yet.
    Pending,
    /// Files are being read.
    Importing,
    /// All rows are there, and wait to be committed or given up.
    Uncommitted,
    /// All rows are in the collection.
    Completed,
    /// No row is in the collection, nor will be.
    Failed,
}

impl ImportState {
    /// Whether nothing will happen to it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Milvus's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Importing => "Importing",
            Self::Uncommitted => "Uncommitted",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// A place in a set of files, before a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportPlace {
    /// Rows before it.
    pub row: u64,
    /// Where that row begins, in files that are texts. Unit: bytes.
    pub byte: u64,
}

/// A set of files, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportTask {
    /// Paths of the files; of folders, those that were in them when they were looked at.
    pub files: Vec<String>,
    /// Their size together; 0 before they were looked at. Unit: bytes.
    pub bytes: u64,
    /// How much of that is done. Unit: bytes.
    pub read: u64,
    /// Rows that are stored.
    pub rows: u64,
    /// All its rows, where files say so at once.
    pub total: u64,
    /// Where to go on; `None` before the files were looked at.
    pub next: Option<ImportPlace>,
    /// When the last row was stored; 0 before that. Unit: milliseconds since 1970.
    pub ended_unix_ms: u64,
}

impl ImportTask {
    /// Whether all its rows are stored.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.ended_unix_ms != 0
    }
}

/// An import, as of one instant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportInfo {
    /// Its number.
    pub id: i64,
    /// Where the rows go.
    pub collection: CollectionId,
    /// That collection's name when the import began.
    pub collection_name: String,
    /// The name of that collection's database.
    pub database: String,
    /// Which partition they go to; `None` where a partition key says it.
    pub partition: Option<PartitionId>,
    /// That partition's name.
    pub partition_name: String,
    /// How.
    pub options: ImportOptions,
    /// Whether somebody has said that its rows may be seen.
    pub may_commit: bool,
    /// How far it is.
    pub state: ImportState,
    /// Why it failed.
    pub reason: String,
    /// Its files.
    pub tasks: Vec<ImportTask>,
    /// When it began. Unit: milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it was over; 0 before that. Unit: milliseconds since 1970.
    pub ended_unix_ms: u64,
}

impl ImportInfo {
    /// Whether a client has heard that its rows, which waited for its word, will be in the collection: nothing but the loss of what they
    /// are for may keep them from there.
    #[must_use]
    pub const fn is_promised(&self) -> bool {
        self.may_commit && !self.options.commits
    }

    /// Milvus's name of how far it is: rows that wait for nobody any more, and are not in the collection yet, have one of their own.
    #[must_use]
    pub const fn shown_state(&self) -> &'static str {
        match self.state {
            ImportState::Uncommitted if self.may_commit => "Committing",
            state => state.name(),
        }
    }

    /// Rows that are stored.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tasks.iter().map(|task| task.rows).sum()
    }

    /// How much of it is done: 100 only once it is over and has not failed.
    #[must_use]
    pub fn percent(&self) -> u8 {
        match self.state {
            ImportState::Completed => return 100,
            ImportState::Uncommitted => return 99,
            ImportState::Pending | ImportState::Importing | ImportState::Failed => {}
        }
        let tasks = self.tasks.len().max(1) as u64;
        let each = self.tasks.iter().map(|task| {
            let part =
                if task.is_done() { 1000 } else { task.read.min(task.bytes) * 1000 / task.bytes.max(1) };
            part / tasks
        });
        // The rest is the commit.
        u8::try_from(each.sum::<u64>() * 98 / 1000).unwrap_or(98)
    }
}

/// Some rows of a set of files, to be made segments.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ImportJob {
    /// Where the rows go.
    pub collection: CollectionInfo,
    /// Which partition they go to; `None` where a partition key says it.
    pub partition: Option<PartitionId>,
    /// The files.
    pub files: Vec<String>,
    /// How.
    pub options: ImportOptions,
    /// The first row; `None` to look at the files only.
    pub from: Option<ImportPlace>,
    /// Fresh id of the first segment; as many after it as `segments` says are fresh, too.
    pub first_segment: SegmentId,
    /// Most segments that may be made.
    pub segments: u32,
    /// The first of fresh keys, as many as `keys` says.
    pub first_key: i64,
    /// Most keys that may be given to rows that bring none.
    pub keys: u32,
}

/// What became of an [`ImportJob`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportDone {
    /// New segments, each with the place of its channel among the collection's. Their rows have no time yet.
    pub segments: Vec<(u32, SegmentManifest)>,
    /// Rows in them.
    pub rows: u64,
    /// The files, folders taken apart.
    pub files: Vec<String>,
    /// The size of all files. Unit: bytes.
    pub bytes: u64,
    /// How much of that lies before `next`. Unit: bytes.
    pub read: u64,
    /// All rows, where files say so at once.
    pub total: u64,
    /// Where to go on; `None` if there are no more rows.
    pub next: Option<ImportPlace>,
}

/// What the files of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// A list of rows, or an object with one.
    Json,
    /// Rows one after the other.
    JsonLines,
    /// A line of names, then lines of values.
    Csv,
    /// Columns in Parquet.
    Parquet,
    /// A file of NumPy for each field.
    Numpy,
}

impl ImportFormat {
    /// The format of a set of files, by their names.
    ///
    /// # Errors
    /// Milvus's words for files of no known format, of several, or too many of one.
    pub fn of(files: &[String]) -> Result<Self, String> {
        let of = |file: &String| {
            let name = file.rsplit_once('/').map_or(file.as_str(), |(_, name)| name);
            match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
                "json" => Some(Self::Json),
                "jsonl" | "ndjson" => Some(Self::JsonLines),
                "csv" => Some(Self::Csv),
                "parquet" => Some(Self::Parquet),
                "npy" => Some(Self::Numpy),
                _ => None,
            }
        };
        if files.is_empty() {
            return Err("no file to import".to_owned());
        }
        let format = files.first().and_then(of);
        let format = format.filter(|first| files.iter().all(|file| of(file) == Some(*first)));
        let format = format.ok_or_else(|| {
            let shown: Vec<&str> = files.iter().take(8).map(String::as_str).collect();
            format!("unexpected file type, files=[{}]", shown.join(" "))
        })?;
        if format != Self::Numpy && files.len() > 1 {
            return Err(format!("for {} import, accepts only one file, got {}", format.name(), files.len()));
        }
        Ok(format)
    }

    /// Milvus's name of the format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json | Self::JsonLines => "JSON",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
            Self::Numpy => "Numpy",
        }
    }
}
