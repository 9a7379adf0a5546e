"""Bare words of YAML in every variable: the right value, or one message in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader

from wharfinger.preflight import check
from wharfinger.preflight.resolving import resolve
from wharfinger.preflight.specifications import specifications

from .conftest import HOST, NOW, VARIABLES, Judged

SPECS = specifications()
OPTIONS = {name: option for options in SPECS.values() for name, option in options.items()}

TRUE, FALSE = ("on", "yes", "true"), ("off", "no", "false")
NUMBERS = ("0755", "012", "12:30:45", "1.10", ".inf", "1_000", "0x1F")
WORDS = (
    *(*TRUE, *FALSE, *NUMBERS),
    *("~", "", "2026-01-01", "2026-01-01 12:30:00", "1e3", "!!binary aGVsbG8=", "[]", "{}"),
)
# Words that only a program would use.
JARGON = re.compile(
    r"Ansible|<class|object at|datetime|NoneType|Traceback|\b(None|True|False|bool|str|dict|int)\b"
)

Read = Callable[[str], tuple[Judged, dict[str, Any]]]


@pytest.fixture
def judged(tmp_path: Path) -> Read:
    """What preflight says about a file of an inventory, and the values that Ansible reads in it."""

    def judge(text: str) -> tuple[Judged, dict[str, Any]]:
        file = tmp_path / "settings.yml"
        file.write_text(text, encoding="utf-8")
        loaded = DataLoader().load_from_file(str(file), cache="none") or {}
        values, _, unresolved = resolve(SPECS, {**VARIABLES, **loaded}, lambda value: value)
        controller = {"clock": [NOW, NOW], "base": str(tmp_path)}
        return Judged(check(values, SPECS, HOST, controller, unresolved=unresolved)), values

    return judge


def about(report: Judged, name: str) -> list[str]:
    return [sentence for sentence in report.errors if sentence.startswith(name)]


@pytest.mark.parametrize("name", OPTIONS)
def test_in_every_variable(judged: Read, name: str) -> None:
    kind = OPTIONS[name]["type"]
    for word in WORDS:
        report, values = judged(f"{name}: {word}\n")
        said = f"{name}: {word}: {report.errors}"
        assert not any(map(JARGON.search, report.errors + report.warnings)), said
        if (name, word) == ("registry_users", "{}"):
            continue  # not a mistake in itself: the rules name a user
        if report.errors:
            assert len(report.errors) == 1 and about(report, name), said
            continue
        if kind == "bool":
            assert word in TRUE + FALSE and values[name] is (word in TRUE), said
        elif kind == "int":
            # Octal and base 60 are refused; these words mean the number as it is written.
            assert (word, values[name]) in {("1_000", 1000)}, said
        elif kind in ("str", "path"):
            assert values[name] == word, said
        else:
            assert (kind, word) in {("list", "[]"), ("dict", "{}")} or (name, word) in {
                # No robots.
                ("registry_robots", "~"),
                ("registry_robots", ""),
            }, said


OTHER_NUMBER = (
    "YAML reads the number in FILE, line 1 as another one (a leading 0 is octal, 12:30 counts to "
    "60, 1.10 is 1.1): write a plain number, or text in quotation marks"
)
QUOTE = "write text in quotation marks"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry_hostname: 2026-01-01", f"is a date to YAML: {QUOTE}"),
        ("registry_hostname: no", f"is true or false to YAML: {QUOTE}"),
        (
            "storage_path: .inf",
            f'is a number to YAML: {QUOTE}, like "/var/lib/wharfinger/registry"',
        ),
        ("registry_auth: off", "is true or false: write one of token, htpasswd"),
        ("registry_extra_hostnames: 2026-01-01", "is a date: write a list"),
        ("registry_port: 0443", OTHER_NUMBER),
        ("registry_gc_schedule: 12:30", OTHER_NUMBER),
        ("registry_retention: [{on: 'team/**', newest: 012}]", OTHER_NUMBER),
        ("registry_environment: {TZ: 1.10}", OTHER_NUMBER),
    ],
)
def test_the_message_says_what_it_became_and_what_to_write(
    judged: Read, tmp_path: Path, text: str, message: str
) -> None:
    messages = [
        error.replace(str(tmp_path / "settings.yml"), "FILE") for error in judged(text)[0].errors
    ]
    assert messages == [f"{text.partition(':')[0]}: {message}"]


PLACES = (
    "registry_users: {admin: {}, WORD: {}}",
    "registry_users: {admin: WORD}",
    "registry_users: {admin: {password: WORD}}",
    "registry_users: {admin: {password_hash: WORD}}",
    "registry_users: {admin: {WORD: x}}",
    "registry_robots: {WORD: {}}",
    "registry_robots: {ci: {addresses: [WORD]}}",
    "registry_robots: {ci: {expires: WORD}}",
    "registry_robots: {ci: {WORD: x}}",
    "registry_groups: {WORD: [admin]}",
    "registry_groups: {team: [WORD]}",
    "registry_access: [{WORD: admin, who: admin, may: all, on: all}]",
    "registry_access: [{who: WORD, may: all, on: all}]",
    "registry_access: [{who: admin, may: WORD, on: all}]",
    "registry_access: [{who: admin, may: all, on: WORD}]",
    "registry_retention: [{WORD: 'team/**', newest: 1}]",
    "registry_retention: [{on: WORD, newest: 1}]",
    "registry_retention: [{on: 'team/**', newest: WORD}]",
    "registry_retention: [{on: 'team/**', newer_than: WORD}]",
    "registry_retention: [{on: 'team/**', matching: [WORD]}]",
    "registry_settings: {WORD: {level: info}}",
    "registry_settings: {log: {WORD: info}}",
    "registry_settings: {log: {level: WORD}}",
    "registry_settings: {log: {fields: {since: WORD}}}",
    "registry_settings: {http: {headers: {X-Since: [WORD]}}}",
    "registry_settings: {notifications: {endpoints: [{timeout: WORD}]}}",
    "registry_environment: {REGISTRY_LOG_LEVEL: WORD}",
    "registry_environment: {WORD: x}",
    "registry_environment: {TZ: WORD}",
    "registry_extra_hostnames: [WORD]",
    "container_engine_packages: [WORD]",
    "storage_mount: {src: WORD, fstype: ext4}",
    "storage_mount: {src: /dev/sdb1, fstype: ext4, opts: WORD}",
    "storage_mount: {src: /dev/sdb1, fstype: ext4, WORD: x}",
)


@pytest.mark.parametrize("place", PLACES)
def test_within_every_variable(judged: Read, place: str) -> None:
    for word in WORDS:
        if word in ("", "[]", "{}") and "WORD:" in place:
            continue  # no keys
        report, _ = judged(place.replace("WORD", word))
        said = f"{place}: {word}: {report.errors}"
        name = place.partition(":")[0]
        assert not any(map(JARGON.search, report.errors + report.warnings)), said
        assert len(report.errors) == len(about(report, name)), said
        assert len(report.errors) <= 1, said
