//! What should exist: `Milvus` → [`Checked`] → [`Objects<Planned>`]. Pure.
//!
//! [`check`] reads the whole spec once and names every field that cannot be carried out; after it nothing is left to
//! check. [`render`] turns a checked object into Kubernetes objects. Neither knows what exists now, nor the time.

mod check;
mod fields;
mod hash;
mod image;
mod object;
mod quantity;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod workload;

pub use check::{Checked, Fault, FaultReason, Platform, check, deletes_data};
pub use image::{BadCatalog, Catalog, CatalogEntry, Image};
pub use object::{Live, Objects, Planned, Wanted, fit_claim, owner, render};
pub use storage::{DataClaim, DataStore, ExternalStorage};
