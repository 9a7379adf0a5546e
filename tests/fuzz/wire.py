"""Any bytes on the token server's real socket: it answers HTTP or closes, and stays healthy."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from support.token_server import Running
from tests.fuzz import mutations
from tests.fuzz.targets import SECRET

STATUSES = frozenset((200, 400, 401, 404, 405, 413, 429, 431))
WORDS = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b": ", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0"),
    *(b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP/2.0", b"TRACE "),
    *(b"/auth", b"/auth/token", b"/healthz", b"/metrics", b"/..%2fauth", b"//auth", b"*", b"%00"),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"fffffffff\r\n",
        b"1;x=y\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Upgrade: websocket\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"X-Real-IP: 10.0.0.1\r\n",
        b"X-Real-IP: ::1%lo, x\r\n",
        b" folded",
    ),
    *(b"Authorization: Basic ", b"?scope=repository:a/b:pull", b"&service=s", b"\xff", b"\xc3\xa9"),
    *(b"http://evil.example/auth", b"X: " + b"y" * 2000 + b"\r\n", b"a=b&" * 300),
)
# The seconds that an answer may take after the client has sent everything. No answer takes nearly
# as long: only a forgotten connection is a failure.
PATIENCE = 60


@dataclass
class Outcome:
    """The result of a run."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    # The server process's resident kilobytes and open files, each before and after the run.
    memory: tuple[int, int] = (0, 0)
    files: tuple[int, int] = (0, 0)


def talk(port: int, data: bytes, rng: random.Random) -> bytes:
    """The server's answer to bytes sent in up to three pieces. It must then close."""
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 0, 1, 2))))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            # Read a complete answer, or give up after a moment: then the request was incomplete.
            connection.settimeout(0.15)
            while not whole(answer) and (received := connection.recv(65536)):
                answer += received
        except TimeoutError:
            pass
        except ConnectionError:
            return answer
        try:
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                # If the server has already closed the connection, there is nothing to end.
                connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65536):
                answer += received
        except ConnectionError:
            pass
        return answer


def whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(blank) and (length is None or len(body) >= int(length[1]))


def statuses(answer: bytes) -> list[str]:
    """The status of each answer in a connection's bytes. AssertionError if something is not one."""
    codes = []
    rest = answer
    while rest:
        head, blank, rest = rest.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]*", lines[0])
        assert status, f"no status line: {lines[0]!r}"
        assert blank or codes, "the head is cut off"
        code = int(status[1])
        codes.append(status[1].decode())
        if code == 100:
            continue
        assert code in STATUSES, f"status {code}"
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            assert colon and re.fullmatch(rb"[a-zA-Z-]+", name), f"no header: {line!r}"
            assert name.lower() not in headers or name.lower() == b"connection", line
            headers[name.lower()] = value.strip()
        length = int(headers.get(b"content-length", b"0"))
        if rest.startswith(b"HTTP/1.1 ") or not rest:
            # The answer to HEAD has no body, whatever its Content-Length says.
            continue
        body, rest = rest[:length], rest[length:]
        if headers.get(b"content-type") == b"application/json" and len(body) == length:
            json.loads(body)
    return codes


def run(server: Running, requests: Iterable[bytes], *, seed: int, clients: int = 16) -> Outcome:
    """Send them all, a few at once, and look at the server afterwards."""
    outcome = Outcome()
    begun = time.monotonic()
    process = Path(f"/proc/{server.process.pid}")
    for _ in range(50):
        server.health()
    before, files = memory(process), _open_files(process)

    numbered = enumerate(requests)
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number, data = next(numbered, (0, None))
            if data is None:
                return
            reason = None
            codes = Counter[str]()
            try:
                answer = talk(server.port, data, random.Random(f"{seed}:{number}"))
                codes.update(statuses(answer) or ["closed without an answer"])
            except (OSError, AssertionError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            with lock:
                outcome.requests += 1
                outcome.statuses += codes
                if reason:
                    outcome.failures.append((reason, data))

    with ThreadPoolExecutor(clients) as pool:
        for running in [pool.submit(client) for _ in range(clients)]:
            running.result()
    outcome.seconds = time.monotonic() - begun
    if server.health()["status"] != "ok":
        outcome.failures.append(("the server is not well afterwards", b""))
    outcome.memory = before, memory(process)
    outcome.files = files, _settled(process, files)
    for line in list(server.text):
        # Running.follow has already parsed each line as JSON.
        if '"event":"error"' in line or "Traceback" in line:
            outcome.failures.append((f"in the log: {line.strip()[:300]}", b""))
        # It may appear only as a user's name, if a mutation has moved the colon.
        if SECRET in line and SECRET in json.dumps(json.loads(line) | {"account": ""}):
            outcome.failures.append((f"a password in the log: {line.strip()[:300]}", b""))
    return outcome


def memory(process: Path) -> int:
    line = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
    return int(line[1]) if line else 0


def _open_files(process: Path) -> int:
    return sum(1 for _ in (process / "fd").iterdir())


def _settled(process: Path, expected: int) -> int:
    """How many files are open after the server has noticed that the connections ended."""
    end = time.monotonic() + 30
    while (count := _open_files(process)) > expected and time.monotonic() < end:
        time.sleep(0.05)
    return count


def conversations(seed: int, count: int | None = None) -> Iterable[bytes]:
    """All seeds, then `count` mutations of them, or endless ones."""
    originals = list(mutations.seeds("wire").values())
    yield from originals
    mutants = mutations.mutants(originals, WORDS, random.Random(f"wire:{seed}"))
    if count is None:
        yield from mutants
        return
    for _, data in zip(range(count), mutants, strict=False):
        yield data
