"""Runs the cases of the documents: `main.py FOLDER [CASE …]`."""

from __future__ import annotations

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
# The harness is the one of the guides' cases, the model that of the demo.
sys.path += [str(HERE.parent / "guide"), str(HERE.parent / "demo")]

import harness  # noqa: E402


def main() -> int:
    folder, *wanted = sys.argv[1:]
    for part in sorted(HERE.glob("seed*.py")):
        importlib.import_module(part.stem)
    return 1 if harness.run(pathlib.Path(folder), wanted, HERE / "open.toml", "seeds") else 0


if __name__ == "__main__":
    sys.exit(main())
