"""What a deployment says at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wharfinger import access


def closing_message(
    facts: dict[str, Any],
    passwords: dict[str, Any],
    sources: dict[str, str],
    inventory: dict[str, Any],
    auth: str,
    to_do: Sequence[str] = (),
) -> list[str]:
    """What the operator needs at the end: address, passwords, the CA's file, who may do what.

    passwords: what user_hashes answered; inventory: `users`, `robots`, `groups` and `access`;
    to_do: what the verification warns of.
    """
    users, robots = inventory["users"], inventory["robots"]
    lines = [
        f"Registry:        {facts['url']}",
        f"Log in with:     docker login {facts['address']}",
    ]
    generated = sorted(name for name, user in users.items() if not user)
    if generated:
        lines.append(f"Passwords:       {facts['credentials']}/NAME for {', '.join(generated)}")
    if robots:
        lines.append(f"Robots' secrets: {facts['credentials']}/NAME for {', '.join(robots)}")
    for name in passwords.get("kept", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: the host has a {what} that this controller does not; it "
            f"stays (a new one: {anew})"
        )
    for name in passwords.get("stale", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: {facts['credentials']}/{name} is not the {what} on the "
            f"host, which stays (a new one: {anew})"
        )
    for name in passwords.get("chosen", []):
        lines.append(
            f"                 {name}: its secret does not look like a generated one, so it counts "
            f"as a chosen password (a new one: {_renewal(name, robots)[1]})"
        )
    for name, secret in sorted(passwords.get("previous", {}).items()):
        lines.append(
            f"                 {name}: the secret before the present one is valid until "
            f"{secret['until']}"
        )
    for name in passwords.get("readmitted", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: is back, with the {what} in {facts['credentials']}/{name} "
            f"from before (a new one: {anew})"
        )
    for name in passwords.get("removed", []):
        lines.append(
            f"                 {name}: was removed, and {facts['credentials']}/{name} is still "
            "there: delete it, or the user, added again, has the old password"
        )
    if facts["ca"]:
        lines.append(f"Clients need:    {facts['ca']} as")
        lines.append(f"                 /etc/docker/certs.d/{facts['address']}/ca.crt")
    if sources:
        kinds = ", ".join(f"{kind} ({source})" for kind, source in sorted(sources.items()))
        lines.append(f"Images:          {kinds}")
    last = [f"Still to do:     {sentence}" for sentence in to_do]
    if auth == "htpasswd":
        return [*lines, "Who may do what: every user: everything", *last]
    policy = access.read_policy(users, inventory["groups"], inventory["access"], robots)
    return [*lines, "Who may do what:", *access.table(policy).splitlines(), *last]


def _renewal(name: str, robots: dict[str, Any]) -> tuple[str, str]:
    """What a generated password is called, and how another one is made."""
    if name in robots:
        return "secret", f"playbooks/rotate_robots.yml -e robot={name}"
    return "password", f"-e regenerate={name}"
