"""`wharf show`."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import CONFIGURATION, HOST, Fake, cache, digest, image, index
from wharfinger.oci.media_types import DOCKER_IMAGE, DOCKER_LIST, OCI_ARTIFACT, OCI_IMAGE, OCI_INDEX

APP = f"{HOST}/app"


@pytest.mark.parametrize("media_type", [OCI_IMAGE, DOCKER_IMAGE])
def test_an_image_of_either_family(fake: Fake, wharf: Wharf, media_type: str) -> None:
    data = image(("a", 1000), ("b", 500), media_type=media_type)
    name = fake.push("app", "1", data)
    ran = wharf("show", f"{APP}:1")
    kind = "OCI image" if media_type == OCI_IMAGE else "Docker image"
    assert ran.code == 0
    assert ran.lines[:6] == [
        f"{APP}:1",
        f"  digest       {name}",
        f"  kind         {kind}",
        f"  manifest     {len(data)} B",
        f"  size         {(1500 + len(CONFIGURATION)) / 1000:.3g} kB (each blob once)",
        "  platform     linux/amd64",
    ]
    for line in (
        "  entrypoint   /app --serve",
        "  ports        80/tcp",
        "  environment  A=1",
        "               B=2",
        "  label        maintainer=someone",
    ):
        assert line in ran.lines
    assert any(line.split()[:3] == [digest(b"a"), "1", "kB"] for line in ran.lines)


def test_history_has_the_size_of_the_layer_that_each_step_made(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "1", image(("a", 1000)))
    lines = [line.split() for line in wharf("show", f"{APP}:1").lines]
    assert ["2026-01-02T03:04:05", "1", "kB", "COPY", "app", "/app"] in lines
    assert ["ENV", "A=1"] in lines


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_of_either_family(fake: Fake, wharf: Wharf, media_type: str) -> None:
    children = [image(("a", 100)), image(("b", 200)), image(("c", 300))]
    for child in children[:2]:
        fake.push("app", None, child)
    fake.push("app", "1", index(*children, media_type=media_type))
    ran = wharf("show", f"{APP}:1", "--json")
    assert ran.json["size"] == 300 + 2 * len(CONFIGURATION)
    assert [
        (member["platform"], member["digest"], member["size"], member["problem"])
        for member in ran.json["manifests"]
    ] == [
        ("linux/arch0", digest(children[0]), 100 + len(CONFIGURATION), None),
        ("linux/arch1", digest(children[1]), 200 + len(CONFIGURATION), None),
        ("linux/arch2", digest(children[2]), None, "not mirrored"),
    ]
    shown = wharf("show", f"{APP}:1").out
    assert re.search(r"linux/arch2 .* not mirrored$", shown, re.MULTILINE)
    assert "(2 of 3 platforms; the others are not mirrored)" in shown
    assert ("OCI index" in shown) == (media_type == OCI_INDEX)


def test_an_artifact_with_blobs_and_a_subject(fake: Fake, wharf: Wharf) -> None:
    data = json.dumps(
        {
            "mediaType": OCI_ARTIFACT,
            "artifactType": "text/sbom",
            "blobs": [{"mediaType": "x", "digest": digest(b"s"), "size": 7}],
            "subject": {"mediaType": OCI_IMAGE, "digest": digest(b"of"), "size": 1},
            "annotations": {"made by": "hand"},
        }
    ).encode()
    fake.push("app", "1", data)
    shown = wharf("show", f"{APP}:1", "--json").json
    assert (shown["artifact_type"], shown["subject"], shown["size"]) == (
        "text/sbom",
        digest(b"of"),
        7,
    )
    assert shown["annotations"] == {"made by": "hand"}


def test_raw_is_byte_for_byte(fake: Fake, wharf: Wharf) -> None:
    data = (
        json.dumps(json.loads(image(("ü", 1), annotations={"a": "ü"})), indent=3).encode() + b"\n"
    )
    name = fake.push("app", "1", data)
    assert wharf("show", f"{APP}:1", "--raw").out.encode() == data
    assert wharf("show", f"{APP}@{name}", "--raw").out.encode() == data


def test_referrers_by_the_api(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", image())
    fake.referrers = {name: [{"digest": digest(b"sig"), "artifactType": "sig"}, {"digest": 7}]}
    assert wharf("show", f"{APP}:1", "--json").json["referrers"] == [
        {
            **{"digest": digest(b"sig"), "type": "sig", "artifact_type": "sig", "tag": None},
            "annotations": {},
        }
    ]


def test_referrers_by_the_tag_in_its_place_and_by_names(fake: Fake, wharf: Wharf) -> None:
    data = image()
    fake.push("app", "1", data)
    prefix = digest(data).replace(":", "-")
    signature = image(("sig", 1))
    fake.push("app", prefix, index(signature, platforms=False))
    fake.push("app", f"{prefix}.att", signature)
    referrers = wharf("show", f"{APP}:1", "--json").json["referrers"]
    assert [(referrer["digest"], referrer["tag"]) for referrer in referrers] == [
        (digest(signature), None),
        (None, f"{prefix}.att"),
    ]


def test_without_a_tag_latest_others_are_named(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "1", image())
    fake.push("app", "sha256-" + "a" * 64 + ".sig", image())
    ran = wharf("show", APP)
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {APP} has no tag latest: name one of 1\n",
    )
    del fake.repositories["app"]["1"], fake.repositories["app"]["sha256-" + "a" * 64 + ".sig"]
    assert wharf("show", APP).err == f"wharf: {APP} has no tag latest: it has no tags\n"


def test_a_tag_that_is_not_there(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "1", image())
    ran = wharf("show", f"{APP}:2")
    assert (ran.code, ran.err) == (1, f"wharf: {APP} has no tag 2: name one of 1\n")
    ran = wharf("show", f"{APP}s:1")
    assert (ran.code, ran.err) == (1, f"wharf: {HOST} has no repository apps\n")
    name = "sha256:" + "0" * 64
    ran = wharf("show", f"{APP}@{name}")
    assert (ran.code, ran.err) == (1, f"wharf: {APP} has no digest {name}\n")


def test_content_that_does_not_match_the_digest_is_refused(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", image())
    fake.content[name] = image(("other", 1))
    ran = wharf("show", f"{APP}@{name}")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: registry.test answers app@{name} with other content than {name}: it is damaged "
        "there, or changed on its way\n",
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"schemaVersion": 2, "lay', "it is not JSON, or cut off"),
        (b"{}", "its schemaVersion is 0, not 2"),
    ],
)
def test_a_manifest_that_cannot_be_read(fake: Fake, wharf: Wharf, data: bytes, why: str) -> None:
    fake.push("app", "1", data)
    ran = wharf("show", f"{APP}:1")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: registry.test: the manifest app:1 is unreadable: {why}\n",
    )


def test_a_damaged_configuration_is_reported(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "1", image())
    name = digest(CONFIGURATION)
    fake.content[name] = b"{}"
    assert wharf("show", f"{APP}:1").err == (
        f"wharf: registry.test answers the blob {name} of app with other content: it is damaged "
        "there, or changed on its way\n"
    )
    del fake.content[name]
    assert wharf("show", f"{APP}:1").err == f"wharf: {APP} lacks the blob {name}\n"


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"config": 7, "history": 7}, {"history": [7]}])
def test_a_configuration_may_be_anything(fake: Fake, wharf: Wharf, odd: object) -> None:
    config = json.dumps(odd).encode()
    data = image(("a", 1), config={"digest": digest(config), "size": len(config)})
    fake.push("app", "1", data)
    fake.content[digest(config)] = config
    fake.blobs["app"].add(digest(config))
    assert wharf("show", f"{APP}:1").code == 0


def test_schema_1_is_shown_by_the_digest_that_the_registry_gives(fake: Fake, wharf: Wharf) -> None:
    signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    name = "sha256:" + "1" * 64
    fake.push("app", "1", image())
    fake.before = [
        lambda request: (
            httpx.Response(
                200,
                headers={"Content-Type": signed, "Docker-Content-Digest": name},
                json={"schemaVersion": 1, "fsLayers": []},
            )
            if "manifests/1" in request.url.path
            else None
        )
    ]
    shown = wharf("show", f"{APP}:1", "--json").json
    assert shown["digest"] == name


def test_a_build_cache_shows_its_layers(fake: Fake, wharf: Wharf) -> None:
    fake.push("app", "cache", cache())
    ran = wharf("show", f"{APP}:cache")
    assert ran.code == 0
    assert "  kind      OCI index" in ran.lines
    assert "  type      BuildKit cache" in ran.lines
    assert "  size      42 B (all members together)" in ran.lines
    assert "members" in ran.lines
    assert "missing" not in ran.out


def test_referrers_are_shown_with_their_types(fake: Fake, wharf: Wharf) -> None:
    name = fake.push("app", "1", image())
    prefix = name.replace(":", "-")
    signature = image(("sig", 1))
    for ending in ("sig", "att", "sbom"):
        fake.push("app", f"{prefix}.{ending}", signature)
    fake.referrers = {name: [{"digest": digest(b"s"), "artifactType": "application/spdx+json"}]}
    referrers = wharf("show", f"{APP}:1", "--json").json["referrers"]
    assert [referrer["type"] for referrer in referrers] == [
        "SPDX SBOM",
        *("in-toto attestation", "SBOM", "cosign signature"),
    ]
    assert "cosign signature" in wharf("show", f"{APP}:1").out
