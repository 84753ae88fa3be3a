"""What the checks of the frameworks share. They run in the environments of their frameworks, each by its number: `SCRIPT URI NUMBER`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

CHECKS: dict[str, Callable[[str, str], None]] = {}


def check(function: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Notes `check_92_…` as 92; it gets the address and a name that no other has."""
    CHECKS[function.__name__.split("_")[1]] = function
    return function


def same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def main() -> None:
    uri, number = sys.argv[1:]
    CHECKS[number](uri, f"framework_{number}_{time.time_ns()}")
