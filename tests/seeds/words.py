"""Real texts, and the real model that embeds them."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from model import WIDTH, Embedder

DIM = WIDTH
CACHE = pathlib.Path(os.environ.get("REDKITE_CACHE", pathlib.Path.home() / ".cache/redkite"))
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
    if len(known) < WANTED:
        raise AssertionError(f"this Python describes only {len(known)} things")
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
