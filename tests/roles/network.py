"""A network that belongs to the test: a namespace with a bridge, and one more namespace per process, whose links can be cut in
one direction or lose packets. It is gone with the process that made it.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

MARK = "REDKITE_TEST_NETWORK"


def enter() -> None:
    """Starts this program again in a namespace of network and mounts of its own; returns in it."""
    if os.environ.get(MARK):
        run("ip", "link", "set", "lo", "up")
        return
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("unshare", "nsenter", "ip", "iptables")):
        raise SystemExit("this needs root, and unshare, nsenter, ip and iptables")
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


class Network:
    """Hosts 10.77.0.2 and up on one bridge; the test itself is 10.77.0.1."""

    def __init__(self) -> None:
        self.hosts: dict[str, tuple[str, subprocess.Popen]] = {}
        run("ip", "link", "add", "bridge0", "type", "bridge")
        run("ip", "addr", "add", "10.77.0.1/24", "dev", "bridge0")
        run("ip", "link", "set", "bridge0", "up")
        bridged = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if bridged.exists():
            bridged.write_text("0")

    def address(self, name: str) -> str:
        """The address of a host, which is made if it is new."""
        if name not in self.hosts:
            number = len(self.hosts) + 2
            own = os.stat("/proc/self/ns/net").st_ino
            holder = subprocess.Popen(["unshare", "--net", "sleep", "100000"])
            space = f"/proc/{holder.pid}/ns/net"
            while os.stat(space).st_ino == own:  # until unshare has done it
                time.sleep(0.01)
            run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            run("ip", "link", "set", f"v{number}", "master", "bridge0", "up")
            self.hosts[name] = (f"10.77.0.{number}", holder)
            self.inside(name, "ip", "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self.inside(name, "ip", "link", "set", device, "up")
        return self.hosts[name][0]

    def command(self, name: str, command: list) -> list:
        self.address(name)
        return ["nsenter", f"--net=/proc/{self.hosts[name][1].pid}/ns/net", *command]

    def inside(self, name: str, *command: str) -> None:
        run(*self.command(name, list(command)))

    def deaf(self, name: str, others: list[str]) -> None:
        """`name` hears nothing of the others any more; they hear it."""
        for other in others:
            self.inside(name, "iptables", "-A", "INPUT", "-s", self.address(other), "-j", "DROP")

    def apart(self, some: list[str], others: list[str]) -> None:
        """Nothing passes between the two groups."""
        for one in some:
            self.deaf(one, others)
        for one in others:
            self.deaf(one, some)

    def lossy(self, share: float) -> None:
        """Every host loses this share of what comes from others."""
        for name in self.hosts:
            self.inside(name, "iptables", "-A", "INPUT", "!", "-i", "lo", "-m", "statistic", "--mode", "random",
                        "--probability", str(share), "-j", "DROP")

    def heal(self) -> int:
        """All links work again. Returns how many packets were lost on purpose."""
        lost = 0
        for name in self.hosts:
            shown = subprocess.run(self.command(name, ["iptables", "-L", "INPUT", "-n", "-v", "-x"]), capture_output=True, text=True)
            lost += sum(int(line.split()[0]) for line in shown.stdout.splitlines() if "DROP" in line)
            self.inside(name, "iptables", "-F", "INPUT")
        return lost

    def close(self) -> None:
        for _, holder in self.hosts.values():
            holder.kill()
            holder.wait()


class Loopback:
    """The usual place of processes: this machine's own address."""

    def address(self, _: str) -> str:
        return "127.0.0.1"

    def command(self, _: str, command: list) -> list:
        return command

    def close(self) -> None:
        pass
