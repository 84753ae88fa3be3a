//! The untyped tree of a text.

/// One part of an expression and where it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'a> {
    /// What it is.
    pub kind: NodeKind<'a>,
    /// First byte and byte after the last.
    pub span: (usize, usize),
    /// Levels of nodes from here down, 1 for a leaf.
    pub depth: usize,
}

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeKind<'a> {
    /// `true`, `false`.
    Bool(bool),
    /// Whole number; `None` past 64 bits.
    Int(Option<u64>),
    /// Number with fraction or exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// A field, or a key of the dynamic field.
    Name(&'a str),
    /// The whole dynamic field.
    Meta,
    /// Something inside a field.
    Path {
        /// Name or [`NodeKind::Meta`] before the brackets; `None` is `$meta`.
        base: Option<&'a str>,
        /// What is in the brackets.
        steps: Vec<Step>,
    },
    /// A part of a struct: `struct[part]`, `struct[0][part]`, or `$[part]`.
    Part {
        /// The struct; `None` is the element that a statement is about.
        of: Option<&'a str>,
        /// Which element, if one is named.
        index: Option<u64>,
        /// The part.
        part: &'a str,
    },
    /// `{name}`.
    Template(&'a str),
    /// `[a, b]`.
    List(Vec<Node<'a>>),
    /// One operand.
    Unary(Unary, Box<Node<'a>>),
    /// Two operands, neither `and` nor `or`.
    Binary(Binary, Box<Node<'a>>, Box<Node<'a>>),
    /// All operands hold.
    All(Vec<Node<'a>>),
    /// One operand holds.
    Any(Vec<Node<'a>>),
    /// `low < field <= high`, lower bound first whatever the direction in the text.
    Range {
        /// Lower bound and whether it belongs to the range.
        lower: (Box<Node<'a>>, bool),
        /// The field or path.
        middle: Box<Node<'a>>,
        /// Upper bound and whether it belongs to the range.
        upper: (Box<Node<'a>>, bool),
    },
    /// `x in y`, `x not in y`.
    In {
        /// The value.
        left: Box<Node<'a>>,
        /// The list.
        right: Box<Node<'a>>,
        /// Whether it is `not in`.
        negated: bool,
    },
    /// `x is null`, `x is not null`.
    IsNull {
        /// Field or path.
        operand: Box<Node<'a>>,
        /// Whether it is `is not null`.
        negated: bool,
    },
    /// `f(a, b, option=c)`.
    Call {
        /// Name as written.
        name: &'a str,
        /// Operands.
        arguments: Vec<Node<'a>>,
        /// Named operands.
        options: Vec<(&'a str, Node<'a>)>,
    },
    /// `ISO '…'`.
    Instant(String),
    /// `INTERVAL '…'`.
    Interval(String),
}

/// One step of a path into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Member of an object.
    Key(String),
    /// Element of an array, from 0; of an object, the member of that decimal name.
    Index(u64),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    /// `not`.
    Not,
    /// `-`.
    Minus,
    /// `+`.
    Plus,
    /// `~`.
    Invert,
    /// `exists`.
    Exists,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    /// Comparison.
    Compare(Compare),
    /// Arithmetic.
    Arithmetic(Arithmetic),
    /// `**`.
    Power,
    /// `<<`, `>>`.
    Shift,
    /// `&`, `|`, `^`, by Milvus's names.
    Bits(&'static str),
    /// `like`.
    Like,
    /// `=~`, `!~`.
    Regex {
        /// Whether it is `!~`.
        negated: bool,
    },
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
}

impl Compare {
    /// The operator as text.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    /// The operator that says the same with its operands swapped.
    pub(super) const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }

    /// Whether operands in this order satisfy the operator; operands without an order are merely unequal.
    #[inline]
    pub(super) fn accepts(self, order: Option<std::cmp::Ordering>) -> bool {
        // Bit 0 less, bit 1 equal, bit 2 greater, bit 3 without order.
        let accepted: u8 = match self {
            Self::Less => 0b0001,
            Self::LessEqual => 0b0011,
            Self::Greater => 0b0100,
            Self::GreaterEqual => 0b0110,
            Self::Equal => 0b0010,
            Self::NotEqual => 0b1101,
        };
        accepted >> order.map_or(3, |order| order as i8 + 1) & 1 == 1
    }
}

/// Arithmetic on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`; between whole numbers it drops the fraction.
    Divide,
    /// `%`, with the sign of the left operand.
    Modulo,
}

impl Arithmetic {
    /// The operator as text.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    /// The operator as error texts name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Modulo => "modulo",
        }
    }
}
