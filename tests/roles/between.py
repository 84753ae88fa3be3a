"""Stands between nodes and a server, and does what servers and ways to them do on bad days.

    between.py CONTROL_PORT NAME=http|tcp:HOST:PORT:TARGET_HOST:TARGET_PORT …

A process of its own, so that the load of a test does not slow it. It is told what to do by lines of JSON on the control port;
each answer has what was done so far, so that a test can prove that its fault happened. `Between` is the test's end of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>of the test</Message></Error>"


@dataclass
class Rules:
    """What happens on one link. Shares are of requests, 0 to 1."""

    unavailable: float = 0.0  # answered 503 instead of being passed on
    throttled: float = 0.0  # answered 429
    reset: float = 0.0  # the connection breaks; in half the cases after the server has done what was asked
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    silent: bool = False  # nothing passes, nothing breaks
    down: bool = False  # nobody listens


@dataclass
class Seen:
    """What was done."""

    requests: int = 0
    passed: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    puts: int = 0
    put_keys: int = 0

    def add(self, kind: str) -> None:
        self.injected[kind] = self.injected.get(kind, 0) + 1


class Link:
    def __init__(self, name: str, kind: str, at: tuple[str, int], target: tuple[str, int]) -> None:
        self.name, self.kind, self.at, self.target = name, kind, at, target
        self.rules, self.seen, self.keys = Rules(), Seen(), set()
        self.listener: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.may_pass = asyncio.Event()
        self.may_pass.set()
        self.random = random.Random(name)

    async def listen(self) -> None:
        self.listener = await asyncio.start_server(self.serve, *self.at, limit=1 << 20, backlog=512)

    async def apply(self, wanted: dict[str, Any]) -> None:
        self.rules = Rules(**wanted)
        if self.rules.silent:
            self.may_pass.clear()
        else:
            self.may_pass.set()
        if self.rules.down and self.listener:
            self.listener.close()
            self.listener = None
            for writer in list(self.writers):
                break_off(writer)
            self.seen.add("down")
        elif not self.rules.down and not self.listener:
            await self.listen()

    def show(self) -> dict[str, Any]:
        self.seen.put_keys = len(self.keys)
        return asdict(self.seen)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        back: asyncio.StreamWriter | None = None
        try:
            await self.may_pass.wait()
            source, back = await asyncio.open_connection(*self.target, limit=1 << 20)
            self.writers.add(back)
            if self.kind == "http":
                while await self.exchange(reader, writer, source, back):
                    pass
            else:
                await asyncio.gather(self.pump(reader, back), self.pump(source, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            for each in (writer, back):
                if each:
                    self.writers.discard(each)
                    each.close()

    async def pause(self) -> None:
        await self.may_pass.wait()
        rules = self.rules
        if rules.delay_ms:
            self.seen.add("delayed")
            await asyncio.sleep(max(0.0, rules.delay_ms + self.random.uniform(-rules.jitter_ms, rules.jitter_ms)) / 1000)
        await self.may_pass.wait()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self.pause()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def exchange(self, reader, writer, source, back) -> bool:
        """One request and its answer. Whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = head.split(b" ", 2)[:2]
        fields = fields_of(head)
        if b"100-continue" in fields.get(b"expect", b""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        body = await body_of(reader, fields)
        self.seen.requests += 1
        if method == b"PUT":
            self.seen.puts += 1
            self.keys.add(path)
        await self.pause()
        dice, rules = self.random.random(), self.rules
        if dice < rules.unavailable:
            return await self.refuse(writer, "503", b"503 Slow Down")
        if dice < rules.unavailable + rules.throttled:
            return await self.refuse(writer, "429", b"429 Too Many Requests")
        breaks = dice < rules.unavailable + rules.throttled + rules.reset
        if breaks and self.random.random() < 0.5:
            self.seen.add("reset before")
            break_off(writer)
            return False
        self.seen.passed += 1
        back.write(head + body)
        await back.drain()
        answer = await source.readuntil(b"\r\n\r\n")
        answered = fields_of(answer)
        nothing = method == b"HEAD" or answer.split(b" ", 2)[1][:3] in (b"204", b"304")
        rest = b"" if nothing else await body_of(source, answered)
        if breaks:
            self.seen.add("reset after")
            break_off(writer)
            return False
        await self.may_pass.wait()
        writer.write(answer + rest)
        await writer.drain()
        return b"close" not in answered.get(b"connection", b"") + fields.get(b"connection", b"")

    async def refuse(self, writer: asyncio.StreamWriter, kind: str, status: bytes) -> bool:
        self.seen.add(kind)
        writer.write(b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s" % (status, len(BUSY), BUSY))
        await writer.drain()
        return True


def fields_of(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


async def body_of(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    """The body as it was sent, with its chunk lines if it has some."""
    if fields.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(fields.get(b"content-length", 0)))
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        parts.append(line)
        size = int(line.split(b";")[0], 16)
        parts.append(await reader.readexactly(size + 2) if size else await reader.readuntil(b"\r\n"))
        if not size:
            return b"".join(parts)


def break_off(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a reset."""
    end = writer.get_extra_info("socket")
    if end is not None:
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()


async def work(control: int, links: dict[str, Link]) -> None:
    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            link = links[request["link"]]
            if "rules" in request:
                await link.apply(request["rules"])
            writer.write(json.dumps(link.show()).encode() + b"\n")
            await writer.drain()

    for link in links.values():
        await link.listen()
    async with await asyncio.start_server(told, "127.0.0.1", control) as server:
        await server.serve_forever()


class Between:
    """The test's end: says what is to happen, and hears what did."""

    def __init__(self, control: int) -> None:
        end = time.monotonic() + 20
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", control), 10)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rw")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.file.write(json.dumps(request) + "\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def rule(self, link: str, **rules: Any) -> dict[str, Any]:
        """From now on only these rules; none for a link that is well."""
        return self.ask({"link": link, "rules": rules})

    def seen(self, link: str) -> dict[str, Any]:
        return self.ask({"link": link})


def main() -> None:
    links = {}
    for text in sys.argv[2:]:
        name, _, rest = text.partition("=")
        kind, host, port, target, target_port = rest.split(":")
        links[name] = Link(name, kind, (host, int(port)), (target, int(target_port)))
    asyncio.run(work(int(sys.argv[1]), links))


if __name__ == "__main__":
    main()
