//! Claims about where calls go, over nodes and a coordinator that do as they are told.

mod cache;
mod read;
pub(crate) mod twin;
mod write;
