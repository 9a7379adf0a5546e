"""A newcomer's first edit: one more line at the end of a sample file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


@pytest.mark.parametrize("inventory", ["local", "example"])
def test_a_user_and_a_rule_may_be_added_at_the_end(project: Path, inventory: str) -> None:
    folder = project / "inventory" / inventory / "group_vars/registry"
    users = yaml.safe_load((folder / "users.yml").read_text() + "  newcomer: {}\n")
    assert users["registry_users"]["newcomer"] == {}
    rule = '  - {who: newcomer, may: [pull, push, delete], on: "{user}/**"}\n'
    rules = yaml.safe_load((folder / "access.yml").read_text() + rule)
    assert rules["registry_access"][-1]["who"] == "newcomer"
