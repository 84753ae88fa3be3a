//! Text to tokens.

use crate::expr::Error;

/// One token with where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub kind: TokenKind<'a>,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// Whole number; `None` past 64 bits. A value past `i64::MAX` is only legal after `-`.
    Int(Option<u64>),
    /// Number with fraction or exponent.
    Float(f64),
    /// Text literal, decoded.
    Text(String),
    /// `true`, `false`.
    Bool(bool),
    /// Name of a field, key or function.
    Name(&'a str),
    /// `$meta`.
    Meta,
    /// `$`, the element that a statement about elements is about.
    Element,
    /// `is null` or, if the flag is set, `is not null`.
    IsNull {
        /// Whether it is `is not null`.
        negated: bool,
    },
    /// Operator or bracket, keywords in lower case.
    Sign(&'static str),
    /// End of the text.
    End,
}

const KEYWORDS: [(&str, &str, &str); 6] = [
    ("and", "AND", "and"),
    ("or", "OR", "or"),
    ("not", "NOT", "not"),
    ("in", "IN", "in"),
    ("like", "LIKE", "like"),
    ("exists", "EXISTS", "exists"),
];

/// Longest first, so that the first match is the right one.
const SIGNS: [(&str, &str); 28] = [
    ("**", "**"),
    ("<<", "<<"),
    (">>", ">>"),
    ("<=", "<="),
    (">=", ">="),
    ("==", "=="),
    ("!=", "!="),
    ("=~", "=~"),
    ("!~", "!~"),
    ("&&", "and"),
    ("||", "or"),
    ("+", "+"),
    ("-", "-"),
    ("*", "*"),
    ("/", "/"),
    ("%", "%"),
    ("<", "<"),
    (">", ">"),
    ("!", "not"),
    ("~", "~"),
    ("&", "&"),
    ("|", "|"),
    ("^", "^"),
    ("(", "("),
    (")", ")"),
    ("[", "["),
    ("]", "]"),
    ("=", "="),
];

/// All tokens of `text`, [`TokenKind::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut lexer = Lexer { text, at: 0 };
    let mut all = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let token = lexer.next()?;
        let ended = token.kind == TokenKind::End;
        all.push(token);
        if ended {
            return Ok(all);
        }
    }
}

/// Line from 1 and character in it from 0, of the byte at `at`.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count())
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn refuse(&self, at: usize, length: usize) -> Error {
        let (line, column) = position(self.text, at);
        let found = self.text.get(at..).unwrap_or_default();
        Error::Token { line, column, text: found.chars().take(length.max(1)).collect() }
    }

    fn next(&mut self) -> Result<Token<'a>, Error> {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
        let start = self.at;
        let kind = self.kind()?;
        Ok(Token { kind, start, end: self.at })
    }

    fn kind(&mut self) -> Result<TokenKind<'a>, Error> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(TokenKind::End) };
        if let Some(prefix) = text_prefix(first, rest) {
            return self.string(prefix);
        }
        if first.is_ascii_digit() || first == '.' && rest[1..].starts_with(|next: char| next.is_ascii_digit())
        {
            return self.number();
        }
        if is_name_start(first) {
            return Ok(self.word());
        }
        if let Some(after) = rest.strip_prefix("$meta")
            && !after.starts_with(is_name_part)
        {
            self.at += 5;
            return Ok(TokenKind::Meta);
        }
        if rest.starts_with("$[") {
            self.at += 1;
            return Ok(TokenKind::Element);
        }
        // Lists are mostly commas: they should not wait for the search below.
        if let Some(sign) = [(',', ","), ('{', "{"), ('}', "}")].iter().find(|(sign, _)| *sign == first) {
            self.at += 1;
            return Ok(TokenKind::Sign(sign.1));
        }
        match SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            Some((sign, meaning)) => {
                self.at += sign.len();
                Ok(TokenKind::Sign(meaning))
            }
            None => Err(self.refuse(self.at, 1)),
        }
    }

    fn word(&mut self) -> TokenKind<'a> {
        let rest = self.rest();
        let word = &rest[..rest.find(|part| !is_name_part(part)).unwrap_or(rest.len())];
        for (spelling, negated) in
            [("is not null", true), ("IS NOT NULL", true), ("is null", false), ("IS NULL", false)]
        {
            if word.len() == 2
                && rest.strip_prefix(spelling).is_some_and(|after| !after.starts_with(is_name_part))
            {
                self.at += spelling.len();
                return TokenKind::IsNull { negated };
            }
        }
        self.at += word.len();
        match word {
            "true" | "True" | "TRUE" => TokenKind::Bool(true),
            "false" | "False" | "FALSE" => TokenKind::Bool(false),
            _ => KEYWORDS
                .iter()
                .find(|(lower, upper, _)| word == *lower || word == *upper)
                .map_or(TokenKind::Name(word), |&(_, _, sign)| TokenKind::Sign(sign)),
        }
    }

    fn number(&mut self) -> Result<TokenKind<'a>, Error> {
        let start = self.at;
        let rest = self.rest();
        let lower = rest.get(..2).unwrap_or_default().to_ascii_lowercase();
        if lower == "0x" {
            return self.hexadecimal();
        }
        if lower == "0b" {
            let digits = &rest[2..2 + span(&rest[2..], |digit| digit == b'0' || digit == b'1')];
            self.at += 2 + digits.len();
            return self.whole(start, digits, 2);
        }
        let whole = span(rest, |digit| digit.is_ascii_digit());
        let mut length = whole;
        let mut is_float = false;
        if rest[length..].starts_with('.') {
            is_float = true;
            length += 1;
            length += span(&rest[length..], |digit| digit.is_ascii_digit());
        }
        let exponent = exponent_length(&rest[length..], b'e');
        is_float |= exponent > 0;
        length += exponent;
        self.at += length;
        let written = &rest[..length];
        if is_float {
            return self.float(start, written.parse().ok());
        }
        if whole > 1 && written.starts_with('0') {
            return self.whole(start, &written[1..], 8);
        }
        self.whole(start, written, 10)
    }

    /// Ends a whole number of `digits`; a name right behind it is refused.
    fn whole(&mut self, start: usize, digits: &str, radix: u32) -> Result<TokenKind<'a>, Error> {
        let is_legal = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        if !is_legal || self.rest().starts_with(is_name_part) {
            return Err(self.refuse(start, self.at - start));
        }
        Ok(TokenKind::Int(u64::from_str_radix(digits, radix).ok()))
    }

    fn float(&mut self, start: usize, value: Option<f64>) -> Result<TokenKind<'a>, Error> {
        let written = &self.text[start..self.at];
        if self.rest().starts_with(is_name_part) {
            return Err(self.refuse(start, self.at - start + 1));
        }
        match value {
            Some(value) if value.is_finite() => Ok(TokenKind::Float(value)),
            _ => Err(Error::FloatRange { text: written.to_owned() }),
        }
    }

    /// `0x1F`, `0x1.8p3`.
    fn hexadecimal(&mut self) -> Result<TokenKind<'a>, Error> {
        let start = self.at;
        let rest = &self.rest()[2..];
        let whole = span(rest, |digit| digit.is_ascii_hexdigit());
        let fraction = if rest[whole..].starts_with('.') {
            1 + span(&rest[whole + 1..], |digit| digit.is_ascii_hexdigit())
        } else {
            0
        };
        let power = exponent_length(&rest[whole + fraction..], b'p');
        if power == 0 {
            self.at += 2 + whole;
            return self.whole(start, &rest[..whole], 16);
        }
        self.at += 2 + whole + fraction + power;
        let digits = rest[..whole].bytes().chain(rest[whole..whole + fraction].bytes().skip(1));
        let mantissa = digits.fold(0.0, |sum: f64, digit| {
            sum * 16.0 + f64::from(char::from(digit).to_digit(16).unwrap_or_default())
        });
        let exponent: i32 = rest[whole + fraction + 1..][..power - 1].parse().unwrap_or(i32::MAX);
        let shift = i32::try_from(fraction.saturating_sub(1)).unwrap_or(i32::MAX).saturating_mul(4);
        self.float(start, Some(mantissa * 2f64.powi(exponent.saturating_sub(shift))))
    }

    /// A text literal whose quote comes `prefix` bytes from here.
    fn string(&mut self, prefix: usize) -> Result<TokenKind<'a>, Error> {
        let start = self.at;
        let is_raw = self.rest().starts_with('r');
        let body = &self.rest()[prefix..];
        let quote = body.as_bytes()[0];
        let bytes = body.as_bytes();
        let mut decoded = Vec::new();
        let mut at = 1;
        loop {
            match bytes.get(at) {
                None | Some(b'\n' | b'\r') => return Err(self.refuse(start, self.text.len())),
                Some(&byte) if byte == quote => break,
                Some(b'\\') if !is_raw => {
                    let length = escape(&bytes[at..], &mut decoded);
                    if length == 0 {
                        return Err(self.refuse(start, self.text.len()));
                    }
                    at += length;
                }
                Some(&byte) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        self.at += prefix + at + 1;
        String::from_utf8(decoded)
            .map(TokenKind::Text)
            .map_err(|_| Error::TextEncoding { text: self.text[start..self.at].to_owned() })
    }
}

/// Bytes before the quote if a text literal starts here.
fn text_prefix(first: char, rest: &str) -> Option<usize> {
    if !matches!(first, '"' | '\'' | 'u' | 'U' | 'L' | 'r') {
        return None;
    }
    ["", "u8", "u", "U", "L", "r"]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|body| body.starts_with(['"', '\''])))
        .map(str::len)
}

/// Decodes the escape at the start of `bytes`; gives its length, 0 for one without end.
///
/// An escape that means nothing stays as it is, backslash included, for `like`.
fn escape(bytes: &[u8], decoded: &mut Vec<u8>) -> usize {
    let Some(&name) = bytes.get(1) else { return 0 };
    let single = match name {
        b'\'' | b'"' | b'?' | b'\\' => Some(name),
        b'a' => Some(7),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(11),
        b'\n' | b'\r' => return 0,
        _ => None,
    };
    if let Some(single) = single {
        decoded.push(single);
        return 2;
    }
    let (skip, most, radix) = match name {
        b'0'..=b'7' => (1, 3, 8),
        b'x' => (2, 2, 16),
        b'u' => (2, 4, 16),
        b'U' => (2, 8, 16),
        _ => (0, 0, 0),
    };
    let digits: String = bytes
        .iter()
        .skip(skip)
        .take(most)
        .map(|&byte| char::from(byte))
        .take_while(|digit| radix > 0 && digit.is_digit(radix))
        .collect();
    let is_whole = if radix == 8 { !digits.is_empty() } else { most > 0 && digits.len() == most };
    let code = u32::from_str_radix(&digits, radix.max(2)).ok().filter(|_| is_whole);
    match (code, most) {
        (Some(code), 2 | 3) if code < 256 => decoded.extend(u8::try_from(code)),
        (Some(code), 4 | 8) if char::from_u32(code).is_some() => {
            let letter = char::from_u32(code).unwrap_or_default();
            decoded.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        _ => {
            // The character itself is copied by the caller's loop.
            decoded.push(b'\\');
            return 1;
        }
    }
    skip + digits.len()
}

fn span(text: &str, mut belongs: impl FnMut(u8) -> bool) -> usize {
    text.bytes().take_while(|&byte| belongs(byte)).count()
}

/// Length of `e+12` at the start of `text`, 0 if there is none.
fn exponent_length(text: &str, mark: u8) -> usize {
    let bytes = text.as_bytes();
    if bytes.first().is_none_or(|first| first.to_ascii_lowercase() != mark) {
        return 0;
    }
    let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
    let digits = span(&text[1 + sign..], |digit| digit.is_ascii_digit());
    if digits == 0 { 0 } else { 1 + sign + digits }
}

/// Letters of names are ASCII letters and Han characters.
fn is_name_start(letter: char) -> bool {
    letter.is_ascii_alphabetic()
        || letter == '_'
        || matches!(letter, '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn is_name_part(letter: char) -> bool {
    is_name_start(letter) || letter.is_ascii_digit()
}
