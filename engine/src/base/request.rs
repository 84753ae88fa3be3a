//! What tells a write apart from every other one, so that it can be sent again and is done once.

/// The number of one write to one channel, or of a call as its client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

/// How long a call is known by the name that its client gives it. Unit: milliseconds.
pub const NAMED_MS: u64 = 600_000;

/// What the record of a write says of where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The number that a router has given it; a write that is sent again has the same.
    pub request: Option<RequestId>,
    /// What its client calls the call that it is of. One name may stand for several calls.
    pub client: Option<RequestId>,
}
