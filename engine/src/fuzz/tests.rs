//! The inputs that the repository keeps, against what is promised of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::TARGETS;

/// The most that one target's inputs may take, so that they stay seeds and regressions. Unit: bytes.
const MOST: usize = 64 << 10;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(&file).unwrap())).collect()
}

#[test]
fn what_is_promised_of_any_bytes_holds_for_the_inputs_that_are_kept() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no inputs", target.name);
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(bytes <= MOST, "{}: {bytes} bytes", target.name);
        for (file, input) in inputs {
            let held = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(held.is_ok(), "{}", file.display());
        }
    }
}

#[test]
fn what_is_promised_of_any_bytes_holds_for_those_to_begin_with_cut_and_changed() {
    for target in TARGETS {
        for seed in (target.seeds)() {
            (target.run)(&seed);
            // One change in each, at a place that follows from it.
            let place = seed
                .iter()
                .fold(seed.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
            if let Some(at) = place.checked_rem(seed.len()) {
                (target.run)(&seed[..at]);
                let mut changed = seed;
                changed[at] ^= 0x15;
                (target.run)(&changed);
            }
        }
    }
}

/// Writes the inputs to begin with: `cargo test -p engine --lib -- --ignored seeds_are_written`.
#[test]
#[ignore = "writes files"]
fn seeds_are_written() {
    for target in TARGETS {
        let folder = corpus(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        let seeds: BTreeSet<Vec<u8>> = (target.seeds)().into_iter().collect();
        for (number, seed) in seeds.into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}
