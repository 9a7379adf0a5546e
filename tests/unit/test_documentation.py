"""The YAML in README and docs is exactly what the tests use."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from support.documentation import AUTH_CONFIG, INVENTORIES, blocks
from wharfinger import contents
from wharfinger.host.keys.rotation import LEEWAY
from wharfinger.token_server import config


def test_every_block_is_fed_to_what_reads_it() -> None:
    fed = Counter(
        [*AUTH_CONFIG, *(key for inventory in INVENTORIES.values() for key in inventory.blocks)]
    )
    missing = [
        f"{block.page}, line {block.line}" for key, block in blocks().items() if key not in fed
    ]
    assert missing == [], "add these to tests/library/support/documentation.py"
    assert set(fed) == set(blocks()), "these are in no page any more"


def test_no_block_hides_from_the_others(project: Path) -> None:
    for page in [project / "README.md", *project.glob("docs/*.md")]:
        text = page.read_text(encoding="utf-8")
        assert "```yml" not in text and "~~~" not in text, page
        # No test would try an indented block.
        assert not any(line.startswith("    registry_") for line in text.splitlines()), page


def test_the_token_servers_own_file_takes_its_blocks() -> None:
    rest = (
        'server: {addr: ":1"}\ntoken: {issuer: i, expiration: 1, certificate: c, key: k}\nacl: []\n'
    )
    config.load(rest + "".join(blocks()[key].text for key in AUTH_CONFIG), check_keys=False)


def test_docs_say_how_long_a_removed_users_token_works(project: Path) -> None:
    defaults = yaml.safe_load((project / "roles/docker_auth/defaults/main.yml").read_text())
    lifetime = defaults["docker_auth_token_lifetime"]
    assert (lifetime + LEEWAY, LEEWAY) == (6 * 60, 60)
    for page in ("README.md", "docs/access.md", "docs/robots.md"):
        text = " ".join((project / page).read_text(encoding="utf-8").split())
        assert "six minutes" in text and f"{lifetime} seconds" in text, page
        assert "five minutes" not in text, page


def test_the_samples_commented_lines_are_valid_too(project: Path) -> None:
    sample = project / "inventory/example/group_vars/registry/settings.yml"
    lines = re.findall(r"^# (registry_\w+:.*|  - \{.*)$", sample.read_text(encoding="utf-8"), re.M)
    settings = yaml.safe_load("\n".join(lines))
    assert settings.keys() >= {"registry_retention", "registry_gc_schedule"}
    _, review = contents.examine(settings["registry_retention"])
    assert (review.errors, review.warnings) == ([], [])
    for name in ("registry_retention_schedule", "registry_gc_schedule"):
        contents.schedule(settings[name])


@pytest.mark.parametrize("heading", ["Add a variable", "Add a check of preflight"])
def test_the_examples_in_contributing_are_in_the_code(project: Path, heading: str) -> None:
    page = (project / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    diff = section.partition("```diff\n")[2].partition("```")[0]
    parts = [part.partition("\n") for part in diff.split("+++ b/")[1:]]
    assert len(parts) > 2
    for file, _, lines in parts:
        text = (project / file).read_text(encoding="utf-8")
        assert lines.replace("\n+", "\n").removeprefix("+") in text, file
