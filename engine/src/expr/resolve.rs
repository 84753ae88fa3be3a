//! The untyped tree to the typed one: names, types, constants.

use std::cell::Cell;

use crate::calendar::{self, Interval, TimeZone};
use crate::expr::literal::order;
use crate::expr::parser::DEPTH_LIMIT;
use crate::expr::pattern::{Pattern, REGEX_BYTES};
use crate::expr::predicate::{Access, Class, ColumnName, Operand, Predicate};
use crate::expr::set::Set;
use crate::expr::syntax::{Arithmetic, Binary, Compare, Node, NodeKind, Step, Unary};
use crate::expr::{Error, Literal, Templates};
use crate::model::{DataType, Schema, StructField, part_name};

mod call;
mod compare;

use compare::{Side, compare_operand, compare_typed};

/// Deepest typed tree: its canonical text takes at most two levels of brackets and operators for each.
pub(super) const TREE_LIMIT: usize = DEPTH_LIMIT / 4;

/// Most regular expressions of one filter. Each may take a MiB of memory, and as much again while it is searched for.
const REGEX_LIMIT: usize = 64;

/// Checks a whole expression against `schema`; times without an offset are times in the zone.
pub(super) fn resolve(
    text: &str,
    node: Node<'_>,
    schema: &Schema,
    (templates, zone): (&Templates, &TimeZone),
) -> Result<Predicate, Error> {
    let patterns = Cell::new((0, 0));
    let resolver = Resolver { text, schema, templates, zone, patterns, within: Cell::new(None) };
    let span = node.span;
    let predicate = match resolver.resolve(node)? {
        Typed::Predicate(predicate) => predicate,
        Typed::Literal(Literal::Bool(holds)) => Predicate::Always(holds),
        value => {
            return Err(Error::NotBoolean { text: resolver.written(span), data_type: value.type_name() });
        }
    };
    if predicate.depth() > TREE_LIMIT {
        return Err(Error::TooDeep { limit: TREE_LIMIT });
    }
    Ok(predicate)
}

/// What a part of an expression turned out to be.
#[derive(Debug)]
enum Typed {
    /// A constant.
    Literal(Literal),
    /// A value of the row.
    Operand(Operand),
    /// A statement about the row.
    Predicate(Predicate),
    /// A constant instant.
    Instant(i64),
    /// A constant duration.
    Interval(Interval),
    /// An instant of the row, so much later.
    Later(ColumnName, Interval),
}

impl Typed {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Literal(literal) => literal.type_name(),
            Self::Operand(operand) => operand.type_name(),
            Self::Predicate(_) => DataType::Bool.name(),
            Self::Instant(_) | Self::Later(..) => DataType::Timestamptz.name(),
            Self::Interval(_) => "Interval",
        }
    }
}

type Span = (usize, usize);

struct Resolver<'s> {
    text: &'s str,
    schema: &'s Schema,
    templates: &'s Templates,
    zone: &'s TimeZone,
    /// How many regular expressions were read.
    patterns: Cell<(usize, usize)>,
    /// The struct whose elements the statement is about that is being read.
    within: Cell<Option<&'s StructField>>,
}

impl Resolver<'_> {
    fn written(&self, span: Span) -> String {
        self.text.get(span.0..span.1).unwrap_or_default().to_owned()
    }

    fn resolve(&self, node: Node<'_>) -> Result<Typed, Error> {
        let span = node.span;
        match node.kind {
            NodeKind::Bool(value) => Ok(Typed::Literal(Literal::Bool(value))),
            NodeKind::Int(value) => value
                .and_then(|value| i64::try_from(value).ok())
                .map(|value| Typed::Literal(Literal::Int(value)))
                .ok_or_else(|| Error::IntRange { text: self.written(span) }),
            NodeKind::Float(value) => Ok(Typed::Literal(Literal::Double(value))),
            NodeKind::Text(text) => Ok(Typed::Literal(Literal::Text(text))),
            NodeKind::Name(name) => self.path(Some(name), Vec::new()).map(Typed::Operand),
            NodeKind::Meta => self.path(None, Vec::new()).map(Typed::Operand),
            NodeKind::Path { base, steps } => self.path(base, steps).map(Typed::Operand),
            NodeKind::Part { of, index, part } => self.part(of, index, part).map(Typed::Operand),
            NodeKind::Template(name) => self.template(name).map(Typed::Literal),
            NodeKind::List(members) => self.list(members),
            NodeKind::Unary(unary, operand) => self.unary(unary, *operand),
            NodeKind::Binary(binary, left, right) => self.binary(binary, *left, *right, span),
            NodeKind::All(parts) => self.parts(parts, "and").map(Predicate::all).map(Typed::Predicate),
            NodeKind::Any(parts) => self.parts(parts, "or").map(Predicate::any).map(Typed::Predicate),
            NodeKind::Range { lower, middle, upper } => self.range(lower, *middle, upper),
            NodeKind::In { left, right, negated } => {
                let found = self.is_in(*left, *right)?;
                Ok(Typed::Predicate(if negated { found.negated() } else { found }))
            }
            NodeKind::IsNull { operand, negated } => {
                let missing = self.is_null(*operand)?;
                Ok(Typed::Predicate(if negated { missing.negated() } else { missing }))
            }
            NodeKind::Call { name, arguments, options } => self.call(name, arguments, options, span),
            NodeKind::Instant(text) => self.instant(&text).map(Typed::Instant),
            NodeKind::Interval(text) => Interval::parse(&text).map(Typed::Interval).map_err(Error::Time),
        }
    }

    /// A field by its name, or what is at a path in one; other names are keys of the dynamic field.
    fn path(&self, base: Option<&str>, mut steps: Vec<Step>) -> Result<Operand, Error> {
        if self.within.get().is_some() {
            let text = base.unwrap_or(crate::model::DYNAMIC_FIELD).to_owned();
            return Err(Error::NotOfElement { text });
        }
        let named = base.and_then(|name| self.schema.field(name));
        let field = match (named, base) {
            (Some(field), _) => field,
            (None, Some(name)) => {
                let dynamic =
                    self.schema.dynamic().ok_or_else(|| Error::UnknownField { name: name.to_owned() })?;
                steps.insert(0, Step::Key(name.to_owned()));
                dynamic
            }
            (None, None) => self
                .schema
                .dynamic()
                .ok_or_else(|| Error::UnknownField { name: crate::model::DYNAMIC_FIELD.to_owned() })?,
        };
        let is_fitting = match field.data_type {
            DataType::Json => true,
            DataType::Array(_) => matches!(steps.as_slice(), [] | [Step::Index(_)]),
            _ => steps.is_empty(),
        };
        if !is_fitting {
            return Err(Error::NotIndexable { data_type: field.data_type.name() });
        }
        let access = if steps.is_empty() { Access::Whole } else { Access::Path(steps) };
        Ok(Operand { column: ColumnName::of(field), access, arithmetic: None })
    }

    /// A part of a struct: of all elements, of one, or of the one that the statement is about.
    fn part(&self, of: Option<&str>, index: Option<u64>, part: &str) -> Result<Operand, Error> {
        let (name, access) = match (of, self.within.get()) {
            (None, None) => return Err(Error::NoElement { part: part.to_owned() }),
            (Some(of), Some(_)) => return Err(Error::NotOfElement { text: format!("{of}[{part}]") }),
            (None, Some(of)) => (of.name_of(part), Access::Whole),
            (Some(of), None) => {
                let access = index.map_or(Access::Whole, |index| Access::Path(vec![Step::Index(index)]));
                (part_name(of, part), access)
            }
        };
        let field = self.schema.field(&name).ok_or(Error::UnknownField { name })?;
        let column = match of {
            Some(_) => ColumnName::of(field),
            None => ColumnName {
                id: field.id,
                name: format!("$[{part}]").into(),
                data_type: field.data_type.element(),
            },
        };
        if access != Access::Whole && !matches!(field.data_type, DataType::Array(_)) {
            return Err(Error::NotIndexable { data_type: field.data_type.name() });
        }
        Ok(Operand { column, access, arithmetic: None })
    }

    fn template(&self, name: &str) -> Result<Literal, Error> {
        let value =
            self.templates.get(name).ok_or_else(|| Error::TemplateMissing { name: name.to_owned() })?;
        if is_finite(value) {
            Ok(value.clone())
        } else {
            Err(Error::TemplateNumber { name: name.to_owned() })
        }
    }

    fn list(&self, members: Vec<Node<'_>>) -> Result<Typed, Error> {
        let mut values = Vec::with_capacity(members.len());
        for member in members {
            values.push(self.constant(member)?.0);
        }
        Ok(Typed::Literal(Literal::List(values)))
    }

    /// A member of a list, which must be constant, and where it stands.
    fn constant(&self, member: Node<'_>) -> Result<(Literal, Span), Error> {
        let span = member.span;
        match self.resolve(member)? {
            Typed::Literal(value) => Ok((value, span)),
            _ => Err(Error::ListNotConstant { text: self.written(span) }),
        }
    }

    fn parts(&self, nodes: Vec<Node<'_>>, operator: &'static str) -> Result<Vec<Predicate>, Error> {
        let resolved = nodes.into_iter().map(|node| match self.resolve(node)? {
            Typed::Predicate(predicate) => Ok(predicate),
            Typed::Literal(Literal::Bool(holds)) => Ok(Predicate::Always(holds)),
            _ => Err(Error::LogicOnValue { operator }),
        });
        let parts = resolved.collect::<Result<Vec<_>, Error>>()?;
        match parts.split_last() {
            Some((_, earlier)) if earlier.iter().any(Predicate::has_element_filter) => {
                Err(Error::ElementFilterPlace)
            }
            _ => Ok(parts),
        }
    }

    fn unary(&self, unary: Unary, operand: Node<'_>) -> Result<Typed, Error> {
        // The one whole number whose magnitude does not fit by itself.
        if unary == Unary::Minus && operand.kind == NodeKind::Int(Some(i64::MIN.unsigned_abs())) {
            return Ok(Typed::Literal(Literal::Int(i64::MIN)));
        }
        let span = operand.span;
        let refuse = |operator| Err(Error::Unary { operator, text: self.written(span) });
        match (unary, self.resolve(operand)?) {
            (Unary::Not, Typed::Predicate(predicate)) if predicate.has_element_filter() => {
                Err(Error::ElementFilterPlace)
            }
            (Unary::Not, Typed::Predicate(predicate)) => Ok(Typed::Predicate(predicate.negated())),
            (Unary::Not, Typed::Literal(Literal::Bool(value))) => Ok(Typed::Literal(Literal::Bool(!value))),
            (Unary::Not, _) => Err(Error::NotOnValue),
            (Unary::Minus, Typed::Literal(Literal::Int(value))) => value
                .checked_neg()
                .map(|value| Typed::Literal(Literal::Int(value)))
                .ok_or_else(|| Error::ConstantRange { text: self.written(span) }),
            (Unary::Minus, Typed::Literal(Literal::Double(value))) => {
                Ok(Typed::Literal(Literal::Double(-value)))
            }
            (Unary::Plus, Typed::Literal(value @ (Literal::Int(_) | Literal::Double(_)))) => {
                Ok(Typed::Literal(value))
            }
            (Unary::Minus, _) => refuse("-"),
            (Unary::Plus, _) => refuse("+"),
            (Unary::Invert, _) => refuse("~"),
            (
                Unary::Exists,
                Typed::Operand(Operand { column, access: Access::Path(path), arithmetic: None }),
            ) if column.data_type == DataType::Json => {
                Ok(Typed::Predicate(Predicate::Exists { column, path }))
            }
            (Unary::Exists, _) => Err(Error::ExistsType),
        }
    }

    fn binary(&self, binary: Binary, left: Node<'_>, right: Node<'_>, span: Span) -> Result<Typed, Error> {
        match binary {
            Binary::Compare(compare) => {
                let (left, right) = (self.resolve(left)?, self.resolve(right)?);
                compare_typed(left, compare, right)
            }
            Binary::Arithmetic(operator) => {
                let (left, right) = (self.resolve(left)?, self.resolve(right)?);
                match (&left, &right) {
                    (Typed::Interval(_), _) | (_, Typed::Interval(_)) => {
                        self.later(left, operator, right, span)
                    }
                    _ => self.arithmetic(left, operator, right, span),
                }
            }
            Binary::Power => match (self.resolve(left)?, self.resolve(right)?) {
                (Typed::Literal(left), Typed::Literal(right)) => left
                    .number()
                    .zip(right.number())
                    .ok_or(Error::PowerOnField)
                    .map(|(left, right)| left.power(right).literal().map(Typed::Literal))?
                    .ok_or_else(|| Error::ConstantRange { text: self.written(span) }),
                _ => Err(Error::PowerOnField),
            },
            Binary::Shift => Err(Error::Shift),
            Binary::Bits(operator) => Err(Error::BitOperator { operator, text: self.written(span) }),
            Binary::Like => self.like(left, right).map(Typed::Predicate),
            Binary::Regex { negated } => self.regex(left, right, negated).map(Typed::Predicate),
        }
    }

    fn instant(&self, text: &str) -> Result<i64, Error> {
        calendar::parse(text, self.zone).map_err(Error::Time)
    }

    /// An instant and a duration. What is always as long may stand on the other side of a comparison, but months may not.
    fn later(&self, left: Typed, operator: Arithmetic, right: Typed, span: Span) -> Result<Typed, Error> {
        let refused = || Error::Interval { text: self.written(span) };
        let (operand, by) = match (left, operator, right) {
            (Typed::Operand(operand), Arithmetic::Add, Typed::Interval(by)) => (operand, by),
            (Typed::Operand(operand), Arithmetic::Subtract, Typed::Interval(by)) => (operand, by.reversed()),
            (Typed::Interval(by), Arithmetic::Add, Typed::Operand(operand)) => (operand, by),
            _ => return Err(refused()),
        };
        if operand.class() != Class::Time {
            return Err(Error::NotTimestamptz { field: operand.column.name.to_string() });
        }
        Ok(Typed::Later(operand.column, by))
    }

    fn arithmetic(
        &self,
        left: Typed,
        operator: Arithmetic,
        right: Typed,
        span: Span,
    ) -> Result<Typed, Error> {
        let (mut operand, value) = match (left, right) {
            (Typed::Literal(left), Typed::Literal(right)) => {
                check_number(operator, &left)?;
                check_right(operator, &right)?;
                if operator == Arithmetic::Modulo && !matches!(left, Literal::Int(_)) {
                    return Err(Error::ModuloType);
                }
                let result =
                    left.number().zip(right.number()).and_then(|(left, right)| left.apply(operator, right));
                return result
                    .and_then(|number| number.literal())
                    .map(Typed::Literal)
                    .ok_or_else(|| Error::ConstantRange { text: self.written(span) });
            }
            (Typed::Operand(operand), Typed::Literal(value)) => (operand, value),
            (Typed::Literal(value), Typed::Operand(operand)) => {
                check_operand(operator, &operand)?;
                check_number(operator, &value)?;
                match operator {
                    Arithmetic::Add | Arithmetic::Multiply => (operand, value),
                    Arithmetic::Subtract => return Err(Error::ArithmeticBy { operator: "subtract" }),
                    Arithmetic::Divide => return Err(Error::ArithmeticBy { operator: "divide" }),
                    Arithmetic::Modulo => return Err(Error::ArithmeticBy { operator: "module" }),
                }
            }
            (Typed::Operand(left), Typed::Operand(right)) => {
                check_operand(operator, &left)?;
                check_operand(operator, &right)?;
                return Err(Error::ArithmeticFields);
            }
            _ => return Err(Error::ArithmeticOn { operator: operator.name(), class: "bool" }),
        };
        check_operand(operator, &operand)?;
        check_right(operator, &value)?;
        if operator == Arithmetic::Modulo && !matches!(operand.class(), Class::Int | Class::Json) {
            return Err(Error::ModuloType);
        }
        operand.arithmetic = Some((operator, value));
        Ok(Typed::Operand(operand))
    }

    fn range(
        &self,
        lower: (Box<Node<'_>>, bool),
        middle: Node<'_>,
        upper: (Box<Node<'_>>, bool),
    ) -> Result<Typed, Error> {
        let Typed::Operand(operand) = self.resolve(middle)? else { return Err(Error::BoolRange) };
        if operand.class() == Class::Bool {
            return Err(Error::BoolRange);
        }
        let bound = |node: Node<'_>, side| {
            let span = node.span;
            match self.resolve(node)? {
                Typed::Literal(Literal::Bool(_)) => Err(Error::BoolRange),
                Typed::Literal(value) => Ok(value),
                Typed::Instant(instant) if operand.class() == Class::Time => Ok(Literal::Int(instant)),
                Typed::Instant(_) => Err(Error::NotTimestamptz { field: operand.column.name.to_string() }),
                _ => Err(Error::BoundNotConstant { side, text: self.written(span) }),
            }
        };
        let (lower, has_lower) = (bound(*lower.0, "lowerbound")?, lower.1);
        let (upper, has_upper) = (bound(*upper.0, "upperbound")?, upper.1);
        let above = if has_lower { Compare::GreaterEqual } else { Compare::Greater };
        let below = if has_upper { Compare::LessEqual } else { Compare::Less };
        let bounds = order(&lower, &upper)
            .ok_or_else(|| Error::Comparison { left: lower.type_name(), right: upper.type_name() })?;
        let low = compare_operand(operand.clone(), above, lower, Side::Left)?;
        let high = compare_operand(operand, below, upper, Side::Right)?;
        if bounds.is_gt() || bounds.is_eq() && !(has_lower && has_upper) {
            return Err(Error::EmptyRange);
        }
        Ok(Typed::Predicate(Predicate::all(vec![low, high])))
    }

    fn is_in(&self, left: Node<'_>, right: Node<'_>) -> Result<Predicate, Error> {
        let operand = match self.resolve(left)? {
            Typed::Operand(operand) => operand.looked_into(),
            Typed::Literal(_) => return Err(Error::InOnConstant),
            Typed::Instant(_) | Typed::Interval(_) => return Err(Error::InOnConstant),
            Typed::Predicate(_) | Typed::Later(..) => return Err(Error::InOnExpression),
        };
        if operand.arithmetic.is_some() || matches!(operand.access, Access::Length(_)) {
            return Err(Error::InOnExpression);
        }
        let class = operand.class();
        if class == Class::Array {
            return Err(Error::WholeArray);
        }
        let to = operand.value_type().name();
        let right_span = right.span;
        let values = match right.kind {
            NodeKind::List(members) => {
                let mut values = Vec::with_capacity(members.len());
                for member in members {
                    if let (NodeKind::Instant(text), Class::Time) = (&member.kind, class) {
                        values.push(Literal::Int(self.instant(text)?));
                        continue;
                    }
                    let (value, span) = self.constant(member)?;
                    if !fits(&value, class) {
                        return Err(Error::ListCast { text: self.written(span), to });
                    }
                    values.push(value);
                }
                values
            }
            NodeKind::Template(name) => {
                let Literal::List(values) = self.template(name)? else {
                    return Err(Error::TemplateList { name: name.to_owned() });
                };
                if let Some(value) = values.iter().find(|value| !fits(value, class)) {
                    return Err(Error::ListCast { text: value.to_string(), to });
                }
                values
            }
            _ => return Err(Error::NotList { text: self.written(right_span) }),
        };
        Ok(Predicate::In { operand, set: Set::new(values, class) })
    }

    fn like(&self, left: Node<'_>, right: Node<'_>) -> Result<Predicate, Error> {
        let Typed::Operand(operand) = self.resolve(left)? else { return Err(Error::LikeType) };
        let operand = operand.looked_into();
        if operand.arithmetic.is_some() || !matches!(operand.class(), Class::Text | Class::Json) {
            return Err(Error::LikeType);
        }
        let span = right.span;
        let template = if let NodeKind::Template(name) = right.kind { Some(name) } else { None };
        match (self.resolve(right)?, template) {
            (Typed::Literal(Literal::Text(text)), _) => {
                Ok(Predicate::Like { operand, pattern: Pattern::new(&text) })
            }
            (_, Some(name)) => Err(Error::TemplateText { name: name.to_owned() }),
            (_, None) => Err(Error::LikePattern { text: self.written(span) }),
        }
    }

    /// `left =~ right`, or `left !~ right`. An element that an array lacks does not match.
    fn regex(&self, left: Node<'_>, right: Node<'_>, negated: bool) -> Result<Predicate, Error> {
        let Typed::Operand(operand) = self.resolve(left)? else { return Err(Error::RegexType) };
        let operand = operand.looked_into();
        if operand.arithmetic.is_some() || !matches!(operand.class(), Class::Text | Class::Json) {
            return Err(Error::RegexType);
        }
        let span = right.span;
        let template = if let NodeKind::Template(name) = right.kind { Some(name) } else { None };
        let pattern = match (self.resolve(right)?, template) {
            (Typed::Literal(Literal::Text(text)), _) => self.pattern(&text)?,
            (_, Some(name)) => return Err(Error::RegexTemplate { name: name.to_owned() }),
            (_, None) => return Err(Error::RegexOperand { text: self.written(span) }),
        };
        let matches = Predicate::Like { operand, pattern };
        Ok(if negated { matches.negated() } else { matches })
    }

    /// A regular expression, as long as there are not too many in one filter: each takes memory.
    fn pattern(&self, text: &str) -> Result<Pattern, Error> {
        let (count, bytes) = self.patterns.get();
        let (count, bytes) = (count + 1, bytes + text.len());
        self.patterns.set((count, bytes));
        if count > REGEX_LIMIT {
            return Err(Error::RegexCount { limit: REGEX_LIMIT });
        }
        if bytes > REGEX_BYTES {
            let reason = format!("those of one filter are longer than {REGEX_BYTES} bytes together");
            return Err(Error::RegexPattern { reason });
        }
        Pattern::regex(text).map_err(|reason| Error::RegexPattern { reason })
    }

    fn is_null(&self, operand: Node<'_>) -> Result<Predicate, Error> {
        if let NodeKind::Name(name) = operand.kind
            && self.within.get().is_none()
            && let Some(of) = self.schema.struct_field(name)
            && let Some(part) = self.schema.parts(of).next()
        {
            return Ok(Predicate::IsNull(ColumnName::of(part)));
        }
        let Typed::Operand(operand) = self.resolve(operand)? else { return Err(Error::NullVector) };
        let is_array = matches!(operand.column.data_type, DataType::ArrayOfVector(_));
        if operand.class() == Class::Vector && !is_array {
            return Err(Error::NullVector);
        }
        // An element is always there.
        if self.within.get().is_some() {
            return Err(Error::NullElement);
        }
        Ok(match operand.access {
            Access::Path(_) if operand.column.data_type != DataType::Json => {
                return Err(Error::NullElement);
            }
            Access::Path(path) => Predicate::Exists { column: operand.column, path }.negated(),
            Access::Whole | Access::Length(_) => Predicate::IsNull(operand.column),
        })
    }
}

/// What an element of an array can be compared with.
const fn class_of(element: DataType) -> Class {
    match element {
        DataType::Bool => Class::Bool,
        DataType::VarChar => Class::Text,
        DataType::Float | DataType::Double => Class::Float,
        _ => Class::Int,
    }
}

/// Whether a constant can become a value of the class.
const fn fits(value: &Literal, class: Class) -> bool {
    match class {
        Class::Bool => matches!(value, Literal::Bool(_)),
        Class::Int | Class::Time => matches!(value, Literal::Int(_)),
        Class::Float => matches!(value, Literal::Int(_) | Literal::Double(_)),
        Class::Text => matches!(value, Literal::Text(_)),
        Class::Json => true,
        Class::Shape | Class::Array | Class::Vector => false,
    }
}

fn is_finite(value: &Literal) -> bool {
    match value {
        Literal::Double(value) => value.is_finite(),
        Literal::List(members) => members.iter().all(is_finite),
        _ => true,
    }
}

fn check_operand(operator: Arithmetic, operand: &Operand) -> Result<(), Error> {
    let refuse = |class| Err(Error::ArithmeticOn { operator: operator.name(), class });
    match operand.class() {
        Class::Bool => refuse("bool"),
        Class::Text => refuse("string"),
        Class::Vector => refuse("vector"),
        Class::Time => refuse("timestamptz"),
        Class::Shape => refuse("geometry"),
        Class::Array => refuse("array"),
        Class::Int | Class::Float | Class::Json => {
            if operand.arithmetic.is_some() || matches!(operand.access, Access::Length(_)) {
                return Err(Error::ArithmeticNested);
            }
            Ok(())
        }
    }
}

fn check_number(operator: Arithmetic, value: &Literal) -> Result<(), Error> {
    let class = match value {
        Literal::Int(_) | Literal::Double(_) => return Ok(()),
        Literal::Bool(_) => "bool",
        Literal::Text(_) => "string",
        Literal::List(_) => "array",
    };
    Err(Error::ArithmeticOn { operator: operator.name(), class })
}

/// A constant right operand: a number, whole for modulo, not zero as a divisor.
fn check_right(operator: Arithmetic, value: &Literal) -> Result<(), Error> {
    check_number(operator, value)?;
    if operator == Arithmetic::Modulo && !matches!(value, Literal::Int(_)) {
        return Err(Error::ModuloType);
    }
    let is_zero = value.number().and_then(|number| number.order(crate::expr::literal::Number::Int(0)))
        == Some(std::cmp::Ordering::Equal);
    if is_zero && matches!(operator, Arithmetic::Divide | Arithmetic::Modulo) {
        return Err(Error::ZeroDivisor);
    }
    Ok(())
}
