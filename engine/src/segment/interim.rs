//! Indexes over rows that are not sealed yet: quick to build, kept in memory alone, gone with their part.
//!
//! An index of a user's type would be built for rows that are sealed and indexed for good minutes later. So a part that no
//! append changes any more gets an inverted file, whose build reads the vectors a few times, and a user who asked for an
//! exact index gets byte codes, which answer exactly. Sparse rows get an inverted index, exact as well; bits need none.

use super::Error;
use super::part::Part;
use crate::base::FieldId;
use crate::index::{Algorithm, Block, Index, IndexSpec, IndexType, SearchParams};
use crate::model::{Bitset, IndexDefinition, Metric};

/// A search for many rows reads at least so many for each.
const ROWS_PER_HIT: usize = 8;

/// How interim indexes are built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterimSettings {
    /// Lists of an inverted file.
    pub lists: usize,
    /// Lists that a search reads.
    pub probed: usize,
}

impl Default for InterimSettings {
    fn default() -> Self {
        Self { lists: 128, probed: 16 }
    }
}

/// An interim index that is to be built over one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterimSpec {
    field: FieldId,
    metric: Metric,
    /// Whether every answer has to be exact.
    is_exact: bool,
    settings: InterimSettings,
}

impl InterimSpec {
    /// What stands in for the index of `definition`; `None` for one that has no metric.
    #[must_use]
    pub fn of(definition: &IndexDefinition, settings: InterimSettings) -> Option<Self> {
        let is_exact = definition.index_type == IndexType::Flat.name();
        Some(Self { field: definition.field, metric: definition.metric?, is_exact, settings })
    }
}

/// A built interim index, and how it is searched.
#[derive(Clone)]
pub(super) struct Interim {
    pub(super) index: Index,
    /// Rows of the part.
    rows: usize,
    lists: usize,
    /// Lists to read.
    probed: usize,
}

impl Interim {
    /// `params` of a search of `k` rows, with what this index is asked instead of what its user named for another one.
    /// Lists that hold about [`ROWS_PER_HIT`] times `k` rows are read, if that is more than usual.
    pub(super) fn adapt(&self, params: SearchParams, k: usize) -> SearchParams {
        let rows = self.rows.max(1);
        let enough = k.saturating_mul(ROWS_PER_HIT).saturating_mul(self.lists).div_ceil(rows);
        let nprobe = Some(self.probed.max(enough));
        let SearchParams { range, drop_ratio, saturation, .. } = params;
        SearchParams { nprobe, range, drop_ratio, saturation, ..SearchParams::default() }
    }

    /// `params` with so many more lists as there are fewer rows to choose from: about as many allowed rows are compared as
    /// without a filter, and all of them if they are few.
    pub(super) fn widen(&self, params: &SearchParams, allowed: Option<&Bitset>) -> SearchParams {
        let rows = self.rows;
        let survivors = allowed.map_or(rows, |allowed| allowed.count().min(rows)).max(1);
        let wider = |lists: usize| lists.saturating_mul(rows).div_ceil(survivors);
        SearchParams { nprobe: params.nprobe.map(wider), ..params.clone() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }
}

impl Part {
    /// Whether `spec` asks for an interim index that these rows lack.
    #[must_use]
    pub fn lacks_interim(&self, spec: &InterimSpec) -> bool {
        // Bits are compared as quickly as any list of them is read.
        self.vectors(spec.field).is_some_and(|vectors| !matches!(vectors.block, Block::Bits(_)))
            && self.index(spec.field).is_none()
            && self.interim(spec.field).is_none_or(|known| known.index.metric() != spec.metric)
    }

    /// What [`Self::build_interim`] is taken to need in memory. Unit: bytes.
    #[must_use]
    pub fn interim_bytes(&self, spec: &InterimSpec) -> u64 {
        self.vectors(spec.field).map_or(0, |vectors| {
            let (rows, dim) = (vectors.block.rows(), vectors.block.dim());
            match &vectors.block {
                // Every pair once more, and where the list of each index is.
                Block::Sparse(block) => (block.pairs() * 32) as u64,
                // A byte for each component, and as much again as a row's place and the centres take.
                _ => (rows * (dim.next_multiple_of(64) + 16) + spec.settings.lists * dim * 4) as u64,
            }
        })
    }

    /// Builds what `spec` asks for and searches with it from now on. CPU work, on this thread; ends early once `stop`
    /// says so.
    ///
    /// # Errors
    /// [`Error::Interim`] if it was stopped or the vectors cannot be indexed; they are compared one by one then.
    pub fn build_interim(&self, spec: &InterimSpec, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), Error> {
        let Some(vectors) = self.vectors(spec.field) else { return Ok(()) };
        let InterimSettings { lists, probed } = spec.settings;
        let rows = vectors.block.rows();
        let wanted = if let Block::Sparse(_) = vectors.block {
            let index_type = IndexType::SparseInverted;
            IndexSpec { index_type, algorithm: Algorithm::MaxScore, ..IndexSpec::flat(spec.metric) }
        } else if spec.is_exact {
            IndexSpec::flat(spec.metric)
        } else {
            IndexSpec::ivf_flat(spec.metric, lists)
        };
        let built = Index::build(&wanted, &vectors.block, 1, stop);
        let index = built.map_err(|source| Error::Interim { field: spec.field, source })?;
        self.set_interim(spec.field, Interim { index, rows, lists, probed });
        Ok(())
    }
}
