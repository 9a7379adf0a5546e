"""Whether the image registries from which a deployment pulls answer the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wharfinger import images
from wharfinger.deployment.facts import HostFacts, Memory
from wharfinger.deployment.problems import Report
from wharfinger.registry.configuration import VERSION

# Kind of image → the variable that names what is pulled for it.
_NAMED = {"registry": "images_registry", "token_server": "images_token_server"}


def pulled(settings: Mapping[str, Any], state: Memory) -> dict[str, str]:
    """Kind → reference of the images that the host must pull; with `auto`, that it may pull.

    settings: the variables, of the right types. state: what the host remembers.
    """
    planned = images.plan(
        source=settings["images_source"],
        # Without a record, `auto` pulls where it can.
        reachable=True,
        auth=settings["registry_auth"],
        server=settings["docker_auth_server"],
        references={
            "registry": settings["images_registry"],
            "token_server": settings["images_token_server"],
            "docker_auth": settings["images_docker_auth"],
        },
        wanted={},
        recorded=state.images,
    )
    return {image["kind"]: image["reference"] for image in planned.pull}


def registries(references: Iterable[str]) -> list[str]:
    """The hosts that serve them. Invalid references are left out: they may hold a password."""
    fine = filter(images.REFERENCE.fullmatch, references)
    return sorted({images.registry_host(reference) for reference in fine})


def check_reachable(good: Mapping[str, Any], host: HostFacts, report: Report) -> None:
    """Reports the image registries that do not answer the host.

    host: `registries` is what `reachable` answered; None if it was not called.
    """
    answers = host.registries
    needed = ("images_source", "registry_auth", "docker_auth_server", *_NAMED.values())
    if answers is None or not {*needed, "images_docker_auth"} <= good.keys():
        return
    reported = set()
    for kind, reference in pulled(good, host.state).items():
        docker_auth = kind == "token_server" and good["docker_auth_server"] == "cesanta"
        named = "images_docker_auth" if docker_auth else _NAMED[kind]
        if not images.REFERENCE.fullmatch(reference):
            report.error(
                named,
                "is not an image that docker can pull (not shown, it may hold a password): write "
                f"one like docker.io/library/registry:{VERSION}",
            )
            continue
        registry = images.registry_host(reference)
        why = answers.get(registry)
        if not why or registry in reported or lacks_authorities(host, why):
            continue
        reported.add(registry)
        does_not = f"{registry}, which does not answer the host ({why})"
        if docker_auth:
            report.error(
                named,
                f"docker_auth is pulled from {does_not}: open the way there, write an image that "
                "the host can pull, or write docker_auth_server: embedded",
            )
        elif good["images_source"] == "pull":
            report.error(
                "images_source",
                f"pull needs {does_not}: write images_source: build, which needs no image "
                f"registry, or open the way there, or write an image that the host can pull into "
                f"{named}",
            )


def lacks_authorities(host: HostFacts, why: str) -> bool:
    """Whether the certificate was refused only because a fresh host lacks ca-certificates.

    The deployment installs them before anything is pulled.
    """
    missing = host.packages.get("ca-certificates", "") is None
    return missing and "certificate is refused" in why
