"""Hosts of one inventory that have the same name and no authority of their own."""

from __future__ import annotations

from dataclasses import replace

from wharfinger.deployment.problems import Report
from wharfinger.preflight.together import Registry, check_together

ONE = Registry("r.example.com", "443", "/i", "provided", "", "10.0.0.1, port 22", "ssh", {})
TWO = replace(ONE, machine="10.0.0.2, port 22")


def judged(*hosts: Registry) -> Report:
    report = Report()
    check_together(dict(zip("abc", hosts, strict=False)), report, deploys=True)
    return report


def test_two_hosts_with_one_name_are_reported_without_authorities_too() -> None:
    report = judged(ONE, TWO)
    assert report.errors == []
    assert [str(problem) for problem in report.warnings] == [
        "registry_hostname: a, b have the same one, 'r.example.com', so a client reaches only the "
        "one that DNS leads to: write a registry_hostname for each (host_vars/a.yml and "
        "host_vars/b.yml), and remove it from group_vars, unless that is meant"
    ]
    assert judged(ONE, replace(TWO, port="5000")) == Report()
    assert judged(ONE, replace(TWO, hostname="s.example.com")) == Report()


def test_authorities_that_differ_are_refused() -> None:
    assert len(judged(ONE, replace(TWO, source="own_ca")).errors) == 1
    assert len(judged(ONE, replace(TWO, root="other.crt")).errors) == 1
    private = replace(ONE, root="root.crt")
    assert judged(private, replace(TWO, root="root.crt")).errors == []


def test_the_same_address_behind_another_jump_host_is_another_machine() -> None:
    other = replace(TWO, hostname="s.example.com", machine=ONE.machine)
    assert len(judged(ONE, other).errors) == 1
    assert judged(ONE, replace(other, via="ssh -J there")).errors == []


def test_other_inventories_keep_their_own_files() -> None:
    assert judged(replace(ONE, source="own_ca"), replace(TWO, source="own_ca", folder="/j")) == (
        Report()
    )
