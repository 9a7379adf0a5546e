"""What a manifest is, in words that people use. Pure; every JSON document has an answer.

The artifactType says it, or the types of the layers, or the type of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wharfinger.oci import media_types

_SIGNATURE = "cosign signature"
_ATTESTATION = "in-toto attestation"
_BUNDLE = "Sigstore bundle"
_WORDS = {
    "application/vnd.cncf.helm.config.v1+json": "Helm chart",
    "application/vnd.docker.plugin.v1+json": "Docker plugin",
    "application/vnd.docker.compose.project": "Compose project",
    "application/vnd.buildkit.cacheconfig.v0": "BuildKit cache",
    "application/vnd.dev.cosign.simplesigning.v1+json": _SIGNATURE,
    "application/vnd.dev.cosign.artifact.sig.v1+json": _SIGNATURE,
    "application/vnd.dsse.envelope.v1+json": _ATTESTATION,
    "application/vnd.in-toto+json": _ATTESTATION,
    "application/vnd.dev.sigstore.bundle.v0.3+json": _BUNDLE,
    "application/vnd.cncf.notary.signature": "Notary Project signature",
    "application/spdx+json": "SPDX SBOM",
    "text/spdx+json": "SPDX SBOM",
    "text/spdx": "SPDX SBOM",
    "application/vnd.cyclonedx": "CycloneDX SBOM",
    "application/vnd.cyclonedx+json": "CycloneDX SBOM",
    "application/vnd.cyclonedx+xml": "CycloneDX SBOM",
    "application/vnd.syft+json": "Syft SBOM",
    "application/wasm": "WebAssembly module",
    "application/vnd.wasm.config.v0+json": "WebAssembly module",
    "application/vnd.wasm.config.v1+json": "WebAssembly module",
    "application/vnd.wasm.content.layer.v1+wasm": "WebAssembly module",
    "application/vnd.sylabs.sif.config.v1+json": "Apptainer image",
    "application/vnd.cncf.openpolicyagent.config.v1+json": "OPA bundle",
    "application/vnd.cncf.flux.config.v1+json": "Flux artifact",
    "application/vnd.cncf.model.config.v1+json": "AI model",
    "application/vnd.docker.ai.model.config.v0.1+json": "AI model",
}
_IMAGES = (media_types.OCI_CONFIG, media_types.DOCKER_CONFIG)
_MEDIA_TYPES = {
    media_types.OCI_IMAGE: "OCI image",
    media_types.OCI_INDEX: "OCI index",
    media_types.OCI_ARTIFACT: "OCI artifact",
    media_types.DOCKER_IMAGE: "Docker image",
    media_types.DOCKER_LIST: "Docker manifest list",
    media_types.SCHEMA_1: "Docker schema 1",
    media_types.SCHEMA_1_SIGNED: "Docker schema 1, signed",
}
# Types that do not say what the content is.
_NOTHING = ("", "application/vnd.oci.empty.v1+json", "application/octet-stream")
_PREDICATES = {
    "https://slsa.dev/provenance/v0.2": "SLSA provenance",
    "https://slsa.dev/provenance/v1": "SLSA provenance",
    "https://spdx.dev/Document": "SPDX SBOM",
    "https://cyclonedx.org/bom": "CycloneDX SBOM",
    "https://cosign.sigstore.dev/attestation/vuln/v1": "vulnerability scan",
    "https://openvex.dev/ns": "OpenVEX",
}
_SIGNS = "https://sigstore.dev/cosign/sign/v1"
# Annotations with an attestation's predicate: of BuildKit, of cosign, and in a bundle's manifest.
_PREDICATE = ("in-toto.io/predicate-type", "predicateType", "dev.sigstore.bundle.predicateType")
# The endings of cosign's tags.
_ENDINGS = {"sig": _SIGNATURE, "att": _ATTESTATION, "sbom": "SBOM"}


def of_manifest(document: Mapping[str, Any]) -> str:
    """What this manifest is: "Helm chart", "container image", or its type if there is no word for
    that; empty for an ordinary index."""
    artifact = _text(document, "artifactType")
    config = _text(document.get("config"), "mediaType")
    parts = [*_objects(document, "layers"), *_objects(document, "blobs")]
    members = _objects(document, "manifests")
    types = [artifact, *(_text(entry, "mediaType") for entry in (*parts, *members)), config]
    known = next((_WORDS[name] for name in types if name in _WORDS), None)
    if known in (_ATTESTATION, _BUNDLE):
        return _attestation(known, document, parts)
    if known is not None:
        return known
    if config in _IMAGES and artifact in _NOTHING:
        return "container image"
    return next((name for name in (artifact, config) if name not in _NOTHING), "")


def of_media_type(media_type: str | None) -> str:
    """A short name for a manifest's media type."""
    return _MEDIA_TYPES.get(media_type or "", media_type or "")


def of_type(artifact_type: str | None, annotations: Mapping[str, Any] | None = None) -> str:
    """The same, for a manifest's entry in an index or a list of referrers."""
    return of_manifest({"artifactType": artifact_type, "annotations": annotations})


def of_tag(tag: str) -> str:
    """What a tag with a name of cosign's leads to; empty for any other tag."""
    return _ENDINGS.get(tag.rpartition(".")[2], "") if "." in tag else ""


def _attestation(kind: str, document: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> str:
    """The kind with its predicates, each once."""
    named = dict.fromkeys(
        predicate for described in (document, *parts) for predicate in _predicates(described)
    )
    content = _text(document.get("annotations"), "dev.sigstore.bundle.content")
    if kind == _BUNDLE and (_SIGNS in named or content == "message-signature"):
        return f"{_BUNDLE}: signature"
    shown = ", ".join(dict.fromkeys(_PREDICATES.get(predicate, predicate) for predicate in named))
    if kind == _BUNDLE and shown:
        return f"{_BUNDLE}: attestation, {shown}"
    return f"{kind}: {shown}" if shown else kind


def _predicates(described: Mapping[str, Any]) -> Iterator[str]:
    annotations = described.get("annotations")
    for name in _PREDICATE:
        if value := _text(annotations, name):
            yield value


def _objects(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    values = document.get(name)
    return (
        [value for value in values if isinstance(value, Mapping)]
        if isinstance(values, list)
        else []
    )


def _text(value: object, name: str) -> str:
    text = value.get(name) if isinstance(value, Mapping) else None
    return text if isinstance(text, str) else ""
