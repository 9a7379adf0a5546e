"""How docker's answers are read; tests/engine uses a real docker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wharfinger.host.system.engine import DockerEngine

OURS = {"wharfinger.stack": "wharfinger"}


def listed(name: str, source: str, *, writes: bool = True, **more: Any) -> dict[str, Any]:
    """A container in docker's list."""
    mount = {"Type": "bind", "Source": source, "RW": writes}
    return {"Names": [f"/{name}"], "State": "running", "Labels": {}, "Mounts": [mount], **more}


def test_the_images_that_containers_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    containers = [listed("ours", "", ImageID="sha256:a"), listed("web", "", ImageID="sha256:b")]
    monkeypatch.setattr(DockerEngine, "listed_containers", lambda *_, **__: containers)
    assert DockerEngine(tmp_path / "docker.sock").used_images() == {"sha256:a", "sha256:b"}


def test_an_image_without_a_name_is_known_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nameless = [
        {"Id": f"sha256:{digest}", "RepoTags": tags}
        for digest, tags in (("a", ["<none>:<none>"]), ("b", []), ("c", ["<none>:<none>"]))
    ]
    monkeypatch.setattr(DockerEngine, "listed_containers", lambda *_, **__: [])
    monkeypatch.setattr(DockerEngine, "images", lambda *_: nameless)
    monkeypatch.setattr(DockerEngine, "get", lambda *_: {})
    others = DockerEngine(tmp_path / "docker.sock").others(OURS, {"sha256:a", "sha256:b"})
    assert others == ["the image sha256:c"]


def test_who_else_may_write_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = tmp_path / "storage"
    (storage / "docker").mkdir(parents=True)
    (tmp_path / "link").symlink_to(storage)
    containers = [
        listed("same", str(storage)),
        listed("below", str(storage / "docker")),
        listed("by-a-link", str(tmp_path / "link")),
        listed("ours", str(storage), Labels={**OURS, "wharfinger.kind": "registry"}),
        listed("reads", str(storage), writes=False),
        listed("ended", str(storage), State="exited"),
        listed("above", str(tmp_path)),
        listed("beside", str(tmp_path / "storage-2")),
        listed("volume", ""),
        listed("none", "", Mounts=None, Labels=None),
    ]
    monkeypatch.setattr(DockerEngine, "listed_containers", lambda *_, **__: containers)
    engine = DockerEngine(tmp_path / "docker.sock")
    assert engine.sharing(OURS, storage) == ["below", "by-a-link", "same"]
    assert engine.sharing(OURS, tmp_path / "link") == ["below", "by-a-link", "same"]
