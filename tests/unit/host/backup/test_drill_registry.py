"""The container of a drill's registry."""

from __future__ import annotations

from pathlib import Path

from wharfinger.host.backup.drill_registry import registry_definition
from wharfinger.host.rollout.specification import read


def test_it_reads_only_what_was_restored_and_knows_no_secret() -> None:
    spec = read(
        {
            "kind": "registry",
            "image": "sha256:1",
            "user": "64500:64500",
            "port": 5000,
            "command": ["serve", "/etc/distribution/config.yml"],
            "environment": {"REGISTRY_STORAGE_S3_SECRETKEY": "secret"},
            "files": {"config.yml": "http: {secret: a secret}"},
            "files_target": "/etc/distribution",
            "mounts": [{"source": "/data", "target": "/var/lib/registry", "read_only": False}],
            "health": {"command": ["/registry", "healthcheck"]},
        }
    )
    body = registry_definition(spec, {"a": "b"}, Path("/restored"), Path("/conf"), Path("/run/d"))
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert "NetworkingConfig" not in body
    assert [
        (mount["Source"], mount["Target"], mount["ReadOnly"])
        for mount in body["HostConfig"]["Mounts"]
    ] == [
        ("/restored", "/var/lib/registry", True),
        ("/conf", "/etc/distribution", True),
        ("/run/d", "/run/drill", False),
    ]
    assert body["Cmd"] == ["serve", "/etc/distribution/config.yml"]
    assert body["Labels"] == {"a": "b", "wharfinger.kind": "drill"}
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert "secret" not in str(body)
