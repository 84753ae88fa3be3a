//! Rows of bits in lists around centres, each bit of which is what most rows of its list have.

use std::sync::Arc;

use super::exact::BitExact;
use super::{BitBlock, Error, IndexSpec, SearchParams};
use crate::base::SeededRng;
use crate::index::artifact::Reader;
use crate::index::kmeans::pick;
use crate::index::members::Members;
use crate::index::top::Near;
use crate::model::{Bitset, Metric};

/// Rows per list that the centres are computed from.
const SAMPLE_PER_LIST: usize = 64;
/// Rounds of moving the centres.
const ROUNDS: usize = 8;
/// Rows a thread assigns between two questions whether to stop.
const BATCH_ROWS: usize = 64;

/// The lists of one block.
#[derive(Debug)]
pub(super) struct Lists {
    centres: Arc<BitBlock>,
    members: Members,
}

/// How the work is done.
#[derive(Clone, Copy)]
struct Work<'a> {
    metric: Metric,
    threads: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Lists {
    /// Groups the rows of `block`, which has some.
    pub(super) fn build(
        spec: &IndexSpec,
        block: &BitBlock,
        threads: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let work = Work { metric: spec.metric, threads: threads.max(1), stop };
        let rng = SeededRng::new(spec.seed);
        let count = spec.nlist.clamp(1, block.rows());
        let mut sample = pick(block.rows(), block.rows().min(count.saturating_mul(SAMPLE_PER_LIST)), &*rng);
        sample.sort_unstable();
        let sample: Vec<u32> = sample.into_iter().map(|row| row as u32).collect();
        let first = pick(sample.len(), count, &*rng);
        let words = first.into_iter().flat_map(|at| block.words_of(sample[at] as usize)).copied().collect();
        let mut centres = BitBlock::of(block.dim(), words)?;
        for _ in 0..ROUNDS {
            let groups = assign(block, &sample, &centres, work)?;
            let moved = moved(block, &sample, &groups, &centres)?;
            if moved.words == centres.words {
                break;
            }
            centres = moved;
        }
        let all: Vec<u32> = (0..block.rows() as u32).collect();
        let groups = assign(block, &all, &centres, work)?;
        Self::of(centres, &groups)
    }

    fn of(centres: Arc<BitBlock>, groups: &[u32]) -> Result<Self, Error> {
        let members = Members::of(centres.rows(), groups)?;
        Ok(Self { centres, members })
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(body: &[u8], block: &BitBlock) -> Result<Self, Error> {
        let mut reader = Reader(body);
        let lists = reader.u32()? as usize;
        let halves = reader.words(lists.saturating_mul(block.row_words()).saturating_mul(2))?;
        let groups: Vec<u32> =
            reader.words(block.rows())?.iter().map(|word| u32::from_le_bytes(*word)).collect();
        reader.end()?;
        let words = halves.as_flattened().as_chunks::<8>().0;
        let centres =
            BitBlock::of(block.dim(), words.iter().map(|word| u64::from_le_bytes(*word)).collect())?;
        Self::of(centres, &groups)
    }

    /// The number of lists, their centres, and the list of each row.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = (self.centres.rows() as u32).to_le_bytes().to_vec();
        body.extend(self.centres.words.iter().flat_map(|word| word.to_le_bytes()));
        body.extend(self.members.groups().iter().flat_map(|group| group.to_le_bytes()));
        body
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.centres.memory_bytes() + self.members.memory_bytes()
    }

    /// The allowed rows of the nearest lists: of as many as asked for, and of more until there are `k`.
    pub(super) fn candidates(
        &self,
        metric: Metric,
        query: &[u8],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Vec<u32> {
        let nprobe = params.nprobe_for(self.centres.rows());
        let mut distances = Vec::new();
        BitExact::new(&self.centres, metric, query).run(0, self.centres.rows(), &mut distances);
        let mut lists: Vec<Near> =
            (0..).zip(distances).map(|(list, distance)| Near::new(distance, list)).collect();
        lists.sort_unstable();
        let mut found = Vec::new();
        for (number, list) in lists.into_iter().enumerate() {
            if number >= nprobe && found.len() >= k {
                break;
            }
            let rows = self.members.list(list.row() as usize).iter().copied();
            found.extend(rows.filter(|&row| allowed.is_none_or(|allowed| allowed.contains(row as usize))));
        }
        found
    }
}

/// The nearest centre of each of `rows`, the first of equally near ones.
fn assign(
    block: &BitBlock,
    rows: &[u32],
    centres: &BitBlock,
    Work { metric, threads, stop }: Work<'_>,
) -> Result<Vec<u32>, Error> {
    let mut groups = vec![0; rows.len()];
    let share = rows.len().div_ceil(threads).max(1);
    let one_share = |rows: &[u32], groups: &mut [u32]| {
        let mut distances = Vec::new();
        for (rows, groups) in rows.chunks(BATCH_ROWS).zip(groups.chunks_mut(BATCH_ROWS)) {
            if stop() {
                return Err(Error::Stopped);
            }
            for (&row, group) in rows.iter().zip(groups) {
                let exact = BitExact::of_words(centres, metric, block.words_of(row as usize).to_vec());
                exact.run(0, centres.rows(), &mut distances);
                let nearest = (0..).zip(&distances).map(|(list, &distance)| Near::new(distance, list)).min();
                *group = nearest.map_or(0, Near::row);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let shares = rows.chunks(share).zip(groups.chunks_mut(share));
        let running: Vec<_> =
            shares.map(|(rows, groups)| scope.spawn(move || one_share(rows, groups))).collect();
        running.into_iter().try_for_each(|one| one.join().unwrap_or(Err(Error::Stopped)))
    })?;
    Ok(groups)
}

/// The centres with each bit set that more than half of its rows have; a centre without rows stays where it is.
fn moved(block: &BitBlock, rows: &[u32], groups: &[u32], centres: &BitBlock) -> Result<Arc<BitBlock>, Error> {
    let lists = Lists::of(BitBlock::of(centres.dim(), centres.words.clone())?, groups)?;
    let mut words = Vec::with_capacity(centres.words.len());
    let mut counts = vec![0u32; centres.row_words() * 64];
    for list in 0..centres.rows() {
        let members = lists.members.list(list);
        if members.is_empty() {
            words.extend_from_slice(centres.words_of(list));
            continue;
        }
        counts.fill(0);
        for &member in members {
            for (word, counts) in
                block.words_of(rows[member as usize] as usize).iter().zip(counts.chunks_exact_mut(64))
            {
                let mut rest = *word;
                while rest != 0 {
                    counts[rest.trailing_zeros() as usize] += 1;
                    rest &= rest - 1;
                }
            }
        }
        let most = members.len() as u32 / 2;
        words.extend(counts.chunks_exact(64).map(|counts| {
            (0..).zip(counts).fold(0u64, |word, (bit, &count)| word | u64::from(count > most) << bit)
        }));
    }
    BitBlock::of(centres.dim(), words)
}
