"""What the conformance suites' verdicts come to.

    report.py failed FILE                                          the names of the cases that did not pass
    report.py write --commit ID --suite ID --report FILE.md FILE…   counts, causes, and every failure with its reason
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

KINDS = {
    "missing": "not built yet",
    "text": "built, but says it in other words",
    "bug": "wrong",
    "decided": "meant to be so",
    "service": "needs a service that is not here",
    "time": "too slow here",
    "open": "not looked into yet",
}


@dataclass
class Case:
    """One case, after all that was said of it."""

    suite: str
    name: str
    outcome: str
    why: str

    @property
    def file(self) -> str:
        return self.name.split("::")[0]

    @property
    def function(self) -> str:
        return self.name.split("::", 1)[-1].split("[")[0]


def cases_of(path: Path) -> list[Case]:
    """The last verdict of each case. What fails after the call counts as a failure of it; what upstream skips counts as skipped."""
    found: dict[str, Case] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        verdict = json.loads(line)
        if verdict["when"] == "teardown" and (verdict["outcome"] != "failed" or found[verdict["case"]].outcome == "failed"):
            continue
        told = " | ".join([verdict["why"], *verdict["refusals"]])
        found[verdict["case"]] = Case(path.stem, verdict["case"], verdict["outcome"], told)
    return list(found.values())


def causes() -> list[tuple[str, str, re.Pattern[str]]]:
    lines = Path(__file__).with_name("causes.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split(" | ", 2) for line in lines if line and not line.startswith("#")]
    return [(kind, cause, re.compile(pattern)) for kind, cause, pattern in parts]


def reason(told: str) -> str:
    """One line of what was said: the server's last refusal where there was one, else the check that failed."""
    parts = [part.strip().splitlines()[0] for part in told.split(" | ") if part.strip()]
    said = next((part for part in reversed(parts) if "MilvusException" in part or '"message"' in part), parts[0] if parts else "nothing")
    return said.replace("|", "\\|").replace("`", "'")[:160]


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in row) + " |\n" for row in lines)


def rate(passed: int, failed: int) -> str:
    return f"{100 * passed / (passed + failed):.1f}%" if passed + failed else "–"


def write(cases: list[Case], commit: str, suite: str, words: str) -> str:
    known = causes()
    by_file: dict[tuple[str, str], Counter] = defaultdict(Counter)
    by_cause: Counter = Counter()
    listed: dict[tuple[str, str], dict[tuple[str, str], Counter]] = defaultdict(lambda: defaultdict(Counter))
    for case in cases:
        by_file[case.suite, case.file][case.outcome] += 1
        if case.outcome == "failed":
            kind, cause, _ = next(one for one in known if one[2].search(case.name + " " + case.why))
            by_cause[kind, cause] += 1
            listed[kind, cause][case.file, case.function][reason(case.why)] += 1
    total = sum(by_file.values(), Counter())
    parts = [
        "# Milvus's own suites\n\n",
        f"`make soak PART=conformance`, {date.today()}, commit {commit}, suites of revision {suite[:12]}: the files of `tests/soak/conformance/files.txt`, "
        "levels L0 and L1, against a standalone with a bucket; with users checked where a case is marked RBAC.\n\n",
        f"**{total['passed']} passed, {total['failed']} failed ({rate(total['passed'], total['failed'])})**, {total['skipped']} skipped or expected to fail by their authors, who do not count.\n\n",
        f"{words}\n\n" if words else "",
        "## Causes\n\n",
        table(["cases", "kind", "cause"], [[n, KINDS[kind], cause] for (kind, cause), n in sorted(by_cause.items(), key=lambda one: (list(KINDS).index(one[0][0]), -one[1]))]),
        "\n## Files\n\n",
        table(
            ["suite", "file", "passed", "failed", "skipped", "rate"],
            [[s, f, n["passed"], n["failed"], n["skipped"], rate(n["passed"], n["failed"])] for (s, f), n in sorted(by_file.items())],
        ),
        "\n## Every failure\n\nOne line for the cases of a test function that failed for one cause; the reason is that of most of them.\n",
    ]
    for (kind, cause), functions in sorted(listed.items()):
        rows = [[file.split("/")[-1], function, sum(said.values()), said.most_common(1)[0][0]] for (file, function), said in sorted(functions.items())]
        parts += [f"\n### {cause[0].upper()}{cause[1:]} ({KINDS[kind]})\n\n", table(["file", "test", "cases", "reason"], rows)]
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["failed", "write"])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--suite", default="unknown")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--words", default="", help="what else is to be known of this run")
    asked = parser.parse_args()
    cases = [case for path in asked.files for case in cases_of(path)]
    if asked.what == "failed":
        print("\n".join(case.name for case in cases if case.outcome == "failed"))
        return
    asked.report.write_text(write(cases, asked.commit, asked.suite, asked.words), encoding="utf-8")
    failed = sum(case.outcome == "failed" for case in cases)
    print(f"{len(cases)} cases, {failed} failed: {asked.report}")


if __name__ == "__main__":
    sys.exit(main())
