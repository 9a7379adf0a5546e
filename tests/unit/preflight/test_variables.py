"""Names, types and choices of variables: one message each, with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wharfinger.deployment.problems import Report
from wharfinger.preflight.variables import check_variables, usable

Errors = Callable[..., list[str]]

SPECS: dict[str, dict[str, Any]] = {
    "storage": {
        "storage_path": {"type": "path", "required": True},
        "storage_ratio": {"type": "float", "default": 1.5},
        "storage_note": {"type": "str"},
        "storage_anything": {"type": "list"},
        "storage_kinds": {"type": "list", "elements": "str", "choices": ["a", "b"]},
        "storage_disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "source": {"type": "str", "required": True},
                "size": {"type": "int", "default": 1},
            },
        },
        "storage_limits": {
            "type": "dict",
            "options": {"upper": {"type": "int", "required": True}, "lower": {"type": "int"}},
        },
    }
}


def messages_for(**variables: Any) -> list[str]:
    report = Report()
    check_variables({"storage_path": "/srv", **variables}, SPECS, {}, report)
    return [str(problem) for problem in report.errors]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "registry_hostnme",
            "registry_hostnme: is an unknown variable: write registry_hostname",
        ),
        (
            "docker_auth_sever",
            "docker_auth_sever: is an unknown variable: write docker_auth_server",
        ),
        (
            "images_zzz",
            "images_zzz: is an unknown variable: remove it; roles/images/meta/argument_specs.yml "
            "lists those that begin with images_",
        ),
        # misspelt before the first underscore
        ("regsitry_port", "regsitry_port: is an unknown variable: write registry_port"),
        ("Registry_users", "Registry_users: is an unknown variable: write registry_users"),
        ("storagepath", "storagepath: is an unknown variable: write storage_path"),
    ],
)
def test_an_unknown_variable_names_the_nearest(errors: Errors, name: str, message: str) -> None:
    assert errors(**{name: "value"}) == [message]


@pytest.mark.parametrize(
    "name",
    ["ntp_servers", "ansible_port", "group_names", "region_port", "registries", "vault_registry"],
)
def test_variables_of_others_are_left_alone(errors: Errors, name: str) -> None:
    assert errors(**{name: "value"}) == []


def test_a_renamed_variable_names_the_new_one(errors: Errors) -> None:
    assert errors(
        registry_fqdn="x",
        cert_source="x",
        renamed={
            "registry_fqdn": "registry_hostname",
            "cert_source": "certificates_tls_source",
        },
    ) == [
        "cert_source: is now called certificates_tls_source: write that",
        "registry_fqdn: is now called registry_hostname: write that",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("registry_port", "https", "registry_port: is text: write a whole number"),
        ("registry_port", [443], "registry_port: is a list: write a whole number"),
        ("registry_port", 443.5, "registry_port: is a number: write a whole number"),
        ("registry_port", True, "registry_port: is true or false: write a whole number"),
        (
            "registry_port",
            None,
            "registry_port: is empty: write a whole number, or remove the line for the default",
        ),
        ("registry_hosts_entry", "perhaps", "registry_hosts_entry: is text: write true or false"),
        ("registry_hostname", {"a": 1}, "registry_hostname: is a mapping: write text"),
        (
            "registry_extra_hostnames",
            "a.example.com,b.example.com",
            "registry_extra_hostnames: is text: write a list",
        ),
        (
            "registry_extra_hostnames",
            ["a.example.com", ["b"]],
            "registry_extra_hostnames, entry 2: is a list: write text",
        ),
        ("storage_mount", "/dev/sdb1", "storage_mount: is text: write a mapping"),
        (
            "storage_path",
            False,
            "storage_path: is true or false to YAML: write text in quotation marks, "
            'like "/var/lib/wharfinger/registry"',
        ),
    ],
)
def test_a_wrong_type_says_which_is_right(
    errors: Errors, name: str, value: object, message: str
) -> None:
    assert errors(**{name: value}) == [message]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "registry_auth",
            "tokens",
            "registry_auth: 'tokens' is not one of its choices: write one of token, htpasswd",
        ),
        (
            "docker_auth_server",
            "cesenta",
            "docker_auth_server: 'cesenta' is not one of its choices: write one of embedded, "
            "cesanta",
        ),
        (
            "images_source",
            "download",
            "images_source: 'download' is not one of its choices: write one of auto, pull, build, "
            "archive",
        ),
    ],
)
def test_a_wrong_choice_names_the_choices(
    errors: Errors, name: str, value: str, message: str
) -> None:
    assert errors(**{name: value}) == [message]


def test_values_that_ansible_converts_are_converted(errors: Errors) -> None:
    assert errors(registry_port="5000", registry_hosts_entry="yes", docker_auth_pids="64") == []


def test_a_missing_variable_without_default_is_an_error() -> None:
    report = Report()
    check_variables({}, SPECS, {}, report)
    assert [str(problem) for problem in report.errors] == ["storage_path: is missing: write text"]


def test_an_optional_variable_may_be_empty() -> None:
    assert messages_for(storage_note=None) == []


@pytest.mark.parametrize(
    ("variables", "messages"),
    [
        (
            {"storage_kinds": ["a", "c"]},
            ["storage_kinds, entry 2: 'c' is not one of its choices: write one of a, b"],
        ),
        ({"storage_ratio": True}, ["storage_ratio: is true or false: write a number"]),
        ({"storage_anything": [1, {}]}, []),
        ({"storage_ratio": "wide"}, ["storage_ratio: is text: write a number"]),
        (
            {"storage_disks": [{"source": "x"}, {"sourec": "x"}]},
            [
                "storage_disks, entry 2, sourec: is not a key of storage_disks, entry 2: write "
                "source",
                "storage_disks, entry 2, source: is missing: write text",
            ],
        ),
        (
            {"storage_limits": {"lower": "few", "colour": 1}},
            [
                "storage_limits, colour: is not a key of storage_limits: its keys are upper, lower",
                "storage_limits, upper: is missing: write a whole number",
                "storage_limits, lower: is text: write a whole number",
            ],
        ),
        ({"storage_limits": {}}, []),
    ],
)
def test_entries_and_keys_are_checked_too(variables: dict[str, Any], messages: list[str]) -> None:
    assert messages_for(**variables) == messages


def test_defaults_are_filled_in_and_numbers_converted() -> None:
    report = Report()
    good = check_variables(
        {"storage_path": "/srv", "storage_limits": {"upper": "7"}}, SPECS, {}, report
    )
    assert good == {"storage_path": "/srv", "storage_ratio": 1.5, "storage_limits": {"upper": 7}}
    assert report.errors == []


@pytest.mark.parametrize(
    ("value", "spec", "used"),
    [
        ("443", {"type": "int", "default": 80}, 443),
        ("https", {"type": "int", "default": 80}, 80),
        ("yes", {"type": "bool", "default": False}, True),
        (["a"], {"type": "str", "default": "b"}, "b"),
        (None, {"type": "str", "default": "b"}, "b"),
        ("c", {"type": "str", "choices": ["a", "b"], "default": "a"}, "a"),
        ("a,b", {"type": "list", "elements": "str", "default": []}, []),
        (["a", ["b"]], {"type": "list", "elements": "str", "default": []}, []),
        (["a"], {"type": "list", "elements": "str", "default": []}, ["a"]),
        ("x", {"type": "dict", "default": {}}, {}),
    ],
)
def test_a_value_of_a_wrong_type_is_not_worked_with(
    value: object, spec: dict[str, Any], used: object
) -> None:
    assert usable(value, spec) == used
