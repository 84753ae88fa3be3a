//! The stored form of an index: a head that says what it is and what block it belongs to, a body, a checksum.
//!
//! Layout, all numbers little-endian: magic `RKVI`, version u16, index type u8, metric u8, dim u32, rows u32, body,
//! CRC-32 of everything before it u32.

use super::{Error, IndexType};
use crate::model::Metric;

const MAGIC: [u8; 4] = *b"RKVI";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 16;

/// Dimension and rows of a block.
pub(super) type Shape = (usize, usize);

/// What kind of index was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) index_type: IndexType,
    pub(super) metric: Metric,
}

/// Head, body and checksum as one run of bytes; `shape` of the block is its dimension (0 for sparse rows) and its rows.
pub(super) fn seal(head: Head, shape: Shape, body: &[u8]) -> Vec<u8> {
    seal_written(head, shape, body.len(), |bytes| bytes.extend_from_slice(body))
}

/// As [`seal`], with a body that `write` appends to what is there: so large ones are in memory once. `body_bytes` is how long it
/// will be.
pub(super) fn seal_written(
    head: Head,
    (dim, rows): Shape,
    body_bytes: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body_bytes + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(type_code(head.index_type));
    bytes.push(metric_code(head.metric));
    bytes.extend_from_slice(&(dim as u32).to_le_bytes());
    bytes.extend_from_slice(&(rows as u32).to_le_bytes());
    write(&mut bytes);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Head and body of what [`seal`] made for a block of the same shape.
pub(super) fn open(bytes: &[u8], block: Shape) -> Result<(Head, &[u8]), Error> {
    let corrupt = |what| Error::Corrupt { what };
    let (rest, checksum) = bytes.split_last_chunk::<4>().ok_or(corrupt("it is too short"))?;
    let (head, body) = rest.split_first_chunk::<HEAD_BYTES>().ok_or(corrupt("it is too short"))?;
    let [m0, m1, m2, m3, v0, v1, index_type, metric, d0, d1, d2, d3, r0, r1, r2, r3] = *head;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(corrupt("it does not start with the magic"));
    }
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return Err(corrupt("the checksum does not match"));
    }
    if u16::from_le_bytes([v0, v1]) != VERSION {
        return Err(corrupt("the version is unknown"));
    }
    let shape =
        (u32::from_le_bytes([d0, d1, d2, d3]) as usize, u32::from_le_bytes([r0, r1, r2, r3]) as usize);
    if shape != block {
        return Err(corrupt("the block has another shape"));
    }
    Ok((
        Head {
            index_type: IndexType::ALL
                .into_iter()
                .find(|known| type_code(*known) == index_type)
                .ok_or(corrupt("the index type is unknown"))?,
            metric: Metric::ALL
                .into_iter()
                .find(|known| metric_code(*known) == metric)
                .ok_or(corrupt("the metric is unknown"))?,
        },
        body,
    ))
}

const fn type_code(index_type: IndexType) -> u8 {
    match index_type {
        IndexType::Flat => 1,
        IndexType::Hnsw => 2,
        IndexType::IvfFlat => 3,
        IndexType::Auto => 4,
        IndexType::HnswSq => 5,
        IndexType::HnswPq => 6,
        IndexType::HnswPrq => 7,
        IndexType::IvfSq8 => 8,
        IndexType::IvfPq => 9,
        IndexType::IvfRabitq => 10,
        IndexType::Scann => 11,
        IndexType::BinFlat => 12,
        IndexType::BinIvfFlat => 13,
        IndexType::SparseInverted => 14,
        IndexType::SparseWand => 15,
        IndexType::DiskAnn => 16,
    }
}

const fn metric_code(metric: Metric) -> u8 {
    match metric {
        Metric::L2 => 1,
        Metric::Ip => 2,
        Metric::Cosine => 3,
        Metric::Hamming => 4,
        Metric::Jaccard => 5,
        Metric::Bm25 => 6,
        Metric::MhJaccard => 7,
        Metric::Substructure => 8,
        Metric::Superstructure => 9,
        Metric::MaxSim => 10,
        Metric::MaxSimCosine => 11,
        Metric::MaxSimIp => 12,
        Metric::MaxSimL2 => 13,
        Metric::MaxSimHamming => 14,
        Metric::MaxSimJaccard => 15,
    }
}

/// Reads a body front to back.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next four bytes as a number.
    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or(Error::Corrupt { what: "it ends early" })?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*word))
    }

    /// The next `count` words of four bytes.
    pub(super) fn words(&mut self, count: usize) -> Result<&'a [[u8; 4]], Error> {
        let early = Error::Corrupt { what: "it ends early" };
        let bytes = count.checked_mul(4).ok_or(early.clone())?;
        let (run, rest) = self.0.split_at_checked(bytes).ok_or(early)?;
        self.0 = rest;
        Ok(run.as_chunks::<4>().0)
    }

    /// Refuses what is left over.
    pub(super) const fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Corrupt { what: "it has bytes left over" }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_pinned() {
        let block = (2, 3);
        let head = Head { index_type: IndexType::Flat, metric: Metric::Ip };

        let bytes = seal(head, block, &[7, 8]);

        assert_eq!(bytes[..18], *b"RKVI\x01\0\x01\x02\x02\0\0\0\x03\0\0\0\x07\x08");
        assert_eq!(bytes[18..], crc32fast::hash(&bytes[..18]).to_le_bytes());
        assert_eq!(open(&bytes, block), Ok((head, &[7u8, 8][..])));
    }

    #[test]
    fn every_type_has_a_number_of_its_own() {
        let mut codes: Vec<u8> = IndexType::ALL.into_iter().map(type_code).collect();
        codes.sort_unstable();
        assert_eq!(codes, (1..=16).collect::<Vec<_>>());
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let block = (2, 3);
        let bytes = seal(Head { index_type: IndexType::Hnsw, metric: Metric::L2 }, block, &[1, 2, 3]);

        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(open(&damaged, block).is_err(), "byte {at}");
            assert!(open(&bytes[..at], block).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_index_of_another_block_is_refused() {
        let block = (2, 3);
        let other = (3, 2);
        let bytes = seal(Head { index_type: IndexType::Flat, metric: Metric::L2 }, block, &[]);

        assert_eq!(open(&bytes, other), Err(Error::Corrupt { what: "the block has another shape" }));
    }
}
