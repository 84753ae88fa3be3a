"""A relay of TCP connections that can be cut: then it still takes connections, and nothing comes through any more. Its targets can
be changed: then it is to its clients what a Service of Kubernetes is, one address for processes that come and go."""

from __future__ import annotations

import selectors
import socket
import threading


def place(target: str) -> tuple[str, int]:
    host, port = target.rsplit(":", 1)
    return host, int(port)


class Relay:
    """Listens on one port for each of `targets`, as `host:port`: on those of `ports`, else on free ones."""

    def __init__(self, targets: list[str], ports: list[int] | None = None) -> None:
        self.cut = threading.Event()
        self.selector = selectors.DefaultSelector()
        self.addresses: list[str] = []
        self.open: list[socket.socket] = []
        self.targets = [place(target) for target in targets]
        for number, own in enumerate(ports or [0] * len(targets)):
            server = socket.create_server(("127.0.0.1", own))
            self.addresses.append(f"127.0.0.1:{server.getsockname()[1]}")
            self.open.append(server)
            self.selector.register(server, selectors.EVENT_READ, (None, number))
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.ended.is_set():
            for key, _ in self.selector.select(0.1):
                peer, number = key.data
                try:
                    if peer is None:
                        self.accept(key.fileobj, self.targets[number])
                    else:
                        self.pass_on(key.fileobj, peer)
                except OSError:
                    self.close(key.fileobj, peer)

    def accept(self, server: socket.socket, target: tuple[str, int]) -> None:
        near, _ = server.accept()
        far = socket.create_connection(target, 2)
        for one, other in ((near, far), (far, near)):
            one.settimeout(5)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open.append(one)
            self.selector.register(one, selectors.EVENT_READ, (other, None))

    def pass_on(self, source: socket.socket, peer: socket.socket) -> None:
        data = source.recv(1 << 16)
        if self.cut.is_set():
            if not data:
                self.selector.unregister(source)
            return
        if not data:
            self.close(source, peer)
            return
        peer.sendall(data)

    def close(self, *sockets: socket.socket | None) -> None:
        for one in sockets:
            if one is None:
                continue
            try:
                self.selector.unregister(one)
            except (KeyError, ValueError):
                pass
            one.close()

    def lead_to(self, target: str, number: int = 0) -> None:
        """New connections go to this target from here on; those that there are stay where they are."""
        self.targets[number] = place(target)

    def stop(self) -> None:
        self.ended.set()
        self.thread.join(5)
        for one in self.open:
            one.close()
