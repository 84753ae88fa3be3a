//! Fuzz target of stored indexes.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use super::artifact::{Head, seal};
use super::{BitBlock, Block, Index, IndexSpec, IndexType, Range, SearchParams, SparseBlock, VectorBlock};
use crate::model::{Bitset, Metric, SparseRows, SparseVector, Vector};

const ROWS: usize = 12;
const DIM: usize = 4;

/// Vectors of each kind, each with a query; the same for every input.
fn blocks() -> [(Block, Vector); 3] {
    let made = |error: super::Error| -> ! { panic!("blocks are whole: {error}") };
    let values: Vec<f32> = (0..ROWS * DIM).map(|at| ((at * 7) % 11) as f32 - 5.0).collect();
    let dense = VectorBlock::new(DIM, &values).unwrap_or_else(|error| made(error));
    let bytes: Vec<u8> = (0..ROWS * 2).map(|at| (at * 37 % 251) as u8).collect();
    let bits = BitBlock::from_chunks(16, [&bytes[..]]).unwrap_or_else(|error| made(error));
    let mut rows = SparseRows::new();
    for row in 0..ROWS as u32 {
        let vector = SparseVector { indices: vec![row % 3, 5 + row % 4], values: vec![0.5, row as f32] };
        rows.push(vector.as_row());
    }
    let sparse = SparseBlock::new(rows).unwrap_or_else(|error| made(error));
    [
        (Block::Dense(dense), Vector::Dense(vec![1.0, -2.0, 0.0, 3.0])),
        (Block::Bits(bits), Vector::Bits(vec![0x0f, 0xaa])),
        (Block::Sparse(sparse), Vector::Sparse(SparseVector { indices: vec![1, 6], values: vec![1.0, 0.5] })),
    ]
}

/// Any bytes are refused as an index, or are one that searches: hits are rows that are allowed, and no more than are asked for. The
/// head and the checksum are right, so that what lies behind them is reached. How good the hits are is not promised of any bytes.
///
/// The first byte chooses the kind of the vectors, the second the type, the third the metric; the rest is the body.
pub fn index(data: &[u8]) {
    let [kind, index_type, metric, body @ ..] = data else { return };
    let blocks = blocks();
    for (block, _) in &blocks {
        drop(Index::decode(data, block));
    }
    let (block, query) = &blocks[usize::from(*kind) % blocks.len()];
    let head = Head {
        index_type: IndexType::ALL[usize::from(*index_type) % IndexType::ALL.len()],
        metric: Metric::ALL[usize::from(*metric) % Metric::ALL.len()],
    };
    let Ok(index) = Index::decode(&seal(head, (block.dim(), block.rows()), body), block) else { return };
    // A graph has as many places for links as it says, but no more than the most.
    assert!(index.memory_bytes() <= 1 << 20, "{} bytes", index.memory_bytes());
    let some = Bitset::from_fn(ROWS, |row| row % 3 != 1);
    let params = SearchParams { nprobe: Some(1), ..SearchParams::default() };
    for allowed in [None, Some(&some)] {
        for k in [1, ROWS, ROWS + 1] {
            let Ok(hits) = index.search(query, k, &params, allowed) else { continue };
            let is_allowed = |row: usize| row < ROWS && allowed.is_none_or(|allowed| allowed.contains(row));
            assert!(hits.iter().all(|hit| is_allowed(hit.row as usize)), "{hits:?}");
            assert!(hits.len() <= k, "{hits:?}");
        }
    }
    let range = Range { radius: 1.0, range_filter: None };
    if let Ok(hits) = index.range_search(query, &range, ROWS, &params, Some(&some)) {
        assert!(hits.iter().all(|hit| some.contains(hit.row as usize)));
    }
    let written = index.encode();
    let again = Index::decode(&written, block);
    let again = again.unwrap_or_else(|error| panic!("what is written is read: {error}"));
    assert_eq!(again.encode(), written);
}

/// Inputs for [`index`] to begin with.
pub fn indexes() -> Vec<Vec<u8>> {
    const HEAD_BYTES: usize = 16;
    let place = |index_type: IndexType| IndexType::ALL.iter().position(|known| *known == index_type);
    let mut seeds = Vec::new();
    for (kind, (block, _)) in blocks().iter().enumerate() {
        for index_type in IndexType::ALL {
            for (at, metric) in
                Metric::ALL.into_iter().enumerate().filter(|(_, metric)| suits(block, *metric))
            {
                let spec = IndexSpec { index_type, nlist: 3, ..IndexSpec::hnsw(metric, 4, 8) };
                let Ok(built) = Index::build(&spec, block, 1, &|| false) else { continue };
                let bytes = built.encode();
                let body = &bytes[HEAD_BYTES..bytes.len() - 4];
                let chosen = [kind as u8, place(index_type).unwrap_or(0) as u8, at as u8];
                seeds.push([&chosen[..], body].concat());
            }
        }
    }
    seeds
}

const fn suits(block: &Block, metric: Metric) -> bool {
    use crate::model::DataType;
    metric.suits(match block {
        Block::Dense(_) => DataType::FloatVector,
        Block::Bits(_) => DataType::BinaryVector,
        Block::Sparse(_) => DataType::SparseFloatVector,
    })
}
