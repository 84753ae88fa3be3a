//! The operator: takes `Milvus` objects and keeps the engine's workloads as they say.
//!
//! Read the rooms in the order of a reconcile: [`crd`] (what a user writes) → [`render`] (what should exist) →
//! [`cluster`] (making it exist) → [`rollout`] (what it means) → [`drive`] (running the steps). [`reach`] looks whether what a
//! database stands on answers. [`certificates`] decides when which certificate is issued. [`topology`] decides what a running engine is
//! told about resource groups and replicas, and [`engine_admin`] tells it. [`scaling`] decides numbers of pods that follow
//! the load.

pub mod certificates;
pub mod cluster;
pub mod crd;
pub mod drive;
pub mod engine_admin;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod reach;
pub mod render;
pub mod rollout;
pub mod scaling;
pub mod topology;
