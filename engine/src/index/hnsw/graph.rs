//! The links of a layered graph, and its stored form.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::index::Error;
use crate::index::artifact::Reader;
use crate::index::kernel::prefetch;

/// The most layers above the lowest; reached by one row in `m` to the power of this.
pub(super) const MAX_LEVEL: u8 = 24;

/// Where the links of each node lie: one run per layer, a count and then room for as many links as the layer allows.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    /// Links per layer above the lowest; twice as many on the lowest.
    pub(super) m: usize,
    /// The highest layer of each row.
    pub(super) levels: Vec<u8>,
    /// Where the upper runs of each row start, in words.
    upper_starts: Vec<usize>,
    upper_words: usize,
}

impl Layout {
    /// The layout of rows with these highest layers.
    pub(super) fn new(m: usize, levels: Vec<u8>) -> Self {
        let mut upper_words = 0;
        let upper_starts = levels
            .iter()
            .map(|&level| {
                let start = upper_words;
                upper_words += usize::from(level) * (m + 1);
                start
            })
            .collect();
        Self { m, levels, upper_starts, upper_words }
    }

    /// The most links of a node on `level`.
    pub(super) const fn room(&self, level: u8) -> usize {
        if level == 0 { self.m * 2 } else { self.m }
    }

    fn upper_start(&self, row: u32, level: u8) -> usize {
        self.upper_starts[row as usize] + (usize::from(level) - 1) * (self.m + 1)
    }
}

/// Something whose links can be followed.
pub(super) trait Links: Sync {
    /// Calls `visit` with each row that `row` links to on `level`.
    fn each(&self, row: u32, level: u8, visit: impl FnMut(u32));

    /// Hints that the links of `row` on the lowest layer will be followed soon.
    fn hint(&self, _row: u32) {}
}

/// Links while a graph is built: read by all threads without locks. A reader may see a list in the middle of a change,
/// which only ever holds rows of the graph.
pub(super) struct GrowingGraph {
    pub(super) layout: Layout,
    base: Vec<AtomicU32>,
    upper: Vec<AtomicU32>,
}

impl GrowingGraph {
    /// No links yet.
    pub(super) fn new(layout: Layout) -> Self {
        let zeros = |len| (0..len).map(|_| AtomicU32::new(0)).collect();
        let base = zeros(layout.levels.len() * (layout.m * 2 + 1));
        let upper = zeros(layout.upper_words);
        Self { layout, base, upper }
    }

    fn run(&self, row: u32, level: u8) -> &[AtomicU32] {
        let words = self.layout.room(level) + 1;
        if level == 0 {
            &self.base[row as usize * words..][..words]
        } else {
            &self.upper[self.layout.upper_start(row, level)..][..words]
        }
    }

    /// Replaces the links of `row` on `level`. The caller holds the row's lock and gives no more than there is room for.
    pub(super) fn write(&self, row: u32, level: u8, links: &[u32]) {
        let run = self.run(row, level);
        for (place, &link) in run[1..].iter().zip(links) {
            place.store(link, Ordering::Relaxed);
        }
        run[0].store(links.len() as u32, Ordering::Release);
    }

    /// Adds a link, if there is room. The caller holds the row's lock.
    pub(super) fn push(&self, row: u32, level: u8, link: u32) -> bool {
        let run = self.run(row, level);
        let count = run[0].load(Ordering::Relaxed);
        let Some(place) = run[1..].get(count as usize) else { return false };
        place.store(link, Ordering::Relaxed);
        run[0].store(count + 1, Ordering::Release);
        true
    }

    /// The finished graph, entered at `entry`.
    pub(super) fn finish(self, entry: u32) -> Graph {
        let plain = |words: Vec<AtomicU32>| words.into_iter().map(AtomicU32::into_inner).collect();
        Graph { layout: self.layout, entry, base: plain(self.base), upper: plain(self.upper) }
    }
}

impl Links for GrowingGraph {
    fn each(&self, row: u32, level: u8, mut visit: impl FnMut(u32)) {
        let run = self.run(row, level);
        let count = run[0].load(Ordering::Acquire) as usize;
        for link in &run[1..=count] {
            visit(link.load(Ordering::Relaxed));
        }
    }

    fn hint(&self, row: u32) {
        prefetch(self.run(row, 0));
    }
}

/// A finished graph.
#[derive(Debug, PartialEq)]
pub(super) struct Graph {
    pub(super) layout: Layout,
    /// A row of the highest layer, where every walk starts.
    pub(super) entry: u32,
    base: Vec<u32>,
    upper: Vec<u32>,
}

impl Links for Graph {
    #[inline]
    fn each(&self, row: u32, level: u8, mut visit: impl FnMut(u32)) {
        for &link in self.links(row, level) {
            visit(link);
        }
    }

    #[inline]
    fn hint(&self, row: u32) {
        let words = self.layout.m * 2 + 1;
        prefetch(&self.base[row as usize * words..][..words]);
    }
}

impl Graph {
    #[inline]
    fn links(&self, row: u32, level: u8) -> &[u32] {
        let words = self.layout.room(level) + 1;
        let run = if level == 0 {
            &self.base[row as usize * words..][..words]
        } else {
            &self.upper[self.layout.upper_start(row, level)..][..words]
        };
        &run[1..=run[0] as usize]
    }

    /// The highest layer.
    pub(super) fn top_level(&self) -> u8 {
        self.layout.levels.get(self.entry as usize).copied().unwrap_or(0)
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.base.len() + self.upper.len()) * 4 + self.layout.levels.len() * (1 + size_of::<usize>())
    }

    /// How long the stored form is. Unit: bytes.
    pub(super) fn stored_bytes(&self) -> usize {
        let runs = |(row, &level): (usize, &u8)| {
            1 + (0..=level).map(|level| 1 + self.links(row as u32, level).len()).sum::<usize>()
        };
        4 * (2 + self.layout.levels.iter().enumerate().map(runs).sum::<usize>())
    }

    /// Appends the stored form, in words: m, entry, and for each row its level and, for each layer (lowest first), the count of
    /// links and the links.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let mut word = |number: u32| bytes.extend_from_slice(&number.to_le_bytes());
        word(self.layout.m as u32);
        word(self.entry);
        for (row, &level) in self.layout.levels.iter().enumerate() {
            word(u32::from(level));
            for level in 0..=level {
                let links = self.links(row as u32, level);
                word(links.len() as u32);
                links.iter().for_each(|&link| word(link));
            }
        }
    }

    /// Reads what [`Self::encode`] wrote for `rows` rows. Whatever the bytes are, no link leaves the graph afterwards.
    pub(super) fn decode(reader: &mut Reader<'_>, rows: usize) -> Result<Self, Error> {
        let corrupt = |what| Error::Corrupt { what };
        let (m, entry) = (reader.u32()? as usize, reader.u32()?);
        if !(2..=2048).contains(&m) || (entry as usize >= rows && rows > 0) {
            return Err(corrupt("the graph's head is out of range"));
        }
        let words = m * 2 + 1;
        let mut levels = Vec::with_capacity(rows);
        let mut base = vec![0; rows * words];
        let mut upper = Vec::new();
        for row in 0..rows {
            let level = u8::try_from(reader.u32()?).ok().filter(|&level| level <= MAX_LEVEL);
            let level = level.ok_or(corrupt("a layer is out of range"))?;
            levels.push(level);
            read_run(reader, &mut base[row * words..][..words], rows)?;
            for _ in 0..level {
                let start = upper.len();
                upper.resize(start + m + 1, 0);
                read_run(reader, &mut upper[start..], rows)?;
            }
        }
        let graph = Self { layout: Layout::new(m, levels), entry, base, upper };
        graph.check_layers()?;
        Ok(graph)
    }

    /// Refuses links to rows that are not on the link's layer.
    fn check_layers(&self) -> Result<(), Error> {
        let levels = &self.layout.levels;
        for (row, &top) in levels.iter().enumerate() {
            for level in 1..=top {
                if self.links(row as u32, level).iter().any(|&link| levels[link as usize] < level) {
                    return Err(Error::Corrupt { what: "a link leaves its layer" });
                }
            }
        }
        Ok(())
    }
}

fn read_run(reader: &mut Reader<'_>, run: &mut [u32], rows: usize) -> Result<(), Error> {
    let count = reader.u32()?;
    let Some(places) = run[1..].get_mut(..count as usize) else {
        return Err(Error::Corrupt { what: "a node has too many links" });
    };
    for (place, word) in places.iter_mut().zip(reader.words(count as usize)?) {
        *place = u32::from_le_bytes(*word);
        if *place as usize >= rows {
            return Err(Error::Corrupt { what: "a link leaves the graph" });
        }
    }
    run[0] = count;
    Ok(())
}
