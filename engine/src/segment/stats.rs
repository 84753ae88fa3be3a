//! What is known of a sealed segment without its rows, as an object beside them: which keys it may have, and between
//! which values its scalar columns lie.
//!
//! Version 1, all numbers little-endian: magic `RKST`, version `u32`, CRC-32 of everything from byte 16 on `u32`, zero
//! `u32`; from byte 16 on the number of rows `u64`, the number of columns `u32`, for each its field `i64` and its rows
//! without a value `u64`; then the least and the greatest value of those columns where they are known, as a batch of two
//! rows (see `model::wire`); then the bits of a split-block Bloom filter of the keys, to the end. Integer keys are in it
//! as eight bytes, texts as their bytes.

use bytes::{BufMut as _, Bytes};
use parquet::bloom_filter::Sbbf;

use super::keys::KeyRef;
use super::object::{Form, Wrong};
use crate::base::FieldId;
use crate::model::wire::{Reader, put_rows};
use crate::model::{Batch, Column, ColumnData, Value, Zone};

const FORM: Form = Form { magic: *b"RKST", version: 1, stranger: "it does not begin as statistics do" };
/// The share of keys that a segment lacks and may seem to have.
const FALSE_HITS: f64 = 0.01;

/// What is known of some rows.
pub(super) struct Stats {
    zones: Vec<Zone>,
    keys: Sbbf,
    key_zone: Option<(Value, Value)>,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Stats({} columns)", self.zones.len())
    }
}

impl Stats {
    /// What is known of `rows`, whose keys are the column `primary`. `None` if they have no keys.
    pub(super) fn of(rows: &Batch, primary: FieldId) -> Option<Self> {
        let mut keys = Sbbf::new_with_ndv_fpp((rows.rows as u64).max(1), FALSE_HITS).ok()?;
        match &rows.column(primary)?.data {
            ColumnData::Int64(all) => all.iter().for_each(|key| keys.insert(key)),
            ColumnData::VarChar(all) => all.iter().for_each(|key| keys.insert(key)),
            _ => return None,
        }
        let scalars = rows.columns.iter().filter(|column| !column.data.data_type().is_vector());
        Some(Self::new(scalars.map(Zone::of).collect(), keys, primary))
    }

    fn new(zones: Vec<Zone>, keys: Sbbf, primary: FieldId) -> Self {
        let key_zone = zones.iter().find(|zone| zone.field == primary).and_then(|zone| zone.span.clone());
        Self { zones, keys, key_zone }
    }

    /// What is known of a column.
    pub(super) fn zone(&self, field: FieldId) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.field == field)
    }

    /// Whether there may be a row of `key`; a `false` is certain.
    pub(super) fn may_have(&self, key: KeyRef<'_>) -> bool {
        match (key, &self.key_zone) {
            (KeyRef::Int(key), Some((Value::Int(least), Value::Int(greatest)))) => {
                (*least..=*greatest).contains(&key) && self.keys.check(&key)
            }
            (KeyRef::Text(key), Some((Value::Text(least), Value::Text(greatest)))) => {
                least.as_str() <= key && key <= greatest.as_str() && self.keys.check(key)
            }
            (KeyRef::Int(key), _) => self.keys.check(&key),
            (KeyRef::Text(key), _) => self.keys.check(key),
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.keys.num_blocks() * 32 + self.zones.len() * size_of::<Zone>()
    }

    /// The object.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = FORM.begin(0);
        out.put_u64_le(self.zones.first().map_or(0, |zone| zone.rows));
        out.put_u32_le(self.zones.len() as u32);
        for zone in &self.zones {
            out.put_i64_le(zone.field.0);
            out.put_u64_le(zone.nulls);
        }
        put_rows(&mut out, &bounds(&self.zones));
        let mut bits = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.keys.write_bitset(&mut bits);
        out.put_slice(&bits);
        Form::finish(out)
    }

    /// The statistics in an object of a segment with keys in the column `primary`.
    pub(super) fn decode(object: &[u8], primary: FieldId) -> Result<Self, Wrong> {
        let body = FORM.open(object)?;
        let damaged = |_| Wrong::Damaged("its values cannot be read");
        let mut reader = Reader::new(body);
        let rows = u64::from_le_bytes(reader.array().map_err(damaged)?);
        let columns = reader.u32().map_err(damaged)?;
        let mut zones = Vec::new();
        for _ in 0..columns {
            let field = FieldId(reader.i64().map_err(damaged)?);
            let nulls = u64::from_le_bytes(reader.array().map_err(damaged)?);
            zones.push(Zone { field, nulls, rows, span: None });
        }
        let bounds = reader.batch().map_err(damaged)?;
        if bounds.rows != 2 {
            return Err(Wrong::Damaged("its bounds are no pairs"));
        }
        for column in &bounds.columns {
            let zone = zones.iter_mut().find(|zone| zone.field == column.field);
            let zone = zone.ok_or(Wrong::Damaged("it has bounds of an unknown column"))?;
            zone.span = Some((column.value(0), column.value(1)));
        }
        let bits = reader.bytes(reader.remaining()).map_err(damaged)?;
        if bits.is_empty() || bits.len() % 32 != 0 {
            return Err(Wrong::Damaged("its filter has no whole blocks"));
        }
        Ok(Self::new(zones, Sbbf::new(bits), primary))
    }
}

/// The known bounds as two rows.
fn bounds(zones: &[Zone]) -> Batch {
    let column = |zone: &Zone| {
        let (least, greatest) = zone.span.as_ref()?;
        let data = match (least, greatest) {
            (Value::Bool(least), Value::Bool(greatest)) => ColumnData::Bool(vec![*least, *greatest]),
            (Value::Int(least), Value::Int(greatest)) => ColumnData::Int64(vec![*least, *greatest]),
            (Value::Float(least), Value::Float(greatest)) => ColumnData::Float(vec![*least, *greatest]),
            (Value::Double(least), Value::Double(greatest)) => ColumnData::Double(vec![*least, *greatest]),
            (Value::Text(least), Value::Text(greatest)) => {
                ColumnData::VarChar([least.as_str(), greatest.as_str()].into_iter().collect())
            }
            _ => return None,
        };
        Some(Column { field: zone.field, data, valid: None })
    };
    Batch { rows: 2, columns: zones.iter().filter_map(column).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bitset, DataType};
    use crate::segment::fixture::{KEY, NOTE, NUMBER, Row, batch, schema, text_key};

    fn rows(key: DataType, keys: impl Iterator<Item = i64>) -> Batch {
        let rows: Vec<Row> = keys.map(|key| Row::of(key, key * 2)).collect();
        batch(&schema(key), &rows)
    }

    fn decoded(stats: &Stats) -> Stats {
        Stats::decode(&stats.encode(), KEY).unwrap()
    }

    #[test]
    fn a_key_that_is_there_is_never_denied_and_few_others_are_suspected() {
        for key in [DataType::Int64, DataType::VarChar] {
            let stats = decoded(&Stats::of(&rows(key, (0..2_000).map(|key| key * 3)), KEY).unwrap());
            let may_have = |number: i64| match key {
                DataType::Int64 => stats.may_have(KeyRef::Int(number)),
                _ => stats.may_have(KeyRef::Text(&text_key(number))),
            };

            assert!((0..2_000).all(|key| may_have(key * 3)));
            let suspected = (0..2_000).filter(|key| may_have(key * 3 + 1)).count();
            assert!(suspected < 60, "{suspected} of 2000");
            assert!(!may_have(-1) && !may_have(6_000), "beyond the least and the greatest");
        }
    }

    #[test]
    fn zones_are_kept_exactly() {
        let mut rows = rows(DataType::Int64, 1..=4);
        rows.columns.push(Column {
            field: FieldId(7),
            data: ColumnData::Float(vec![0.1, -0.3, 9.0, 2.0]),
            valid: None,
        });
        rows.columns.push(Column {
            field: FieldId(8),
            data: ColumnData::Double(vec![0.1, f64::NAN, 9.0, 2.0]),
            valid: None,
        });
        rows.columns.push(Column {
            field: FieldId(9),
            data: ColumnData::Int8(vec![0; 4]),
            valid: Some(Bitset::none(4)),
        });

        let stats = decoded(&Stats::of(&rows, KEY).unwrap());

        let zone = |field, nulls, span| Some(Zone { field, nulls, rows: 4, span });
        let zones = [KEY, NUMBER, FieldId(7), FieldId(8), FieldId(9)].map(|field| stats.zone(field).cloned());
        let expected = [
            zone(KEY, 0, Some((Value::Int(1), Value::Int(4)))),
            zone(NUMBER, 0, Some((Value::Int(2), Value::Int(8)))),
            zone(FieldId(7), 0, Some((Value::Float(-0.3), Value::Float(9.0)))),
            zone(FieldId(8), 0, None),
            zone(FieldId(9), 4, None),
        ];
        assert_eq!(zones, expected);
        assert_eq!(stats.zone(NOTE).map(|zone| zone.nulls), Some(1));
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let whole = Stats::of(&rows(DataType::Int64, 0..5), KEY).unwrap().encode();
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x21;
            assert!(Stats::decode(&damaged, KEY).is_err(), "byte {at}");
            assert!(Stats::decode(&whole[..at], KEY).is_err(), "cut at {at}");
        }
        let mut newer = whole.to_vec();
        newer[4] = 2;
        assert_eq!(Stats::decode(&newer, KEY).unwrap_err(), Wrong::TooNew(2));
    }
}
