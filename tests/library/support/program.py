"""The registry program from the image that the toolkit builds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]


def registry_program(folder: Path) -> Path:
    """An executable file in `folder`, from the image that images/build.py makes (or the program
    that WHARFINGER_TEST_REGISTRY names, unchanged)."""
    named = os.environ.get("WHARFINGER_TEST_REGISTRY")
    if named:
        return Path(named)
    command = [sys.executable, "images/build.py", "build", "--only", "registry"]
    built = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    program = next(_programs(Path(json.loads(built.stdout)["registry"]["path"])))
    (folder / "registry").write_bytes(program)
    (folder / "registry").chmod(0o755)
    return folder / "registry"


def _programs(image: Path) -> Iterator[bytes]:
    with tarfile.open(image) as outer:
        (manifest,) = json.load(_opened(outer, "manifest.json"))
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=_opened(outer, name)) as layer:
                for entry in layer:
                    if entry.isfile() and Path(entry.name).name == "registry":
                        yield _opened(layer, entry).read()


def _opened(archive: tarfile.TarFile, entry: str | tarfile.TarInfo) -> Any:
    stream = archive.extractfile(entry)
    assert stream is not None
    return stream
