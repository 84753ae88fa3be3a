//! Functions of the language.

use super::{Resolver, Span, Typed, class_of, fits};
use crate::expr::pattern::Pattern;
use crate::expr::predicate::{Access, Class, Operand, Predicate, Quantity};
use crate::expr::syntax::{Compare, Node, NodeKind, Step};
use crate::expr::{Error, Literal};
use crate::model::DataType;

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
            "text_match" if is_keyword => self.text_match(arguments, "text match", "text_match", wrong()),
            "phrase_match" if is_keyword => {
                self.text_match(arguments, "phrase match", "phrase_match", wrong())
            }
            "random_sample" if is_keyword => self.sample(arguments, wrong()),
            "element_filter" | "match_all" | "match_any" | "match_least" | "match_most" | "match_exact"
                if is_keyword =>
            {
                Err(Error::Unsupported { operation: "struct array filter" })
            }
            geometry if is_keyword && geometry.starts_with("st_") => {
                Err(Error::Unsupported { operation: "geometry filter" })
            }
            "empty" if options.is_empty() => {
                let [text] = <[Node<'_>; 1]>::try_from(arguments).map_err(|_| wrong())?;
                let operand = self.text_field(text, wrong())?;
                let value = Literal::Text(String::new());
                Ok(Typed::Predicate(Predicate::Compare { operand, compare: Compare::Equal, value }))
            }
            "starts_with" if options.is_empty() => {
                let [text, start] = two(arguments).ok_or_else(wrong)?;
                let operand = self.text_field(text, wrong())?;
                let Typed::Literal(Literal::Text(start)) = self.resolve(start)? else { return Err(wrong()) };
                Ok(Typed::Predicate(Predicate::Like { operand, pattern: Pattern::prefix(&start) }))
            }
            _ => Err(Error::UnknownFunction { name: name.to_owned() }),
        }
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

    fn text_field(&self, node: Node<'_>, wrong: Error) -> Result<Operand, Error> {
        match self.resolve(node)? {
            Typed::Operand(operand) if operand.column.data_type == DataType::VarChar => Ok(operand),
            _ => Err(wrong),
        }
    }

    fn text_match(
        &self,
        arguments: Vec<Node<'_>>,
        words: &'static str,
        operation: &'static str,
        wrong: Error,
    ) -> Result<Typed, Error> {
        let Some(Node { kind: NodeKind::Name(name), .. }) = arguments.first() else { return Err(wrong) };
        let field =
            self.schema.field(name).ok_or_else(|| Error::UnknownField { name: (*name).to_owned() })?;
        if field.data_type != DataType::VarChar {
            return Err(Error::MatchType { operation: words });
        }
        if !field.type_param("enable_match").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Error::MatchOff { field: field.name.clone() });
        }
        Err(Error::Unsupported { operation })
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

fn two(arguments: Vec<Node<'_>>) -> Option<[Node<'_>; 2]> {
    arguments.try_into().ok()
}
