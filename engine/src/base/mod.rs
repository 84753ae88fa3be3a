//! What every room stands on: ids, hybrid time, error kinds, the seams for clock and randomness, supervised tasks.
//!
//! No I/O, no other room, no serialization of wire or disk.

mod clock;
mod id;
mod kind;
mod rng;
mod task;
mod time;

pub use clock::{Clock, RealClock, TestClock};
pub use id::{
    ChannelName, CollectionId, DatabaseId, FieldId, IndexId, NodeId, PartitionId, Position, SegmentId,
};
pub use kind::{Kind, Kinded, chain};
pub use rng::{Rng, SeededRng};
pub use task::{TaskError, TaskSet};
pub use time::Timestamp;
