//! Which requests the log of a channel holds, so that a write that is sent again is done once.

use std::collections::{HashMap, VecDeque};

use crate::base::{NAMED_MS, Origin, Position, RequestId, Timestamp};
use crate::log::record;

/// How long a request is remembered: routers send a write again for some seconds. Unit: milliseconds.
pub const MADE_MS: u64 = 60_000;
/// Requests that are remembered of one channel at most, and inserts under names of clients. Each takes about 100 bytes.
const MOST: usize = 1 << 17;
/// Inserts that are remembered under one name at most.
const MOST_OF_A_NAME: usize = 256;

/// Where a write is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its position.
    pub position: Position,
    /// When it took effect.
    pub at: Timestamp,
}

/// What a record says of the request that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Where it comes from.
    pub origin: Origin,
    /// What it does, if it only adds rows and its client has named it.
    pub insert: Option<u64>,
    /// Whether rows that were there before may be gone by it.
    pub removes: bool,
}

impl Signed {
    /// What `record` says, which is of a request from `origin`.
    pub fn of(origin: Origin, record: &[u8]) -> Self {
        let removes = !record::is_insert(record);
        let insert = (origin.client.is_some() && !removes).then(|| record::content_of(record));
        Self { origin, insert, removes }
    }
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is in the log.
    There(Place),
    /// The same was inserted by another call of the same name.
    Named(Place),
    /// It is not.
    Not,
    /// It may have been, and is forgotten.
    Forgotten,
}

/// What was inserted under one name: by what it was, oldest first.
type Inserts = VecDeque<(u64, Place)>;

/// The requests that the log of a channel holds from some time on.
#[derive(Debug)]
pub struct Requests {
    made: HashMap<RequestId, Place>,
    /// Those in `made`, oldest first.
    in_order: VecDeque<(Timestamp, RequestId)>,
    named: HashMap<RequestId, Inserts>,
    /// When something was inserted under which name, oldest first.
    names_in_order: VecDeque<(Timestamp, RequestId)>,
    /// Every request whose record is later than this is in `made`.
    floor: Timestamp,
    /// Whether any was forgotten.
    has_forgotten: bool,
    /// Rows that were inserted up to this time may not be there any more: who inserts them again means it.
    cleared: Timestamp,
}

impl Requests {
    /// Those of a log that was just opened, in which no record is later than `newest`.
    pub fn new(newest: Timestamp) -> Self {
        Self {
            made: HashMap::new(),
            in_order: VecDeque::new(),
            named: HashMap::new(),
            names_in_order: VecDeque::new(),
            floor: newest,
            has_forgotten: false,
            cleared: Timestamp::ZERO,
        }
    }

    /// What is known of a write. `since` is a time before its record's, if it has one.
    pub fn find(&self, signed: &Signed, since: Timestamp) -> Known {
        let made = signed.origin.request.and_then(|request| self.made.get(&request));
        if let Some(place) = made {
            return Known::There(*place);
        }
        if let (Some(client), Some(insert)) = (signed.origin.client, signed.insert)
            && let Some(named) = self.named.get(&client)
            && let Some((_, place)) = named.iter().rev().find(|(known, _)| *known == insert)
            && place.at > self.cleared
        {
            return Known::Named(*place);
        }
        if signed.origin.request.is_some() && since < self.floor { Known::Forgotten } else { Known::Not }
    }

    /// Notes the newest record.
    pub fn note(&mut self, signed: &Signed, place: Place) {
        if let Some(request) = signed.origin.request {
            self.made.insert(request, place);
            self.in_order.push_back((place.at, request));
        }
        if let (Some(client), Some(insert)) = (signed.origin.client, signed.insert) {
            add(self.named.entry(client).or_default(), insert, place);
            self.names_in_order.push_back((place.at, client));
        }
        if signed.removes {
            self.clear(place.at);
        }
        self.forget(place.at);
    }

    /// From now on nothing that was inserted up to this time passes for a call that is made again.
    pub fn clear(&mut self, at: Timestamp) {
        self.cleared = self.cleared.max(at);
    }

    /// Forgets what is old, or too much.
    fn forget(&mut self, now: Timestamp) {
        let old = now.minus_ms(MADE_MS);
        while let Some((at, request)) = self.in_order.front().copied()
            && (at < old || self.in_order.len() > MOST)
        {
            self.in_order.pop_front();
            self.made.remove(&request);
            (self.floor, self.has_forgotten) = (self.floor.max(at), true);
        }
        let old = now.minus_ms(NAMED_MS);
        while let Some((at, client)) = self.names_in_order.front().copied()
            && (at < old || self.names_in_order.len() > MOST)
        {
            self.names_in_order.pop_front();
            if let Some(named) = self.named.get_mut(&client) {
                while named.pop_front_if(|(_, place)| place.at <= at).is_some() {}
                if named.is_empty() {
                    self.named.remove(&client);
                }
            }
        }
    }

    /// Whether requests of earlier owners may still be added.
    pub const fn takes_former(&self) -> bool {
        !self.has_forgotten
    }

    /// Adds what the log holds from before everything that is known, oldest first: all of it that is later than `floor`.
    pub fn note_former(&mut self, former: &[(Signed, Place)], floor: Timestamp) {
        let is_complete = self.takes_former();
        if is_complete {
            self.floor = floor;
        }
        let mut names: HashMap<RequestId, Inserts> = HashMap::new();
        for (signed, place) in former {
            if let (Some(client), Some(insert)) = (signed.origin.client, signed.insert) {
                add(names.entry(client).or_default(), insert, *place);
            }
            if signed.removes {
                self.clear(place.at);
            }
        }
        for (signed, place) in former.iter().rev() {
            if let Some(request) = signed.origin.request.filter(|_| is_complete) {
                if self.in_order.len() < MOST {
                    self.made.insert(request, *place);
                    self.in_order.push_front((place.at, request));
                } else {
                    (self.floor, self.has_forgotten) = (self.floor.max(place.at), true);
                }
            }
            if let (Some(client), Some(_)) = (signed.origin.client, signed.insert)
                && self.names_in_order.len() < MOST
            {
                self.names_in_order.push_front((place.at, client));
                if let Some(older) = names.remove(&client) {
                    add_before(self.named.entry(client).or_default(), older);
                }
            }
        }
    }
}

fn add(inserts: &mut Inserts, insert: u64, place: Place) {
    inserts.push_back((insert, place));
    if inserts.len() > MOST_OF_A_NAME {
        inserts.pop_front();
    }
}

/// Adds what was inserted before all of this.
fn add_before(inserts: &mut Inserts, older: Inserts) {
    let room = MOST_OF_A_NAME.saturating_sub(inserts.len());
    for insert in older.into_iter().rev().take(room) {
        inserts.push_front(insert);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(request: u128) -> Signed {
        Signed {
            origin: Origin { request: Some(RequestId(request)), client: None },
            insert: None,
            removes: false,
        }
    }

    fn place(number: u64) -> Place {
        Place { position: Position(number), at: Timestamp::from_unix_ms(number * 1_000) }
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut requests = Requests::new(Timestamp::ZERO);
        let many = MOST as u64 + 10;
        for number in 1..=many {
            let at = Timestamp(number);
            let client = Some(RequestId(u128::from(number % 3)));
            let origin = Origin { client, ..of(u128::from(number)).origin };
            requests.note(
                &Signed { origin, insert: Some(number), removes: false },
                Place { position: Position(number), at },
            );
        }

        assert_eq!((requests.made.len(), requests.in_order.len()), (MOST, MOST));
        assert_eq!((requests.named.len(), requests.names_in_order.len()), (3, MOST));
        assert!(requests.named.values().all(|named| named.len() == MOST_OF_A_NAME));
        assert_eq!(requests.find(&of(10), Timestamp(9)), Known::Forgotten);
        assert!(matches!(requests.find(&of(11), Timestamp(10)), Known::There(_)));
        assert_eq!(requests.find(&of(u128::MAX), Timestamp(10)), Known::Not);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A log of requests one to some seconds apart, of which the window has seen the end, reads back some of what is before,
        /// and then goes on.
        #[test]
        fn what_is_said_to_be_new_is_not_in_the_log_and_what_is_said_to_be_there_is(
            gaps in prop::collection::vec(1_u64..9, 1..60),
            parts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            asked in prop::collection::vec((0_u64..80, 0_u64..8), 40),
        ) {
            let times: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let opened = parts.0.index(times.len());
            let from = parts.1.index(opened + 1);
            let at = |number: usize| Timestamp::from_unix_ms(times[number] * 1_000);
            let entry = |number: usize| (of(number as u128), Place { position: Position(number as u64), at: at(number) });
            let newest = opened.checked_sub(1).map_or(Timestamp::ZERO, at);
            let mut requests = Requests::new(newest);
            let former: Vec<_> = (from..opened).map(entry).collect();
            let floor = from.checked_sub(1).map_or(Timestamp::ZERO, at);
            requests.note_former(&former, floor);
            for number in opened..times.len() {
                let (signed, place) = entry(number);
                requests.note(&signed, place);
            }

            for (number, before) in asked {
                let known = times.get(number as usize).map(|at| (*at, number));
                let sent = known.map_or(number * 3, |(at, _)| at).saturating_sub(before + 1);
                let since = Timestamp::from_unix_ms(sent * 1_000);
                match (requests.find(&of(u128::from(number)), since), known) {
                    (Known::There(found), Some((at, _))) => {
                        prop_assert_eq!(found, Place { position: Position(number), ..place(at) });
                    }
                    (Known::There(_), None) => prop_assert!(false, "{} was never there", number),
                    (Known::Named(_), _) => prop_assert!(false, "{} has no name", number),
                    (Known::Not, known) => prop_assert!(known.is_none(), "{} is there", number),
                    // Recent enough, and read back far enough.
                    (Known::Forgotten, known) => {
                        let last = times.last().copied().unwrap_or_default();
                        let is_old = sent + MADE_MS / 1_000 <= last;
                        prop_assert!(is_old || since < floor, "{:?} since {}", known, sent);
                    }
                }
            }
        }
    }
}
