"""Nothing reads the containers' output, under load: dockerd hangs, or is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from faults import Bench

PIPE = 64 * 1024
# Sends NUMBER requests directly to the container at ADDRESS:PORT, without nginx. Each request makes
# a line in the container's log. Prints the number of answers.
ASK = r"""
import http.client, sys
address, port, path, number = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
connection = http.client.HTTPConnection(address, port, timeout=20)
answered = 0
for _ in range(number):
    connection.request("GET", path, headers={"X-Real-IP": "192.0.2.1"})
    answer = connection.getresponse()
    answer.read()
    answered += answer.status < 500
print(answered)
"""
READ = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
# Each request makes a line of at least 300 bytes.
PATHS = {"registry": f"/v2/{'n' * 200}/tags/list", "token_server": f"/auth?service={'s' * 250}"}
NUMBER = 3000
METRIC = "wharfinger_{}_log_lines_lost_total"


@contextmanager
def hanging(bench: Bench) -> Iterator[None]:
    process = bench.run("systemctl show --property MainPID --value docker")
    bench.run(f"kill -STOP {process}")
    try:
        yield
    finally:
        bench.run(f"kill -CONT {process}")


@contextmanager
def stopped(bench: Bench) -> Iterator[None]:
    bench.run("systemctl stop docker.socket docker.service")
    try:
        yield
    finally:
        bench.run("systemctl start docker.service")


def lost(bench: Bench, kind: str) -> float:
    """The number of log lines that the container has dropped."""
    metrics = bench.script(READ, f"http://127.0.0.1:9180/metrics/{kind}").splitlines()
    (line,) = [metric for metric in metrics if metric.startswith(METRIC.format(kind) + " ")]
    return float(line.split()[1])


@pytest.mark.parametrize(("state", "engine"), [("hanging", hanging), ("stopped", stopped)])
def test_nobody_waits_for_dockerd_to_read_a_log(
    bench: Bench, state: str, engine: Callable[[Bench], AbstractContextManager[None]]
) -> None:
    generations = bench.state()["kinds"]
    serving = {
        kind: next(
            generation
            for generation in generations[kind]["generations"]
            if generation["phase"] == "serving"
        )
        for kind in PATHS
    }
    before = {kind: lost(bench, kind) for kind in PATHS}
    name = f"dockerd is {state}"
    with bench.fault(name, returns="the containers go on"), engine(bench):
        for kind, generation in serving.items():
            arguments = [generation["address"], str(generation["port"]), PATHS[kind], str(NUMBER)]
            assert bench.script(ASK, *arguments).strip() == str(NUMBER)
            # Lines are dropped only after two pipes are full.
            assert (lost(bench, kind) - before[kind]) * 300 > 8 * PIPE
    assert bench.harm == []
    # docker reads again, and its log has all lines that are written from now on.
    word = f"since-{state}"
    for kind, path in (
        ("registry", f"/v2/{word}/tags/list"),
        ("token_server", f"/auth?service={word}"),
    ):
        generation = serving[kind]
        bench.script(ASK, generation["address"], str(generation["port"]), path, "1")
        read = f"docker logs --since 60s {bench.container(kind)} 2>&1 | grep --quiet {word}"
        bench.until(read)
