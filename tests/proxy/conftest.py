"""The registry that the toolkit builds, and stacks of nginx and registry around it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import NGINX, Stack, running
from support.program import registry_program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.proxy)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry's program from the image that images/build.py makes, or the program that
    WHARFINGER_TEST_REGISTRY names."""
    return registry_program(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="session")
def _possible() -> None:
    if os.geteuid() != 0 or not NGINX:
        pytest.skip("needs root and nginx")


@pytest.fixture(scope="session")
def stack(registry: Path, _possible: None) -> Iterator[Stack]:
    """A stack with token authentication and a header that the operator set."""
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
    """An nginx that also serves somebody's shop."""
    with running("token", registry, neighbour=True) as started:
        yield started
