"""The roles' argument specs, as files of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

PROJECT = Path(__file__).resolve().parents[2]


def specifications() -> dict[str, dict[str, Any]]:
    """Every role's argument options: role → variable → option, from meta/argument_specs.yml."""
    roles: dict[str, dict[str, Any]] = {}
    for path in sorted(PROJECT.glob("roles/*/meta/argument_specs.yml")):
        entries = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
        options = roles.setdefault(path.parents[1].name, {})
        for entry in entries.values():
            options.update(entry.get("options", {}))
    return roles
