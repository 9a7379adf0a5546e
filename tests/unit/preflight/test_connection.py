"""A host that cannot be examined: the output of ssh, sudo and Ansible → what to do, word for
word."""

from __future__ import annotations

import pytest

from wharfinger.preflight.connection import advice

HOST = {"inventory_hostname": "registry1", "ansible_host": "10.0.0.5", "ansible_user": "operator"}
SSH = "Failed to connect to the host via ssh: "
MODULE = "Module result deserialization failed: No start of json char found\n"

# The words of OpenSSH 9, sudo 1.9 and ansible-core 2.19.
SAID = [
    (
        f"{SSH}Host key verification failed.",
        "host, SSH: the host key of 10.0.0.5 is not known here: connect once with "
        "`ssh operator@10.0.0.5`, compare the fingerprint that it shows, and answer yes",
    ),
    (
        f"{SSH}@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\n"
        "Host key for 10.0.0.5 has changed and you have requested strict checking.\n"
        "Host key verification failed.",
        "host, SSH: the host key of 10.0.0.5 has changed. If the machine was reinstalled, run "
        "`ssh-keygen -R 10.0.0.5`, connect once with `ssh operator@10.0.0.5`, and compare the "
        "fingerprint; otherwise somebody may be intercepting the connection",
    ),
    (
        f"{SSH}ssh: Could not resolve hostname 10.0.0.5: Name or service not known",
        "ansible_host: 10.0.0.5 does not resolve on this machine: correct it in the inventory, "
        "or write the host's address",
    ),
    (
        f"{SSH}operator@10.0.0.5: Permission denied (publickey,password).",
        "host, SSH: 10.0.0.5 does not let operator in: see that `ssh operator@10.0.0.5` works from "
        "here, with ansible_user and ansible_ssh_private_key_file as they are in the inventory (or "
        "with -k, which asks for operator's password there)",
    ),
    (
        "to use the 'ssh' connection type with passwords or pkcs11_provider, you must install the "
        "sshpass program",
        "ansible_password: SSH takes a password only with sshpass: install it (apt install "
        "sshpass), or use a key",
    ),
    (
        f"{SSH}ssh: connect to host 10.0.0.5 port 22: Connection refused",
        "host, SSH: nothing listens at port 22 of 10.0.0.5: see that sshd runs there, and that "
        "ansible_port is right",
    ),
    *(
        (
            f"{SSH}ssh: connect to host 10.0.0.5 port 22: {words}",
            "host, SSH: 10.0.0.5 cannot be reached: see that the machine is up, that ansible_host "
            "is right, and that no firewall is in between",
        )
        for words in ("No route to host", "Connection timed out", "Network is unreachable")
    ),
    (
        f"{SSH}kex_exchange_identification: read: Connection reset by peer",
        "host, SSH: no connection to 10.0.0.5: see that `ssh operator@10.0.0.5` works from here",
    ),
    *(
        (
            words,
            "host, sudo: it asks operator for a password there: run the same command with -K "
            "(--ask-become-pass)",
        )
        for words in ("Missing sudo password", f"{MODULE}sudo: a password is required")
    ),
    *(
        (
            words,
            "host, sudo: it does not take this password: give -K the password that operator has "
            "there",
        )
        for words in (
            "Incorrect sudo password",
            "Duplicate become password prompt encountered waiting for become success.\n"
            ">>> Standard Error\n[sudo via ansible, key=abc] password:\nSorry, try again.",
        )
    ),
    (
        f"{MODULE}operator is not in the sudoers file.",
        "host, sudo: operator may not use it there: as root, run `usermod --append --groups sudo "
        "operator` there, or write an ansible_user who may",
    ),
    (
        f"{MODULE}sudo: sorry, you must have a tty to run sudo",
        "host, sudo: it demands a terminal (requiretty): remove that from the host's sudoers, "
        "or run with ANSIBLE_PIPELINING=false",
    ),
    (
        f"{MODULE}sudo: unknown user nobody-here",
        "ansible_become_user: nobody-here is not a user of the host: write root, or leave it out",
    ),
    (
        f"{MODULE}/bin/sh: 1: sudo: not found",
        "host, sudo: it is not there: install it (as root: apt install sudo), or connect as root "
        "with ansible_user: root and ansible_become: false",
    ),
    (
        "The module interpreter '/usr/bin/python3' was not found.\n/bin/sh: 1: /usr/bin/python3: "
        "not found",
        "host, Python: /usr/bin/python3 is not on the host, and Ansible needs Python there: run "
        "`.venv/bin/ansible -i inventory/team registry1 --become -m raw -a 'apt-get update && "
        "apt-get install --yes python3'`",
    ),
    (
        "ansible-core requires a minimum of Python version 3.9. Current version: 3.7.3",
        "host, Python: it is too old there: use Debian 12 or 13, or Ubuntu 24.04, whose own "
        "/usr/bin/python3 is 3.11 or newer",
    ),
]


@pytest.mark.parametrize(("said", "advised"), SAID)
def test_the_message_says_what_to_do(said: str, advised: str) -> None:
    assert advice(said, HOST, "inventory/team") == advised


def test_a_run_for_several_hosts_can_leave_one_out() -> None:
    down = f"{SSH}ssh: connect to host 10.0.0.5 port 22: No route to host"
    several = HOST | {"ansible_play_hosts_all": ["registry1", "registry2"]}
    assert advice(down, several, "inventory/team") == (
        "host, SSH: 10.0.0.5 cannot be reached: see that the machine is up, that ansible_host "
        "is right, and that no firewall is in between. To go on without this host: --limit "
        "'!registry1'"
    )
    alone = HOST | {"ansible_play_hosts_all": ["registry1"]}
    assert advice(down, alone, "inventory/team") == advice(down, HOST, "inventory/team")


def test_a_host_without_addresses_of_its_own_is_called_by_its_name() -> None:
    said = f"{SSH}me@registry1: Permission denied (publickey)."
    advised = advice(said, {"inventory_hostname": "registry1"}, "inventory/team")
    assert advised is not None and advised.startswith(
        "host, SSH: registry1 does not let me in: see that `ssh me@registry1` works"
    )


def test_another_port_has_a_host_key_of_its_own() -> None:
    said = f"{SSH}REMOTE HOST IDENTIFICATION HAS CHANGED!"
    advised = advice(said, HOST | {"ansible_port": 2222}, "inventory/team")
    assert advised is not None and "`ssh-keygen -R '[10.0.0.5]:2222'`" in advised


def test_an_interpreter_that_was_chosen_is_named() -> None:
    said = "The module interpreter '/usr/bin/python9' was not found."
    chosen = HOST | {"ansible_python_interpreter": "/usr/bin/python9"}
    assert advice(said, chosen, "inventory/team") == (
        "host, Python: /usr/bin/python9 is not on the host, and Ansible needs Python there: "
        "correct ansible_python_interpreter, which is /usr/bin/python9"
    )


def test_other_failures_are_left_as_they_are() -> None:
    assert advice("Module failed: the host program has a bug", HOST, "inventory/team") is None
