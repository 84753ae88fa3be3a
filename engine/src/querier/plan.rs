//! What to do next for a channel: decided from what is held and what is ordered, with nothing else.

use crate::base::{Position, SegmentId};
use crate::model::SegmentManifest;
use crate::rpc::HoldChannel;

/// How a follower of a channel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// It has applied everything that was acknowledged when it started.
    pub(super) caught_up: bool,
    /// The log no longer has what it would apply next.
    pub(super) lost: bool,
    /// It keeps rows that are not sealed.
    pub(super) rows: bool,
}

/// What there is of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// What is read.
    pub(super) serving: Option<Side>,
    /// What is to take its place.
    pub(super) coming: Option<Side>,
    /// The last position of which is known that the log no longer has it.
    pub(super) gone: Option<Position>,
    /// The last try failed a moment ago.
    pub(super) pausing: bool,
}

/// What to do about following a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing now.
    Stay,
    /// Begin to follow the log from a position, which is to take the place of what is served.
    Begin {
        /// The first record.
        from: Position,
        /// Whether to keep rows.
        rows: bool,
    },
    /// Give up what is to take the place of what is served: it can never catch up.
    GiveUp,
    /// Let it take over segments, then the place.
    TakeOver,
}

/// What to do about following a channel.
pub(super) fn turn(sides: Sides, wanted: &HoldChannel) -> Turn {
    match sides.coming {
        Some(Side { lost: true, .. }) => return Turn::GiveUp,
        Some(Side { caught_up: true, .. }) => return Turn::TakeOver,
        Some(_) => return Turn::Stay,
        None if sides.pausing => return Turn::Stay,
        None => {}
    }
    let rows = wanted.growing_from.is_some();
    let is_enough = sides.serving.is_some_and(|side| !side.lost && (side.rows || !rows));
    if is_enough { Turn::Stay } else { Turn::Begin { from: start(wanted, sides.gone), rows } }
}

/// Where to begin to follow: rows that are asked for may be older than the newest checkpoint, as long as the log has them.
fn start(wanted: &HoldChannel, gone: Option<Position>) -> Position {
    let checkpoint = wanted.manifest.checkpoint;
    match wanted.growing_from {
        Some(from) if from < checkpoint && gone.is_none_or(|gone| gone < from) => from,
        _ => checkpoint,
    }
}

/// Whether an order asks for anything of this channel.
pub(super) fn is_wanted(wanted: &HoldChannel) -> bool {
    wanted.growing_from.is_some() || !wanted.segments.is_empty()
}

/// The segments to load: ordered, still in the manifest, and not there.
pub(super) fn to_load<'a>(
    wanted: &'a HoldChannel,
    is_there: impl Fn(SegmentId) -> bool + 'a,
) -> impl Iterator<Item = &'a SegmentManifest> {
    let is_ordered = |id: SegmentId| wanted.segments.binary_search(&id).is_ok();
    wanted.manifest.segments.iter().filter(move |one| is_ordered(one.id) && !is_there(one.id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{ChannelName, CollectionId};
    use crate::model::ChannelManifest;

    const FINE: Side = Side { caught_up: true, lost: false, rows: false };
    const LOST: Side = Side { lost: true, ..FINE };
    const BEHIND: Side = Side { caught_up: false, ..FINE };

    fn wanted(checkpoint: u64, growing_from: Option<u64>) -> HoldChannel {
        HoldChannel {
            channel: ChannelName::of(CollectionId(1), 0),
            manifest: Arc::new(ChannelManifest { checkpoint: Position(checkpoint), ..Default::default() }),
            segments: vec![SegmentId(1)],
            growing_from: growing_from.map(Position),
        }
    }

    fn next(serving: Option<Side>, coming: Option<Side>, growing_from: Option<u64>) -> Turn {
        turn(Sides { serving, coming, ..Default::default() }, &wanted(9, growing_from))
    }

    #[test]
    fn what_is_enough_stays() {
        let with_rows = Side { rows: true, ..FINE };

        assert_eq!(next(Some(FINE), None, None), Turn::Stay);
        assert_eq!(next(Some(with_rows), None, Some(3)), Turn::Stay);
        assert_eq!(next(Some(with_rows), None, None), Turn::Stay);
        assert_eq!(next(Some(FINE), Some(BEHIND), Some(3)), Turn::Stay);
    }

    #[test]
    fn a_new_follower_begins_for_a_new_channel_a_lost_log_and_for_rows() {
        assert_eq!(next(None, None, None), Turn::Begin { from: Position(9), rows: false });
        assert_eq!(next(Some(LOST), None, None), Turn::Begin { from: Position(9), rows: false });
        assert_eq!(next(Some(FINE), None, Some(3)), Turn::Begin { from: Position(3), rows: true });
    }

    #[test]
    fn a_follower_takes_over_once_it_has_caught_up_and_is_given_up_once_it_is_lost() {
        assert_eq!(next(Some(FINE), Some(FINE), Some(3)), Turn::TakeOver);
        assert_eq!(next(Some(FINE), Some(LOST), Some(3)), Turn::GiveUp);
    }

    #[test]
    fn rows_that_the_log_no_longer_has_are_not_asked_for_again() {
        let gone = |gone| Sides { gone: Some(Position(gone)), ..Default::default() };

        assert_eq!(turn(gone(2), &wanted(9, Some(3))), Turn::Begin { from: Position(3), rows: true });
        assert_eq!(turn(gone(3), &wanted(9, Some(3))), Turn::Begin { from: Position(9), rows: true });
        let pausing = Sides { pausing: true, ..gone(3) };
        assert_eq!(turn(pausing, &wanted(9, Some(3))), Turn::Stay);
    }
}
