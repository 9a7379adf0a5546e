"""All at once: each of many mistakes gives a message, and none of them contains a secret."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.access import examine
from wharfinger.preflight import RENAMED
from wharfinger.registry.configuration import review, warnings

from .conftest import Judge

SECRET = "correct-horse-battery-staple"


def test_many_mistakes_are_reported_together(judge: Judge) -> None:
    report = judge(
        registry_hostname="Registry.example.com",
        registry_prot=443,
        registry_port="https",
        registry_auth="ldap",
        registry_users={"admin": {"pasword": SECRET}},
        registry_access=[{"who": "admni", "may": "all", "on": "all"}],
        registry_settings={"htpp": {}},
        storage_path="/etc",
        images_source="archive",
        container_engine_network="8.8.8.0/28",
        host={
            "python": "3.10.1",
            "uid": 1000,
            "engine": {"state": "snap"},
            "storage": {"free_bytes": 0},
        },
    )
    subjects = [error.partition(":")[0] for error in report.errors]
    for subject in (
        "registry_prot",
        "registry_hostname",
        "registry_port",
        "registry_auth",
        "storage_path",
        "images_archive",
        "container_engine_network",
        "host, Python",
        "host, user",
        "host, engine",
        "storage_free_minimum",
    ):
        assert subjects.count(subject) == 1, subject
    for variable in ("registry_users", "registry_access", "registry_settings"):
        assert any(subject.startswith(f"{variable}, ") for subject in subjects), variable
    assert not any("\n" in error for error in report.errors)


def test_messages_of_the_access_rules_arrive_word_for_word(judge: Judge) -> None:
    users: dict[str, Any] = {"admin": {}, "eve": {}}
    access = [{"who": "admin", "may": "all", "on": "all"}]
    _, said = examine(users, {}, access)
    assert said.warnings
    assert judge(registry_users=users, registry_access=access).warnings == [
        str(warning) for warning in said.warnings
    ]
    wrong = [{"who": "nobody-here", "may": "all", "on": "all"}]
    _, said = examine(users, {}, wrong)
    assert said.errors
    assert judge(registry_users=users, registry_access=wrong).errors == [
        str(error) for error in said.errors
    ]


def test_access_is_judged_by_the_way_of_signing_in(judge: Judge) -> None:
    everyone = [{"who": "everyone", "may": "all", "on": "all"}]
    assert judge(registry_auth="htpasswd", registry_access=everyone).errors == []
    assert judge(registry_auth="htpasswd").errors != []


def test_errors_of_the_registrys_review_arrive_word_for_word(judge: Judge) -> None:
    settings, environment = {"lgo": {}}, {"REGISTRY_HTTP_ADDR": ":1"}
    said = [str(problem) for problem in review(settings, environment)]
    assert len(said) == 2
    assert judge(registry_settings=settings, registry_environment=environment).errors == said


def test_warnings_of_the_registrys_review_arrive_word_for_word(
    judge: Judge,
) -> None:
    settings = {"notifications": {"endpoints": [{"name": "ci", "url": "https://ci.example.com"}]}}
    said = [str(warning) for warning in warnings(settings, {})]
    assert said
    report = judge(registry_settings=settings)
    assert (report.errors, report.warnings) == ([], said)


@pytest.mark.parametrize(
    "variables",
    [
        {"registry_users": {"admin": {"pasword": SECRET}}},
        {"registry_users": {"admin": SECRET}},
        {"registry_users": [SECRET]},
        {"registry_users": SECRET},
        {"registry_users": {"admin": {"password": [SECRET]}}},
        {"registry_users": {"admin": {"password_hash": SECRET}}},
        {"registry_pasword": SECRET},
        {"docker_auth_secret": {"key": SECRET}},
        {"registry_environment": {"REGISTRY_HTTP_SECRET": SECRET}},
        {"registry_environment": {"REGISTRY_STORAGE_S3_SECRETKEY": SECRET, "NONSENSE": SECRET}},
        {"registry_environment": SECRET},
        {"registry_settings": {"http": {"secret": SECRET}, "htpp": SECRET}},
        {"registry_settings": SECRET},
        {"storage_mount": SECRET},
        {
            "storage_mount": {
                "src": "//nas/r",
                "fstype": "cifs",
                "opts": f"user=a password={SECRET}",
            }
        },
        {"storage_mount": {"src": "//nas/r", "fstype": "cifs", "options": f"password={SECRET}"}},
        {"storage_mount": {"src": "//nas/r", "opts": [f"password={SECRET}"]}},
        {"registry_hostname": f"https://me:{SECRET}@registry.example.com"},
        {"registry_extra_hostnames": [f"me:{SECRET}@registry.example.com"]},
        {"registry_port": SECRET},
        {"registry_pids": [SECRET]},
        {"certificates_tls_source": "acme", "certificates_acme_eab_hmac_key": SECRET},
        {"certificates_tls_source": "acme", "certificates_acme_eab_hmac_key": f"{SECRET} {SECRET}"},
        {"certificates_acme_eab_hmac_key": [SECRET]},
        {
            "certificates_tls_source": "acme",
            "certificates_acme_directory": f"https://me:{SECRET}@ca.example.com/",
        },
        {"certificates_alert_command": f"curl https://hook/{SECRET}\n"},
    ],
    ids=str,
)
def test_no_message_has_a_secret_in_it(judge: Judge, variables: dict[str, Any]) -> None:
    report = judge(**variables)
    assert report.errors
    assert SECRET not in "\n".join(report.errors + report.warnings)


def test_no_name_is_renamed_yet() -> None:
    assert not RENAMED


@pytest.mark.parametrize("value", [None, 0, 1.5, "", "x", [], ["x"], [[]], {}, {1: 2}, True])
def test_anything_that_yaml_can_say_is_judged_without_a_crash(
    judge: Judge, specs: dict[str, dict[str, Any]], value: object
) -> None:
    for options in specs.values():
        for name in options:
            judge(**{name: value})
    judge(**{name: value for options in specs.values() for name in options})
