//! The admin API (`redkite.admin.v1`) as its callers may rely on it: [`conformance`], which a real engine passes, and
//! [`Twin`], a cluster in memory that passes it too, for tests of whoever calls.

mod conformance;
mod twin;

pub use conformance::conformance;
pub use twin::Twin;
