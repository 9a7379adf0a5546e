"""The containers' specifications for the host program. Pure: no Ansible, no I/O.

The keys are those of wharfinger/host/rollout/specification.py, which translates them for docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .deployment import host_files
from .deployment.fixed import (
    REGISTRY_DEBUG_PORT,
    REGISTRY_ID,
    REGISTRY_PORT,
    TOKEN_SERVER_ID,
    TOKEN_SERVER_PORT,
)
from .host.system.signing_keys import SIGNS_WITH, TRUSTS

# The paths of a host's live directories in the containers.
REGISTRY_LIVE = host_files.REGISTRY
TOKEN_SERVER_CONFIG = "/config"

_TMPFS = {"/tmp": "size=16m,mode=1777"}
# In seconds. The host program itself checks a generation that starts; docker checks it later on.
_PATIENCE = {"interval": 30, "timeout": 5, "retries": 3, "start_period": 30}


def registry(
    *,
    image: str,
    made_by_toolkit: bool,
    configuration: str,
    environment: Mapping[str, str],
    storage_path: str,
    memory: str,
    pids: int,
    drain_timeout: int,
    proof: Mapping[str, str],
) -> dict[str, Any]:
    """The registry's specification.

    image: an image id. made_by_toolkit: whether the toolkit builds this image, wherever it was
    pulled from; it has its own health check, the official one has wget. configuration: config.yml's
    text. memory: as docker writes it. drain_timeout: in seconds. proof: auth, issuer and service of
    the login that must succeed before the generation serves.
    """
    return {
        "kind": "registry",
        "image": image,
        "user": f"{REGISTRY_ID}:{REGISTRY_ID}",
        "command": ["serve", "/etc/distribution/config.yml"],
        "environment": dict(environment),
        "files": {"config.yml": configuration},
        "files_target": "/etc/distribution",
        "files_group": REGISTRY_ID,
        "mounts": [
            {"source": REGISTRY_LIVE, "target": REGISTRY_LIVE, "read_only": True},
            {
                "source": f"{storage_path}/docker",
                "target": "/var/lib/registry/docker",
                "read_only": False,
            },
        ],
        "tmpfs": _TMPFS,
        "memory": memory,
        "pids": pids,
        "health": {
            "command": ["/registry", "healthcheck"]
            if made_by_toolkit
            else [
                *("wget", "-q", "-O", "/dev/null"),
                f"http://127.0.0.1:{REGISTRY_DEBUG_PORT}/debug/health",
            ],
            **_PATIENCE,
        },
        "port": REGISTRY_PORT,
        # A healthy registry may ask for a login.
        "probe": {"path": "/v2/", "status": [200, 401]},
        # The signing certificates that it trusts. It reads them once, at its start.
        "live": ["signing"] if proof["auth"] == "token" else [],
        **({"algorithms": list(TRUSTS)} if proof["auth"] == "token" else {}),
        "proof": dict(proof),
        "stop_timeout": drain_timeout,
    }


def token_server(
    *,
    server: str,
    image: str,
    memory: str,
    pids: int,
    proof: Mapping[str, str],
) -> dict[str, Any]:
    """The token server's specification: `server` is embedded or cesanta (docker_auth 1.14).

    The embedded server reloads auth_config.yml by itself. docker_auth's own reload drops
    connections, so each change there is a new generation. proof: as for the registry.
    """
    specification = {
        "kind": "token_server",
        "image": image,
        "user": f"{TOKEN_SERVER_ID}:{TOKEN_SERVER_ID}",
        "mounts": [
            {"source": host_files.TOKEN_SERVER, "target": TOKEN_SERVER_CONFIG, "read_only": True}
        ],
        "tmpfs": _TMPFS,
        "memory": memory,
        "pids": pids,
        "port": TOKEN_SERVER_PORT,
        "stop_timeout": 30,
        # A rotation continues when every process with the previous key has ended.
        "live": ["signing"],
        "algorithms": list(SIGNS_WITH[server]),
        "proof": dict(proof),
    }
    file = f"{TOKEN_SERVER_CONFIG}/auth_config.yml"
    if server == "embedded":
        # The former name of wharfinger.token_server: a pulled image may be of an earlier release.
        python = ["/usr/bin/python3.13", "-m", "wharfinger.tokens"]
        return specification | {
            "command": ["serve", file],
            "health": {"command": [*python, "healthcheck", file], **_PATIENCE},
        }
    return specification | {
        # Without --logtostderr it logs to files below /tmp and, on a read-only root, does not
        # start. Never --v=3 or more: that logs Authorization headers and tokens.
        "command": ["--logtostderr", "--v=1", file],
        # Its image has no program for a health check; the check is whether it answers at all.
        "health": None,
        "live": ["signing", "configuration"],
    }
