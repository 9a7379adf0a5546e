"""Memory is used up, and no more files can be opened, under load."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from faults import Bench
from faults.bench import PATIENCE
from load.plays import PROJECT
from load.record import Attempt
from load.session import Unexpected
from support import hosts
from support.docker import Docker

MIB = 2**20


def large_manifest(bench: Bench) -> None:
    """Pushes a manifest of almost 4 MB, the limit: the registry reads it into memory. It does not
    matter whether the push succeeds."""
    session, attempt = bench.load.session(), Attempt()
    body = os.urandom(4 * MIB - 1024)
    with suppress(httpx.HTTPError, Unexpected):
        headers = session.authorization(attempt, "repository:load/memory:pull,push")
        headers["Content-Type"] = "application/json"
        path = "/v2/load/memory/manifests/t"
        session.request(attempt, "PUT", path, headers=headers, body=lambda: [body])
    session.close()


def many_scopes(bench: Bench) -> None:
    """Signs in for very many repositories at once. It does not matter whether that succeeds."""
    session = bench.load.session()
    names = " ".join(f"repository:load/{number}:pull,push" for number in range(300))
    with suppress(httpx.HTTPError, Unexpected):
        session.token(Attempt(), names)
    session.close()


@pytest.mark.parametrize(
    ("kind", "work"), [("registry", large_manifest), ("token_server", many_scopes)]
)
def test_the_memory_of_a_container(bench: Bench, kind: str, work: Callable[[Bench], None]) -> None:
    name, before = bench.container(kind), bench.inspected(kind)
    with bench.fault(f"no memory: {kind}", returns="the kernel kills it, docker starts it again"):
        used = float(bench.run(f"docker stats --no-stream --format '{{{{.MemPerc}}}}' {name}")[:-1])
        limit = int(before["HostConfig"]["Memory"] * used / 100) + 2 * MIB
        bench.run(f"docker update --memory {limit} --memory-swap {limit} {name}")
        try:
            with going_on(lambda: work(bench)):
                deadline = time.monotonic() + 180
                while restarts(bench, kind) == before["RestartCount"]:
                    assert time.monotonic() < deadline, "it was not killed"
                    time.sleep(0.2)
        finally:
            limit = before["HostConfig"]["Memory"]
            bench.run(f"docker update --memory {limit} --memory-swap {limit} {name}")
    # A client may or may not notice: the token server is back before most clients ask for a token.
    assert restarts(bench, kind) > before["RestartCount"]


@contextmanager
def going_on(work: Callable[[], None]) -> Iterator[None]:
    """Sixteen threads repeat the work while the body runs."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            work()

    with ThreadPoolExecutor(16) as pool:
        for _ in range(16):
            pool.submit(again)
        try:
            yield
        finally:
            over.set()


def restarts(bench: Bench, kind: str) -> int:
    """How often docker has restarted the container."""
    return int(bench.inspected(kind)["RestartCount"])


# As each process's own user: this root lacks CAP_SYS_RESOURCE and may not limit others' processes.
LIMIT = r"""
import os, resource, sys
from pathlib import Path

files, *processes = map(int, sys.argv[1:])
for process in processes:
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    child = os.fork()
    if child == 0:
        group, user = int(fields["Gid"].split()[0]), int(fields["Uid"].split()[0])
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (files, hard))
        print(soft)
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@contextmanager
def limited(bench: Bench, processes: Sequence[int], files: int) -> Iterator[None]:
    """Limits the files and connections of these processes, including those already open."""
    numbers = [str(process) for process in processes]
    before = set(bench.script(LIMIT, str(files), *numbers).split())
    try:
        yield
    finally:
        (soft,) = before
        bench.script(LIMIT, soft, *numbers)


@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_the_files_of_a_container(bench: Bench, kind: str) -> None:
    main = bench.inspected(kind)["State"]["Pid"]
    # pgrep fails if a process has no children, as here.
    processes = [main, *map(int, bench.run(f"pgrep --parent {main} || true").split())]
    returns = "by itself as soon as files can be opened"
    fault = f"no file handles: {kind}"
    with bench.fault(fault, returns=returns) as at, limited(bench, processes, 3):
        # Longer than clients wait: the token server answers waiting clients as soon as it can.
        time.sleep(PATIENCE + 2 if kind == "token_server" else 3)
        bench.fails_for_somebody(fault, at)
    assert bench.rows[-1].failed > 0
    assert bench.inspected(kind)["State"]["Pid"] == main


def test_the_files_of_nginx(bench: Bench) -> None:
    workers = [int(number) for number in bench.run("pgrep --parent $(cat /run/nginx.pid)").split()]
    returns = "by itself as soon as files can be opened"
    fault = "no file handles: nginx's workers"
    with bench.fault(fault, returns=returns) as at, limited(bench, workers, 12):
        time.sleep(3)
        bench.fails_for_somebody(fault, at)
    assert bench.rows[-1].failed > 0


def test_the_connections_of_nginx(bench: Bench) -> None:
    """A client opens connections and sends nothing."""
    address = hosts.variables("debian13")["ansible_host"]
    idle: list[socket.socket] = []
    returns = "by itself once they are closed"
    with bench.fault("2,000 silent connections to nginx", returns=returns):
        try:
            for _ in range(2000):
                with suppress(OSError):
                    idle.append(socket.create_connection((address, 443), 0.2))
            time.sleep(5)
        finally:
            for connection in idle:
                connection.close()
    assert len(idle) > 1600  # more than nginx's two workers accept


def test_half_sent_heads_to_nginx(bench: Bench) -> None:
    """One address begins 2,000 requests and ends none; when nginx closes one, it begins another."""
    address = hosts.variables("debian13")["ansible_host"]
    name = hosts.registry("debian13").name
    command = [sys.executable, str(PROJECT / "tests/library/support/half_sent.py"), address]
    command += ["80", "443", name, "2000"]
    docker = Docker(hosts.host("client"), hosts.registry("debian13"))
    with (
        bench.fault("2,000 half-sent heads to nginx", returns="-"),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker,
    ):
        try:
            assert attacker.stdout is not None
            deadline = time.monotonic() + 60
            # If nginx has no room for all of them, fewer are open at once.
            while int(attacker.stdout.readline()) < 1900 and time.monotonic() < deadline:
                pass
            assert docker.login("someuser").rc == 0
            image = docker.image("someuser/crowded")
            pushed = docker("push", image)
            assert pushed.rc == 0, pushed.stderr
            docker("image rm --force", image)
            pulled = docker("pull", image)
            assert pulled.rc == 0, pulled.stderr
            assert int(attacker.stdout.readline()) > 1000
        finally:
            attacker.kill()
    assert bench.harm == []
