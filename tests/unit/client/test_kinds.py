"""What a manifest is, in common words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.client import kinds

IMAGE = {"mediaType": "application/vnd.oci.image.config.v1+json"}
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json"}


def layer(media_type: str, **annotations: str) -> dict[str, Any]:
    return {"layers": [{"mediaType": media_type, "annotations": annotations}]}


def in_toto(predicate: str) -> dict[str, Any]:
    """A statement as BuildKit stores it."""
    annotations = {"in-toto.io/predicate-type": predicate}
    return {"mediaType": "application/vnd.in-toto+json", "annotations": annotations}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"config": IMAGE, **layer("application/vnd.oci.image.layer.v1.tar")}, "container image"),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "Helm chart"),
        ({"config": {"mediaType": "application/vnd.docker.plugin.v1+json"}}, "Docker plugin"),
        (
            {"config": IMAGE, **layer("application/vnd.dev.cosign.simplesigning.v1+json")},
            "cosign signature",
        ),
        (
            {
                "config": IMAGE,
                **layer(
                    "application/vnd.dsse.envelope.v1+json",
                    predicateType="https://cyclonedx.org/bom",
                ),
            },
            "in-toto attestation: CycloneDX SBOM",
        ),
        (
            {
                "config": IMAGE,
                "layers": [
                    in_toto("https://spdx.dev/Document"),
                    in_toto("https://slsa.dev/provenance/v0.2"),
                ],
            },
            "in-toto attestation: SPDX SBOM, SLSA provenance",
        ),
        (
            {
                "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "config": EMPTY,
                "annotations": {"dev.sigstore.bundle.content": "message-signature"},
            },
            "Sigstore bundle: signature",
        ),
        (
            {
                "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "annotations": {
                    "dev.sigstore.bundle.content": "dsse-envelope",
                    "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
                },
            },
            "Sigstore bundle: signature",
        ),
        (
            {
                "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "annotations": {
                    "dev.sigstore.bundle.content": "dsse-envelope",
                    "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
                },
            },
            "Sigstore bundle: attestation, SLSA provenance",
        ),
        (
            {"artifactType": "application/vnd.cncf.notary.signature", "config": EMPTY},
            "Notary Project signature",
        ),
        ({"config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0"}}, "BuildKit cache"),
        (
            {"manifests": [{"mediaType": "application/vnd.buildkit.cacheconfig.v0"}]},
            "BuildKit cache",
        ),
        (
            {
                "config": {"mediaType": "application/vnd.wasm.config.v0+json"},
                **layer("application/wasm"),
            },
            "WebAssembly module",
        ),
        ({"artifactType": "application/spdx+json", "config": EMPTY}, "SPDX SBOM"),
        ({"config": EMPTY, **layer("application/vnd.cyclonedx+json")}, "CycloneDX SBOM"),
        ({"config": IMAGE, **layer("text/spdx")}, "SPDX SBOM"),
        ({"artifactType": "application/x-ours", "config": EMPTY}, "application/x-ours"),
        ({"config": {"mediaType": "application/x-ours"}}, "application/x-ours"),
        ({"manifests": []}, ""),
        ({}, ""),
    ],
)
def test_types_have_words(document: dict[str, Any], words: str) -> None:
    assert kinds.of_manifest(document) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.dictionaries(
        st.sampled_from(["artifactType", "config", "layers", "manifests", "annotations"]), JSON
    )
)
def test_any_json_has_an_answer(document: dict[str, Any]) -> None:
    assert isinstance(kinds.of_manifest(document), str)


def test_tags_of_cosign_have_words() -> None:
    prefix = "sha256-" + "a" * 64
    assert kinds.of_tag(f"{prefix}.sig") == "cosign signature"
    assert kinds.of_tag(f"{prefix}.att") == "in-toto attestation"
    assert kinds.of_tag(prefix) == kinds.of_tag("sig") == ""
