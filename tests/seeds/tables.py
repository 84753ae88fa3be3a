"""Tables as they are to be, compared with what a server shows: every row, every value, bit by bit."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from words import DIM

# The client logs every error with its trace, and some errors here are expected ones.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

Row = dict[str, Any]
STRONG = {"consistency_level": "Strong"}
# More than any table here has, and what one query may answer with.
ALL_ROWS = 16_384
NUMBERS = itertools.count()


def unique(word: str) -> str:
    """A name that no other case uses."""
    return f"{word}_{next(NUMBERS)}"


def exactly(value: Any) -> Any:
    """A value in the form in which it compares bit by bit: vectors as what they are on the wire."""
    if isinstance(value, np.ndarray) or (isinstance(value, (list, tuple)) and len(value) == DIM):
        return np.asarray(value, np.float32).tobytes()
    return list(value) if not isinstance(value, (str, bytes, dict)) and isinstance(value, Iterable) else value


def same_rows(found: Iterable[Mapping[str, Any]], expected: Iterable[Mapping[str, Any]], what: str = "the table", key: str = "id") -> None:
    """Both have the same rows, each once, with the same values in the same fields."""
    rows, wanted = [dict(row) for row in found], {row[key]: row for row in expected}
    seen: dict[Any, Row] = {}
    doubled = []
    for row in rows:
        if row[key] in seen:
            doubled.append(row[key])
        seen[row[key]] = row
    lost, unknown = sorted(set(wanted) - set(seen)), sorted(set(seen) - set(wanted))
    if doubled or lost or unknown:
        raise AssertionError(
            f"{what}: {len(lost)} rows are lost {lost[:5]}, {len(doubled)} doubled {doubled[:5]}, {len(unknown)} nobody wrote {unknown[:5]}"
        )
    for each, row in wanted.items():
        for field in sorted(set(row) | set(seen[each])):
            one, other = (exactly(side.get(field, "no such field")) for side in (seen[each], row))
            if one != other:
                raise AssertionError(f"{what}: {field} of {each!r} is {one!r:.300}, expected {other!r:.300}")


def nearest(vectors: Mapping[Any, Sequence[float]], query: Sequence[float], limit: int, metric: str = "L2") -> list[tuple[Any, float]]:
    """Keys and distances of the rows that lie nearest, by all distances."""
    keys, matrix, point = list(vectors), np.asarray(list(vectors.values()), np.float64), np.asarray(query, np.float64)
    if metric == "L2":
        far = ((matrix - point) ** 2).sum(axis=1)
        order = np.argsort(far, kind="stable")
    else:
        far = matrix @ point / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(point))
        order = np.argsort(-far, kind="stable")
    return [(keys[at], float(far[at])) for at in order[:limit]]


def same_hits(found: Sequence[tuple[Any, float]], expected: Sequence[tuple[Any, float]], what: str = "the hits") -> None:
    """The same distances; the same keys too, but where two distances are as good as equal."""
    near = len(found) == len(expected) and all(abs(one - other) < 2e-5 for (_, one), (_, other) in zip(found, expected))
    ties = {key for (key, one), (_, other) in itertools.pairwise(expected) if abs(one - other) < 2e-5}
    if not near or any(one != other and not ties for (one, _), (other, _) in zip(found, expected)):
        raise AssertionError(f"{what} are {list(found)}, expected {list(expected)}")
