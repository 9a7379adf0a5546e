"""Processes and connections, read from /proc: needs neither ss, ps nor iproute2."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_text

_LISTEN = "0A"
_ESTABLISHED = "01"
# Established, and both states of a handshake: a request may be in flight.
_LIVE = frozenset({_ESTABLISHED, "02", "03"})


@dataclass(frozen=True)
class Socket:
    """One line of /proc/net/tcp."""

    address: str
    port: int
    remote_address: str
    remote_port: int
    state: str
    inode: str


def sockets(proc: Path) -> list[Socket]:
    """Every TCP socket of this network namespace, IPv4 and IPv6."""
    sockets = []
    for name in ("tcp", "tcp6"):
        for line in (read_text(proc / "net" / name) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9:
                address, port = _endpoint(fields[1])
                remote, remote_port = _endpoint(fields[2])
                sockets.append(Socket(address, port, remote, remote_port, fields[3], fields[9]))
    return sockets


def _endpoint(text: str) -> tuple[str, int]:
    """`0100007F:0050` → ("127.0.0.1", 80). The kernel prints words in the machine's byte order."""
    digits, port = text.split(":")
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed), int(port, 16)
    if packed.startswith(b"\x00" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:]), int(port, 16)
    return socket.inet_ntop(socket.AF_INET6, packed), int(port, 16)


def connections(proc: Path, address: str, port: int) -> frozenset[int]:
    """This host's connections to address:port, each by its local port."""
    return frozenset(
        connection.port
        for connection in sockets(proc)
        if connection.remote_address == address
        and connection.remote_port == port
        and connection.state in _LIVE
    )


def clients(proc: Path, ports: Container[object]) -> int:
    """How many connections clients have to these ports of this host."""
    return sum(
        connection.port in ports and connection.state == _ESTABLISHED
        for connection in sockets(proc)
    )


def listeners(proc: Path) -> list[dict[str, Any]]:
    """Listening sockets: address, port, program and pid (None if they cannot be seen)."""
    listening = [listener for listener in sockets(proc) if listener.state == _LISTEN]
    owners = _owners(proc, {listener.inode for listener in listening})
    answer: list[dict[str, Any]] = []
    for listener in sorted(set(listening), key=lambda item: (item.port, item.address)):
        pid = owners.get(listener.inode)
        answer.append(
            {
                "address": listener.address,
                "port": listener.port,
                "program": None if pid is None else program(proc, pid),
                "pid": pid,
            }
        )
    return answer


def _owners(proc: Path, inodes: set[str]) -> dict[str, int]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[str, int] = {}
    # Oldest first: a server and its workers share a socket, and the server is named.
    for pid in sorted(process_ids(proc)):
        for target in _opened_by(proc, pid):
            inode = wanted.get(target)
            if inode is not None:
                owners.setdefault(inode, pid)
    return owners


def opened(proc: Path, processes: Iterable[int], files: Iterable[Path]) -> bool:
    """Whether one of these processes has one of these files open."""
    wanted = {str(path) for path in files}
    return any(target in wanted for pid in processes for target in _opened_by(proc, pid))


def _opened_by(proc: Path, pid: int) -> Iterator[str]:
    """What the process has open: paths, and `socket:[INODE]`. Nothing if it is gone, or if it is
    not ours to see. A descriptor that is closed meanwhile is left out."""
    folder = f"{proc}/{pid}/fd"
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208 (thousands of them: no Path each)
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")  # noqa: PTH115 (thousands, too)
        except OSError:
            continue
        yield target


def process_ids(proc: Path) -> Iterator[int]:
    for name in os.listdir(proc):  # noqa: PTH208 (only names are needed: no Path each)
        if name.isdecimal():
            yield int(name)


def program(proc: Path, pid: int) -> str | None:
    """The process's short name."""
    text = read_text(proc / str(pid) / "comm")
    return None if text is None else text.strip()


def command_line(proc: Path, pid: int) -> str:
    """The command line of the process, as it shows it; "" if it is gone."""
    return (read_text(proc / str(pid) / "cmdline") or "").replace("\0", " ").strip()


def words(proc: Path, pid: int) -> list[str]:
    """The program that the process runs, and its arguments; [] if it is gone."""
    text = read_text(proc / str(pid) / "cmdline") or ""
    return text.removesuffix("\0").split("\0") if text else []


def is_the_hosts(proc: Path, pid: int) -> bool:
    """Whether this is a process of root, outside of containers."""
    try:
        process = proc / str(pid)
        own = (process / "ns/pid").readlink() == (proc / "self/ns/pid").readlink()
        return own and process.stat().st_uid == 0
    except OSError:
        return False


def age(proc: Path, pid: int) -> float:
    """Seconds since the start of the process; 0 if it is gone."""
    facts = parent_and_start(proc, pid)
    uptime = (read_text(proc / "uptime") or "0").split()[0]
    return 0.0 if facts is None else float(uptime) - facts[1] / os.sysconf("SC_CLK_TCK")


def is_running(proc: Path, name: str) -> bool:
    """Whether there is a process with this short name."""
    return any(program(proc, pid) == name for pid in process_ids(proc))


def parent_and_start(proc: Path, pid: int) -> tuple[int, int] | None:
    """A process's parent and start time (kernel ticks since boot); None if it is gone."""
    text = read_text(proc / str(pid) / "stat")
    if text is None:
        return None
    # The name in parentheses may contain anything, even parentheses.
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return int(fields[1]), int(fields[19])


def children(proc: Path, parent: int) -> list[list[int]]:
    """The living children of a process, each as [pid, start time]."""
    processes = []
    for pid in process_ids(proc):
        facts = parent_and_start(proc, pid)
        if facts is not None and facts[0] == parent:
            processes.append([pid, facts[1]])
    return processes


def alive(proc: Path, processes: Iterable[list[int]]) -> list[list[int]]:
    """Those of `processes` that are still alive (same pid and same start time)."""
    living = []
    for pid, start in processes:
        facts = parent_and_start(proc, pid)
        if facts is not None and facts[1] == start:
            living.append([pid, start])
    return living


def routes(proc: Path) -> list[dict[str, str]]:
    """The IPv4 routes except default ones: destination (CIDR) and device."""
    routes = []
    for line in (read_text(proc / "net" / "route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] == "00000000":
            continue
        base = socket.inet_ntoa(struct.pack("=I", int(fields[1], 16)))
        mask = socket.inet_ntoa(struct.pack("=I", int(fields[7], 16)))
        network = ipaddress.IPv4Network(f"{base}/{mask}", strict=False)
        routes.append({"destination": str(network), "device": fields[0]})
    return routes


def addresses(proc: Path) -> list[str]:
    """This host's addresses, except loopback and IPv6 link-local ones."""
    addresses: list[str] = []
    last = ""
    for line in (read_text(proc / "net" / "fib_trie") or "").splitlines():
        text = line.strip()
        if text.startswith("|-- "):
            last = text[4:]
        elif text == "/32 host LOCAL" and not last.startswith("127.") and last not in addresses:
            addresses.append(last)
    for line in (read_text(proc / "net" / "if_inet6") or "").splitlines():
        digits = line.split()[0]
        address = ipaddress.IPv6Address(int(digits, 16))
        if not address.is_loopback and not address.is_link_local:
            addresses.append(str(address))
    return addresses


def primary_address() -> str | None:
    """The address that the default route uses. Connecting a UDP socket sends nothing."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((somewhere, 9))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return None


def is_own(address: str) -> bool:
    """Whether the address is this host's own: then the kernel also answers from it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.is_loopback:
        return True
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
            return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == parsed
        except OSError:
            return False
