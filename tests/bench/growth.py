"""What a search costs as a collection grows, and a million rows in little memory.

    growth.py --loadgen FILE --data FOLDER --kept FOLDER [--sizes 63k,250k,1M] [--index HNSW] [--little-mb 600] [--record FILE]

Each size has a standalone of its own: rows are imported, compacted until nothing is left to merge, indexed and loaded; then the
process starts anew, and the search parameter is the least of a ladder whose recall@10 is high enough. `little` is a million rows
whose index needs little memory, searched by a process in a control group. The smallest size is the real rows, whatever larger is
made of them (`grow.py`). Sets, exact answers and finished data directories stay in `--kept`, the last ones as long as the
executable is the same. Ends with 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any, Callable

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

from grow import exact, grow
from loading import cpu_seconds, index_built, loadgen, verdict
from quota import model

sys.path += [str(Path(__file__).resolve().parents[1] / folder) for folder in ("roles", "soak")]

from cluster import CACHE, RELEASE, Process, free_port, get  # noqa: E402
from memory import Group  # noqa: E402

NAME = "growth"
TOP = 10
RECALL = 0.95
# The dearest of the sizes costs so many times the cheapest, at most.
GROWS_AT_MOST = 3.0
PROMISED_ROWS = 4_000_000
LITTLE_ROWS = 1_000_000
LITTLE_INDEX = "IVF_PQ"
# What a kind of index is built with, and what its searches are tuned by.
PARAMS: dict[str, dict[str, int]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "AUTOINDEX": {},
    "IVF_FLAT": {"nlist": 1024},
    "IVF_SQ8": {"nlist": 1024},
    "IVF_PQ": {"nlist": 1024, "m": 48, "nbits": 8},
}
LADDERS = {
    "ef": (10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 320, 384, 448, 512, 640, 768, 1024),
    "nprobe": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024),
}
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"  [{time.monotonic() - BEGAN:5.0f} s] {text}", flush=True)


def knob_of(index: str) -> str:
    return "nprobe" if index.startswith("IVF") else "ef"


def rows_of(text: str) -> int:
    """`63k`, `1M` or a plain number."""
    scale = {"k": 1_000, "M": 1_000_000}.get(text[-1], 1)
    return int(float(text.removesuffix("k").removesuffix("M")) * scale)


def wait(what: str, seconds: float, check: Callable[[], Any], process: Process, progress: Callable[[], str] = str) -> Any:
    """Until `check()` is true, with the process alive."""
    end, told = time.monotonic() + seconds, time.monotonic()
    while not (found := check()):
        if not process.alive():
            raise RuntimeError(f"{what}: the server has ended with {process.popen.returncode}\n{process.tail()}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not after {seconds:.0f} s\n{process.tail(5)}")
        if time.monotonic() - told > 15:
            told = time.monotonic()
            say(f"… {what} {progress()}")
        time.sleep(0.25)
    return found


# ---------------------------------------------------------------- sets


class Set:
    """Rows, queries and the exact answers, made once."""

    def __init__(self, data: Path, kept: Path, rows: int) -> None:
        self.queries = data / "queries.npy"
        self.count = len(np.load(self.queries, mmap_mode="r"))
        real = len(np.load(data / "vectors.npy", mmap_mode="r"))
        self.is_made = rows > real
        self.rows = rows if self.is_made else real
        if not self.is_made:
            self.vectors, self.truth = data / "vectors.npy", data / "truth-ip.npy"
            return
        folder = kept / "sets"
        folder.mkdir(parents=True, exist_ok=True)
        self.vectors, self.truth = folder / f"{rows}.npy", folder / f"{rows}-truth.npy"
        for path, what, make in (
            (self.vectors, f"{rows:,} rows made", lambda out: grow(data, rows, out)),
            (self.truth, "exact answers", lambda out: exact(self.vectors, self.queries, TOP, out)),
        ):
            if not path.exists():
                begin, new = time.monotonic(), path.with_suffix(".new")
                make(new)
                new.rename(path)
                say(f"{what} ({time.monotonic() - begin:.0f} s)")

    def __str__(self) -> str:
        return f"{self.rows:,} rows{', made' if self.is_made else ''}"


# ---------------------------------------------------------------- a server


class Server:
    """A standalone in a folder that stays, in a control group where one is given."""

    def __init__(self, folder: Path, segment_mb: int, group: Group | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port, metrics = free_port(), free_port()
        self.folder, self.uri = folder, f"http://127.0.0.1:{port}"
        config = folder / "settings.yaml"
        config.write_text(json.dumps({"dataCoord": {"segment": {"maxSize": segment_mb}}} if segment_mb else {}))
        command = [RELEASE / "redkite", "run", "standalone", "--config", config, "--data-dir", folder / "data"]
        command += ["--listen", f"127.0.0.1:{port}", "--metrics-listen", f"127.0.0.1:{metrics}"]
        entrance = group.folder / "cgroup.procs" if group and group.folder else None
        self.process = Process("standalone", command, folder, group=entrance)
        try:
            wait("the standalone's start", 300, lambda: healthy(metrics), self.process)
            self.client = MilvusClient(self.uri, timeout=600)
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.stop(120)

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A call of REST."""
        request = urllib.request.Request(f"{self.uri}/v2/vectordb/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        if found["code"]:
            raise RuntimeError(f"{path}: {found}")
        return found["data"]

    def segments(self) -> list[int]:
        """Rows of each stored segment."""
        return sorted(one.num_rows for one in self.client.list_persistent_segments(NAME))

    def loaded(self, rows: int) -> bool:
        """Whether all rows are loaded and sealed."""
        try:
            found = self.client.list_loaded_segments(NAME)
        except MilvusException:  # not loaded yet
            return False
        return sum(one.num_rows for one in found) == rows and all(str(one.state).endswith("Sealed") for one in found)

    def memory(self, key: str) -> float:
        """MiB: VmRSS, RssAnon, RssFile."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key + ":")), 0.0)

    def disk_reads(self) -> int:
        """Pages that the process waited for the disk for, so far."""
        return int(Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[9])

    def rest(self) -> None:
        """Waits until it does nothing in the background; for two minutes at most."""
        for _ in range(120):
            before = cpu_seconds(self.process.pid)
            time.sleep(1)
            if cpu_seconds(self.process.pid) - before < 0.03:
                return


def healthy(metrics: int) -> bool:
    try:
        return get(f"http://127.0.0.1:{metrics}/healthz").startswith("OK")
    except OSError:
        return False


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------- building


def executable() -> str:
    with open(RELEASE / "redkite", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def built(given: argparse.Namespace, rows: Set, index: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a standalone that has the rows, indexed and at rest, and what that took."""
    folder = Path(given.kept) / f"{rows.rows}-{index}{f'-{given.segment_mb}' if given.segment_mb else ''}"
    noted, now = folder / "built.json", executable()
    if noted.exists() and not given.fresh:
        about = json.loads(noted.read_text())
        if about["executable"] == now:
            say(f"built before, by commit {about['commit']}: {folder}")
            return folder, about
    shutil.rmtree(folder, ignore_errors=True)
    about = {"executable": now, "commit": given.commit}
    with Server(folder, given.segment_mb) as server:
        about |= build(server, rows, index)
    noted.write_text(json.dumps(about))
    return folder, about


def build(server: Server, rows: Set, index: str) -> dict[str, Any]:
    client, process = server.client, server.process
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=np.load(rows.vectors, mmap_mode="r").shape[1])
    client.create_collection(NAME, schema=schema, num_shards=1)
    begin = time.monotonic()
    imported(server, rows)
    about: dict[str, Any] = {"import_s": time.monotonic() - begin}
    say(f"imported in {about['import_s']:.1f} s, {len(server.segments())} segments")
    begin = time.monotonic()
    compacted(server)
    about["compact_s"] = time.monotonic() - begin
    about["segments"] = server.segments()
    say(f"compacted in {about['compact_s']:.1f} s, {len(about['segments'])} segments")
    wanted = client.prepare_index_params()
    wanted.add_index("vector", index_type=index, metric_type="IP", params=PARAMS[index])
    begin, before = time.monotonic(), cpu_seconds(process.pid)
    client.create_index(NAME, wanted, sync=False)
    wait(f"the index {index}", 600 + rows.rows / 300, lambda: index_built(client, NAME), process, lambda: indexed(client))
    about |= {"build_s": time.monotonic() - begin, "build_cpu_s": cpu_seconds(process.pid) - before}
    say(f"{index} built in {about['build_s']:.1f} s, {about['build_cpu_s']:.1f} s of CPU")
    client.load_collection(NAME)
    wait("the load", 600, lambda: server.loaded(rows.rows), process)
    # What was merged goes a minute later. If it does not, the size of the objects will show it.
    end = time.monotonic() + 180
    while stored(server) > 1.5 * rows.vectors.stat().st_size and time.monotonic() < end:
        time.sleep(1)
    server.rest()
    return about


def indexed(client: MilvusClient) -> str:
    about = client.describe_index(NAME, "vector") or {}
    return f"({int(about.get('indexed_rows', 0)):,} of {int(about.get('total_rows', 0)):,} rows)"


def stored(server: Server) -> int:
    return disk_bytes(server.folder / "data" / "blobs")


def imported(server: Server, rows: Set) -> None:
    """Has the rows imported from where a standalone keeps its objects."""
    put = server.folder / "data" / "blobs" / "rows"
    put.mkdir(parents=True)
    try:
        os.link(rows.vectors, put / "vector.npy")
    except OSError:  # another volume
        shutil.copyfile(rows.vectors, put / "vector.npy")
    np.save(put / "id.npy", np.arange(rows.rows, dtype=np.int64))
    job = server.ask("jobs/import/create", {"collectionName": NAME, "files": [["rows/id.npy", "rows/vector.npy"]]})["jobId"]

    def is_over() -> bool:
        found = server.ask("jobs/import/describe", {"jobId": job})
        if found["state"] == "Failed":
            raise RuntimeError(f"the import failed: {found.get('reason')}")
        return found["state"] == "Completed"

    wait("the import", 600 + rows.rows / 1_000, is_over, server.process)
    shutil.rmtree(put)


def compacted(server: Server) -> None:
    """Has segments merged until that changes nothing."""
    before = None
    while (now := server.segments()) != before:
        before = now
        job = server.client.compact(NAME)
        wait("compaction", 3_600, lambda: server.client.get_compaction_state(job) == "Completed", server.process)


# ---------------------------------------------------------------- searching


class Searches:
    def __init__(self, given: argparse.Namespace, server: Server, rows: Set, index: str) -> None:
        self.given, self.server, self.rows, self.knob = given, server, rows, knob_of(index)

    def run(self, value: int, seconds: float, clients: int = 1) -> dict[str, Any]:
        """A run of the load generator, with the CPU time that the server took and the pages it read from the disk."""
        pid, reads = self.server.process.pid, self.server.disk_reads()
        before = cpu_seconds(pid)
        line = loadgen(
            self.given.loadgen, "search", self.server.uri, NAME, queries=self.rows.queries, truth=self.rows.truth, topk=TOP, metric="IP",
            params=json.dumps({self.knob: value}), seconds=seconds, clients=clients, warmup=0,
        )  # fmt: skip
        line["cpu_ms"] = (cpu_seconds(pid) - before) * 1_000 / line["queries"]
        line["disk_reads"] = (self.server.disk_reads() - reads) / line["queries"]
        return line

    def recall(self, value: int) -> float:
        """Over all queries, however long they take."""
        seconds = 1.0
        while True:
            line = self.run(value, seconds)
            if line["queries"] >= self.rows.count:
                say(f"{self.knob}={value}: recall {line['recall']:.4f}")
                return line["recall"]
            seconds *= 1.2 * self.rows.count / line["queries"]

    def least(self) -> tuple[int, float]:
        """The least setting whose recall is high enough, or the greatest one."""
        ladder = LADDERS[self.knob]
        low, high, found = 0, len(ladder) - 1, {}
        while low < high:
            middle = (low + high) // 2
            found[middle] = self.recall(ladder[middle])
            if found[middle] >= RECALL:
                high = middle
            else:
                low = middle + 1
        return ladder[low], found[low] if low in found else self.recall(ladder[low])

    def measure(self) -> dict[str, Any]:
        value, recall = self.least()
        alone = [self.run(value, self.given.seconds) for _ in range(self.given.rounds)]
        eight = [self.run(value, self.given.seconds, 8) for _ in range(self.given.rounds)]

        def middle(lines: list[dict[str, Any]], key: str) -> float:
            return statistics.median(line[key] for line in lines)

        return {
            "setting": f"{self.knob}={value}", "recall": recall, "qps1": middle(alone, "qps"), "cpu_ms": middle(alone, "cpu_ms"), "p50_ms": middle(alone, "p50_ms"),
            "p99_ms": middle(alone, "p99_ms"), "disk_reads": middle(alone, "disk_reads"), "qps8": middle(eight, "qps"), "cpu8_ms": middle(eight, "cpu_ms"),
        }  # fmt: skip


def searched(given: argparse.Namespace, rows: Set, index: str, found: tuple[Path, dict[str, Any]], group: Group | None = None) -> dict[str, Any]:
    """What searches cost a process that did not build what it searches."""
    folder, about = found
    with Server(folder, given.segment_mb, group) as server:
        begin = time.monotonic()
        wait("the load", 900, lambda: server.loaded(rows.rows), server.process)
        line = {"rows": rows.rows, "made": rows.is_made, "index": index, "load_s": time.monotonic() - begin, **about}
        server.rest()
        line |= Searches(given, server, rows, index).measure()
        line |= {"rss_mb": server.memory("VmRSS"), "own_mb": server.memory("RssAnon"), "stored_mb": stored(server) / 2**20}
    return line


def curve(given: argparse.Namespace) -> list[dict[str, Any]]:
    lines = []
    for size in given.sizes.split(","):
        rows = Set(Path(given.data), Path(given.kept), rows_of(size))
        print(f"{rows}:", flush=True)
        lines.append(searched(given, rows, given.index, built(given, rows, given.index)))
        say(shown(lines[-1]))
    return lines


def little(given: argparse.Namespace) -> dict[str, Any] | None:
    rows = Set(Path(given.data), Path(given.kept), rows_of(given.little_rows))
    print(f"{rows}, with {given.little_mb} MiB:", flush=True)
    # Built with all memory: the promise is about searches.
    found = built(given, rows, given.little_index)
    group = Group(given.little_mb << 20)
    if not group.folder:
        say("not measured: no control group can be made here")
        return None
    try:
        try:
            line = searched(given, rows, given.little_index, found, group)
        except RuntimeError as error:
            line = {"rows": rows.rows, "made": rows.is_made, "index": given.little_index, "failed": str(error)}
            say(line["failed"])
        line |= {"limit_mb": given.little_mb, "killed": group.kills(), "most_mb": group.most() / 2**20}
    finally:
        group.remove()
    if "failed" not in line:
        say(shown(line))
    say(f"at most {line['most_mb']:.0f} MiB were taken, with pages of files; killed {line['killed']} times")
    return line


# ---------------------------------------------------------------- what comes of it


def shown(line: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [
        f"{line['rows']:,}{' made' if line['made'] else ''}", str(len(line["segments"])), f"{line['index']} {line['setting']}", f"{line['recall']:.4f}",
        f"{line['cpu_ms']:.3f}", f"{line['p50_ms']:.2f}", f"{line['p99_ms']:.2f}", f"{line['qps1']:,.0f}", f"{line['qps8']:,.0f}", f"{line['cpu8_ms']:.3f}",
        f"{line['disk_reads']:.1f}", f"{line['rss_mb']:,.0f} ({line['own_mb']:,.0f})", f"{line['stored_mb']:,.0f}",
        f"{line['import_s']:.0f} + {line['compact_s']:.0f}", f"{line['build_s']:.0f} ({line['build_cpu_s']:.0f})",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


TABLE = """| rows | segments | setting | recall@10 | CPU ms a query | p50 ms | p99 ms | QPS, 1 client | QPS, 8 clients | CPU ms a query, 8 clients | pages read a query | memory MiB (own) | objects MiB | import + compaction s | index s (CPU s) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

HEAD = """# As a collection grows

What `make bench PART=growth` measured (`RECORD=1` adds a run here): a standalone a size, rows of 384 dimensions, IP, imported, compacted until
nothing is left to merge and indexed; then the process starts anew, and the search parameter is the least that reaches recall@10 of
0.95 over 1,000 queries. Rows that are made lie between real ones that are neighbours, moved by noise (`tests/bench/grow.py`); the real rows are
among them. CPU is the server's, with one client unless it says otherwise; the load generator runs on the same cores. Memory is what is
resident after the searches, in brackets without pages of files; pages read are those that a search waited for. The commit is the
engine's, in a release build unless it says otherwise.
"""


def ratio(lines: list[dict[str, Any]]) -> float:
    """CPU of a query over the most rows, to that over the fewest."""
    lines = sorted(lines, key=lambda line: line["rows"])
    return lines[-1]["cpu_ms"] / lines[0]["cpu_ms"]


def summary(lines: list[dict[str, Any]], small: dict[str, Any] | None) -> str:
    text = TABLE + "\n".join(shown(line) for line in [*lines, *([small] if small and "failed" not in small else [])]) + "\n"
    if len(lines) > 1:
        fewest, most = min(line["rows"] for line in lines), max(line["rows"] for line in lines)
        text += f"\nCPU a query from {fewest:,} to {most:,} rows: {ratio(lines):.2f} times.\n"
    if small:
        found = f"recall {small['recall']:.4f}" if "failed" not in small else "no searches"
        text += f"\nThe rows of {small['index']} in a control group of {small['limit_mb']} MiB: {found}, killed {small['killed']} times, at most {small['most_mb']:.0f} MiB with pages of files.\n"
    return text


def broken(lines: list[dict[str, Any]], small: dict[str, Any] | None) -> list[str]:
    """The promises that were not kept."""
    found = [f"recall of {line['rows']:,} rows is {line['recall']:.4f} at most" for line in lines if line["recall"] < RECALL]
    has_ends = any(not line["made"] for line in lines) and any(line["rows"] >= PROMISED_ROWS for line in lines)
    if has_ends and ratio(lines) > GROWS_AT_MOST:
        found.append(f"CPU a query grows {ratio(lines):.2f} times, more than {GROWS_AT_MOST:g}")
    if small and (small["killed"] or "failed" in small or small["recall"] < RECALL):
        found.append(f"{small['rows']:,} rows in {small['limit_mb']} MiB: {small.get('failed') or 'recall %.4f' % small['recall']}, killed {small['killed']} times")
    return found


def record(given: argparse.Namespace, text: str) -> None:
    path = Path(given.record)
    if not path.exists():
        path.write_text(HEAD)
    with open(path, "a") as out:
        out.write(f"\n## {date.today()}, commit {given.commit}, {os.cpu_count()} × {model()}\n\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-name", default="debian-63k")
    parser.add_argument("--kept", default=str(CACHE / "bench" / "growth"))
    parser.add_argument("--parts", default="curve,little")
    parser.add_argument("--sizes", default="63k,250k,1M")
    parser.add_argument("--index", default="HNSW", choices=PARAMS)
    parser.add_argument("--segment-mb", type=int, default=0)
    parser.add_argument("--little-mb", type=int, default=600)
    parser.add_argument("--little-rows", default=str(LITTLE_ROWS))
    parser.add_argument("--little-index", default=LITTLE_INDEX, choices=PARAMS)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--record", default="")
    parser.add_argument("--commit", default="")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = given.parts.split(",")
    lines = curve(given) if "curve" in parts else []
    small = little(given) if "little" in parts else None
    text = summary(lines, small)
    print(text, flush=True)
    if given.record:
        record(given, text)
    verdict(broken(lines, small))


if __name__ == "__main__":
    main()
