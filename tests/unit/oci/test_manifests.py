"""Manifests: what they refer to, and an answer for any bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.oci import go_json
from wharfinger.oci.manifests import (
    MAX_BYTES,
    Descriptor,
    Manifest,
    Unreadable,
    document,
    parse,
)
from wharfinger.oci.media_types import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_ARTIFACT,
    OCI_IMAGE,
    OCI_INDEX,
)

A, B, C = (f"sha256:{number:064x}" for number in (1, 2, 3))


def read(**fields: Any) -> Manifest | Unreadable:
    return parse(json.dumps({"schemaVersion": 2, **fields}).encode())


@pytest.mark.parametrize("media_type", [OCI_IMAGE, DOCKER_IMAGE])
def test_an_image_has_a_config_layers_and_perhaps_a_subject(media_type: str) -> None:
    manifest = read(
        mediaType=media_type,
        config={"digest": A, "size": 7},
        layers=[{"digest": B, "size": 8}, {"digest": C}],
        subject={"digest": C},
        artifactType="application/spdx+json",
    )
    assert manifest == Manifest(
        media_type,
        blobs=(Descriptor(B, 8), Descriptor(C, None)),
        config=Descriptor(A, 7),
        subject=C,
        artifact_type="application/spdx+json",
    )
    assert isinstance(manifest, Manifest)
    assert [descriptor.digest for descriptor in manifest.contents] == [A, B, C]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_has_children(media_type: str) -> None:
    manifest = read(mediaType=media_type, manifests=[{"digest": A, "size": 7}])
    assert manifest == Manifest(media_type, children=(Descriptor(A, 7),))


def test_without_a_media_type_the_fields_tell() -> None:
    assert read(manifests=[]) == Manifest(OCI_INDEX)
    assert read(layers=[], config={"digest": A}) == Manifest(OCI_IMAGE, config=Descriptor(A, None))
    assert read(manifests=None, layers=None) == Manifest(OCI_IMAGE)


def test_names_of_fields_are_matched_as_the_registry_matches_them() -> None:
    data = json.dumps({"SCHEMAVERSION": 2, "Manifests": [{"Digest": A}], "size": None})
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
    manifest = read(layers=[{"digest": A, "size": 7, **layer}])
    assert manifest == Manifest(OCI_IMAGE, blobs=(Descriptor(A, 7, elsewhere=True),))


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
        (b"[]", "it is not a JSON object"),
        (b"{}", "its schemaVersion is 0, not 2"),
        (b'{"schemaVersion": "2"}', "its field schemaVersion is not a whole number, or too large"),
        (b'{"schemaVersion": true}', "its field schemaVersion is not a whole number, or too large"),
        (b'{"schemaVersion": 2, "mediaType": 5}', "its field mediaType is not a string"),
        (b'{"schemaVersion": 2, "mediaType": "a/b"}', "its media type 'a/b' is unknown"),
        (b'{"schemaVersion": 2, "layers": {}}', "its field layers is not a list"),
        (b'{"schemaVersion": 2, "layers": [5]}', "its field layers is not an object"),
        (b'{"schemaVersion": 2, "config": {"urls": [1]}}', "its field config.urls is not a string"),
        (b'{"schemaVersion": 2, "annotations": []}', "its field annotations is not an object"),
        (b'{"schemaVersion": 2, "config": {"data": "="}}', "its field config.data is not base64"),
        (
            b'{"schemaVersion": 2, "manifests": [{"digest": "%s", "size": "7"}]}' % A.encode(),
            "its field manifests.size is not a whole number, or too large",
        ),
    ],
)
def test_an_unreadable_manifest_says_why(data: bytes, why: str) -> None:
    assert parse(data) == Unreadable(why)


names = st.sampled_from(
    ["mediaType", "manifests", "layers", "config", "subject", "digest", "size", "urls", "blobs"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from([A, "2"]),
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
    """BuildKit writes its cache in this form."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": A, "size": 7}
    config = {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": B, "size": 8}
    child = {"mediaType": OCI_IMAGE, "digest": C}
    manifest = read(mediaType=OCI_INDEX, manifests=[layer, child, config])
    assert isinstance(manifest, Manifest)
    assert manifest.children == (Descriptor(C, None),)
    assert manifest.contents == manifest.blobs == (Descriptor(A, 7), Descriptor(B, 8))
    assert {descriptor.digest for descriptor in manifest.members} == {A, B, C}


D = f"sha256:{4:064x}"


def digests(text: str) -> list[str]:
    """The digests that a manifest refers to."""
    manifest = parse(text.encode())
    assert isinstance(manifest, Manifest), manifest
    return [descriptor.digest for descriptor in (*manifest.children, *manifest.contents)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # Lookalikes that Go folds and Python's casefold does not, or the reverse.
        (f'{{"schemaVersion":2,"manife\u017ft\u017f":[{{"digest":"{A}"}}]}}', [A]),
        (f'{{"schemaVersion":2,"manifests":[{{"digest":"{A}"}}],"manife\ufb06s":[]}}', [A]),
        (f'{{"schemaVersion":2,"conf\u0131g":{{"digest":"{A}"}}}}', []),
        # A list that occurs twice is merged element by element; elements that were cut off
        # reappear.
        (f'{{"schemaVersion":2,"layers":[{{"digest":"{A}"}}],"layers":[{{"size":5}}]}}', [A]),
        (
            f'{{"schemaVersion":2,"layers":[{{"digest":"{A}"}},{{"digest":"{B}"}}],'
            f'"layers":[{{"digest":"{C}"}}],"LAYERS":[{{"digest":"{D}"}},{{}}]}}',
            [D, B],
        ),
        (f'{{"schemaVersion":2,"layers":[{{"digest":"{A}"}}],"layers":[],"layers":[{{}}]}}', []),
        # null empties a list, but leaves an object unchanged.
        (f'{{"schemaVersion":2,"layers":[{{"digest":"{A}"}}],"layers":null}}', []),
        (f'{{"schemaVersion":2,"config":{{"digest":"{A}"}},"config":null}}', [A]),
        (f'{{"schemaVersion":2,"config":{{"digest":"{A}"}},"config":{{"size":3}}}}', [A]),
        (f'{{"schemaVersion":2,"manifests":[{{"digest":"{A}"}}],"manifests":null}}', []),
        # A field that nobody reads may hold anything.
        (f'{{"schemaVersion":2,"x":{"9" * 5000},"config":{{"digest":"{A}"}}}}', [A]),
        (
            f'{{"schemaVersion":2,"x":{"[" * 3000}{"]" * 3000},"config":{{"digest":"{A}"}}}}',
            [A],
        ),
        (f'{{"schemaVersion":2,"x":{"[" * 9999}{"]" * 9999},"config":{{"digest":"{A}"}}}}', [A]),
        (f'{{"schemaVersion":2,"x":"\\ud800","config":{{"digest":"{A}"}}}}', [A]),
    ],
)
def test_it_is_read_as_the_registry_reads_it(text: str, wanted: list[str]) -> None:
    assert digests(text) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'{{"schemaVersion":2,"x":{"[" * 10_000}{"]" * 10_000}}}', "it is not JSON, or cut off"),
        (f'{{"schemaVersion":2,"x":{"[" * 3000}{"]" * 2999}}}', "it is not JSON, or cut off"),
        (f'{{"schemaVersion":2,"x":{"[" * 3000}{"]" * 3000}}}}}', "it is not JSON, or cut off"),
        # The registry itself fails when it reads these again.
        ('{"schemaVersion":2,"manifests":5,"manifests":null}', "its field manifests is not a list"),
        ('{"schemaVersion":2,"layers":5,"layers":null}', "its field layers is not a list"),
    ],
)
def test_a_manifest_that_the_registry_cannot_read_is_unreadable(text: str, why: str) -> None:
    assert parse(text.encode()) == Unreadable(why)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": 5},
        {"subject": {"digest": "latest"}},
        {"subject": {"digest": 5}},
        {"subject": None},
        {"artifactType": 7},
    ],
)
def test_what_the_registry_does_not_look_at_is_ignored_where_it_is_malformed(
    fields: dict[str, Any],
) -> None:
    assert read(config={"digest": A}, **fields) == Manifest(OCI_IMAGE, config=Descriptor(A, None))


def test_a_subject_counts_whatever_else_is_said_of_it() -> None:
    manifest = read(config={"digest": A}, subject={"digest": B, "size": "7", "mediaType": 5})
    assert isinstance(manifest, Manifest)
    assert manifest.subject == B


@given(values)
def test_deep_text_is_read_as_other_text_is(value: Any) -> None:
    """Tests the reader that needs no recursion."""
    text = json.dumps(value)
    assert go_json._scan_without_recursion(text) == go_json.scan(text.encode())


@given(st.text(alphabet='[]{},:"\\u0 1eE.-+tfn'))
def test_any_text_is_accepted_or_refused_by_both_readers(text: str) -> None:
    def accepted(read: Callable[[Any], Any], data: Any) -> bool:
        try:
            read(data)
        except go_json.NotJSON:
            return False
        return True

    both = (go_json._scan_without_recursion, text), (go_json.scan, text.encode())
    assert accepted(*both[0]) == accepted(*both[1])


def test_the_document_is_plain_json_for_people() -> None:
    text = '{"a": 1, "a": {"b": [1.5, null, true]}, "c": %s, "d": "\\ud800"}' % ("9" * 5000)
    assert document(text.encode()) == {
        "a": {"b": [1.5, None, True]},
        "c": "9" * 5000,
        "d": "\ufffd",
    }
    assert document(b"[]") == document(b"{") == {}
