"""What the cases of the guides stand on: a decorator that numbers them, a server with the settings that a case asks for, expected errors.

A case is a function whose name begins with its number, `case_1_023_…` (part 1, case 23), with one argument, the `Server`. Cases that are known
not to hold stand in `open.toml` with the reason; they are run all the same, and one that holds must leave that list, unless its reason says
that it does so at times.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import time
import tomllib
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from pymilvus import MilvusClient, MilvusException, connections

HERE = pathlib.Path(__file__).parent
BINARY = pathlib.Path(os.environ.get("RELEASE", HERE / "../../target/release")) / "redkite"
CASES: dict[str, Callable[[Server], None]] = {}
# How the reason of a case begins that holds at times.
NOW_AND_THEN = "now and then: "


def case(function: Callable[[Server], None]) -> Callable[[Server], None]:
    """Notes a case by its name: `case_1_023_what_holds` is case 1.23."""
    found = re.fullmatch(r"case_(\d)_(\d{3})([a-z]?)_\w+", function.__name__)
    if not found:
        raise ValueError(f"{function.__name__} has no number")
    number = f"{found[1]}.{int(found[2])}{found[3]}"
    if number in CASES:
        raise ValueError(f"there are two cases {number}")
    CASES[number] = function
    return function


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A standalone, with a data directory of its own."""

    def __init__(self, folder: pathlib.Path, settings: dict[str, str] | None = None, flags: tuple[str, ...] = ()) -> None:
        self.folder, self.settings, self.flags = folder, settings or {}, flags
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.metrics_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        listen = ["--listen", f"127.0.0.1:{self.port}", "--metrics-listen", f"127.0.0.1:{self.metrics_port}"]
        command = [str(BINARY), "run", "standalone", "--data-dir", str(self.folder / "data"), *listen, *self.flags]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.settings})
        until("the server serves or ends", 60, lambda: self.process.poll() is not None or self.get("/healthz").startswith("OK"))
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended: {(self.folder / 'log').read_text()[-2000:]}")
        return self

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def client(self, **options: Any) -> MilvusClient:
        return MilvusClient(self.uri, **options)

    def connect(self, alias: str = "default", **options: Any) -> None:
        """The connection that the calls of the ORM use."""
        if connections.has_connection(alias):
            connections.disconnect(alias)
        connections.connect(alias, host="127.0.0.1", port=str(self.port), **options)

    @contextlib.contextmanager
    def another(self, settings: dict[str, str] | None = None, flags: tuple[str, ...] = ()) -> Iterator[Server]:
        """One more server, with settings of its own (`REDKITE__COMMON__SECURITY__…`); it is gone after the block."""
        number = sum(1 for each in self.folder.iterdir() if each.name.startswith("another"))
        server = Server(self.folder / f"another-{number}", settings, flags)
        try:
            yield server.start()
        finally:
            server.kill()


def until(what: str, seconds: float, check: Callable[[], Any]) -> None:
    """Waits until `check()` is true; what it raises counts as not yet."""
    begin, last = time.monotonic(), None
    while True:
        try:
            if check():
                return
        except Exception as error:  # not yet
            last = error
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"{what}: not within {seconds} s ({last})")
        time.sleep(0.05)


def equal(found: Any, expected: Any, what: str = "") -> None:
    if found != expected:
        raise AssertionError(f"{what or 'the value'} is {found!r}, expected {expected!r}")


def holds(is_so: Any, what: str) -> None:
    if not is_so:
        raise AssertionError(f"it does not hold that {what}")


@contextlib.contextmanager
def fails(text: str = "", code: int | tuple[int, ...] | None = None, kind: type[BaseException] = MilvusException) -> Iterator[None]:
    """The block raises `kind`, whose text has `text` and whose code is (one of) `code`."""
    try:
        yield
    except kind as error:
        codes = (code,) if isinstance(code, int) else code
        if text.lower() not in str(error).lower() or (codes and getattr(error, "code", None) not in codes):
            raise AssertionError(f"expected {text!r} with code {code}, got {type(error).__name__}: {error}") from error
    else:
        raise AssertionError(f"nothing failed, expected {kind.__name__} with {text!r}")


def run(folder: pathlib.Path, wanted: list[str], list_of_open: pathlib.Path = HERE / "open.toml", called: str = "guide") -> int:
    """Runs the cases that are named, or all; says each that fails. The number of those that are not as they should be."""
    known = tomllib.loads(list_of_open.read_text())
    wrong, held, begin = [], 0, time.monotonic()
    for unknown in sorted(set(known) - set(CASES)):
        wrong.append(f"{unknown} is in open.toml, and there is no such case")
    numbers = sorted(wanted or CASES, key=lambda number: [int(part) for part in re.findall(r"\d+", number)])
    server = Server(folder / "server").start()
    try:
        for done, number in enumerate(numbers, 1):
            function, since = CASES[number], time.monotonic()
            try:
                function(server)
                failure = None
            except Exception as error:
                failure = error
            finally:
                for alias, _ in connections.list_connections():
                    connections.disconnect(alias)
            took = time.monotonic() - since
            title = f"{number} {function.__name__[len('case_1_023_'):].replace('_', ' ').strip()}"
            if server.process is None or server.process.poll() is not None:
                wrong.append(f"{title}: the server ended")
                server = Server(folder / f"server-after-{number}").start()
            if failure is None and number in known and not known[number].startswith(NOW_AND_THEN):
                wrong.append(f"{title}: it holds, and is still in open.toml")
            elif failure is None:
                held += 1
            elif number not in known:
                wrong.append(f"{title}: {failure}")
                print("".join(traceback.format_exception(failure)), flush=True)
            if took > 5 or done % 25 == 0:
                print(f"  {done} of {len(numbers)}: {title}, {took:.1f} s", flush=True)
    finally:
        server.kill()
    for each in wrong:
        print(f"  {each}", flush=True)
    open_ones = len(set(known) & set(numbers))
    print(f"{called}: {held} cases hold, {open_ones} are open, {len(wrong)} are not as they should be, {time.monotonic() - begin:.0f} s", flush=True)
    return len(wrong)
