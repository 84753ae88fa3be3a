//! On the real data set beside the repository; each test says so and passes where it is missing.

use std::path::PathBuf;

use super::*;
use crate::index::flat;
use crate::index::nibbles::Nibbles;

struct Set {
    dim: usize,
    rows: Vec<f32>,
    queries: Vec<f32>,
    nearest: Vec<Vec<u32>>,
}

fn read(name: &str) -> Option<(usize, Vec<u8>)> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(name);
    let bytes = std::fs::read(path).ok()?;
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..head]).into_owned();
    let shape = text[text.find('(')? + 1..text.find(')')?].split(',');
    let columns = shape.filter_map(|size| size.trim().parse().ok()).nth(1)?;
    Some((columns, bytes[head..].to_vec()))
}

fn load() -> Option<Set> {
    let halves = |name| {
        let (dim, bytes) = read(name)?;
        let pairs = bytes.chunks_exact(2);
        Some((
            dim,
            pairs.map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect::<Vec<f32>>(),
        ))
    };
    let (dim, rows) = halves("debian-f16.npy")?;
    let (_, queries) = halves("queries-f16.npy")?;
    let (columns, bytes) = read("debian-gt-ip.npy")?;
    let numbers: Vec<u32> =
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    Some(Set { dim, rows, queries, nearest: numbers.chunks_exact(columns).map(<[u32]>::to_vec).collect() })
}

fn share(found: &[Hit], truth: &[u32]) -> usize {
    found.iter().filter(|hit| truth.contains(&hit.row)).count()
}

#[test]
fn a_graph_over_real_text_vectors_finds_95_of_100_with_and_without_filters() {
    let Some(set) = load() else {
        println!("skipped: the real data set is not beside the repository");
        return;
    };
    let block = VectorBlock::new(set.dim, &set.rows).unwrap();
    let index = built(&IndexSpec::hnsw(Metric::Ip, 16, 200), &block);
    let queries: Vec<&[f32]> = set.queries.chunks_exact(set.dim).collect();
    let mut found = 0;
    for (query, truth) in queries.iter().zip(&set.nearest) {
        found += share(&index.search(query, 10, &ef(64), None).unwrap(), &truth[..10]);
    }
    assert!(found >= queries.len() * 10 * 95 / 100, "found {found} of {}", queries.len() * 10);

    let halves = Nibbles::if_they_lead(&block, Metric::Ip);
    assert!(halves.is_some(), "half-byte codes do not lead over text vectors");

    for percent in [10, 30, 60] {
        let allowed = Bitset::from_fn(block.rows(), |row| row * 7919 % 100 < percent);
        let truth = flat::search_block_many(&block, Metric::Ip, &queries[..300], 10, Some(&allowed)).unwrap();
        let mut found = 0;
        for (query, truth) in queries.iter().zip(&truth) {
            let truth: Vec<u32> = truth.iter().map(|hit| hit.row).collect();
            let hits = index.search(query, 10, &ef(64), Some(&allowed)).unwrap();
            check_hits(&*index, query, &hits, Some(&allowed));
            found += share(&hits, &truth);
        }
        assert!(found >= 2850, "{percent} %: found {found} of 3000");
    }
}

#[test]
fn exact_search_gives_the_published_neighbours() {
    let Some(set) = load() else {
        println!("skipped: the real data set is not beside the repository");
        return;
    };
    let block = VectorBlock::new(set.dim, &set.rows).unwrap();
    let index = built(&IndexSpec::flat(Metric::Ip), &block);
    for (query, truth) in set.queries.chunks_exact(set.dim).zip(&set.nearest).take(100) {
        let hits = index.search(query, 10, &SearchParams::default(), None).unwrap();
        assert_eq!(hits, flat::search_block(&block, Metric::Ip, query, 10, None).unwrap());
        // Neighbours of nearly equal score may change places between two ways to add up.
        assert!(share(&hits, &truth[..10]) >= 9);
    }
}

#[test]
fn other_metrics_do_as_well_on_a_part() {
    let Some(set) = load() else {
        println!("skipped: the real data set is not beside the repository");
        return;
    };
    let block = VectorBlock::new(set.dim, &set.rows[..15_000 * set.dim]).unwrap();
    let queries: Vec<&[f32]> = set.queries.chunks_exact(set.dim).take(300).collect();
    for metric in [Metric::L2, Metric::Cosine] {
        let index = built(&IndexSpec::hnsw(metric, 16, 200), &block);
        let truth = flat::search_block_many(&block, metric, &queries, 10, None).unwrap();
        let mut found = 0;
        for (query, truth) in queries.iter().zip(&truth) {
            let truth: Vec<u32> = truth.iter().map(|hit| hit.row).collect();
            let hits = index.search(query, 10, &ef(64), None).unwrap();
            check_hits(&*index, query, &hits, None);
            found += share(&hits, &truth);
        }
        assert!(found >= 2850, "{metric}: found {found} of 3000");
    }
}
