//! How fresh a read must be, from the wire.

use contract::pb::common::ConsistencyLevel;

use crate::base::Timestamp;
use crate::rpc::Consistency;

/// Guarantees up to this one are words (0 now, 1 eventually, 2 bounded) and not times.
pub const LAST_WORD: u64 = 2;

/// What a request says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the collection's level is meant.
    pub use_default: bool,
    /// A level, Milvus's number.
    pub level: i32,
    /// A word or a hybrid time.
    pub guarantee: u64,
}

/// What a read must see; `default` is the collection's level. A level that does not exist is `Bounded`.
///
/// Source: wire specification 2.3. Clients before the levels send only a guarantee, and so level 0 (`Strong`).
#[must_use]
pub fn of_read(asked: Asked, default: i32) -> Consistency {
    let level = if asked.use_default { default } else { asked.level };
    match ConsistencyLevel::try_from(level) {
        Ok(ConsistencyLevel::Strong) if asked.use_default => Consistency::Strong,
        Ok(ConsistencyLevel::Strong) => match asked.guarantee {
            0 => Consistency::Strong,
            1 => Consistency::Eventually,
            2 => Consistency::Bounded,
            time => Consistency::Session(Timestamp(time)),
        },
        Ok(ConsistencyLevel::Session | ConsistencyLevel::Customized) => {
            // A word is a time before every write: nothing was written in this session yet.
            Consistency::Session(Timestamp(asked.guarantee))
        }
        Ok(ConsistencyLevel::Eventually) => Consistency::Eventually,
        Ok(ConsistencyLevel::Bounded) | Err(_) => Consistency::Bounded,
    }
}

/// The number of a level by its name, as REST has it; `None` for no name or one that does not exist.
#[must_use]
pub fn level_named(name: &str) -> Option<i32> {
    ConsistencyLevel::from_str_name(name).map(i32::from)
}

#[cfg(test)]
mod tests {
    use super::{Asked, level_named, of_read};
    use crate::base::Timestamp;
    use crate::rpc::Consistency::{Bounded, Eventually, Session, Strong};

    #[test]
    fn levels_words_and_times_are_told_apart() {
        let of = |use_default, level, guarantee, default| {
            of_read(Asked { use_default, level, guarantee }, default)
        };
        let time = Timestamp::from_unix_ms(1_700_000_000_000).0;

        let default = [of(true, 0, time, 0), of(true, 0, time, 1), of(true, 3, 1, 2), of(true, 0, 1, 3)];
        let words = [of(false, 0, 0, 2), of(false, 0, 1, 2), of(false, 0, 2, 0), of(false, 0, time, 2)];
        let levels = [of(false, 1, time, 0), of(false, 2, 2, 0), of(false, 3, 1, 0), of(false, 4, time, 0)];
        let strange = of(false, 9, 0, 0);

        assert_eq!(default, [Strong, Session(Timestamp(time)), Bounded, Eventually]);
        assert_eq!(words, [Strong, Eventually, Bounded, Session(Timestamp(time))]);
        assert_eq!(levels, [Session(Timestamp(time)), Bounded, Eventually, Session(Timestamp(time))]);
        assert_eq!(strange, Bounded);
    }

    #[test]
    fn levels_have_names() {
        assert_eq!(["Strong", "Bounded", "", "x"].map(level_named), [Some(0), Some(2), None, None]);
    }
}
