"""The log: it blocks nothing, never writes half a line, and counts the lines that it drops."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from support.token_server import PROJECT, Running, Start, basic, settings
from wharfinger.token_server import log

from .test_metrics import samples

KEPT = {"Wharfinger-Decision": "1"}
PIPE = 64 * 1024


class Pipe:
    """Standard output that takes `room` more bytes."""

    def __init__(self) -> None:
        self.room = 0
        self.taken = b""

    def write(self, data: bytes) -> int:
        taken = data[: self.room]
        if data and not taken:
            raise BlockingIOError
        self.taken += taken
        self.room -= len(taken)
        return len(taken)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    pipe = Pipe()
    monkeypatch.setattr(log, "_write", pipe.write)
    monkeypatch.setattr(log, "lost", 0)
    monkeypatch.setattr(log, "_torn", b"")
    return pipe


def test_a_full_pipe_drops_whole_lines(pipe: Pipe) -> None:
    log.write({"event": "dropped"})
    assert (log.lost, pipe.taken) == (1, b"")
    pipe.room = 10
    log.write({"event": "torn"})
    log.write({"event": "dropped"})
    assert log.lost == 2
    pipe.room = 10
    log.write({"event": "dropped"})
    assert log.lost == 3
    pipe.room = 1000
    log.write({"event": "last"})
    lines = pipe.taken.splitlines(keepends=True)
    assert [json.loads(line)["event"] for line in lines] == ["torn", "last"]
    assert log.lost == 3
    # Room for exactly one of two lines.
    pipe.room = len(lines[-1])
    log._lines.append(log.line({"event": "last"}) + "\n")
    log.write({"event": "dropped"})
    assert (log.lost, pipe.room, log._torn) == (4, 0, b"")


def test_a_log_that_nobody_reads_blocks_nothing(tmp_path: Path, keys: Path) -> None:
    """As with dockerd stopped: ten times the pipe's size is logged, and every answer comes."""
    file = tmp_path / "auth_config.yml"
    file.write_text(yaml.safe_dump(settings(keys)))
    process = subprocess.Popen(
        [sys.executable, "-m", "wharfinger.token_server", "serve", str(file), "--port", "0"],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        server = Running(process, file, int(address.rpartition(":")[2]))  # type: ignore[arg-type]
        connection = server.connect()
        service = "s" * 256
        for _ in range(10 * PIPE // 500):
            target = f"/auth?service={service}&scope=repository:a:pull"
            assert server.ask(target, connection=connection).status == 200
        assert samples(server)["log_lines_lost_total", ()] > 700
        # When somebody reads the log again, it goes on with whole lines.
        reader = threading.Thread(target=server.follow, daemon=True)
        reader.start()
        server.wait_for("token")
        lost = -1.0
        for _ in range(2):
            assert server.login("someuser", "someuser-pw").status == 200
            while server.wait_for("token")["account"] != "someuser":
                pass
            before, lost = lost, samples(server)["log_lines_lost_total", ()]
        assert lost == before
    finally:
        process.kill()
        process.wait()


def test_a_decision_that_the_proxy_keeps_is_only_in_the_answer(start: Start, keys: Path) -> None:
    server = start(settings(keys))
    decisions = []
    for password in ("someuser-pw", "wrong"):
        target = "/auth?service=reg&scope=repository:someuser/a:pull"
        answer = server.ask(target, KEPT | basic("someuser", password))
        decisions.append(json.loads(answer.headers["wharfinger-decision"]))
    answer = server.ask("/auth?scope=nonsense", KEPT)
    decisions.append(json.loads(answer.headers["wharfinger-decision"]))
    assert [(decision["result"], decision["number"]) for decision in decisions] == [
        *(("granted", 1), ("wrong_password", 2), ("malformed", 3))
    ]
    assert len({decision["process"] for decision in decisions}) == 1
    assert decisions[0]["granted"][0]["name"] == "someuser/a"
    # Without the header in the request, the decision is in the server's own log instead.
    assert "wharfinger-decision" not in server.login("someuser", "someuser-pw").headers
    server.wait_for("token")
    assert [event["event"] for event in server.log].count("token") == 1


def test_no_decision_is_too_long_for_the_head_of_an_answer(start: Start, keys: Path) -> None:
    """nginx reads 16 kB; an answer with a longer head would be a 502."""
    names = "&scope=".join(f"repository:{letter * 255}:pull,push,delete" for letter in "abcde")
    rules = [
        {
            "match": {"account": "someuser", "name": "/^(.+)$/"},
            "actions": ["*"],
            "comment": "rule " + "é" * 600,
        }
    ]
    server = start(settings(keys, acl=rules))
    odd = "%00" * 300
    for target in (f"/auth?service={odd}&scope={names}", f"/auth?service=x&scope={odd}:a:pull"):
        answer = server.ask(target, KEPT | basic("someuser", "someuser-pw"))
        line = answer.headers["wharfinger-decision"]
        assert json.loads(line)["result"] in ("granted", "malformed")
        assert len(line) <= 12_000
        assert line.isascii()
    cut = json.loads(
        server.ask(
            f"/auth?service=x&scope={names}", KEPT | basic("someuser", "someuser-pw")
        ).headers["wharfinger-decision"]
    )
    assert (cut["cut"], cut["account"], cut["scopes"]) == (True, "someuser", 5)
