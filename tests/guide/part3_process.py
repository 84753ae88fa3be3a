"""Part 3, chapter 9: the process, its settings and what it stands on (cases 1 to 9)."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from pymilvus import Collection, utility

import fixtures as of
import services
from harness import BINARY, Server, case, equal, free_port, holds, until


def folder_of(server: Server, word: str) -> pathlib.Path:
    folder = server.folder / of.unique(word)
    folder.mkdir()
    return folder


def health(server: Server, **headers: str) -> tuple[int, str]:
    """Status and body of `/healthz`."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.metrics_port}/healthz", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


@contextlib.contextmanager
def begun(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A process that need not become healthy."""
    listen = ["--listen", f"127.0.0.1:{server.port}", "--metrics-listen", f"127.0.0.1:{server.metrics_port}"]
    command = [str(BINARY), "run", "standalone", "--data-dir", str(server.folder / "data"), *listen]
    with open(server.folder / "log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **server.settings})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def keys(where: str) -> dict[str, str]:
    return {"MINIO_ADDRESS": where, "MINIO_ACCESS_KEY_ID": services.KEY, "MINIO_SECRET_ACCESS_KEY": services.SECRET}


@case
def case_3_001_addresses_of_etcd_and_the_store_are_all_it_needs(server: Server) -> None:
    """The usual ports may be taken on this machine: that they are the usual ones is asked of the program."""
    folder = folder_of(server, "stored")
    settings = subprocess.run([str(BINARY), "settings"], check=True, capture_output=True, text=True).stdout
    for key, value in {"proxy.listen": "0.0.0.0:19530", "redkite.metricsListen": "0.0.0.0:9091"}.items():
        holds(f"| `{key}` | `{value}` |" in settings, f"{key} is {value}")
    with services.etcd(folder) as etcd, services.bucket(folder) as bucket:
        own = Server(folder / "server", {"ETCD_ENDPOINTS": etcd, **keys(bucket)})
        since = time.monotonic()
        try:
            own.start()
            own.connect()
            holds(re.match(r"v?\d+\.\d+\.\d+", utility.get_server_version()), "the version is one of Milvus")
            holds(time.monotonic() - since < 30, "it took less than 30 s")
            of.filled("kept", [of.key(), of.vector(2)], [[1], [[0, 1]]])
            equal(of.ids(Collection("kept").search([[0, 0]], "embedding", of.FLAT, 1)[0]), [1])
        finally:
            own.kill()
        holds(any((folder / "store").rglob("*.parquet")), "rows are in the store")


@case
def case_3_002_health_is_one_word_or_json(server: Server) -> None:
    equal(health(server), (200, "OK"), "the answer")
    status, body = health(server, **{"Content-Type": "application/json"})
    equal(status, 200, "the status")
    answer = json.loads(body)
    equal(answer["state"], "OK", "the state")
    roles = {each["name"] for each in answer["detail"]}
    holds({"proxy", "querynode"} <= roles, f"there is an entry for each role, there are {roles}")


@case
def case_3_003_without_etcd_nothing_is_healthy(server: Server) -> None:
    own = Server(folder_of(server, "alone"), {"ETCD_ENDPOINTS": f"127.0.0.1:{free_port()}"})
    with begun(own):
        until("the process answers", 30, lambda: health(own))
        status, body = health(own)
        equal(status, 500, "the status")
        holds("OK" not in body, f"it is not OK: {body}")
        holds(body.startswith("Not all components are"), f"the answer begins as Milvus's does, it is {body!r}")


@case
def case_3_004_what_it_needs_may_come_later(server: Server) -> None:
    folder = folder_of(server, "late")
    ports = [free_port(), free_port()]
    own = Server(folder / "server", {"ETCD_ENDPOINTS": f"127.0.0.1:{ports[0]}", **keys(f"127.0.0.1:{ports[1]}")})
    with contextlib.ExitStack() as running:
        process = running.enter_context(begun(own))

        def healthy() -> bool:
            """As a supervisor would, starts the process again if it ended."""
            nonlocal process
            if process.poll() is not None:
                process = running.enter_context(begun(own))
            return health(own)[0] == 200

        until("the process answers", 30, lambda: health(own)[0] == 500)
        running.enter_context(services.bucket(folder, ports[1]))
        running.enter_context(services.etcd(folder, ports[0]))
        until("it is healthy", 60, healthy)
        own.connect()
        equal(utility.list_collections(), [], "the collections")


@case
def case_3_005_logs_are_json_files_that_rotate(server: Server) -> None:
    folder = folder_of(server, "logs")
    settings = {"LOG_LEVEL": "debug", "LOG_FORMAT": "json", "LOG_FILE_MAXSIZE": "1", "LOG_FILE_MAXBACKUPS": "2", "LOG_FILE_ROOTPATH": str(folder)}
    with server.another(settings) as own:
        own.connect()
        of.filled("logged", [of.key(), of.vector(2)], [[1], [[0, 1]]])
        until("there is a log file", 3, lambda: any(folder.iterdir()))

        def rotated() -> bool:
            for _ in range(50):
                Collection("logged").search([[0, 0]], "embedding", of.FLAT, 1)
            return len(list(folder.iterdir())) == 3

        until("there are old files", 60, rotated)
        files = list(folder.iterdir())
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        holds(any(line["level"].lower() == "debug" for line in lines), "there are lines of debug")
        holds(all(file.stat().st_size <= 1 << 20 for file in files), "files are rotated at 1 MB")


@case
def case_3_006_wrong_keys_of_the_store_are_named(server: Server) -> None:
    folder = folder_of(server, "keys")
    with services.bucket(folder) as bucket:
        wrong = Server(folder / "wrong", {**keys(bucket), "MINIO_SECRET_ACCESS_KEY": "wrong"})
        log = wrong.folder / "log"
        with begun(wrong) as process:
            until("it ends, or says that it is not ready", 60, lambda: process.poll() is not None or health(wrong)[0] == 500)
            until("the log names the store", 30, lambda: "cannot open the blob store" in log.read_text())
            text = log.read_text()
            holds(re.search("signature|denied|credential|authenticat|403", text, re.IGNORECASE), f"the log says that the key is wrong: {text}")
        right = Server(folder / "right", {**keys(bucket), "QUERY_NODE_SEARCH_TIMEOUT": "30"})
        try:
            right.start()
            equal(health(right), (200, "OK"), "the answer")
        finally:
            right.kill()


def kept_over(server: Server, flushed: bool) -> None:
    """1,000 rows are there after the process has gone and come; it is told to go, or killed right after the insert."""
    folder = folder_of(server, "kept")
    vectors = of.DOCUMENTS[:1000]
    with services.etcd(folder) as etcd, services.bucket(folder) as bucket:
        own = Server(folder / "server", {"ETCD_ENDPOINTS": etcd, **keys(bucket)})
        try:
            own.start()
            own.connect()
            target = of.collection("kept", of.document_fields())
            target.create_index("embedding", of.index("FLAT", "L2"))
            target.load()
            target.insert(of.document_rows(vectors))
            if flushed:
                target.flush()
            else:
                own.kill()
            own.stop()
            own.start()
            own.connect()
            target = Collection("kept")
            equal(of.count(target), 1000, "the rows")
            query = vectors[3] + 0.1
            hits = target.search([query.tolist()], "embedding", of.FLAT, 10)[0]
            equal(of.ids(hits), of.nearest(vectors, query, 10))
        finally:
            own.kill()


@case
def case_3_007_rows_are_there_after_a_restart(server: Server) -> None:
    kept_over(server, flushed=True)


@case
def case_3_008_rows_that_were_acknowledged_are_there_after_a_kill(server: Server) -> None:
    kept_over(server, flushed=False)


@case
def case_3_009_without_settings_the_defaults_are_used(server: Server) -> None:
    empty = folder_of(server, "empty") / "user.yaml"
    empty.write_text("")
    with server.another(flags=("--config", str(empty))) as own:
        own.connect()
        equal(health(own), (200, "OK"), "the answer")
        target = of.filled("plain", [of.key(), of.vector(2)], [[1], [[0, 1]]])
        equal(of.ids(target.search([[0, 0]], "embedding", of.FLAT, 1)[0]), [1])
