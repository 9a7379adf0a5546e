"""Which problems stop which playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wharfinger.deployment.problems import Problem, Report
from wharfinger.preflight import SCOPES
from wharfinger.preflight.scopes import report_of_scope

from .conftest import NOW, Judge

EVERYTHING: dict[str, Any] = {
    "registry_access": [{"who": "nobody-here", "may": "all", "on": "all"}],
    "registry_prot": 443,
    "registry_pids": "many",
    "registry_hostname": "Registry.example.com",
    "registry_settings": {"lgo": {}},
    "registry_retention": [{"on": "**"}],
    "registry_gc_schedule": "weekly",
    "registry_drain_timeout": "1s",
    "storage_path": "/etc",
    "certificates_signing_days": 0,
    "certificates_tls_source": "provided",
    "certificates_tls_certificate": "gone.crt",
    "certificates_tls_key": "gone.key",
    "images_source": "archive",
    "host": {
        "distribution": {"id": "fedora", "version": "41"},
        "python": "3.10.1",
        "uid": 1000,
        "clock": NOW - 4000,
        "engine": {"state": "snap", "free_bytes": 0},
        "nginx": {"present": True, "error": "broken"},
        "storage": {"free_bytes": 0},
        "state": {"error": "state.json cannot be read"},
    },
}
PROGRAM = {"host, Python", "host, user", "host, state"}
READING = {"registry_prot", "registry_pids"}
USERS = {"registry_access", "registry_hostname", "registry_drain_timeout"}
ROTATE = {"registry_hostname", "registry_drain_timeout", "certificates_signing_days"}
LOOKING_AFTER = ("retention", "garbage_collect", "scrub")
CONTENTS = {"registry_retention", "registry_gc_schedule", "registry_drain_timeout", "storage_path"}
MENDED = {"host, engine", "host, nginx"}


@pytest.mark.parametrize(
    ("scope", "stops"),
    [
        ("users", PROGRAM | READING | USERS),
        ("rotate_robots", PROGRAM | READING | USERS | {"host, clock"}),
        ("rotate", PROGRAM | READING | ROTATE | MENDED | {"host, clock"}),
        ("rollback", PROGRAM | READING | MENDED | {"registry_hostname", "registry_drain_timeout"}),
        *((scope, PROGRAM | READING | MENDED | CONTENTS) for scope in LOOKING_AFTER),
        ("backup", PROGRAM | READING),
        ("backup_drill", PROGRAM | READING | {"host, engine"}),
        ("mirror", PROGRAM | READING),
        ("remove", PROGRAM | {"storage_path"}),
    ],
)
def test_what_stops_a_playbook(judge: Judge, scope: str, stops: set[str]) -> None:
    everything = judge(**EVERYTHING).report
    report = judge(scope=scope, **EVERYTHING).report
    if scope == "rotate_robots":
        # This playbook's own error: the inventory has no robots.
        assert report.errors.pop().topic == "robot"
    assert {problem.topic for problem in report.errors} == stops
    assert set(report.errors) <= set(everything.errors)
    aside = set(everything.errors) - set(report.errors)
    if scope == "remove":
        assert {problem.topic for problem in report.warnings} == READING
    else:
        assert aside <= set(report.warnings)


def test_everything_stops_a_deployment(judge: Judge) -> None:
    topics = {problem.topic for problem in judge(**EVERYTHING).report.errors}
    assert topics == PROGRAM | READING | USERS | ROTATE | MENDED | CONTENTS | {
        *("registry_settings", "images_archive", "host, clock"),
        *("host, distribution", "storage_free_minimum", "container_engine_free_minimum"),
        *("certificates_tls_certificate", "certificates_tls_key"),
    }


def test_a_provided_certificate_that_is_gone_keeps_no_user(judge: Judge, tmp_path: Path) -> None:
    given = {
        "certificates_tls_source": "provided",
        "certificates_tls_certificate": "gone.crt",
        "certificates_tls_key": "gone.key",
    }
    said = [
        f"certificates_tls_{part}: 'gone.{end}' does not exist on the controller: "
        "write the PEM file's path"
        for part, end in (("certificate", "crt"), ("key", "key"))
    ]
    assert judge(**given).errors == said
    for scope in ("users", "rotate", "rollback"):
        report = judge(scope=scope, **given)
        assert (report.errors, report.warnings) == ([], said)
    report = judge(scope="remove", **given)
    assert (report.errors, report.warnings) == ([], [])


def test_warnings_are_those_that_the_playbook_is_about(judge: Judge) -> None:
    changes: dict[str, Any] = {
        "registry_users": {"admin": {}, "eve": {}},
        "images_archive": "bundle.tar",
        "registry_retention": [{"on": "**", "newest": 10}],
        "host": {"resolved": {"registry.example.com": []}},
    }
    topics = {
        scope: [problem.topic for problem in judge(scope=scope, **changes).report.warnings]
        for scope in SCOPES
    }
    assert topics == {
        "site": [
            *("images_archive", "registry_gc_schedule", "registry_users", "registry_hostname"),
        ],
        "users": ["registry_users", "registry_hostname"],
        "rotate_robots": ["registry_users", "registry_hostname"],
        "rotate": ["registry_hostname"],
        "rollback": ["registry_hostname"],
        **{key: ["registry_gc_schedule"] for key in LOOKING_AFTER},
        "backup": [],
        "backup_drill": [],
        "mirror": ["registry_mirrors"],
        "base_images": [],
        "restore": [
            *("images_archive", "registry_gc_schedule", "registry_users", "registry_hostname"),
        ],
        "remove": [],
    }


def test_an_unresolved_variable_stops_everything_but_removal(judge: Judge) -> None:
    unresolved = (
        Problem("registry_users", "", "needs x"),
        Problem("storage_path", "", "needs y"),
    )
    for scope in SCOPES:
        report = judge(scope=scope, unresolved=unresolved).report
        stopping = list(unresolved) if scope != "remove" else [unresolved[1]]
        assert report.errors == stopping


def test_the_hosts_memory_that_cannot_be_read_stops_every_playbook(judge: Judge) -> None:
    words = (
        "/var/lib/wharfinger/state.json cannot be read (JSONDecodeError): restore it from a "
        "backup, or remove it and deploy again (keys, users and data stay)"
    )
    for scope in SCOPES.keys() - {"rotate_robots"}:
        # `observe` then answers only with these words.
        report = judge(
            scope=scope,
            host={"state": {"error": words, "network": None, "generations": None}},
        )
        assert report.errors == [f"host, state: {words}"]


def test_which_playbook_a_problem_stops_follows_from_its_topic_alone() -> None:
    words = "host, engine: registry_users, admin: registry_port: 80 is taken"
    report = Report([Problem("registry_pids", "entry 1", words)])
    assert report_of_scope("users", [], report).errors == []
    report = Report([Problem("registry_users", "host, engine", "registry_pids: x")])
    assert report_of_scope("users", [], report).errors == report.errors


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (Problem("registry_port", "", "80 is taken"), "registry_port: 80 is taken"),
        (Problem("registry_users", "admin", "is wrong"), "registry_users, admin: is wrong"),
        (Problem("host, port 80", "", "is in use"), "host, port 80: is in use"),
    ],
)
def test_a_sentence_begins_with_topic_and_place(problem: Problem, sentence: str) -> None:
    assert str(problem) == sentence


def test_every_playbook_for_a_registry_says_what_it_is_about(project: Path) -> None:
    scopes = {}
    for path in [project / "site.yml", *project.glob("playbooks/*.yml")]:
        play = yaml.safe_load(path.read_text(encoding="utf-8"))[0]
        if path.stem == "check":
            assert play["ansible.builtin.import_playbook"] == "scrub.yml"
            continue
        first = play["tasks"][0]
        if first.get("ansible.builtin.import_role", {}).get("name") == "preflight":
            scopes[path.stem] = first.get("vars", {}).get("preflight__scope", "site")
    assert scopes.pop("rotate_certificates") == "rotate"
    assert set(scopes.values()) == SCOPES.keys() - {"rotate"}
    assert all(name == scope for name, scope in scopes.items())
