"""How many tokens a second the token server gives, and what holds it up.

A server in a process of its own, by this environment's Python, on a real socket; clients in other
processes, on the same cores, each with one connection and one request after the other. All sides
of a comparison are measured in turn in one run:

- users who return (their passwords are remembered), alone; beside 50 clients that guess many
  accounts, so that bcrypt keeps the cores busy; beside 50 that guess one, and are refused at once
- users who log in for the first time, and bare bcrypt in as many threads as there are cores
- 10,000 users and 1,000 rules, and a reload of them

docker_auth pays bcrypt for every token: the rate of bare bcrypt is the most it could give here.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import itertools
import json
import multiprocessing
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from benchmarks.picture import Bar, bars

CLIENTS = 8
GUESSERS = 50
COSTS = (10, 11, 12)
MANY_USERS, MANY_RULES = 10_000, 1_000
# The next request of one client; None when the client is done.
Script = Callable[[], bytes | None]

_PROCESSES = multiprocessing.get_context("fork")


@dataclass
class Measured:
    """What clients saw: seconds for each answer, answers by status, seconds in total."""

    took: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    def __iadd__(self, other: Measured) -> Measured:
        self.took += other.took
        self.statuses += other.statuses
        self.seconds += other.seconds
        return self

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    def within(self, share: float) -> float:
        """Milliseconds within which this share of the answers arrived."""
        return sorted(self.took)[int(len(self.took) * share)] * 1000

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


# Clients


def request(user: str, password: str, number: int, address: str) -> bytes:
    """A login as dockerd sends it, through the proxy."""
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    scope = f"repository%3A{user}%2Fapp{number}%3Apull%2Cpush"
    return (
        f"GET /auth?account={user}&scope={scope}&service=registry.example.com HTTP/1.1\r\n"
        f"Host: registry.example.com\r\nX-Real-IP: {address}\r\nX-Forwarded-Proto: https\r\n"
        f"User-Agent: docker/29.1\r\nAuthorization: Basic {credentials}\r\n\r\n"
    ).encode()


def returning(number: int, password: str = "pw") -> Script:
    """Requests of one user, again and again, for five repositories in turn."""
    requests = itertools.cycle(
        [request(f"user{number}", password, scope, f"10.0.0.{number}") for scope in range(5)]
    )
    return lambda: next(requests)


def guessing(account: str, address: str) -> Script:
    """Guesses with a different password each time."""
    numbers = itertools.count()
    # Each round has its own process id: the server answers repeated guesses from memory.
    return lambda: request(account, f"guess {os.getpid()} {next(numbers)}", 1, address)


def once(requests: list[bytes]) -> Script:
    rest = iter(requests)
    return lambda: next(rest, None)


class Clients:
    """Clients that start now in their own process, for some seconds or until all are done."""

    def __init__(self, port: int, scripts: list[Script], seconds: float = 3600) -> None:
        self._receiver, sender = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_run, args=(port, scripts, seconds, sender))
        self._process.start()
        sender.close()

    def measured(self) -> Measured:
        measured: Measured = self._receiver.recv()
        self._process.join()
        return measured


def _run(port: int, scripts: list[Script], seconds: float, answer: Connection) -> None:
    """As fast as Python can be: sockets and epoll, nothing in between."""
    measured = Measured()
    poll = select.epoll()
    clients: dict[int, list[Any]] = {}
    begun = time.perf_counter()
    end = begun + seconds

    def send(client: list[Any]) -> None:
        data = client[1]()
        if data is None:
            poll.unregister(client[0])
            client[0].close()
            return
        client[2], client[3] = b"", time.perf_counter()
        client[0].sendall(data)

    for script in scripts:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(connection, select.EPOLLIN)
        clients[connection.fileno()] = client = [connection, script, b"", 0.0]
        send(client)
    while time.perf_counter() < end and any(client[0].fileno() >= 0 for client in clients.values()):
        for number, _ in poll.poll(0.1):
            client = clients[number]
            data = client[0].recv(65536)
            if not data:
                raise SystemExit("the server closed a connection")
            client[2] += data
            head, separator, body = client[2].partition(b"\r\n\r\n")
            if not separator:
                continue
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) < length:
                continue
            measured.took.append(time.perf_counter() - client[3])
            measured.statuses[int(head[9:12])] += 1
            send(client)
    measured.seconds = time.perf_counter() - begun
    answer.send(measured)


# The server


class Server:
    """A token server with these users and rules."""

    def __init__(self, folder: Path, name: str, users: dict[str, Any], rules: list[Any]) -> None:
        self.file = folder / f"{name}.yml"
        self.content = {
            "server": {"addr": "127.0.0.1:5001", "real_ip_header": "X-Real-IP", "real_ip_pos": -1},
            "token": {
                "issuer": "registry.example.com",
                "expiration": 300,
                "certificate": str(folder / "signing.crt"),
                "key": str(folder / "signing.key"),
            },
            "users": users,
            "acl": rules,
        }
        self.write()
        self.log = (folder / f"{name}.log").open("w+")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "wharfinger.token_server",
                "serve",
                str(self.file),
                "--port",
                "0",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
        )
        while not (started := self.events("start")):
            if self.process.poll() is not None:
                raise SystemExit(Path(self.log.name).read_text())
            time.sleep(0.05)
        self.port = int(started[0]["address"].rpartition(":")[2])

    def write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(yaml.dump(self.content, Dumper=yaml.CSafeDumper))
        new.rename(self.file)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = Path(self.log.name).read_text().splitlines()
        return [json.loads(line) for line in lines if f'"event":"{name}"' in line]

    def in_force(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz") as answer:
            digest: str = json.load(answer)["configuration"]
        return digest

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def serving(
    folder: Path, name: str, users: dict[str, Any], rules: list[Any] | None = None
) -> Iterator[Server]:
    server = Server(folder, name, users, rules or RULES)
    try:
        yield server
    finally:
        server.stop()


RULES = [
    {"match": {"account": "admin"}, "actions": ["*"]},
    {
        "match": {"account": "/.+/", "type": "repository", "name": "/^${account}(/[^/]+)+$/"},
        "actions": ["pull", "push"],
    },
]


def many_rules() -> list[Any]:
    """A thousand rules as the toolkit compiles them: some for a user, some for repositories."""
    rules = [
        {
            "match": {
                **({"account": f"user{n * 10}"} if n % 2 else {"labels": {"group": f"team{n}"}}),
                "type": "repository",
                "name": f"/^team{n}(/[^/]+)+$/",
            },
            "actions": ["pull", "push"],
        }
        for n in range(MANY_RULES - len(RULES))
    ]
    return [*rules, *RULES]


def make_key(folder: Path, algorithm: str = "ES256") -> None:
    """signing.key and signing.crt, for ES256 or RS256."""
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(65537, 2048)
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token signing")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "signing.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "signing.crt").write_bytes(certificate.public_bytes(pem))


# Measurements


@dataclass
class Row:
    """A line of the table."""

    what: str
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    ratio: str = ""
    aim: str = ""

    @classmethod
    def of(cls, what: str, measured: Measured, ratio: str = "", aim: str = "") -> Row:
        return cls(what, measured.rate, measured.within(0.5), measured.within(0.99), ratio, aim)

    def __str__(self) -> str:
        rate = "" if self.rate is None else f"{self.rate:,.0f}"
        p50, p99 = ("" if value is None else f"{value:.1f}" for value in (self.p50, self.p99))
        return f"| {self.what} | {rate} | {p50} | {p99} | {self.ratio} | {self.aim} |"


def progress(message: str) -> None:
    print(f"# {message}", file=sys.stderr, flush=True)


def beside_guessers(folder: Path, seconds: float, rounds: int) -> list[Row]:
    """Returning users, alone and beside clients that guess."""
    users = {
        f"user{n}": {"password": hashed(COSTS[n % len(COSTS)])} for n in range(CLIENTS + GUESSERS)
    }
    users["victim"] = {"password": hashed(4)}
    ours = [returning(n) for n in range(CLIENTS)]
    accounts = [f"user{CLIENTS + n}" for n in range(GUESSERS)]
    addresses = [f"10.1.0.{n}" for n in range(GUESSERS)]
    many = [guessing(*pair) for pair in zip(accounts, addresses, strict=True)]
    single = [guessing("victim", address) for address in addresses]
    alone, beside_many, beside_one = Measured(), Measured(), Measured()
    guesses = {"many": Measured(), "one": Measured()}
    with serving(folder, "guessed", users) as server:
        Clients(server.port, ours, 2).measured()
        # Until the account reaches its limit.
        for _ in range(30):
            if Clients(server.port, single, 1).measured().statuses[429] > 100:
                break
        for number in range(rounds):
            progress(f"returning users, round {number + 1} of {rounds}")
            alone += Clients(server.port, ours, seconds).measured()
            for scripts, name, measured in (
                (many, "many", beside_many),
                (single, "one", beside_one),
            ):
                guessers = Clients(server.port, scripts, seconds + 1)
                time.sleep(0.5)
                measured += Clients(server.port, ours, seconds).measured()
                guesses[name] += guessers.measured()
    for measured in (alone, beside_many, beside_one):
        if measured.failed:
            raise SystemExit(f"returning users were refused: {measured.statuses}")
    base = alone.within(0.99)
    refused = guesses["one"]
    return [
        Row.of(f"returning users, {CLIENTS} clients", alone, "", "1,000/s, p99 under 30 ms"),
        Row.of(
            f"the same beside {GUESSERS} clients guessing at {GUESSERS} accounts (bcrypt)",
            beside_many,
            f"p99 {beside_many.within(0.99) / base:.2f} × alone",
            "at most 2 ×",
        ),
        Row.of(
            f"the same beside {GUESSERS} clients guessing at one (refused at once)",
            beside_one,
            f"p99 {beside_one.within(0.99) / base:.2f} × alone",
            "at most 2 ×",
        ),
        Row.of("these refusals", refused, f"{refused.statuses[429] / len(refused.took):.0%} 429"),
    ]


def hashed(cost: int) -> str:
    return bcrypt.hashpw(b"pw", bcrypt.gensalt(cost)).decode()


def bare_bcrypt(stored: str, count: int) -> float:
    """Seconds that this many comparisons with a hash take, in as many threads as cores."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        assert all(pool.map(lambda _: bcrypt.checkpw(b"pw", stored.encode()), range(count)))
    return time.perf_counter() - begun


def first_logins(folder: Path, rounds: int) -> list[Row]:
    """Users who log in for the first time, and the most that bcrypt itself allows."""
    cores = os.cpu_count() or 1
    count = 60 * cores
    progress(f"hashing {count} passwords")
    stored = hashed(10)
    users = {f"user{n}": {"password": stored} for n in range(count)}
    requests = [request(user, "pw", 1, f"10.2.0.{n % 250}") for n, user in enumerate(users)]
    bare, logins = 0.0, Measured()
    for number in range(rounds):
        progress(f"first logins, round {number + 1} of {rounds}")
        bare += bare_bcrypt(stored, count)
        with serving(folder, "first", users) as server:
            scripts = [once(requests[n::CLIENTS]) for n in range(CLIENTS)]
            logins += Clients(server.port, scripts).measured()
    if logins.failed:
        raise SystemExit(f"first logins were refused: {logins.statuses}")
    rate = count * rounds / bare
    return [
        Row(f"bare bcrypt of cost 10 in {cores} threads", rate),
        Row.of(
            f"first logins, {CLIENTS} clients",
            logins,
            f"{logins.rate / rate:.2f} × bare bcrypt",
            "at least 0.9 ×",
        ),
    ]


def many_users(folder: Path, seconds: float, rounds: int) -> list[Row]:
    """10,000 users and 1,000 rules compared with a few, and a reload of them."""
    stored = {cost: hashed(cost) for cost in COSTS}
    users = {
        f"user{n}": {
            "password": stored[COSTS[n % len(COSTS)]],
            "labels": {"group": [f"team{n % 100}", f"team{n % 7}"]},
        }
        for n in range(MANY_USERS)
    }
    few = {name: users[name] for name in (f"user{n}" for n in range(CLIENTS))}
    ours = [returning(n) for n in range(CLIENTS)]
    with_few, with_many = Measured(), Measured()
    with (
        serving(folder, "few", few) as small,
        serving(folder, "many", users, many_rules()) as large,
    ):
        for server in (small, large):
            Clients(server.port, ours, 2).measured()
        for number in range(rounds):
            progress(f"many users, round {number + 1} of {rounds}")
            with_few += Clients(small.port, ours, seconds).measured()
            with_many += Clients(large.port, ours, seconds).measured()
        progress("reload")
        reloads, during = [], Measured()
        for number in range(3):
            clients = Clients(large.port, ours, 4)
            time.sleep(0.5)
            users["user9"]["labels"]["group"].append(f"new{number}")
            before = large.in_force()
            large.write()
            begun = time.perf_counter()
            while large.in_force() == before:
                time.sleep(0.02)
            reloads.append(time.perf_counter() - begun)
            during += clients.measured()
        # Until the log has been written.
        time.sleep(0.1)
        work = [event["ms"] for event in large.events("reload")]
    for measured in (with_few, with_many):
        if measured.failed:
            raise SystemExit(f"returning users were refused: {measured.statuses}")
    name = f"{MANY_USERS:,} users and {MANY_RULES:,} rules"
    return [
        Row.of("returning users, 8 users and 2 rules", with_few),
        Row.of(
            f"returning users, {name}",
            with_many,
            f"{with_few.rate / with_many.rate:.2f} × as long a token",
            "at most 1.2 ×",
        ),
        Row.of(
            f"during three reloads of them: {max(work) / 1000:.2f} s the longest, "
            f"{max(reloads):.2f} s with noticing",
            during,
            f"{during.failed} failed",
            "under 1 s, 0 failed",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="in which they alternate (3)")
    parser.add_argument("--picture", type=Path, help="write the bars to this SVG file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_key(folder)
        rows = beside_guessers(folder, options.seconds, options.rounds)
        rows += first_logins(folder, options.rounds)
        rows += many_users(folder, options.seconds, options.rounds)
    print(f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, shared by server and clients;")
    print(f"Python {platform.python_version()}; ES256; bcrypt of cost 10 to 12.")
    print()
    print("| what | tokens/s | p50 ms | p99 ms | ratio | aim |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(row)
    if options.picture:
        by_name = {row.what: row.rate or 0.0 for row in rows}
        names = list(by_name)
        bars(
            options.picture,
            "Tokens a second, 8 clients",
            "tokens/s",
            [
                Bar("returning users", by_name[names[0]], 1000, True),
                Bar("beside 50 clients guessing (bcrypt)", by_name[names[1]], None, True),
                Bar("beside 50 clients refused at once", by_name[names[2]], None, True),
                Bar("10,000 users, 1,000 rules", by_name[names[7]], None, True),
                Bar("first logins", by_name[names[5]], None, True),
                Bar("bcrypt for every token: at most", by_name[names[4]]),
            ],
        )


if __name__ == "__main__":
    main()
