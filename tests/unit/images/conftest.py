"""A small recipe in place of the real ones; the rules about cache and bundle are the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import build
from images.image_tar import Entry, layer


@dataclasses.dataclass
class Kitchen:
    """The sources of the small images, and how often each image was made."""

    source: Path
    made: list[tuple[str, str]]


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kitchen]:
    """Both recipes replaced by one that copies a source file into a layer."""
    kitchen = Kitchen(tmp_path / "source.txt", [])
    kitchen.source.write_text("first", encoding="utf-8")
    monkeypatch.setattr("images.toolbox.ROOT", tmp_path)
    monkeypatch.setattr(build, "_SHARED_SOURCES", ())

    def recipe(kind: str) -> build.Recipe:
        def layers(work: Path, architecture: str) -> list[bytes]:
            assert not list(work.iterdir())
            (work / "left-over").write_bytes(b"x" * 1000)
            kitchen.made.append((kind, architecture))
            return [layer([Entry("content", content=kitchen.source.read_bytes())])]

        return build.Recipe(
            f"wharfinger/{kind}", lambda: "1.0", lambda: [kitchen.source], {"User": "1"}, layers
        )

    monkeypatch.setattr(build, "RECIPES", {kind: recipe(kind) for kind in build.KINDS})
    yield kitchen
