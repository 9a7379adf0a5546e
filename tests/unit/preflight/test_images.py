"""Image registries that do not answer the host, before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest

from wharfinger.preflight.images import registries

from .conftest import Judge

HUB = "registry-1.docker.io"
WHY = {HUB: "Connection timed out", "images.test": "Connection refused"}


def test_pull_without_an_image_registry_names_build(judge: Judge) -> None:
    assert judge(host={"registries": WHY}).errors == [
        "images_source: pull needs registry-1.docker.io, which does not answer the host "
        "(Connection timed out): write images_source: build, which needs no image registry, or "
        "open the way there, or write an image that the host can pull into images_registry"
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"images_source": "build"},
        {"images_source": "auto"},  # builds then
        {"images_registry": "else.test/registry:3"},
    ],
)
def test_an_image_registry_from_which_nothing_is_pulled_need_not_answer(
    judge: Judge, variables: dict[str, Any]
) -> None:
    assert judge(host={"registries": WHY | {"else.test": ""}}, **variables).errors == []


@pytest.mark.parametrize(("version", "refused"), [(None, False), ("20230311", True)])
def test_a_fresh_host_without_authorities_may_pull(
    judge: Judge, version: str | None, refused: bool
) -> None:
    why = "its certificate is refused: unable to get local issuer certificate"
    packages = {"ca-certificates": version}
    assert bool(judge(host={"registries": {HUB: why}, "packages": packages}).errors) == refused
    assert judge(host={"registries": WHY, "packages": packages}).errors != []


def test_an_image_that_is_there_is_not_pulled(judge: Judge, specs: dict[str, Any]) -> None:
    reference = specs["images"]["images_registry"]["default"]
    record = {"source": "pull", "reference": reference, "present": True}
    host = {"registries": WHY, "state": {"images": {"registry": record}}}
    assert judge(host=host).errors == []


def test_a_teams_token_server_and_docker_auth_are_reported_by_their_variables(judge: Judge) -> None:
    host = {"registries": WHY}
    own = {"images_registry": "images.test/registry:3", "images_token_server": "images.test/t:1"}
    [said] = judge(host=host, **own).errors
    assert said.startswith("images_source: pull needs images.test, which does not answer the host")
    assert said.endswith("images_registry")
    cesanta = {"docker_auth_server": "cesanta", "images_source": "build"}
    assert judge(host=host, **cesanta).errors == [
        "images_docker_auth: docker_auth is pulled from registry-1.docker.io, which does not "
        "answer the host (Connection timed out): open the way there, write an image that the host "
        "can pull, or write docker_auth_server: embedded"
    ]


def test_a_malformed_image_reference_is_refused_without_being_shown(
    judge: Judge, specs: dict[str, Any]
) -> None:
    pasted = "https://me:planted@images.test/registry:3"
    assert registries([pasted, "registry:3"]) == [HUB]
    assert judge(host={"registries": {}}, images_registry=pasted).errors == [
        "images_registry: is not an image that docker can pull (not shown, it may hold a "
        f"password): write one like {specs['images']['images_registry']['default']}"
    ]
