"""Where each image comes from, and that a host does not get again what it already has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from images.toolbox import ROOT
from wharfinger.images import plan, problems

REFERENCES = {"registry": "hub/registry:3", "token_server": "", "docker_auth": "hub/docker_auth:1"}
WANTED = {"registry": {"inputs": "r1"}, "token_server": {"inputs": "t1"}}


def planned(source: str, **more: Any) -> tuple[str, list[str], list[str]]:
    settings: dict[str, Any] = {
        "reachable": False,
        "auth": "token",
        "server": "embedded",
        "references": REFERENCES,
        "wanted": WANTED,
        "recorded": {},
        **more,
    }
    answer = plan(source=source, **settings)
    return answer.source, answer.make, [image["reference"] for image in answer.pull]


def record(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "present": True, **more}


def test_build_makes_both_images() -> None:
    assert planned("build") == ("build", ["registry", "token_server"], [])


def test_archive_makes_both_images() -> None:
    assert planned("archive") == ("archive", ["registry", "token_server"], [])


def test_pull_builds_the_token_server_that_no_image_registry_has() -> None:
    assert planned("pull") == ("pull", ["token_server"], ["hub/registry:3"])


def test_pull_takes_a_teams_own_copy_of_the_token_server() -> None:
    references = {**REFERENCES, "token_server": "team/token-server:1"}
    assert planned("pull", references=references) == (
        "pull",
        [],
        ["hub/registry:3", "team/token-server:1"],
    )


def test_docker_auth_is_pulled_whatever_the_source() -> None:
    assert planned("build", server="cesanta") == ("build", ["registry"], ["hub/docker_auth:1"])


def test_htpasswd_needs_no_token_server() -> None:
    assert planned("build", auth="htpasswd") == ("build", ["registry"], [])


def test_auto_pulls_where_an_image_registry_answers_and_builds_otherwise() -> None:
    assert planned("auto", reachable=True)[0] == "pull"
    assert planned("auto", reachable=False)[0] == "build"


def test_auto_keeps_what_the_host_has_recorded() -> None:
    recorded = {"registry": record("build", inputs="r1")}
    assert planned("auto", reachable=True, recorded=recorded)[0] == "build"


def test_present_images_of_the_same_inputs_are_not_made_again() -> None:
    recorded = {
        "registry": record("build", inputs="r1"),
        "token_server": record("build", inputs="t0"),
    }
    assert planned("build", recorded=recorded) == ("build", ["token_server"], [])


def test_a_recorded_image_that_docker_no_longer_has_is_made_again() -> None:
    recorded = {"registry": record("build", inputs="r1") | {"present": False}}
    assert planned("build", recorded=recorded) == ("build", ["registry", "token_server"], [])


def test_a_pulled_image_is_not_pulled_again() -> None:
    recorded = {
        "registry": record("pull", reference="hub/registry:3"),
        "token_server": record("build", inputs="t1"),
    }
    assert planned("pull", recorded=recorded) == ("pull", [], [])


def test_another_reference_is_pulled() -> None:
    recorded = {"registry": record("pull", reference="hub/registry:2")}
    assert planned("pull", recorded=recorded)[2] == ["hub/registry:3"]


def test_a_bundle_with_a_newer_image_of_the_same_inputs_is_loaded() -> None:
    recorded = {kind: record("archive", inputs=f"{kind[0]}1", id="old") for kind in WANTED}
    bundle = {kind: {"inputs": f"{kind[0]}1", "ids": ["old"]} for kind in WANTED}
    assert planned("archive", recorded=recorded, wanted=bundle)[1] == []
    bundle["token_server"]["ids"] = ["new"]
    assert planned("archive", recorded=recorded, wanted=bundle)[1] == ["token_server"]


def test_a_refresh_builds_images_again_and_leaves_pulled_images() -> None:
    recorded = {
        "registry": record("pull", reference="hub/registry:3"),
        "token_server": record("build", inputs="t1"),
    }
    assert planned("pull", recorded=recorded, refresh=True) == ("pull", ["token_server"], [])


def test_a_refresh_leaves_the_registry_whose_image_holds_nothing_of_debian() -> None:
    recorded = {kind: record("build", inputs=f"{kind[0]}1") for kind in WANTED}
    assert planned("build", recorded=recorded, refresh=True)[1] == ["token_server"]


ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def pinned(digest: str, had: str | None = None) -> tuple[list[Any], list[str]]:
    """The digests to pull and the messages, when the registry's image is pinned to `digest` and the
    host has pulled `had`."""
    recorded = record("pull", reference="hub/registry:3", digest=had)
    answer = plan(
        source="pull",
        reachable=True,
        auth="htpasswd",
        server="embedded",
        references=REFERENCES,
        wanted={},
        recorded={"registry": recorded} if had else {},
        pinned={"hub/registry:3": digest},
    )
    return [image["digest"] for image in answer.pull], answer.replaced


def test_a_pinned_image_is_pulled_by_its_digest() -> None:
    assert pinned(ONE) == ([ONE], [])
    assert pinned("") == ([None], [])


def test_a_host_that_has_the_pinned_image_pulls_nothing() -> None:
    assert pinned(ONE, ONE) == ([], [])
    assert pinned("", ONE) == ([], [])


def test_another_image_that_a_host_has_pulled_is_replaced_and_reported() -> None:
    assert pinned(ONE, OTHER) == (
        [ONE],
        [
            f"registry: this host has pulled {OTHER} as hub/registry:3, but {ONE} is pinned for it "
            "(images/pinned.yml or images_pinned): the pinned image replaces it as a new "
            "generation, and playbooks/rollback.yml goes back. The same tag may have been "
            "published again; if not, find out who published the other image"
        ],
    )


def test_the_pins_of_this_checkout_are_for_the_images_that_it_pulls() -> None:
    pins = yaml.safe_load((ROOT / "images/pinned.yml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((ROOT / "roles/images/defaults/main.yml").read_text(encoding="utf-8"))
    assert problems(pins) == []
    assert sorted(pins) == sorted([defaults["images_registry"], defaults["images_docker_auth"]])


@pytest.mark.parametrize(
    "digest", [f" {ONE}", "sha256:" + "A" * 64, "1" * 64, None, 12, ["x"], f"{ONE}\n"]
)
def test_a_malformed_digest_is_refused(digest: object) -> None:
    assert problems({"hub/registry:3": digest}) == [
        "hub/registry:3: the value is not a digest: write sha256: and 64 hexadecimal digits in "
        'lower case, or "" where the image is not pinned'
    ]


def test_a_malformed_reference_is_refused() -> None:
    assert problems({3.1: ONE}) == [
        "a key is a number: write an image's reference, in quotes, such as "
        '"docker.io/library/registry:3.1.2"'
    ]
