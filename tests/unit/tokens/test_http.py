"""The HTTP server itself, spoken to byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
import uvloop

from wharfinger.tokens import asgi
from wharfinger.tokens.asgi import Request, Response, Server


class House:
    """A server whose answers say what was asked, and a client's connection to it."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.refused: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.stop = asyncio.Event()
        self.server = Server(self.answer, lambda status, client: self.refused.append(status))
        self.port = 0

    async def answer(self, request: Request) -> Response:
        self.asked.append(request)
        await self.gate.wait()
        return Response(200, request.path.encode() + request.body, {"x-own": "yes"})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, data: bytes) -> bytes:
        """All that is answered until the server closes the connection."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def opened(drain: int = 5) -> AsyncIterator[House]:
    house = House()
    listener = socket.create_server(("127.0.0.1", 0))
    house.port = listener.getsockname()[1]
    serving = asyncio.create_task(house.server.serve(listener, house.stop, drain))
    try:
        yield house
    finally:
        house.stop.set()
        house.gate.set()
        await asyncio.wait_for(serving, 10)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def said(data: bytes) -> tuple[House, bytes]:
    async def conversation() -> tuple[House, bytes]:
        async with opened() as house:
            return house, await house.say(data)

    found: tuple[House, bytes] = run(conversation())
    return found


CLOSE = b"Connection: close\r\n"


def test_an_answer_has_what_http_asks_for() -> None:
    _, answer = said(b"GET /a?q=1 HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"/a"
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert re.fullmatch(r"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", lines.pop(1))
    assert lines[1:] == [
        *("content-type: application/json", "content-length: 2", "x-own: yes"),
        "connection: close",
    ]


def test_a_request_is_read_as_it_was_meant() -> None:
    house, _ = said(
        b"POST /a%20b?x=%41 HTTP/1.1\r\nHost: h\r\nX-Twice: first\r\nx-twice: second\r\n"
        b"Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n" + CLOSE + b"\r\n"
        b"3\r\nabc\r\n2;extension\r\nde\r\n0\r\nX-Late: no\r\nX-Twice: no\r\n\r\n"
    )
    (request,) = house.asked
    assert (request.method, request.path, request.query) == ("POST", "/a b", b"x=%41")
    assert request.body == b"abcde"
    assert request.headers[b"x-twice"] == b"first"
    assert b"x-late" not in request.headers
    assert request.client == "127.0.0.1"


def test_requests_in_one_go_are_answered_in_their_order() -> None:
    paths = [b"/%d" % number for number in range(50)]
    requests = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths)
    _, answer = said(requests + b"GET /end HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"\r\n\r\n(/[0-9a-z]+)", answer) == [*paths, b"/end"]


def test_a_client_that_does_not_read_is_not_answered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def greedy() -> int:
        async with opened() as house:
            house.server.handler = large(house)
            with socket.create_connection(("127.0.0.1", house.port)) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                with contextlib.suppress(TimeoutError):
                    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
                    await asyncio.wait_for(loop.sock_sendall(client, request * 100_000), 1.5)
                return len(house.asked)

    def large(house: House) -> Any:
        async def answer(request: Request) -> Response:
            house.asked.append(request)
            return Response(200, b"x" * 65536)

        return answer

    assert run(greedy()) < 1000


def test_the_connection_lasts_from_request_to_request() -> None:
    async def twice() -> list[bytes]:
        async with opened() as house:
            reader, writer = await house.connect()
            found = []
            for _ in range(2):
                writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
                found.append(await reader.readuntil(b"\r\n\r\n/a"))
            writer.close()
            return found

    assert b"connection" not in b"".join(run(twice())).lower()


@pytest.mark.parametrize("header", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_is_answered_and_closed(header: bytes) -> None:
    _, answer = said(b"GET /a HTTP/1.0\r\n" + header + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"connection: close\r\n\r\n/a")


def test_who_waits_for_leave_to_send_a_body_gets_it() -> None:
    async def conversation() -> bytes:
        async with opened() as house:
            reader, writer = await house.connect()
            writer.write(
                b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
            )
            leave = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"b")
            await reader.readuntil(b"\r\n\r\n/ab")
            writer.close()
            return leave

    assert run(conversation()) == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 400_000, 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, 413),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20,
            413,
        ),
    ],
)
def test_what_is_no_request_is_refused_told_and_closed(data: bytes, status: int) -> None:
    async def conversation() -> tuple[House, bytes]:
        async with opened() as house:
            reader, writer = await house.connect()
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return house, answer

    house, answer = run(conversation())
    assert house.asked == []
    assert house.refused == [status]
    assert answer.startswith(b"HTTP/1.1 %d " % status) or answer == b""


def test_nonsense_behind_a_request_takes_nothing_from_its_answer() -> None:
    house, answer = said(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"connection: close\r\n\r\n/a")
    assert house.refused == [400]


def test_another_protocol_is_not_spoken() -> None:
    house, answer = said(
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert [request.path for request in house.asked] == ["/a"]
    assert answer.count(b"HTTP/1.1") == 1


def test_a_slow_request_and_an_idle_connection_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEEP_ALIVE", "ARRIVAL"):
        monkeypatch.setattr(asgi, name, 0.1)

    async def conversation() -> tuple[bytes, bytes, bytes]:
        async with opened() as house:
            idle = await house.say(b"")
            slow = await house.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
            house.gate.clear()
            asyncio.get_running_loop().call_later(0.5, house.gate.set)
            waited = await house.say(b"GET /a HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
            return idle, slow, waited

    idle, slow, waited = run(conversation())
    assert idle == b""
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert waited.startswith(b"HTTP/1.1 200 ")


def test_who_does_not_read_the_answers_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARRIVAL",):
        monkeypatch.setattr(asgi, name, 0.1)

    async def conversation() -> bool:
        async with opened() as house:

            async def answer(request: Request) -> Response:
                house.asked.append(request)
                return Response(200, b"x" * 65536)

            house.server.handler = answer
            with socket.create_connection(("127.0.0.1", house.port)) as client:
                client.setblocking(False)
                client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 1000)
                while not house.asked or house.server.connections:
                    await asyncio.sleep(0.01)
            return len(house.asked) < 1000

    assert run(asyncio.wait_for(conversation(), 30))


def test_requests_that_wait_for_each_other_are_bounded() -> None:
    house, answer = said(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 150)
    assert len(house.asked) <= 1 + asgi.MOST_PIPELINED
    assert answer.count(b"HTTP/1.1 200 ") == len(house.asked)
    assert house.refused == [429]


def test_a_drip_of_bytes_does_not_make_a_request_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARRIVAL",):
        monkeypatch.setattr(asgi, name, 0.2)

    async def conversation() -> int:
        async with opened() as house:
            reader, writer = await house.connect()
            for number in range(100):
                writer.write(b"GET / HTTP/1.1\r\nX: "[number : number + 1] or b"x")
                await asyncio.sleep(0.02)
                if reader.at_eof() or reader._buffer:  # type: ignore[attr-defined]
                    return number
            return 100

    assert run(conversation()) < 60


def test_stopping_answers_what_is_under_way_and_closes_the_idle() -> None:
    async def conversation() -> tuple[bytes, bytes, bool]:
        async with opened() as house:
            idle_reader, idle_writer = await house.connect()
            house.gate.clear()
            busy = asyncio.create_task(house.say(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"))
            while not house.asked:
                await asyncio.sleep(0.01)
            house.stop.set()
            idle = await asyncio.wait_for(idle_reader.read(), 5)
            idle_writer.close()
            early = busy.done()
            house.gate.set()
            return idle, await busy, early

    idle, busy, early = run(conversation())
    assert idle == b""
    assert not early
    assert busy.endswith(b"connection: close\r\n\r\n/a")


def test_stopping_waits_no_longer_than_it_may() -> None:
    async def conversation() -> bytes:
        async with opened(drain=1) as house:
            house.gate.clear()
            busy = asyncio.create_task(house.say(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"))
            while not house.asked:
                await asyncio.sleep(0.01)
            house.stop.set()
            with contextlib.suppress(ConnectionError):
                return await busy
            return b""

    assert run(conversation()).startswith(b"HTTP/1.1 500 ")


def test_a_client_that_leaves_is_forgotten() -> None:
    async def conversation() -> int:
        async with opened() as house:
            house.gate.clear()
            _, writer = await house.connect()
            writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            while not house.asked:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while house.server.connections:
                await asyncio.sleep(0.01)
            house.gate.set()
            assert b"/b" in await house.say(b"GET /b HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
            return len(house.server.connections)

    assert run(conversation()) == 0
