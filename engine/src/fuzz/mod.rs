//! The table of fuzz targets: for each, what is promised of any bytes that come from outside, and inputs to begin with.
//!
//! What is promised stands in each room's own `fuzz` module, once. It is run by libFuzzer (`tests/fuzz`, `make soak PART=fuzz`), and by
//! the test below with the inputs that `tests/fuzz/corpus` keeps. Never in a production build.

use crate::{assembly, builder, coord, expr, index, intake, log, proxy, rpc, segment, text};

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Holds what is promised of these bytes; panics where it does not.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// All targets of this crate.
pub const TARGETS: [Target; 14] = [
    target("expression", expr::fuzz::expression, expr::fuzz::expressions),
    target("call", rpc::net::fuzz::call, rpc::net::fuzz::calls),
    target("rows", intake::fuzz::rows, intake::fuzz::seeds),
    target("grpc", proxy::fuzz::grpc, proxy::fuzz::calls),
    target("rest", proxy::fuzz::rest, proxy::fuzz::requests),
    target("log", log::fuzz::stored, log::fuzz::stores),
    target("segment", segment::fuzz::object, segment::fuzz::objects),
    target("catalog", coord::fuzz::catalog, coord::fuzz::catalogs),
    target("index", index::fuzz::index, index::fuzz::indexes),
    target("import-parquet", builder::fuzz::parquet, builder::fuzz::parquets),
    target("import", builder::fuzz::files, builder::fuzz::seeds),
    target("analyzer", text::fuzz::analyzer, text::fuzz::analyzers),
    target("settings", assembly::fuzz::settings, assembly::fuzz::files),
    target("credentials", proxy::access_fuzz::credentials, proxy::access_fuzz::seeds),
];

#[cfg(test)]
mod tests;
