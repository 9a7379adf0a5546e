"""The tests' own reading of docker_auth is right: it decides as docker_auth itself did."""

from __future__ import annotations

import json
from pathlib import Path

from golden import docker_auth


def test_the_tests_evaluator_decides_as_docker_auth_did(project: Path) -> None:
    golden = json.loads((project / "tests/library/golden/decisions.json").read_text())
    compared = 0
    for case in golden["cases"]:
        for question in case["questions"]:
            if question["status"] != 200:
                continue
            scopes = " ".join(question["scopes"]).split()
            access = [
                docker_auth.access(case, question["user"] or "", scope, question["service"])
                for scope in scopes
            ]
            assert access == question["access"], (case["acl"], question)
            compared += len(scopes)
    assert compared > 1000
