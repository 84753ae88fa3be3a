//! Rules that a test can leave out, to see that the tests would notice.

/// A rule left out. No setting leads here: only tests make a coordinator like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nodes let go of what only an older route needs before every proxy has forgotten that route.
    EarlyRelease,
    /// Replaced objects are removed at once, also while nodes hold or load their segments.
    EarlyGarbage,
    /// A new leader does not go on with the time of the one before: it begins with its own wall clock, and where that is behind with
    /// what was made durable, however long ago.
    OwnTime,
}
