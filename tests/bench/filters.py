"""Filters: whether each answer is right, and what they cost.

    filters.py --loadgen FILE --data FOLDER [--parts answers,selective,million] [--seed 1] [--expressions 200] [--dim 384] [--record FILE]

`answers`: expressions made from a seed, each answered by a query for all keys, by count(*) and by an exact search, over rows that
are partly sealed, partly growing, partly deleted and partly replaced; all compared with plain Python. `selective`: searches
of which 1 % of the rows come into question, beside those without a filter, over a graph. `million`: count(*) and equality on indexed
fields over a million rows, beside GetVersion. Ends with 1 if an answer differs or a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, Callable

import grpc
import numpy as np
from pymilvus import MilvusClient
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from expressions import Expression, Generator, described
from grow import grow
from loading import cpu_seconds, index_built, loadgen, plain_schema, verdict
from quota import model
from rows import Rows, add_late, create
from writes import Alone, wait_for

DIM = 384
TOP = 20
SERVICE = "/milvus.proto.milvus.MilvusService/"
PARTS = ("answers", "selective", "million")
EF = 64
SELECTIVE_AT_MOST = 1.0
# A text without an index is compared with all rows', and shown for comparison only.
NOT_PROMISED = ("text",)
CHEAP_AT_MOST = 5.0
ROWS = 1_000_000


def say(text: str) -> None:
    print(f"  {text}", flush=True)


# ---------------------------------------------------------------- answers


class Answers:
    """A collection with every type of field, its rows in all states, and what it answers to expressions."""

    def __init__(self, uri: str, data: Path, rows: int, dim: int) -> None:
        self.client, self.name = MilvusClient(uri, timeout=120), "filters"
        self.stub = milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(uri.removeprefix("http://"), [("grpc.max_receive_message_length", -1)]))
        self.rows = Rows(data, rows, dim)
        self.queries = np.load(data / "queries.npy")[:, :dim]
        self.differing: list[str] = []
        self.found: list[int] = []

    def fill(self) -> None:
        """Four parts: sealed ones without and with the late fields, and growing rows; of each some are deleted or replaced."""
        count, rng = len(self.rows.all), random.Random(11)
        create(self.client, self.name, self.rows.vectors.shape[1])
        cuts = [0, count * 3 // 10, count * 6 // 10, count * 7 // 10, count]
        for at, (first, end) in enumerate(zip(cuts, cuts[1:])):
            if at == 2:
                add_late(self.client, self.name)
            self.write(self.client.insert, range(first, end), at >= 2)
            self.delete(rng.sample(range(first, end), (end - first) // 50))
            if at < 3:
                self.client.flush(self.name)
                self.delete(rng.sample(range(first, end), (end - first) // 50))
        replaced = rng.sample(np.flatnonzero(self.rows.alive).tolist(), count // 60)
        for place in replaced:
            self.rows.replace(place, rng.randrange(count))
        self.write(self.client.upsert, replaced, True)

    def write(self, call: Callable[..., Any], places: Any, with_late: bool) -> None:
        places = list(places)
        for first in range(0, len(places), 2_000):
            call(self.name, [self.rows.sent(place, with_late) for place in places[first : first + 2_000]])
        self.rows.alive[places] = True

    def delete(self, places: list[int]) -> None:
        self.client.delete(self.name, ids=places)
        self.rows.alive[places] = False

    def states(self) -> str:
        sealed = [one.num_rows for one in self.client.list_loaded_segments(self.name) if str(one.state).endswith("Sealed")]
        count = len(self.rows.all)
        if not 0 < sum(sealed) < count:
            raise RuntimeError(f"{sum(sealed)} of {count} rows are sealed: these are not all states that were wanted")
        return f"{count:,} rows, {int(self.rows.alive.sum()):,} of them not deleted; {len(sealed)} sealed segments of {sum(sealed):,}, the others grow"

    def query(self, expression: Expression, field: str) -> Any:
        request = Prepare.query_request(self.name, expression.text, [field], [], False, consistency_level=0, expr_params=expression.params)
        answer = self.stub.Query(request)
        if answer.status.code or answer.status.error_code:
            raise RuntimeError(answer.status.reason)
        return np.array(next(one for one in answer.fields_data if one.field_name == field).scalars.long_data.data, np.int64)

    def search(self, expression: Expression, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        request = Prepare.search_requests_with_expr(
            self.name, "vector", {"metric_type": "IP", "params": {}}, TOP, data=[vector.tolist()], expr=expression.text, output_fields=["id"],
            use_default_consistency=False, consistency_level=0, expr_params=expression.params,
        )  # fmt: skip
        answer = self.stub.Search(request)
        if answer.status.code or answer.status.error_code:
            raise RuntimeError(answer.status.reason)
        return np.array(answer.results.ids.int_id.data, np.int64), np.array(answer.results.scores, np.float32)

    def wrong(self, expression: Expression, vector: np.ndarray | None) -> str:
        """What is wrong with the answers to an expression; nothing where they are right. Without a vector only the keys."""
        holds = expression.truth().holds & self.rows.alive
        wanted = np.flatnonzero(holds)
        try:
            keys = self.query(expression, "id")
            if not np.array_equal(np.sort(keys), wanted):
                return self.difference(expression, keys, wanted)
            if vector is None:
                return ""
            self.found.append(len(wanted))
            counted = self.query(expression, "count(*)").tolist()
            if counted != [len(wanted)]:
                return f"count(*) says {counted}, the query found {len(wanted)}"
            return self.search_wrong(*self.search(expression, vector), holds, vector)
        except RuntimeError as error:
            return f"refused: {error}"

    def search_wrong(self, keys: np.ndarray, scores: np.ndarray, holds: np.ndarray, vector: np.ndarray) -> str:
        """The nearest rows, where those that are equally near may change places."""
        exact = self.rows.vectors @ vector
        nearest = np.sort(exact[holds])[::-1][:TOP]
        if len(keys) != len(nearest) or len(set(keys.tolist())) != len(keys):
            return f"the search found {len(keys)} rows, {len(set(keys.tolist()))} different ones, instead of {len(nearest)}"
        if not holds[keys].all():
            return f"the search found rows that do not match: {keys[~holds[keys]].tolist()}"
        if np.abs(scores - exact[keys]).max(initial=0) > 1e-4 or np.abs(scores - nearest).max(initial=0) > 1e-4:
            return f"the search found scores {scores.tolist()} of {keys.tolist()} instead of {nearest.tolist()}"
        return ""

    def difference(self, expression: Expression, keys: np.ndarray, wanted: np.ndarray) -> str:
        lacking, extra = np.setdiff1d(wanted, keys), np.setdiff1d(keys, wanted)
        lines = [f"{len(keys)} keys instead of {len(wanted)}; {len(lacking)} are lacking, {len(extra)} should not be there, {len(keys) - len(set(keys.tolist()))} twice"]
        for word, places in (("lacking", lacking), ("extra", extra)):
            for place in places[:2].tolist():
                lines.append(f"{word} {place} (deleted: {not self.rows.alive[place]}): {self.shown(expression, place)}")
        return "\n      ".join(lines)

    def shown(self, expression: Expression, place: int) -> str:
        row = {**self.rows.all[place], "id": place}
        names = [name for field in expression.fields for name in (("arch", "odd", "kilo") if field == "$meta" else (field,))]
        return json.dumps({name: row[name] for name in dict.fromkeys(names) if name in row}, ensure_ascii=False)[:600]

    def run(self, seed: int, count: int) -> None:
        rng, began = np.random.default_rng(seed), time.monotonic()
        for at, expression in enumerate(Generator(seed, self.rows).expressions(count)):
            wrong = self.wrong(expression, self.queries[rng.integers(len(self.queries))])
            if wrong:
                self.report(seed, at, expression, wrong)
            if (at + 1) % 50 == 0:
                say(f"{at + 1} expressions, {len(self.differing)} with a wrong answer, {time.monotonic() - began:.0f} s")

    def report(self, seed: int, at: int, expression: Expression, wrong: str) -> None:
        lines = [f"seed {seed}, expression {at}: {described(expression)}", wrong]
        # The smallest part of it whose keys are wrong says most.
        for part in expression.parts():
            if part is not expression and (its := self.wrong(part, None)):
                lines.append(f"already of {described(part)}: {its}")
                break
        self.differing.append("\n    ".join(lines))
        say(self.differing[-1])


def answers(given: argparse.Namespace, system: Alone) -> dict[str, Any]:
    began = time.monotonic()
    here = Answers(system.uri, Path(given.data), given.rows, given.dim)
    here.fill()
    say(f"{here.states()} ({time.monotonic() - began:.0f} s)")
    say(f"seed {given.seed}")
    here.run(given.seed, given.expressions)
    here.client.drop_collection(here.name)
    found = sorted(here.found)
    say(f"rows found: none {found.count(0)} times, in the middle {statistics.median(found or [0]):,.0f}, at most {max(found, default=0):,}; {time.monotonic() - began:.0f} s")
    return {"differing": here.differing, "median_rows": statistics.median(found or [0])}


# ---------------------------------------------------------------- selective searches


def selective(given: argparse.Namespace, system: Alone) -> dict[str, Any]:
    """One row in a hundred by a number or a text, with and without an index; the same rows each time."""
    client, name, data, folder = MilvusClient(system.uri, timeout=600), "selective", Path(given.data), system.folder
    vectors = np.load(data / "vectors.npy", mmap_mode="r")
    if (data / "part.npy").exists():
        part, truth = np.load(data / "part.npy"), np.load(data / "truth-ip-part1.npy")
    else:
        part = np.random.default_rng(3).integers(0, 100, len(vectors))
        held, queries = np.flatnonzero(part == 0), np.load(data / "queries.npy")
        truth = held[np.argsort(-(queries @ vectors[held].T), axis=1, kind="stable")[:, :10]]
    for file, values in (("part", part.astype("<i8")), ("truth", np.ascontiguousarray(truth.astype("<i4")))):
        np.save(folder / f"{file}.npy", values)
    (folder / "part.txt").write_text("".join(f"part {one}\n" for one in part))
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
    index.add_index("part", index_type="STL_SORT")
    index.add_index("section", index_type="INVERTED")
    client.create_collection(name, schema=plain_schema(client, DIM), index_params=index, num_shards=1)
    loadgen(given.loadgen, "insert", system.uri, name, vectors=data / "vectors.npy", part=folder / "part.npy", size=folder / "part.npy",
            names=folder / "part.txt", sections=folder / "part.txt", clients=8)  # fmt: skip
    client.flush(name)
    wait_for("the graph", 600, lambda: index_built(client, name))
    client.load_collection(name)
    kinds = {"": "", "indexed number": "part < 1", "number": "installed_size < 1", "indexed text": 'section == "part 0"', "text": 'name == "part 0"'}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    common = {"queries": data / "queries.npy", "metric": "IP", "params": json.dumps({"ef": EF}), "warmup": 0, "seconds": given.seconds}
    for at in range(given.rounds + 1):
        for kind, text in kinds.items():
            before = cpu_seconds(system.process.pid)
            line = loadgen(given.loadgen, "search", system.uri, name, filter=text, truth=folder / "truth.npy" if text else data / "truth-ip.npy", **common)
            used = cpu_seconds(system.process.pid) - before
            # The first round is for the caches.
            if at:
                found[kind].append({"cpu_us": used * 1e6 / line["queries"], "p50_ms": line["p50_ms"], "recall": line["recall"]})
    client.drop_collection(name)
    middles = {kind: {key: statistics.median(one[key] for one in lines) for key in lines[0]} for kind, lines in found.items()}
    plain = middles.pop("")
    say(f"| 1 % by | recall | CPU µs a search | p50 ms | CPU, ratio | p50, ratio |  ({given.rounds} rounds of {given.seconds:g} s, ef={EF})")
    say(f"| no filter | {plain['recall']:.4f} | {plain['cpu_us']:.0f} | {plain['p50_ms']:.3f} | | |")
    for kind, one in middles.items():
        one["cpu"], one["p50"] = one["cpu_us"] / plain["cpu_us"], one["p50_ms"] / plain["p50_ms"]
        say(f"| {kind} | {one['recall']:.4f} | {one['cpu_us']:.0f} | {one['p50_ms']:.3f} | {one['cpu']:.2f} | {one['p50']:.2f} |")
    return middles


# ---------------------------------------------------------------- a million rows


class Calls:
    """Requests made beforehand, sent as they are, and what they cost the server."""

    def __init__(self, system: Alone) -> None:
        self.pid = system.process.pid
        self.channel = grpc.insecure_channel(system.uri.removeprefix("http://"), [("grpc.max_receive_message_length", -1)])

    def cost(self, method: str, requests: list[bytes]) -> tuple[float, float]:
        """CPU time of the server per call, and the median time of a call. Unit: µs."""
        call = self.channel.unary_unary(SERVICE + method)
        times, before = [], cpu_seconds(self.pid)
        for request in requests:
            began = time.perf_counter()
            call(request)
            times.append(time.perf_counter() - began)
        return (cpu_seconds(self.pid) - before) * 1e6 / len(requests), statistics.median(times) * 1e6

    def rows(self, request: bytes) -> Any:
        answer = milvus_pb2.QueryResults.FromString(self.channel.unary_unary(SERVICE + "Query")(request))
        if answer.status.code or answer.status.error_code:
            raise RuntimeError(answer.status.reason)
        return list(answer.fields_data[0].scalars.long_data.data)


def million(given: argparse.Namespace, system: Alone) -> dict[str, Any]:
    """Reads that need nothing but what is counted or indexed, each asked for another value than the one before."""
    client, name, folder, count = MilvusClient(system.uri, timeout=600), "million", system.folder, given.million
    began = time.monotonic()
    grow(Path(given.data), count, folder / "grown.npy")
    say(f"{count:,} rows grown in {time.monotonic() - began:.0f} s")
    numbers = np.random.default_rng(5).permutation(count)
    np.save(folder / "numbers.npy", numbers.astype("<i8"))
    np.save(folder / "parts.npy", (numbers % 100).astype("<i8"))
    (folder / "names.txt").write_text("".join(f"name-{one}\n" for one in numbers))
    (folder / "sections.txt").write_text("".join(f"section {one % 100}\n" for one in numbers))
    index = client.prepare_index_params()
    # Nothing is searched here: a graph would only take its time.
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    index.add_index("part", index_type="INVERTED")
    index.add_index("installed_size", index_type="BITMAP")
    index.add_index("name", index_type="INVERTED")
    client.create_collection(name, schema=plain_schema(client, DIM), index_params=index, num_shards=1)
    for first in range(0, count, 100_000):
        loadgen(given.loadgen, "insert", system.uri, name, vectors=folder / "grown.npy", part=folder / "numbers.npy", size=folder / "parts.npy",
                names=folder / "names.txt", sections=folder / "sections.txt", first=first, limit=100_000, clients=4)  # fmt: skip
    client.flush(name)
    (folder / "grown.npy").unlink()
    wait_for("the index", 600, lambda: index_built(client, name))
    client.load_collection(name)
    calls, rng = Calls(system), random.Random(5)

    def query(text: str, output: str) -> bytes:
        return Prepare.query_request(name, text, [output], [], True).SerializeToString()

    def wholly() -> bool:
        loaded = client.list_loaded_segments(name)
        return sum(one.num_rows for one in loaded) == count and all(str(one.state).endswith("Sealed") for one in loaded)

    wait_for("sealed rows", 300, wholly)
    quiet(system.process.pid)
    say(f"{count:,} rows sealed and loaded, {len(client.list_loaded_segments(name))} segments ({time.monotonic() - began:.0f} s)")
    version = milvus_pb2.GetVersionRequest().SerializeToString()
    kinds: dict[str, Callable[[], tuple[str, bytes]]] = {
        "GetVersion": lambda: ("GetVersion", version),
        "count(*)": lambda: ("Query", query("", "count(*)")),
        "equality, number": lambda: ("Query", query(f"part == {rng.randrange(count)}", "id")),
        "equality, text": lambda: ("Query", query(f'name == "name-{rng.randrange(count)}"', "id")),
        "count(*) of one in 100": lambda: ("Query", query(f"installed_size == {rng.randrange(100)}", "count(*)")),
    }
    for text, output, wanted in (
        ("", "count(*)", [count]), ("part == 77", "id", np.flatnonzero(numbers == 77).tolist()), ('name == "name-78"', "id", np.flatnonzero(numbers == 78).tolist()),
        ("installed_size == 7", "count(*)", [int((numbers % 100 == 7).sum())]),
    ):  # fmt: skip
        if (got := calls.rows(query(text, output))) != wanted:
            raise RuntimeError(f"{output} of {text!r} is {got} instead of {wanted}")
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for at in range(given.rounds + 1):
        for kind, make in kinds.items():
            made = [make() for _ in range(given.calls)]
            cost = calls.cost(made[0][0], [request for _, request in made])
            if at:
                found[kind].append(cost)
    client.drop_collection(name)
    middles = {kind: {"cpu_us": statistics.median(cpu for cpu, _ in costs), "p50_us": statistics.median(p50 for _, p50 in costs)} for kind, costs in found.items()}
    say(f"| call | CPU µs | CPU, ratio | p50 µs |  ({given.rounds} rounds of {given.calls} calls each)")
    for kind, one in middles.items():
        one["cpu"] = one["cpu_us"] / middles["GetVersion"]["cpu_us"]
        say(f"| {kind} | {one['cpu_us']:.1f} | {one['cpu']:.2f} | {one['p50_us']:.0f} |")
    return middles


def quiet(pid: int) -> None:
    """Waits until the server has done what it does in the background; for a minute at most."""
    for _ in range(60):
        before = cpu_seconds(pid)
        time.sleep(1)
        if cpu_seconds(pid) - before < 0.02:
            return


# ---------------------------------------------------------------- what was promised


def broken(given: argparse.Namespace, results: dict[str, Any]) -> list[str]:
    """The promises that were not kept."""
    found = []
    if differing := results.get("answers", {}).get("differing"):
        found.append(f"{len(differing)} of {given.expressions} expressions have a wrong answer (seed {given.seed})")
    for kind, one in results.get("selective", {}).items():
        for what in ("cpu", "p50"):
            if kind not in NOT_PROMISED and one[what] > SELECTIVE_AT_MOST:
                found.append(f"a search with a filter of 1 % ({kind}) takes {one[what]:.3f} times the {'CPU' if what == 'cpu' else 'time'} of one without, more than {SELECTIVE_AT_MOST:g}")
    for kind in ("count(*)", "equality, number", "equality, text"):
        one = results.get("million", {}).get(kind)
        if one and one["cpu"] > CHEAP_AT_MOST:
            found.append(f"{kind} over {given.million:,} rows costs {one['cpu']:.1f} times the CPU of GetVersion, more than {CHEAP_AT_MOST:g}")
    return found


HEAD = """# Filters: right, and what they cost

One row a run of `make bench PART=filters`. Expressions are made from the seed, over rows with fields of each type; those that are wrong
have an answer that differs from a plain evaluator's: the keys that a query finds, count(*), or an exact search's hits. Selective: a
search with a filter of 1 % beside one without, HNSW M=16 efConstruction=200, ef=64, top 10, one client; CPU of the server and p50, as
ratios, by a number and a text, each with and without an index. Cheap: CPU of the server for count(*) and for equality on indexed
fields, over a million rows made from the real ones, as ratios to GetVersion. All are medians of interleaved rounds. The commit is the engine's,
in a release build unless it says otherwise.

| date | commit | machine | data | seed | expressions, wrong | rows found (median) | 1 % indexed number / number / indexed text / text: CPU | the same: p50 | count(*), equality number / text: CPU to GetVersion |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def record(given: argparse.Namespace, results: dict[str, Any]) -> None:
    path = Path(given.record)
    if not path.exists():
        path.write_text(HEAD)
    told, some, cheap = results.get("answers"), results.get("selective", {}), results.get("million")
    checked = f"{given.seed} | {given.expressions}, {len(told['differing'])} | {told['median_rows']:,.0f}" if told else " |  | "
    ratios = [" / ".join(f"{one[what]:.2f}" for one in some.values()) for what in ("cpu", "p50")]
    calls = " / ".join(f"{cheap[kind]['cpu']:.1f}" for kind in ("count(*)", "equality, number", "equality, text")) if cheap else ""
    with open(path, "a") as out:
        out.write(f"| {date.today()} | {given.commit} | {os.cpu_count()} × {model()} | {given.data_name} | {checked} | {ratios[0]} | {ratios[1]} | {calls} |\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-name", default="debian-63k")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expressions", type=int, default=200)
    parser.add_argument("--rows", type=int, default=63_666)
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--million", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--record", default="")
    parser.add_argument("--commit", default="")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: dict[str, Any] = {}
    for part in given.parts.split(","):
        print(f"{part}:", flush=True)
        if part == "million" and given.data_name == "made":
            say("not measured: there are no real rows to grow from")
            continue
        with Alone() as system:
            results[part] = {"answers": answers, "selective": selective, "million": million}[part](given, system)
    if given.record:
        record(given, results)
    verdict(broken(given, results))


if __name__ == "__main__":
    main()
