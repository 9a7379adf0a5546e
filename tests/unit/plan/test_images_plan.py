"""Where each image comes from, and that what a host already has is not brought again."""

from __future__ import annotations

from typing import Any

from wharfinger.images import plan

REFERENCES = {"registry": "hub/registry:3", "token_server": "", "docker_auth": "hub/docker_auth:1"}
WANTED = {"registry": {"inputs": "r1"}, "token_server": {"inputs": "t1"}}


def asked(source: str, **more: Any) -> tuple[str, list[str], list[str]]:
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
    return answer.source, answer.make, [one["reference"] for one in answer.pull]


def record(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "present": True, **more}


def test_build_makes_both_images() -> None:
    assert asked("build") == ("build", ["registry", "token_server"], [])


def test_archive_makes_both_images() -> None:
    assert asked("archive") == ("archive", ["registry", "token_server"], [])


def test_pull_builds_the_token_server_that_no_image_registry_has() -> None:
    assert asked("pull") == ("pull", ["token_server"], ["hub/registry:3"])


def test_pull_takes_a_teams_own_copy_of_the_token_server() -> None:
    references = {**REFERENCES, "token_server": "team/token-server:1"}
    assert asked("pull", references=references) == (
        "pull",
        [],
        ["hub/registry:3", "team/token-server:1"],
    )


def test_docker_auth_is_pulled_whatever_the_source() -> None:
    assert asked("build", server="cesanta") == ("build", ["registry"], ["hub/docker_auth:1"])


def test_htpasswd_needs_no_token_server() -> None:
    assert asked("build", auth="htpasswd") == ("build", ["registry"], [])


def test_auto_pulls_where_an_image_registry_answers_and_builds_otherwise() -> None:
    assert asked("auto", reachable=True)[0] == "pull"
    assert asked("auto", reachable=False)[0] == "build"


def test_auto_keeps_what_the_host_has_recorded() -> None:
    recorded = {"registry": record("build", inputs="r1")}
    assert asked("auto", reachable=True, recorded=recorded)[0] == "build"


def test_present_images_of_the_same_inputs_are_not_made_again() -> None:
    recorded = {
        "registry": record("build", inputs="r1"),
        "token_server": record("build", inputs="t0"),
    }
    assert asked("build", recorded=recorded) == ("build", ["token_server"], [])


def test_a_recorded_image_that_docker_no_longer_has_is_made_again() -> None:
    recorded = {"registry": record("build", inputs="r1") | {"present": False}}
    assert asked("build", recorded=recorded) == ("build", ["registry", "token_server"], [])


def test_a_pulled_image_is_not_pulled_again() -> None:
    recorded = {
        "registry": record("pull", reference="hub/registry:3"),
        "token_server": record("build", inputs="t1"),
    }
    assert asked("pull", recorded=recorded) == ("pull", [], [])


def test_another_reference_is_pulled() -> None:
    recorded = {"registry": record("pull", reference="hub/registry:2")}
    assert asked("pull", recorded=recorded)[2] == ["hub/registry:3"]


def test_a_bundle_with_a_newer_image_of_the_same_inputs_is_loaded() -> None:
    recorded = {kind: record("archive", inputs=f"{kind[0]}1", id="old") for kind in WANTED}
    bundle = {kind: {"inputs": f"{kind[0]}1", "ids": ["old"]} for kind in WANTED}
    assert asked("archive", recorded=recorded, wanted=bundle)[1] == []
    bundle["token_server"]["ids"] = ["new"]
    assert asked("archive", recorded=recorded, wanted=bundle)[1] == ["token_server"]


def test_a_refresh_makes_images_anew_and_leaves_pulled_ones() -> None:
    recorded = {
        "registry": record("pull", reference="hub/registry:3"),
        "token_server": record("build", inputs="t1"),
    }
    assert asked("pull", recorded=recorded, refresh=True) == ("pull", ["token_server"], [])


def test_a_refresh_leaves_the_registry_whose_image_holds_nothing_of_debian() -> None:
    recorded = {kind: record("build", inputs=f"{kind[0]}1") for kind in WANTED}
    assert asked("build", recorded=recorded, refresh=True)[1] == ["token_server"]
