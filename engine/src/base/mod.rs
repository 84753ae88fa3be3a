//! What every room stands on: ids, hybrid time, error kinds, the seams for clock and randomness, supervised tasks,
//! memory for work in passing, secrets.
//!
//! No I/O, no other room, no serialization of wire or disk.

mod accept;
mod clock;
mod format;
mod id;
mod kind;
mod node_time;
mod passing;
mod request;
mod rng;
mod secret;
mod task;
mod time;

pub use accept::accept;
pub use clock::{Clock, DRIFT, RealClock, TestClock, sooner};
pub use format::{FIRST_FORMAT, FUNCTIONS_FORMAT, REQUESTS_FORMAT, newest_format};
pub use id::{
    ChannelName, CollectionId, DatabaseId, FieldId, IndexId, NodeId, PartitionId, Position, SegmentId,
};
pub use kind::{Kind, Kinded, chain};
pub use node_time::NodeTime;
pub use passing::{Passing, Permit, Shares, Work};
pub use request::{NAMED_MS, Origin, RequestId};
pub use rng::{Rng, SeededRng};
pub use secret::Secret;
pub use task::{TaskError, TaskSet, heavy};
pub use time::Timestamp;
