//! Collections for tests of every room.

use std::sync::Arc;

use super::CollectionInfo;
use crate::base::{CollectionId, DatabaseId, Timestamp};
use crate::model::Schema;

/// A collection `c` of the default database, made at time 0, of which there is nothing but its schema.
pub(crate) fn collection(id: CollectionId, schema: Schema) -> CollectionInfo {
    CollectionInfo {
        id,
        name: "c".to_owned(),
        database: DatabaseId(1),
        database_name: "default".to_owned(),
        schema: Arc::new(schema),
        channels: Vec::new(),
        partitions: Vec::new(),
        partitions_by_key: 0,
        aliases: Vec::new(),
        properties: Vec::new(),
        consistency: 0,
        created: Timestamp::ZERO,
        updated: Timestamp::ZERO,
        partitioned: Timestamp::ZERO,
        indexes: Vec::new(),
        load: None,
        recorded: true,
    }
}
