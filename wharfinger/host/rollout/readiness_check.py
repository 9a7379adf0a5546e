"""The readiness check of a generation before it serves: a real token, and a manifest read with it.

The check asks the containers at their own addresses, so nothing that serves is touched. A new
registry must answer as the one that serves does: on a host where verification has never pushed,
that is 'there is no such manifest' for an account that may read it.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ...deployment.fixed import VERIFICATION_ACCOUNT
from ...oci.media_types import OCI_IMAGE
from ..system import names, signing_keys
from ..system.context import Host
from ..system.files import read_text, sha256
from ..system.state import Generation, State
from .challenge import claims, error_words, granted, key_id
from .specification import Specification

ACCOUNT = VERIFICATION_ACCOUNT
REPOSITORY = f"{ACCOUNT}/probe"
TAG = "latest"
_TIMEOUT = 10


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a login by name and password (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass(frozen=True)
class _Serving:
    """A generation that serves, and what its specification says."""

    generation: Generation
    proof: Mapping[str, Any] | None
    live: Mapping[str, str]
    mounts: list[Any]


def not_ready_reason(
    host: Host, state: State, spec: Specification, generation: Generation
) -> str | None:
    """Why `generation`, which does not serve yet, fails the readiness check; None if it passes."""
    if spec.proof is None:
        return None
    password = (read_text(host.paths.verification_password) or "").strip()
    try:
        check = _token_server if spec.kind == names.TOKEN_SERVER else _registry
        check(host, state, spec, generation, password)
    except _Missing as problem:
        return str(problem)
    except (OSError, http.client.HTTPException) as problem:
        return f"no answer when a login was tried: {problem}"
    return None


class _Missing(Exception):
    """The reason why the readiness check fails."""


def _token_server(
    host: Host, state: State, spec: Specification, generation: Generation, password: str
) -> None:
    """Raises _Missing."""
    assert spec.proof is not None
    token = _token(host, generation, spec.proof, password)
    certificate = host.paths.certificates / "signing.crt"
    key = signing_keys.read(read_text(certificate) or "")
    if key is not None and key_id(token) != key.identifier:
        raise _Missing(f"its token is not signed with the key of {certificate}")
    registry = _serving(host, state, names.REGISTRY)
    bundle = sha256(host.paths.registry / "token_signing.pem")
    # A registry with another issuer or other trusted keys is about to be replaced: its answer says
    # nothing about this token.
    if (
        registry is None
        or registry.proof != spec.proof
        or registry.live.get("signing") not in (None, bundle)
    ):
        return
    try:
        status, body = _read_manifest(host, registry.generation, _bearer(token))
    except (OSError, http.client.HTTPException):
        return  # the registry is gone or broken, which is not this token server's fault
    if status not in (200, 404):
        raise _Missing(
            f"the registry that serves answers its token with {_answer_text(status, body)}"
        )


def _registry(
    host: Host, state: State, spec: Specification, generation: Generation, password: str
) -> None:
    """Raises _Missing."""
    assert spec.proof is not None
    login = basic(ACCOUNT, password)
    if spec.proof["auth"] == "token":
        token_server = _serving(host, state, names.TOKEN_SERVER)
        if token_server is None:
            return
        login = _bearer(_token(host, token_server.generation, spec.proof, password))
    status, body = _read_manifest(host, generation, login)
    if status not in (200, 404):
        raise _Missing(
            f"reading a manifest with a valid login is answered with {_answer_text(status, body)}"
        )
    serving = _serving(host, state, names.REGISTRY)
    if serving is None or serving.proof != spec.proof or serving.mounts != spec.mounts:
        return
    try:
        expected = _read_manifest(host, serving.generation, login)
    except (OSError, http.client.HTTPException):
        return  # the previous registry is gone or broken: that is why there is a new one
    if expected[0] == 200 and (status, body) != expected:
        raise _Missing(
            f"it answers {_answer_text(status, body)} where the registry that serves has a manifest"
        )


def _serving(host: Host, state: State, kind: str) -> _Serving | None:
    generation = state.kind(kind).serving
    if generation is None:
        return None
    text = read_text(host.paths.generations / kind / str(generation.number) / "spec.json")
    raw = json.loads(text) if text else {}
    return _Serving(
        generation, raw.get("proof"), raw.get("live") or {}, list(raw.get("mounts") or ())
    )


def _token(host: Host, generation: Generation, proof: Mapping[str, Any], password: str) -> str:
    query = urlencode({"service": proof["service"], "scope": f"repository:{REPOSITORY}:pull"})
    status, body = host.probe(
        generation.address,
        generation.port,
        f"/auth?{query}",
        _TIMEOUT,
        # docker_auth refuses a request without the header that nginx sets.
        {**basic(ACCOUNT, password), "X-Real-IP": "127.0.0.1"},
    )
    if status != 200:
        raise _Missing(
            f"the token server answers the verification's login with {_answer_text(status, body)}"
        )
    try:
        document = json.loads(body)
        token = str(document.get("token") or document["access_token"])
    except (ValueError, KeyError, AttributeError):
        raise _Missing("the token server's answer to a login holds no token") from None
    payload = claims(token) or {}
    if payload.get("iss") != proof["issuer"] or "pull" not in granted(payload, REPOSITORY):
        raise _Missing("the token server's token names another issuer or does not grant pull")
    return token


def _read_manifest(
    host: Host, generation: Generation, login: Mapping[str, str]
) -> tuple[int, bytes]:
    return host.probe(
        generation.address,
        generation.port,
        f"/v2/{REPOSITORY}/manifests/{TAG}",
        _TIMEOUT,
        {**login, "Accept": OCI_IMAGE},
    )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _answer_text(status: int, body: bytes) -> str:
    words = error_words(body)
    return f"{status}" + (f" {words}" if words else "")
