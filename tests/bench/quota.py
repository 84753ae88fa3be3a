"""A share of a core for one process, by a control group of version 1 or 2, which needs root; and what processor this machine has."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 10_000


class Quota:
    """A control group that gets `cores` of processor time in every 10 ms. Gone after `remove`, once its processes are."""

    def __init__(self, name: str, cores: float) -> None:
        self.is_v2 = (GROUPS / "cgroup.controllers").exists()
        root = GROUPS if self.is_v2 else GROUPS / "cpu"
        if self.is_v2:
            (root / "cgroup.subtree_control").write_text("+cpu")
        self.folder = root / f"rk-bench-{os.getpid()}-{name}"
        self.folder.mkdir()
        quota_us = round(cores * PERIOD_US)
        if self.is_v2:
            (self.folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def around(self, command: list[str]) -> list[str]:
        """The command, which moves itself in before it begins: so it counts its processors by the quota, too."""
        return ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh", *command]

    def periods(self) -> tuple[int, int]:
        """Periods so far with something to do, and those of them in which the quota was used up."""
        lines = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(lines["nr_periods"]), int(lines["nr_throttled"])

    def remove(self) -> None:
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except OSError:  # its last process is not quite gone
                time.sleep(0.05)


def model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def why_not() -> str:
    """Why there can be no quotas here; empty if there can."""
    try:
        probe = Quota("probe", 0.1)
    except OSError as error:
        return f"control groups cannot be made here ({error})"
    probe.remove()
    return ""
