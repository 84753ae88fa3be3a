//! What the live objects mean: what may be changed next, how far the workloads are, and what to tell the user. Pure.
//!
//! Takes what exists and answers with turns and a status. Knows no client, no waiting and no clock; the time is an argument.

mod certificates;
mod errors;
mod failure;
mod foreign;
mod foundation;
mod observed;
mod order;
mod replicas;
mod report;
mod standing;
mod total;
mod trouble;
mod upgrade;

pub use certificates::{CertificateState, Held};
pub use errors::{Calls, ERRORS, Errors, MAX_ERROR_PERCENT, Verdict, all_given, erring, newest};
pub use failure::{Look, failure, unsteady};
pub use foreign::ForeignRelease;
pub use foundation::{Dependency, Found, SecretFault, Silent};
pub use observed::{Observed, Progress};
pub use order::{Turn, leftovers, order};
pub use replicas::{replicas, shrink, shrinks};
pub use report::{Picture, refused, removing, report};
pub use standing::{Attempt, backwards, rolled_back, standing};
pub use total::Total;
pub use trouble::trouble;
pub use upgrade::{UpgradeStep, upgrade};
