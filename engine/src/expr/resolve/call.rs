//! Functions of the language.

use super::{Resolver, Span, Typed, class_of, fits};
use crate::expr::pattern::Pattern;
use crate::expr::predicate::{Access, Class, ColumnName, Operand, Predicate, Quantity, Share};
use crate::expr::shapes::{Given, ShapeTest};
use crate::expr::syntax::{Compare, Node, NodeKind, Step};
use crate::expr::{Error, Literal};
use crate::model::{DataType, Field};
use crate::shape::{Near, Relation};
use crate::text::{Rule, TextMatch};

/// Most words that `minimum_should_match` may want.
const MOST_WORDS: i64 = 1000;

impl Resolver<'_> {
    /// A call. Names of the language are all lower or all upper case, other names have any case.
    pub(super) fn call(
        &self,
        name: &str,
        arguments: Vec<Node<'_>>,
        options: Vec<(&str, Node<'_>)>,
        span: Span,
    ) -> Result<Typed, Error> {
        let lower = name.to_ascii_lowercase();
        let is_keyword = name == lower || name == name.to_ascii_uppercase();
        let wrong = || Error::CallArguments { name: name.to_owned(), text: self.written(span) };
        match lower.as_str() {
            "json_contains" | "array_contains" if is_keyword => {
                let [array, value] = two(arguments).ok_or_else(wrong)?;
                let value = self.element(value)?;
                self.contains(array, Quantity::One, vec![value])
            }
            "json_contains_any" | "array_contains_any" if is_keyword => {
                let [array, values] = two(arguments).ok_or_else(wrong)?;
                let values = self.elements(values, "ContainsAny")?;
                self.contains(array, Quantity::One, values)
            }
            "json_contains_all" | "array_contains_all" if is_keyword => {
                let [array, values] = two(arguments).ok_or_else(wrong)?;
                let values = self.elements(values, "ContainsAll")?;
                self.contains(array, Quantity::Every, values)
            }
            "array_length" if is_keyword => {
                let [array] = <[Node<'_>; 1]>::try_from(arguments).map_err(|_| wrong())?;
                let (operand, path) = self.array(array, |text| Error::LengthType { text })?;
                Ok(Typed::Operand(Operand { access: Access::Length(path), ..operand }))
            }
            "text_match" if is_keyword => self.text_match(arguments, options, wrong()),
            "phrase_match" if is_keyword => self.phrase_match(arguments, options, wrong()),
            "random_sample" if is_keyword => self.sample(arguments, wrong()),
            "element_filter" if is_keyword => self.elements_of(Share::Filter, arguments, options, wrong()),
            "match_all" if is_keyword => self.elements_of(Share::All, arguments, options, wrong()),
            "match_any" if is_keyword => self.elements_of(Share::Any, arguments, options, wrong()),
            "match_least" if is_keyword => {
                let count = self.threshold("match_least", 1, options, wrong())?;
                self.elements_of(Share::Least(count), arguments, Vec::new(), wrong())
            }
            "match_most" if is_keyword => {
                let count = self.threshold("match_most", 0, options, wrong())?;
                self.elements_of(Share::Most(count), arguments, Vec::new(), wrong())
            }
            "match_exact" if is_keyword => {
                let count = self.threshold("match_exact", 0, options, wrong())?;
                self.elements_of(Share::Exact(count), arguments, Vec::new(), wrong())
            }
            "st_dwithin" if is_keyword => self.near(arguments, wrong()),
            "st_isvalid" if is_keyword => {
                let [field] = <[Node<'_>; 1]>::try_from(arguments).map_err(|_| wrong())?;
                let column = self.shape_field(field, "st_isvalid")?;
                Ok(Typed::Predicate(Predicate::Shape { column, test: ShapeTest::IsSound }))
            }
            known if is_keyword && relation(known).is_some() => {
                let (function, relation) = relation(known).ok_or_else(wrong)?;
                let [field, text] = two(arguments).ok_or_else(wrong)?;
                let column = self.shape_field(field, function)?;
                let to = self.given(text, function, wrong())?;
                Ok(Typed::Predicate(Predicate::Shape { column, test: ShapeTest::Lies { relation, to } }))
            }
            other => self.plain_call(other, arguments, options.is_empty()),
        }
    }

    /// A call of a function that is told from others by the types of what it takes.
    fn plain_call(&self, name: &str, arguments: Vec<Node<'_>>, is_plain: bool) -> Result<Typed, Error> {
        let taken =
            arguments.into_iter().map(|argument| self.resolve(argument)).collect::<Result<Vec<_>, _>>()?;
        let is_text = |operand: &Operand| {
            let is_whole = operand.access == Access::Whole && operand.arithmetic.is_none();
            is_whole && operand.column.data_type.is_text()
        };
        let predicate = match (name, taken.as_slice()) {
            ("empty", [Typed::Operand(text)]) if is_plain && is_text(text) => Predicate::Compare {
                operand: text.clone(),
                compare: Compare::Equal,
                value: Literal::Text(String::new()),
            },
            ("starts_with", [Typed::Operand(text), Typed::Literal(Literal::Text(start))])
                if is_plain && is_text(text) =>
            {
                Predicate::Like { operand: text.clone(), pattern: Pattern::prefix(start) }
            }
            ("starts_with", [Typed::Operand(text), Typed::Operand(start)])
                if is_plain && is_text(text) && is_text(start) =>
            {
                Predicate::Begins { column: text.column.clone(), with: start.column.clone() }
            }
            _ => {
                let types: Vec<&str> = taken.iter().map(native_name).collect();
                return Err(Error::UnknownFunction { call: format!("{name}({})", types.join(", ")) });
            }
        };
        Ok(Typed::Predicate(predicate))
    }

    /// `match_any(struct, statement)` and its like: so many elements of a row's array are so.
    fn elements_of(
        &self,
        share: Share,
        arguments: Vec<Node<'_>>,
        options: Vec<(&str, Node<'_>)>,
        wrong: Error,
    ) -> Result<Typed, Error> {
        let [of, statement] = two(arguments).filter(|_| options.is_empty()).ok_or(wrong)?;
        if self.within.get().is_some() {
            return Err(Error::ElementsNested);
        }
        let unknown = || Error::UnknownStruct { name: self.written(of.span) };
        let NodeKind::Name(name) = of.kind else { return Err(unknown()) };
        let of = self.schema.struct_field(name).ok_or_else(unknown)?;
        let part = self.schema.parts(of).next().ok_or_else(unknown)?;
        let span = statement.span;
        self.within.set(Some(of));
        let inner = self.resolve(statement);
        self.within.set(None);
        let inner = match inner? {
            Typed::Predicate(predicate) => predicate,
            Typed::Literal(Literal::Bool(holds)) => Predicate::Always(holds),
            value => {
                return Err(Error::NotBoolean { text: self.written(span), data_type: value.type_name() });
            }
        };
        let (of, part) = (of.name.as_str().into(), ColumnName::of(part));
        Ok(Typed::Predicate(Predicate::Elements { share, of, part, inner: Box::new(inner) }))
    }

    /// The number of elements that `threshold=n` names.
    fn threshold(
        &self,
        name: &'static str,
        least: u64,
        options: Vec<(&str, Node<'_>)>,
        wrong: Error,
    ) -> Result<u64, Error> {
        let [(option, node)] = <[_; 1]>::try_from(options).map_err(|_| wrong.clone())?;
        if !option.eq_ignore_ascii_case("threshold") {
            return Err(wrong);
        }
        let span = node.span;
        let count = match self.resolve(node)? {
            Typed::Literal(Literal::Int(count)) => u64::try_from(count).ok().filter(|count| *count >= least),
            _ => None,
        };
        count.ok_or_else(|| Error::Threshold { name, least, text: self.written(span) })
    }

    /// The column of shapes that a function is about.
    fn shape_field(&self, node: Node<'_>, function: &'static str) -> Result<ColumnName, Error> {
        let span = node.span;
        match self.resolve(node)? {
            Typed::Operand(operand) if operand.class() == Class::Shape => Ok(operand.column),
            _ => Err(Error::NotGeometry { function, field: self.written(span) }),
        }
    }

    fn given(&self, node: Node<'_>, function: &'static str, wrong: Error) -> Result<Given, Error> {
        let Typed::Literal(Literal::Text(text)) = self.resolve(node)? else { return Err(wrong) };
        Given::parse(&text).map_err(|source| Error::Geometry { function, source })
    }

    /// `st_dwithin(field, "POINT (x y)", meters)`.
    fn near(&self, arguments: Vec<Node<'_>>, wrong: Error) -> Result<Typed, Error> {
        let [field, place, metres] = <[Node<'_>; 3]>::try_from(arguments).map_err(|_| wrong.clone())?;
        let column = self.shape_field(field, "st_dwithin")?;
        let (place_span, metres_span) = (place.span, metres.span);
        let given = self.given(place, "st_dwithin", wrong)?;
        let center = given.place().ok_or_else(|| Error::NearWhat { text: self.written(place_span) })?;
        let metres = match self.resolve(metres)? {
            #[expect(clippy::cast_precision_loss, reason = "a distance has no more digits than a double")]
            Typed::Literal(Literal::Int(metres)) => Some(metres as f64),
            Typed::Literal(Literal::Double(metres)) => Some(metres),
            _ => None,
        };
        let metres = metres.filter(|metres| *metres >= 0.0);
        let metres = metres.ok_or_else(|| Error::Distance { text: self.written(metres_span) })?;
        Ok(Typed::Predicate(Predicate::Shape { column, test: ShapeTest::Near(Near { center, metres }) }))
    }

    fn element(&self, node: Node<'_>) -> Result<Literal, Error> {
        let span = node.span;
        match self.resolve(node)? {
            Typed::Literal(value) => Ok(value),
            _ => Err(Error::ContainsElement { text: self.written(span) }),
        }
    }

    fn elements(&self, node: Node<'_>, operation: &'static str) -> Result<Vec<Literal>, Error> {
        match self.resolve(node)? {
            Typed::Literal(Literal::List(values)) => Ok(values),
            _ => Err(Error::ContainsList { operation }),
        }
    }

    fn contains(&self, array: Node<'_>, quantity: Quantity, values: Vec<Literal>) -> Result<Typed, Error> {
        let (operand, path) = self.array(array, |text| Error::ContainsType { text })?;
        if let DataType::Array(element) = operand.column.data_type {
            let class = class_of(element.scalar());
            if let Some(value) = values.iter().find(|value| !fits(value, class)) {
                let element = element.scalar().name();
                return Err(Error::ContainsClass { element, value: value.type_name() });
            }
        }
        Ok(Typed::Predicate(Predicate::Contains { column: operand.column, path, quantity, values }))
    }

    /// A column of arrays, or a JSON column or a path in one, which may hold an array.
    fn array(&self, node: Node<'_>, refuse: fn(String) -> Error) -> Result<(Operand, Vec<Step>), Error> {
        let span = node.span;
        let path = match self.resolve(node)? {
            Typed::Operand(operand)
                if operand.arithmetic.is_none() && operand.column.data_type == DataType::Json =>
            {
                match &operand.access {
                    Access::Whole => Some((operand, Vec::new())),
                    Access::Path(path) => {
                        let path = path.clone();
                        Some((operand, path))
                    }
                    Access::Length(_) => None,
                }
            }
            Typed::Operand(operand) if operand.arithmetic.is_none() && operand.class() == Class::Array => {
                Some((operand, Vec::new()))
            }
            _ => None,
        };
        path.ok_or_else(|| refuse(self.written(span)))
    }

    /// `text_match(field, "words"[, minimum_should_match=n])`: one word is enough unless more are wanted.
    fn text_match(
        &self,
        arguments: Vec<Node<'_>>,
        options: Vec<(&str, Node<'_>)>,
        wrong: Error,
    ) -> Result<Typed, Error> {
        let [field, text] = two(arguments).ok_or_else(|| wrong.clone())?;
        let field = self.match_field(&field, "text match", wrong.clone())?;
        let Typed::Literal(Literal::Text(text)) = self.resolve(text)? else { return Err(wrong) };
        let mut least = 1;
        for (name, node) in options {
            if !name.eq_ignore_ascii_case("minimum_should_match") {
                return Err(wrong);
            }
            let span = node.span;
            least = match self.resolve(node)? {
                Typed::Literal(Literal::Int(least @ 1..=MOST_WORDS)) => {
                    u32::try_from(least).unwrap_or(u32::MAX)
                }
                _ => return Err(Error::LeastWords { limit: MOST_WORDS, text: self.written(span) }),
            };
        }
        wanted(field, &text, Rule::Words { least })
    }

    /// `phrase_match(field, "phrase"[, slop])`.
    fn phrase_match(
        &self,
        mut arguments: Vec<Node<'_>>,
        options: Vec<(&str, Node<'_>)>,
        wrong: Error,
    ) -> Result<Typed, Error> {
        let slop = match (arguments.len(), options.is_empty()) {
            (3, true) => arguments.pop(),
            (2, true) => None,
            _ => return Err(wrong),
        };
        let [field, text] = two(arguments).ok_or_else(|| wrong.clone())?;
        let field = self.match_field(&field, "phrase match", wrong.clone())?;
        let Typed::Literal(Literal::Text(text)) = self.resolve(text)? else { return Err(wrong) };
        let slop = match slop {
            None => 0,
            Some(node) => {
                let span = node.span;
                let slop = match self.resolve(node)? {
                    Typed::Literal(Literal::Int(slop)) => u32::try_from(slop).ok(),
                    _ => None,
                };
                slop.ok_or_else(|| Error::Slop { text: self.written(span) })?
            }
        };
        wanted(field, &text, Rule::Phrase { slop })
    }

    /// The field of words to match.
    fn match_field(&self, node: &Node<'_>, words: &'static str, wrong: Error) -> Result<&Field, Error> {
        if self.within.get().is_some() {
            return Err(Error::NotOfElement { text: self.written(node.span) });
        }
        let NodeKind::Name(name) = &node.kind else { return Err(wrong) };
        let field =
            self.schema.field(name).ok_or_else(|| Error::UnknownField { name: (*name).to_owned() })?;
        if !field.data_type.is_text() {
            return Err(Error::MatchType { operation: words });
        }
        if !field.type_param("enable_match").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Error::MatchOff { field: field.name.clone() });
        }
        Ok(field)
    }

    fn sample(&self, arguments: Vec<Node<'_>>, wrong: Error) -> Result<Typed, Error> {
        let [factor] = <[Node<'_>; 1]>::try_from(arguments).map_err(|_| wrong)?;
        let span = factor.span;
        match self.resolve(factor)? {
            Typed::Literal(Literal::Double(factor)) if factor > 0.0 && factor < 1.0 => {
                Err(Error::Unsupported { operation: "random_sample" })
            }
            _ => Err(Error::SampleFactor { factor: self.written(span) }),
        }
    }
}

/// The relation that a function is named for.
fn relation(name: &str) -> Option<(&'static str, Relation)> {
    Relation::ALL.into_iter().find(|(known, _)| *known == name)
}

fn wanted(field: &Field, text: &str, rule: Rule) -> Result<Typed, Error> {
    let params = field.type_param("analyzer_params").unwrap_or_default();
    let wanted = TextMatch::new(params, text, rule)
        .map_err(|source| Error::Match { field: field.name.clone(), source })?;
    Ok(Typed::Predicate(Predicate::TextMatch { column: ColumnName::of(field), wanted }))
}

/// The type of a value as Milvus's engine calls it.
fn native_name(value: &Typed) -> &'static str {
    let data_type = match value {
        Typed::Operand(operand) => operand.value_type(),
        Typed::Literal(Literal::Int(_)) => DataType::Int64,
        Typed::Literal(Literal::Double(_)) => DataType::Double,
        Typed::Literal(Literal::Text(_)) => DataType::VarChar,
        Typed::Literal(Literal::Bool(_)) | Typed::Predicate(_) => DataType::Bool,
        other => return other.type_name(),
    };
    match data_type {
        DataType::Bool => "bool",
        DataType::Int8 => "int8_t",
        DataType::Int16 => "int16_t",
        DataType::Int32 => "int32_t",
        DataType::Int64 => "int64_t",
        DataType::Float => "float",
        DataType::Double => "double",
        DataType::VarChar | DataType::Text => "string",
        other => other.name(),
    }
}

fn two(arguments: Vec<Node<'_>>) -> Option<[Node<'_>; 2]> {
    arguments.try_into().ok()
}
