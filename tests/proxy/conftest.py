"""The registry that the toolkit builds, and stacks of nginx and registry around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.stack import NGINX, Stack, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.proxy)


@pytest.fixture(scope="session")
def registry(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry's program out of the image that images/build.py makes (or the one that
    WHARFINGER_TEST_REGISTRY names)."""
    named = os.environ.get("WHARFINGER_TEST_REGISTRY")
    if named:
        return Path(named)
    command = [sys.executable, "images/build.py", "build", "--only", "registry"]
    built = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    image = Path(json.loads(built.stdout)["registry"]["path"])
    target = tmp_path_factory.mktemp("registry")
    program = next(_programs(image))
    (target / "registry").write_bytes(program)
    (target / "registry").chmod(0o755)
    return target / "registry"


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


@pytest.fixture(scope="session")
def _possible() -> None:
    if os.geteuid() != 0 or not NGINX:
        pytest.skip("needs root and nginx")


@pytest.fixture(scope="session")
def stack(registry: Path, _possible: None) -> Iterator[Stack]:
    """Token authentication, and a header of the operator's own."""
    settings = {"http": {"headers": {"Strict-Transport-Security": ["max-age=63072000"]}}}
    with running("token", registry, settings) as started:
        yield started


@pytest.fixture(scope="session")
def htpasswd_stack(registry: Path, _possible: None) -> Iterator[Stack]:
    with running("htpasswd", registry) as started:
        yield started


@pytest.fixture(scope="session")
def registry_elsewhere(registry: Path, _possible: None) -> Iterator[Stack]:
    """A registry that redirects readers of blobs to a place that nginx does not know."""
    with running("token", registry, elsewhere="http://elsewhere.invalid/secret") as started:
        yield started


@pytest.fixture(scope="session")
def shared_nginx(registry: Path, _possible: None) -> Iterator[Stack]:
    """An nginx that serves somebody's shop as well."""
    with running("token", registry, neighbour=True) as started:
        yield started
