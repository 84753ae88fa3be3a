//! Fuzz targets of logs: messages, and the bytes that each implementation keeps them in.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use bytes::Bytes;

use super::record::{self, Message};
use super::{file, kafka, object};
use crate::base::{Origin, PartitionId, RequestId, Timestamp};
use crate::model::Keys;
use crate::model::fuzz::{chosen, fixture, tagged};

/// Any bytes are refused, or a message that is written in one way.
fn message(data: &[u8]) {
    let (schema, _) = fixture();
    let origin = record::origin_of(data);
    let _ = (record::stamp_of(data), record::is_insert(data), record::content_of(data));
    let Ok(message) = record::decode(&Bytes::copy_from_slice(data), schema) else { return };
    let written = encoded(&message, origin);
    let again = record::decode(&written, schema);
    let again = again.unwrap_or_else(|error| panic!("what is written is read: {error}"));
    assert_eq!(encoded(&again, origin), written);
    assert_eq!(record::origin_of(&written), origin);
    let (Message::Insert { at, .. } | Message::Delete { at, .. } | Message::Upsert { at, .. }) = &message;
    assert_eq!(record::stamp_of(&written), Some(*at));
}

fn encoded(message: &Message, origin: Option<Origin>) -> Bytes {
    let (mut bytes, at) = match message {
        Message::Insert { at, partition, rows } => (record::encode_insert(*partition, rows), at),
        Message::Delete { at, partition, keys } => (record::encode_delete(*partition, keys), at),
        Message::Upsert { at, partition, replaced, rows } => {
            (record::encode_upsert(*partition, replaced, rows), at)
        }
    };
    record::stamp(&mut bytes, *at);
    if let Some(origin) = origin {
        record::sign(&mut bytes, &origin);
    }
    bytes.freeze()
}

/// Inputs for [`message`] to begin with.
fn messages() -> Vec<Vec<u8>> {
    let (_, rows) = fixture();
    let (at, partition) = (Timestamp(9), PartitionId(4));
    let texts = Keys::Text(["a", "文"].into_iter().collect());
    let all = [
        Message::Insert { at, partition, rows: rows.clone() },
        Message::Insert { at, partition, rows: rows.take(&[1]) },
        Message::Delete { at, partition: None, keys: Keys::Int(vec![1, -1]) },
        Message::Delete { at, partition: Some(partition), keys: texts },
        Message::Upsert { at, partition, replaced: Keys::Int(vec![3]), rows: rows.take(&[3, 4]) },
    ];
    let (request, client) = (Some(RequestId(7)), Some(RequestId(8)));
    let origins = [None, Some(Origin { request: None, client: None }), Some(Origin { request, client })];
    all.iter().flat_map(|message| origins.map(|origin| encoded(message, origin).to_vec())).collect()
}

/// What a file, a chunk of an object log or a message of Kafka holds is refused, or what was written; and so is a message.
pub fn stored(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 8 {
        0 => object::fuzz::chunk(data),
        1 => object::fuzz::boundary(data),
        2 => file::fuzz::file(data),
        3 => kafka::fuzz::message(data),
        _ => message(data),
    }
}

/// Inputs for [`stored`] to begin with.
pub fn stores() -> Vec<Vec<u8>> {
    [
        tagged(b'0', object::fuzz::chunks()),
        tagged(b'1', object::fuzz::boundaries()),
        tagged(b'2', file::fuzz::files()),
        tagged(b'3', kafka::fuzz::messages()),
        tagged(b'4', messages()),
    ]
    .concat()
}
