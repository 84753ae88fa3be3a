"""Filters made from a seed, and for which rows each holds, by plain Python that shares nothing with the database.

A condition says of each row true, false, or None where a null leaves it unknown; `and`, `or` and `not` go by Kleene's logic,
and a row is found if the whole is true. What is under a path of JSON is never unknown but where the whole value is null, and
even then it is known not to exist.
"""

from __future__ import annotations

import json
import operator
import random
import re
from typing import Any, Callable, Iterator

import numpy as np

from rows import Rows

SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
WHOLE = ("id", "part", "installed", "size", "delta", "small", "words", "late", "later")
REAL = ("ratio", "weight")
TEXTS = ("name", "section", "summary")
BOOLS = ("everywhere", "team")
ARRAYS = {"tags": str, "numbers": int, "lengths": int, "shares": float, "flags": bool}
FIELDS = (*WHOLE, *REAL, *TEXTS, *BOOLS, *ARRAYS, "about")
PAIRS = (("installed", "size"), ("delta", "words"), ("small", "part"), ("ratio", "weight"), ("part", "ratio"), ("name", "section"), ("name", "summary"), ("late", "later"))
# Fields of JSON, and what leads from their values to others.
PATHS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("about", ("size",)), ("about", ("size",)), ("about", ("maintainer", "name")), ("about", ("maintainer", "team")), ("about", ("version", "epoch")),
    ("about", ("version", "text")), ("about", ("version", "numbers", 0)), ("about", ("maybe",)), ("about", ("pairs", 0, 1)), ("about", ("mixed", 1)),
    ("about", ("nowhere",)), ("$meta", ("arch",)), ("$meta", ("odd",)), ("$meta", ("odd", 0)), ("$meta", ("odd", "part")), ("$meta", ("kilo",)),
    ("$meta", ("kilo",)), ("$meta", ("nowhere",)),
)  # fmt: skip
# Paths to lists, mostly.
LISTS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("about", ("tags",)), ("about", ("tags",)), ("about", ("version", "numbers")), ("about", ("pairs",)), ("about", ("mixed",)), ("about", ("maybe",)),
    ("$meta", ("odd",)), ("$meta", ("nowhere",)),
)  # fmt: skip
# In place of a value: the whole JSON value is null, and nothing is at the path.
NULL, MISSING = object(), object()


class Truth:
    """For which rows it holds, and for which it does not; for the others it is unknown."""

    def __init__(self, holds: np.ndarray, fails: np.ndarray) -> None:
        self.holds, self.fails = holds, fails

    @staticmethod
    def of(values: list[bool | None]) -> Truth:
        codes = np.fromiter((2 if value is None else bool(value) for value in values), np.uint8, len(values))
        return Truth(codes == 1, codes == 0)


class Leaf:
    """One condition. `test` gets the value, or values, of each row."""

    def __init__(self, text: str, values: list[Any], test: Callable[[Any], bool | None], fields: tuple[str, ...], params: dict[str, Any]) -> None:
        self.text, self.values, self.test, self.fields, self.params = text, values, test, fields, params

    def truth(self) -> Truth:
        return Truth.of([self.test(value) for value in self.values])

    def parts(self) -> Iterator[Leaf | Tree]:
        yield self


class Tree:
    """`and` and `or` of several, `not` of one."""

    def __init__(self, word: str, members: list[Leaf | Tree], text: str) -> None:
        self.word, self.members, self.text = word, members, text
        self.params = {name: value for member in members for name, value in member.params.items()}
        self.fields = tuple(dict.fromkeys(field for member in members for field in member.fields))

    def truth(self) -> Truth:
        all_ = [member.truth() for member in self.members]
        if self.word == "not":
            return Truth(all_[0].fails, all_[0].holds)
        both, either = (np.logical_and, np.logical_or) if self.word == "and" else (np.logical_or, np.logical_and)
        return Truth(both.reduce([one.holds for one in all_]), either.reduce([one.fails for one in all_]))

    def parts(self) -> Iterator[Leaf | Tree]:
        """The tree and all in it, what is small first."""
        for member in self.members:
            yield from member.parts()
        yield self


Expression = Leaf | Tree


# ---------------------------------------------------------------- meaning


def accepts(sign: str, order: int | None) -> bool:
    """Whether a sign accepts an order; without one (values of two kinds) only `!=` does."""
    return sign == "!=" if order is None else SIGNS[sign](order, 0)


# Kinds of JSON values that have an order among each other.
KINDS = {bool: 1, int: 2, float: 2, str: 3}


def order(left: Any, right: Any) -> int | None:
    """The order of two JSON values of one kind. Lists are equal or nothing."""
    kind = KINDS.get(type(left))
    if kind is not None and kind == KINDS.get(type(right)):
        return (left > right) - (left < right)
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return 0 if all(order(one, other) == 0 for one, other in zip(left, right)) else None
    return None


def is_in(value: Any, wanted: list[Any]) -> bool:
    return any(order(value, one) == 0 for one in wanted)


def has_content(value: Any) -> bool:
    """Whether anything but nulls and empty containers is in it."""
    if isinstance(value, (list, dict)):
        return any(has_content(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is not None and value is not MISSING and value is not NULL


def computed(left: Any, sign: str, right: Any) -> Any:
    """Whole numbers are divided as C does it: towards zero, with the remainder's sign that of the left."""
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if isinstance(left, int) and isinstance(right, int):
            return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        case "/":
            return left / right
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def known(test: Callable[[Any], bool]) -> Callable[[Any], bool | None]:
    """A test that is unknown of null."""
    return lambda value: None if value is None else test(value)


def under(test: Callable[[Any], bool]) -> Callable[[Any], bool | None]:
    """A test of what is at a path; MISSING is given to it, too."""
    return lambda value: None if value is NULL else test(value)


# ---------------------------------------------------------------- words


def quoted(text: str, quote: str = '"') -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n").replace("\t", "\\t") + quote


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(literal(one) for one in value) + "]"
    return repr(value)


class Generator:
    """Makes expressions about rows, with constants that are mostly values of some row."""

    def __init__(self, seed: int, rows: Rows) -> None:
        self.rng, self.rows = random.Random(seed), rows
        self.kept: dict[Any, list[Any]] = {}
        self.params: dict[str, Any] = {}
        self.named = 0
        self.kinds: list[tuple[Callable[[], Leaf], int]] = [
            (self.compared, 12), (self.ranged, 6), (self.listed, 6), (self.calculated, 6), (self.columns, 3), (self.alike, 7), (self.matched, 2),
            (self.is_true, 3), (self.is_null, 4), (self.path_compared, 8), (self.path_ranged, 2), (self.path_listed, 4), (self.path_alike, 3),
            (self.path_calculated, 3), (self.path_exists, 3), (self.path_contains, 5), (self.path_long, 2), (self.array_contains, 6), (self.array_long, 3),
            (self.array_element, 5), (self.array_whole, 2),
        ]  # fmt: skip

    def expressions(self, count: int) -> Iterator[Expression]:
        for at in range(count):
            # The first ones have each kind alone once.
            if at < len(self.kinds):
                yield self.leaf(self.kinds[at][0])
            else:
                yield self.tree(self.rng.choice((0, 1, 1, 1, 2, 2, 3)))

    # ------------------------------------------------------------ trees

    def leaf(self, kind: Callable[[], Leaf] | None = None) -> Leaf:
        if kind is None:
            kind = self.rng.choices([kind for kind, _ in self.kinds], [weight for _, weight in self.kinds])[0]
        self.params = {}
        found = kind()
        found.params = self.params
        return found

    def tree(self, depth: int) -> Expression:
        if depth == 0:
            return self.leaf()
        word = self.rng.choice(("and", "and", "or", "or", "not"))
        if word == "not":
            inner = self.tree(depth - 1)
            # These need no brackets; a comparison after `not` would be a comparison of its left side's negation.
            is_bare = isinstance(inner, Leaf) and re.match(r"(json_|array_contains|exists )|.* (is null|is not null|like \S+)$", inner.text, re.I)
            sign = self.rng.choice(("not ", "NOT ", "!"))
            return Tree("not", [inner], sign + (inner.text if is_bare and self.chance(0.5) else f"({inner.text})"))
        members = [self.tree(depth - 1) for _ in range(self.rng.choice((2, 2, 2, 3)))]
        sign = self.rng.choice({"and": ("and", "&&", "AND"), "or": ("or", "||", "OR")}[word])
        texts = []
        for member in members:
            needed = isinstance(member, Tree) and (word, member.word) == ("and", "or")
            texts.append(f"({member.text})" if needed or self.chance(0.2) else member.text)
        return Tree(word, members, f" {sign} ".join(texts))

    # ------------------------------------------------------------ constants

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def column(self, field: str) -> list[Any]:
        if field not in self.kept:
            self.kept[field] = self.rows.column(field)
        return self.kept[field]

    def at(self, field: str, path: tuple[str | int, ...]) -> list[Any]:
        """What is at a path in each row."""
        if (field, path) not in self.kept:
            if ("json", field) not in self.kept:
                self.kept["json", field] = self.rows.json(field)
            self.kept[field, path] = [self.followed(value, path) for value in self.kept["json", field]]
        return self.kept[field, path]

    @staticmethod
    def followed(value: Any, path: tuple[str | int, ...]) -> Any:
        if value is None:
            return NULL
        for step in path:
            if isinstance(step, str) and isinstance(value, dict) and step in value or isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return MISSING
        return value

    def one_of(self, values: list[Any]) -> Any:
        """A value that some row has; None if none was found."""
        for _ in range(50):
            value = self.rng.choice(values)
            if value is not None and value is not NULL and value is not MISSING:
                return value
        return None

    def constant(self, value: Any) -> str:
        """A constant as a literal, or by name as a value beside the text."""
        kinds = {type(one) for one in value} if isinstance(value, list) else {type(value)}
        # Lists that clients can say in such a value: of one kind, and not of lists.
        if len(kinds) == 1 and not (isinstance(value, list) and list in kinds) and self.chance(0.1):
            self.named += 1
            self.params[f"v{self.named}"] = value
            return f"{{v{self.named}}}"
        if isinstance(value, int) and not isinstance(value, bool) and self.chance(0.2):
            if value >= 0:
                return self.rng.choice((hex(value), bin(value), f"0{value:o}" if value else "0", f"{value + 7} - 7", f"{value} + 0"))
            return f"{value - 3} + 3"
        if isinstance(value, str) and self.chance(0.3):
            return quoted(value, "'")
        if isinstance(value, list) and value and self.chance(0.2):
            return literal(value)[:-1] + ",]"
        return literal(value)

    def number(self, field: str) -> int | float:
        value = self.one_of(self.column(field))
        if value is None:
            value = 0
        if field in WHOLE:
            return value + self.rng.choice((0, 0, 0, 1, -1, 100)) if self.chance(0.9) else self.rng.choice((0, -1, 10**6, -(10**12)))
        # What a user writes has few digits; in a field of single precision it means the nearest such number.
        return self.rng.choice((value, round(value, 1), round(value, 3), int(value)))

    def meant(self, field: str, value: Any) -> Any:
        return float(np.float32(value)) if field == "weight" else value

    def value(self, field: str) -> Any:
        if field in TEXTS:
            return self.one_of(self.column(field)) or ""
        return self.rng.random() < 0.5 if field in BOOLS else self.number(field)

    # ------------------------------------------------------------ fields

    def compared(self) -> Leaf:
        field, sign = self.rng.choice((*WHOLE, *WHOLE, *REAL, *REAL, *TEXTS)), self.rng.choice(list(SIGNS))
        value = self.value(field)
        wanted, accept = self.meant(field, value), SIGNS[sign]
        text = f"{field} {sign} {self.constant(value)}" if self.chance(0.8) else f"{self.constant(value)} {TURNED[sign]} {field}"
        return Leaf(text, self.column(field), known(lambda left: accept(left, wanted)), (field,), {})

    def bounds(self, draw: Callable[[], Any]) -> tuple[Any, Any] | None:
        for _ in range(20):
            low, high = draw(), draw()
            if order(low, high) == -1:
                return low, high
        return None

    def range_text(self, name: str, low: Any, high: Any) -> tuple[str, str, str]:
        first, second = self.rng.choice(("<", "<=")), self.rng.choice(("<", "<="))
        if self.chance(0.7):
            return f"{self.constant(low)} {first} {name} {second} {self.constant(high)}", first, second
        return f"{self.constant(high)} {TURNED[second]} {name} {TURNED[first]} {self.constant(low)}", first, second

    def ranged(self) -> Leaf:
        field = self.rng.choice((*WHOLE, *REAL, *TEXTS))
        bounds = self.bounds(lambda: self.value(field))
        if bounds is None:
            return self.compared()
        text, first, second = self.range_text(field, *bounds)
        low, high = (self.meant(field, value) for value in bounds)
        above, below = SIGNS[first], SIGNS[second]
        return Leaf(text, self.column(field), known(lambda value: above(low, value) and below(value, high)), (field,), {})

    def listed(self) -> Leaf:
        field = self.rng.choice((*WHOLE, *REAL, *TEXTS, *BOOLS))
        values = [self.value(field) for _ in range(self.rng.choice((0, 1, 2, 3, 5, 40)))]
        wanted, is_negated = {self.meant(field, value) for value in values}, self.chance(0.4)
        text = f"{field} {'not in' if is_negated else self.rng.choice(('in', 'IN'))} {self.constant(values)}"
        return Leaf(text, self.column(field), known(lambda value: (value in wanted) != is_negated), (field,), {})

    def calculation(self, name: str, value: Any, is_whole: bool) -> tuple[str, Callable[[Any], Any], Any]:
        """Its text, what it makes of a value, and what it makes of one row's."""
        sign = self.rng.choice(("+", "-", "*", "/", "%") if is_whole else ("+", "-", "*", "/"))
        constant: int | float = self.rng.choice((1, 2, 3, 7, 10, 100, -2, -7))
        if not is_whole:
            constant = self.rng.choice((2, 0.5, 3, 1.25))
        if sign in "+*" and self.chance(0.3):
            return f"{literal(constant)} {sign} {name}", lambda left: computed(left, sign, constant), computed(value, sign, constant)
        return f"{name} {sign} {literal(constant)}", lambda left: computed(left, sign, constant), computed(value, sign, constant)

    def calculated(self) -> Leaf:
        field, sign = self.rng.choice((*WHOLE, "delta", "ratio")), self.rng.choice(list(SIGNS))
        value = self.one_of(self.column(field))
        made, compute, wanted = self.calculation(field, 1 if value is None else value, field in WHOLE)
        accept = SIGNS[sign]
        text = f"{made} {sign} {self.constant(wanted)}" if self.chance(0.8) else f"{self.constant(wanted)} {TURNED[sign]} {made}"
        return Leaf(text, self.column(field), known(lambda left: accept(compute(left), wanted)), (field,), {})

    def columns(self) -> Leaf:
        (left, right), sign = self.rng.choice(PAIRS), self.rng.choice(list(SIGNS))
        accept = SIGNS[sign]
        values = list(zip(self.column(left), self.column(right)))
        return Leaf(f"{left} {sign} {right}", values, lambda two: None if None in two else accept(*two), (left, right), {})

    def is_true(self) -> Leaf:
        field, sign, wanted = self.rng.choice(BOOLS), self.rng.choice(("==", "!=")), self.chance(0.5)
        word = self.rng.choice(("true", "True", "TRUE") if wanted else ("false", "False", "FALSE"))
        text = f"{field} {sign} {word}" if self.chance(0.8) else f"{word} {sign} {field}"
        return Leaf(text, self.column(field), known(lambda value: (value == wanted) == (sign == "==")), (field,), {})

    def is_null(self) -> Leaf:
        field, is_negated = self.rng.choice(FIELDS), self.chance(0.5)
        text = f"{field} {self.rng.choice(('is not null', 'IS NOT NULL') if is_negated else ('is null', 'IS NULL'))}"
        return Leaf(text, self.column(field), lambda value: (value is None) != is_negated, (field,), {})

    # ------------------------------------------------------------ patterns

    def pattern(self, values: list[Any]) -> tuple[str, Callable[[str], bool]]:
        """A pattern as it stands in the text, and what it means; made of pieces of one row's text."""
        text = self.one_of([value for value in self.rng.choices(values, k=200) if isinstance(value, str)] or [""]) or ""
        begin = self.rng.randint(0, max(0, len(text) - 1))
        end = self.rng.randint(begin, min(len(text), begin + 6))
        pieces: list[str] = {
            0: [text[: end - begin + 1], "%"], 1: ["%", text[begin:]], 2: ["%", text[begin:end], "%"], 3: [text[:begin], "_", text[begin + 1 :]],
            4: [text[:2], "%", text[begin:end], "%"], 5: ["%", text[begin:end], "_", text[end + 1 : end + 3], "%"], 6: [text], 7: ["%", text[-2:-1], "_"],
        }[self.rng.randrange(8)]  # fmt: skip
        wild = {"%": ".*", "_": "."}
        # Only what was put in as a sign is one: letters of the text that look like one are escaped, in the pattern, and that
        # in the literal again; a single backslash before such a letter means the same.
        escaped = [piece if piece in wild else quoted(re.sub(r"([%_\\])", r"\\\1", piece))[1:-1] for piece in pieces]
        written = "".join(escaped)
        if self.chance(0.5):
            written = re.sub(r"(?<!\\)\\\\([%_])", r"\\\1", written)
        meaning = re.compile("".join(wild[piece] if piece in wild else re.escape(piece) for piece in pieces), re.DOTALL)
        return f'"{written}"', lambda value: meaning.fullmatch(value) is not None

    def alike(self) -> Leaf:
        field = self.rng.choice(("name", "name", "summary", "summary", "summary", "section"))
        written, holds = self.pattern(self.column(field))
        return Leaf(f"{field} {self.rng.choice(('like', 'like', 'LIKE'))} {written}", self.column(field), known(holds), (field,), {})

    def matched(self) -> Leaf:
        field, is_negated = self.rng.choice(TEXTS), self.chance(0.3)
        text = self.one_of(self.column(field)) or "x"
        begin = self.rng.randint(0, len(text) - 1) if text else 0
        piece = re.sub(r"[^A-Za-z0-9]", ".", text[begin : begin + 4]) or "a"
        expression = self.rng.choice((f"^{piece}", f"{piece}$", f"{piece}.*[0-9]+", f"({piece}|lib)[a-m]", f"^[^a-l]+{piece[:1]}?", piece))
        search = re.compile(expression)
        test = known(lambda value: (search.search(value) is not None) != is_negated)
        return Leaf(f"{field} {'!~' if is_negated else '=~'} {quoted(expression)}", self.column(field), test, (field,), {})

    # ------------------------------------------------------------ JSON

    def path(self, paths: tuple[tuple[str, tuple[str | int, ...]], ...]) -> tuple[str, str, list[Any]]:
        """A path as text, its field, and what is there."""
        field, path = self.rng.choice(paths)
        steps = [f"[{step}]" if isinstance(step, int) else f"[{quoted(step, self.rng.choice(QUOTES))}]" for step in path]
        text = field + "".join(steps)
        if field == "$meta" and self.chance(0.7):
            text = str(path[0]) + "".join(steps[1:])
        return text, field, self.at(field, path)

    def member(self, values: list[Any]) -> Any:
        """A constant that may be compared with some of the values."""
        value = self.one_of(values)
        if isinstance(value, (str, int, float)) and self.chance(0.8):
            return value
        return self.rng.choice((0, 1, 2, 1.5, "a", "", True, False))

    def path_compared(self) -> Leaf:
        text, field, values = self.path(PATHS)
        value, sign = self.member(values), self.rng.choice(list(SIGNS))
        if isinstance(value, bool):
            sign = self.rng.choice(("==", "!="))
        return Leaf(f"{text} {sign} {self.constant(value)}", values, under(lambda left: accepts(sign, order(left, value))), (field,), {})

    def path_ranged(self) -> Leaf:
        text, field, values = self.path(PATHS)
        bounds = self.bounds(lambda: self.member(values))
        if bounds is None or isinstance(bounds[0], bool):
            return self.path_compared()
        low, high = bounds
        made, first, second = self.range_text(text, low, high)
        test = under(lambda value: accepts(TURNED[first], order(value, low)) and accepts(second, order(value, high)))
        return Leaf(made, values, test, (field,), {})

    def path_listed(self) -> Leaf:
        text, field, values = self.path(PATHS)
        wanted = [self.member(values) for _ in range(self.rng.choice((0, 1, 2, 3, 6)))]
        is_negated = self.chance(0.4)
        test = under(lambda value: is_in(value, wanted) != is_negated)
        return Leaf(f"{text} {'not in' if is_negated else 'in'} {self.constant(wanted)}", values, test, (field,), {})

    def path_alike(self) -> Leaf:
        text, field, values = self.path(PATHS)
        written, holds = self.pattern(values)
        return Leaf(f"{text} like {written}", values, under(lambda value: isinstance(value, str) and holds(value)), (field,), {})

    def path_calculated(self) -> Leaf:
        text, field, values = self.path((("about", ("size",)), ("about", ("version", "epoch")), ("$meta", ("kilo",)), ("$meta", ("odd",))))
        sign, value = self.rng.choice(list(SIGNS)), self.one_of(values)
        if not isinstance(value, int) or isinstance(value, bool):
            value = 2
        made, compute, wanted = self.calculation(text, value, True)
        # A remainder of numbers that are not whole means nothing.
        is_number: Any = int if "%" in made else (int, float)

        def test(left: Any) -> bool:
            if isinstance(left, bool) or not isinstance(left, is_number):
                return sign == "!="
            return SIGNS[sign](compute(left), wanted)

        return Leaf(f"{made} {sign} {self.constant(wanted)}", values, under(test), (field,), {})

    def path_exists(self) -> Leaf:
        text, field, values = self.path((*PATHS, *LISTS))
        form = self.rng.choice(("exists {}", "EXISTS {}", "{} is not null", "{} is null"))
        is_negated = form.endswith("is null")
        # Nothing exists in a value that is null: this is known.
        return Leaf(form.format(text), values, lambda value: has_content(value) != is_negated, (field,), {})

    def path_contains(self) -> Leaf:
        text, field, values = self.path(LISTS)
        some = [one for value in self.rng.choices(values, k=400) if isinstance(value, list) for one in value if isinstance(one, (str, int, float, list))]
        return self.contains(text, field, values, some or ["a", 1], under, ("json_contains", "array_contains"))

    def contains(self, text: str, field: str, values: list[Any], some: list[Any], by: Any, names: tuple[str, ...]) -> Leaf:
        name, form = self.rng.choice(names), self.rng.choice(("", "", "_any", "_all"))
        name = (name + form).upper() if self.chance(0.2) else name + form
        if not form:
            wanted = self.rng.choice(some)
            return Leaf(f"{name}({text}, {self.constant(wanted)})", values, by(lambda value: isinstance(value, list) and is_in(wanted, value)), (field,), {})
        list_ = self.rng.choices(some, k=self.rng.choice((1, 2, 3)))
        fold = any if form == "_any" else all
        test = by(lambda value: isinstance(value, list) and fold(is_in(one, value) for one in list_))
        return Leaf(f"{name}({text}, {self.constant(list_)})", values, test, (field,), {})

    def path_long(self) -> Leaf:
        text, field, values = self.path(LISTS)
        sign, wanted = self.rng.choice(list(SIGNS)), self.rng.randrange(4)
        test = under(lambda value: SIGNS[sign](len(value) if isinstance(value, list) else 0, wanted))
        return Leaf(f"array_length({text}) {sign} {self.constant(wanted)}", values, test, (field,), {})

    # ------------------------------------------------------------ arrays

    def elements(self, field: str) -> list[Any]:
        return [one for value in self.rng.choices(self.column(field), k=400) if value for one in value]

    def array_contains(self) -> Leaf:
        field = self.rng.choice(list(ARRAYS))
        return self.contains(field, field, self.column(field), self.elements(field), known, ("array_contains", "array_contains", "json_contains"))

    def array_long(self) -> Leaf:
        field, sign, wanted = self.rng.choice(list(ARRAYS)), self.rng.choice(list(SIGNS)), self.rng.randrange(6)
        test = known(lambda value: SIGNS[sign](len(value), wanted))
        return Leaf(f"array_length({field}) {sign} {self.constant(wanted)}", self.column(field), test, (field,), {})

    def array_element(self) -> Leaf:
        """What is not there is not even unequal; but it is not in a list, since that is the negation of being in it."""
        field, at = self.rng.choice(list(ARRAYS)), self.rng.randrange(4)
        values, text, wanted = self.column(field), f"{field}[{at}]", self.rng.choice(self.elements(field))

        def there(test: Callable[[Any], bool]) -> Callable[[Any], bool | None]:
            return known(lambda value: len(value) > at and test(value[at]))

        form = self.rng.choice(("sign", "sign", "in", "like", "compute"))
        if form == "like" and field == "tags":
            written, holds = self.pattern([one for value in values for one in value[:1]])
            return Leaf(f"{text} like {written}", values, there(holds), (field,), {})
        if form == "compute" and ARRAYS[field] is int:
            sign = self.rng.choice(list(SIGNS))
            made, compute, result = self.calculation(text, wanted, True)
            return Leaf(f"{made} {sign} {self.constant(result)}", values, there(lambda one: SIGNS[sign](compute(one), result)), (field,), {})
        if form == "in":
            list_ = self.rng.choices(self.elements(field), k=self.rng.randint(1, 4))
            is_negated = self.chance(0.3)
            test = known(lambda value: (len(value) > at and value[at] in list_) != is_negated)
            return Leaf(f"{text} {'not in' if is_negated else 'in'} {self.constant(list_)}", values, test, (field,), {})
        sign = self.rng.choice(("==", "!=") if ARRAYS[field] is bool else list(SIGNS))
        return Leaf(f"{text} {sign} {self.constant(wanted)}", values, there(lambda one: SIGNS[sign](one, wanted)), (field,), {})

    def array_whole(self) -> Leaf:
        field, sign = self.rng.choice(list(ARRAYS)), self.rng.choice(("==", "!="))
        wanted = self.one_of(self.column(field)) or []
        test = known(lambda value: (value == wanted) == (sign == "=="))
        return Leaf(f"{field} {sign} {literal(wanted)}", self.column(field), test, (field,), {})


QUOTES = ('"', "'")


def described(expression: Expression) -> str:
    return expression.text + (f"   with {json.dumps(expression.params, ensure_ascii=False)}" if expression.params else "")
