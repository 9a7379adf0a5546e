"""Whether the token server that is wanted can sign with the key that the host has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.system.signing_keys import SIGNS_WITH


def check_signing_key(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """A key of a kind that it cannot sign with is rotated by the same run, unless a rotation is
    under way: the tokens of two keys before are never waited for."""
    server = good.get("docker_auth_server")
    certificates = (host.certificates.signing, host.certificates.signing_next)
    algorithms = {certificate.algorithm for certificate in certificates if certificate}
    if (
        good.get("registry_auth") == "token"
        and server in SIGNS_WITH
        and host.state.rotating
        and algorithms - {"", *SIGNS_WITH[server]}
    ):
        report.error(
            "docker_auth_server",
            f"is {server}, which signs with RSA only, and a rotation of the signing key with an "
            "ES256 key in it is under way: run playbooks/rotate_certificates.yml, which ends it, "
            "then site.yml again, which rotates to RSA first",
        )
