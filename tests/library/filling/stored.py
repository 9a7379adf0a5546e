"""What a registry's storage holds: `python3 - STORAGE_PATH`, run on the host itself.

Prints JSON: `tags` by repository (name: digest), `revisions` by repository, `blobs` (digest:
bytes), and `problems`: what a tag leads to but is not there in full. It uses only the standard
library and not the project's own code, so that testing one with the other can fail.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def repositories(root: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each repository."""
    if (folder / "_manifests").is_dir():
        yield str(folder.relative_to(root)), folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith("_"):
            yield from repositories(root, child)


def linked(folder: Path) -> list[str]:
    """The digests that have a link in this folder."""
    if not folder.is_dir():
        return []
    return sorted(
        f"sha256:{entry.name}" for entry in folder.iterdir() if (entry / "link").is_file()
    )


class Stored:
    """Everything below one storage path."""

    def __init__(self, storage: str) -> None:
        self.base = Path(storage) / "docker/registry/v2"
        self.tags: dict[str, dict[str, str]] = {}
        self.revisions: dict[str, list[str]] = {}
        self.problems: list[str] = []
        self.blobs = {
            f"sha256:{path.parent.name}": path.stat().st_size
            for path in self.base.glob("blobs/sha256/*/*/data")
        }
        self._contents: dict[str, bytes] = {}
        root = self.base / "repositories"
        for name, folder in repositories(root, root) if root.is_dir() else ():
            self._repository(name, folder)

    def _repository(self, name: str, folder: Path) -> None:
        manifests = folder / "_manifests"
        self.revisions[name] = linked(manifests / "revisions/sha256")
        layers = set(linked(folder / "_layers/sha256"))
        self.tags[name] = {}
        for tag in sorted((manifests / "tags").glob("*/current/link")):
            self.tags[name][tag.parent.parent.name] = tag.read_text()
        done: set[str] = set()
        for tag_name, digest in self.tags[name].items():
            self._manifest(f"{name}:{tag_name}", name, digest, layers, done)

    def _manifest(self, who: str, name: str, digest: str, layers: set[str], done: set[str]) -> None:
        if digest in done:
            return
        done.add(digest)
        if digest not in self.revisions[name]:
            self.problems.append(f"{who}: {digest} is no revision of {name}")
            return
        try:
            parsed = self._parsed(digest)
        except (OSError, ValueError) as problem:
            self.problems.append(f"{who}: {digest}: {problem}")
            return
        members = parsed.get("manifests", [])
        manifests = [member for member in members if ".manifest." in member["mediaType"]]
        manifests += [member for member in members if ".index." in member["mediaType"]]
        for child in manifests:
            self._manifest(who, name, child["digest"], layers, done)
        others = [member for member in members if member not in manifests]
        for blob in [parsed.get("config"), *parsed.get("layers", []), *others]:
            if blob is None:
                continue
            if self.blobs.get(blob["digest"]) != blob["size"]:
                has = self.blobs.get(blob["digest"])
                self.problems.append(f"{who}: the blob {blob['digest']} has {has} bytes")
            if blob["digest"] not in layers:
                self.problems.append(f"{who}: the blob {blob['digest']} has no link in {name}")

    def _parsed(self, digest: str) -> dict[str, Any]:
        hexadecimal = digest.removeprefix("sha256:")
        content = (self.base / f"blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data").read_bytes()
        if hashlib.sha256(content).hexdigest() != hexadecimal:
            raise ValueError("its content is another")
        parsed: dict[str, Any] = json.loads(content)
        return parsed


def main(storage: str) -> None:
    """Prints it as JSON."""
    stored = Stored(storage)
    print(
        json.dumps(
            {
                "tags": stored.tags,
                "revisions": stored.revisions,
                "blobs": stored.blobs,
                "problems": stored.problems,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
