"""Image tars: the same bytes everywhere, in the form that every engine reads."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from images.image_tar import Entry, digest, directory, layer, symlink, write

ENTRIES = [
    Entry("usr/bin/program", 0o755, b"binary"),
    symlink("bin", "usr/bin"),
    directory("tmp", 0o1777),
    Entry("deep/" + "folder/" * 20 + "file-with-ünïcode", content=b"x"),
]


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


def make(path: Path, layers: list[bytes], architecture: str = "amd64") -> dict[str, Any]:
    """Writes an image and reads its documents back, by name."""
    image = write(
        path,
        reference="wharfinger/example:1.0-abc",
        architecture=architecture,
        layers=layers,
        settings={"Entrypoint": ["/program"]},
        labels={"io.wharfinger.inputs": "abc"},
    )
    documents: dict[str, Any] = {"image": image, "blobs": {}}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            content = file.read()
            if member.name.startswith("blobs/"):
                documents["blobs"][member.name.split("/")[-1]] = content
            else:
                documents[member.name] = json.loads(content)
    return documents


def test_order_of_entries_does_not_change_a_layer() -> None:
    assert layer(ENTRIES) == layer(reversed(ENTRIES))


def test_time_zone_umask_and_time_do_not_change_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "one.tar", [layer(ENTRIES)])
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    mask = os.umask(0o077)
    try:
        make(tmp_path / "two.tar", [layer(ENTRIES)])
    finally:
        os.umask(mask)
        monkeypatch.undo()
        time.tzset()
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_layer_is_what_it_was_when_this_test_was_written() -> None:
    # If another Python version wrote other bytes, every host would get a new image.
    assert digest(layer(ENTRIES)) == (
        "sha256:6004babf05bf4728cad8344eb1787141c37e6ae2fb337aead94e4e38a9433317"
    )


def test_everything_in_a_layer_belongs_to_root_and_has_no_time() -> None:
    for member in members(layer(ENTRIES)).values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 0


def test_missing_parents_are_added_and_modes_are_kept() -> None:
    entries = members(layer(ENTRIES))
    assert entries["usr"].isdir()
    assert entries["usr"].mode == 0o755
    assert entries["usr/bin/program"].mode == 0o755
    assert entries["tmp"].mode == 0o1777
    assert entries["bin"].linkname == "usr/bin"


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "a/../../b", "", ".", "a//b"])
def test_a_path_outside_the_root_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path below an image's root"):
        layer([Entry(path, content=b"")])


def test_a_path_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice in one layer"):
        layer([Entry("a", content=b"1"), Entry("a", content=b"2")])


def test_every_blob_is_named_by_its_digest(tmp_path: Path) -> None:
    documents = make(tmp_path / "image.tar", [layer(ENTRIES), layer([Entry("b", content=b"b")])])
    assert len(documents["blobs"]) == 4
    for name, content in documents["blobs"].items():
        assert hashlib.sha256(content).hexdigest() == name


def test_both_ways_of_reading_lead_to_the_same_configuration_and_layers(tmp_path: Path) -> None:
    layers = [layer(ENTRIES), layer([Entry("b", content=b"b")])]
    documents = make(tmp_path / "image.tar", layers)
    (classic,) = documents["manifest.json"]
    (descriptor,) = documents["index.json"]["manifests"]
    manifest = json.loads(documents["blobs"][descriptor["digest"].removeprefix("sha256:")])
    assert descriptor["digest"] == documents["image"].manifest
    assert manifest["config"]["digest"] == documents["image"].configuration
    assert classic["Config"] == manifest["config"]["digest"].replace("sha256:", "blobs/sha256/")
    assert [name.replace("blobs/sha256/", "sha256:") for name in classic["Layers"]] == [
        item["digest"] for item in manifest["layers"]
    ]
    configuration = json.loads(documents["blobs"][classic["Config"].split("/")[-1]])
    assert configuration["rootfs"]["diff_ids"] == [digest(content) for content in layers]
    assert configuration["config"]["Labels"] == {"io.wharfinger.inputs": "abc"}


def test_both_ways_of_reading_give_the_same_name(tmp_path: Path) -> None:
    documents = make(tmp_path / "image.tar", [layer(ENTRIES)])
    assert documents["manifest.json"][0]["RepoTags"] == ["wharfinger/example:1.0-abc"]
    annotations = documents["index.json"]["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == "docker.io/wharfinger/example:1.0-abc"


def test_an_arm_image_names_its_variant_and_has_another_id(tmp_path: Path) -> None:
    arm = make(tmp_path / "arm.tar", [layer(ENTRIES)], "arm64")
    amd = make(tmp_path / "amd.tar", [layer(ENTRIES)], "amd64")
    platform = arm["index.json"]["manifests"][0]["platform"]
    assert platform == {"architecture": "arm64", "os": "linux", "variant": "v8"}
    assert arm["image"].configuration != amd["image"].configuration
