//! Who leads: one record that the leader renews, and that a candidate replaces once it has stood still for long enough.
//!
//! Nobody compares clocks of two machines: a candidate measures by its own clock how long it has seen the record
//! unchanged, and a leader by its own clock how long ago it began its last renewal that succeeded. That two may believe
//! to lead for a moment does no harm: every commit expects the epoch's version, and only one of them has it.
//!
//! Nor does a candidate compare its wall clock with a leader's: it measures the same way how long ago the leader has said its
//! time, and goes on from there.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::coord::page::REBUILDING;
use crate::coord::time::Former;
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn, Versioned};

/// Record whose version is the leader's right to commit.
pub const EPOCH: &str = "coord/epoch";
/// Record that says who leads.
const LEADER: &str = "coord/leader";
/// Record that each commit of a leader replaces, expecting the one before: of several attempts at a commit one can succeed, none
/// that comes late does, and which commit was the last is written in it. Of one metadata store, and of no meaning to the next leader.
pub const TURN: &str = "coord/turn";
/// Record in which is written which renewal was the last.
const RENEWAL: &str = "coord/renewal";
/// Record of the bound of what a leader says the time is, renewed with the lead.
///
/// Only of use while nodes of the cluster run that heard it. So a copy of the catalog does not have it: where metadata is made
/// anew from one, everybody was stopped. A leader that is alone leaves it as it is: its process has all nodes.
pub const SAID: &str = "coord/said";

/// Who leads, as the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Where calls to it go.
    pub address: String,
    /// Whether it has given up the lead, so that nobody need wait.
    pub resigned: bool,
}

/// When a leader is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadSettings {
    /// A record that has not changed for so long is a dead leader's.
    pub ttl: Duration,
    /// How often a leader renews, and a candidate looks.
    pub every: Duration,
    /// Whether nobody else can be leading, since the metadata is a file that this process has locked.
    pub alone: bool,
    /// Where calls to this process go.
    pub address: String,
}

/// What a candidate has seen of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its version, and since when it has been that, on the candidate's monotonic clock.
    last: Option<(u64, Duration)>,
}

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Looks again later.
    Wait,
    /// Replaces the record, which has this version (`None`: is absent).
    TakeOver(Option<u64>),
}

impl Seen {
    /// Decides on the record as it was just read, at `now`.
    pub fn decide(&mut self, found: Option<(u64, &Leader)>, settings: &LeadSettings, now: Duration) -> Next {
        let Some((version, leader)) = found else { return Next::TakeOver(None) };
        if settings.alone || leader.resigned {
            return Next::TakeOver(Some(version));
        }
        match self.last {
            Some((known, since)) if known == version => {
                if now.saturating_sub(since) > settings.ttl {
                    return Next::TakeOver(Some(version));
                }
            }
            _ => self.last = Some((version, now)),
        }
        Next::Wait
    }
}

/// What a candidate has heard of the time: the bound of what leaders say, as it was each time the candidate looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The bound, and since when it has been that, on the candidate's monotonic clock.
    last: Option<(Timestamp, Duration)>,
    /// Whether it has been another one before.
    has_moved: bool,
}

impl Heard {
    /// Notes the bound as it was just read, at `now`.
    pub fn note(&mut self, said: Timestamp, now: Duration) {
        if self.last.is_some_and(|(known, _)| known == said) {
            return;
        }
        self.has_moved |= self.last.is_some();
        self.last = Some((said, now));
    }

    /// What that says of the time, if leaders make each bound for the next `span`; `None` before the first look.
    pub fn former(&self, span: Duration) -> Option<Former> {
        let (bound, since) = self.last?;
        Some(Former::of(bound, span, since, self.has_moved))
    }
}

/// The record of who leads.
///
/// # Errors
/// If the store fails or the record cannot be understood.
pub async fn read(metas: &dyn Metas) -> Result<Option<(u64, Leader)>, Error> {
    let failed = |source| Error::ReadCatalog { prefix: LEADER, source };
    let Some(Versioned { value, version }) = metas.get(LEADER).await.map_err(failed)? else {
        return Ok(None);
    };
    Ok(Some((version, record::decode(LEADER, &value)?)))
}

/// Replaces the leader whose record has `version`, and with it the bound of what leaders say, if the new one has one: whoever comes
/// next goes on from there, although this one may be gone before its first renewal. Returns the new epoch: the version of both records.
///
/// # Errors
/// [`Error::Deposed`] if another candidate was faster, or the catalog is being made anew.
pub async fn take_over(
    metas: &dyn Metas,
    version: Option<u64>,
    address: &str,
    said: Option<Timestamp>,
) -> Result<u64, Error> {
    let leader = Leader { address: address.to_owned(), resigned: false };
    let txn = match version {
        Some(version) => Txn::new().expect_version(LEADER, version),
        None => Txn::new().expect_absent(LEADER),
    };
    // Nobody leads while the catalog is made anew.
    let txn = txn
        .expect_absent(REBUILDING)
        .put(LEADER, record::encode(LEADER, &leader)?)
        .put(EPOCH, Bytes::from(address.to_owned()))
        // So that its version is known to the new leader.
        .put(TURN, Bytes::from_static(b"take over"));
    let txn = match said {
        Some(said) => txn.put(SAID, record::encode(SAID, &said)?),
        None => txn,
    };
    metas.commit(txn).await.map_err(Error::of_commit)
}

/// What a former leader may have said the time is, at the latest.
///
/// # Errors
/// If the store fails or the record cannot be understood.
pub async fn said(metas: &dyn Metas) -> Result<Timestamp, Error> {
    let failed = |source| Error::ReadCatalog { prefix: SAID, source };
    match metas.get(SAID).await.map_err(failed)? {
        Some(stored) => record::decode(SAID, &stored.value),
        None => Ok(Timestamp::ZERO),
    }
}

/// The version that the record of who leads has, for the leader of `epoch`.
///
/// # Errors
/// [`Error::Deposed`] if another coordinator leads by now; if the store fails.
pub async fn version(metas: &dyn Metas, epoch: u64) -> Result<u64, Error> {
    let failed = |source| Error::ReadCatalog { prefix: LEADER, source };
    let found = metas.get(LEADER).await.map_err(failed)?.ok_or(Error::Deposed)?;
    let right = metas.get(EPOCH).await.map_err(failed)?.ok_or(Error::Deposed)?;
    if right.version == epoch { Ok(found.version) } else { Err(Error::Deposed) }
}

/// Renews the lead of `epoch`, whose record has `version`, and with it the bound of what the leader says, if it has one.
/// Returns the record's new version. A renewal that comes late, after a later one, does nothing: it would take the bound back.
/// `number` is another one for each renewal of this leader.
///
/// # Errors
/// [`Error::Deposed`] if the record is another one by now, by another coordinator or by a late renewal.
pub async fn renew(
    metas: &dyn Metas,
    epoch: u64,
    version: u64,
    number: u64,
    leader: &Leader,
    said: Option<Timestamp>,
) -> Result<u64, Error> {
    let txn = Txn::new().expect_version(EPOCH, epoch).expect_version(LEADER, version);
    let txn = txn.put(LEADER, record::encode(LEADER, leader)?).mark(RENEWAL, mark_of(epoch, number));
    let txn = match said {
        Some(said) => txn.put(SAID, record::encode(SAID, &said)?),
        None => txn,
    };
    metas.commit(txn).await.map_err(Error::of_commit)
}

/// What marks a transaction of the leader of `epoch`, who gives each one of a kind another number.
pub fn mark_of(epoch: u64, number: u64) -> Bytes {
    Bytes::from(format!("{epoch}/{number}"))
}

/// Gives up the lead of `epoch`, and with it the right to commit: what is still on its way does nothing.
///
/// # Errors
/// [`Error::Deposed`] if another coordinator leads by now.
pub async fn give_up(metas: &dyn Metas, epoch: u64, address: &str) -> Result<(), Error> {
    let leader = Leader { address: address.to_owned(), resigned: true };
    let txn = Txn::new()
        .expect_version(EPOCH, epoch)
        .put(EPOCH, Bytes::from(address.to_owned()))
        .put(LEADER, record::encode(LEADER, &leader)?);
    metas.commit(txn).await.map_err(Error::of_commit).map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Heard, LeadSettings, Leader, Next, Seen};
    use crate::base::Timestamp;
    use crate::coord::time::Former;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> LeadSettings {
        LeadSettings { ttl: 6 * SECOND, every: SECOND, alone: false, address: "here".to_owned() }
    }

    fn leader(resigned: bool) -> Leader {
        Leader { address: "there".to_owned(), resigned }
    }

    #[test]
    fn a_record_that_moves_is_left_alone() {
        let mut seen = Seen::default();

        let decided: Vec<Next> = (0..20)
            .map(|second| {
                seen.decide(Some((u64::from(second), &leader(false))), &settings(), second * SECOND)
            })
            .collect();

        assert_eq!(decided, vec![Next::Wait; 20]);
    }

    #[test]
    fn a_record_that_stood_still_for_the_whole_time_is_replaced() {
        let mut seen = Seen::default();

        let decided: Vec<Next> = [0, 3, 6, 7]
            .map(|second| seen.decide(Some((5, &leader(false))), &settings(), second * SECOND))
            .into();

        assert_eq!(decided, [Next::Wait, Next::Wait, Next::Wait, Next::TakeOver(Some(5))]);
    }

    #[test]
    fn the_time_that_a_leader_said_is_counted_from_when_it_was_seen_first() {
        let said = |seconds: u64| Timestamp::from_unix_ms(seconds * 1_000);
        let mut heard = Heard::default();
        let mut known = vec![heard.former(6 * SECOND)];

        for (bound, at) in [(106, 1_u32), (106, 3), (107, 4), (107, 90)] {
            heard.note(said(bound), at * SECOND);
            known.push(heard.former(6 * SECOND));
        }

        let of = |bound: u64, since: u32, is_fresh: bool| {
            Some(Former::of(said(bound), 6 * SECOND, since * SECOND, is_fresh))
        };
        let (first, second) = (of(106, 1, false), of(107, 4, true));
        assert_eq!(known, [None, first, first, second, second]);
    }

    #[test]
    fn nobody_waits_for_a_leader_that_has_resigned_or_never_was() {
        let resigned = Seen::default().decide(Some((5, &leader(true))), &settings(), SECOND);
        let absent = Seen::default().decide(None, &settings(), SECOND);
        let alone = LeadSettings { alone: true, ..settings() };
        let sole = Seen::default().decide(Some((5, &leader(false))), &alone, SECOND);

        assert_eq!(
            [resigned, absent, sole],
            [Next::TakeOver(Some(5)), Next::TakeOver(None), Next::TakeOver(Some(5))]
        );
    }
}
