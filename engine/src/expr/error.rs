//! Why a text is no filter over a schema, in the words Milvus clients look for.

use crate::base::{FieldId, Kind, Kinded};
use crate::calendar;
use crate::shape;

/// Why a filter cannot be parsed or evaluated.
///
/// `Display` of the parse failures is Milvus's `<detail>`: callers prefix it with
/// `cannot parse expression: <text>, error: `.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// No token of the language starts here.
    #[error("line {line}:{column} token recognition error at: '{text}'")]
    Token {
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 0.
        column: usize,
        /// What is there.
        text: String,
    },
    /// A token stands where the grammar allows only others.
    #[error("line {line}:{column} mismatched input '{found}' expecting {expected}")]
    Mismatched {
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 0.
        column: usize,
        /// The token, `<EOF>` at the end.
        found: String,
        /// What the grammar allows.
        expected: &'static str,
    },
    /// A complete expression is followed by something.
    #[error("invalid expression: {text}")]
    Trailing {
        /// The whole text.
        text: String,
    },
    /// Brackets or operators are nested deeper than the parser goes.
    #[error("the expression is nested too deeply, at most {limit} levels are supported")]
    TooDeep {
        /// Levels that are supported.
        limit: usize,
    },
    /// The text is longer than the parser takes.
    #[error("the expression is too long: {bytes} bytes, at most {limit} are supported")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Bytes that are supported.
        limit: usize,
    },
    /// A whole number does not fit 64 bits.
    #[error("strconv.ParseInt: parsing \"{text}\": value out of range")]
    IntRange {
        /// The number as written.
        text: String,
    },
    /// A number does not fit a double.
    #[error("strconv.ParseFloat: parsing \"{text}\": value out of range")]
    FloatRange {
        /// The number as written.
        text: String,
    },
    /// The bytes that a text literal's escapes name are not UTF-8.
    #[error("invalid UTF-8 in string literal {text}")]
    TextEncoding {
        /// The literal as written.
        text: String,
    },
    /// No field has the name and the schema has no dynamic field.
    #[error("field {name} not exist")]
    UnknownField {
        /// The name.
        name: String,
    },
    /// Brackets after a field that has nothing inside.
    #[error("{data_type} data type not supported accessed with []")]
    NotIndexable {
        /// Type of the field.
        data_type: &'static str,
    },
    /// The predicate as a whole, or an operand of one, is a value.
    #[error("predicate is not a boolean expression: {text}, data type: {data_type}")]
    NotBoolean {
        /// The text.
        text: String,
        /// Its type.
        data_type: &'static str,
    },
    /// `not` before a value.
    #[error("not op can only be applied on boolean expression")]
    NotOnValue,
    /// `and`, `or` between values.
    #[error("'{operator}' can only be used between boolean expressions")]
    LogicOnValue {
        /// `and` or `or`.
        operator: &'static str,
    },
    /// Two types that have no order and no equality between them.
    #[error("comparisons between {left} and {right} are not supported")]
    Comparison {
        /// Type on the left.
        left: &'static str,
        /// Type on the right.
        right: &'static str,
    },
    /// Two columns, at least one of them JSON.
    #[error("two column comparison with JSON type is not supported")]
    TwoJsonColumns,
    /// A whole array is compared otherwise than for equality with a list, or arrays with other columns.
    #[error("can not comparisons array fields directly")]
    WholeArray,
    /// A constant does not become a value of the field's type.
    #[error("cannot cast value to {to}, value: {value}")]
    Cast {
        /// Type of the field.
        to: &'static str,
        /// The constant, as Milvus prints constants (`float_val:1.5`).
        value: String,
    },
    /// A member of a list does not become a value of the field's type.
    #[error("value '{text}' in list cannot be casted to {to}")]
    ListCast {
        /// The member as written.
        text: String,
        /// Type of the field.
        to: &'static str,
    },
    /// A member of a list is not constant.
    #[error("value '{text}' in list cannot be a non-const expression")]
    ListNotConstant {
        /// The member as written.
        text: String,
    },
    /// `in` before something that is no list.
    #[error("the right-hand side of 'in' must be a list, but got: {text}")]
    NotList {
        /// The right side as written.
        text: String,
    },
    /// A constant before `in`.
    #[error("'in' can only be used on non-const expression")]
    InOnConstant,
    /// Anything but a field or path before `in`.
    #[error("'in' can only be used on single field")]
    InOnExpression,
    /// A bound of a chained range is not constant.
    #[error("{side} cannot be a non-const expression: {text}")]
    BoundNotConstant {
        /// `lowerbound` or `upperbound`.
        side: &'static str,
        /// The bound as written.
        text: String,
    },
    /// A chained range that holds nothing.
    #[error("invalid range: lowerbound is greater than upperbound")]
    EmptyRange,
    /// A chained range of truth values.
    #[error("invalid range operations on boolean expr")]
    BoolRange,
    /// Arithmetic on what is no number.
    #[error("{operator} cannot apply on {class} field")]
    ArithmeticOn {
        /// `add`, `subtract`, `multiply`, `divide`, `modulo`.
        operator: &'static str,
        /// `string`, `bool`, `vector`, `array`.
        class: &'static str,
    },
    /// Arithmetic between two fields.
    #[error("not supported to do arithmetic operations between multiple fields")]
    ArithmeticFields,
    /// Arithmetic on the result of arithmetic on a field.
    #[error("complicated arithmetic operations are not supported")]
    ArithmeticNested,
    /// A constant minus, divided by or modulo a field.
    #[error("{operator} field is not yet supported")]
    ArithmeticBy {
        /// `subtract`, `divide`, `module`.
        operator: &'static str,
    },
    /// Modulo of what is no whole number.
    #[error("modulo can only apply on integer types")]
    ModuloType,
    /// A zero divisor.
    #[error("division or modulus by zero")]
    ZeroDivisor,
    /// A constant sum, difference, product, quotient or power does not fit.
    #[error("the constant expression {text} is out of range")]
    ConstantRange {
        /// The expression as written.
        text: String,
    },
    /// `**` with a field.
    #[error("power can only apply on constants")]
    PowerOnField,
    /// `<<`, `>>`.
    #[error("shift is not supported")]
    Shift,
    /// `&`, `|`, `^`.
    #[error("{operator} is not supported: {text}")]
    BitOperator {
        /// `BitAnd`, `BitOr`, `BitXor`.
        operator: &'static str,
        /// The expression as written.
        text: String,
    },
    /// A sign before what is no number.
    #[error("unary operator {operator} is not supported on: {text}")]
    Unary {
        /// `-`, `+`, `~`.
        operator: &'static str,
        /// The operand as written.
        text: String,
    },
    /// `like` on what is no text.
    #[error("like operation on non-string or no-json field is unsupported")]
    LikeType,
    /// `like` with a pattern that is no constant text.
    #[error("the right operand of like must be a string literal, but got: {text}")]
    LikePattern {
        /// The pattern as written.
        text: String,
    },
    /// `=~` on what is no text.
    #[error("regex match on non-string or non-json field is unsupported")]
    RegexType,
    /// `=~` with a pattern that is no constant text.
    #[error("the right operand of regex match must be a string literal, but got: {text}")]
    RegexOperand {
        /// The pattern as written.
        text: String,
    },
    /// A regular expression that is none, or takes too much memory.
    #[error("invalid regex pattern: {reason}")]
    RegexPattern {
        /// What is wrong with it.
        reason: String,
    },
    /// Too many regular expressions.
    #[error("a filter may have {limit} regular expressions")]
    RegexCount {
        /// The most there may be.
        limit: usize,
    },
    /// A template variable after `=~` that is no text.
    #[error("the value of regex expression template variable {{{name}}} is not string")]
    RegexTemplate {
        /// Name of the variable.
        name: String,
    },
    /// `exists` on anything but a JSON path.
    #[error("exists operations are only supportted on json key")]
    ExistsType,
    /// `is null` on a vector.
    #[error("IsNull/IsNotNull operations are not supported on vector fields")]
    NullVector,
    /// `is null` on an element of an array.
    #[error("IsNull/IsNotNull operations are not supported on array element access")]
    NullElement,
    /// `array_contains…` with a value of another type than the elements.
    #[error("contains operation can't compare between array element type: {element} and {value}")]
    ContainsClass {
        /// Type of the elements.
        element: &'static str,
        /// Type of the value.
        value: &'static str,
    },
    /// `json_contains…` on what holds no elements.
    #[error("contains operation are only supported on json or array fields now, got: {text}")]
    ContainsType {
        /// The operand as written.
        text: String,
    },
    /// `json_contains_all`, `json_contains_any` without a list.
    #[error("{operation} operation element must be an array")]
    ContainsList {
        /// `ContainsAll`, `ContainsAny`.
        operation: &'static str,
    },
    /// `json_contains…` with an element that is not constant.
    #[error("contains operation element must be a constant, but got: {text}")]
    ContainsElement {
        /// The element as written.
        text: String,
    },
    /// `array_length` on what has none.
    #[error("array_length operation are only supported on json or array fields now, got: {text}")]
    LengthType {
        /// The operand as written.
        text: String,
    },
    /// `text_match`, `phrase_match` on what is no text.
    #[error("{operation} operation on non-string is unsupported")]
    MatchType {
        /// `text match` or `phrase match`.
        operation: &'static str,
    },
    /// `text_match`, `phrase_match` on a field without analyzer.
    #[error("field \"{field}\" does not enable match")]
    MatchOff {
        /// Name of the field.
        field: String,
    },
    /// `minimum_should_match` is no number, or out of range.
    #[error("minimum_should_match should be a const integer in range [1, {limit}], got: {text}")]
    LeastWords {
        /// The greatest number.
        limit: i64,
        /// What is there.
        text: String,
    },
    /// The slop of a phrase is no number of 32 bits.
    #[error("\"slop\" should be a const integer expression with \"uint32\" value, got: {text}")]
    Slop {
        /// What is there.
        text: String,
    },
    /// Words cannot be looked for in a field.
    #[error("cannot match texts of field {field}: {source}")]
    Match {
        /// Name of the field.
        field: String,
        /// Why not.
        source: crate::text::Error,
    },
    /// `random_sample` of nothing or everything.
    #[error("the sample factor should be between 0 and 1 and not too close to 0 or 1({factor})")]
    SampleFactor {
        /// The factor as written.
        factor: String,
    },
    /// A text after `ISO` or `INTERVAL` that says no instant or duration.
    #[error("{0}")]
    Time(#[source] calendar::Error),
    /// A duration that is not added to an instant, or subtracted from one.
    #[error("INTERVAL can only be added to or subtracted from a timestamptz field: {text}")]
    Interval {
        /// The expression as written.
        text: String,
    },
    /// A function about shapes on another field.
    #[error("{function}: field '{field}' is not a geometry datatype")]
    NotGeometry {
        /// Name of the function.
        function: &'static str,
        /// What is there, as written.
        field: String,
    },
    /// The constant of a function about shapes is no shape.
    #[error("failed to parse the geometry of {function}: {source}")]
    Geometry {
        /// Name of the function.
        function: &'static str,
        /// Why not.
        source: shape::Error,
    },
    /// `st_dwithin` to something that is no point.
    #[error("st_dwithin only supports a POINT geometry, but got: {text}")]
    NearWhat {
        /// What is there, as written.
        text: String,
    },
    /// `st_dwithin` with a distance that is none.
    #[error("the distance of st_dwithin must be a number of meters that is not negative, but got: {text}")]
    Distance {
        /// What is there, as written.
        text: String,
    },
    /// A time compared with what is no time.
    #[error("field '{field}' is not a timestamptz datatype")]
    NotTimestamptz {
        /// Name of the field.
        field: String,
    },
    /// A function with the wrong operands.
    #[error("function {name} does not accept these parameters: {text}")]
    CallArguments {
        /// Name of the function.
        name: String,
        /// The call as written.
        text: String,
    },
    /// A function of this name that takes values of these types does not exist.
    #[error("function {call} not found")]
    UnknownFunction {
        /// Its name, and the types in brackets.
        call: String,
    },
    /// Milvus has it, this version does not.
    #[error("{operation} is not supported")]
    Unsupported {
        /// What it is.
        operation: &'static str,
    },
    /// No struct has this name.
    #[error("struct array field not found: {name}")]
    UnknownStruct {
        /// Name as written.
        name: String,
    },
    /// `$` where no element is meant.
    #[error("$[{part}] can only be used inside element_filter or match expressions")]
    NoElement {
        /// The part.
        part: String,
    },
    /// Something else than parts of the element in a statement about elements.
    #[error(
        "only sub-fields of the element, as $[sub], can be used inside element_filter or match expressions, got: {text}"
    )]
    NotOfElement {
        /// What was written.
        text: String,
    },
    /// A statement about elements in another one.
    #[error("element_filter and match expressions cannot be nested")]
    ElementsNested,
    /// `element_filter` where it chooses nothing.
    #[error("element_filter can only be the last operand of a logical expression")]
    ElementFilterPlace,
    /// How many elements are to match, out of range.
    #[error("the threshold of {name} must be a whole number of at least {least}, got: {text}")]
    Threshold {
        /// Name of the function.
        name: &'static str,
        /// The least that makes sense.
        least: u64,
        /// What was written.
        text: String,
    },
    /// A template variable without a value.
    #[error("the value of expression template variable name {{{name}}} is not found")]
    TemplateMissing {
        /// Name of the variable.
        name: String,
    },
    /// A template variable after `in` that is no list.
    #[error("the value of term expression template variable {{{name}}} is not array")]
    TemplateList {
        /// Name of the variable.
        name: String,
    },
    /// A template variable after `like` that is no text.
    #[error("the value of like expression template variable {{{name}}} is not string")]
    TemplateText {
        /// Name of the variable.
        name: String,
    },
    /// A template variable that is NaN or infinite.
    #[error("the value of expression template variable {{{name}}} is not a number or infinity")]
    TemplateNumber {
        /// Name of the variable.
        name: String,
    },
    /// The rows lack a column that the filter reads, or it has another type: a defect of the caller.
    #[error("the rows have no fitting column of field {field}")]
    Column {
        /// The field.
        field: FieldId,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Column { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }
}
