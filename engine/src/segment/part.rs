//! Rows that never change, with the deletes that hide some of them.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Error;
use super::hiding::Hiding;
use super::interim::Interim;
use super::keys::{KeyColumn, KeyOrder, KeyRef};
use super::runs::{Origin, Runs};
use super::stats::Stats;
use crate::base::{FieldId, IndexId, PartitionId, Position, Timestamp};
use crate::expr::{ColumnIndex, Filter};
use crate::index::{Block, Index, Piece};
use crate::model::{Batch, Bitset, Column, ColumnData, Keys, Schema};

/// The vectors of one field.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Whose vectors these are.
    pub field: FieldId,
    /// One vector a row; a row without a value holds zeros, or an empty one.
    pub block: Block,
    /// Which rows have a value; `None` says all of them.
    pub valid: Option<Bitset>,
}

/// The rows a reader may see.
#[derive(Clone, Debug)]
pub enum Visible {
    /// All.
    All,
    /// These.
    Some(Arc<Bitset>),
    /// None.
    None,
}

impl Visible {
    /// Whether row `row` is among them.
    #[must_use]
    pub fn contains(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(rows) => rows.contains(row),
            Self::None => false,
        }
    }
}

/// Rows in memory: a whole sealed segment, or some rows of a growing one. Rows never change; deletes and indexes come.
pub struct Part {
    rows: usize,
    /// Scalar columns.
    columns: Vec<Column>,
    vectors: Vec<Vectors>,
    primary: usize,
    order: KeyOrder,
    runs: Runs,
    /// Ascending, each once.
    partitions: Vec<PartitionId>,
    oldest: Timestamp,
    newest: Timestamp,
    /// What is known without looking; nothing for rows that are not sealed.
    stats: Option<Stats>,
    hiding: RwLock<Hiding>,
    indexes: RwLock<Vec<(FieldId, Index)>>,
    /// What answers for a field as long as it has no index of its own.
    interims: RwLock<Vec<(FieldId, Interim)>>,
    column_indexes: RwLock<ColumnIndexes>,
}

/// Indexes of scalar columns.
#[derive(Debug, Default)]
struct ColumnIndexes {
    /// Those that are there, for whoever filters.
    all: Arc<[Arc<ColumnIndex>]>,
    /// What the user calls each of them.
    ids: Vec<IndexId>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Part({} rows)", self.rows)
    }
}

impl Part {
    /// The rows of `columns` and `vectors`, which all have as many rows as `runs`; `columns` hold the primary key.
    pub(super) fn new(
        schema: &Schema,
        columns: Vec<Column>,
        vectors: Vec<Vectors>,
        runs: Runs,
        hiding: Hiding,
    ) -> Self {
        let primary = schema.primary().id;
        let primary = columns.iter().position(|column| column.field == primary).unwrap_or_default();
        let order =
            columns.get(primary).map_or(KeyOrder::AsRows, |keys| KeyOrder::new(KeyColumn::of(&keys.data)));
        let mut partitions: Vec<PartitionId> = runs.iter().map(|(_, origin)| origin.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        Self {
            rows: runs.rows(),
            oldest: runs.iter().map(|(_, origin)| origin.at).min().unwrap_or_default(),
            newest: runs.iter().map(|(_, origin)| origin.at).max().unwrap_or_default(),
            columns,
            vectors,
            primary,
            order,
            runs,
            partitions,
            stats: None,
            hiding: RwLock::new(hiding),
            indexes: RwLock::default(),
            interims: RwLock::default(),
            column_indexes: RwLock::default(),
        }
    }

    /// These rows, with what is known of them without looking.
    pub(super) fn with_stats(self, stats: Option<Stats>) -> Self {
        Self { stats, ..self }
    }

    /// The rows of one batch of whole rows; columns that it lacks hold defaults.
    ///
    /// # Errors
    /// If a vector column has no whole rows.
    pub(super) fn of_batch(schema: &Schema, rows: &Batch, origin: Origin) -> Result<Self, Error> {
        if rows.columns.iter().any(|column| column.data.len() != rows.rows) {
            return Err(Error::Ragged { what: "a column has another length" });
        }
        let mut columns = Vec::with_capacity(schema.fields.len());
        let mut vectors = Vec::new();
        for field in &schema.fields {
            match rows.column(field.id) {
                Some(column) => match Block::of_column(&column.data) {
                    Some(block) => {
                        let block = block.map_err(|source| Error::Block { source })?;
                        vectors.push(Vectors { field: field.id, block, valid: column.valid.clone() });
                    }
                    None => columns.push(column.clone()),
                },
                None if field.data_type.is_vector() => {}
                None => columns.push(Column::absent(field, rows.rows)),
            }
        }
        Ok(Self::new(schema, columns, vectors, Runs::one(rows.rows, origin), Hiding::default()))
    }

    /// The rows of `parts`, of which there is at least one, one after the other, with what hides them.
    ///
    /// # Errors
    /// If the parts have vectors of different dimensions.
    pub(super) fn join(schema: &Schema, parts: &[Arc<Self>]) -> Result<Self, Error> {
        let total = parts.iter().map(|part| part.rows).sum();
        let mut columns = Vec::with_capacity(schema.fields.len());
        let mut vectors = Vec::new();
        for field in &schema.fields {
            if field.data_type.is_vector() {
                vectors.extend(join_vectors(field.id, parts, total)?);
                continue;
            }
            let mut all = Column::empty(field);
            for part in parts {
                let absent;
                let more = match part.column(field.id) {
                    Some(column) => column,
                    None => {
                        absent = Column::absent(field, part.rows);
                        &absent
                    }
                };
                all.extend(more).map_err(|source| Error::Columns { source })?;
            }
            columns.push(all);
        }
        let mut runs = Runs::default();
        let mut hiding = Hiding::default();
        for part in parts {
            hiding.adopt(&part.hiding.read(), runs.rows(), total);
            part.runs.iter().for_each(|(rows, origin)| runs.push(rows.len(), origin));
        }
        Ok(Self::new(schema, columns, vectors, runs, hiding))
    }

    /// A copy of some rows, which exist, with what hides them.
    pub(super) fn slice(&self, schema: &Schema, range: Range<usize>) -> Self {
        let first = range.start;
        let rows: Vec<usize> = range.clone().collect();
        let columns = self.columns.iter().map(|column| column.take(&rows)).collect();
        let vectors = self.vectors.iter().filter_map(|vectors| {
            let valid = vectors.valid.as_ref();
            Some(Vectors {
                field: vectors.field,
                // Rows of a block are whole, and so are some of them.
                block: vectors.block.slice(range.clone()).ok()?,
                valid: valid.map(|valid| Bitset::from_fn(rows.len(), |row| valid.contains(first + row))),
            })
        });
        let vectors = vectors.collect();
        Self::new(schema, columns, vectors, self.runs.slice(range.clone()), self.hiding.read().slice(range))
    }

    /// How many rows there are, hidden ones included.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a scalar field; `None` for one that these rows were written without.
    #[must_use]
    pub fn column(&self, field: FieldId) -> Option<&Column> {
        self.columns.iter().find(|column| column.field == field)
    }

    /// Whether some of the vectors lie on the disk.
    pub(super) fn is_on_disk(&self) -> bool {
        let shared = |vectors: &Vectors| matches!(&vectors.block, Block::Dense(block) if block.is_shared());
        self.vectors.iter().any(shared)
    }

    /// The vectors of a field; `None` for one that these rows were written without.
    #[must_use]
    pub fn vectors(&self, field: FieldId) -> Option<&Vectors> {
        self.vectors.iter().find(|vectors| vectors.field == field)
    }

    /// The index over the vectors of a field, if there is one yet.
    #[must_use]
    pub fn index(&self, field: FieldId) -> Option<Index> {
        let indexes = self.indexes.read();
        indexes.iter().find(|(indexed, _)| *indexed == field).map(|(_, index)| index.clone())
    }

    /// Puts an index in place of what there was for the field.
    pub(super) fn set_index(&self, field: FieldId, index: Index) {
        let mut indexes = self.indexes.write();
        indexes.retain(|(indexed, _)| *indexed != field);
        indexes.push((field, index));
    }

    /// The interim index over the vectors of a field, if there is one.
    pub(super) fn interim(&self, field: FieldId) -> Option<Interim> {
        let interims = self.interims.read();
        interims.iter().find(|(indexed, _)| *indexed == field).map(|(_, interim)| interim.clone())
    }

    /// Puts an interim index in place of what there was for the field.
    pub(super) fn set_interim(&self, field: FieldId, interim: Interim) {
        let mut interims = self.interims.write();
        interims.retain(|(indexed, _)| *indexed != field);
        interims.push((field, interim));
    }

    /// The indexes of scalar columns that there are now.
    #[must_use]
    pub fn column_indexes(&self) -> Arc<[Arc<ColumnIndex>]> {
        Arc::clone(&self.column_indexes.read().all)
    }

    /// Adds the index of a scalar column; one that is there already stays.
    pub(super) fn add_column_index(&self, id: IndexId, index: ColumnIndex) {
        let mut indexes = self.column_indexes.write();
        if !indexes.ids.contains(&id) {
            indexes.ids.push(id);
            indexes.all = indexes.all.iter().cloned().chain([Arc::new(index)]).collect();
        }
    }

    /// Keeps only those indexes of scalar columns that `is_wanted`; `true` if there was another.
    pub(super) fn keep_column_indexes(&self, is_wanted: impl Fn(IndexId) -> bool) -> bool {
        let mut indexes = self.column_indexes.write();
        let kept: Vec<(IndexId, Arc<ColumnIndex>)> = indexes
            .ids
            .iter()
            .copied()
            .zip(indexes.all.iter().cloned())
            .filter(|(id, _)| is_wanted(*id))
            .collect();
        if kept.len() == indexes.ids.len() {
            return false;
        }
        indexes.ids = kept.iter().map(|(id, _)| *id).collect();
        indexes.all = kept.into_iter().map(|(_, index)| index).collect();
        true
    }

    /// The primary key of row `row`, which must exist.
    #[must_use]
    pub fn key(&self, row: usize) -> KeyRef<'_> {
        self.keys().get(row)
    }

    /// The primary keys of some rows, which must exist.
    #[must_use]
    pub fn keys_of(&self, rows: &[usize]) -> Option<Keys> {
        match &self.columns.get(self.primary)?.data {
            ColumnData::Int64(keys) => Some(Keys::Int(rows.iter().map(|&row| keys[row]).collect())),
            ColumnData::VarChar(keys) => Some(Keys::Text(rows.iter().map(|&row| keys.get(row)).collect())),
            _ => None,
        }
    }

    /// The primary keys of all rows.
    pub(crate) fn keys(&self) -> KeyColumn<'_> {
        self.columns.get(self.primary).map_or(KeyColumn::Int(&[]), |keys| KeyColumn::of(&keys.data))
    }

    /// The row at place `rank` when rows are ordered by key; rows of one key in row order. `rank` is below
    /// [`Self::rows`].
    #[must_use]
    #[inline]
    pub fn row_by_key_order(&self, rank: usize) -> usize {
        self.order.row(rank)
    }

    /// Calls `visit` with each row of `key`, visible or not.
    pub fn each_row_of(&self, key: KeyRef<'_>, visit: impl FnMut(usize)) {
        if self.may_have(key) {
            self.order.each_row(self.keys(), key, visit);
        }
    }

    fn may_have(&self, key: KeyRef<'_>) -> bool {
        self.stats.as_ref().is_none_or(|stats| stats.may_have(key))
    }

    /// Whether `filter` may hold for some of the rows; a `false` is certain, and found without looking at them.
    #[must_use]
    pub fn may_match(&self, filter: &Filter) -> bool {
        self.stats.as_ref().is_none_or(|stats| filter.may_hold(&|field| stats.zone(field)))
    }

    /// When row `row`, which must exist, was written.
    #[must_use]
    pub fn time(&self, row: usize) -> Timestamp {
        self.runs.origin(row).at
    }

    /// Time of the oldest and of the newest row.
    #[must_use]
    pub const fn time_span(&self) -> (Timestamp, Timestamp) {
        (self.oldest, self.newest)
    }

    /// Whether all rows were written from `from` to `to`.
    #[must_use]
    pub fn is_within(&self, from: Timestamp, to: Timestamp) -> bool {
        self.oldest >= from && self.newest <= to
    }

    /// The partitions that its rows are of, ascending.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionId] {
        &self.partitions
    }

    /// When rows were written, asked one after the other: quick where one is near the one before.
    pub(crate) fn times(&self) -> Times<'_> {
        Times { runs: &self.runs, run: 0 }
    }

    /// The rows that a reader at `read_at`, for whom those from before `expired_before` have expired, sees in `partitions`;
    /// `None` means in all of them.
    #[must_use]
    pub fn visible(
        &self,
        partitions: Option<&[PartitionId]>,
        expired_before: Timestamp,
        read_at: Timestamp,
    ) -> Visible {
        let is_wanted = |partition: &PartitionId| partitions.is_none_or(|wanted| wanted.contains(partition));
        // Without a look at single rows, wherever all of them are in time or none is.
        let is_past = self.newest < expired_before || self.oldest > read_at;
        if self.rows == 0 || is_past || !self.partitions.iter().any(is_wanted) {
            return Visible::None;
        }
        let live = self.hiding.read().live_at(read_at);
        if self.is_within(expired_before, read_at) && self.partitions.iter().all(is_wanted) {
            return live.map_or(Visible::All, Visible::Some);
        }
        let mut seen = Bitset::none(self.rows);
        for (rows, origin) in self.runs.iter() {
            if (expired_before..=read_at).contains(&origin.at) && is_wanted(&origin.partition) {
                seen.insert_range(rows);
            }
        }
        if let Some(live) = live {
            seen.intersect(&live);
        }
        Visible::Some(Arc::new(seen))
    }

    /// The rows from `from` on that no delete hides that is not newer than `until`: what readers at `until` and later may see.
    pub(super) fn unhidden(&self, from: Timestamp, until: Timestamp) -> Visible {
        if self.rows == 0 || self.newest < from {
            return Visible::None;
        }
        let live = self.hiding.read().live_at(until);
        if self.oldest >= from {
            return live.map_or(Visible::All, Visible::Some);
        }
        let mut kept = Bitset::none(self.rows);
        for (rows, _) in self.runs.iter().filter(|(_, origin)| origin.at >= from) {
            kept.insert_range(rows);
        }
        if let Some(live) = live {
            kept.intersect(&live);
        }
        Visible::Some(Arc::new(kept))
    }

    /// Hides the rows of the keys, each from its time on, in its partition or in all: `deletes` gives keys with times.
    pub(super) fn hide<'a>(
        &self,
        deletes: impl Iterator<Item = (KeyRef<'a>, Timestamp, Option<PartitionId>)>,
    ) {
        let keys = self.keys();
        let mut found: Vec<(usize, Timestamp)> = Vec::new();
        for (key, at, partition) in deletes {
            if at <= self.oldest || partition.is_some_and(|partition| !self.partitions.contains(&partition)) {
                continue;
            }
            if !self.may_have(key) {
                continue;
            }
            self.order.each_row(keys, key, |row| {
                let origin = self.runs.origin(row);
                if origin.at < at && partition.is_none_or(|partition| partition == origin.partition) {
                    found.push((row, at));
                }
            });
        }
        if !found.is_empty() {
            let mut hiding = self.hiding.write();
            found.iter().for_each(|&(row, at)| hiding.hide(self.rows, row, at));
        }
    }

    /// The first row that came in the record at `position` or a later one; the number of rows if there is none.
    pub(super) fn first_from(&self, position: Position) -> usize {
        self.runs.first_from(position)
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let columns = self
            .columns
            .iter()
            .map(|column| column.data.memory_bytes() + column.valid.as_ref().map_or(0, |set| set.len() / 8));
        let vectors = self.vectors.iter().map(|vectors| vectors.block.memory_bytes());
        columns.sum::<usize>()
            + vectors.sum::<usize>()
            + self.indexes.read().iter().map(|(_, index)| index.memory_bytes()).sum::<usize>()
            + self.interims.read().iter().map(|(_, interim)| interim.memory_bytes()).sum::<usize>()
            + self.column_indexes().iter().map(|index| index.memory_bytes()).sum::<usize>()
            + self.stats.as_ref().map_or(0, Stats::memory_bytes)
            + self.order.memory_bytes()
            + self.runs.memory_bytes()
            + self.hiding.read().memory_bytes()
    }
}

/// Times of some rows of a [`Part`], in any order.
pub(crate) struct Times<'a> {
    runs: &'a Runs,
    /// The run of the row before.
    run: usize,
}

impl Times<'_> {
    /// When row `row`, which must exist, was written.
    pub(crate) fn of(&mut self, row: usize) -> Timestamp {
        self.run = self.runs.run_near(self.run, row);
        self.runs.origin_of_run(self.run).at
    }
}

impl crate::expr::Rows for Part {
    fn len(&self) -> usize {
        self.rows
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        Self::column(self, field)
    }
}

/// The vectors of `field` in all parts; `None` if no part has any.
fn join_vectors(field: FieldId, parts: &[Arc<Part>], total: usize) -> Result<Option<Vectors>, Error> {
    let pieces: Vec<Piece<'_>> = parts
        .iter()
        .map(|part| part.vectors(field).map_or(Piece::None(part.rows), |vectors| Piece::Of(&vectors.block)))
        .collect();
    let Some(block) = Block::joined(&pieces).map_err(|source| Error::Block { source })? else {
        return Ok(None);
    };
    let is_whole =
        parts.iter().all(|part| part.vectors(field).is_some_and(|vectors| vectors.valid.is_none()));
    let valid = (!is_whole).then(|| {
        let mut valid = Bitset::none(total);
        let mut start = 0;
        for part in parts {
            match part.vectors(field) {
                Some(Vectors { valid: None, .. }) => valid.insert_range(start..start + part.rows),
                Some(Vectors { valid: Some(some), .. }) => {
                    some.iter().for_each(|row| valid.insert(start + row))
                }
                None => {}
            }
            start += part.rows;
        }
        valid
    });
    Ok(Some(Vectors { field, block, valid }))
}
