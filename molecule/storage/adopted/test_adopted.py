"""The deployment serves the data that another registry's container had stored as root."""

from __future__ import annotations

import json

from support import hosts
from support.registry import MANIFEST, digest

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"


def test_the_old_repositories_are_served_with_the_digests_they_had() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    wanted = (hosts.ephemeral() / "adopted").read_text()
    for reference in ("1", wanted):
        answer = registry.call(
            someuser,
            "repository:someuser/old:pull",
            "GET",
            f"/v2/someuser/old/manifests/{reference}",
            headers={"Accept": f"{MANIFEST}, {SCHEMA2}"},
        )
        assert answer.status == 200, answer.body
        assert digest(answer.body) == wanted
    for layer in json.loads(answer.body)["layers"]:
        blob = registry.blob(someuser, "someuser/old", layer["digest"])
        assert digest(blob.body) == layer["digest"]


def test_only_the_rules_say_who_may_read_it() -> None:
    registry = hosts.registry("storage")
    stranger = hosts.account("stranger")
    assert registry.pull(stranger, "someuser/old", "1").status == 401


def test_the_adopted_data_can_be_added_to() -> None:
    registry, someuser = hosts.registry("storage"), hosts.account("someuser")
    assert registry.push(someuser, "someuser/old", "2", b"a new layer").status == 201
    assert registry.pull(someuser, "someuser/old", "2").status == 200
