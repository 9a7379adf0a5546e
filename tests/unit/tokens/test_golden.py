"""Everything that docker_auth 1.14 decided (tests/golden/decisions.json), decided the same way."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import jwt
import pytest
import yaml

from wharfinger.tokens import challenge, configuration
from wharfinger.tokens.decision import decide
from wharfinger.tokens.server import Application
from wharfinger.tokens.service import Service

from .conftest import call

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "decisions.json"
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


def answer(found: configuration.Configuration, question: dict[str, Any]) -> tuple[int, Any]:
    """Status and access by the pure parts, without HTTP, bcrypt and signatures."""
    try:
        request = challenge.read(query(question), None, authorization(question))
    except challenge.BadRequest:
        return 400, None
    user = found.users.get(request.account)
    if user is None or (user.password is not None and request.password != PASSWORD.encode()):
        return 401, None
    address = configuration.normal_address("127.0.0.1")
    assert address is not None
    answers = decide(found, request, user, address)
    return 200, [
        {"type": scope.type, "name": scope.name, "actions": list(given.actions)}
        for scope, given in zip(request.scopes, answers, strict=True)
    ]


def test_there_are_thousands_of_questions() -> None:
    assert sum(len(case["questions"]) for case in CASES) == 4000


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_matcher_decides_as_docker_auth_did(number: int) -> None:
    case = CASES[number]
    found = configuration.load(rendered(case))
    different = [
        (question, mine)
        for question in case["questions"]
        if (mine := answer(found, question)) != (question["status"], question["access"])
    ]
    assert different == []


async def ask(application: Application, question: dict[str, Any]) -> tuple[int, Any]:
    """Status and access by the whole application, as the HTTP server calls it."""
    header = authorization(question)
    headers = {"authorization": header} if header else {}
    status, body = await call(application, query(question), headers)
    if status != 200:
        return status, None
    claims = jwt.decode(body["token"], options={"verify_signature": False})
    assert claims["sub"] == (question["user"] or "")
    assert claims["aud"] == question["service"]
    return 200, claims["access"]


@pytest.mark.slow
def test_the_whole_server_answers_as_docker_auth_did(
    keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = {"certificate": str(keys / "signing.crt"), "key": str(keys / "signing.key")}

    async def different() -> list[Any]:
        found = []
        for case in CASES:
            service = Service(configuration.load(rendered(case, **token), check_keys=True))
            application = Application(service)
            for question in case["questions"]:
                mine = await ask(application, question)
                if mine != (question["status"], question["access"]):
                    found.append((question, mine))
            service.close()
        return found

    assert asyncio.run(different()) == []
    # One line for each decision.
    assert len(capsys.readouterr().out.splitlines()) == 4000
