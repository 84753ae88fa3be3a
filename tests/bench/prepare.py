"""Turns the data set into what the programs read: 32-bit vectors, integer columns, one text a line, and all
scalars as they are.

    prepare.py DATA OUT
    prepare.py --made OUT     made vectors instead: 63,666 around 1,000 centres, exact answers, no scalars
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet


def make(out: Path, rows: int = 63_666, dim: int = 384, queries: int = 1_000) -> None:
    rng = np.random.default_rng(63)
    centres = rng.standard_normal((1_000, dim)).astype("<f4")

    def points(count: int) -> np.ndarray:
        found = centres[rng.integers(0, len(centres), count)] + 0.7 * rng.standard_normal((count, dim)).astype("<f4")
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    vectors, asked = points(rows), points(queries)
    nearest = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :100]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "vectors.npy", vectors.astype("<f4"))
    np.save(out / "queries.npy", asked.astype("<f4"))
    np.save(out / "truth-ip.npy", np.ascontiguousarray(nearest.astype("<i4")))


def main() -> None:
    if sys.argv[1] == "--made":
        make(Path(sys.argv[2]))
        return
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    # Folders that were made before have all but this.
    if not (out / "scalars.parquet").exists():
        shutil.copyfile(data / "debian-scalars.parquet", out / "scalars.new")
        (out / "scalars.new").rename(out / "scalars.parquet")
    if (out / "complete").exists():
        return
    # The set is defined as the half-precision values; they are widened, never rounded again.
    np.save(out / "vectors.npy", np.load(data / "debian-f16.npy").astype("<f4"))
    np.save(out / "queries.npy", np.load(data / "queries-f16.npy").astype("<f4"))
    for name in ("ip", "ip-part1", "ip-part10", "ip-part50"):
        np.save(out / f"truth-{name}.npy", np.ascontiguousarray(np.load(data / f"debian-gt-{name}.npy").astype("<i4")))
    table = parquet.read_table(data / "debian-scalars.parquet", columns=["name", "section", "part", "installed_size"])
    for name in ("part", "installed_size"):
        np.save(out / f"{name}.npy", table[name].to_numpy().astype("<i8"))
    for name in ("name", "section"):
        lines = [str(value or "").replace("\n", " ") for value in table[name].to_pylist()]
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "complete").touch()


if __name__ == "__main__":
    main()
