"""A plug-in of pytest: one line of JSON for each case of a suite, with what became of it and the server's last refusals.

Case names come from VERDICTS_ONLY, a file, where only some are to run.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

FILE = Path(os.environ["VERDICTS"])
ONLY = os.environ.get("VERDICTS_ONLY")
REFUSAL = re.compile(
    r"<MilvusException: \(code=.*?\)>|status = StatusCode\.\w+|details = \"[^\"]*\"|\"code\": ?[1-9]\d*, ?\"message\":.{0,200}|404 page not found"
)


def pytest_collection_modifyitems(config, items: list) -> None:
    if not ONLY:
        return
    wanted = set(Path(ONLY).read_text(encoding="utf-8").splitlines())
    kept = [item for item in items if item.nodeid in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
    items[:] = kept


def pytest_runtest_logreport(report) -> None:
    """Called in each worker and again where the reports come together; only that one writes."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    failed = report.outcome == "failed"
    told = str(report.longrepr or "")
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None) or told
    verdict = {
        "case": report.nodeid.split("@")[0],
        "when": report.when,
        "outcome": report.outcome,
        "expected": hasattr(report, "wasxfail"),
        "seconds": round(report.duration, 1),
        "why": crash[-1000:],
        "refusals": [found[:400] for found in REFUSAL.findall(told + "".join(body for _, body in report.sections))[-4:]] if failed else [],
    }
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(verdict) + "\n")
