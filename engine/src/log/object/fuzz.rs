//! What is promised of the bytes of chunks and boundaries.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::boundary::Boundary;
use super::chain::Chain;
use super::chunk::{Body, HEADER_BYTES, Header, What, records};
use super::names::Life;
use crate::base::ChannelName;

fn life() -> Life {
    Life::new(&ChannelName("c".into()), 1)
}

fn header(count: u32, body: &[u8]) -> Header {
    Header {
        what: What::Records,
        sequence: 1,
        term: 2,
        writer: 3,
        previous: 0,
        link: 0,
        base: 4,
        count,
        body_bytes: body.len() as u64,
        body_hash: xxh3_128(body),
        written_ms: 5,
    }
}

/// Any bytes are no chunk, or the one chunk that would be written. A body behind a header that vouches for it is refused, or
/// the records that would be written as just that body.
pub fn chunk(data: &[u8]) {
    let life = life();
    if let Ok(header) = Header::decode(data, &life, 1) {
        assert_eq!(header.encode(&life), data[..HEADER_BYTES]);
        drop(records(&Bytes::copy_from_slice(data), &header));
    }
    let Some((count, body)) = data.split_first_chunk::<4>() else { return };
    let header = header(u32::from_le_bytes(*count), body);
    let object = Bytes::from([&header.encode(&life)[..], body].concat());
    assert_eq!(Header::decode(&object, &life, 1).as_ref(), Ok(&header));
    let Ok(payloads) = records(&object, &header) else { return };
    assert_eq!(payloads.len(), header.count as usize);
    assert_eq!(Body::new(payloads).object(&header, &life), object);
}

/// Inputs for [`chunk`] to begin with.
pub fn chunks() -> Vec<Vec<u8>> {
    let life = life();
    let of = |payloads: &[&[u8]]| {
        let body = Body::new(payloads.iter().map(|payload| Bytes::copy_from_slice(payload)).collect());
        let header = Header { body_bytes: body.bytes, body_hash: body.hash, ..header(body.count, &[]) };
        let object = body.object(&header, &life);
        [object.to_vec(), [&body.count.to_le_bytes()[..], &object[HEADER_BYTES..]].concat()]
    };
    [of(&[]), of(&[b""]), of(&[b"one", b"", b"three"])].concat()
}

/// Any bytes are no boundary, or the one boundary that would be written; also where their hash is right.
pub fn boundary(data: &[u8]) {
    let life = life();
    let mut hashed = data.to_vec();
    if let Some(body) = hashed.len().checked_sub(16) {
        let hash = xxh3_128(&hashed[..body]);
        hashed[body..].copy_from_slice(&hash.to_le_bytes());
    }
    for bytes in [data, &hashed[..]] {
        if let Ok(boundary) = Boundary::decode(bytes, &life, 9) {
            assert_eq!(boundary.encode(&life), bytes);
        }
    }
}

/// Inputs for [`boundary`] to begin with.
pub fn boundaries() -> Vec<Vec<u8>> {
    let chain = Chain { sequence: 1, live: 2, link: 3, term: 4, writer: 5, began: 8, next: 6 };
    vec![Boundary { number: 9, first: 7, chain }.encode(&life()).to_vec()]
}
