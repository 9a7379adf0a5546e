"""docker_auth's configuration file: templates/docker_auth/auth_config.yml.j2 for a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger import templates
from wharfinger.access import Policy, compile_acl, compile_users

SERVERS = ("embedded", "cesanta")


def auth_config(
    policy: Policy,
    hashes: Mapping[str, str],
    *,
    issuer: str,
    certificate_path: str,
    key_path: str,
    expiration: int,
    addr: str,
    real_ip_header: str,
    server: str = "embedded",
    limits: Mapping[str, int] | None = None,
    previous: Mapping[str, Mapping[str, str]] | None = None,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """docker_auth's whole configuration file.

    `expiration` is in seconds, `addr` as Go writes it (`:5002`), `real_ip_header` the header that
    the proxy sets. `hashes`, `previous` and `digests` are as in compile_users. `server`, embedded
    or cesanta, reads the file; any other is a ValueError. Only the embedded server gets `limits`,
    `digests` and the limits of robots; the rest is the same for both.
    """
    if server not in SERVERS:
        raise ValueError(f"docker_auth_server: write one of {', '.join(SERVERS)}")
    return templates.read(
        "docker_auth/auth_config.yml.j2",
        addr=addr,
        real_ip_header=real_ip_header,
        issuer=issuer,
        expiration=expiration,
        certificate_path=certificate_path,
        key_path=key_path,
        users=compile_users(policy, hashes, previous, server, digests),
        acl=compile_acl(policy),
        limits=dict(limits) if limits and server == "embedded" else None,
    )
