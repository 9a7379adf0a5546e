"""A running token server and a few hundred conversations. tests/fuzz/long.py has more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.token_server import Running, make_key, settings, started, stopped
from tests.fuzz import wire

COUNT = 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wire")
    make_key(folder)
    running = started(folder / "auth_config.yml", settings(folder))
    yield running
    stopped(running)


def test_the_server_answers_http_to_any_bytes_and_stays_as_it_was(server: Running) -> None:
    outcome = wire.run(server, wire.conversations(1, COUNT), seed=1)
    assert outcome.failures == []
    assert outcome.requests > COUNT
    assert {"200", "400", "401", "404", "405"} <= set(outcome.statuses)
    assert outcome.files[1] <= outcome.files[0]
    # What the server keeps for so few conversations is tiny compared with its own size.
    assert outcome.memory[1] < outcome.memory[0] + 50_000


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", "status 500"),
        (b"<html>", "no status line"),
        (b"HTTP/1.1 200 OK\r\nx: y\r\nx y\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodyHTTP/1.1 999 No\r\n\r\n", "status 999"),
    ],
)
def test_bytes_that_are_not_an_answer_are_a_failure(answer: bytes, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        wire.statuses(answer)


def test_answers_are_split_correctly() -> None:
    first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n"
    assert wire.statuses(first + head + first) == ["100", "200", "404", "100", "200"]


def test_a_secret_in_the_log_or_an_error_is_a_failure(server: Running) -> None:
    planted = [f'{{"event":"token","reason":"{wire.SECRET}"}}', '{"event":"error"}']
    server.text += planted
    outcome = wire.run(server, [], seed=1)
    del server.text[-2:]
    assert [reason.split(":")[0] for reason, _ in outcome.failures] == [
        "a password in the log",
        "in the log",
    ]
