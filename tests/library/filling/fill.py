"""Fills a registry."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from load.session import Session
from support.registry import LAYER, digest

from . import manifests
from .content import MIB, Content, Large
from .manifests import PLATFORMS, SBOM, SIGNATURE, Manifest, belonging, configuration
from .pushing import Pushing, several

# One token is requested for this many repositories: each token costs the server a bcrypt.
_TOGETHER = 20
# Where the blobs come from that the small repositories share.
SHARED = "small/shared"
LARGE = "large/model"
SPECIAL = (
    *("team/app", "team/other", "daily/app", "daily/multi", "signed/app", "artifacts/app"),
    *("classic/app", "a/b/c/d/e", "cache/app", SHARED, LARGE),
)


@dataclass(frozen=True)
class Amount:
    """How much: small repositories, tags in each; number and bytes of the large layers."""

    repositories: int = 200
    tags: int = 10
    large: int = 1024 * MIB
    layers: int = 1


def fill(session: Session, amount: Amount | None = None) -> Content:
    """Pushes everything; returns what the registry then holds. Raises Unexpected."""
    amount = amount or Amount()
    content = Content()
    pushing = Pushing(session, content, SPECIAL)
    base = os.urandom(MIB)
    several(
        [
            partial(shared_layers, pushing, base),
            partial(daily, pushing),
            partial(signed, pushing),
            partial(artifacts, pushing),
            partial(classic, pushing),
            partial(nested, pushing),
            partial(cached, pushing),
            partial(large, pushing, amount),
        ],
        workers=4,
    )
    small(session, content, amount)
    return content


def one_image(pushing: Pushing, repository: str, tag: str | None = None, **more: str) -> Manifest:
    """Pushes an image of its own with one small layer."""
    layer, config = os.urandom(4096), configuration(**more)
    pushing.blob(repository, layer)
    pushing.blob(repository, config)
    made = manifests.image(config, [manifests.layer(layer)])
    return pushing.manifest(repository, made, tag)


def several_platforms(
    pushing: Pushing, repository: str, tag: str, base: bytes | None = None
) -> tuple[Manifest, list[Manifest]]:
    """Pushes an index of images that share their base layer, by the tag; returns it and them."""
    base = os.urandom(65536) if base is None else base
    pushing.blob(repository, base)
    children = []
    for architecture, variant in PLATFORMS:
        layer, config = os.urandom(65536), configuration(architecture, variant, tag=tag)
        pushing.blob(repository, layer)
        pushing.blob(repository, config)
        made = manifests.image(config, [manifests.layer(base), manifests.layer(layer)])
        children.append(pushing.manifest(repository, made))
    named = [
        child.descriptor(platform=manifests.platform(*platform))
        for child, platform in zip(children, PLATFORMS, strict=True)
    ]
    return pushing.manifest(repository, manifests.index(named), tag), children


def shared_layers(pushing: Pushing, base: bytes) -> None:
    """team/app: 1.0 and 1.1 for three platforms, one of which has a tag of its own, and latest.
    team/other has the base layer too."""
    _, children = several_platforms(pushing, "team/app", "1.0", base)
    pushing.manifest("team/app", children[0], "1.0-amd64")
    newest, _ = several_platforms(pushing, "team/app", "1.1", base)
    pushing.manifest("team/app", newest, "latest")
    name = digest(base)
    pushing.mount("team/other", name, "team/app")
    config = configuration(of="team/other")
    pushing.blob("team/other", config)
    pushing.manifest("team/other", manifests.image(config, [manifests.layer(base)]), "1")


def daily(pushing: Pushing) -> None:
    """daily/app: `latest` of each of five days. daily/multi: the same of two, three platforms."""
    for day in range(5):
        one_image(pushing, "daily/app", "latest", day=str(day))
    for _ in range(2):
        several_platforms(pushing, "daily/multi", "latest")


def sign(pushing: Pushing, repository: str, subject: Manifest, ending: str = ".sig") -> Manifest:
    """Pushes a signature as cosign does: by a tag that names its subject."""
    payload = f'{{"critical": {{"image": "{subject.digest}"}}, "kind": "{ending}"}}'.encode()
    config = configuration(signature=ending)
    pushing.blob(repository, payload)
    pushing.blob(repository, config)
    made = manifests.image(config, [manifests.of(SIGNATURE, payload)])
    return pushing.manifest(repository, made, belonging(subject.digest, ending))


def signed(pushing: Pushing) -> None:
    """signed/app: twelve images, each signed and attested."""
    for number in range(12):
        made = one_image(pushing, "signed/app", f"v{number}", number=str(number))
        for ending in (".sig", ".att"):
            sign(pushing, "signed/app", made, ending)


def attach(pushing: Pushing, repository: str, subject: Manifest, text: bytes) -> Manifest:
    """Pushes an artifact with a subject, by its digest alone, and the tag that lists it."""
    pushing.blob(repository, b"{}")
    pushing.blob(repository, text)
    made = pushing.manifest(repository, manifests.artifact(SBOM, text, subject))
    listed = manifests.index([made.descriptor(artifactType=SBOM)])
    pushing.manifest(repository, listed, belonging(subject.digest, ""))
    return made


def artifacts(pushing: Pushing) -> None:
    """artifacts/app: 1 has a list of its contents, and a signature is attached to that list."""
    made = one_image(pushing, "artifacts/app", "1")
    contents = attach(pushing, "artifacts/app", made, b'{"spdxVersion": "SPDX-2.3"}')
    attach(pushing, "artifacts/app", contents, b'{"signature": "of the list"}')


def classic(pushing: Pushing) -> None:
    """classic/app: docker's own family: `1`, and `multi` for two platforms; and an OCI image."""
    children = []
    for architecture, variant in PLATFORMS[:2]:
        layer, config = os.urandom(8192), configuration(architecture, variant)
        pushing.blob("classic/app", layer)
        pushing.blob("classic/app", config)
        children.append(pushing.manifest("classic/app", manifests.docker_image(config, [layer])))
    named = [
        child.descriptor(platform=manifests.platform(*platform))
        for child, platform in zip(children, PLATFORMS, strict=False)
    ]
    pushing.manifest("classic/app", manifests.docker_list(named), "multi")
    pushing.manifest("classic/app", children[0], "1")
    one_image(pushing, "classic/app", "oci", family="oci")


def nested(pushing: Pushing) -> None:
    """a/b/c/d/e."""
    one_image(pushing, "a/b/c/d/e", "1")


def cached(pushing: Pushing) -> None:
    """cache/app: main, a build's cache of yesterday and today's, which share a layer."""
    shared = os.urandom(16384)
    for day in range(2):
        layers, config = [shared, os.urandom(8192)], b'{"day": %d}' % day
        for blob in (*layers, config):
            pushing.blob("cache/app", blob)
        pushing.manifest("cache/app", manifests.cache(layers, config), "main")


def large(pushing: Pushing, amount: Amount) -> None:
    """large/model: 1, 2, …, each an image of one large layer."""
    for number in range(1, amount.layers + 1):
        body = Large(amount.large)
        pushing.large(LARGE, body)
        pushing.content.large[body.digest] = body
        config = configuration(number=str(number))
        pushing.blob(LARGE, config)
        layer = manifests.described(LAYER, body.digest, body.size)
        pushing.manifest(LARGE, manifests.image(config, [layer]), str(number))


def small(session: Session, content: Content, amount: Amount) -> None:
    """small/NNN/app: v1, v2, …, all different, with the same configuration and layer."""
    layer, config = os.urandom(1024), configuration(of="all")
    first = Pushing(session, content, [SHARED])
    names = [first.blob(SHARED, blob) for blob in (layer, config)]
    first.manifest(SHARED, manifests.image(config, [manifests.layer(layer)]), "1")

    def push(pushing: Pushing, repository: str) -> None:
        for name in names:
            pushing.mount(repository, name, SHARED)
        for number in range(1, amount.tags + 1):
            about = {"org.opencontainers.image.version": f"{repository} {number}"}
            made = manifests.image(config, [manifests.layer(layer)], annotations=about)
            pushing.manifest(repository, made, f"v{number}")

    several(
        partial(push, pushing, repository)
        for together in batched([f"small/{number:03}/app" for number in range(amount.repositories)])
        for pushing in [Pushing(session, content, [SHARED, *together])]
        for repository in together
    )


def batched(names: list[str]) -> Iterator[list[str]]:
    """The names in batches; one token is requested for each batch."""
    iterator = iter(names)
    while together := list(itertools.islice(iterator, _TOGETHER)):
        yield together
