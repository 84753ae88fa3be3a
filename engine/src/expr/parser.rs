//! Tokens to the untyped tree, by binding strength.

use crate::expr::Error;
use crate::expr::lexer::{Token, TokenKind, position, tokens};
use crate::expr::syntax::{Arithmetic, Binary, Compare, Node, NodeKind, Step, Unary};

/// Deepest nesting of brackets and operators. Bounds the stack that a text can take: measured about 0.4 MiB at the limit.
pub(super) const DEPTH_LIMIT: usize = 256;
/// Longest text, in bytes: what the wire can carry in one message.
pub(super) const LENGTH_LIMIT: usize = 256 << 20;

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Error> {
    if text.len() > LENGTH_LIMIT {
        return Err(Error::TooLong { bytes: text.len(), limit: LENGTH_LIMIT });
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    let node = parser.expression(0)?;
    match parser.peek() {
        TokenKind::End => Ok(node),
        TokenKind::Sign("=") => Err(parser.unexpected("an operator")),
        _ => Err(Error::Trailing { text: text.to_owned() }),
    }
}

/// Binding strengths, tightest last. Operators of two operands associate to the left.
mod strength {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const BIT_OR: u8 = 3;
    pub const BIT_XOR: u8 = 4;
    pub const BIT_AND: u8 = 5;
    pub const EQUALITY: u8 = 6;
    pub const RELATION: u8 = 7;
    pub const RANGE: u8 = 8;
    pub const IN: u8 = 9;
    pub const SHIFT: u8 = 10;
    pub const SUM: u8 = 11;
    pub const PRODUCT: u8 = 12;
    pub const UNARY: u8 = 13;
    pub const POWER: u8 = 14;
    pub const REGEX_NOT: u8 = 15;
    pub const REGEX: u8 = 16;
    pub const LIKE: u8 = 17;
    pub const EXISTS: u8 = 18;
}

/// What stands between two operands.
enum Infix {
    All,
    Any,
    In { negated: bool },
    Binary(Binary),
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &TokenKind<'a> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &TokenKind<'a> {
        self.tokens.get(self.at + ahead).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.start)
    }

    /// Where the last token taken ends.
    fn end(&self) -> usize {
        self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end)
    }

    /// Takes the token, leaving a cheap one in its place.
    fn take(&mut self) -> TokenKind<'a> {
        let kind = self
            .tokens
            .get_mut(self.at)
            .map_or(TokenKind::End, |token| std::mem::replace(&mut token.kind, TokenKind::Sign("")));
        self.at += 1;
        kind
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), TokenKind::Sign(next) if *next == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &'static str, expected: &'static str) -> Result<(), Error> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        let (line, column) = position(self.text, self.start());
        let found = self.tokens.get(self.at).map_or("", |token| &self.text[token.start..token.end]);
        if found == "=" {
            return Error::Token { line, column, text: found.to_owned() };
        }
        let found = if found.is_empty() { "<EOF>".to_owned() } else { found.to_owned() };
        Error::Mismatched { line, column, found, expected }
    }

    fn node(&self, start: usize, depth: usize, kind: NodeKind<'a>) -> Result<Node<'a>, Error> {
        if depth > DEPTH_LIMIT {
            return Err(Error::TooDeep { limit: DEPTH_LIMIT });
        }
        Ok(Node { kind, span: (start, self.end()), depth })
    }

    /// An expression of operators at least as strong as `least`.
    fn expression(&mut self, least: u8) -> Result<Node<'a>, Error> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Error::TooDeep { limit: DEPTH_LIMIT });
        }
        let mut left = self.prefix()?;
        loop {
            if strength::RANGE >= least && self.is_range() {
                left = self.range(left)?;
                continue;
            }
            let Some((infix, strength)) = self.infix() else { break };
            if strength < least {
                break;
            }
            self.at += if matches!(infix, Infix::In { negated: true }) { 2 } else { 1 };
            let right = self.expression(strength + 1)?;
            left = self.combine(left, infix, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn infix(&self) -> Option<(Infix, u8)> {
        let TokenKind::Sign(sign) = self.peek() else { return None };
        let arithmetic = |operator| Infix::Binary(Binary::Arithmetic(operator));
        let compare = |operator| Infix::Binary(Binary::Compare(operator));
        let bits = |name| Infix::Binary(Binary::Bits(name));
        Some(match *sign {
            "or" => (Infix::Any, strength::OR),
            "and" => (Infix::All, strength::AND),
            "|" => (bits("BitOr"), strength::BIT_OR),
            "^" => (bits("BitXor"), strength::BIT_XOR),
            "&" => (bits("BitAnd"), strength::BIT_AND),
            "==" => (compare(Compare::Equal), strength::EQUALITY),
            "!=" => (compare(Compare::NotEqual), strength::EQUALITY),
            "<" => (compare(Compare::Less), strength::RELATION),
            "<=" => (compare(Compare::LessEqual), strength::RELATION),
            ">" => (compare(Compare::Greater), strength::RELATION),
            ">=" => (compare(Compare::GreaterEqual), strength::RELATION),
            "in" => (Infix::In { negated: false }, strength::IN),
            "not" if matches!(self.peek_at(1), TokenKind::Sign("in")) => {
                (Infix::In { negated: true }, strength::IN)
            }
            "<<" | ">>" => (Infix::Binary(Binary::Shift), strength::SHIFT),
            "+" => (arithmetic(Arithmetic::Add), strength::SUM),
            "-" => (arithmetic(Arithmetic::Subtract), strength::SUM),
            "*" => (arithmetic(Arithmetic::Multiply), strength::PRODUCT),
            "/" => (arithmetic(Arithmetic::Divide), strength::PRODUCT),
            "%" => (arithmetic(Arithmetic::Modulo), strength::PRODUCT),
            "**" => (Infix::Binary(Binary::Power), strength::POWER),
            "!~" => (Infix::Binary(Binary::Regex { negated: true }), strength::REGEX_NOT),
            "=~" => (Infix::Binary(Binary::Regex { negated: false }), strength::REGEX),
            "like" => (Infix::Binary(Binary::Like), strength::LIKE),
            _ => return None,
        })
    }

    fn combine(&self, left: Node<'a>, infix: Infix, right: Node<'a>) -> Result<Node<'a>, Error> {
        let start = left.span.0;
        let deepest = left.depth.max(right.depth);
        match (infix, left.kind) {
            // Chains stay flat, so that their length never becomes depth.
            (Infix::All, NodeKind::All(mut all)) => {
                all.push(right);
                self.node(start, left.depth.max(deepest), NodeKind::All(all))
            }
            (Infix::Any, NodeKind::Any(mut all)) => {
                all.push(right);
                self.node(start, left.depth.max(deepest), NodeKind::Any(all))
            }
            (infix, kind) => {
                let left = Node { kind, ..left };
                let kind = match infix {
                    Infix::All => NodeKind::All(vec![left, right]),
                    Infix::Any => NodeKind::Any(vec![left, right]),
                    Infix::In { negated } => {
                        NodeKind::In { left: Box::new(left), right: Box::new(right), negated }
                    }
                    Infix::Binary(binary) => NodeKind::Binary(binary, Box::new(left), Box::new(right)),
                };
                self.node(start, deepest + 1, kind)
            }
        }
    }

    /// Whether `< field <` or the like comes next.
    fn is_range(&self) -> bool {
        let direction = |token: &TokenKind<'a>| match token {
            TokenKind::Sign("<" | "<=") => 1,
            TokenKind::Sign(">" | ">=") => -1,
            _ => 0,
        };
        let first = direction(self.peek());
        if first == 0 || !matches!(self.peek_at(1), TokenKind::Name(_) | TokenKind::Meta | TokenKind::Element)
        {
            return false;
        }
        let mut ahead = 2;
        while matches!(self.peek_at(ahead), TokenKind::Sign("["))
            && matches!(self.peek_at(ahead + 1), TokenKind::Text(_) | TokenKind::Int(_) | TokenKind::Name(_))
            && matches!(self.peek_at(ahead + 2), TokenKind::Sign("]"))
        {
            ahead += 3;
        }
        direction(self.peek_at(ahead)) == first
    }

    fn range(&mut self, left: Node<'a>) -> Result<Node<'a>, Error> {
        let start = left.span.0;
        let ascends = matches!(self.peek(), TokenKind::Sign("<" | "<="));
        let left_belongs = matches!(self.take(), TokenKind::Sign("<=" | ">="));
        let middle = self.primary()?;
        let right_belongs = matches!(self.take(), TokenKind::Sign("<=" | ">="));
        let right = self.expression(strength::RANGE + 1)?;
        let depth = left.depth.max(right.depth).max(middle.depth) + 1;
        let (left, right) = ((Box::new(left), left_belongs), (Box::new(right), right_belongs));
        let (lower, upper) = if ascends { (left, right) } else { (right, left) };
        self.node(start, depth, NodeKind::Range { lower, middle: Box::new(middle), upper })
    }

    fn prefix(&mut self) -> Result<Node<'a>, Error> {
        let start = self.start();
        let (unary, strength) = match self.peek() {
            TokenKind::Sign("not") => (Unary::Not, strength::UNARY),
            TokenKind::Sign("-") => (Unary::Minus, strength::UNARY),
            TokenKind::Sign("+") => (Unary::Plus, strength::UNARY),
            TokenKind::Sign("~") => (Unary::Invert, strength::UNARY),
            TokenKind::Sign("exists") => (Unary::Exists, strength::EXISTS),
            _ => return self.primary(),
        };
        self.at += 1;
        let operand = self.expression(strength)?;
        self.node(start, operand.depth + 1, NodeKind::Unary(unary, Box::new(operand)))
    }

    fn primary(&mut self) -> Result<Node<'a>, Error> {
        const EXPECTED: &str = "{'(', '[', '{', literal, identifier}";
        let start = self.start();
        let kind = match self.peek() {
            TokenKind::Sign("(") => return self.parentheses(),
            TokenKind::Sign("[") => return self.list(),
            TokenKind::Sign("{") => return self.template(),
            TokenKind::Name(_) | TokenKind::Meta => return self.name(),
            TokenKind::Element => {
                self.at += 1;
                return match self.part(start, None, None)? {
                    Some(part) => Ok(part),
                    None => Err(self.unexpected("identifier")),
                };
            }
            TokenKind::End | TokenKind::Sign(_) | TokenKind::IsNull { .. } => {
                return Err(self.unexpected(EXPECTED));
            }
            TokenKind::Bool(value) => NodeKind::Bool(*value),
            TokenKind::Int(value) => NodeKind::Int(*value),
            TokenKind::Float(value) => NodeKind::Float(*value),
            TokenKind::Text(_) => match self.take() {
                TokenKind::Text(text) => {
                    self.at -= 1;
                    NodeKind::Text(text)
                }
                _ => return Err(self.unexpected(EXPECTED)),
            },
        };
        self.at += 1;
        self.node(start, 1, kind)
    }

    fn parentheses(&mut self) -> Result<Node<'a>, Error> {
        let start = self.start();
        self.at += 1;
        let mut inner = self.expression(0)?;
        self.expect(")", "')'")?;
        inner.span = (start, self.end());
        Ok(inner)
    }

    fn list(&mut self) -> Result<Node<'a>, Error> {
        let start = self.start();
        self.at += 1;
        let mut members = Vec::new();
        while !self.take_sign("]") {
            if !members.is_empty() {
                self.expect(",", "{',', ']'}")?;
                if self.take_sign("]") {
                    break;
                }
            }
            // Constants, of which there may be very many, need no look at operators.
            let is_single = matches!(self.peek_at(1), TokenKind::Sign("," | "]"));
            members.push(if is_single { self.prefix()? } else { self.expression(0)? });
        }
        let depth = members.iter().map(|member| member.depth).max().unwrap_or(0) + 1;
        self.node(start, depth, NodeKind::List(members))
    }

    fn template(&mut self) -> Result<Node<'a>, Error> {
        let start = self.start();
        self.at += 1;
        let TokenKind::Name(name) = *self.peek() else { return Err(self.unexpected("identifier")) };
        self.at += 1;
        self.expect("}", "'}'")?;
        self.node(start, 1, NodeKind::Template(name))
    }

    /// A name, a path, a call, a time, and `is null` behind the first two.
    fn name(&mut self) -> Result<Node<'a>, Error> {
        let start = self.start();
        let base = match self.take() {
            TokenKind::Name(name) => Some(name),
            _ => None,
        };
        match (base, self.peek()) {
            (Some(name), TokenKind::Sign("(")) => return self.call(start, name),
            (Some(name @ ("iso" | "ISO" | "interval" | "INTERVAL")), TokenKind::Text(_)) => {
                let TokenKind::Text(text) = self.take() else {
                    return Err(self.unexpected("string literal"));
                };
                let is_instant = name.eq_ignore_ascii_case("iso");
                let kind = if is_instant { NodeKind::Instant(text) } else { NodeKind::Interval(text) };
                return self.node(start, 1, kind);
            }
            _ => {}
        }
        let mut steps = Vec::new();
        loop {
            if let (Some(of), [] | [Step::Index(_)]) = (base, steps.as_slice()) {
                let index =
                    steps.first().and_then(|step| if let Step::Index(at) = step { Some(*at) } else { None });
                if let Some(part) = self.part(start, Some(of), index)? {
                    return self.nulls(start, part);
                }
            }
            if !self.take_sign("[") {
                break;
            }
            match self.take() {
                TokenKind::Text(key) => steps.push(Step::Key(key)),
                TokenKind::Int(Some(index)) => steps.push(Step::Index(index)),
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected("{string literal, decimal integer}"));
                }
            }
            self.expect("]", "']'")?;
        }
        let kind = match base {
            Some(name) if steps.is_empty() => NodeKind::Name(name),
            None if steps.is_empty() => NodeKind::Meta,
            base => NodeKind::Path { base, steps },
        };
        let operand = self.node(start, 1, kind)?;
        self.nulls(start, operand)
    }

    /// `is null` behind an operand, if it is there.
    fn nulls(&mut self, start: usize, operand: Node<'a>) -> Result<Node<'a>, Error> {
        let TokenKind::IsNull { negated } = *self.peek() else { return Ok(operand) };
        self.at += 1;
        self.node(start, 2, NodeKind::IsNull { operand: Box::new(operand), negated })
    }

    /// The part of a struct that comes next: its name in brackets, and an index behind it if none was before. `None`, and
    /// nothing taken, if something else comes.
    fn part(
        &mut self,
        start: usize,
        of: Option<&'a str>,
        mut index: Option<u64>,
    ) -> Result<Option<Node<'a>>, Error> {
        let (TokenKind::Sign("["), &TokenKind::Name(part)) = (self.peek(), self.peek_at(1)) else {
            return Ok(None);
        };
        self.at += 2;
        self.expect("]", "']'")?;
        if index.is_none()
            && of.is_some()
            && let (TokenKind::Sign("["), &TokenKind::Int(Some(at))) = (self.peek(), self.peek_at(1))
        {
            self.at += 2;
            self.expect("]", "']'")?;
            index = Some(at);
        }
        self.node(start, 1, NodeKind::Part { of, index, part }).map(Some)
    }

    fn call(&mut self, start: usize, name: &'a str) -> Result<Node<'a>, Error> {
        self.at += 1;
        let mut arguments = Vec::new();
        let mut options = Vec::new();
        while !self.take_sign(")") {
            if !arguments.is_empty() || !options.is_empty() {
                self.expect(",", "{',', ')'}")?;
            }
            match (self.peek(), self.peek_at(1)) {
                (&TokenKind::Name(option), TokenKind::Sign("=")) => {
                    self.at += 2;
                    options.push((option, self.expression(0)?));
                }
                _ => arguments.push(self.expression(0)?),
            }
        }
        let named = options.iter().map(|(_, node)| node);
        let depth = arguments.iter().chain(named).map(|node| node.depth).max().unwrap_or(0) + 1;
        self.node(start, depth, NodeKind::Call { name, arguments, options })
    }
}
