//! Writes: rows and keys in the form the log has them in.

use std::sync::Arc;

use contract::internal as pb;
use pb::write_call::Operation as Wire;

use super::Damaged;
use crate::base::{ChannelName, CollectionId, PartitionId};
use crate::model::wire::{decode_keys, decode_rows, encode_keys, encode_rows};
use crate::rpc::{Operation, Write};

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
    }
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
    Ok(Write {
        collection: CollectionId(call.collection),
        channel: ChannelName(call.channel.into()),
        operation,
    })
}
