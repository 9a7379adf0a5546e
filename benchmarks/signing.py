"""Tokens a second with an ES256 key beside an RSA key, and beside bare bcrypt of cost 10.

Two token servers that differ in the key alone, each in a process of its own, on the same cores as
the 8 clients: users who return, with remembered passwords, and robots, whose secrets are generated.
Bare bcrypt, in as many threads as there are cores, is the most that docker_auth could give, which
pays it for every token. All are measured in turn, in so many rounds of one run. The processor time
that the server takes for a token is shown too: other work on the machine disturbs that little.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

# Imported only after sys.path is set, so that the project need not be installed.
from benchmarks.logins import (
    CLIENTS,
    Clients,
    Measured,
    Row,
    Server,
    bare_bcrypt,
    hashed,
    make_key,
    progress,
    returning,
    serving,
)
from wharfinger.generated import ROBOT_BYTES, make
from wharfinger.token_server.config.schema import DIGESTS

ALGORITHMS = ("RS256", "ES256")
# This many comparisons a round; two cores make 25 a second.
COMPARISONS = 20


@contextmanager
def server(folder: Path, algorithm: str, users: dict[str, Any]) -> Iterator[Server]:
    """A token server that signs with a key for this algorithm."""
    keys = folder / algorithm
    keys.mkdir()
    make_key(keys, algorithm)
    with serving(keys, "auth_config", users) as server:
        yield server


def processor(process: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, seconds: float, rounds: int) -> list[Row]:
    """The table's rows."""
    secrets = [make(ROBOT_BYTES) for _ in range(CLIENTS)]
    kinds = {
        "users, remembered passwords": [returning(n) for n in range(CLIENTS)],
        "robots": [returning(CLIENTS + n, secret) for n, secret in enumerate(secrets)],
    }
    stored = hashed(10)
    users: dict[str, Any] = {f"user{n}": {"password": stored} for n in range(CLIENTS)}
    for number, secret in enumerate(secrets):
        digest = hashlib.sha256(secret.encode()).hexdigest()
        robot = {"password": hashed(4), "labels": {DIGESTS: [digest]}}
        users[f"user{CLIENTS + number}"] = robot
    results = {(kind, algorithm): Measured() for kind in kinds for algorithm in ALGORITHMS}
    taken = dict.fromkeys(results, 0.0)
    bare = 0.0
    with ExitStack() as stack:
        servers = {
            algorithm: stack.enter_context(server(folder, algorithm, users))
            for algorithm in ALGORITHMS
        }
        for warm in servers.values():
            for scripts in kinds.values():
                Clients(warm.port, scripts, 2).measured()
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for kind, algorithm in results:
                server = servers[algorithm]
                before = processor(server.process.pid)
                results[kind, algorithm] += Clients(server.port, kinds[kind], seconds).measured()
                taken[kind, algorithm] += processor(server.process.pid) - before
            bare += bare_bcrypt(stored, COMPARISONS)
    if refused := sum(measured.failed for measured in results.values()):
        raise SystemExit(f"{refused} logins were refused")
    bcrypt = COMPARISONS * rounds / bare
    each = {key: taken[key] / len(results[key].took) for key in results}
    rows = []
    for (kind, algorithm), measured in results.items():
        what = f"{kind}, {algorithm} ({each[kind, algorithm] * 1e6:.0f} µs of processor time each)"
        ratio, aim = f"{measured.rate / bcrypt:.0f} × bcrypt", ""
        if algorithm == "ES256":
            rate = measured.rate / results[kind, "RS256"].rate
            time = each[kind, "RS256"] / each[kind, "ES256"]
            ratio += f"; {rate:.2f} × RS256, by processor time {time:.2f} ×"
            aim = "4 × RS256, 100 × bcrypt"
        rows.append(Row.of(what, measured, ratio, aim))
    rows.append(Row(f"bare bcrypt of cost 10, {os.cpu_count()} threads", bcrypt))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (2)")
    parser.add_argument("--rounds", type=int, default=10, help="in which they alternate (10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), options.seconds, options.rounds)
    print(f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, shared by servers and clients;")
    print(f"Python {platform.python_version()}; {CLIENTS} clients.")
    print()
    print("| what | tokens/s | p50 ms | p99 ms | ratio | aim |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
