"""Which files are read before Ansible reads them, if that depends on its version."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing import vault
from ansible.parsing.dataloader import DataLoader

from wharfinger.inventory import CLOSED, variable_mistakes


def test_an_older_ansible_decrypts_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "group_vars/registry.yml"
    file.parent.mkdir()
    file.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")

    def messages() -> list[str]:
        return variable_mistakes(DataLoader(), [tmp_path], ["registry"], [])

    assert messages() == [f"{file}: {CLOSED}"]
    # ansible-core 2.17 and 2.18 lack it, and nothing else says which passwords were given.
    monkeypatch.delattr(vault, "VaultSecretsContext")
    assert messages() == []
