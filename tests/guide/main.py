"""Runs the cases of the guides: `main.py FOLDER [CASE …]`."""

from __future__ import annotations

import importlib
import pathlib
import sys

import harness


def main() -> int:
    folder, *wanted = sys.argv[1:]
    for part in sorted(harness.HERE.glob("part*.py")):
        importlib.import_module(part.stem)
    return 1 if harness.run(pathlib.Path(folder), wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
