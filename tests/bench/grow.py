"""More vectors with the shape of the real ones, the same on every machine with the same numpy.

A row past the real ones lies in the middle between a real row and one of the ten nearest to it, moved by noise. The noise was chosen
so that the nearest of the queries come as much nearer with each doubling as they do over real subsets.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIGMA = 0.016
STEP = 50_000


def neighbours(data: Path) -> np.ndarray:
    """The ten nearest real rows of each, found once and kept beside the vectors."""
    kept = data / "near.npy"
    if kept.exists():
        return np.load(kept)
    base = np.load(data / "vectors.npy")
    near = np.empty((len(base), 10), np.int32)
    for first in range(0, len(base), 2_000):
        scores = base[first : first + 2_000] @ base.T
        scores[np.arange(len(scores)), np.arange(first, first + len(scores))] = -9
        near[first : first + 2_000] = np.argpartition(-scores, 10, axis=1)[:, :10]
    near.sort(axis=1)
    with open(kept.with_suffix(".new"), "wb") as out:
        np.save(out, near)
    kept.with_suffix(".new").rename(kept)
    return near


def grow(data: Path, rows: int, out: Path) -> None:
    """Writes so many rows, the real ones first."""
    base, near = np.load(data / "vectors.npy"), neighbours(data)
    rng = np.random.default_rng(7)
    grown = np.lib.format.open_memmap(out, "w+", dtype="<f4", shape=(rows, base.shape[1]))
    grown[: len(base)] = base[:rows]
    for first in range(len(base), rows, STEP):
        count = min(STEP, rows - first)
        one = rng.integers(0, len(base), count)
        other = near[one, rng.integers(0, 10, count)]
        made = 0.5 * (base[one] + base[other]) + rng.standard_normal((count, base.shape[1]), dtype=np.float32) * SIGMA
        grown[first : first + count] = made / np.linalg.norm(made, axis=1, keepdims=True)
    grown.flush()


def exact(vectors: Path, queries: Path, top: int, out: Path) -> None:
    """Writes which rows are nearest to each query by inner product, nearest first."""
    rows, asked = np.load(vectors, mmap_mode="r"), np.load(queries)
    ids, scores = np.zeros((len(asked), 0), np.int32), np.zeros((len(asked), 0), np.float32)
    for first in range(0, len(rows), STEP):
        found = asked @ rows[first : first + STEP].T
        near = np.argpartition(-found, min(top, found.shape[1] - 1), axis=1)[:, :top]
        scores = np.concatenate([scores, np.take_along_axis(found, near, 1)], 1)
        ids = np.concatenate([ids, (near + first).astype(np.int32)], 1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    with open(out, "wb") as file:
        np.save(file, np.ascontiguousarray(ids.astype("<i4")))
