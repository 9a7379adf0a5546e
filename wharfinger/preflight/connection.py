"""Why a host cannot be examined: the errors of SSH, sudo and Ansible, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# An error (a regular expression), the subject, and what to do. The first match counts. For the
# names in braces see `advice`; {0} is the expression's first group.
_ADVICE: tuple[tuple[str, str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed",
        "host, SSH",
        "the host key of {address} has changed. If the machine was reinstalled, run `ssh-keygen "
        "-R {known}`, connect once with `ssh {user}@{address}`, and compare the fingerprint; "
        "otherwise somebody may be intercepting the connection",
    ),
    (
        r"Host key verification failed",
        "host, SSH",
        "the host key of {address} is not known here: connect once with `ssh {user}@{address}`, "
        "compare the fingerprint that it shows, and answer yes",
    ),
    (
        r"Could not resolve hostname",
        "ansible_host",
        "{address} does not resolve on this machine: correct it in the inventory, "
        "or write the host's address",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "host, SSH",
        "{address} does not let {user} in: see that `ssh {user}@{address}` works from here, with "
        "ansible_user and ansible_ssh_private_key_file as they are in the inventory (or with -k, "
        "which asks for {user}'s password there)",
    ),
    (
        r"install the sshpass program",
        "ansible_password",
        "SSH takes a password only with sshpass: install it (apt install sshpass), or use a key",
    ),
    (
        r"Connection refused",
        "host, SSH",
        "nothing listens at port {port} of {address}: see that sshd runs there, and that "
        "ansible_port is right",
    ),
    (
        r"No route to host|Network is unreachable|Connection timed out|timed out",
        "host, SSH",
        "{address} cannot be reached: see that the machine is up, that ansible_host is right, and "
        "that no firewall is in between",
    ),
    (
        r"Failed to connect to the host via ssh",
        "host, SSH",
        "no connection to {address}: see that `ssh {user}@{address}` works from here",
    ),
    (
        r"Missing \S+ password|a password is required",
        "host, sudo",
        "it asks {user} for a password there: run the same command with -K (--ask-become-pass)",
    ),
    (
        # The last is that of ansible_connection: local.
        r"Incorrect \S+ password|incorrect password attempt|Duplicate become password prompt",
        "host, sudo",
        "it does not take this password: give -K the password that {user} has there",
    ),
    (
        r"(\S+) is not (?:in the sudoers file|allowed to run sudo|allowed to execute)",
        "host, sudo",
        "{0} may not use it there: as root, run `usermod --append --groups sudo {0}` there, "
        "or write an ansible_user who may",
    ),
    (
        r"you must have a tty to run sudo",
        "host, sudo",
        "it demands a terminal (requiretty): remove that from the host's sudoers, "
        "or run with ANSIBLE_PIPELINING=false",
    ),
    (
        r"sudo: unknown user:? (\S+)",
        "ansible_become_user",
        "{0} is not a user of the host: write root, or leave it out",
    ),
    (
        r"sudo: (?:command )?not found|sudo: No such file",
        "host, sudo",
        "it is not there: install it (as root: apt install sudo), or connect as root with "
        "ansible_user: root and ansible_become: false",
    ),
    (
        r"The module interpreter '([^']*)' was not found|(/\S*python\S*): (?:command )?not found",
        "host, Python",
        "{python} is not on the host, and Ansible needs Python there: {cure}",
    ),
    (
        r"minimum of Python version|SyntaxError|cannot import name",
        "host, Python",
        "it is too old there: use Debian 12 or 13, or Ubuntu 24.04, whose own /usr/bin/python3 is "
        "3.11 or newer",
    ),
)


def advice(said: str, variables: Mapping[str, Any], inventory: str) -> str | None:
    """One sentence, `SUBJECT: what is wrong: what to do`; None for an unknown error.

    said: the output of Ansible, ssh and sudo. variables: the host's; inventory_hostname and its
    ansible_… are used. With several hosts in the run, a second sentence says how to leave this one
    out. inventory: as it was given to ansible-playbook.
    """
    for pattern, subject, text in _ADVICE:
        match = re.search(pattern, said)
        if match is None:
            continue
        groups = [group for group in match.groups() if group] or [""]
        name = str(variables.get("inventory_hostname") or "the host")
        address = str(variables.get("ansible_host") or name)
        port = str(variables.get("ansible_port") or 22)
        logged_in = re.search(r"([^\s@]+)@\S+: Permission denied", said)
        chosen = variables.get("ansible_python_interpreter")
        filled = text.format(
            *groups,
            address=address,
            port=port,
            known=address if port == "22" else f"'[{address}]:{port}'",
            user=variables.get("ansible_user") or (logged_in[1] if logged_in else "the user"),
            python=groups[0],
            cure=f"correct ansible_python_interpreter, which is {chosen}"
            if chosen and not str(chosen).startswith("auto")
            else f"run `.venv/bin/ansible -i {inventory} {name} --become -m raw -a "
            "'apt-get update && apt-get install --yes python3'`",
        )
        several = len(variables.get("ansible_play_hosts_all") or ()) > 1
        without = f". To go on without this host: --limit '!{name}'" if several else ""
        return f"{subject}: {filled}{without}"
    return None
