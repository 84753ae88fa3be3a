"""A cluster of roles whose query nodes are each held to a share of a core, and who used how much of what."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "roles"))

from cluster import Cluster, Node, Process  # noqa: E402
from quota import Quota  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class CappedNode(Node):
    """A node that was born with its quota."""

    def __init__(self, quota: Quota, *rest: Any) -> None:
        self.quota = quota
        super().__init__(*rest)

    def start(self) -> None:
        self.command = self.quota.around(self.command)
        super().start()


class CappedCluster(Cluster):
    """As `Cluster`; query nodes get `cores` each."""

    def __init__(self, cores: float, **rest: Any) -> None:
        self.cores, self.quotas = cores, []
        super().__init__(**rest)

    def start(self, role: str, wait: bool = True, environment: dict[str, str] | None = None) -> Node:
        if role != "querynode":
            return super().start(role, wait, environment)
        number = self.numbers.get(role, 0)
        self.numbers[role] = number + 1
        name = f"{role}-{number}"
        quota = Quota(name, self.cores)
        self.quotas.append(quota)
        node = CappedNode(quota, name, role, self.folder, {**self.environment(), **(environment or {})})
        self.nodes[name] = node
        if wait:
            node.wait_healthy(120)
        return node

    def __exit__(self, kind: Any, *rest: Any) -> None:
        super().__exit__(kind, *rest)
        for quota in self.quotas:
            quota.remove()


class Meter:
    """Who used how much of a core between two moments."""

    def __init__(self, cluster: CappedCluster) -> None:
        processes: list[Process] = [*cluster.nodes.values(), *cluster.servers.values()]
        self.processes = [process for process in processes if process.alive()]
        self.began, self.before = time.monotonic(), self.read()
        self.periods = {quota: quota.periods() for quota in self.quotas()}

    def quotas(self) -> list[Quota]:
        return [process.quota for process in self.processes if isinstance(process, CappedNode)]

    def read(self) -> dict[str, float]:
        return {process.name: cpu_seconds(process.pid) for process in self.processes}

    def cores(self) -> dict[str, float]:
        """Cores used by each process since."""
        took = time.monotonic() - self.began
        return {name: (after - self.before[name]) / took for name, after in self.read().items()}

    def throttled(self) -> float:
        """The share of periods in which query nodes used up what they may."""
        deltas = [[now - then for now, then in zip(quota.periods(), self.periods[quota])] for quota in self.quotas()]
        return sum(used for _, used in deltas) / max(1, sum(all_ for all_, _ in deltas))
