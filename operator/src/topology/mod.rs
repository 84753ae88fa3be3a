//! Resource groups and collections: what is wanted and what the engine has → the next step, and what to tell the user. Pure.
//!
//! Each decision takes a picture and gives at most one action; the driver does it and asks again. Knows no client, no waiting
//! and no clock; the time is an argument.

mod collection;
mod collection_status;
mod differ;
mod fields;
mod group;
mod index;
mod observed;
mod rivals;
#[cfg(test)]
mod tests;
mod told;
mod wanted;

pub use collection::{CollectionAction, CollectionPicture, collection};
pub use collection_status::collection_status;
pub use group::{GroupAction, GroupPicture, Pods, group, group_status};
pub use observed::{
    EngineAlias, EngineCollection, EngineField, EngineGroup, EngineIndex, EngineReplica, EngineSchema,
    Loading, NewCollection, NodeClaims,
};
pub use told::{Database, Reason, Step, Wait};
pub use wanted::{claims, placement};
