//! Versions of the formats: of records in the metadata and of objects in the bucket.
//!
//! A cluster writes the version that it was finalized to, and every process reads that one and those before it. A process
//! that is newer goes on writing the old version until `redkite ctl finalize` raises it; so it can be replaced by the
//! version before it until then, and not any more afterwards.

/// The newest version that this build reads, and writes once the cluster is finalized to it.
///
/// Built with `REDKITE_NEXT_FORMAT=1` in the environment it is one more: a stand-in for the next release, by which tests
/// show what an upgrade and a way back do.
pub const NEWEST_FORMAT: u32 = if option_env!("REDKITE_NEXT_FORMAT").is_some() { 2 } else { 1 };

/// The version of a cluster that was never finalized.
pub const FIRST_FORMAT: u32 = 1;
