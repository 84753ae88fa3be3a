//! Where a row goes: its channel by primary key, its partition by partition key.
//!
//! These functions say where stored rows are. They may never change: rows written before would no longer be found by
//! their key. The golden tests below pin them.

use crate::base::PartitionId;
use crate::model::{ColumnData, Keys};

/// The shard of an integer key, of `shards` (at least 1).
///
/// XXH3-64 without seed over the eight little-endian bytes of the key, modulo the number of shards.
#[must_use]
pub fn shard_of_int(key: i64, shards: usize) -> usize {
    shard(xxhash_rust::xxh3::xxh3_64(&key.to_le_bytes()), shards)
}

/// The shard of a text key, of `shards` (at least 1).
///
/// XXH3-64 without seed over the UTF-8 bytes of the key, modulo the number of shards.
#[must_use]
pub fn shard_of_text(key: &str, shards: usize) -> usize {
    shard(xxhash_rust::xxh3::xxh3_64(key.as_bytes()), shards)
}

fn shard(hash: u64, shards: usize) -> usize {
    // The remainder is below `shards`, which is a `usize`.
    usize::try_from(hash % shards.max(1) as u64).unwrap_or(0)
}

/// The rows of each shard, by the keys of the rows: `rows[shard]` are row numbers, ascending.
#[must_use]
pub fn by_shard(keys: &Keys, shards: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); shards.max(1)];
    match keys {
        Keys::Int(keys) => {
            for (row, &key) in keys.iter().enumerate() {
                rows[shard_of_int(key, shards)].push(row);
            }
        }
        Keys::Text(keys) => {
            for (row, key) in keys.iter().enumerate() {
                rows[shard_of_text(key, shards)].push(row);
            }
        }
    }
    rows
}

/// Rows that go to one place together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number of the channel.
    pub shard: usize,
    /// The partition.
    pub partition: PartitionId,
    /// Which rows, ascending.
    pub rows: Vec<usize>,
}

/// Splits rows by channel and partition; shares are ordered by channel, then by first row. Rows without a partition are
/// left out.
#[must_use]
pub fn shares(keys: &Keys, shards: usize, partition: impl Fn(usize) -> Option<PartitionId>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (shard, numbers) in by_shard(keys, shards).into_iter().enumerate() {
        let first_of_shard = shares.len();
        for row in numbers {
            let Some(partition) = partition(row) else { continue };
            match shares[first_of_shard..].iter_mut().find(|share| share.partition == partition) {
                Some(share) => share.rows.push(row),
                None => shares.push(Share { shard, partition, rows: vec![row] }),
            }
        }
    }
    shares
}

/// Bytes of a text partition key that take part in the hash, as in Milvus.
const PARTITION_KEY_BYTES: usize = 100;

/// The partition (by number) of row `row` of a partition key's column, of `partitions` (at least 1).
///
/// Integers: murmur3-32 with seed 0 over the eight little-endian bytes. Texts: CRC-32 (IEEE) over the first 100 bytes.
/// Source: wire specification 2.4. A column of another type, which a checked schema does not have, goes to 0.
#[must_use]
pub fn partition_of(column: &ColumnData, row: usize, partitions: usize) -> usize {
    let hash = match column {
        ColumnData::Int64(values) => values.get(row).map_or(0, |&value| hash_int(value)),
        ColumnData::VarChar(values) => {
            let bytes = values.get(row).as_bytes();
            crc32fast::hash(&bytes[..bytes.len().min(PARTITION_KEY_BYTES)])
        }
        _ => 0,
    };
    hash as usize % partitions.max(1)
}

fn hash_int(value: i64) -> u32 {
    // Reading from memory cannot fail.
    murmur3::murmur3_32(&mut value.to_le_bytes().as_slice(), 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{by_shard, partition_of, shard_of_int, shard_of_text};
    use crate::model::{ColumnData, Keys};

    #[test]
    fn the_shard_of_a_key_never_changes() {
        let ints: Vec<usize> = [0, 1, 2, 3, -1, 449_000_000_000_000_000, i64::MIN, i64::MAX]
            .iter()
            .map(|&key| shard_of_int(key, 16))
            .collect();
        let texts: Vec<usize> =
            ["", "a", "b", "key-1", "ключ"].iter().map(|key| shard_of_text(key, 16)).collect();

        assert_eq!((ints, texts), (GOLDEN_INTS.to_vec(), GOLDEN_TEXTS.to_vec()));
    }

    const GOLDEN_INTS: [usize; 8] = [9, 14, 3, 13, 3, 6, 15, 6];
    const GOLDEN_TEXTS: [usize; 5] = [2, 15, 15, 9, 14];

    #[test]
    fn the_partition_of_a_partition_key_never_changes() {
        let ints = ColumnData::Int64(vec![0, 1, 2, -7, i64::MAX]);
        let long = "x".repeat(100);
        let texts = ColumnData::VarChar(
            [long.clone() + "y", long, "a".to_owned()].iter().map(String::as_str).collect(),
        );

        let of = |column: &ColumnData| {
            (0..column.len()).map(|row| partition_of(column, row, 16)).collect::<Vec<_>>()
        };

        assert_eq!((of(&ints), of(&texts)), (GOLDEN_PARTITIONS.to_vec(), GOLDEN_TEXT_PARTITIONS.to_vec()));
    }

    const GOLDEN_PARTITIONS: [usize; 5] = [12, 4, 4, 5, 15];
    const GOLDEN_TEXT_PARTITIONS: [usize; 3] = [15, 15, 3];

    #[test]
    fn every_row_goes_to_exactly_one_shard() {
        let keys = Keys::Int((0..1000).collect());

        let mut rows = by_shard(&keys, 3).concat();
        rows.sort_unstable();

        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
    }
}
