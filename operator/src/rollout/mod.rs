//! What the live objects mean: how far the workload is, and what to tell the user. Pure.
//!
//! Takes what exists and answers with a status. Knows no client, no waiting and no clock; the time is an argument.

mod observed;
mod report;

pub use observed::{Observed, Progress};
pub use report::{Picture, refused, removing, report};
