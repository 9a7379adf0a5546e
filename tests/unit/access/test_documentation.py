"""The examples of docs/access.md and of the shipped inventory work unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from wharfinger.access import examine

USERS: dict[str, Any] = {name: {} for name in ("admin", "readonly", "someuser", "bob")}
ROBOTS: dict[str, Any] = {"ci": {}, "nodes": {}}
GROUPS = {"developers": ["someuser"], "interns": ["bob"]}


def parts(path: Path) -> list[Any]:
    """The parsed YAML of a page, part by part."""
    return [
        yaml.safe_load(part)
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for part in block.split("\n\n")
    ]


def test_every_rule_in_the_documentation_is_free_of_errors(project: Path) -> None:
    lists = parts(project / "docs/access.md")
    rules = [
        part["registry_access"] if isinstance(part, dict) else part
        for part in lists
        if isinstance(part, list) or "registry_access" in part
    ]
    assert len(rules) == 5
    for example in rules:
        assert examine(USERS, GROUPS, example, ROBOTS)[1].errors == []


def test_the_robots_in_the_documentation_are_free_of_errors_and_warnings(project: Path) -> None:
    robots, rules = parts(project / "docs/robots.md")
    _, review = examine({}, {}, rules["registry_access"], robots["registry_robots"])
    assert (review.errors, review.warnings) == ([], [])


def test_the_local_inventory_is_free_of_errors_and_warnings(project: Path) -> None:
    values: dict[str, Any] = {}
    for name in ("users", "access"):
        path = project / "inventory/local/group_vars/registry" / f"{name}.yml"
        values |= yaml.safe_load(path.read_text(encoding="utf-8"))
    _, review = examine(
        values["registry_users"], values["registry_groups"], values["registry_access"]
    )
    assert (review.errors, review.warnings) == ([], [])
