"""The readiness check before a generation serves: its requests, and the answers that pass."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import SUBNET, Machine, host_of, spec
from wharfinger.host.commands import run
from wharfinger.host.rollout.readiness_check import ACCOUNT, REPOSITORY, basic
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError

PROOF = {"auth": "token", "issuer": "r.example", "service": "r.example"}
MANIFEST = b"the manifest"


def token(issuer: str = "r.example", actions: tuple[str, ...] = ("pull",)) -> str:
    def part(content: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    access = [{"type": "repository", "name": REPOSITORY, "actions": list(actions)}]
    return f"{part({'kid': 'k'})}.{part({'iss': issuer, 'access': access})}.signature"


class Answers:
    """What each address answers: the beginning of a path → status and body, or an exception."""

    def __init__(self) -> None:
        self.by_address: dict[str, dict[str, tuple[int, bytes] | Exception]] = {}
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []

    def __call__(
        self,
        address: str,
        port: int,
        path: str,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        self.requests.append((address, path, headers or {}))
        for start, answer in self.by_address.get(address, {}).items():
            if path.startswith(start):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return 401, b""

    def registry(self, address: str, status: int = 200, body: bytes = MANIFEST) -> None:
        self.by_address[address] = {f"/v2/{REPOSITORY}": (status, body)}

    def token_server(self, address: str, **more: Any) -> None:
        body = json.dumps({"token": token(**more)}).encode()
        self.by_address[address] = {"/auth": (200, body)}


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def host(tmp_path: Path, answers: Answers) -> Host:
    """A token server and a registry serve at 10.98.0.4 and .2; the next come to .5 and .3."""
    host = host_of(tmp_path, Machine())
    host.probe = answers
    run("prepare", {}, host=host)
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    answers.token_server("10.98.0.4")
    answers.registry("10.98.0.2")
    for kind in ("token_server", "registry"):
        run("ensure", {"spec": spec(tmp_path, kind=kind, proof=PROOF)}, host=host)
    answers.requests.clear()
    return host


def change(host: Host, kind: str, **more: Any) -> dict[str, Any]:
    folder = host.paths.etc.parent
    specification = spec(folder, kind=kind, **{"proof": PROOF, "environment": {"A": "1"}, **more})
    return run("ensure", {"spec": specification, "wait": 1}, host=host)


def refused(host: Host, kind: str, **more: Any) -> str:
    with pytest.raises(HostError) as caught:
        change(host, kind, **more)
    before, _, after = str(caught.value).partition("(")
    assert "keeps serving: it was not healthy within 1 s " in before
    return after.partition(").")[0]


def test_a_new_registry_is_read_with_a_real_token_at_its_own_address(
    host: Host, answers: Answers
) -> None:
    answers.registry("10.98.0.3")
    assert change(host, "registry")["generation"] == 2
    password = host.paths.verification_password.read_text().strip()
    headers_of = {
        (address, path.partition("?")[0]): headers for address, path, headers in answers.requests
    }
    login = headers_of["10.98.0.4", "/auth"]
    assert login["Authorization"] == basic(ACCOUNT, password)["Authorization"]
    assert login["X-Real-IP"] == "127.0.0.1"
    read = headers_of["10.98.0.3", f"/v2/{REPOSITORY}/manifests/latest"]
    assert read["Authorization"] == f"Bearer {token()}"


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (
            401,
            b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
            "reading a manifest with a valid login is answered with 401 UNAUTHORIZED: "
            "authentication required",
        ),
        (
            404,
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
            "it answers 404 MANIFEST_UNKNOWN: manifest unknown where the registry that serves has "
            "a manifest",
        ),
        (200, b"another", "it answers 200 where the registry that serves has a manifest"),
    ],
)
def test_a_new_registry_that_answers_otherwise_never_serves(
    host: Host, answers: Answers, status: int, body: bytes, text: str
) -> None:
    answers.registry("10.98.0.3", status, body)
    assert refused(host, "registry") == text


def test_a_missing_manifest_is_the_right_answer_if_nothing_was_ever_pushed(
    host: Host, answers: Answers
) -> None:
    answers.registry("10.98.0.2", 404, b"{}")
    answers.registry("10.98.0.3", 404, b"{}")
    assert change(host, "registry")["generation"] == 2


def test_a_registry_with_other_data_is_not_compared(
    host: Host, answers: Answers, tmp_path: Path
) -> None:
    answers.registry("10.98.0.3", 404, b"{}")
    mounts = [{"source": str(tmp_path), "target": "/data", "read_only": False}]
    assert change(host, "registry", mounts=mounts)["generation"] == 2


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"issuer": "someone else"},
            "the token server's token names another issuer or does not grant pull",
        ),
        (
            {"actions": ()},
            "the token server's token names another issuer or does not grant pull",
        ),
    ],
)
def test_a_token_server_with_a_useless_token_never_serves(
    host: Host, answers: Answers, more: dict[str, Any], text: str
) -> None:
    answers.token_server("10.98.0.5", **more)
    assert refused(host, "token_server") == text


def test_a_token_server_that_refuses_the_verification_never_serves(
    host: Host, answers: Answers
) -> None:
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}'
    answers.by_address["10.98.0.5"] = {"/auth": (401, body)}
    assert refused(host, "token_server") == (
        "the token server answers the verification's login with 401 UNAUTHORIZED: wrong user or "
        "password"
    )


def test_a_token_that_the_serving_registry_refuses_fails_the_check(
    host: Host, answers: Answers
) -> None:
    answers.token_server("10.98.0.5")
    answers.registry("10.98.0.2", 401, b"{}")
    assert refused(host, "token_server") == ("the registry that serves answers its token with 401")


def test_a_registry_that_is_gone_does_not_stop_a_new_token_server(
    host: Host, answers: Answers
) -> None:
    answers.token_server("10.98.0.5")
    answers.by_address["10.98.0.2"] = {"/": OSError(113, "No route to host")}
    assert change(host, "token_server")["generation"] == 2
