"""All decisions of docker_auth 1.14 in golden/decisions.json are made the same way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import json
import re
import socket
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import bcrypt
import jwt
import pytest
import uvloop
import yaml

from wharfinger.token_server import config, token_request
from wharfinger.token_server.app import Application
from wharfinger.token_server.issue import Issuer, decide
from wharfinger.token_server.server import http_server

GOLDEN = Path(__file__).resolve().parents[2] / "library/golden/decisions.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]
PASSWORD = "pw"


@cache
def password_hash() -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def rendered(case: dict[str, Any], **token: Any) -> str:
    """The case as a configuration file."""
    users = {
        name: dict(user) | ({"password": password_hash()} if name else {})
        for name, user in case["users"].items()
    }
    return yaml.safe_dump(
        {
            "server": {"addr": ":5001"},
            "token": {"issuer": "i", "expiration": 60, "certificate": "c", "key": "k"} | token,
            "users": users,
            "acl": case["acl"],
        }
    )


def query(question: dict[str, Any]) -> bytes:
    pairs = [("service", question["service"])]
    pairs += [("scope", scope) for scope in question["scopes"]]
    if question["account"] is not None:
        pairs.append(("account", question["account"]))
    return urlencode(pairs).encode()


def authorization(question: dict[str, Any]) -> str | None:
    if question["user"] is None:
        return None
    credentials = f"{question['user']}:{question['password']}"
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def answer(configuration: config.Configuration, question: dict[str, Any]) -> tuple[int, Any]:
    """Status and access from the pure parts, without HTTP, bcrypt and signatures."""
    try:
        request = token_request.read_request(query(question), None, authorization(question))
    except token_request.BadRequest:
        return 400, None
    user = configuration.users.get(request.account)
    if user is None or (user.password is not None and request.password != PASSWORD.encode()):
        return 401, None
    address = ipaddress.ip_address("127.0.0.1")
    answers = decide(configuration, request, user, address)
    return 200, [
        {"type": scope.type, "name": scope.name, "actions": list(given.actions)}
        for scope, given in zip(request.scopes, answers, strict=True)
    ]


def test_there_are_thousands_of_questions_as_docker_auth_answered_them() -> None:
    digest = hashlib.sha256(GOLDEN.read_bytes()).hexdigest()
    assert digest == "2c4952ee6af9cc01cda3e0b83a333f8b5b7c62b3d5890a9e76ca4c78de9df6e8"
    assert sum(len(case["questions"]) for case in CASES) == 4000


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_matcher_decides_as_docker_auth_did(number: int) -> None:
    case = CASES[number]
    configuration = config.load(rendered(case))
    different = [
        (question, mine)
        for question in case["questions"]
        if (mine := answer(configuration, question)) != (question["status"], question["access"])
    ]
    assert different == []


class Client:
    """Asks over one connection of a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, question: dict[str, Any]) -> tuple[int, Any]:
        """The status, and the access in the token."""
        header = authorization(question)
        lines = [b"GET /auth?" + query(question) + b" HTTP/1.1", b"Host: registry.example.com"]
        lines += [b"Authorization: " + header.encode()] if header else []
        self.writer.write(b"\r\n".join([*lines, b"", b""]))
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
        assert length is not None, head
        body = json.loads(await self.reader.readexactly(int(length[1])))
        status = int(head.split()[1])
        if status != 200:
            return status, None
        claims = jwt.decode(body["token"], options={"verify_signature": False})
        assert claims["sub"] == (question["user"] or "")
        assert claims["aud"] == question["service"]
        return 200, claims["access"]


async def answered(keys: Path) -> list[list[tuple[int, Any]]]:
    """A server's answers to the questions of each case, with that case's file."""
    token = {"certificate": str(keys / "signing.crt"), "key": str(keys / "signing.key")}
    listener = socket.create_server(("127.0.0.1", 0))
    answers = []
    application: Application | None = None

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        assert application is not None
        await application.asgi(scope, receive, send)

    # One server for all cases, because uvicorn takes a moment to end.
    dispatcher: Any = SimpleNamespace(asgi=handle)
    server = http_server(dispatcher)
    serving = asyncio.create_task(server.serve([listener]))
    client = Client(*await asyncio.open_connection(*listener.getsockname()))
    try:
        for case in CASES:
            issuer = Issuer(config.load(rendered(case, **token), check_keys=True))
            application = Application(issuer)
            answers.append([await client.ask(question) for question in case["questions"]])
            issuer.close()
        return answers
    finally:
        client.writer.close()
        server.should_exit = True
        await serving


def on_its_loop(work: Coroutine[Any, Any, list[list[tuple[int, Any]]]]) -> list[Any]:
    """Runs it in the server's kind of event loop: asyncio's own delays small packets here."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@pytest.mark.slow
def test_the_whole_server_answers_as_docker_auth_did(
    keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    different = [
        (question, mine)
        for case, answers in zip(CASES, on_its_loop(answered(keys)), strict=True)
        for question, mine in zip(case["questions"], answers, strict=True)
        if mine != (question["status"], question["access"])
    ]
    assert different == []
    # One line for each decision.
    assert len(capfd.readouterr().out.splitlines()) == 4000
