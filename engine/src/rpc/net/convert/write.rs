//! Writes: rows and keys in the form the log has them in.

use std::sync::Arc;

use bytes::Bytes;
use contract::internal as pb;
use pb::write_call::Operation as Wire;

use super::Damaged;
use crate::base::{ChannelName, CollectionId, PartitionId, RequestId, Timestamp};
use crate::model::wire::{decode_keys, decode_rows, encode_keys, encode_rows};
use crate::rpc::{Operation, Request, Write};

pub(in crate::rpc::net) fn write_to(write: &Write) -> pb::WriteCall {
    let operation = match &write.operation {
        Operation::Insert { partition, rows } => {
            Wire::Insert(pb::Insert { partition: partition.0, rows: encode_rows(rows) })
        }
        Operation::Delete { partition, keys } => Wire::Delete(pb::Delete {
            partition: partition.map(|partition| partition.0),
            keys: encode_keys(keys),
        }),
        Operation::Upsert { partition, replaced, rows } => Wire::Upsert(pb::Upsert {
            partition: partition.0,
            replaced: encode_keys(replaced),
            rows: encode_rows(rows),
        }),
    };
    pb::WriteCall {
        collection: write.collection.0,
        channel: write.channel.as_str().to_owned(),
        operation: Some(operation),
        request: write.request.map(|request| pb::Request {
            id: bytes_of(request.id),
            since: request.since.0,
            is_repeat: request.is_repeat,
        }),
        client: write.client.map_or_else(Bytes::new, bytes_of),
    }
}

fn bytes_of(id: RequestId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_le_bytes())
}

fn id_of(bytes: &[u8]) -> Result<RequestId, Damaged> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| Damaged::Unknown("kind of number"))?;
    Ok(RequestId(u128::from_le_bytes(bytes)))
}

pub(in crate::rpc::net) fn write_from(call: pb::WriteCall) -> Result<Write, Damaged> {
    let rows_of = |bytes: &[u8]| {
        decode_rows(bytes).map(Arc::new).map_err(|damaged| Damaged::Bytes("its rows", damaged))
    };
    let keys_of = |bytes: &[u8]| {
        decode_keys(bytes).map(Arc::new).map_err(|damaged| Damaged::Bytes("its keys", damaged))
    };
    let operation = match call.operation.ok_or(Damaged::Lacks("a known operation"))? {
        Wire::Insert(insert) => {
            Operation::Insert { partition: PartitionId(insert.partition), rows: rows_of(&insert.rows)? }
        }
        Wire::Delete(delete) => {
            Operation::Delete { partition: delete.partition.map(PartitionId), keys: keys_of(&delete.keys)? }
        }
        Wire::Upsert(upsert) => Operation::Upsert {
            partition: PartitionId(upsert.partition),
            replaced: keys_of(&upsert.replaced)?,
            rows: rows_of(&upsert.rows)?,
        },
    };
    let request = call.request.map(|request| {
        let (id, since) = (id_of(&request.id)?, Timestamp(request.since));
        Ok(Request { id, since, is_repeat: request.is_repeat })
    });
    let client = (!call.client.is_empty()).then(|| id_of(&call.client));
    Ok(Write {
        collection: CollectionId(call.collection),
        channel: ChannelName(call.channel.into()),
        operation,
        request: request.transpose()?,
        client: client.transpose()?,
    })
}
