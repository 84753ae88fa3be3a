//! The index type `IVF_FLAT`: rows in lists around centres; a search reads the lists whose centres are nearest.
//!
//! Also `IVF_SQ8`, `IVF_RABITQ` and `SCANN`, which have byte codes of their rows, as `IVF_FLAT` has, and `IVF_PQ`, which has
//! codes of half a byte a component, whatever `m` asks for. Vectors may lie on the disk: only those are looked at that
//! codes cannot rule out.
//!
//! Which rows are compared follows from `nlist` and `nprobe` alone, as in Milvus. Within those rows the answer is exact:
//! byte codes only spare reading vectors that cannot be among the nearest. Half bytes do not bound distances: of the rows
//! that are nearest by them, twice as many as asked for and [`REFINE_EXTRA`] are compared by their vectors.

use std::sync::Arc;

use super::artifact::{self, Head, Reader};
use super::codes::Codes;
use super::exact::Exact;
use super::flat::Run;
use super::grid::NarrowQuery;
use super::kmeans::{self, Vectors, Work};
use super::members::Members;
use super::nibbles::Nibbles;
use super::space::Space as _;
use super::top::Near;
use super::{Error, Hit, IndexSpec, IndexType, SearchParams, VectorBlock, VectorIndex};
use crate::base::SeededRng;
use crate::model::memory::WHOLE_BYTES_DIM;
use crate::model::{Bitset, Metric};

/// Vectors per list that the centres are computed from.
const SAMPLE_PER_LIST: usize = 64;

/// Full vectors compared after half bytes: so many for each hit that is wanted, and so many more.
const REFINED: (usize, usize) = (2, 22);

/// The same where half bytes do not lead as well as vectors do, as of rows in groups that are closer together than the levels.
const REFINED_BLINDLY: (usize, usize) = (10, 200);

/// What rows are compared by first.
enum ListCodes {
    Bytes(Codes),
    /// With how many are compared again.
    Halves(Nibbles, (usize, usize)),
}

impl ListCodes {
    /// The codes of an index of `index_type`, if its vectors are long enough for them to pay.
    /// `IVF_PQ` has half bytes whether they lead as well as bytes or not: who names it wants less memory, and is answered from more rows.
    fn of(index_type: IndexType, block: &VectorBlock, metric: Metric) -> Option<Self> {
        if index_type == IndexType::IvfPq && block.dim() > WHOLE_BYTES_DIM {
            let codes = Nibbles::new(block, metric);
            let refined = if block.rows() > 0 && codes.lead(block) { REFINED } else { REFINED_BLINDLY };
            return Some(Self::Halves(codes, refined));
        }
        Codes::if_they_pay(block, metric).map(Self::Bytes)
    }

    /// The nearest `k` of `rows`, and more, nearest first.
    fn nearest(&self, query: &[f32], exact: &Exact<'_>, k: usize, rows: &[u32]) -> Vec<Near> {
        match self {
            Self::Bytes(codes) => codes.nearest_in(query, exact, k, |visit| {
                rows.chunks(512).for_each(|rows| visit(Run::Some(rows)));
            }),
            Self::Halves(codes, (times, more)) => {
                let refined = k.saturating_mul(*times).saturating_add(*more);
                if rows.len() <= refined {
                    return exact.rank(rows);
                }
                let (mut prepared, mut distances) = (NarrowQuery::default(), Vec::new());
                codes.prepare(query, &mut prepared);
                let mut near = Vec::with_capacity(rows.len());
                for rows in rows.chunks(512) {
                    codes.distances(&prepared, rows, &mut distances);
                    near.extend(distances.iter().zip(rows).map(|(&distance, &row)| Near::new(distance, row)));
                }
                near.select_nth_unstable(refined);
                let rows: Vec<u32> = near[..refined].iter().map(|near| near.row()).collect();
                exact.rank(&rows)
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Bytes(codes) => codes.memory_bytes(),
            Self::Halves(codes, _) => codes.memory_bytes(),
        }
    }
}

/// A built inverted file.
pub struct Ivf {
    index_type: IndexType,
    metric: Metric,
    block: Arc<VectorBlock>,
    codes: Option<ListCodes>,
    /// One row per list.
    centres: Arc<VectorBlock>,
    members: Members,
}

impl std::fmt::Debug for Ivf {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}({} lists, {} over {:?})",
            self.index_type.name(),
            self.centres.rows(),
            self.metric,
            self.block
        )
    }
}

impl Ivf {
    /// Groups the rows of `block`.
    pub(super) fn build(
        spec: &IndexSpec,
        block: Arc<VectorBlock>,
        threads: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let head = Head { index_type: spec.index_type, metric: spec.metric };
        let (dim, rows) = (block.dim(), block.rows());
        if rows == 0 {
            return Self::of(head, block.clone(), block, &[]);
        }
        let work = Work { kernels: block.kernels(), threads, stop };
        // Under IP and COSINE only the direction of a centre counts: long centres would draw all queries to them.
        let unit = spec.metric.larger_is_nearer();
        let scales = (spec.metric == Metric::Cosine).then(|| block.inverse_norms());
        let rng = SeededRng::new(spec.seed);
        let mut picked = kmeans::pick(rows, rows.min(spec.nlist.saturating_mul(SAMPLE_PER_LIST)), &*rng);
        picked.sort_unstable();
        let values: Vec<f32> = picked.iter().flat_map(|&row| block.row(row)).copied().collect();
        let sample_scales: Option<Vec<f32>> =
            scales.map(|scales| picked.iter().map(|&row| scales[row]).collect());
        let sample = Vectors { values: &values, dim, scales: sample_scales.as_deref() };
        let centres = kmeans::centres(sample, spec.nlist, unit, &*rng, work)?;
        let groups = kmeans::assign(Vectors { values: block.values(), dim, scales }, &centres, work)?;
        Self::of(head, block, VectorBlock::new(dim, &centres)?, &groups)
    }

    fn of(
        Head { index_type, metric }: Head,
        block: Arc<VectorBlock>,
        centres: Arc<VectorBlock>,
        groups: &[u32],
    ) -> Result<Self, Error> {
        let members = Members::of(centres.rows(), groups)?;
        let codes = ListCodes::of(index_type, &block, metric);
        Ok(Self { index_type, metric, block, codes, centres, members })
    }

    /// Reads the body that [`VectorIndex::encode`] wrote.
    pub(super) fn decode(head: Head, body: &[u8], block: Arc<VectorBlock>) -> Result<Self, Error> {
        let mut reader = Reader(body);
        let lists = reader.u32()? as usize;
        let centres = reader.words(lists.saturating_mul(block.dim()))?;
        let groups: Vec<u32> =
            reader.words(block.rows())?.iter().map(|word| u32::from_le_bytes(*word)).collect();
        reader.end()?;
        let centres = VectorBlock::from_le_bytes(block.dim(), centres.as_flattened())?;
        Self::of(head, block, centres, &groups)
    }

    /// The allowed rows of the nearest lists: of as many as asked for, and of more until there are `k`.
    fn candidates(&self, query: &[f32], k: usize, nprobe: usize, allowed: Option<&Bitset>) -> Vec<u32> {
        let mut distances = Vec::new();
        Exact::new(&self.centres, self.metric, query).run(0, self.centres.rows(), &mut distances);
        let mut lists: Vec<Near> =
            (0..).zip(distances).map(|(list, distance)| Near::new(distance, list)).collect();
        if nprobe < lists.len() {
            lists.select_nth_unstable(nprobe);
            lists[..nprobe].sort_unstable();
        }
        let mut found = Vec::new();
        for number in 0..lists.len() {
            if number >= nprobe && found.len() >= k {
                break;
            }
            if number == nprobe {
                // Seldom needed, so not sorted before.
                lists[nprobe..].sort_unstable();
            }
            let list = lists[number];
            let rows = self.members.list(list.row() as usize).iter().copied();
            found.extend(rows.filter(|&row| allowed.is_none_or(|allowed| allowed.contains(row as usize))));
        }
        found
    }
}

impl VectorIndex for Ivf {
    fn index_type(&self) -> IndexType {
        self.index_type
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn block(&self) -> &Arc<VectorBlock> {
        &self.block
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        self.block.check_query(query)?;
        if k == 0 || self.block.rows() == 0 {
            return Ok(Vec::new());
        }
        let rows = self.candidates(query, k, params.nprobe_for(self.centres.rows()), allowed);
        let exact = Exact::new(&self.block, self.metric, query);
        let found = match &self.codes {
            Some(codes) => codes.nearest(query, &exact, k, &rows),
            None => exact.rank(&rows),
        };
        Ok(found.into_iter().take(k).map(|near| near.hit(self.metric)).collect())
    }

    fn memory_bytes(&self) -> usize {
        let codes = self.codes.as_ref().map_or(0, ListCodes::memory_bytes);
        codes + self.centres.memory_bytes() + self.members.memory_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        // The number of lists, their centres, and the list of each row.
        let mut body = (self.centres.rows() as u32).to_le_bytes().to_vec();
        body.extend(self.centres.values().iter().flat_map(|value| value.to_le_bytes()));
        body.extend(self.members.groups().iter().flat_map(|group| group.to_le_bytes()));
        artifact::seal(
            Head { index_type: self.index_type, metric: self.metric },
            (self.block.dim(), self.block.rows()),
            &body,
        )
    }
}
