"""What the cases of all documents stand on: real texts, the model that embeds them, and the comparison of whole tables."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import itertools
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from model import WIDTH, Embedder

# The client logs every error with its trace, and some errors here are expected ones.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

Row = dict[str, Any]
DIM = WIDTH
CACHE = pathlib.Path(os.environ.get("REDKITE_CACHE", pathlib.Path.home() / ".cache/redkite"))
STRONG = {"consistency_level": "Strong"}
# More than any table here has, and what one query may answer with.
ALL_ROWS = 16_384
NUMBERS = itertools.count()
MODULES = """
    argparse array ast base64 bisect calendar collections configparser copy csv datetime decimal difflib fnmatch fractions functools
    gettext gzip hashlib heapq hmac html inspect io itertools json linecache locale logging math mimetypes operator os pathlib pickle
    platform pprint queue random re sched shelve shlex shutil socket sqlite3 ssl statistics string struct subprocess tarfile tempfile
    textwrap threading time timeit tokenize traceback types typing urllib.parse uuid warnings wave weakref zipfile zlib
""".split()
WANTED = 900
LONGEST = 2000


@dataclass(frozen=True)
class Text:
    """What Python says of a function or class of its standard library."""

    title: str
    category: str
    content: str

    @property
    def whole(self) -> str:
        return f"{self.title} {self.content}"


def described(module: str) -> Iterator[Text]:
    """What a module has to say, class by class with its methods."""
    for name, thing in sorted(vars(importlib.import_module(module)).items()):
        members = sorted(vars(thing).items()) if inspect.isclass(thing) else []
        for path, each in [(name, thing), *((f"{name}.{member}", value) for member, value in members)]:
            content = inspect.getdoc(each) if callable(each) and "_" not in (path[0], path.split(".")[-1][0]) else None
            if content and 40 <= len(content.encode()) <= LONGEST:
                yield Text(f"{module}.{path}", module, content)


@functools.cache
def texts() -> list[Text]:
    """Descriptions that differ from each other, of every module some, in an order that mixes the modules."""
    known: dict[str, Text] = {}
    for rank in itertools.zip_longest(*(list(described(module)) for module in MODULES)):
        for text in filter(None, rank):
            known.setdefault(text.content, text)
    return list(known.values())[:WANTED]


class Model:
    """The embedding model. It embeds a text once: the same words have the same vector, bit by bit, in every process of a run."""

    def __init__(self, kept: pathlib.Path | None = None) -> None:
        self.vectors: dict[str, np.ndarray] = {}
        if kept:
            with np.load(kept) as file:
                self.vectors = dict(zip(file["texts"].tolist(), file["vectors"]))

    @functools.cached_property
    def embedder(self) -> Embedder:
        made = Embedder(CACHE / "demo")
        made.check()
        return made

    def encode(self, words: Sequence[str]) -> list[list[float]]:
        new = [each for each in dict.fromkeys(words) if each not in self.vectors]
        if new:
            self.vectors.update(zip(new, self.embedder.embed(new)))
        return [self.vectors[each].tolist() for each in words]

    def keep(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, texts=np.array(list(self.vectors)), vectors=np.array(list(self.vectors.values())))
        os.replace(unfinished, path)


@functools.cache
def model() -> Model:
    """The model of this process, with all texts embedded at once, those of like length together, or kept by an earlier run."""
    words = [text.whole for text in texts()]
    kept = CACHE / "seeds" / f"vectors-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:12]}.npz"
    if kept.exists():
        return Model(kept)
    made = Model()
    made.encode(words)
    made.keep(kept)
    return made


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
