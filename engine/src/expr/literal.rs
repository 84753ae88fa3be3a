//! Constants: their folding and their order among each other.

use std::cmp::Ordering;

use crate::expr::syntax::Arithmetic;

/// A constant of an expression, and the value of a template variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Truth value.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Finite number.
    Double(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<Literal>),
}

impl Literal {
    /// The type as error texts name it.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int64",
            Self::Double(_) => "Double",
            Self::Text(_) => "VarChar",
            Self::List(_) => "Array",
        }
    }

    /// The value as Milvus's cast errors show it.
    pub(super) fn wire_text(&self) -> String {
        match self {
            Self::Bool(value) => format!("bool_val:{value}"),
            Self::Int(value) => format!("int64_val:{value}"),
            Self::Double(value) => format!("float_val:{value}"),
            Self::Text(value) => format!("string_val:{value:?}"),
            Self::List(_) => format!("array_val:{self}"),
        }
    }

    /// The number, if it is one.
    pub(super) const fn number(&self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Int(*value as i128)),
            Self::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Literal {
    /// The text that parses to this constant.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Double(value) => write!(out, "{value:?}"),
            Self::Text(text) => write_text(text, out),
            Self::List(members) => {
                out.write_str("[")?;
                for (at, member) in members.iter().enumerate() {
                    out.write_str(if at == 0 { "" } else { ", " })?;
                    member.fmt(out)?;
                }
                out.write_str("]")
            }
        }
    }
}

/// Writes `text` as a text literal.
pub(super) fn write_text(text: &str, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    use std::fmt::Write as _;
    out.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(out, "\\{letter}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            control if control.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(control))?,
            plain => out.write_char(plain)?,
        }
    }
    out.write_str("\"")
}

/// A number, exact for every 64-bit integer and every result of one operation on two of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Whole number.
    Int(i128),
    /// Any number but NaN.
    Double(f64),
}

impl Number {
    /// The order of two numbers by value, with nothing rounded; `None` only for NaN.
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right),
            (Self::Int(left), Self::Double(right)) => order_mixed(left, right),
            (Self::Double(left), Self::Int(right)) => order_mixed(right, left).map(Ordering::reverse),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "arithmetic with a double is arithmetic on doubles")]
    const fn as_double(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// `self operator right`; `None` for a zero divisor, for a modulo of what is not whole, and past 128 bits.
    #[inline]
    pub(super) fn apply(self, operator: Arithmetic, right: Self) -> Option<Self> {
        if let (Self::Int(left), Self::Int(right)) = (self, right) {
            return match operator {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_div(right),
                Arithmetic::Modulo => left.checked_rem(right),
            }
            .map(Self::Int);
        }
        let (left, right) = (self.as_double(), right.as_double());
        let result = match operator {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide if right != 0.0 => left / right,
            Arithmetic::Divide | Arithmetic::Modulo => return None,
        };
        (!result.is_nan()).then_some(Self::Double(result))
    }

    /// `self` to the power of `right`: whole if both are and the result fits, else a double.
    pub(super) fn power(self, right: Self) -> Self {
        if let (Self::Int(left), Self::Int(right)) = (self, right)
            && let Some(power) = u32::try_from(right).ok().and_then(|right| left.checked_pow(right))
            && i64::try_from(power).is_ok()
        {
            return Self::Int(power);
        }
        Self::Double(self.as_double().powf(right.as_double()))
    }

    /// The constant, if it fits one.
    pub(super) fn literal(self) -> Option<Literal> {
        match self {
            Self::Int(value) => i64::try_from(value).ok().map(Literal::Int),
            Self::Double(value) => value.is_finite().then_some(Literal::Double(value)),
        }
    }
}

/// The order of a whole number to any number.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn order_mixed(left: i128, right: f64) -> Option<Ordering> {
    // 2^127; doubles below it in magnitude convert to i128 without loss of their whole part.
    const EDGE: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if right.is_nan() {
        return None;
    }
    if right >= EDGE {
        return Some(Ordering::Less);
    }
    if right < -EDGE {
        return Some(Ordering::Greater);
    }
    let whole = right.trunc();
    Some(left.cmp(&(whole as i128)).then_with(|| 0.0_f64.total_cmp(&(right - whole + 0.0))))
}

/// The order of two constants of one class; `None` if their classes differ.
pub(super) fn order(left: &Literal, right: &Literal) -> Option<Ordering> {
    match (left, right) {
        (Literal::Bool(left), Literal::Bool(right)) => Some(left.cmp(right)),
        (Literal::Text(left), Literal::Text(right)) => Some(left.cmp(right)),
        _ => left.number()?.order(right.number()?),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::Number;

    #[test]
    fn whole_numbers_and_doubles_are_ordered_without_rounding() {
        let cases = [
            (i128::from(i64::MAX), 9_223_372_036_854_775_808.0, Ordering::Less),
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Ordering::Greater),
            (0, -0.0, Ordering::Equal),
            (-1, -1.5, Ordering::Greater),
            (1, 1.5, Ordering::Less),
            (-2, -1.5, Ordering::Less),
            (0, f64::INFINITY, Ordering::Less),
            (0, f64::NEG_INFINITY, Ordering::Greater),
            (i128::from(i64::MIN), -9_223_372_036_854_775_808.0, Ordering::Equal),
        ];
        for (left, right, order) in cases {
            assert_eq!(Number::Int(left).order(Number::Double(right)), Some(order), "{left} to {right}");
        }
    }
}
