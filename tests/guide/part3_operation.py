"""Part 3, chapter 11: metrics (cases 64, 65 and 71) and logs (73 to 78)."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from pymilvus import utility

import fixtures as of
import services
from harness import BINARY, Server, case, equal, fails, holds, until


def samples(server: Server) -> dict[str, float]:
    """Every sample of `/metrics`, by its name with its labels."""
    lines = [line for line in server.get("/metrics").splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def total(server: Server, name: str, *labels: str) -> float:
    """The sum of a metric's samples that have all these labels."""
    found = {key: value for key, value in samples(server).items() if key == name or key.startswith(name + "{")}
    return sum(value for key, value in found.items() if all(label in key for label in labels))


@case
def case_3_064_metrics_are_prometheus_texts(server: Server) -> None:
    target = of.line(server)
    target.search([[0, 0]], "embedding", of.FLAT, 1)
    of.keys(target, "id > 0")
    text = server.get("/metrics")
    services.made("prometheus")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    # Names are those of Milvus, which are not all as promtool would have them.
    said = [line for line in (checked.stdout + checked.stderr).splitlines() if not re.search("^milvus_.* suffix$", line)]
    equal(said, [], "what promtool says")
    # The guide's own reading of a line: the name up to `{`, the value behind the last blank.
    metrics: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("milvus_"):
            words = line.split()
            metrics[words[0].split("{")[0]] = float(words[-1])
    holds(len(metrics) > 50, f"there are more than 50 names, there are {len(metrics)}")
    for line in text.splitlines():
        holds(line.startswith("#") or re.fullmatch(r"\w+(\{.*\})? \S+", line), f"no time follows the value: {line}")


@case
def case_3_065_searches_are_counted_and_so_are_those_that_fail(server: Server) -> None:
    target = of.line(server)

    def counts() -> dict[str, float]:
        wanted = ("total", "success", "fail")
        return {status: total(server, "milvus_proxy_req_count", 'function_name="Search"', f'status="{status}"') for status in wanted}

    before = counts()
    for _ in range(100):
        target.search([[0, 0]], "embedding", of.FLAT, 1)
    for _ in range(10):
        with fails("nope"):
            target.search([[0, 0]], "nope", of.FLAT, 1)
    rise = {status: value - before[status] for status, value in counts().items()}
    equal(rise, {"total": 110, "success": 100, "fail": 10}, "by how much the counts rise")
    equal(round(rise["fail"] / rise["total"], 4), 0.0909, "the rate of errors")


@case
def case_3_071_what_is_written_is_in_the_metrics(server: Server) -> None:
    with server.another() as own:
        own.connect()
        names = ["milvus_proxy_insert_vectors_count", "milvus_proxy_delete_vectors_count", "milvus_datacoord_stored_rows_num"]
        names += ["milvus_proxy_receive_bytes_count", "milvus_proxy_send_bytes_count"]
        names += ["milvus_querynode_entity_num", "milvus_rootcoord_collection_num"]
        names += ["milvus_datacoord_stored_index_files_size", "milvus_datacoord_stored_binlog_size"]
        before = {name: total(own, name) for name in names}
        target = of.filled("written", of.document_fields(), of.document_rows(of.DOCUMENTS), of.index("HNSW", "L2", M=16, efConstruction=100))
        target.search([of.DOCUMENTS[0].tolist()], "embedding", of.FLAT, 10)
        target.delete("id in [1, 2, 3]")
        target.flush()

        def still() -> list[str]:
            return [name for name in names if total(own, name) <= before[name]]

        wrong: list[str] = []
        try:
            until("all have risen", 5, lambda: not still())
        except AssertionError:
            wrong = still()
        equal(wrong, [], "the metrics that have not risen")
        equal(total(own, "milvus_proxy_insert_vectors_count"), 3000, "the rows inserted")
        equal(total(own, "milvus_proxy_delete_vectors_count"), 3, "the rows deleted")


def log_of(server: Server) -> list[str]:
    return (server.folder / "log").read_text().splitlines()


def ask(server: Server, path: str, method: str, body: str = "", **headers: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.metrics_port}{path}"
    request = urllib.request.Request(url, data=body.encode() or None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


@case
def case_3_073_the_level_of_the_log_changes_while_it_runs(server: Server) -> None:
    with server.another({"LOG_FORMAT": "json"}) as own:
        own.connect()

        def levels() -> set[str]:
            return {json.loads(line)["level"].lower() for line in log_of(own)}

        equal("debug" in levels(), False, "whether there are lines of debug")
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        equal(ask(own, "/log/level", "PUT", "level=debug", **form)[0], 200, "the status")
        equal(json.loads(ask(own, "/log/level", "GET")[1]), {"level": "debug"}, "the level")
        of.line(own).search([[0, 0]], "embedding", of.FLAT, 1)
        until("there are lines of debug", 1, lambda: "debug" in levels())
        equal(ask(own, "/log/level", "PUT", '{"level":"fatal"}', **{"Content-Type": "application/json"})[0], 200, "the status")
        lines = len(log_of(own))
        of.filled("silent", [of.key(), of.vector(2)], [[1], [[0, 1]]])
        equal(len(log_of(own)), lines, "the lines")


def analysed(lines: list[str]) -> list[dict[str, Any]]:
    """As the guide's `LogAnalyzer` reads a file, but that a line it would skip fails."""
    return [json.loads(line) for line in lines]


@case
def case_3_074_errors_and_slow_queries_are_found_in_the_log(server: Server) -> None:
    """The guide takes what lasts longer than 100 ms for slow; without the setting it is 5 s, as Milvus has it."""
    with server.another({"LOG_FORMAT": "json", "PROXY_SLOWQUERYSPANINSECONDS": "0.1"}) as own:
        target = of.documents(own)
        # Some 16,000 queries at once take longer than 150 ms.
        since = time.monotonic()
        target.search([query.tolist() for query in of.DOCUMENTS] * 5, "embedding", of.FLAT, 10)
        holds(time.monotonic() - since > 0.15, "the query is slow")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            command = [str(BINARY), "run", "standalone", "--data-dir", str(own.folder / "second"), "--listen", where]
            ended = subprocess.run(
                [*command, "--metrics-listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60, env={**os.environ, "LOG_FORMAT": "json"}
            )
        errors = [line for line in analysed((ended.stdout + ended.stderr).splitlines()) if line["level"].lower() in ("error", "fatal")]
        holds(any("listen" in json.dumps(line) for line in errors), f"the error is among {errors}")

        def slow() -> list[dict[str, Any]]:
            lines = analysed(log_of(own))
            return [line for line in lines if "query" in line["message"].lower() and line.get("latency_ms", 0) > 100]

        until("the slow query is in the log", 3, lambda: len(slow()) == 1)


@case
def case_3_075_times_in_the_log_are_read_by_fluentd(server: Server) -> None:
    """The guide's configuration: the key `time`, in the format `%Y-%m-%dT%H:%M:%S.%NZ`; by itself it is in Milvus's own."""
    with server.another({"LOG_FORMAT": "json"}) as own:
        for line in analysed(log_of(own)):
            datetime.datetime.strptime(line["time"], "%Y/%m/%d %H:%M:%S.%f %z")
    with server.another({"LOG_FORMAT": "json", "LOG_COMPAT": "guide"}) as own:
        of.line(own)
        for line in analysed(log_of(own)):
            holds("time" in line, f"a line has its time, it has {sorted(line)}")
            datetime.datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%fZ")


def files(server: Server, **settings: str) -> tuple[pathlib.Path, dict[str, str]]:
    folder = server.folder / of.unique("logs")
    folder.mkdir()
    return folder, {"LOG_FORMAT": "json", "LOG_FILE_ROOTPATH": str(folder), **settings}


@case
def case_3_076_the_log_goes_on_in_a_new_file_after_a_signal(server: Server) -> None:
    folder, settings = files(server)
    with server.another(settings) as own:
        assert own.process
        own.process.send_signal(signal.SIGUSR1)
        own.connect()
        equal(utility.list_collections(), [], "what it answers after the signal")
        equal(own.process.poll(), None, "how it ended")
        until("there is a log file", 3, lambda: any(folder.iterdir()))
        old = next(folder.iterdir())
        old.rename(folder / "old")
        own.process.send_signal(signal.SIGUSR1)
        of.line(own)
        until("the next lines are in a new file", 5, lambda: old.exists() and old.read_text())


@case
def case_3_077_lines_go_to_the_output_and_to_a_file(server: Server) -> None:
    """What Kubernetes keeps of the output after a crash is Kubernetes's."""
    folder, settings = files(server, LOG_STDOUT="true")
    with server.another(settings) as own:
        of.line(own)
        until("there is a log file", 3, lambda: any(folder.iterdir()))
        written = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
        output = log_of(own)
        holds(output, "there are lines")
        equal([line for line in output if line not in written], [], "the lines that only the output has")


@case
def case_3_078_old_files_of_the_log_are_removed(server: Server) -> None:
    """25 rotations and 20 files, cut to 5 and 3; a file of 11 days ago is too old."""
    folder, settings = files(server, LOG_LEVEL="debug", LOG_FILE_MAXSIZE="1", LOG_FILE_MAXAGE="10", LOG_FILE_MAXBACKUPS="3")
    with server.another(settings) as own:
        target = of.line(own)
        until("there is a log file", 3, lambda: any(folder.iterdir()))
        seen: set[str] = set()

        def turned() -> bool:
            for _ in range(50):
                target.search([[0, 0]], "embedding", of.FLAT, 1)
            seen.update(file.name for file in folder.iterdir())
            return len(seen) >= 6

        until("files were rotated five times", 60, turned)
        holds(len(list(folder.iterdir())) <= 4, "there are three old files besides the new one")
