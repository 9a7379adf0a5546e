"""The values that preflight computes for the roles."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.deployment.facts import Generations, HostFacts
from wharfinger.preflight.deployment import deployment, resolves_here, served_auth

OWN = ["10.0.0.5", "2001:db8::5"]


@pytest.mark.parametrize(
    ("resolved", "own"),
    [
        (["10.0.0.5"], True),
        (["192.0.2.9", "2001:db8::5"], True),
        (["10.0.0.4"], False),  # the host's former address, in its own /etc/hosts
        (["127.0.1.1"], False),
        (["10.0.0.5", "127.0.1.1"], False),
        ([], False),
    ],
)
def test_a_name_leads_to_the_host_by_its_own_address(resolved: list[str], own: bool) -> None:
    assert resolves_here(resolved, OWN) is own


@pytest.mark.parametrize(
    ("registry", "token_server", "auth"),
    [({"number": 2}, {"number": 1}, "token"), ({"number": 2}, None, "htpasswd"), (None, None, "")],
)
def test_the_containers_that_serve_tell_how_users_sign_in(
    registry: Any, token_server: Any, auth: str
) -> None:
    serving = {"registry": Generations(registry), "token_server": Generations(token_server)}
    assert served_auth(serving) == auth
    assert served_auth({}) == ""


HOST = HostFacts(addresses=tuple(OWN))


@pytest.mark.parametrize(
    ("source", "root", "ca"),
    [
        ("own_ca", "", "/i/credentials/r.example.com-ca.crt"),
        ("provided", "", ""),
        ("provided", "ca.crt", "/i/credentials/r.example.com-ca.crt"),
        ("acme", "", ""),
        ("acme", "ca.crt", "/i/credentials/r.example.com-ca.crt"),
    ],
)
def test_clients_need_the_authority_that_not_every_system_knows(
    settings: dict[str, Any], source: str, root: str, ca: str
) -> None:
    settings |= {
        "registry_hostname": "r.example.com",
        "certificates_tls_source": source,
        "certificates_tls_ca": root,
    }
    facts = deployment(settings, HOST, "/i")
    assert facts.ca == ca
    assert facts.ca_key == "/i/credentials/r.example.com-ca.key"


@pytest.mark.parametrize(("repository", "schedule"), [("", ""), ("/mnt/backup", "daily 01:30")])
def test_backups_are_scheduled_once_they_have_a_place(
    settings: dict[str, Any], repository: str, schedule: str
) -> None:
    facts = deployment(settings | {"backup_repository": repository}, HOST, "/i")
    assert facts.backup_schedule == schedule
    assert facts.backup_drill_schedule == ("sun 05:30" if repository else "")


@pytest.mark.parametrize(
    ("repository", "password", "file"),
    [
        ("", "", ""),
        ("/mnt/backup", "from the vault", ""),
        ("/mnt/backup", "", "/i/credentials/r.example.com-backup_password"),
    ],
)
def test_the_password_of_backups_has_a_file_unless_the_inventory_has_it(
    settings: dict[str, Any], repository: str, password: str, file: str
) -> None:
    settings |= {
        "registry_hostname": "r.example.com",
        "backup_repository": repository,
        "backup_password": password,
    }
    assert deployment(settings, HOST, "/i").backup_password_file == file
