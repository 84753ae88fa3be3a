"""A network that belongs to the test: a namespace with a bridge, and one more namespace per process, whose links can be cut in
one direction, lose packets or bring them in another order. It is gone with the process that made it.

    network.py delay     in that namespace: what `Network.reorder` runs; prints how many packets it held when it is ended
"""

from __future__ import annotations

import ctypes
import heapq
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

MARK = "REDKITE_TEST_NETWORK"
# One packet in sixteen is held, by the last bits of its number; what is sent on gets other ones, so that it is let through.
HELD, SENT_ON = 0x5, 0x6
LONGEST_S = 0.06  # how long a packet is held at most; what comes behind it passes it


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
        self.delayer: subprocess.Popen | None = None
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
            # Packets as they would be on a wire, so that each can be held by itself.
            self.inside(name, "ip", "link", "set", "eth0", "gso_max_segs", "1")
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

    def reorder(self) -> None:
        """Every host gets one packet in sixteen late, behind those that were sent after it. This kernel may have no `netem`: each host
        drops those packets, and a process of ours sends each on a little later."""
        self.delayer = subprocess.Popen([sys.executable, __file__, "delay"], stdout=subprocess.PIPE, text=True)
        self.delayer.stdout.readline()  # it listens
        for name in self.hosts:
            self.inside(name, "iptables", "-A", "INPUT", "!", "-i", "lo", "-p", "tcp", "-m", "u32", "--u32", f"2&0xF={HELD:#x}", "-j", "DROP")

    def in_order(self) -> int:
        """Nothing is held any more. Returns how many packets were late on purpose."""
        for name in self.hosts:
            self.inside(name, "iptables", "-F", "INPUT")
        self.delayer.send_signal(signal.SIGTERM)
        late = int(self.delayer.communicate(timeout=20)[0])
        self.delayer = None
        return late

    def heal(self) -> int:
        """All links work again. Returns how many packets were lost or late on purpose."""
        if self.delayer:
            return self.in_order()
        lost = 0
        for name in self.hosts:
            shown = subprocess.run(self.command(name, ["iptables", "-L", "INPUT", "-n", "-v", "-x"]), capture_output=True, text=True)
            lost += sum(int(line.split()[0]) for line in shown.stdout.splitlines() if "DROP" in line)
            self.inside(name, "iptables", "-F", "INPUT")
        return lost

    def close(self) -> None:
        if self.delayer:
            self.delayer.kill()
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


def folded(data: bytes, start: int = 0) -> int:
    """The checksum of the internet."""
    if len(data) % 2:
        data += b"\0"
    total = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def sent_on(frame: bytes) -> bytes:
    """The frame with another number, and the checksums that the kernel leaves to devices which these have not."""
    head = bytearray(frame)
    end = 14 + (head[14] & 0xF) * 4
    length = 14 + struct.unpack_from("!H", head, 16)[0]
    del head[length:]
    head[19] = head[19] & 0xF0 | SENT_ON
    head[24:26] = b"\0\0"
    struct.pack_into("!H", head, 24, folded(bytes(head[14:end])))
    head[end + 16 : end + 18] = b"\0\0"
    outer = sum(struct.unpack_from("!4H", head, 26)) + socket.IPPROTO_TCP + len(head) - end
    struct.pack_into("!H", head, end + 16, folded(bytes(head[end:]), outer))
    return bytes(head)


def delay() -> None:
    """Sends each packet that the hosts drop on, after a while of its own."""
    every = 0x0003  # ETH_P_ALL: only so are packets seen that a bridge passes on
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every))
    # IPv4, TCP, and a number that ends as wanted: the kernel shows us no others.
    code = [(0x28, 0, 0, 12), (0x15, 0, 6, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 4, 6), (0x28, 0, 0, 18), (0x54, 0, 0, 0xF), (0x15, 0, 1, HELD),
            (0x6, 0, 0, 0x40000), (0x6, 0, 0, 0)]
    program = b"".join(struct.pack("HBBI", *step) for step in code)
    buffer = ctypes.create_string_buffer(program)
    end.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(code), ctypes.addressof(buffer)))  # SO_ATTACH_FILTER
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    print("listens", flush=True)
    waiting: list[tuple[float, int, str, bytes]] = []
    late = 0
    while not ended or waiting:
        now = time.monotonic()
        while waiting and (waiting[0][0] <= now or ended):
            _, _, device, frame = heapq.heappop(waiting)
            try:
                end.sendto(sent_on(frame), (device, 0))
            except OSError:  # a host that is gone: lost
                continue
        ready, _, _ = select.select([end], [], [], 0.0 if ended else 0.002)
        if ready and not ended:
            frame, (device, _, kind, *_) = end.recvfrom(0x10000)
            if kind == socket.PACKET_OUTGOING and device.startswith("v"):
                late += 1
                heapq.heappush(waiting, (now + random.uniform(0.0, LONGEST_S), late, device, frame))
    print(late)


if __name__ == "__main__" and sys.argv[1:] == ["delay"]:
    delay()
