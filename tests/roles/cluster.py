"""A cluster of Redkite's roles as processes of this machine, over a real etcd, a real S3 server and a log.

    cluster.py [--log object|kafka] [--proxies N] [--coords N] [--streaming N] [--query N] [--data N] -- COMMAND…

starts everything in a folder of its own, runs the command with URI (the first proxy) and URIS (all of them) in its
environment, ends everything it started, and exits as the command did. Only loopback addresses are used.

As a module: `with Cluster(...) as cluster:` and then `cluster.nodes["querynode-0"].kill()`, `cluster.start("querynode")`, …
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from between import Between
from network import Loopback

CACHE = pathlib.Path(os.environ.get("REDKITE_CACHE", pathlib.Path.home() / ".cache/redkite"))
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target")) / "release"
ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = {"proxies": "proxy", "coords": "mixcoord", "streaming": "streamingnode", "query": "querynode", "data": "datanode"}


GIVEN = set()


def free_port():
    """A port that nobody listens on and that was not given before; below those that outgoing connections take, so that none
    of them is in the way of a process that starts later."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def wait_for(what, seconds, check):
    """Until `check()` is true; whatever it raises counts as not yet."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            found = check()
            if found:
                return found
        except Exception as error:  # not there yet
            last = error
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not after {seconds} s ({last})")


def get(url, timeout=2):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


class Process:
    """One process that we started, with its log in a file."""

    def __init__(self, name, command, folder, environment=None, group=None):
        self.name, self.command, self.environment = name, [str(part) for part in command], environment or {}
        self.log, self.group = pathlib.Path(folder) / f"{name}.log", group
        self.popen = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.environment},
                preexec_fn=self.group and (lambda: self.group.write_text(str(os.getpid()))),
            )

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def kill(self):
        """As a crash: at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, seconds=60):
        """As a person would: SIGTERM, and SIGKILL only if that does not help. Returns whether it ended by itself."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Node(Process):
    """One role of Redkite."""

    def __init__(self, name, role, folder, environment, flags=(), where=None, group=None, binary=None):
        self.role, where = role, where or Loopback()
        self.port, self.metrics, self.internal = free_port(), free_port(), free_port()
        self.host, self.data = where.address(name), pathlib.Path(folder) / f"{name}.data"
        command = [
            binary or RELEASE / "redkite", "run", role, "--data-dir", self.data,
            "--listen", f"{self.host}:{self.port}", "--metrics-listen", f"{self.host}:{self.metrics}",
            "--internal-listen", f"{self.host}:{self.internal}", *flags,
        ]
        super().__init__(name, where.command(name, command), folder, environment, group)

    @property
    def uri(self):
        return f"http://{self.host}:{self.port}"

    def get(self, path, timeout=5):
        return get(f"http://{self.host}:{self.metrics}{path}", timeout)

    def figure(self, name):
        """The sum of a metric over its labels; 0 without any."""
        lines = [line for line in self.get("/metrics").splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def healthy(self):
        return self.get("/healthz").startswith("OK")

    def wait_healthy(self, seconds=60):
        def check():
            if not self.alive():
                raise RuntimeError(f"{self.name} ended:\n{self.tail()}")
            return self.healthy()

        try:
            wait_for(f"/healthz of {self.name}", seconds, check)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}") from None


class Cluster:
    """All of it. Ends what it started, whatever happens. With `between` the S3 server is reached through between.py; `where` is
    a network to put each process in; `roles` has settings for all nodes of a role."""

    def __init__(
        self, log="object", proxies=1, coords=1, streaming=1, query=1, data=1, environment=None, keep=False, between=False,
        where=None, roles=None,
    ):
        self.counts = dict(proxies=proxies, coords=coords, streaming=streaming, query=query, data=data)
        self.log, self.extra, self.keep, self.roles = log, environment or {}, keep, roles or {}
        self.is_between, self.between, self.where = between, None, where or Loopback()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="redkite-roles-"))
        self.binary = None  # another build for the nodes that are started from here on
        self.servers, self.nodes, self.numbers = {}, {}, {}

    def __enter__(self):
        try:
            self.start_etcd()
            self.start_store()
            if self.log == "kafka":
                self.start_kafka()
            for kind, role in ROLES.items():
                for _ in range(self.counts[kind]):
                    self.start(role, wait=False)
            for node in self.nodes.values():
                node.wait_healthy()
            return self
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __exit__(self, kind, *_):
        self.end_processes()
        self.where.close()
        if self.keep or (kind is not None and kind is not SystemExit):
            print(f"logs are in {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def end_processes(self):
        for process in [*self.nodes.values(), *self.servers.values()]:
            process.signal(signal.SIGCONT)
            if process.name == "kafka":
                process.stop()  # a script, which ends the server
            else:
                process.kill()

    def start_etcd(self, members=3):
        hosts = [self.where.address(f"etcd-{number}") for number in range(members)]
        clients, peers = ([f"{host}:{free_port()}" for host in hosts] for _ in range(2))
        all_peers = ",".join(f"m{number}=http://{peer}" for number, peer in enumerate(peers))
        for number, (client, peer) in enumerate(zip(clients, peers)):
            name = f"etcd-{number}"
            self.servers[name] = Process(name, self.where.command(name, [
                CACHE / "cluster-bin/etcd", "--name", f"m{number}", "--data-dir", self.folder / f"etcd-{number}",
                "--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}",
                "--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}",
                "--initial-cluster", all_peers, "--initial-cluster-state", "new", "--unsafe-no-fsync", "--logger", "zap",
            ]), self.folder)
        self.etcd = ",".join(clients)
        for client in clients:
            wait_for("etcd", 30, lambda: json.loads(get(f"http://{client}/health"))["health"] == "true")

    def start_store(self):
        host, port = self.where.address("store"), free_port()
        (self.folder / "store").mkdir(exist_ok=True)
        self.store = f"{host}:{port}"
        command = [CACHE / "cluster-bin/versitygw", "--port", self.store, "posix", self.folder / "store"]
        self.servers["store"] = Process(
            "store", self.where.command("store", command), self.folder,
            {"ROOT_ACCESS_KEY": "key", "ROOT_SECRET_KEY": "secret-of-the-test"},
        )

        def answers():
            with socket.create_connection((host, port), 1):
                return True

        wait_for("the S3 server", 30, answers)
        if self.is_between:
            control, front = free_port(), free_port()
            link = f"store=http:127.0.0.1:{front}:{self.store}"
            script = pathlib.Path(__file__).with_name("between.py")
            self.servers["between"] = Process("between", [sys.executable, script, control, link], self.folder)
            self.between, self.store = Between(control), f"127.0.0.1:{front}"

    def start_kafka(self):
        script = f'source "{ROOT}/scripts/env.sh"; source "{ROOT}/tests/kafka/start.sh"; start_kafka "{self.folder}/kafka"; ' \
                 'echo "$KAFKA_BROKERS $KAFKA_PID"; trap stop_kafka EXIT; trap "exit 0" TERM; while sleep 0.2; do :; done'
        (self.folder / "kafka").mkdir(exist_ok=True)
        server = Process("kafka", ["bash", "-c", script], self.folder)
        self.servers["kafka"] = server

        def brokers():
            lines = [line for line in server.log.read_text().splitlines() if line.startswith("127.0.0.1:")]
            return lines and lines[-1].split()[0]

        self.brokers = wait_for("Kafka", 120, brokers)

    def environment(self):
        settings = {
            "ETCD_ENDPOINTS": self.etcd, "MINIO_ADDRESS": self.store, "MINIO_ACCESS_KEY_ID": "key",
            "MINIO_SECRET_ACCESS_KEY": "secret-of-the-test", "MINIO_BUCKET_NAME": "things",
        }
        if self.log == "kafka":
            settings.update(MQ_TYPE="kafka", KAFKA_BROKER_LIST=self.brokers)
        return {**settings, **self.extra}

    def objects(self, under):
        """Files of the bucket whose key begins so, the S3 server's own ones left out."""
        return sorted(path for path in (self.folder / "store/things/files" / under).rglob("*") if path.is_file())

    def start(self, role, wait=True, environment=None, group=None):
        """One more node of a role."""
        number = self.numbers.get(role, 0)
        self.numbers[role] = number + 1
        name = f"{role}-{number}"
        settings = {**self.environment(), **self.roles.get(role, {}), **(environment or {})}
        node = Node(name, role, self.folder, settings, where=self.where, group=group, binary=self.binary)
        self.nodes[name] = node
        if wait:
            node.wait_healthy()
        return node

    def of(self, role):
        return [node for node in list(self.nodes.values()) if node.role == role and node.alive()]

    @property
    def uri(self):
        return self.of("proxy")[0].uri

    @property
    def uris(self):
        return [node.uri for node in self.of("proxy")]


def main():
    arguments = argparse.ArgumentParser(description="Runs a command against a cluster of roles.")
    arguments.add_argument("--log", choices=["object", "kafka"], default="object")
    for kind in ROLES:
        arguments.add_argument(f"--{kind}", type=int, default=1)
    arguments.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    arguments.add_argument("command", nargs=argparse.REMAINDER)
    given = arguments.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    shape = {kind: getattr(given, kind) for kind in ROLES}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Cluster(log=given.log, keep=given.keep, **shape) as cluster:
        environment = {**os.environ, "URI": cluster.uri, "URIS": " ".join(cluster.uris)}
        status = subprocess.call(command, env=environment)
        dead = [node for node in cluster.nodes.values() if not node.alive()]
        for node in dead:
            print(f"{node.name} ended by itself:\n{node.tail()}", file=sys.stderr)
        if status != 0:
            for node in cluster.nodes.values():
                print(f"--- {node.name}\n{node.tail(12)}", file=sys.stderr)
    sys.exit(1 if dead else status)


if __name__ == "__main__":
    main()
