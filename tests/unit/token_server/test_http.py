"""The HTTP server, tested with raw bytes."""

from __future__ import annotations

import asyncio
import re
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from support.token_server import Running
from wharfinger.token_server import server as tokens_server

CLOSE = b"Connection: close\r\n"


def say(server: Running, data: bytes) -> bytes:
    """Everything that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_requests_in_one_go_are_answered_in_their_order(server: Running) -> None:
    paths = [b"/healthz", b"/nothing"] * 20
    requests = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths)
    answer = say(server, requests + b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"404"] * 20 + [b"200"]


def test_an_answer_does_not_name_the_server_program(server: Running) -> None:
    answer = say(server, b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + CLOSE + b"\r\n")
    names = re.findall(rb"\r\n([a-z-]+):", answer)
    assert sorted(names) == [
        *(b"cache-control", b"connection", b"content-length", b"content-type", b"date")
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0",
    ],
)
def test_a_malformed_request_is_refused_and_logged_without_its_content(
    server: Running, data: bytes
) -> None:
    assert say(server, data).startswith(b"HTTP/1.1 400 ")
    message = "Invalid HTTP request received."
    assert server.wait_for("http")["message"] == message


def test_another_protocol_is_not_spoken(server: Running) -> None:
    answer = say(
        server,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_stopping_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_server, "DRAIN", 1)
    requested = asyncio.Event()

    async def never(scope: Any, receive: Any, send: Any) -> None:
        requested.set()
        await asyncio.Event().wait()

    async def conversation() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        application: Any = SimpleNamespace(asgi=never)
        http = tokens_server.http_server(application)
        serving = asyncio.create_task(http.serve([listener]))
        _, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        await requested.wait()
        http.should_exit = True
        await asyncio.wait_for(serving, 10)
        writer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(conversation())
