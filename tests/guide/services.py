"""An etcd and an S3 server of one process each, for the cases whose standalone keeps its data elsewhere."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

from harness import HERE, free_port, until

KEY, SECRET = "key", "secret-of-the-test"


def made(program: str) -> None:
    """Sees to it that the program is there; it is made once on each machine."""
    subprocess.run([str(HERE / "../cluster/build"), program], check=True, stdout=subprocess.DEVNULL)


def answers(url: str) -> bool:
    """Whether something speaks HTTP there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    return True


@contextlib.contextmanager
def ended(command: list[str], log: pathlib.Path, url: str, **environment: str) -> Iterator[None]:
    with open(log, "ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    try:
        until(f"{command[0]} answers", 30, lambda: answers(url))
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def etcd(folder: pathlib.Path, port: int | None = None) -> Iterator[str]:
    """One member of etcd; its address."""
    made("etcd")
    port, peer = port or free_port(), free_port()
    client, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    flags = [f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--name=one", f"--initial-cluster=one={other}"]
    flags += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    flags += [f"--listen-peer-urls={other}", f"--initial-advertise-peer-urls={other}"]
    with ended(["etcd", *flags], folder / "etcd.log", f"{client}/health"):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def bucket(folder: pathlib.Path, port: int | None = None) -> Iterator[str]:
    """An S3 server whose only user is `KEY` with `SECRET`; its address."""
    made("versitygw")
    port = port or free_port()
    (folder / "store").mkdir(exist_ok=True)
    command = ["versitygw", "--port", f"127.0.0.1:{port}", "posix", str(folder / "store")]
    with ended(command, folder / "store.log", f"http://127.0.0.1:{port}/", ROOT_ACCESS_KEY=KEY, ROOT_SECRET_KEY=SECRET):
        yield f"127.0.0.1:{port}"
