"""A separate stack on this machine's Docker Engine. It shares no container, network, nginx or file
with a deployment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfinger.host.backup import blobs, restic
from wharfinger.host.commands import run
from wharfinger.host.system.engine import DockerEngine, answers
from wharfinger.host.system.files import remove_tree

from .quick_key import make_quick
from .registries_on_disk import Machine, machine_in
from .stack import NETWORK, STACK, Stack, host_at


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture
def as_on_a_host() -> None:
    """restic gives way to everything else, and brings blobs in sixteen parts."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository in a directory opens at once (quick_key.py). Without `as_on_a_host`, restic does
    not wait for all that other tests do, and brings blobs in one part."""
    create = restic.Restic.create

    def created(self: restic.Restic) -> None:
        create(self)
        if self.place.directory:
            password = (self._folder / "password").read_text().strip()
            make_quick(self.place.directory, password)

    monkeypatch.setattr(restic.Restic, "create", created)
    if "as_on_a_host" not in request.fixturenames:
        monkeypatch.setattr(restic, "BESIDE", ())
        monkeypatch.setattr(blobs, "_part", lambda digest: f"{digest.partition(':')[0]}:")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Makes hosts that share one repository for backups."""
    return machine_in(tmp_path)


@pytest.fixture(scope="session")
def images(project: Path) -> dict[str, dict[str, object]]:
    """Both images. images/build.py builds them or takes them from its cache. If
    WHARFINGER_TEST_IMAGES names a file with an answer of build.py, that answer is used instead."""
    named = os.environ.get("WHARFINGER_TEST_IMAGES")
    if named:
        answer: dict[str, dict[str, object]] = json.loads(Path(named).read_text())
        return answer
    built = subprocess.run(
        [sys.executable, "images/build.py", "build"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    images: dict[str, dict[str, object]] = json.loads(built.stdout)
    return images


@pytest.fixture
def stack(tmp_path: Path, images: dict[str, dict[str, object]]) -> Iterator[Stack]:
    """A prepared host: directories, network, images; no container yet. Removed afterwards."""
    host = host_at(tmp_path)
    if os.geteuid() != 0 or not answers(host.paths.docker_socket) or shutil.which("nginx") is None:
        pytest.skip("needs root, a running Docker Engine and nginx")
    _clean(host.engine)  # type: ignore[arg-type]
    stack = Stack(tmp_path, host)
    try:
        stack.prepare(images)
        yield stack
    finally:
        stack.stop_nginx()
        _clean(host.engine)  # type: ignore[arg-type]
        remove_tree(tmp_path)


def _clean(engine: DockerEngine) -> None:
    for container in engine.containers({"wharfinger.stack": STACK}):
        engine.remove(container.name)
    engine.remove_network(NETWORK)


@pytest.fixture
def deployed(stack: Stack) -> Stack:
    """The same with a registry and a token server behind nginx."""
    stack.certificates()
    stack.ensure("token_server", configuration=stack.users())
    stack.ensure("registry")
    run("site", {"content": stack.site()}, host=stack.host)
    return stack
