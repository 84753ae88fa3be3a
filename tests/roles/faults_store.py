"""Bad days of the object store, and damage in it and in the caches of nodes."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import pathlib
import re
import shutil
import time
import urllib.request
from collections import Counter
from typing import Any, Callable

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from cluster import Cluster, Node
from faults_admin import shown
from faults_catalog import begin_roles, ctl
from load import DIM, K, ONCE, WRITES, Load, Repeater, Still, Workers, connect, make, row, until, vector
from parts import all_alive, part

UNAVAILABLE = "2"  # Milvus's code for it
LEVELS = ("Eventually", "Bounded", "Session", "Strong")
ENDS = 12.0  # a call has a deadline of 10 s; with the ways there and back it has ended by then


def took(workers: Workers, since: float, before: float = float("inf")) -> list[float]:
    return sorted(took for kind in WRITES for _, took, error in workers.of(kind, since, before) if error is None)


def p99(values: list[float]) -> float:
    return values[int(len(values) * 0.99)] if values else float("inf")


def codes_of(failures: list[str]) -> dict[str, int]:
    """How often each code is in the texts of failures; "none" where there is none."""
    found = (re.search(r"\(code=(\d+)", text) for text in failures)
    return dict(Counter(code.group(1) if code else "none" for code in found))


def refusal_of_a_write(cluster: Cluster, name: str) -> tuple[str, bool]:
    """The code and the hint of a delete that must fail, as they are on the wire: pymilvus does not show the hint."""
    with grpc.insecure_channel(cluster.uri.removeprefix("http://")) as channel:
        request = milvus_pb2.DeleteRequest(collection_name=name, expr="id in [1]")
        status = milvus_pb2_grpc.MilvusServiceStub(channel).Delete(request, timeout=ENDS).status
    return str(status.code), status.retriable


def all_end(workers: Workers, since: float, before: float = float("inf")) -> float:
    """Every write and search ended within its deadline; how long the slowest took."""
    longest = 0.0
    for kind in ("search", *map(of_the_moving, LEVELS), *WRITES):
        longest = max([longest, *(took for _, took, _ in workers.of(kind, since, before))])
        if longest > ENDS:
            raise AssertionError(f"a {kind} ended only after {longest:.1f} s")
    return longest


def of_the_moving(level: str) -> str:
    return f"{level} search of the moving"


@part
def bad_store(given: argparse.Namespace) -> dict[str, Any]:
    """The S3 server refuses, is slow and breaks connections, and is away, one after the other under load. The common load without its
    changes of the catalog: requests are counted by object, and the bucket's copy of the catalog is written under the same names again
    and again."""
    busy, slow, away = (600, 600, 300) if given.long else (15, 25, 60)
    near = dict(delay_ms=20, jitter_ms=10)  # a store is never as near as a process of the same machine
    with Cluster(between=True, keep=given.keep) as cluster:
        between = cluster.between
        client = connect(cluster.uri)
        still = Still(client, "still")
        make(client, "moving")
        make(client, "repeated")
        anchors = range(900_000_000, 900_000_010)  # of nobody who writes
        client.insert("moving", [row(key, 1) for key in anchors])
        figures: dict[str, Any] = {}
        workers = Workers()
        load = Load(workers, "moving", still, lambda: cluster.uri, changes=False)

        def nearest(level: str) -> Callable[[], None]:
            """A searcher of what is being written, who knows a part of it that stays."""
            reader, turn = connect(cluster.uri), itertools.count()

            def search() -> None:
                key = anchors[next(turn) % len(anchors)]
                found = reader.search("moving", [vector(key, 1).tolist()], limit=1, output_fields=["value"], consistency_level=level, **ONCE)[0]
                if [(hit["id"], hit["entity"]["value"]) for hit in found] != [(key, 1)]:
                    raise AssertionError(f"another answer: {found}, wanted row {key}")

            return lambda: workers.timed(of_the_moving(level), search)

        for level in LEVELS:
            workers.spawn(nearest(level), pause=0.05)

        def phase(name: str, seconds: float, **rules: Any) -> tuple[float, float, dict[str, Any], int]:
            before, begin = between.rule("store", **rules), time.monotonic()
            time.sleep(seconds)
            end, after = time.monotonic(), between.seen("store")
            done = len(took(workers, begin, end))
            seen = {key: after[key] - before[key] for key in ("requests", "passed", "puts", "put_keys")}
            seen["injected"] = {key: count - before["injected"].get(key, 0) for key, count in after["injected"].items()}
            if done == 0 and name != "away":
                raise AssertionError(f"{name}: no write succeeded in {seconds} s")
            return begin, end, seen, done

        begin, end, seen, done = phase("near", 8, **near)
        usual, usual_cost = p99(took(workers, begin, end)), seen["requests"] / done

        # 12: one request in seven is refused.
        begin, end, seen, done = phase("busy", busy, unavailable=0.10, throttled=0.05, **near)
        if min(seen["injected"].get(kind, 0) for kind in ("503", "429")) == 0:
            raise AssertionError(f"nothing was refused: {seen}")
        repeats, cost = seen["puts"] / seen["put_keys"], seen["requests"] / done
        refused_p99 = p99(took(workers, begin, end))
        for kind in ("search", *WRITES):
            workers.none_failed(kind, 0.0, begin, end)
        if max(repeats, cost / usual_cost) > 2:
            raise AssertionError(f"a PUT was made {repeats:.2f} times, {cost / usual_cost:.2f} times the usual requests for a write: {seen}")
        if refused_p99 > 5 * usual:
            raise AssertionError(f"99 of 100 writes took up to {refused_p99:.3f} s, usually {usual:.3f} s")
        figures.update({"refused": seen["injected"], "PUTs per object": round(repeats, 2), "requests per write, of usual": round(cost / usual_cost, 2),
                        "p99 usual, then ms": [round(usual * 1000), round(refused_p99 * 1000)]})

        # 13: slow, resets, and every ten seconds five in which nothing passes; impatient clients repeat blindly (28).
        begin = time.monotonic()
        repeaters = [Repeater(workers, "upsert", "moving", cluster.uri), Repeater(workers, "insert", "repeated", cluster.uri)]
        for repeater in repeaters:
            workers.spawn(repeater, pause=0.05)
        late, before = dict(delay_ms=300, jitter_ms=100, reset=0.15), between.seen("store")["injected"]
        while time.monotonic() < begin + slow:
            between.rule("store", **late)
            time.sleep(10)
            between.rule("store", silent=True)
            time.sleep(5)
        between.rule("store", **near)
        end = time.monotonic()
        time.sleep(10)
        after = between.seen("store")["injected"]
        injected = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in ("reset before", "reset after", "delayed")}
        if min(injected.values()) == 0:
            raise AssertionError(f"not all of it happened: {injected}")
        slowest = all_end(workers, begin)
        workers.none_failed("search", 0.0, begin)
        done = len(took(workers, begin, end))
        if done == 0:
            raise AssertionError("no write succeeded on a slow store")
        failed = sum(len(workers.failures(kind, begin, end)) for kind in WRITES)
        figures.update({"broken": injected, "writes then": done, "writes failed": failed, "slowest call s": round(slowest, 1)})

        # 14: nobody listens.
        begin = time.monotonic()
        between.rule("store", down=True)
        # Until writers have noticed; then each is told what kind of failure it is, and that it may be tried again.
        time.sleep(min(away / 2, ENDS))
        told = [refusal_of_a_write(cluster, "moving") for _ in range(3)]
        time.sleep(max(0.0, begin + away - time.monotonic()))
        all_alive(cluster)
        back = time.monotonic()
        between.rule("store", **near)
        # Every insert is spread over both channels, so one that succeeds shows that both accept.
        until("writes again", 30, lambda: any(error is None for _, _, error in workers.of("insert", back)))
        again = min(moment + spent for moment, spent, error in workers.of("insert", back) if error is None) - back
        client.flush("moving", timeout=max(1.0, 30 - (time.monotonic() - back)))
        flushed = time.monotonic() - back
        time.sleep(3)
        workers.stop()
        slowest = all_end(workers, begin)
        workers.none_failed("search")
        # What is written is read like what is not, at every level: its owner says what was acknowledged, though its log takes nothing.
        for level in LEVELS:
            workers.none_failed(of_the_moving(level))
            meanwhile = [took for _, took, _ in workers.of(of_the_moving(level), begin, back)]
            if not meanwhile:
                raise AssertionError(f"no {of_the_moving(level)} without a store")
            figures.update({f"{of_the_moving(level)} meanwhile": len(meanwhile), f"slowest of these ms, {level}": round(max(meanwhile) * 1000)})
        refused = sum(len(workers.failures(kind, begin, back)) for kind in WRITES)
        if refused == 0:
            raise AssertionError("no write failed without a store")
        codes = codes_of(load.writes_failed(begin, back))
        if set(codes) != {UNAVAILABLE} or any(each != (UNAVAILABLE, True) for each in told):
            raise AssertionError(f"without a store writes are refused with {codes}, and as (code, retriable) {told}, wanted {UNAVAILABLE} and retriable: "
                                 f"{sorted(set(load.writes_failed(begin, back)))[:4]}")
        rows = load.compare(client)
        figures.update({"away s": away, "searches meanwhile": len(workers.of("search", begin, back)), "writes refused then, by code": codes, "slowest call then s": round(slowest, 1),
                        "writes again s": round(again, 1), "flushed s": round(flushed, 1)})
        for repeater in repeaters:
            figures.update(repeater.check(client))
        still.check(client)
        all_alive(cluster)
        return {**figures, **load.figures(), "rows compared": rows}


# ---------------------------------------------------------------- damage


def flip(path: pathlib.Path, share: float = 0.5) -> Callable[[], None]:
    """Flips one bit of a file in its place, at that share of its length. Returns what undoes it."""
    place = int(path.stat().st_size * share)

    def turn() -> None:
        with open(path, "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0x10]))

    turn()
    return turn


class Indexed:
    """A collection with an HNSW index over one sealed segment, some of its rows deleted by key; answers are known."""

    def __init__(self, client: MilvusClient, name: str, rows: int = 1500) -> None:
        self.name, self.rows = name, rows
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("value", DataType.INT64)
        schema.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
        index = client.prepare_index_params()
        index.add_index("vec", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 100})
        client.create_collection(name, schema=schema, num_shards=1, properties={"collection.autocompaction.enabled": "false"})
        client.create_index(name, index)
        for first in range(0, rows, 500):
            client.insert(name, [row(key, 0) for key in range(first, first + 500)])
        client.flush(name)
        self.gone = list(range(0, rows, 10))
        client.delete(name, ids=self.gone)
        client.flush(name)
        client.load_collection(name)
        until("an index", 60, lambda: self.indexed(client) == rows)
        self.wanted = {key: key for key in range(rows) if key % 10}

    def indexed(self, client: MilvusClient) -> int:
        return int(client.describe_index(self.name, client.list_indexes(self.name)[0])["indexed_rows"])

    def check(self, client: MilvusClient) -> None:
        """Every row by value, and that each of some rows is nearest to itself."""
        found = client.query(self.name, filter="id >= 0", output_fields=["id", "value", "vec"], consistency_level="Strong", limit=16_000, **ONCE)
        keys = sorted(each["id"] for each in found)
        if keys != sorted(self.wanted):
            raise AssertionError(f"{self.name}: {len(keys)} rows, {len(self.wanted)} wanted")
        for each in found:
            if each["value"] != 0 or not np.array_equal(np.array(each["vec"], dtype=np.float32), vector(each["id"], 0)):
                raise AssertionError(f"{self.name}: row {each['id']} is another")
        probes = sorted(self.wanted)[:: max(1, len(self.wanted) // 20)]
        answers = client.search(self.name, [vector(key, 0).tolist() for key in probes], limit=K, search_params={"params": {"ef": 200}}, consistency_level="Strong", **ONCE)
        wrong = [key for key, hits in zip(probes, answers) if not hits or hits[0]["id"] != key or any(hit["id"] not in self.wanted for hit in hits)]
        if wrong:
            raise AssertionError(f"{self.name}: rows {wrong[:5]} are not nearest to themselves")

    def refuses(self, client: MilvusClient) -> str:
        """Neither a search nor a query answers; what the query says."""
        texts = []
        for call in (
            lambda: client.search(self.name, [vector(1, 0).tolist()], limit=K, timeout=15, **ONCE),
            lambda: client.query(self.name, filter="id >= 0", output_fields=["id"], limit=16_000, timeout=15, **ONCE),
        ):
            try:
                answer = call()
            except Exception as error:  # as it must be
                texts.append(str(error)[:300])
            else:
                raise AssertionError(f"{self.name}: an answer from what is damaged: {str(answer)[:200]}")
        return texts[-1]


def said(node: Node, since: int, pattern: str) -> bool:
    """Whether a node's log has such a line after so many bytes."""
    return re.search(pattern, node.log.read_bytes()[since:].decode(errors="replace")) is not None


@part
def damage(given: argparse.Namespace) -> dict[str, Any]:
    """One bit changes: in files of a query node's cache, in an index, in rows, in deletes and in the log. Nothing of it is ever
    in an answer; what can be had from elsewhere is, and the rest is named while everything else goes on. Without load: what is damaged
    must be the only one of its kind, and what reads it is asked for."""
    roles = {"querynode": {"REDKITE__REDKITE__CACHE__BUDGETMB": "64"}}
    with Cluster(between=True, roles=roles, keep=given.keep) as cluster:
        client = connect(cluster.uri)
        still = Still(client, "still", sealed=1000, growing=100)
        hurt = Indexed(client, "hurt")
        collection = client.describe_collection("hurt")["collection_id"]
        hurt.check(client)
        node = cluster.of("querynode")[0]
        cache = node.data / "cache"
        copies = lambda: [path for path in cache.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)]
        until("a copy of everything", 20, lambda: len(copies()) >= 3)
        time.sleep(1)
        figures: dict[str, Any] = {}

        def again(wiped: bool) -> None:
            node.kill()
            if wiped:
                shutil.rmtree(cache)
            node.start()
            node.wait_healthy()

        def recovers(what: str, seconds: float = 30) -> float:
            def check() -> bool:
                hurt.check(client)
                return True

            return round(until(what, seconds, check), 1)

        # Without damage, so that the counts below mean something: everything comes from the cache.
        before = cluster.between.seen("store")["requests"]
        again(wiped=False)
        figures["back with a warm cache s"] = recovers("back with a warm cache")
        figures["requests for it"] = cluster.between.seen("store")["requests"] - before

        # One bit in each copy.
        node.kill()
        originals = {path.name: path.read_bytes() for path in copies()}
        for path in copies():
            flip(path, 0.7)
        before = cluster.between.seen("store")["requests"]
        node.start()
        node.wait_healthy()
        figures["back with damaged copies s"] = recovers("read again from the store")
        fetched = cluster.between.seen("store")["requests"] - before
        if fetched < len(originals):
            raise AssertionError(f"{len(originals)} copies were damaged, {fetched} requests were made")
        figures["copies damaged"] = len(originals)
        still.check(client)

        # In the bucket, with an empty cache.
        def one(pattern: str) -> pathlib.Path:
            found = [path for path in cluster.objects("") if re.search(pattern, str(path)) and str(collection) in str(path)]
            if not found:
                raise AssertionError(f"no object {pattern} of {collection}: {[str(path)[-80:] for path in cluster.objects('')][:40]}")
            return max(found, key=lambda path: path.stat().st_mtime)

        index = one(r"/index-[^/]*\.bin$")
        flip(index)
        again(wiped=True)
        figures["right without the damaged index s"] = recovers("the segment without its index")
        until("the index built again", 60, lambda: one(r"/index-[^/]*\.bin$") != index and hurt.indexed(client) == hurt.rows)
        hurt.check(client)
        for kind, pattern in (("vectors", r"/vector-[^/]*\.bin$"), ("scalars", r"/scalars\.parquet$"), ("deletes", r"/deletes/.*\.bin$")):
            undo, written = flip(one(pattern)), node.log.stat().st_size
            again(wiped=True)
            until(f"word of the damaged {kind}", 30, lambda: said(node, written, "(?i)checksum|damaged"))
            text = hurt.refuses(client)
            if not re.search(f"the {kind} of .* are damaged", text):
                raise AssertionError(f"damaged {kind} are refused without a reason: {text}")
            still.check(client)
            undo()
            figures[f"back after damaged {kind} s"] = recovers(f"the {kind} are whole again")

        # In the log, whose owner and reader have nothing in memory any more.
        make(client, "logged", shards=1)
        client.insert("logged", [row(key, 1) for key in range(200)], **ONCE)
        client.insert("logged", [row(key, 1) for key in range(200, 400)], **ONCE)
        logged = client.describe_collection("logged")["collection_id"]
        chunks = [path for path in cluster.objects("wal") if str(logged) in str(path) and "/chunk/" in str(path)]
        largest = max(chunks, key=lambda path: path.stat().st_size)
        owner = cluster.of("streamingnode")[0]
        for each in (owner, node):
            each.kill()
        undo, written = flip(largest), owner.log.stat().st_size
        for each in (owner, node):
            each.start()
        for each in (owner, node):
            each.wait_healthy()
        count = lambda timeout: client.query("logged", filter="id >= 0", output_fields=["id", "value"], consistency_level="Strong", limit=16_000, timeout=timeout, **ONCE)
        until("word of the damaged log", 40, lambda: said(owner, written, "(?i)damage|checksum") or said(node, written, "(?i)damage|checksum"))

        answers: list[int] = []

        def refusal() -> str:
            try:
                answers.append(len(count(15)))
            except Exception as error:  # as it must be
                return str(error)
            return ""

        until("a refusal that names the damaged log", 40, lambda: re.search("the log of .* is damaged", refusal()))
        if answers:
            raise AssertionError(f"a damaged log gave answers of {answers} rows")
        still.check(client)
        undo()
        figures["back after damaged log s"] = round(until("the log is whole again", 60, lambda: len(count(15)) == 400), 1)
        all_alive(cluster)
        return figures


# ---------------------------------------------------------------- damage of the catalog


class Etcd:
    """The records of etcd, as they are."""

    def __init__(self, cluster: Cluster) -> None:
        self.address = cluster.etcd.split(",")[0]

    def ask(self, what: str, **body: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.address}/v3/kv/{what}", json.dumps(body).encode(), timeout=10) as answer:
            return json.load(answer)

    @staticmethod
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    def every(self) -> dict[bytes, bytes]:
        found = self.ask("range", key=self.text(b"\0"), range_end=self.text(b"\0")).get("kvs", [])
        return {base64.b64decode(each["key"]): base64.b64decode(each.get("value", "")) for each in found}

    def put(self, key: bytes, value: bytes) -> None:
        self.ask("put", key=self.text(key), value=self.text(value))

    def empty(self) -> None:
        self.ask("deleterange", key=self.text(b"\0"), range_end=self.text(b"\0"))


def of_segments(client: MilvusClient, name: str, segments: int) -> int:
    """A collection with so many sealed segments in one channel; its number."""
    make(client, name, shards=1)
    client.alter_collection_properties(name, {"collection.autocompaction.enabled": "false"})
    for number in range(segments):
        client.insert(name, [row(key, 0) for key in range(number * 50, number * 50 + 50)])
        client.flush(name)
    return client.describe_collection(name)["collection_id"]


@part
def damaged_manifest(given: argparse.Namespace) -> dict[str, Any]:
    """One bit changes in the list of a channel's segments: in an object of the bucket, then in a record of etcd. The next coordinator
    finds it, names it and leads all the same: only that collection is refused, by that name, and everything else goes on under the
    common load. Once the object is whole again its collection is read and written by itself; and from the bucket, whose copy of the
    catalog has kept the record, the catalog is made anew, with every row."""
    large, few, while_it_is = 8, 1, 60 if given.long else 10
    with Cluster(keep=given.keep) as cluster:
        client, etcd = connect(cluster.uri), Etcd(cluster)
        still = Still(client, "still")
        make(client, "moving")
        sealed = {"listed": large, "noted": few}
        hurt = {name: of_segments(client, name, segments) for name, segments in sealed.items()}
        uri = cluster.uri
        workers = Workers()
        load = Load(workers, "moving", still, lambda: uri)

        def holds(reader: MilvusClient, name: str) -> None:
            wanted = list(range(sealed[name] * 50))
            found = reader.query(name, filter="id >= 0", output_fields=["id", "value"], limit=16_000, consistency_level="Bounded", timeout=40, **ONCE)
            if sorted(each["id"] for each in found) != wanted or any(each["value"] for each in found):
                raise AssertionError(f"{name}: {len(found)} rows, {len(wanted)} wanted")

        for name in sealed:
            reader = connect(uri)
            workers.spawn(lambda reader=reader, name=name: workers.timed(f"search of {name}", lambda: holds(reader, name)), pause=0.02)
        time.sleep(3)
        coordinator = cluster.of("mixcoord")[0]
        figures: dict[str, Any] = {}
        names = (f"after_{number}" for number in itertools.count())

        def failure(call: Callable[[], Any]) -> str:
            try:
                call()
            except Exception as failed:  # what it says is looked at
                return str(failed)
            return ""

        def found_and_named(kind: str, name: str, key: str, flipped: Callable[[], Any]) -> Any:
            """What `flipped` returned, which damages that `key`, of the collection of that name."""
            coordinator.kill()
            undo, written, begin = flipped(), coordinator.log.stat().st_size, time.monotonic()
            coordinator.start()
            pattern = rf"(?i)its collection alone is refused.*{re.escape(key)}.*(checksum|damaged)"
            until(f"word of the damaged {kind}", 40, lambda: said(coordinator, written, pattern))
            figures[f"{kind}: named s"] = round(time.monotonic() - begin, 1)
            until("a change of the catalog", 40, lambda: client.create_database(next(names), timeout=5, **ONCE) or True)
            figures[f"{kind}: changes again s"] = round(time.monotonic() - begin, 1)
            until(f"reads of {name} to be refused by name", 60, lambda: key in failure(lambda: holds(client, name)))
            figures[f"{kind}: refused by name s"] = round(time.monotonic() - begin, 1)
            end = time.monotonic() + while_it_is
            while time.monotonic() < end:
                wrote = failure(lambda: client.delete(name, ids=[10**12], timeout=40, **ONCE))
                if key not in wrote:
                    raise AssertionError(f"a write to {name}, whose {kind} {key} is damaged: {wrote or 'done'}")
            client.flush("moving", timeout=30)
            if key not in str(shown(cluster.of("proxy")[0], "collections")):
                raise AssertionError(f"the damaged {kind} {key} is not shown")
            all_alive(cluster)
            other = next(each for each in sealed if each != name)
            calls = {what: len(workers.of(what, begin)) for what in ("search", f"search of {other}", "insert", "change")}
            if min(calls.values()) == 0:
                raise AssertionError(f"not all went on: {calls}")
            for what in ("search", f"search of {other}", *WRITES):
                workers.none_failed(what, since=begin)
            figures[f"{kind}: calls meanwhile"] = calls
            return undo

        # The newest piece of the list, which is the whole one or what has changed since.
        pieces = [path for path in cluster.objects("manifests") if str(hurt["listed"]) in str(path)]
        if not pieces:
            raise AssertionError(f"{large} segments are no object: {[str(path)[-80:] for path in cluster.objects('')][:40]}")
        piece = max(pieces, key=lambda path: int(path.stem))
        undo = found_and_named("object", "listed", piece.name, lambda: flip(piece))
        undo()
        begin = time.monotonic()
        until("every row once the object is whole", 60, lambda: holds(client, "listed") or True)
        figures["object: read again s"] = round(time.monotonic() - begin, 1)
        until("a write once the object is whole", 30, lambda: client.delete("listed", ids=[10**12], timeout=20, **ONCE) and True)
        figures["object: written again s"] = round(time.monotonic() - begin, 1)
        client.flush("listed", timeout=30)

        records = {key: value for key, value in etcd.every().items() if b"/channels/" in key and str(hurt["noted"]).encode() in key}
        if len(records) != 1 or b'"objects"' in next(iter(records.values())):
            raise AssertionError(f"the record of {hurt['noted']}: {records}; there are {sorted(etcd.every())[:40]}")
        key, value = next(iter(records.items()))

        def damaged_record() -> None:
            place = len(value) // 2
            etcd.put(key, value[:place] + bytes([value[place] ^ 0x10]) + value[place + 1 :])

        found_and_named("record", "noted", key.decode().rsplit("/", 1)[1], damaged_record)
        workers.stop()
        for kind in ("search", *WRITES):
            workers.none_failed(kind)
        for node in cluster.nodes.values():
            node.kill()
        etcd.empty()
        figures["said"] = ctl(cluster, "rebuild").strip()
        begin_roles(cluster)
        client = connect(cluster.uri)
        until("searches of the loaded collections", 60, lambda: still.check(client) or True)
        for name in sealed:
            until(f"{name} is whole", 60, lambda: holds(client, name) or True)
        rows = load.compare(client)
        client.create_database(next(names), timeout=30)
        return {**figures, **load.figures(), "rows compared": rows}
