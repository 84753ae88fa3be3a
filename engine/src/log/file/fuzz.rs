//! What is promised of the bytes of files.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use bytes::Bytes;

use super::codec::{FileHeader, RecordHeader};
use super::names::Name;
use super::recover::{Dir, recover};
use crate::disk::{Disk as _, SimDisk};
use crate::log::Error;

const DIR: &str = "c";
const NAME: Name = Name::Records { base: 0, term: 1 };

/// A file: whole records, then any bytes. Of each record a byte says how long it is, and one in how far the ones before it were
/// durable; a length of 255 ends the records.
///
/// All whole records are found. What comes after them is cut, or it is refused because a later record says that it was
/// durable. A second start finds what the first one left.
pub fn file(data: &[u8]) {
    let header = FileHeader { channel_crc: 7, base: 0, term: 1 };
    let seed = header.seed();
    let mut bytes = header.encode().to_vec();
    let (mut rest, mut position) = (data, 0_u64);
    while let [length, durable, after @ ..] = rest {
        let Some((payload, after)) = after.split_at_checked(usize::from(*length)).filter(|_| *length < 255)
        else {
            break;
        };
        let record = RecordHeader {
            length: u32::from(*length),
            position,
            term: 1,
            durable: u64::from(*durable).min(position),
        };
        bytes.extend_from_slice(&record.encode(seed, payload));
        bytes.extend_from_slice(payload);
        (rest, position) = (after, position + 1);
    }
    bytes.extend_from_slice(rest);

    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime without I/O: {error}"));
    runtime.block_on(async {
        let disk = SimDisk::new();
        let path = format!("{DIR}/{}", NAME.encode());
        let made = async {
            disk.create_dir(DIR).await?;
            disk.create(&path).await?;
            disk.append(&path, vec![Bytes::from(bytes)]).await
        };
        made.await.unwrap_or_else(|error| panic!("the simulated disk is whole: {error}"));
        let dir = Dir { disk: disk.clone(), path: DIR.to_owned(), channel_crc: 7 };
        match recover(&dir).await {
            Ok(first) => {
                assert!(first.next >= position, "{} of {position}", first.next);
                let second = recover(&dir).await;
                let second = second.unwrap_or_else(|error| panic!("what was recovered is whole: {error}"));
                assert_eq!(second, first);
            }
            Err(Error::Damaged { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    });
}

/// Inputs for [`file`] to begin with.
pub fn files() -> Vec<Vec<u8>> {
    let header = FileHeader { channel_crc: 7, base: 0, term: 1 };
    let record = RecordHeader { length: 3, position: 2, term: 1, durable: 2 };
    let later = [&record.encode(header.seed(), b"end")[..], b"end"].concat();
    let whole = b"\x03\0one\0\x01\x05\x02three".to_vec();
    vec![
        Vec::new(),
        whole.clone(),
        [&whole[..], b"\xff\0torn"].concat(),
        [&whole[..7], b"\xff\0", &later[..]].concat(),
    ]
}
