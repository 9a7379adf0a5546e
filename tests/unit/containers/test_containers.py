"""The definitions of the containers, docker_auth included, which no test here can run."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger import containers
from wharfinger.host.rollout import specification

PROOF = {"auth": "token", "issuer": "r.example", "service": "r.example"}


def token_server(server: str) -> dict[str, Any]:
    return containers.token_server(
        server=server,
        image="sha256:i",
        memory="256m",
        pids=128,
        proof=PROOF,
    )


def registry(**more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "image": "sha256:i",
        "made_by_toolkit": True,
        "configuration": "version: 0.1\n",
        "environment": {},
        "storage_path": "/srv/data",
        "memory": "512m",
        "pids": 256,
        "drain_timeout": 600,
        "proof": PROOF,
        **more,
    }
    return containers.registry(**settings)


def defined(raw: dict[str, Any]) -> dict[str, Any]:
    return specification.definition(
        specification.read(raw),
        labels={},
        network="wharfinger",
        address="172.31.255.242",
        files="/generation/files",
    )


def hashes_of(raw: dict[str, Any], *live: dict[str, str]) -> set[str]:
    """The hashes with one after the other live."""
    return {specification.read(raw).with_startup_inputs(inputs).hash for inputs in live}


ALL = [
    registry(),
    registry(made_by_toolkit=False),
    token_server("embedded"),
    token_server("cesanta"),
]


@pytest.mark.parametrize("raw", ALL)
def test_every_container_is_hardened_and_publishes_nothing(raw: dict[str, Any]) -> None:
    body = defined(raw)
    host = body["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"] == {"Name": "unless-stopped"}
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert not body["User"].startswith("0")
    assert "PortBindings" not in host
    assert "ExposedPorts" not in body


@pytest.mark.parametrize("raw", ALL)
def test_configuration_is_mounted_as_directories_read_only(raw: dict[str, Any]) -> None:
    written = [
        mount["Target"] for mount in defined(raw)["HostConfig"]["Mounts"] if not mount["ReadOnly"]
    ]
    assert written in ([], ["/var/lib/registry/docker"])


def test_docker_auth_gets_the_flags_without_which_it_does_not_start() -> None:
    body = defined(token_server("cesanta"))
    assert body["Cmd"] == ["--logtostderr", "--v=1", "/config/auth_config.yml"]
    assert body["Entrypoint"] is None
    assert body["Healthcheck"] is None
    assert body["HostConfig"]["Tmpfs"] == {"/tmp": "size=16m,mode=1777"}


def test_a_change_of_users_is_a_generation_of_docker_auth_but_not_of_the_embedded_server() -> None:
    def hashes(server: str) -> set[str]:
        return hashes_of(
            token_server(server), *({"configuration": digest} for digest in ("c1", "c2"))
        )

    assert len(hashes("cesanta")) == 2
    assert len(hashes("embedded")) == 1


def test_another_signing_certificate_is_another_generation_of_whoever_reads_it() -> None:
    keys = [{"signing": fingerprint} for fingerprint in ("s1", "s2")]
    assert len(hashes_of(registry(), *keys)) == 2
    assert len(hashes_of(registry(proof={**PROOF, "auth": "htpasswd"}), *keys)) == 1
    for server in ("cesanta", "embedded"):
        assert len(hashes_of(token_server(server), *keys)) == 2


def test_the_registrys_data_are_a_directory_that_only_the_right_disk_has() -> None:
    sources = {mount["Source"] for mount in defined(registry())["HostConfig"]["Mounts"]}
    assert "/srv/data/docker" in sources
    assert "/srv/data" not in sources


def test_the_official_image_is_asked_for_its_health_with_what_it_has() -> None:
    assert defined(registry(made_by_toolkit=False))["Healthcheck"]["Test"][:2] == ["CMD", "wget"]
    assert defined(registry())["Healthcheck"]["Test"] == ["CMD", "/registry", "healthcheck"]
