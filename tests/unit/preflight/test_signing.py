"""A token server that cannot sign with the key that the host has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Said = Callable[..., list[str]]


def of(rotating: bool, **algorithms: str) -> dict[str, Any]:
    """A host with these keys, during a rotation or not."""
    certificates = {name: {"algorithm": algorithm} for name, algorithm in algorithms.items()}
    return {"certificates": certificates, "state": {"rotating": rotating}}


@pytest.mark.parametrize(
    "host",
    [
        of(True, signing="ES256"),
        of(True, signing="RS256", signing_next="ES256"),
    ],
)
def test_docker_auth_has_to_wait_for_the_end_of_a_rotation(errors: Said, host: Any) -> None:
    assert errors(host=host, docker_auth_server="cesanta") == [
        "docker_auth_server: is cesanta, which signs with RSA only, and a rotation of the signing "
        "key with an ES256 key in it is under way: run playbooks/rotate_certificates.yml, which "
        "ends it, then site.yml again, which rotates to RSA first"
    ]
    assert errors(host=host) == []
    everything = [{"who": "everyone", "may": "all", "on": "all"}]
    htpasswd = {"registry_auth": "htpasswd", "registry_access": everything}
    assert errors(host=host, docker_auth_server="cesanta", **htpasswd) == []
    assert errors(host=host, docker_auth_server="cesanta", scope="rotate") == []


@pytest.mark.parametrize(
    "host",
    [
        {},
        # The same run rotates to RSA.
        of(False, signing="ES256"),
        of(False, signing="RS256"),
        of(True, signing="RS256", signing_next="RS256"),
        of(True, signing="RS256"),
    ],
)
def test_docker_auth_need_not_wait(errors: Said, host: Any) -> None:
    assert errors(host=host, docker_auth_server="cesanta") == []
