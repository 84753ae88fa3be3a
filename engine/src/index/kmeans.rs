//! Groups vectors around centres (Lloyd's algorithm).

use super::Error;
use super::kernel::Kernels;
use crate::base::Rng;

/// Rounds of moving the centres.
const ROUNDS: usize = 10;
/// Vectors a thread assigns at a time; between them it asks whether to stop.
const BATCH_ROWS: usize = 64;
/// Bytes of centres compared with a batch before the next centres: they stay in the second cache.
const CENTRE_RUN_BYTES: usize = 192 << 10;

/// Vectors to group: row-major, each to be multiplied by its scale first.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a> {
    /// The components, row after row.
    pub(super) values: &'a [f32],
    /// Components of each row; not 0.
    pub(super) dim: usize,
    /// One factor per row, or none for factors of 1.
    pub(super) scales: Option<&'a [f32]>,
}

impl<'a> Vectors<'a> {
    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    fn scale(&self, row: usize) -> f32 {
        self.scales.map_or(1.0, |scales| scales[row])
    }
}

/// How the work is done.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) kernels: Kernels,
    pub(super) threads: usize,
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

/// Up to `count` centres of `sample`, row-major; fewer only if the sample has fewer rows. `unit` keeps them at length 1.
/// The result does not depend on the number of threads.
pub(super) fn centres(
    sample: Vectors<'_>,
    count: usize,
    unit: bool,
    rng: &dyn Rng,
    work: Work<'_>,
) -> Result<Vec<f32>, Error> {
    let (dim, rows) = (sample.dim, sample.rows());
    let count = count.min(rows);
    let mut centres = Vec::with_capacity(count * dim);
    for row in pick(rows, count, rng) {
        centres.extend(sample.row(row).iter().map(|value| value * sample.scale(row)));
    }
    for _ in 0..ROUNDS {
        let groups = assign(sample, &centres, work)?;
        let mut sums = vec![0.0f32; count * dim];
        let mut sizes = vec![0usize; count];
        for (row, &group) in groups.iter().enumerate() {
            sizes[group as usize] += 1;
            let scale = sample.scale(row);
            for (sum, value) in sums[group as usize * dim..][..dim].iter_mut().zip(sample.row(row)) {
                *sum += value * scale;
            }
        }
        for (group, &size) in sizes.iter().enumerate() {
            let sum = &mut sums[group * dim..][..dim];
            if size == 0 {
                // An empty group starts again from some vector.
                let row = rng.below(rows as u64) as usize;
                sum.iter_mut().zip(sample.row(row)).for_each(|(sum, value)| *sum = value * sample.scale(row));
                continue;
            }
            let square = work.kernels.dot(sum, sum);
            let scale = match unit {
                true if square > 0.0 => 1.0 / square.sqrt(),
                true => 0.0,
                false => 1.0 / size as f32,
            };
            sum.iter_mut().for_each(|sum| *sum *= scale);
        }
        centres = sums;
    }
    Ok(centres)
}

/// `count` different numbers below `rows`, in random order.
pub(super) fn pick(rows: usize, count: usize, rng: &dyn Rng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..rows).collect();
    for place in 0..count.min(rows) {
        all.swap(place, place + rng.below((rows - place) as u64) as usize);
    }
    all.truncate(count);
    all
}

/// The nearest centre of each vector.
pub(super) fn assign(vectors: Vectors<'_>, centres: &[f32], work: Work<'_>) -> Result<Vec<u32>, Error> {
    let squares: Vec<f32> =
        centres.chunks_exact(vectors.dim).map(|centre| work.kernels.dot(centre, centre)).collect();
    let mut groups = vec![0; vectors.rows()];
    let share = groups.len().div_ceil(work.threads.max(1)).next_multiple_of(BATCH_ROWS);
    let finished = std::thread::scope(|scope| {
        let tasks: Vec<_> = groups
            .chunks_mut(share)
            .enumerate()
            .map(|(number, groups)| {
                let squares = &squares;
                scope.spawn(move || assign_share(vectors, number * share, groups, centres, squares, work))
            })
            .collect();
        tasks.into_iter().all(|task| task.join().unwrap_or(false))
    });
    if finished { Ok(groups) } else { Err(Error::Stopped) }
}

/// Fills `groups` for the rows from `first` on; says whether it got to the end.
fn assign_share(
    vectors: Vectors<'_>,
    first: usize,
    groups: &mut [u32],
    centres: &[f32],
    squares: &[f32],
    work: Work<'_>,
) -> bool {
    let run_rows = (CENTRE_RUN_BYTES / (vectors.dim * 4)).max(8);
    let mut products = Vec::new();
    for (number, groups) in groups.chunks_mut(BATCH_ROWS).enumerate() {
        if (work.stop)() {
            return false;
        }
        let first = first + number * BATCH_ROWS;
        let mut best = [f32::INFINITY; BATCH_ROWS];
        for (run, centres) in centres.chunks(run_rows * vectors.dim).enumerate() {
            for start in (0..groups.len()).step_by(4) {
                // A short last four repeats its first vector.
                let place = |nth: usize| if start + nth < groups.len() { start + nth } else { start };
                let four = std::array::from_fn(|nth| vectors.row(first + place(nth)));
                work.kernels.dot_tile(four, centres, &mut products);
                let count = products.len() / 4;
                for (nth, products) in
                    products.chunks_exact(count.max(1)).enumerate().take(groups.len() - start)
                {
                    let scale = 2.0 * vectors.scale(first + start + nth);
                    for (centre, product) in products.iter().enumerate() {
                        let centre = run * run_rows + centre;
                        let distance = squares[centre] - scale * product;
                        if distance < best[start + nth] {
                            best[start + nth] = distance;
                            groups[start + nth] = centre as u32;
                        }
                    }
                }
            }
        }
    }
    true
}
