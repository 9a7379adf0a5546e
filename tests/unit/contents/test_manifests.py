"""Manifests: what they refer to, and an answer for any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.host.contents.manifests import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    MAX_BYTES,
    OCI_ARTIFACT,
    OCI_IMAGE,
    OCI_INDEX,
    Descriptor,
    Manifest,
    Unreadable,
    parse,
)

A, B, C = (f"sha256:{number:064x}" for number in (1, 2, 3))


def read(**fields: Any) -> Manifest | Unreadable:
    return parse(json.dumps({"schemaVersion": 2, **fields}).encode())


@pytest.mark.parametrize("media_type", [OCI_IMAGE, DOCKER_IMAGE])
def test_an_image_has_a_config_layers_and_perhaps_a_subject(media_type: str) -> None:
    found = read(
        mediaType=media_type,
        config={"digest": A, "size": 7},
        layers=[{"digest": B, "size": 8}, {"digest": C}],
        subject={"digest": C},
        artifactType="application/spdx+json",
    )
    assert found == Manifest(
        media_type,
        blobs=(Descriptor(B, 8), Descriptor(C, None)),
        config=Descriptor(A, 7),
        subject=C,
        artifact_type="application/spdx+json",
    )
    assert isinstance(found, Manifest)
    assert [one.digest for one in found.contents] == [A, B, C]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_has_children(media_type: str) -> None:
    found = read(mediaType=media_type, manifests=[{"digest": A, "size": 7}])
    assert found == Manifest(media_type, children=(Descriptor(A, 7),))


def test_without_a_media_type_the_fields_tell() -> None:
    assert read(manifests=[]) == Manifest(OCI_INDEX)
    assert read(layers=[], config={"digest": A}) == Manifest(OCI_IMAGE, config=Descriptor(A, None))
    assert read(manifests=None, layers=None) == Manifest(OCI_IMAGE)


def test_names_of_fields_are_matched_as_the_registry_matches_them() -> None:
    data = json.dumps({"SCHEMAVERSION": 2, "Manifests": [{"Digest": A}], "manifests": None})
    assert parse(data.encode()) == Manifest(OCI_INDEX, children=(Descriptor(A, None),))


@pytest.mark.parametrize(
    "layer",
    [
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar"},
        {"urls": ["https://example.com/layer"]},
    ],
)
def test_a_layer_from_elsewhere_need_not_be_here(layer: dict[str, Any]) -> None:
    found = read(layers=[{"digest": A, "size": 7, **layer}])
    assert found == Manifest(OCI_IMAGE, blobs=(Descriptor(A, 7, elsewhere=True),))


def test_what_only_older_registries_read_stops_a_collection() -> None:
    assert parse(b'{"schemaVersion": 1, "fsLayers": 5}') == Manifest(
        "application/vnd.docker.distribution.manifest.v1+json", collected=False
    )
    data = {"mediaType": OCI_ARTIFACT, "blobs": [{"digest": A}], "subject": {"digest": B}}
    assert parse(json.dumps(data).encode()) == Manifest(
        OCI_ARTIFACT, blobs=(Descriptor(A, None),), subject=B, collected=False
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b" " * (MAX_BYTES + 1), "it is larger than 4 MiB"),
        (b'{"schemaVersion": 2, "layers": [{"dig', "it is not JSON, or cut off"),
        (b"[" * 100_000, "it is not JSON, or cut off"),
        (b'{"schemaVersion": NaN}', "it is not JSON, or cut off"),
        (b"\xef\xbb\xbf{}", "it is not JSON, or cut off"),
        (b"[]", "it is no JSON object"),
        (b"{}", "its schemaVersion is 0, not 2"),
        (b'{"schemaVersion": "2"}', "its schemaVersion is no number"),
        (b'{"schemaVersion": true}', "its schemaVersion is no number"),
        (b'{"schemaVersion": 2, "mediaType": 5}', "its mediatype is no text"),
        (b'{"schemaVersion": 2, "mediaType": "a/b"}', "its media type 'a/b' is unknown"),
        (b'{"schemaVersion": 2, "layers": {}}', "its layers are no list"),
        (b'{"schemaVersion": 2, "layers": [5]}', "an entry of its layers is no object"),
        (b'{"schemaVersion": 2, "config": {}}', "a digest in its config is none"),
        (
            b'{"schemaVersion": 2, "subject": {"digest": "sha256:x"}}',
            "a digest in its subject is none",
        ),
        (
            b'{"schemaVersion": 2, "manifests": [{"digest": "%s", "size": "7"}]}' % A.encode(),
            "a size in its manifests is no number",
        ),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, why: str) -> None:
    assert parse(data) == Unreadable(why)


names = st.sampled_from(
    ["mediaType", "manifests", "layers", "config", "subject", "digest", "size", "urls", "blobs"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([A, "2"]),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=20,
)


@given(st.dictionaries(names, values), st.sampled_from([0, 1, 2, None, "2"]))
def test_any_json_has_an_answer(fields: dict[str, Any], version: object) -> None:
    data = json.dumps({"schemaVersion": version, **fields}).encode()
    assert isinstance(parse(data), Manifest | Unreadable)
    assert isinstance(parse(data[: len(data) // 2]), Unreadable)


@given(st.binary())
def test_any_bytes_have_an_answer(data: bytes) -> None:
    assert isinstance(parse(data), Unreadable)


def test_an_index_of_layers_has_blobs_and_no_children() -> None:
    """As BuildKit writes its cache."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": A, "size": 7}
    config = {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": B, "size": 8}
    child = {"mediaType": OCI_IMAGE, "digest": C}
    found = read(mediaType=OCI_INDEX, manifests=[layer, child, config])
    assert isinstance(found, Manifest)
    assert found.children == (Descriptor(C, None),)
    assert found.contents == found.blobs == (Descriptor(A, 7), Descriptor(B, 8))
    assert {one.digest for one in found.members} == {A, B, C}
