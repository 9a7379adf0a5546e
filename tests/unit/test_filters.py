"""What the end of a deployment says about passwords and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader

from wharfinger.closing_message import closing_message
from wharfinger.filters import FILTERS

FACTS = {
    "url": "https://r.example",
    "address": "r.example",
    "credentials": "/inventory/credentials",
    "ca": "",
}
INVENTORY: dict[str, Any] = {
    "users": {"admin": {"password": "x"}, "someuser": {}},
    "robots": {"ci": {"expires": "2027-06-30"}, "nodes": {}},
    "groups": {},
    "access": [{"who": "robot:ci", "may": ["pull"], "on": "**"}],
}


def test_a_bare_on_reaches_the_hosts_file_of_retention() -> None:
    written = 'registry_retention:\n- {on: "team/**", newest: 10}\n'
    variables = {
        "retention": yaml.safe_load(written)["registry_retention"],
        "untagged_keep": "14d",
        "gc_max_minutes": 60,
        "brake_percent": 30,
        "brake_at_least": 50,
        "check_rate": "100m",
        "storage_path": "/srv/registry",
        "drain_timeout": "10m",
        "schedules": {
            "registry_retention_schedule": "",
            "registry_gc_schedule": "",
            "registry_check_schedule": "",
            "backup_schedule": "",
            "backup_drill_schedule": "",
            "registry_mirrors_schedule": "",
            "base_images_schedule": "",
        },
    }
    assert True in variables["retention"][0]
    rule = FILTERS["contents_settings"](variables)["retention"][0]
    assert (rule["on"], rule["newest"]) == (["^team(/[^/]+)+$"], 10)


def test_a_date_in_the_registrys_settings_stays_the_text_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("log: {fields: {since: 2026-01-01}}\n", encoding="utf-8")
    text = FILTERS["yaml_text"](DataLoader().load_from_file(str(file)))
    assert yaml.safe_load(text) == {"log": {"fields": {"since": "2026-01-01"}}}


def test_secrets_are_said_to_lie_where_they_lie() -> None:
    lines = closing_message(FACTS, {}, {}, INVENTORY, "token")
    assert lines[2:] == [
        "Passwords:       /inventory/credentials/NAME for someuser",
        "Robots' secrets: /inventory/credentials/NAME for ci, nodes",
        "Who may do what:",
        "rule  who                          may   on",
        "1     robot ci (until 2027-06-30)  pull  **",
        "The first rule that matches decides; anything else is denied.",
    ]
    without = closing_message(FACTS, {}, {}, INVENTORY | {"robots": {}, "access": []}, "token")
    assert not any("Robots" in line for line in without)


def test_the_password_of_the_backups_is_to_be_copied() -> None:
    file = "/inventory/credentials/registry.example.com-backup_password"
    lines = closing_message(FACTS | {"backup_password_file": file}, {}, {}, INVENTORY, "token")
    assert lines[4:6] == [
        f"Backup password: {file}",
        "                 keep a copy elsewhere: without it, no backup can be read",
    ]


def test_the_paths_that_clients_need_stay_on_one_line_each() -> None:
    # As Ansible writes it: it breaks a long line at single spaces.
    folder = "/home/somebody/with/a/long/path/to/the/inventory/production/credentials"
    facts = FACTS | {"ca": f"{folder}/registry.example.com-ca.crt", "credentials": folder}
    message = closing_message(facts, {}, {}, INVENTORY, "token")
    shown = yaml.safe_dump(message, width=80)
    assert f"'Clients need:    {facts['ca']}'\n" in shown
    assert f"'copied to:       /etc/docker/certs.d/{FACTS['address']}/ca.crt'\n" in shown
    assert f"{folder}/NAME\n" in shown


def test_each_secret_is_replaced_by_its_own_command() -> None:
    passwords = {
        "kept": ["someuser", "ci"],
        "stale": ["nodes"],
        "previous": {"ci": {"hash": "$2b$04$x", "until": "2026-12-01T00:00:00Z"}},
        "readmitted": ["someuser"],
        "chosen": ["nodes"],
    }
    said = [line.strip() for line in closing_message(FACTS, passwords, {}, INVENTORY, "token")]
    assert said[4:10] == [
        "someuser: the host has a password that this controller lacks, and keeps it (for a new "
        "one: -e regenerate=someuser)",
        "ci: the host has a secret that this controller lacks, and keeps it (for a new one: "
        "playbooks/rotate_robots.yml -e robot=ci)",
        "nodes: /inventory/credentials/nodes is not the secret on the host, which keeps its own "
        "(for a new one: playbooks/rotate_robots.yml -e robot=nodes)",
        "nodes: its secret does not look like a generated one, so it counts as a chosen password "
        "(for a generated one: playbooks/rotate_robots.yml -e robot=nodes)",
        "ci: the previous secret is valid until 2026-12-01T00:00:00Z",
        "someuser: is back, with the earlier password in /inventory/credentials/someuser (for a "
        "new one: -e regenerate=someuser)",
    ]
    assert "$2b$" not in "".join(said)
