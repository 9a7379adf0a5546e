"""Whether the chosen token server can sign with the key that the host has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.system.signing_keys import SIGNS_WITH


def check_signing_key(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports a key that the token server cannot sign with, while a rotation is under way.

    Without a rotation the same run rotates such a key. During one it does not: a run never waits
    for the tokens of two former keys.
    """
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
