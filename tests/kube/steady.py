"""Searches of a server over TLS without any retry, at a constant rate or as fast as answers come; and what a cluster tells of its objects
as they change, so that nobody has to ask again and again while something is measured.

Requests are encoded before the clock starts. A time counts from when its search was due, whenever it could be sent. All times are those
of the monotonic clock, in seconds.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import itertools
import json
import math
import os
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple

import grpc
import numpy as np
from pymilvus import MilvusClient
from pymilvus.client.constants import BOUNDED_TS
from pymilvus.client.prepare import Prepare
from pymilvus.client.types import ConsistencyLevel
from pymilvus.grpc_gen import milvus_pb2

from suite import Failed

SEARCH = "/milvus.proto.milvus.MilvusService/Search"
# A call that takes longer has failed.
PATIENCE = 10.0
CONNECTIONS = 8
# One connection of them is replaced by a new one so often, with the authorities of that moment: so new ones are tried all the time.
RENEWED_EVERY = 2.0
# Not even those retries that the library makes by itself; each connection is one of its own.
OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


class Call(NamedTuple):
    """One request: when it was due, how long it took from then, and why it failed."""

    kind: str
    due: float
    took: float
    error: str | None


class Question(NamedTuple):
    """An encoded search, and the keys of its exact answer."""

    message: bytes
    wanted: list[int]


def question(name: str, field: str, query: np.ndarray, wanted: list[int]) -> Question:
    bounded = {"consistency_level": ConsistencyLevel.Value("Bounded"), "guarantee_timestamp": BOUNDED_TS}
    params = {"metric_type": "L2", "params": {}}
    request = Prepare.search_requests_with_expr(name, field, params, len(wanted), data=[query.tolist()], use_default_consistency=False, **bounded)
    return Question(request.SerializeToString(), wanted)


class Watch:
    """The objects of a kind as they are, told by the API server whenever one changes. `seen` gets each of them as it comes."""

    def __init__(self, kind: str, namespace: str, *words: str, seen: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.command = ["kubectl", "-n", namespace, "get", kind, *words, "--watch", "--output-watch-events", "-o", "json"]
        self.seen, self.known = seen, {}
        self.ended, self.process = threading.Event(), None
        self.broken: str | None = None
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self) -> "Watch":
        self.thread.start()
        return self

    def run(self) -> None:
        # The API server ends each watch some day, and all objects are told again then.
        while not self.ended.wait(0.5):
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if self.ended.is_set():
                self.process.terminate()
            with self.lock:
                self.known = {}
            try:
                self.read(self.process)
            except Exception as error:  # noqa: BLE001 - whoever asks next is told
                self.broken = f"{type(error).__name__}: {error}"
                self.process.terminate()
            self.process.wait()

    def read(self, process: subprocess.Popen[str]) -> None:
        text = ""
        for line in process.stdout or ():
            text += line
            # An event is one line, or many that begin with a brace and end with one.
            if line[0] not in "{}":
                continue
            try:
                event = json.loads(text)
            except ValueError:  # it goes on
                continue
            text = ""
            self.take(event["type"], event["object"])

    def take(self, word: str, found: dict[str, Any]) -> None:
        if word not in ("ADDED", "MODIFIED", "DELETED"):
            return
        with self.lock:
            if word == "DELETED":
                self.known.pop(found["metadata"]["uid"], None)
            else:
                self.known[found["metadata"]["uid"]] = found
        if self.seen:
            self.seen(found)

    def all(self) -> list[dict[str, Any]]:
        if self.broken:
            raise RuntimeError(f"{' '.join(self.command)}: {self.broken}")
        with self.lock:
            return list(self.known.values())

    def named(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.all() if one["metadata"]["name"] == name), None)

    def stop(self) -> None:
        self.ended.set()
        if self.process:
            self.process.terminate()
        self.thread.join()


def millicores(amount: str) -> int:
    return int(amount[:-1]) if amount.endswith("m") else round(float(amount) * 1000)


class Pods:
    """The pods of a namespace: when each of their containers started, and what their limits of processors have come to at most."""

    def __init__(self, namespace: str) -> None:
        self.starts: dict[tuple[str, str, str], float] = {}
        self.most, self.without_limit = 0, set()
        self.watch = Watch("pods", namespace, seen=self.take)
        self.watch.start()

    def take(self, pod: dict[str, Any]) -> None:
        for container in pod["status"].get("containerStatuses", []):
            for state in (container.get("state", {}), container.get("lastState", {})):
                for word in ("running", "terminated"):
                    if at := state.get(word, {}).get("startedAt"):
                        self.starts.setdefault((pod["metadata"]["uid"], container["name"], at), monotonic_of(at))
        self.most = max(self.most, self.limits())

    def limits(self) -> int:
        """Of all pods that have not ended, also of those that are about to. Unit: thousandths of a core."""
        total = 0
        for pod in self.watch.all():
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                continue
            for container in pod["spec"]["containers"]:
                limit = container.get("resources", {}).get("limits", {}).get("cpu")
                if limit is None:
                    self.without_limit.add(f"{pod['metadata']['name']}/{container['name']}")
                total += millicores(limit or "0")
        return total

    def started(self, since: float, before: float) -> list[float]:
        return sorted(at for at in list(self.starts.values()) if since <= at < before)

    def stop(self) -> None:
        self.watch.stop()


def monotonic_of(text: str) -> float:
    """A time of Kubernetes, which are whole seconds of this machine's clock, by the monotonic one."""
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return moment - time.time() + time.monotonic()


def windows(starts: list[float], length: float, begin: float, end: float) -> list[tuple[float, float]]:
    """The times of that length from each start on, as far as they lie between begin and end; where they overlap they are one."""
    found: list[tuple[float, float]] = []
    for start in sorted(starts):
        first, last = max(start, begin), min(start + length, end)
        if first >= last:
            continue
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def outside(calls: list[Call], left_out: list[tuple[float, float]]) -> list[Call]:
    return [call for call in calls if not any(first <= call.due < last for first, last in left_out)]


def p99(calls: list[Call]) -> float:
    """Of those that succeeded, by nearest rank; no number if they are less than a hundred. Unit: milliseconds."""
    took = sorted(call.took for call in calls if call.error is None)
    if len(took) < 100:
        return math.nan
    return took[math.ceil(0.99 * len(took)) - 1] * 1000


class Trust:
    """The authorities that `ca.crt` of a Secret names, as one who mounts it has them. `secrets` watches those of its namespace."""

    def __init__(self, secrets: Watch, name: str) -> None:
        self.secrets, self.name = secrets, name

    def text(self) -> str:
        # Between two watches there is none for a moment.
        for _ in range(50):
            if found := self.secrets.named(self.name):
                return base64.b64decode(found["data"]["ca.crt"]).decode()
            time.sleep(0.1)
        raise Failed(f"there is no Secret {self.name}")

    def client(self, uri: str) -> MilvusClient:
        """A client with the authorities of now."""
        with tempfile.NamedTemporaryFile("w", suffix=".crt", delete=False) as file:
            file.write(self.text())
        try:
            return MilvusClient(uri, timeout=30, dedicated=True, secure=True, server_pem_path=file.name)
        finally:
            os.unlink(file.name)


class Searches:
    """Searches on several connections, each answer compared with the exact one. Kinds: `search` at a rate, `new` on a new connection,
    `closed` of clients that ask again as soon as they are answered."""

    def __init__(self, target: str, trust: Trust, questions: list[Question]) -> None:
        self.target, self.trust, self.questions = target, trust, questions
        self.next_question, self.next_connection = itertools.count(), itertools.count()
        self.calls: list[Call] = []
        self.ring: list[tuple[grpc.aio.Channel, Any]] = []
        self.renewals = 0
        self.closing: set[asyncio.Task[None]] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def wait(self, work: Any, seconds: float | None = None) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def connect(self) -> None:
        self.wait(self.fill_ring(), 60)

    async def fill_ring(self) -> None:
        while len(self.ring) < CONNECTIONS:
            channel, call = await self.open()
            await channel.channel_ready()
            self.ring.append((channel, call))

    async def open(self) -> tuple[grpc.aio.Channel, Any]:
        text = await self.loop.run_in_executor(None, self.trust.text)
        credentials = grpc.ssl_channel_credentials(root_certificates=text.encode())
        channel = grpc.aio.secure_channel(self.target, credentials, options=OPTIONS)
        return channel, channel.unary_unary(SEARCH)

    async def ask(self, kind: str, call: Any, due: float) -> bool:
        asked = self.questions[next(self.next_question) % len(self.questions)]
        error: str | None = None
        try:
            answer = milvus_pb2.SearchResults.FromString(await call(asked.message, timeout=PATIENCE))
            found = list(answer.results.ids.int_id.data)
            if answer.status.code or answer.status.error_code:
                error = f"refused: {answer.status.code} {answer.status.reason}"
            elif found != asked.wanted:
                error = f"another answer: {found}, wanted {asked.wanted}"
        except grpc.aio.AioRpcError as failure:
            error = f"{failure.code().name}: {failure.details()}"
        except Exception as failure:  # noqa: BLE001 - whatever else is wrong with an answer
            error = f"{type(failure).__name__}: {failure}"
        self.calls.append(Call(kind, due, self.loop.time() - due, error))
        return error is None

    async def pick(self, kind: str, due: float) -> bool:
        return await self.ask(kind, self.ring[next(self.next_connection) % len(self.ring)][1], due)

    async def renew(self) -> None:
        """One connection after the other, for as long as it is let."""
        while True:
            await asyncio.sleep(RENEWED_EVERY)
            channel, call = await self.open()
            if not await self.ask("new", call, self.loop.time()):
                await channel.close()
                continue
            old, _ = self.ring[self.renewals % len(self.ring)]
            self.ring[self.renewals % len(self.ring)] = (channel, call)
            self.renewals += 1
            # What is under way on it is still answered.
            task = self.loop.create_task(old.close(grace=PATIENCE))
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def at_rate(self, rate: float, stopped: asyncio.Event) -> None:
        renewing = self.loop.create_task(self.renew())
        begin, under_way = self.loop.time(), set()
        for number in itertools.count():
            due = begin + number / rate
            if (early := due - self.loop.time()) > 0:
                await asyncio.sleep(early)
            if stopped.is_set():
                break
            task = self.loop.create_task(self.pick("search", due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)
        if renewing.done():
            renewing.result()
        renewing.cancel()

    @contextmanager
    def rate(self, per_second: float) -> Iterator[None]:
        """Searches at that rate until the block ends; all are answered then."""
        stopped = asyncio.Event()
        running = asyncio.run_coroutine_threadsafe(self.at_rate(per_second, stopped), self.loop)
        try:
            yield
        finally:
            self.loop.call_soon_threadsafe(stopped.set)
            running.result(PATIENCE + 20)

    async def circles(self, clients: int, end: float) -> None:
        async def circle() -> None:
            while (now := self.loop.time()) < end:
                await self.pick("closed", now)

        await asyncio.gather(*(circle() for _ in range(clients)))

    def capacity(self, clients: int, seconds: float) -> float:
        """Right answers a second that so many clients get, each of which asks again once it is answered."""
        begin = time.monotonic()
        self.wait(self.circles(clients, begin + seconds), seconds + PATIENCE + 20)
        done = [call for call in self.of(begin, begin + seconds, "closed") if call.error is None and call.due + call.took < begin + seconds]
        return len(done) / seconds

    def of(self, since: float, before: float, *kinds: str) -> list[Call]:
        return [call for call in list(self.calls) if since <= call.due < before and call.kind in kinds]

    async def hang_up(self) -> None:
        if self.closing:
            await asyncio.wait(self.closing)
        for channel, _ in self.ring:
            await channel.close()

    def stop(self) -> None:
        self.wait(self.hang_up(), 30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
