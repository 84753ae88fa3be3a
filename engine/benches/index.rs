//! Builds and searches the vector indexes on the real data set: recall, queries a second, build seconds.
//!
//! `cargo bench -p engine --bench index -- [DATA_DIRECTORY] [WHAT]...`, where `WHAT` is any of `flat`, `hnsw`, `auto`, `ivf`,
//! `filter`, `sparse` (all, if none is named). Sparse rows are made up, as unevenly as words are. The data set is looked for in `../shared/data` beside the repository.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints and may fail")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use engine::index::{
    Algorithm, Block, Index, IndexSpec, IndexType, SearchParams, SparseBlock, VectorBlock, VectorIndex,
    build, decode, flat,
};
use engine::model::{Bitset, Metric, SparseRow, SparseRows, Vector};

struct Set {
    block: Arc<VectorBlock>,
    queries: Vec<Vec<f32>>,
}

/// The shape and the bytes of a two-dimensional array file.
fn npy(path: &Path) -> (usize, usize, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..head]).into_owned();
    let shape = &text[text.find('(').unwrap() + 1..text.find(')').unwrap()];
    let mut sizes = shape.split(',').filter_map(|size| size.trim().parse().ok());
    (sizes.next().unwrap(), sizes.next().unwrap_or(1), bytes[head..].to_vec())
}

fn halves(path: &Path) -> (usize, Vec<f32>) {
    let (_, dim, bytes) = npy(path);
    (dim, bytes.chunks_exact(2).map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect())
}

fn recall(found: &[Vec<u32>], truth: &[Vec<u32>]) -> f64 {
    let right: usize = found
        .iter()
        .zip(truth)
        .map(|(found, truth)| found.iter().filter(|row| truth.contains(row)).count())
        .sum();
    right as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

/// Nanoseconds this thread spent on a processor: unlike the wall clock, blind to what else runs on the machine.
fn cpu_nanoseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Seconds that all threads of this process spent on processors.
fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    // The 14th and 15th field of the whole line: hundredths of a second, in the program and in the kernel.
    after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}

/// Builds what `spec` says on two threads, and prints what that took.
fn timed_build(spec: &IndexSpec, block: &Arc<VectorBlock>) -> Box<dyn VectorIndex> {
    let (start, cpu) = (Instant::now(), process_seconds());
    let index = build(spec, block.clone(), 2, &|| false).unwrap();
    println!(
        "{}: {:.1} s on 2 threads, {:.1} s of processor, {} bytes",
        spec.index_type.name(),
        start.elapsed().as_secs_f64(),
        process_seconds() - cpu,
        index.memory_bytes()
    );
    index
}

/// Rows found, queries a second and processor microseconds a query: the best of some rounds.
fn run(set: &Set, mut search: impl FnMut(&[f32]) -> Vec<u32>) -> (Vec<Vec<u32>>, f64, f64) {
    let (mut queries_a_second, mut microseconds) = (0.0f64, f64::INFINITY);
    let mut found = Vec::new();
    let count = set.queries.len() as f64;
    for _ in 0..8 {
        let (start, cpu) = (Instant::now(), cpu_nanoseconds());
        found = set.queries.iter().map(|query| search(query)).collect();
        queries_a_second = queries_a_second.max(count / start.elapsed().as_secs_f64());
        microseconds = microseconds.min((cpu_nanoseconds() - cpu) / count / 1000.0);
    }
    (found, queries_a_second, microseconds)
}

fn sweep(
    set: &Set,
    index: &dyn VectorIndex,
    truth: &[Vec<u32>],
    params: &[SearchParams],
    allowed: Option<&Bitset>,
) {
    for params in params {
        let (found, qps, cpu) = run(set, |query| {
            index.search(query, 10, params, allowed).unwrap().iter().map(|hit| hit.row).collect()
        });
        let SearchParams { ef, nprobe, .. } = params;
        println!(
            "  ef {ef:?}, nprobe {nprobe:?}: recall@10 {:.4}, {qps:.0} queries/s, {cpu:.0} us of processor a query",
            recall(&found, truth)
        );
    }
}

fn ef(ef: usize) -> SearchParams {
    SearchParams { ef: Some(ef), ..SearchParams::default() }
}

/// Made-up sparse rows of about `pairs` pairs each: few indices are in most rows, most in few.
fn sparse_rows(rows: usize, pairs: usize, mut seed: u64) -> SparseRows {
    let mut unit = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1 << 24) as f32
    };
    let mut all = SparseRows::new();
    for _ in 0..rows {
        let mut row = std::collections::BTreeMap::new();
        for _ in 0..pairs {
            row.insert((unit().powi(3) * 30_000.0) as u32, 0.05 + unit().powi(2) * 3.0);
        }
        let (indices, values): (Vec<u32>, Vec<f32>) = row.into_iter().unzip();
        all.push(SparseRow { indices: &indices, values: &values });
    }
    all
}

/// Every way to search sparse rows, by short queries and by long ones.
fn sparse() {
    let block = Block::Sparse(SparseBlock::new(sparse_rows(200_000, 120, 1)).unwrap());
    println!("{} sparse rows of 120 pairs", block.rows());
    let some = Bitset::from_fn(block.rows(), |row| row % 10 == 0);
    for (name, window) in [
        ("DAAT_MAXSCORE", 0),
        ("DAAT_WAND", 0),
        ("TAAT_NAIVE", 0),
        ("SINDI", 1024),
        ("SINDI", 8192),
        ("SINDI", 65_535),
    ] {
        let algorithm = Algorithm::from_name(name).unwrap();
        let index_type = IndexType::SparseInverted;
        let spec = IndexSpec { index_type, algorithm, window, ..IndexSpec::flat(Metric::Ip) };
        let start = Instant::now();
        let index = Index::build(&spec, &block, 1, &|| false).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!("{name} {window}: {seconds:.1} s, {} bytes", index.memory_bytes());
        for terms in [3, 10, 40, 120] {
            let queries = sparse_rows(50, terms, 2);
            let queries: Vec<Vector> =
                queries.iter().map(|query| Vector::Sparse(query.to_vector())).collect();
            for allowed in [None, Some(&some)] {
                // Of all rounds together: processor time is counted in steps of milliseconds.
                let (cpu, rounds) = (cpu_nanoseconds(), 20);
                for query in std::iter::repeat_n(&queries, rounds).flatten() {
                    index.search(query, 10, &SearchParams::default(), allowed).unwrap();
                }
                let micros = (cpu_nanoseconds() - cpu) / 1000.0 / (rounds * queries.len()) as f64;
                let of = if allowed.is_some() { "a tenth of the rows" } else { "all rows" };
                println!("  {terms} terms, {of}: {micros:.0} us of processor a query");
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let default = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let data = arguments.iter().map(PathBuf::from).find(|path| path.is_dir()).unwrap_or(default);
    let wants = |what: &str| {
        let named = ["flat", "hnsw", "auto", "ivf", "filter", "sparse"]
            .iter()
            .any(|known| arguments.iter().any(|given| given == known));
        !named || arguments.iter().any(|given| given == what)
    };
    if wants("sparse") {
        sparse();
    }
    if !data.join("debian-f16.npy").exists() {
        println!("no data set in {}: nothing measured", data.display());
        return;
    }
    let (dim, values) = halves(&data.join("debian-f16.npy"));
    let block = VectorBlock::new(dim, &values).unwrap();
    let queries = halves(&data.join("queries-f16.npy")).1.chunks_exact(dim).map(<[f32]>::to_vec).collect();
    let set = Set { block, queries };
    println!("{:?}, {} queries, {:?}", set.block, set.queries.len(), set.block.kernels());
    let answers = |allowed: Option<&Bitset>| -> Vec<Vec<u32>> {
        let queries: Vec<&[f32]> = set.queries.iter().map(Vec::as_slice).collect();
        let hits = flat::search_block_many(&set.block, Metric::Ip, &queries, 10, allowed).unwrap();
        hits.into_iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect()
    };
    let start = Instant::now();
    let truth = answers(None);
    println!("1,000 queries in one call: {:.0} queries/s", 1000.0 / start.elapsed().as_secs_f64());

    if wants("flat") {
        let index = timed_build(&IndexSpec::flat(Metric::Ip), &set.block);
        sweep(&set, &*index, &truth, &[SearchParams::default()], None);
    }
    if wants("hnsw") || wants("filter") {
        let index = timed_build(&IndexSpec::hnsw(Metric::Ip, 16, 200), &set.block);
        if wants("hnsw") {
            let bytes = index.encode();
            let start = Instant::now();
            let index = decode(&bytes, set.block.clone()).unwrap();
            println!("  stored in {} bytes, read in {:.3} s", bytes.len(), start.elapsed().as_secs_f64());
            sweep(&set, &*index, &truth, &[16, 32, 64, 128, 256].map(ef), None);
        }
        if wants("filter") {
            for percent in [1, 10, 20, 50, 90] {
                let allowed = Bitset::from_fn(set.block.rows(), |row| {
                    ((row as u64 * 0x9e37_79b9) >> 8) % 100 < percent
                });
                println!("  {percent} % of the rows");
                sweep(&set, &*index, &answers(Some(&allowed)), &[ef(64)], Some(&allowed));
            }
        }
    }
    if wants("auto") {
        let index = timed_build(&IndexSpec::auto(Metric::Ip), &set.block);
        sweep(&set, &*index, &truth, &[48, 64, 128, 288].map(ef), None);
    }
    if wants("ivf") {
        let index = timed_build(&IndexSpec::ivf_flat(Metric::Ip, 1024), &set.block);
        let lists =
            [1, 8, 32, 128].map(|lists| SearchParams { nprobe: Some(lists), ..SearchParams::default() });
        sweep(&set, &*index, &truth, &lists, None);
    }
}
