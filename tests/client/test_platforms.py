"""Indexes that lack platforms: what distribution and our registry take and serve, what `wharf` and
docker say, and what a collection leaves."""

from __future__ import annotations

import gzip
import io
import json
import os
import ssl
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local.registries import ADDRESS, Served, ours, processes
from support.networks import free_ports
from support.program import registry_program
from tests.client.conftest import Person
from wharfinger.host.contents.storage import Storage, scrub
from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import OCI_IMAGE, OCI_INDEX
from wharfinger.oci.platforms import Platforms

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REPOSITORY = "base/app"


@dataclass(frozen=True)
class Image:
    """An image that docker can unpack, for linux and one architecture."""

    architecture: str

    @property
    def blobs(self) -> tuple[bytes, bytes]:
        """Configuration and layer."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as layer:
            name = tarfile.TarInfo("architecture")
            name.size = len(self.architecture)
            layer.addfile(name, io.BytesIO(self.architecture.encode()))
        config = {
            "os": "linux",
            "architecture": self.architecture,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(packed.getvalue())]},
        }
        return json.dumps(config).encode(), gzip.compress(packed.getvalue(), mtime=0)

    @property
    def manifest(self) -> bytes:
        config, layer = self.blobs
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_IMAGE,
                "config": described(config, CONFIG),
                "layers": [described(layer, LAYER)],
            }
        ).encode()

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def index(*images: Image, platforms: bool = True) -> bytes:
    """An index of these images."""
    entries = []
    for image in images:
        entry = described(image.manifest, OCI_IMAGE)
        if platforms:
            entry["platform"] = {"os": "linux", "architecture": image.architecture}
        entries.append(entry)
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


AMD64, ARM64 = Image("amd64"), Image("arm64")
BOTH = index(AMD64, ARM64)


class Pushing:
    """A client of the bare API."""

    def __init__(self, url: str, **more: Any) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, **more)

    def image(self, image: Image, repository: str = REPOSITORY) -> None:
        for blob in image.blobs:
            begun = self._client.post(f"/v2/{repository}/blobs/uploads/")
            assert begun.status_code == 202, begun.text
            where = httpx.URL(begun.headers["Location"]).copy_merge_params(
                {"digest": digest_of(blob)}
            )
            assert self._client.put(where, content=blob).status_code == 201
        done = self.manifest(image.manifest, image.digest, OCI_IMAGE, repository)
        assert done.status_code == 201, done.text

    def manifest(
        self,
        data: bytes,
        reference: str,
        media_type: str = OCI_INDEX,
        repository: str = REPOSITORY,
    ) -> httpx.Response:
        return self._client.put(
            f"/v2/{repository}/manifests/{reference}",
            content=data,
            headers={"Content-Type": media_type},
        )

    def get(self, reference: str, repository: str = REPOSITORY) -> httpx.Response:
        return self._client.get(
            f"/v2/{repository}/manifests/{reference}",
            headers={"Accept": f"{OCI_INDEX}, {OCI_IMAGE}"},
        )


# -- distribution's own setting --------------------------------------------------------------------


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """The registry program."""
    with tempfile.TemporaryDirectory(prefix="wharf-platforms-") as name:
        yield registry_program(Path(name))


@contextmanager
def distribution(program: Path, folder: Path, indexes: Mapping[str, Any]) -> Iterator[Pushing]:
    """The registry without any of our middleware, with these settings for indexes. The folder has
    its storage and config.yml."""
    (port,) = free_ports(1)
    settings = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"{ADDRESS}:{port}", "secret": "a secret"},
        "validation": {"manifests": {"indexes": indexes}},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(settings))
    with processes(folder, ([str(program), "serve", str(folder / "config.yml")], port)):
        yield Pushing(f"http://{ADDRESS}:{port}")


@pytest.mark.parametrize(
    ("indexes", "status"),
    [
        ({"platforms": "all"}, 400),
        ({"platforms": "none"}, 201),
        ({"platforms": "list"}, 400),
        (
            {"platforms": "list", "platformlist": [{"os": "linux", "architecture": "amd64"}]},
            201,
        ),
    ],
)
def test_which_incomplete_indexes_distribution_takes(
    program: Path, tmp_path: Path, indexes: dict[str, Any], status: int
) -> None:
    with distribution(program, tmp_path, indexes) as registry:
        registry.image(AMD64)
        answer = registry.manifest(BOTH, "1")
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
        # Images are checked as ever.
        lacking = registry.manifest(ARM64.manifest, "image", OCI_IMAGE)
        assert lacking.status_code == 400


def test_distributions_list_breaks_off_at_a_member_without_a_platform(
    program: Path, tmp_path: Path
) -> None:
    """Why preflight warns of it."""
    platforms = [{"os": "linux", "architecture": "amd64"}]
    with distribution(
        program, tmp_path, {"platforms": "list", "platformlist": platforms}
    ) as registry:
        registry.image(AMD64)
        with pytest.raises(httpx.RemoteProtocolError):
            registry.manifest(index(AMD64, platforms=False), "1")
    assert "nil pointer dereference" in (tmp_path / "1.log").read_text()


def test_distributions_collection_keeps_what_an_incomplete_index_names(
    program: Path, tmp_path: Path
) -> None:
    """As ours runs it: without --delete-untagged. The image has no tag of its own."""
    with distribution(program, tmp_path, {"platforms": "none"}) as registry:
        registry.image(AMD64)
        assert registry.manifest(BOTH, "1").status_code == 201
    collect = [str(program), "garbage-collect", str(tmp_path / "config.yml")]
    subprocess.run(collect, check=True, capture_output=True)
    with distribution(program, tmp_path, {"platforms": "none"}) as registry:
        assert digest_of(registry.get("1").content) == digest_of(BOTH)
        assert registry.get(AMD64.digest).content == AMD64.manifest
        absent = registry.get(ARM64.digest)
        assert (absent.status_code, absent.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    storage = Storage(tmp_path / "storage")
    report = scrub(storage, mirrored={REPOSITORY: [Platforms(["linux/amd64"])]})
    assert (report["damage"], report["not_mirrored"]) == ([], 1)


# -- our registry ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mirror(program: Path) -> Iterator[Served]:
    """Our registry, where indexes in base/app and base/copy may lack members: base/app:1 lacks
    arm64."""
    rules = [{"who": "admin", "may": "all", "on": "all"}]
    with (
        tempfile.TemporaryDirectory(prefix="wharf-sparse-") as name,
        ours(Path(name), program, rules=rules, sparse=[REPOSITORY, "base/copy"]) as served,
    ):
        push(served, AMD64, REPOSITORY)
        yield served


def push(served: Served, image: Image, repository: str) -> None:
    """Pushes the image and the index of both images as tag 1."""
    client = signed_in(served, repository)
    client.image(image, repository)
    assert client.manifest(BOTH, "1", repository=repository).status_code == 201


def signed_in(served: Served, repository: str) -> Pushing:
    """A client with a token of admin."""
    token = httpx.get(
        f"https://{served.name}/auth",
        params={"service": served.name, "scope": f"repository:{repository}:pull,push"},
        auth=("admin", "admin-pw"),
        verify=ssl.create_default_context(cafile=served.ca),
    ).json()["token"]
    return Pushing(
        f"https://{served.name}",
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=served.ca),
    )


def test_only_the_mirrors_repositories_take_incomplete_indexes(mirror: Served) -> None:
    client = signed_in(mirror, "team/app")
    client.image(AMD64, "team/app")
    refused = client.manifest(BOTH, "1", repository="team/app")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_wharf_calls_the_rest_not_mirrored(mirror: Served, tmp_path: Path) -> None:
    admin = Person(mirror, tmp_path).logged_in("admin")
    members = admin("show", "base/app:1", "--json").json["manifests"]
    assert [(member["platform"], member["problem"]) for member in members] == [
        ("linux/amd64", None),
        ("linux/arm64", "not mirrored"),
    ]
    used = admin("du", "base/app")
    assert used.code == 0
    assert "not mirrored, so not counted: 1 of the manifests that its indexes name" in used.err
    copied = admin("copy", "base/app:1", "base/copy:2")
    assert copied.code == 0, copied.err
    assert f"base/copy:2 is {digest_of(BOTH)} (2 manifests" in copied.out
    assert "; 1 manifest is not mirrored)" in copied.out
    refused = admin("copy", "base/app:1", "team/copy")
    assert refused.code == 1
    instead = f"wharf copy {mirror.name}/base/app@{AMD64.digest} {mirror.name}/team/copy"
    assert refused.err.endswith(f"copy one platform by its digest: {instead}\n")
    assert admin(*instead.split()[1:]).code == 0
    assert admin("rm", "base/copy:2", "--yes").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and a running Docker Engine")
def test_docker_pulls_what_is_kept_and_names_what_is_not(mirror: Served, tmp_path: Path) -> None:
    # docker does not verify the certificates of 127.0.0.0/8.
    def docker(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "--config", str(tmp_path), *arguments],
            input=input,
            capture_output=True,
            text=True,
            check=False,
        )

    login = docker("login", "--username=admin", "--password-stdin", mirror.name, input="admin-pw")
    assert login.returncode == 0, login.stderr
    name = f"{mirror.name}/base/app:1@{digest_of(BOTH)}"
    try:
        kept = docker("pull", "--platform=linux/amd64", name)
        assert kept.returncode == 0, kept.stderr
        assert f"Digest: {digest_of(BOTH)}" in kept.stdout
        absent = docker("pull", "--platform=linux/arm64", name)
        assert absent.returncode == 1
        # Docker with containerd's store words it otherwise than Docker 20.10.
        assert "manifest unknown" in absent.stderr.lower() or "not found" in absent.stderr
    finally:
        docker("rmi", "--force", name)
