//! Units of work on as many threads as pay for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Cost, Error};

/// Components read below which a search stays on one thread: about a millisecond of reading.
const ALONE_COMPONENTS: usize = 4 << 20;

/// What `work` makes of each of so many units, in any order. The calling thread does all of them where there are fewer than
/// two, or where they read few `components` together, about; else others help, and `cost` is told what these used.
///
/// # Errors
/// One of `work`'s; [`Error::Broke`] if a thread that helped broke.
pub(super) fn share_out<T: Send>(
    units: usize,
    components: impl FnOnce() -> usize,
    cost: &Cost<'_>,
    work: impl Fn(usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let next = AtomicUsize::new(0);
    let some = || -> Result<Vec<T>, Error> {
        let mut done = Vec::new();
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return Ok(done);
            }
            done.push(work(unit)?);
        }
    };
    if units < 2 || components() < ALONE_COMPONENTS {
        return some();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(units);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| cost.help(some))).collect();
        let mut done = some()?;
        for other in others {
            done.append(&mut other.join().map_err(|_| Error::Broke)??);
        }
        Ok(done)
    })
}
