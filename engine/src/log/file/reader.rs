//! A reader of one channel: from memory near the tail, from files before that.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::log::{Error, LogReader, Position};

use super::channel::{Channel, Look};
use super::cursor::{Cursor, Step};
use super::names::Name;
use super::recover::FileInfo;

/// A reader of one channel.
pub(super) struct Reader {
    channel: Arc<Channel>,
    position: u64,
    changed: watch::Receiver<()>,
    /// Where the reading of files stands, with the position of the file's first record.
    cursor: Option<(u64, Cursor)>,
}

impl Reader {
    /// A reader that stands at `position`.
    pub fn new(channel: Arc<Channel>, position: Position) -> Self {
        let changed = channel.changed.subscribe();
        Self { channel, position: position.0, changed, cursor: None }
    }

    /// The record at this reader's position, if it is there; moves on by one then. Cancel safe.
    async fn take(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        let look = self.look()?;
        let payload = match look {
            Look::NotYet => return Ok(None),
            Look::InFile { base, info } => match self.channel.recent(self.position) {
                Some(payload) => payload,
                None => match self.take_from_file(base, &info).await {
                    Ok(payload) => payload,
                    Err(error) => {
                        // The file may have been truncated away under the reader: that is then what to report.
                        self.look()?;
                        return Err(error);
                    }
                },
            },
        };
        let position = Position(self.position);
        self.position += 1;
        Ok(Some((position, payload)))
    }

    fn look(&self) -> Result<Look, Error> {
        self.channel.tail.lock().look(&self.channel.name, self.position)
    }

    async fn take_from_file(&mut self, base: u64, info: &FileInfo) -> Result<Bytes, Error> {
        let wanted = self.position;
        let fits = |(at, cursor): &(u64, Cursor)| *at == base && cursor.position() <= wanted;
        let cursor = match self.cursor.take().filter(fits) {
            Some((_, cursor)) => cursor,
            None => {
                let dir = &self.channel.dir;
                let file = dir.file(Name::Records { base, term: info.term });
                Cursor::open(dir.disk.clone(), file, dir.header(base, info.term)).await?
            }
        };
        // Put back at once, so that a dropped call loses nothing.
        let (_, cursor) = self.cursor.insert((base, cursor));
        loop {
            match cursor.step(info.size_bytes).await? {
                Step::Record { position, payload } if position == wanted => return Ok(payload),
                Step::Record { .. } => {}
                Step::End => {
                    let why = "records at the file's end are missing";
                    let (file, offset) = (cursor.file().to_owned(), cursor.offset());
                    return Err(Error::Damaged { file, offset, why });
                }
                Step::Bad(why) => {
                    let (file, offset) = (cursor.file().to_owned(), cursor.offset());
                    return Err(Error::Damaged { file, offset, why });
                }
            }
        }
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self) -> Result<(Position, Bytes), Error> {
        loop {
            // Marked as seen before looking: a change after the look wakes the wait.
            self.changed.mark_unchanged();
            if let Some(record) = self.take().await? {
                return Ok(record);
            }
            if self.changed.changed().await.is_err() {
                return Err(Error::Stopped { channel: self.channel.name.clone() });
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<(Position, Bytes)>, Error> {
        self.take().await
    }

    fn position(&self) -> Position {
        Position(self.position)
    }
}
