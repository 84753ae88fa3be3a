//! What goes wrong in the world now, and how often each thing did.

use std::collections::{BTreeMap, BTreeSet};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A process ends where it stands and is started anew later.
    Kill,
    /// The same, for the coordinator that leads.
    KillLeader,
    /// A process is stopped for a while and goes on as if nothing had been.
    Pause,
    /// Machines do not hear each other, or one does not hear the other.
    Partition,
    /// Requests or answers are lost, and the connection with them.
    Loss,
    /// Connections are reset under a call.
    Reset,
    /// Messages take long.
    SlowNetwork,
    /// The object store answers 503.
    StoreErrors,
    /// The object store takes long.
    StoreSlow,
    /// The object store did it, and its answer is lost.
    StoreLostAnswer,
    /// The object store does not answer at all.
    StoreDown,
    /// The metadata does not answer, or committed and its answer is lost.
    MetaAway,
    /// A wall clock jumps.
    ClockStep,
    /// Wall clocks are off by up to an hour from the start, and all clocks run a little too fast or too slow.
    ClockSkew,
}

impl Fault {
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::KillLeader,
        Self::Pause,
        Self::Partition,
        Self::Loss,
        Self::Reset,
        Self::SlowNetwork,
        Self::StoreErrors,
        Self::StoreSlow,
        Self::StoreLostAnswer,
        Self::StoreDown,
        Self::MetaAway,
        Self::ClockStep,
        Self::ClockSkew,
    ];
}

/// An end of a connection: a machine by its number, or something that every machine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Site(usize),
    Clients,
    Store,
    Metas,
}

/// What goes wrong now. Chances are in thousandths.
#[derive(Debug, Default)]
pub struct Weather {
    /// Nothing gets from the first to the second.
    pub blocked: BTreeSet<(End, End)>,
    pub loss_permille: u64,
    pub reset_permille: u64,
    /// Longest time of a message on its way; 0 for the usual. Unit: ms.
    pub slow_network_ms: u64,
    pub store_errors_permille: u64,
    /// How often the client of the store repeats a call that is refused, as real ones do; 0 for never, which is harder.
    pub store_repeats: u32,
    /// Shortest time of a call; 0 for the usual. Unit: ms.
    pub store_slow_from_ms: u64,
    /// Longest time of a call; 0 for the usual. Unit: ms.
    pub store_slow_ms: u64,
    pub store_lost_permille: u64,
    pub is_store_down: bool,
    pub is_meta_away: bool,
    pub meta_lost_permille: u64,
}

/// How often each fault has happened: each message lost, each call failed, each process ended.
pub type Fired = BTreeMap<Fault, u64>;
