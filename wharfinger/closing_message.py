"""The message at the end of a deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wharfinger import access

# A list in the answer of user_hashes → the sentence about each account in it.
_NOTES = {
    "kept": (
        "the host has a {what} that this controller lacks, and keeps it (for a new one: {renew})"
    ),
    "stale": "{file} is not the {what} on the host, which keeps its own (for a new one: {renew})",
    "from_backup": (
        "has the {what} of the backup, which this controller lacks: if it was changed since, the "
        "changed one is not valid (for a new one: {renew})"
    ),
    "newer": "{file} is not the {what} of the backup, and is the valid one",
    "chosen": (
        "its secret does not look like a generated one, so it counts as a chosen password (for a "
        "generated one: {renew})"
    ),
    "previous": "the previous secret is valid until {until}",
    "readmitted": "is back, with the earlier {what} in {file} (for a new one: {renew})",
    "removed": (
        "was removed, and {file} is still there: delete it, or the user, added again, has the old "
        "password"
    ),
}


def closing_message(
    facts: dict[str, Any],
    passwords: dict[str, Any],
    sources: dict[str, str],
    inventory: dict[str, Any],
    auth: str,
    to_do: Sequence[str] = (),
) -> list[str]:
    """What the operator needs at the end: address, passwords, the CA's file, the file with the
    password of the backups, who may do what.

    passwords: the answer of user_hashes. inventory: `users`, `robots`, `groups` and `access`.
    to_do: the warnings of the verification.
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
    lines += _notes(passwords, robots, facts["credentials"])
    if facts["ca"]:
        # Ansible's output breaks a long line at any single space: no word follows a path.
        lines.append(f"Clients need:    {facts['ca']}")
        lines.append(f"copied to:       /etc/docker/certs.d/{facts['address']}/ca.crt")
    if facts.get("backup_password_file"):
        lines.append(f"Backup password: {facts['backup_password_file']}")
        lines.append("                 keep a copy elsewhere: without it, no backup can be read")
    if sources:
        kinds = ", ".join(f"{kind} ({source})" for kind, source in sorted(sources.items()))
        lines.append(f"Images:          {kinds}")
    last = [f"Still to do:     {sentence}" for sentence in to_do]
    if auth == "htpasswd":
        return [*lines, "Who may do what: every user: everything", *last]
    policy = access.read_policy(users, inventory["groups"], inventory["access"], robots)
    return [*lines, "Who may do what:", *access.table(policy).splitlines(), *last]


def _notes(passwords: dict[str, Any], robots: dict[str, Any], folder: str) -> Iterator[str]:
    """The notes about single passwords and secrets."""
    previous = passwords.get("previous", {})
    names = {**passwords, "previous": sorted(previous)}
    for kind, sentence in _NOTES.items():
        for name in names.get(kind, ()):
            what, renew = _renewal(name, robots)
            until = previous.get(name, {}).get("until")
            words = sentence.format(what=what, renew=renew, file=f"{folder}/{name}", until=until)
            yield f"                 {name}: {words}"


def _renewal(name: str, robots: dict[str, Any]) -> tuple[str, str]:
    """`password` or `secret`, and the command that makes a new one."""
    if name in robots:
        return "secret", f"playbooks/rotate_robots.yml -e robot={name}"
    return "password", f"-e regenerate={name}"
