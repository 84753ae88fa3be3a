//! All fuzz targets as one program for libFuzzer, so that there is one to link. The variable REDKITE_FUZZ says which one is run.
//!
//! What each one does is in `engine::fuzz` and `operator::fuzz`.
#![no_main]
#![allow(clippy::panic, clippy::print_stderr, reason = "a target fails by panicking, as a test does")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let engine = engine::fuzz::TARGETS.map(|target| (target.name, target.run));
    let operator = operator::fuzz::TARGETS.map(|target| (target.name, target.run));
    let wanted = std::env::var("REDKITE_FUZZ").unwrap_or_default();
    let mut all = engine.into_iter().chain(operator);
    let found = all.find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("REDKITE_FUZZ names no target: {wanted:?}")).1
});

fuzz_target!(|data: &[u8]| RUN(data));
