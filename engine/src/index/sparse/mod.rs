//! Sparse vectors: their block, exact search over it, and the index types `SPARSE_INVERTED_INDEX` and `SPARSE_WAND`.
//!
//! The score is the inner product, or what [`Saturation`] makes of it for texts. Components are not negative, here and in queries, so a row has a score only where it has
//! an index in common with the query: rows without are never found, as in Milvus. A score is always the same sum, over the
//! query's indices in ascending order, whichever way a row was found.

mod inverted;
mod prune;
mod scoring;
#[cfg(test)]
mod tests;
mod windows;

use std::sync::{Arc, OnceLock};

use inverted::Postings;
pub use scoring::Saturation;
use scoring::{Lengths, Scoring};
use windows::Windows;

use super::artifact::{self, Head};
use super::top::{Near, Top, distance_of};
use super::{Error, Hit, IndexSpec, IndexType, Range, SearchParams};
use crate::model::{Bitset, DataType, Metric, SparseRow, SparseRows};

/// Terms of a query from which on every score is added up: what pruning does for a row grows with them, and spares little then.
const PRUNED_TERMS: usize = 64;
/// Without the smallest components of a query, so many times more rows are found and compared by the whole query.
const REFINED: usize = 10;

/// How an inverted index is searched; every way gives the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Row by row, leaving out lists that alone cannot lift a row among the nearest.
    MaxScore,
    /// Row by row, skipping to the first row that may be among the nearest.
    Wand,
    /// List by list, without leaving out anything.
    Naive,
    /// Window of rows by window, in each list by list.
    Sindi,
}

impl Algorithm {
    /// All of them.
    const ALL: [Self; 4] = [Self::MaxScore, Self::Wand, Self::Naive, Self::Sindi];

    /// The one that answers for a name of Milvus's. Those that know of blocks of lists find what the ones without find.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "BLOCK_MAX_MAXSCORE" => Some(Self::MaxScore),
            "BLOCK_MAX_WAND" => Some(Self::Wand),
            _ => Self::ALL.into_iter().find(|known| known.name() == name),
        }
    }

    /// As it is stored.
    const fn code(self) -> u8 {
        match self {
            // Windows are cut out of whole lists, which a version without windows searches so.
            Self::MaxScore | Self::Sindi => 0,
            Self::Wand => 1,
            Self::Naive => 2,
        }
    }

    /// Milvus's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxScore => "DAAT_MAXSCORE",
            Self::Wand => "DAAT_WAND",
            Self::Naive => "TAAT_NAIVE",
            Self::Sindi => "SINDI",
        }
    }
}

/// An immutable list of sparse rows.
#[derive(Debug)]
pub struct SparseBlock {
    rows: SparseRows,
    /// Of the rows, as texts; computed when first needed.
    lengths: OnceLock<Lengths>,
}

impl SparseBlock {
    /// A block of `rows`.
    ///
    /// # Errors
    /// [`Error::TooManyRows`].
    pub fn new(rows: SparseRows) -> Result<Arc<Self>, Error> {
        if rows.len() > i32::MAX as usize {
            return Err(Error::TooManyRows { rows: rows.len() });
        }
        Ok(Arc::new(Self { rows, lengths: OnceLock::new() }))
    }

    /// The rows.
    #[must_use]
    pub const fn values(&self) -> &SparseRows {
        &self.rows
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many pairs of index and value there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.rows.parts().0.len()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.lengths.get().map_or(0, Lengths::memory_bytes)
    }

    fn lengths(&self) -> &Lengths {
        self.lengths.get_or_init(|| Lengths::of(&self.rows))
    }

    /// The words of all rows together, if they are counts of words.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.lengths().total
    }

    /// How many rows have each of `indices`.
    #[must_use]
    pub fn having(&self, indices: &[u32]) -> Vec<u64> {
        let mut having = vec![0; indices.len()];
        for row in self.rows.iter() {
            for (index, count) in indices.iter().zip(&mut having) {
                *count += u64::from(row.indices.binary_search(index).is_ok());
            }
        }
        having
    }

    /// How components count.
    fn scoring(&self, saturation: Option<Saturation>) -> Scoring<'_> {
        match saturation {
            None => Scoring::Product,
            Some(by) => Scoring::Saturated { by, lengths: self.lengths() },
        }
    }

    /// The `k` allowed rows of the greatest score, greatest first, equal scores by ascending row; none without a score.
    #[must_use]
    pub fn search(
        &self,
        query: SparseRow<'_>,
        k: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Vec<Hit> {
        let mut top = Top::new(k, self.rows());
        self.each_score(query, saturation, allowed, |row, score| top.offer(near(score, row)));
        hits(top)
    }

    /// Up to `limit` allowed rows whose score is in `range`, greatest first, equal scores by ascending row.
    #[must_use]
    pub fn range_search(
        &self,
        query: SparseRow<'_>,
        range: &Range,
        limit: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Vec<Hit> {
        let mut top = Top::new(limit, self.rows());
        self.each_score(query, saturation, allowed, |row, score| {
            if range.contains(Metric::Ip, score) {
                top.offer(near(score, row));
            }
        });
        hits(top)
    }

    /// Compares the allowed rows one by one.
    fn each_score(
        &self,
        query: SparseRow<'_>,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
        mut visit: impl FnMut(u32, f32),
    ) {
        let scoring = self.scoring(saturation);
        let compare = |row: usize| {
            let score = score(query, self.rows.get(row), row as u32, scoring);
            if score > 0.0 {
                visit(row as u32, score);
            }
        };
        match allowed {
            None => (0..self.rows()).for_each(compare),
            Some(allowed) => {
                allowed.iter().take_while(|row| *row < self.rows()).for_each(compare);
            }
        }
    }
}

fn near(score: f32, row: u32) -> Near {
    Near::new(distance_of(Metric::Ip, score), row)
}

fn hits(top: Top) -> Vec<Hit> {
    top.into_sorted().into_iter().map(|near| near.hit(Metric::Ip)).collect()
}

/// What row `row`, which is `right`, gains by each index of a query, summed by ascending index.
fn score(left: SparseRow<'_>, right: SparseRow<'_>, row: u32, scoring: Scoring<'_>) -> f32 {
    let (mut sum, mut at) = (0.0, 0);
    for (index, value) in left.iter() {
        at += seek(&right.indices[at..], index);
        match right.indices.get(at) {
            None => break,
            Some(&found) if found == index => sum += value * scoring.part(row, right.values[at]),
            Some(_) => {}
        }
    }
    sum
}

/// How many of `sorted` are below `bound`: looks in steps that double, since it is mostly near.
fn seek(sorted: &[u32], bound: u32) -> usize {
    let (mut low, mut step) = (0, 1);
    while low + step <= sorted.len() && sorted[low + step - 1] < bound {
        low += step;
        step *= 2;
    }
    let end = sorted.len().min(low + step);
    low + sorted[low..end].partition_point(|&index| index < bound)
}

/// The lists of an index, laid out as they are read.
#[derive(Debug)]
enum Lists {
    /// Each over all rows.
    Whole(Postings),
    /// Each cut into windows of rows.
    Windows(Windows),
}

/// The index types of sparse vectors.
#[derive(Debug)]
pub struct SparseIndex {
    index_type: IndexType,
    metric: Metric,
    algorithm: Algorithm,
    block: Arc<SparseBlock>,
    lists: Lists,
}

impl SparseIndex {
    /// Builds what `spec` asks for over `block`.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `stop` said so.
    pub(super) fn build(
        spec: &IndexSpec,
        block: Arc<SparseBlock>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let head = Head { index_type: spec.index_type, metric: spec.metric };
        Self::over(block, head, spec.algorithm, spec.window, stop)
    }

    /// Turns the rows of `block` around; windows, if the algorithm has them, of `window` rows.
    fn over(
        block: Arc<SparseBlock>,
        head: Head,
        algorithm: Algorithm,
        window: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let lists = match algorithm {
            Algorithm::Sindi => Lists::Windows(Windows::of(&block.rows, window, stop)?),
            Algorithm::MaxScore | Algorithm::Wand | Algorithm::Naive => {
                Lists::Whole(Postings::of(&block.rows, 0..block.rows(), stop)?)
            }
        };
        Ok(Self { index_type: head.index_type, metric: head.metric, algorithm, block, lists })
    }

    /// Brings back an index from what [`Self::encode`] gave; in windows if `wanted` asks for them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `bytes` are not such, or were written for a block of another shape.
    pub(super) fn decode(
        bytes: &[u8],
        block: Arc<SparseBlock>,
        wanted: Option<&IndexSpec>,
    ) -> Result<Self, Error> {
        let (head, body) = artifact::open(bytes, (0, block.rows()))?;
        let stored = |known: &Algorithm| *body == [known.code()] && *known != Algorithm::Sindi;
        let algorithm = Algorithm::ALL.into_iter().find(stored);
        let algorithm = algorithm.ok_or(Error::Corrupt { what: "the way to search it is unknown" })?;
        let is_sparse = matches!(head.index_type, IndexType::SparseInverted | IndexType::SparseWand);
        if !is_sparse || !head.metric.suits(DataType::SparseFloatVector) {
            return Err(Error::Corrupt { what: "it is no index of sparse vectors" });
        }
        let windows = wanted.filter(|spec| spec.algorithm == Algorithm::Sindi);
        let (algorithm, window) = windows.map_or((algorithm, 0), |spec| (spec.algorithm, spec.window));
        Self::over(block, head, algorithm, window, &|| false)
    }

    /// What to search in which way. The lists follow from the block in one pass that is shorter than reading them, and windows
    /// from the definition of the index, so a version that knows no windows reads the same bytes and finds the same rows.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = Head { index_type: self.index_type, metric: self.metric };
        artifact::seal(head, (0, self.block.rows()), &[self.algorithm.code()])
    }

    /// The type that was built.
    #[must_use]
    pub const fn index_type(&self) -> IndexType {
        self.index_type
    }

    /// The metric that was built for.
    #[must_use]
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// How many rows have each of `indices`.
    #[must_use]
    pub fn having(&self, indices: &[u32]) -> Vec<u64> {
        indices.iter().map(|index| self.rows_having(*index) as u64).collect()
    }

    fn rows_having(&self, index: u32) -> usize {
        match &self.lists {
            Lists::Whole(postings) => postings.having(index),
            Lists::Windows(windows) => windows.having(index),
        }
    }

    /// Bytes of memory held besides the block.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.lists {
            Lists::Whole(postings) => postings.memory_bytes(),
            Lists::Windows(windows) => windows.memory_bytes(),
        }
    }

    /// The `k` allowed rows of the greatest score, greatest first, equal scores by ascending row; none without a score.
    /// With a share of the query's smallest components left out, rows that these alone lift among the `k` may be missed.
    #[must_use]
    pub fn search(
        &self,
        query: SparseRow<'_>,
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Vec<Hit> {
        let share = params.drop_ratio.unwrap_or(0.0);
        let dropped = (query.values.len() as f64 * f64::from(share)) as usize;
        if dropped == 0 {
            return self.nearest(query, k, params.saturation, allowed);
        }
        let shorter = without_smallest(query, dropped);
        let saturation = params.saturation;
        let scoring = self.block.scoring(saturation);
        let found = self.nearest(shorter.get(0), k.saturating_mul(REFINED), saturation, allowed);
        let mut top = Top::new(k, found.len());
        for hit in found {
            top.offer(near(score(query, self.block.rows.get(hit.row as usize), hit.row, scoring), hit.row));
        }
        hits(top)
    }

    fn nearest(
        &self,
        query: SparseRow<'_>,
        k: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Vec<Hit> {
        if k == 0 {
            return Vec::new();
        }
        if allowed.is_some_and(|allowed| self.is_cheaper_by_row(allowed, query)) {
            return self.block.search(query, k, saturation, allowed);
        }
        let scoring = self.block.scoring(saturation);
        let mut top = Top::new(k, self.block.rows());
        match &self.lists {
            Lists::Windows(windows) => windows.nearest(query, scoring, allowed, &mut top),
            Lists::Whole(postings) => {
                let terms = postings.terms(query, scoring);
                let is_pruned = terms.len() <= PRUNED_TERMS;
                match self.algorithm {
                    Algorithm::MaxScore if is_pruned => prune::max_score(&terms, scoring, allowed, &mut top),
                    Algorithm::Wand if is_pruned => prune::wand(&terms, scoring, allowed, &mut top),
                    _ => self.each_score(&terms, scoring, allowed, |row, score| top.offer(near(score, row))),
                }
            }
        }
        hits(top)
    }

    /// Whether so few rows are allowed that comparing them one by one reads less than the lists of the query.
    fn is_cheaper_by_row(&self, allowed: &Bitset, query: SparseRow<'_>) -> bool {
        let (pairs, rows, count) = (self.block.pairs(), self.block.rows(), allowed.count());
        let by_rows = |terms: usize| count.saturating_mul(pairs / rows.max(1) + terms);
        // No lists are longer together; to count them, every window is asked for every index.
        if by_rows(0) >= pairs.min(rows.saturating_mul(query.indices.len())) {
            return false;
        }
        let (mut listed, mut terms) = (0, 0);
        for having in query.indices.iter().map(|index| self.rows_having(*index)).filter(|having| *having > 0)
        {
            listed += having;
            terms += 1;
        }
        by_rows(terms) < listed
    }

    /// Up to `limit` allowed rows whose score is in `range`, greatest first, equal scores by ascending row.
    #[must_use]
    pub fn range_search(
        &self,
        query: SparseRow<'_>,
        range: &Range,
        limit: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Vec<Hit> {
        let mut top = Top::new(limit, self.block.rows());
        let scoring = self.block.scoring(saturation);
        let visit = |row, score| {
            if range.contains(Metric::Ip, score) {
                top.offer(near(score, row));
            }
        };
        match &self.lists {
            Lists::Whole(postings) => {
                self.each_score(&postings.terms(query, scoring), scoring, allowed, visit);
            }
            Lists::Windows(windows) => windows.each_score(query, scoring, allowed, visit),
        }
        hits(top)
    }

    /// Adds up the lists one after the other.
    fn each_score(
        &self,
        terms: &[inverted::Term<'_>],
        scoring: Scoring<'_>,
        allowed: Option<&Bitset>,
        mut visit: impl FnMut(u32, f32),
    ) {
        if terms.is_empty() {
            return;
        }
        let mut scores = vec![0.0; self.block.rows()];
        for term in terms {
            for (&row, &value) in term.rows.iter().zip(term.values) {
                scores[row as usize] += term.weight * scoring.part(row, value);
            }
        }
        for (row, &score) in (0..).zip(&scores) {
            if score > 0.0 && allowed.is_none_or(|allowed| allowed.contains(row as usize)) {
                visit(row, score);
            }
        }
    }
}

/// `query` without its `dropped` smallest components; of equal ones the last go first.
fn without_smallest(query: SparseRow<'_>, dropped: usize) -> SparseRows {
    let mut order: Vec<usize> = (0..query.values.len()).collect();
    order.sort_by(|&left, &right| query.values[right].total_cmp(&query.values[left]).then(left.cmp(&right)));
    order.truncate(order.len().saturating_sub(dropped));
    order.sort_unstable();
    let indices: Vec<u32> = order.iter().map(|&at| query.indices[at]).collect();
    let values: Vec<f32> = order.iter().map(|&at| query.values[at]).collect();
    [SparseRow { indices: &indices, values: &values }].into_iter().collect()
}
