//! A checked filter as bytes, so that it can be sent to another node.
//!
//! All numbers little-endian. A node is a tag `u8` and what the tag says; texts are the length as `u32` and the bytes;
//! lists the length as `u32` and the members; floats their bits. A tag never changes its meaning: what is new gets a
//! new tag, and a reader that does not know it says so.

use bytes::{BufMut, BytesMut};

use crate::base::FieldId;
use crate::calendar::Interval;
use crate::expr::Literal;
use crate::expr::parser::DEPTH_LIMIT;
use crate::expr::pattern::Pattern;
use crate::expr::predicate::{Access, ColumnName, Operand, Predicate, Quantity, Share};
use crate::expr::resolve::TREE_LIMIT;
use crate::expr::set::Set;
use crate::expr::shapes::{Given, ShapeTest};
use crate::expr::syntax::{Arithmetic, Compare, Step};
use crate::model::wire::{Damaged, Reader, type_code, type_of};
use crate::shape::{Near, Relation};
use crate::text::{Rule, TextMatch};

const COMPARES: [Compare; 6] = [
    Compare::Less,
    Compare::LessEqual,
    Compare::Greater,
    Compare::GreaterEqual,
    Compare::Equal,
    Compare::NotEqual,
];
const ARITHMETICS: [Arithmetic; 5] =
    [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo];
const RELATIONS: [Relation; 7] = [
    Relation::Equals,
    Relation::Touches,
    Relation::Overlaps,
    Relation::Crosses,
    Relation::Contains,
    Relation::Intersects,
    Relation::Within,
];
const QUANTITIES: [Quantity; 2] = [Quantity::One, Quantity::Every];

/// The place of `member` in one of the tables above, which all fit a byte and hold every variant.
fn place<T: PartialEq>(table: &[T], member: &T) -> u8 {
    table.iter().position(|one| one == member).unwrap_or_default() as u8
}

fn member<T: Copy>(table: &[T], place: u8) -> Result<T, Damaged> {
    table.get(usize::from(place)).copied().ok_or(Damaged("it has an unknown operator"))
}

pub(super) fn put_predicate(out: &mut BytesMut, predicate: &Predicate) {
    match predicate {
        Predicate::Always(value) => out.put_u8(u8::from(*value)),
        Predicate::Not(inner) => {
            out.put_u8(2);
            put_predicate(out, inner);
        }
        Predicate::All(parts) | Predicate::Any(parts) => {
            out.put_u8(if matches!(predicate, Predicate::All(_)) { 3 } else { 4 });
            out.put_u32_le(parts.len() as u32);
            parts.iter().for_each(|part| put_predicate(out, part));
        }
        Predicate::Compare { operand, compare, value } => {
            out.put_u8(5);
            put_operand(out, operand);
            out.put_u8(place(&COMPARES, compare));
            put_literal(out, value);
        }
        Predicate::CompareColumns { left, compare, right } => {
            out.put_u8(6);
            put_column(out, left);
            out.put_u8(place(&COMPARES, compare));
            put_column(out, right);
        }
        Predicate::Begins { column, with } => {
            out.put_u8(20);
            put_column(out, column);
            put_column(out, with);
        }
        Predicate::In { operand, set } => {
            out.put_u8(7);
            put_operand(out, operand);
            put_literals(out, set.values());
        }
        Predicate::Like { operand, pattern } => {
            out.put_u8(if pattern.is_regex() { 12 } else { 8 });
            put_operand(out, operand);
            put_text(out, pattern.text());
        }
        Predicate::IsNull(column) => {
            out.put_u8(9);
            put_column(out, column);
        }
        Predicate::Exists { column, path } => {
            out.put_u8(10);
            put_column(out, column);
            put_path(out, path);
        }
        Predicate::Contains { column, path, quantity, values } => {
            out.put_u8(11);
            put_column(out, column);
            put_path(out, path);
            out.put_u8(place(&QUANTITIES, quantity));
            put_literals(out, values);
        }
        Predicate::TextMatch { column, wanted } => {
            let (tag, number) = match wanted.rule() {
                Rule::Words { least } => (13, least),
                Rule::Phrase { slop } => (14, slop),
            };
            out.put_u8(tag);
            put_column(out, column);
            put_text(out, wanted.params());
            put_text(out, wanted.text());
            out.put_u32_le(number);
        }
        Predicate::Later { column, by, compare, value } => {
            out.put_u8(15);
            put_column(out, column);
            out.put_i64_le(by.months);
            out.put_i64_le(by.micros);
            out.put_u8(place(&COMPARES, compare));
            out.put_i64_le(*value);
        }
        Predicate::Shape { column, test } => put_shape(out, column, test),
        Predicate::Elements { share, of, part, inner } => {
            out.put_u8(19);
            put_share(out, *share);
            put_text(out, of);
            put_column(out, part);
            put_predicate(out, inner);
        }
    }
}

fn put_shape(out: &mut BytesMut, column: &ColumnName, test: &ShapeTest) {
    match test {
        ShapeTest::Lies { relation, to } => {
            out.put_u8(16);
            put_column(out, column);
            out.put_u8(place(&RELATIONS, relation));
            out.put_u32_le(to.bytes().len() as u32);
            out.put_slice(to.bytes());
        }
        ShapeTest::Near(Near { center, metres }) => {
            out.put_u8(17);
            put_column(out, column);
            center.iter().chain([metres]).for_each(|number| out.put_u64_le(number.to_bits()));
        }
        ShapeTest::IsSound => {
            out.put_u8(18);
            put_column(out, column);
        }
    }
}

fn put_share(out: &mut BytesMut, share: Share) {
    let (kind, count) = match share {
        Share::Filter => (0, 0),
        Share::All => (1, 0),
        Share::Any => (2, 0),
        Share::Least(count) => (3, count),
        Share::Most(count) => (4, count),
        Share::Exact(count) => (5, count),
    };
    out.put_u8(kind);
    out.put_u64_le(count);
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn put_column(out: &mut BytesMut, column: &ColumnName) {
    out.put_i64_le(column.id.0);
    put_text(out, &column.name);
    out.put_u8(type_code(column.data_type));
}

fn put_path(out: &mut BytesMut, path: &[Step]) {
    out.put_u32_le(path.len() as u32);
    for step in path {
        match step {
            Step::Key(key) => {
                out.put_u8(0);
                put_text(out, key);
            }
            Step::Index(index) => {
                out.put_u8(1);
                out.put_u64_le(*index);
            }
        }
    }
}

fn put_operand(out: &mut BytesMut, operand: &Operand) {
    put_column(out, &operand.column);
    match &operand.access {
        Access::Whole => out.put_u8(0),
        Access::Path(path) => {
            out.put_u8(1);
            put_path(out, path);
        }
        Access::Length(path) => {
            out.put_u8(2);
            put_path(out, path);
        }
    }
    out.put_u8(u8::from(operand.arithmetic.is_some()));
    if let Some((arithmetic, value)) = &operand.arithmetic {
        out.put_u8(place(&ARITHMETICS, arithmetic));
        put_literal(out, value);
    }
}

fn put_literals(out: &mut BytesMut, values: &[Literal]) {
    out.put_u32_le(values.len() as u32);
    values.iter().for_each(|value| put_literal(out, value));
}

fn put_literal(out: &mut BytesMut, literal: &Literal) {
    match literal {
        Literal::Bool(value) => out.put_u8(u8::from(*value)),
        Literal::Int(value) => {
            out.put_u8(2);
            out.put_i64_le(*value);
        }
        Literal::Double(value) => {
            out.put_u8(3);
            out.put_u64_le(value.to_bits());
        }
        Literal::Text(text) => {
            out.put_u8(4);
            put_text(out, text);
        }
        Literal::List(members) => {
            out.put_u8(5);
            put_literals(out, members);
        }
    }
}

/// Reads a tree; `depth` is how deep it is in the whole one.
pub(super) fn read_predicate(reader: &mut Reader<'_>, depth: usize) -> Result<Predicate, Damaged> {
    if depth > TREE_LIMIT {
        return Err(Damaged("it is too deep"));
    }
    Ok(match reader.u8()? {
        tag @ (0 | 1) => Predicate::Always(tag == 1),
        2 => Predicate::Not(Box::new(read_predicate(reader, depth + 1)?)),
        3 => Predicate::All(read_list(reader, |reader| read_predicate(reader, depth + 1))?),
        4 => Predicate::Any(read_list(reader, |reader| read_predicate(reader, depth + 1))?),
        5 => Predicate::Compare {
            operand: read_operand(reader)?,
            compare: member(&COMPARES, reader.u8()?)?,
            value: read_literal(reader, 0)?,
        },
        6 => Predicate::CompareColumns {
            left: read_column(reader)?,
            compare: member(&COMPARES, reader.u8()?)?,
            right: read_column(reader)?,
        },
        7 => {
            let operand = read_operand(reader)?;
            let set = Set::new(read_literals(reader, 0)?, operand.class());
            Predicate::In { operand, set }
        }
        8 => Predicate::Like { operand: read_operand(reader)?, pattern: Pattern::new(read_text(reader)?) },
        9 => Predicate::IsNull(read_column(reader)?),
        10 => Predicate::Exists { column: read_column(reader)?, path: read_path(reader)? },
        11 => Predicate::Contains {
            column: read_column(reader)?,
            path: read_path(reader)?,
            quantity: member(&QUANTITIES, reader.u8()?)?,
            values: read_literals(reader, 0)?,
        },
        12 => {
            let operand = read_operand(reader)?;
            let pattern = Pattern::regex(read_text(reader)?);
            Predicate::Like { operand, pattern: pattern.map_err(|_| Damaged("a pattern is none"))? }
        }
        tag @ (13 | 14) => {
            let column = read_column(reader)?;
            let (params, text) = (read_text(reader)?, read_text(reader)?);
            let number = reader.u32()?;
            let rule = if tag == 13 { Rule::Words { least: number } } else { Rule::Phrase { slop: number } };
            let wanted = TextMatch::new(params, text, rule);
            Predicate::TextMatch {
                column,
                wanted: wanted.map_err(|_| Damaged("it has an unknown analyzer"))?,
            }
        }
        15 => Predicate::Later {
            column: read_column(reader)?,
            by: Interval { months: reader.i64()?, micros: reader.i64()? },
            compare: member(&COMPARES, reader.u8()?)?,
            value: reader.i64()?,
        },
        16 => {
            let column = read_column(reader)?;
            let relation = member(&RELATIONS, reader.u8()?)?;
            let size_bytes = reader.u32()? as usize;
            let to = Given::of(reader.bytes(size_bytes)?).ok_or(Damaged("a shape is none"))?;
            Predicate::Shape { column, test: ShapeTest::Lies { relation, to } }
        }
        17 => {
            let column = read_column(reader)?;
            let mut number = || Ok::<_, Damaged>(f64::from_bits(u64::from_le_bytes(reader.array()?)));
            let near = Near { center: [number()?, number()?], metres: number()? };
            Predicate::Shape { column, test: ShapeTest::Near(near) }
        }
        18 => Predicate::Shape { column: read_column(reader)?, test: ShapeTest::IsSound },
        19 => {
            let share = read_share(reader)?;
            let (of, part) = (read_text(reader)?.into(), read_column(reader)?);
            Predicate::Elements { share, of, part, inner: Box::new(read_predicate(reader, depth + 1)?) }
        }
        20 => Predicate::Begins { column: read_column(reader)?, with: read_column(reader)? },
        _ => return Err(Damaged("it has an unknown kind of statement")),
    })
}

fn read_share(reader: &mut Reader<'_>) -> Result<Share, Damaged> {
    let (kind, count) = (reader.u8()?, u64::from_le_bytes(reader.array()?));
    Ok(match kind {
        0 => Share::Filter,
        1 => Share::All,
        2 => Share::Any,
        3 => Share::Least(count),
        4 => Share::Most(count),
        5 => Share::Exact(count),
        _ => return Err(Damaged("it has an unknown share of elements")),
    })
}

/// A list; each member takes at least one byte, so a wrong length is found before anything is allocated for it.
fn read_list<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Damaged>,
) -> Result<Vec<T>, Damaged> {
    let count = reader.u32()? as usize;
    if count > reader.remaining() {
        return Err(Damaged("a count is too large"));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Damaged> {
    let size_bytes = reader.u32()? as usize;
    std::str::from_utf8(reader.bytes(size_bytes)?).map_err(|_| Damaged("a text is not a text"))
}

fn read_column(reader: &mut Reader<'_>) -> Result<ColumnName, Damaged> {
    let id = FieldId(reader.i64()?);
    let name = read_text(reader)?.into();
    let data_type = type_of(reader.u8()?).ok_or(Damaged("it has an unknown type"))?;
    Ok(ColumnName { id, name, data_type })
}

fn read_path(reader: &mut Reader<'_>) -> Result<Vec<Step>, Damaged> {
    read_list(reader, |reader| {
        Ok(if reader.flag()? {
            Step::Index(u64::from_le_bytes(reader.array()?))
        } else {
            Step::Key(read_text(reader)?.to_owned())
        })
    })
}

fn read_operand(reader: &mut Reader<'_>) -> Result<Operand, Damaged> {
    let column = read_column(reader)?;
    let access = match reader.u8()? {
        0 => Access::Whole,
        1 => Access::Path(read_path(reader)?),
        2 => Access::Length(read_path(reader)?),
        _ => return Err(Damaged("it has an unknown kind of value")),
    };
    let arithmetic = if reader.flag()? {
        Some((member(&ARITHMETICS, reader.u8()?)?, read_literal(reader, 0)?))
    } else {
        None
    };
    Ok(Operand { column, access, arithmetic })
}

fn read_literals(reader: &mut Reader<'_>, depth: usize) -> Result<Vec<Literal>, Damaged> {
    read_list(reader, |reader| read_literal(reader, depth))
}

fn read_literal(reader: &mut Reader<'_>, depth: usize) -> Result<Literal, Damaged> {
    if depth > DEPTH_LIMIT {
        return Err(Damaged("it is too deep"));
    }
    Ok(match reader.u8()? {
        tag @ (0 | 1) => Literal::Bool(tag == 1),
        2 => Literal::Int(reader.i64()?),
        3 => Literal::Double(f64::from_bits(u64::from_le_bytes(reader.array()?))),
        4 => Literal::Text(read_text(reader)?.to_owned()),
        5 => Literal::List(read_literals(reader, depth + 1)?),
        _ => return Err(Damaged("it has an unknown kind of constant")),
    })
}
