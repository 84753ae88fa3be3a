//! On made data.

use proptest::prelude::*;

use super::*;
use crate::index::spec::Form;
use crate::index::{Error, IndexType, Range, Width, build, decode, flat};

/// One small index of each type.
fn specs(metric: Metric) -> [IndexSpec; 6] {
    let graph = IndexSpec::hnsw(metric, 6, 30);
    [
        IndexSpec::flat(metric),
        graph.clone(),
        IndexSpec::ivf_flat(metric, 7),
        IndexSpec { index_type: IndexType::Auto, ..graph.clone() },
        IndexSpec { index_type: IndexType::HnswSq, width: Width::Byte, ..graph },
        IndexSpec { index_type: IndexType::IvfSq8, ..IndexSpec::ivf_flat(metric, 7) },
    ]
}

/// The share of the true nearest scores that an index finds, over some queries near the data.
fn recall(index: &dyn VectorIndex, params: &SearchParams, k: usize, allowed: Option<&Bitset>) -> f64 {
    let block = index.block();
    let (mut found, mut wanted) = (0, 0);
    for nth in 0..50 {
        let near = block.row(nth * 37 % block.rows());
        let query: Vec<f32> = near
            .iter()
            .zip(block.row(nth * 91 % block.rows()))
            .map(|(one, other)| one * 0.8 + other * 0.2)
            .collect();
        let hits = index.search(&query, k, params, allowed).unwrap();
        check_hits(index, &query, &hits, allowed);
        let truth = flat::search_block(block, index.metric(), &query, k, allowed).unwrap();
        assert_eq!(hits.len(), truth.len());
        found += truth.iter().filter(|truth| hits.contains(truth)).count();
        wanted += truth.len();
    }
    f64::from(u32::try_from(found).unwrap()) / f64::from(u32::try_from(wanted).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn exhaustive_searches_agree_with_the_textbook(
        (dim, values, query, k, picks) in (1usize..70, 0usize..60).prop_flat_map(|(dim, rows)| (
            Just(dim),
            prop::collection::vec(-2.0f32..2.0, dim * rows),
            prop::collection::vec(-2.0f32..2.0, dim),
            0usize..70,
            prop::option::of(prop::collection::vec(any::<bool>(), rows)),
        ))
    ) {
        let block = VectorBlock::new(dim, &values).unwrap();
        let allowed = picks.map(|picks| Bitset::from_fn(picks.len(), |row| picks[row]));
        for metric in METRICS {
            let wanted = naive_scores(&block, metric, &query, k, allowed.as_ref());
            for spec in specs(metric) {
                let index = built(&spec, &block);
                let params = SearchParams { ef: Some(64.max(k)), nprobe: Some(7), ..SearchParams::default() };
                let hits = index.search(&query, k, &params, allowed.as_ref()).unwrap();
                check_hits(&*index, &query, &hits, allowed.as_ref());
                prop_assert_eq!(hits.len(), wanted.len());
                for (hit, wanted) in hits.iter().zip(&wanted) {
                    prop_assert!((f64::from(hit.score) - wanted).abs() < 1e-3, "{spec:?}: {hit:?} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn several_queries_get_the_answers_of_each_alone(
        (dim, values, queries, picks) in (1usize..40, 0usize..90, 1usize..11).prop_flat_map(|(dim, rows, count)| (
            Just(dim),
            prop::collection::vec(-2.0f32..2.0, dim * rows),
            prop::collection::vec(prop::collection::vec(-2.0f32..2.0, dim), count),
            prop::option::of(prop::collection::vec(prop::bool::weighted(0.8), rows)),
        ))
    ) {
        let block = VectorBlock::new(dim, &values).unwrap();
        let allowed = picks.map(|picks| Bitset::from_fn(picks.len(), |row| picks[row]));
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        for metric in METRICS {
            let together = flat::search_block_many(&block, metric, &queries, 100, allowed.as_ref()).unwrap();
            let alone: Vec<Vec<Hit>> = queries
                .iter()
                .map(|query| flat::search_block(&block, metric, query, 100, allowed.as_ref()).unwrap())
                .collect();
            prop_assert_eq!(together, alone);
        }
    }
}

#[test]
fn a_graph_finds_nearly_all_neighbours_in_clustered_data() {
    for (dim, metric) in
        [(12, Metric::L2), (12, Metric::Ip), (12, Metric::Cosine), (48, Metric::L2), (48, Metric::Cosine)]
    {
        let block = VectorBlock::new(dim, &clustered(6000, dim, 40, 7)).unwrap();
        let index = built(&IndexSpec::hnsw(metric, 16, 100), &block);

        let found = recall(&*index, &ef(100), 10, None);

        assert!(found >= 0.97, "{metric}, dimension {dim}: {found}");
    }
}

#[test]
fn a_graph_that_two_threads_build_finds_nearly_all_neighbours() {
    let block = VectorBlock::new(12, &clustered(6000, 12, 40, 7)).unwrap();
    let index = build(&IndexSpec::hnsw(Metric::L2, 16, 100), block, 2, &|| false).unwrap();

    let found = recall(&*index, &ef(100), 10, None);

    // A little less is asked for than of one thread: the order in which two insert is the machine's.
    assert!(found >= 0.93, "{found}");
}

#[test]
fn a_graph_over_codes_answers_with_exact_scores_and_finds_nearly_all() {
    let dim = 160;
    let block = VectorBlock::new(dim, &clustered(6000, dim, 60, 21)).unwrap();
    let types = [
        (IndexType::Auto, Width::Measured),
        (IndexType::HnswSq, Width::Byte),
        (IndexType::HnswSq, Width::Measured),
        (IndexType::HnswPq, Width::Measured),
        (IndexType::HnswPrq, Width::Measured),
    ];
    for metric in METRICS {
        for (index_type, width) in types {
            let index = built(&IndexSpec { index_type, width, ..IndexSpec::hnsw(metric, 16, 100) }, &block);
            let named = SearchParams { refine_k: Some(2.5), ..ef(100) };
            // Every hit is checked against the score by the textbook.
            for params in [&ef(100), &named] {
                let found = recall(&*index, params, 10, None);
                assert!(found >= 0.97, "{index_type:?}, {width:?}, {metric}: {found}");
            }
            let allowed = Bitset::from_fn(6000, |row| row * 7919 % 100 < 70);
            let open = recall(&*index, &ef(50), 10, None);
            let filtered = recall(&*index, &ef(50), 10, Some(&allowed));
            assert!(filtered >= open - 0.01, "{index_type:?}, {width:?}, {metric}: {filtered} of {open}");
        }
    }
}

#[test]
fn lists_of_half_bytes_answer_with_exact_scores_and_find_nearly_all() {
    for dim in [65, 160] {
        let block = VectorBlock::new(dim, &clustered(6000, dim, 60, 23)).unwrap();
        for metric in METRICS {
            let spec = IndexSpec { index_type: IndexType::IvfPq, ..IndexSpec::ivf_flat(metric, 8) };
            let index = built(&spec, &block);
            let all = SearchParams { nprobe: Some(8), ..SearchParams::default() };

            let found = recall(&*index, &all, 10, None);

            assert!(found >= 0.97, "{dim}, {metric}: {found}");
            let bytes = built(&IndexSpec { index_type: IndexType::IvfSq8, ..spec }, &block);
            assert!(index.memory_bytes() < bytes.memory_bytes(), "{dim}, {metric}");
        }
    }
}

#[test]
fn naming_fewer_rows_to_refine_is_obeyed() {
    let dim = 160;
    let block = VectorBlock::new(dim, &clustered(6000, dim, 60, 22)).unwrap();
    let spec = IndexSpec { index_type: IndexType::HnswSq, ..IndexSpec::hnsw(Metric::L2, 16, 100) };
    let index = built(&spec, &block);
    let found = |factor| recall(&*index, &SearchParams { refine_k: Some(factor), ..ef(100) }, 10, None);

    // Half-byte codes take some rows for nearer than they are: without more candidates these crowd others out.
    assert!(found(1.0) < found(4.0), "{} and {}", found(1.0), found(4.0));
}

#[test]
fn a_filter_costs_no_recall() {
    let block = VectorBlock::new(48, &clustered(8000, 48, 40, 8)).unwrap();
    let index = built(&IndexSpec::hnsw(Metric::L2, 16, 100), &block);
    for percent in [0, 1, 5, 15, 30, 50, 80, 99] {
        let allowed = Bitset::from_fn(8000, |row| row * 7919 % 100 < percent);

        let found = recall(&*index, &ef(50), 10, Some(&allowed));

        assert!(percent == 0 || found >= 0.97, "{percent} %: {found}");
    }
}

#[test]
fn a_filter_far_from_the_query_still_gives_k_rows() {
    let rows = 8000;
    let values: Vec<f32> = (0..rows).flat_map(|row| [row as f32, 0.0]).collect();
    let block = VectorBlock::new(2, &values).unwrap();
    let index = built(&IndexSpec::hnsw(Metric::L2, 8, 60), &block);
    let allowed = Bitset::from_fn(rows, |row| row >= 4000);

    let hits = index.search(&[0.0, 0.0], 10, &ef(10), Some(&allowed)).unwrap();

    assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), (4000..4010).collect::<Vec<_>>());
}

#[test]
fn thousands_of_equal_vectors_do_not_hide_the_others() {
    let dim = 40;
    let mut values = clustered(3000, dim, 20, 9);
    let twin = values[..dim].to_vec();
    for _ in 0..4000 {
        values.extend_from_slice(&twin);
    }
    let block = VectorBlock::new(dim, &values).unwrap();
    for metric in METRICS {
        let index = built(&IndexSpec::hnsw(metric, 8, 60), &block);

        let hits = index.search(&twin, 200, &ef(200), None).unwrap();
        check_hits(&*index, &twin, &hits, None);
        assert_eq!(hits.len(), 200);
        if metric != Metric::Ip {
            let firsts: Vec<u32> = std::iter::once(0).chain(3000..3199).collect();
            assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), firsts, "{metric}");
        }
        let query = block.row(1500).to_vec();
        let truth = flat::search_block(&block, metric, &query, 10, None).unwrap();
        let hits = index.search(&query, 10, &ef(64), None).unwrap();
        assert!(truth.iter().filter(|truth| hits.contains(truth)).count() >= 8, "{metric}");

        let allowed = Bitset::from_fn(7000, |row| row > 5000 || row == 1500);
        let hits = index.search(&query, 10, &ef(10), Some(&allowed)).unwrap();
        check_hits(&*index, &query, &hits, Some(&allowed));
        assert_eq!(hits.len(), 10, "{metric}");
    }
}

#[test]
fn zero_vectors_have_cosine_zero() {
    let mut values = clustered(2000, 33, 10, 10);
    values[..33 * 500].fill(0.0);
    let block = VectorBlock::new(33, &values).unwrap();
    for spec in specs(Metric::Cosine) {
        let index = built(&spec, &block);
        let hits = index.search(&[0.0; 33], 5, &ef(5), None).unwrap();
        assert_eq!(hits, (0..5).map(|row| Hit { row, score: 0.0 }).collect::<Vec<_>>(), "{spec:?}");
        let hits =
            index.search(block.row(700), 3, &SearchParams { nprobe: Some(7), ..ef(60) }, None).unwrap();
        assert_eq!(hits[0].row, 700);
        assert!((hits[0].score - 1.0).abs() < 1e-6);
    }
}

#[test]
fn odd_shapes_give_all_there_is() {
    for (dim, rows) in [(1, 1), (1, 300), (2, 3), (3, 2000), (65, 1), (65, 40), (129, 700)] {
        let block = VectorBlock::new(dim, &clustered(rows, dim, 5, 11)).unwrap();
        for metric in METRICS {
            for spec in specs(metric) {
                let index = built(&spec, &block);
                let hits = index.search(block.row(0), rows + 5, &SearchParams::default(), None).unwrap();
                check_hits(&*index, block.row(0), &hits, None);
                assert_eq!(hits.len(), rows, "{spec:?}, {dim} x {rows}");
            }
        }
    }
}

#[test]
fn an_empty_block_answers_with_nothing() {
    for dim in [0, 4, 100] {
        let block = VectorBlock::new(dim, &[]).unwrap();
        for spec in METRICS.into_iter().flat_map(specs) {
            let index = built(&spec, &block);
            let index = decode(&index.encode(), block.clone()).unwrap();
            assert_eq!(
                index.search(&vec![1.0; dim], 3, &SearchParams::default(), None),
                Ok(vec![]),
                "{spec:?}"
            );
        }
    }
}

#[test]
fn a_stored_index_answers_as_before() {
    for dim in [8, 64] {
        let block = VectorBlock::new(dim, &clustered(1500, dim, 20, 12)).unwrap();
        for spec in METRICS.into_iter().flat_map(specs) {
            let index = built(&spec, &block);
            let bytes = index.encode();
            let again = decode(&bytes, block.clone()).unwrap();

            assert_eq!((again.index_type(), again.metric()), (spec.index_type, spec.metric));
            assert_eq!(again.encode(), bytes);
            assert_eq!(again.memory_bytes(), index.memory_bytes());
            for row in (0..1500).step_by(100) {
                let before = index.search(block.row(row), 10, &ef(20), None).unwrap();
                assert_eq!(again.search(block.row(row), 10, &ef(20), None).unwrap(), before);
            }
        }
    }
}

#[test]
fn an_index_is_written_into_memory_that_is_taken_once() {
    let mut rows = clustered(1500, 64, 20, 12);
    // The graph keeps rows that are equal beside its links.
    rows.copy_within(0..64 * 40, 64 * 700);
    let block = VectorBlock::new(64, &rows).unwrap();
    for spec in METRICS.into_iter().flat_map(specs) {
        let bytes = built(&spec, &block).encode();

        assert_eq!(bytes.capacity(), bytes.len(), "{spec:?}");
    }
}

#[test]
fn stored_links_that_lead_nowhere_are_refused() {
    let block = VectorBlock::new(2, &clustered(50, 2, 3, 13)).unwrap();
    let bytes = built(&IndexSpec::hnsw(Metric::L2, 4, 20), &block).encode();
    for at in (16..bytes.len() - 4).step_by(4) {
        let mut damaged = bytes[..bytes.len() - 4].to_vec();
        damaged[at + 3] = 0x7f;
        let checksum = crc32fast::hash(&damaged);
        damaged.extend_from_slice(&checksum.to_le_bytes());
        assert!(decode(&damaged, block.clone()).is_err(), "byte {at}");
    }
}

#[test]
fn the_stored_graph_is_pinned() {
    let block = VectorBlock::new(1, &[0.0, 1.0, 3.0, 3.0]).unwrap();
    let bytes = build(&IndexSpec::hnsw(Metric::L2, 2, 10), block, 1, &|| false).unwrap().encode();
    let words: Vec<u32> = bytes[16..bytes.len() - 4]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();

    // m, entry, then level and links of each row and layer, then the pairs of equal rows.
    assert_eq!(words, [2, 2, 0, 2, 1, 2, 0, 2, 0, 2, 1, 2, 1, 0, 0, 0, 0, 1, 2, 3]);
}

#[test]
fn the_stored_lists_are_pinned() {
    let block = VectorBlock::new(1, &[0.0, 8.0, 1.0, 9.0]).unwrap();
    let bytes = build(&IndexSpec::ivf_flat(Metric::L2, 2), block, 1, &|| false).unwrap().encode();
    let words: Vec<u32> = bytes[16..bytes.len() - 4]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();

    // The number of lists, their centres, then the list of each row.
    assert_eq!(words, [2, 0.5f32.to_bits(), 8.5f32.to_bits(), 0, 1, 0, 1]);
}

#[test]
fn a_stored_width_that_is_unknown_is_refused() {
    let block = VectorBlock::new(2, &clustered(50, 2, 3, 13)).unwrap();
    let spec = IndexSpec { index_type: IndexType::HnswSq, ..IndexSpec::hnsw(Metric::L2, 4, 20) };
    let bytes = built(&spec, &block).encode();
    let mut damaged = bytes[..bytes.len() - 4].to_vec();
    let last = damaged.len() - 4;
    damaged[last..].copy_from_slice(&5u32.to_le_bytes());
    damaged.extend_from_slice(&crc32fast::hash(&damaged).to_le_bytes());

    let refused = decode(&damaged, block).err();
    assert_eq!(refused, Some(Error::Corrupt { what: "the width of its codes is unknown" }));
}

#[test]
fn one_thread_builds_the_same_graph_every_time() {
    let block = VectorBlock::new(40, &clustered(2000, 40, 20, 14)).unwrap();
    let spec = IndexSpec::hnsw(Metric::Ip, 8, 60);
    let build = |spec: &IndexSpec| build(spec, block.clone(), 1, &|| false).unwrap().encode();

    assert_eq!(build(&spec), build(&spec));
    assert_ne!(build(&spec), build(&IndexSpec { seed: 5, ..spec.clone() }));
}

#[test]
fn lists_do_not_depend_on_the_number_of_threads() {
    let block = VectorBlock::new(40, &clustered(2000, 40, 20, 15)).unwrap();
    let spec = IndexSpec::ivf_flat(Metric::Cosine, 30);
    let build = |threads| build(&spec, block.clone(), threads, &|| false).unwrap().encode();

    assert_eq!(build(1), build(3));
}

#[test]
fn a_build_stops_when_told() {
    let block = VectorBlock::new(40, &clustered(5000, 40, 20, 16)).unwrap();
    for spec in [IndexSpec::hnsw(Metric::Ip, 8, 60), IndexSpec::ivf_flat(Metric::Ip, 30)] {
        let result = build(&spec, block.clone(), 2, &|| true);
        assert_eq!(result.err(), Some(Error::Stopped), "{spec:?}");
    }
}

#[test]
fn more_lists_find_more() {
    let block = VectorBlock::new(48, &clustered(6000, 48, 60, 17)).unwrap();
    for metric in METRICS {
        let index = built(&IndexSpec::ivf_flat(metric, 64), &block);
        let found = [1, 16, 64].map(|lists| recall(&*index, &nprobe(lists), 10, None));
        assert!(found[0] <= found[1] && found[1] >= 0.9 && found[2] == 1.0, "{metric}: {found:?}");
    }
}

#[test]
fn a_range_is_answered_with_what_lies_in_it() {
    let block = VectorBlock::new(36, &clustered(4000, 36, 30, 18)).unwrap();
    let query = block.row(5);
    for metric in METRICS {
        let ranked = flat::search_block(&block, metric, query, 400, None).unwrap();
        let range = Range { radius: ranked[300].score, range_filter: Some(ranked[20].score) };
        let wanted: Vec<Hit> =
            ranked.iter().copied().filter(|hit| range.contains(metric, hit.score)).collect();
        assert_eq!(wanted.len(), 280);
        for spec in specs(metric) {
            let index = built(&spec, &block);
            let params = SearchParams { nprobe: Some(7), ..SearchParams::default() };
            let hits = index.range_search(query, &range, 1000, &params, None).unwrap();
            check_hits(&*index, query, &hits, None);
            let same = wanted.iter().filter(|wanted| hits.contains(wanted)).count();
            let least = if spec.index_type.form() == Form::Graph { 266 } else { 280 };
            assert!(same >= least && hits.len() <= 280, "{spec:?}: {same} of {}", hits.len());
            let hits = index.range_search(query, &range, 5, &params, None).unwrap();
            assert_eq!(hits.len(), 5);
        }
    }
}

#[test]
fn wrong_questions_are_refused() {
    let block = VectorBlock::new(4, &clustered(100, 4, 5, 19)).unwrap();
    for spec in specs(Metric::L2) {
        let index = built(&spec, &block);
        let error = index.search(&[1.0; 3], 3, &SearchParams::default(), None).unwrap_err();
        assert_eq!(error.to_string(), "vector dimension mismatch, expected vector size(byte) 16, actual 12");
    }
    let graph = built(&IndexSpec::hnsw(Metric::L2, 4, 20), &block);
    assert_eq!(graph.search(&[1.0; 4], 10, &ef(1), None), Err(Error::EfBelowK { ef: 1, k: 10 }));
}
