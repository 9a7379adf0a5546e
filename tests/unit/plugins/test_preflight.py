"""What preflight works out for the roles."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

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
