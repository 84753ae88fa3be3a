//! The coordinator, whichever node it is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::NetDial;
use super::coord_call::Repeat::{self, Safe, Unsafe};
use super::coord_call::{
    Channels, Groups, LaterChoice, Lend as _, Names, Nodes, Pairs, Segments, SomeNames, SomeNumber,
    coord_calls, of_alias, of_change, of_policy,
};
use crate::base::{ChannelName, Clock, CollectionId, Kind, Kinded as _, NodeId, Timestamp};
use crate::model::ChannelManifest;
use crate::model::access::Policy;
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress,
    LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report,
    Routes, SteerChange, Steering,
};

/// First wait before a call is tried again; doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(20);
/// Longest such wait.
const PAUSE_MOST: Duration = Duration::from_millis(500);
/// How long it is asked who leads while the remembered leader still answers: whoever knows may be what is away.
const DOUBT: Duration = Duration::from_millis(500);

/// Knows which node leads.
#[async_trait]
pub trait FindLeader: Send + Sync + 'static {
    /// The address of the node that leads; `None` while nobody is known to. `not` is one that was asked and does not
    /// lead, or could not be reached: what was remembered of it is old. Returns soon and may well name it again.
    async fn leader(&self, not: Option<&str>) -> Option<String>;
}

/// Makes clients of the coordinator of a node, without looking for another one when that does not lead.
pub trait ReachCoord: Send + Sync + 'static {
    /// The coordinator of the node at `address`.
    fn coord(&self, address: &str) -> Arc<dyn Coord>;
}

impl ReachCoord for NetDial {
    fn coord(&self, address: &str) -> Arc<dyn Coord> {
        Self::coord(self, address)
    }
}

/// The coordinator as every duty calls it. Remembers who leads; when that node says that it does not, or cannot be
/// reached, asks again who does and repeats what may be repeated, until [`super::NetSettings::patience`] is over.
///
/// A call that did nothing ([`Error::Stale`]) is repeated whatever it is. A call whose outcome is unknown is repeated if
/// doing it twice is as good as once; the others fail with kind `Unavailable`, and their caller must look what became of
/// them. Cancel safe as far as the calls themselves are.
pub struct CoordClient {
    find: Arc<dyn FindLeader>,
    reach: Arc<dyn ReachCoord>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    leader: Mutex<Option<String>>,
    doubted: AtomicBool,
}

impl CoordClient {
    /// Asks `find` who leads and `dial` to carry the calls.
    #[must_use]
    pub fn new(find: Arc<dyn FindLeader>, dial: Arc<NetDial>) -> Self {
        let (clock, patience) = (dial.clock(), dial.settings().patience);
        Self::over(find, dial, clock, patience)
    }

    /// The same over any carrier of calls; `patience` is how long a call is tried again.
    #[must_use]
    pub fn over(
        find: Arc<dyn FindLeader>,
        reach: Arc<dyn ReachCoord>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Self {
        Self { find, reach, clock, patience, leader: Mutex::new(None), doubted: AtomicBool::new(false) }
    }

    /// The address of the remembered leader, or of the one found now.
    async fn leader(&self, not: Option<&str>) -> Option<String> {
        let remembered = self.leader.lock().clone();
        if remembered.is_some() && self.doubted.swap(false, Ordering::Relaxed) {
            return self.leader_instead_of(remembered).await;
        }
        if let Some(leader) = remembered.filter(|leader| not != Some(leader)) {
            return Some(leader);
        }
        let found = self.find.leader(not).await;
        let mut remembered = self.leader.lock();
        // Whoever knows may be what is away. Then the last one is asked again: it leads, or says that it does not.
        if found.is_some() {
            remembered.clone_from(&found);
        }
        remembered.clone()
    }

    /// Who leads instead of a leader that answers and may have been replaced; itself if nobody can say.
    async fn leader_instead_of(&self, remembered: Option<String>) -> Option<String> {
        let found = tokio::select! {
            found = self.find.leader(None) => found,
            () = self.clock.sleep(DOUBT) => None,
        };
        if let (Some(found), Some(old)) = (&found, &remembered)
            && found != old
        {
            tracing::info!(old, leader = found, "another node leads");
            *self.leader.lock() = Some(found.clone());
        }
        found.or(remembered)
    }
}

/// One call over its tries.
struct Tries<'a> {
    client: &'a CoordClient,
    call: &'static str,
    repeat: Repeat,
    until: Duration,
    pause: Duration,
    /// Whom the last try asked, and what came of it.
    last: Option<(String, Error)>,
}

impl<'a> Tries<'a> {
    fn new(client: &'a CoordClient, call: &'static str, repeat: Repeat) -> Self {
        let until = client.clock.monotonic() + client.patience;
        Self { client, call, repeat, until, pause: PAUSE, last: None }
    }

    /// Whom to ask now. Waits for a leader, and a while before each further try that would ask the same node again.
    async fn next(&mut self) -> Result<(String, Arc<dyn Coord>), Error> {
        loop {
            let not = self.last.as_ref().map(|(address, _)| address.clone());
            let found = self.client.leader(not.as_deref()).await;
            match found {
                Some(address) if not.as_ref() != Some(&address) => {
                    return Ok((address.clone(), self.client.reach.coord(&address)));
                }
                found => {
                    self.wait().await?;
                    if let Some(address) = found {
                        return Ok((address.clone(), self.client.reach.coord(&address)));
                    }
                }
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        if self.client.clock.monotonic() + self.pause > self.until {
            let nobody = "no node is known to lead".to_owned();
            let failure = Error::Failed { call: self.call, kind: Kind::Unavailable, reason: nobody };
            return Err(self.last.take().map_or(failure, |(_, error)| error));
        }
        self.client.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MOST);
        Ok(())
    }

    /// What the caller gets, unless there is to be another try.
    fn judge<T>(&mut self, asked: String, outcome: Result<T, Error>) -> Option<Result<T, Error>> {
        let error = match outcome {
            Ok(value) => return Some(Ok(value)),
            Err(error) => error,
        };
        let is_repeated = match (&error, self.repeat) {
            (Error::Refused(_), _) => false,
            (Error::Stale { .. }, _) => true,
            (Error::Failed { .. }, Repeat::Safe) => {
                matches!(error.kind(), Kind::Unavailable | Kind::Fenced)
            }
            (Error::Failed { .. }, Repeat::Unsafe) => {
                // This call is over, but later ones should not run into the same.
                if error.kind() == Kind::Unavailable {
                    self.client.doubted.store(true, Ordering::Relaxed);
                }
                false
            }
        };
        if !is_repeated || self.client.clock.monotonic() >= self.until {
            return Some(Err(error));
        }
        tracing::debug!(call = self.call, leader = asked, %error, "asking again who leads");
        self.last = Some((asked, error));
        None
    }
}

macro_rules! repeat {
    ($($call:ident($($name:ident: $taken:ty as $kept:ty),*) -> $value:ty, $repeat:expr;)+) => {
        #[async_trait]
        impl Coord for CoordClient {
            fn doubt(&self) {
                self.doubted.store(true, Ordering::Relaxed);
            }

            $(async fn $call(&self, $($name: $taken),*) -> Result<$value, Error> {
                $(let $name = <$kept>::from($name);)*
                let mut tries = Tries::new(self, stringify!($call), $repeat);
                loop {
                    let (asked, coord) = tries.next().await?;
                    let outcome = coord.$call($($name.lend()),*).await;
                    if let Some(outcome) = tries.judge(asked, outcome) {
                        return outcome;
                    }
                }
            })+
        }
    };
}

coord_calls!(repeat);
