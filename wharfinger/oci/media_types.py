"""Media types of manifests and of their parts, and what other media types say about a blob."""

from __future__ import annotations

import re

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA_1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)
# The types of an index's members that are manifests. Any other member is a blob: BuildKit's cache
# is an index of layers.
MANIFESTS = (OCI_IMAGE, DOCKER_IMAGE, OCI_ARTIFACT, SCHEMA_1, SCHEMA_1_SIGNED, *INDEXES, "")

# Layers that clients fetch from other servers, so that a registry need not have them.
_ELSEWHERE = re.compile(r"\.foreign\.|\.nondistributable\.")


def is_elsewhere(media_type: str) -> bool:
    """Whether a layer of this type may be missing from the registry."""
    return _ELSEWHERE.search(media_type) is not None
