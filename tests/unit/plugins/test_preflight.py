"""What preflight works out for the roles."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from wharfinger.preflight import SCOPES

FILE = Path(__file__).resolve().parents[3] / "plugins/action/preflight.py"
OWN = ["10.0.0.5", "2001:db8::5"]


@pytest.fixture(scope="module")
def plugin() -> Any:
    spec = importlib.util.spec_from_file_location("preflight_action", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("resolved", "here"),
    [
        (["10.0.0.5"], True),
        (["192.0.2.9", "2001:db8::5"], True),
        (["10.0.0.4"], False),  # the host's address of yesterday, in its own /etc/hosts
        (["127.0.1.1"], False),
        (["10.0.0.5", "127.0.1.1"], False),
        ([], False),
    ],
)
def test_a_name_leads_here_by_an_address_of_the_host(
    plugin: Any, resolved: list[str], here: bool
) -> None:
    assert plugin.resolves_here(resolved, OWN) is here


@pytest.mark.parametrize(
    ("registry", "token_server", "auth"),
    [({"number": 2}, {"number": 1}, "token"), ({"number": 2}, None, "htpasswd"), (None, None, "")],
)
def test_the_containers_that_serve_tell_how_users_sign_in(
    plugin: Any, registry: Any, token_server: Any, auth: str
) -> None:
    serving = {"registry": {"serving": registry}, "token_server": {"serving": token_server}}
    assert plugin.served_auth(serving) == auth
    assert plugin.served_auth({}) == ""


@pytest.fixture
def settings(plugin: Any) -> dict[str, Any]:
    return {
        name: option.get("default")
        for options in plugin.specifications().values()
        for name, option in options.items()
    }


def test_an_acme_servers_names_are_all_looked_up(plugin: Any, settings: dict[str, Any]) -> None:
    settings |= {
        "registry_hostname": "r.example.com",
        "registry_extra_hostnames": ["r2.example.com", "10.0.0.5", "https://me:secret@r3"],
    }
    assert plugin.request(settings)["names"] == ["r.example.com"]
    settings["certificates_tls_source"] = "acme"
    assert plugin.request(settings)["names"] == ["r.example.com", "r2.example.com"]
    # The host's own, which is not known here yet.
    settings["registry_hostname"] = ""
    assert plugin.request(settings)["names"] == []


HOST: dict[str, Any] = {
    "resolved": {},
    "addresses": OWN,
    "state": {},
    "nginx": {"present": False, "servers": []},
    "host_program": None,
}


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
    plugin: Any, settings: dict[str, Any], source: str, root: str, ca: str
) -> None:
    settings |= {
        "registry_hostname": "r.example.com",
        "certificates_tls_source": source,
        "certificates_tls_ca": root,
    }
    facts = plugin.facts(settings, HOST, "/i")
    assert facts["ca"] == ca
    assert facts["ca_key"] == "/i/credentials/r.example.com-ca.key"


def test_every_playbook_for_a_registry_says_what_it_is_about() -> None:
    scopes = {}
    for path in [FILE.parents[2] / "site.yml", *FILE.parents[2].glob("playbooks/*.yml")]:
        first = yaml.safe_load(path.read_text(encoding="utf-8"))[0]["tasks"][0]
        if first.get("ansible.builtin.import_role", {}).get("name") == "preflight":
            scopes[path.stem] = first.get("vars", {}).get("preflight__scope", "site")
    assert scopes.pop("rotate_certificates") == "rotate"
    assert set(scopes.values()) == SCOPES.keys() - {"rotate"}
    assert all(name == scope for name, scope in scopes.items())
