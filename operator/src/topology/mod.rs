//! Resource groups and replicas: what is wanted and what the engine has → the next step, and what to tell the user. Pure.
//!
//! Each decision takes a picture and gives at most one action; the driver does it and asks again. Knows no client, no waiting
//! and no clock; the time is an argument.

mod collection;
mod group;
mod observed;
mod told;
mod wanted;

pub use collection::{CollectionAction, CollectionPicture, collection, collection_status};
pub use group::{GroupAction, GroupPicture, Pods, group, group_status};
pub use observed::{EngineCollection, EngineGroup, EngineReplica, Loading, NodeClaims};
pub use told::{Database, Reason, Step, Wait};
pub use wanted::{claims, placement};
