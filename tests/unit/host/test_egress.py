"""docs/decisions/what_may_leave_the_host.md names every module that can open a connection."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wharfinger.deployment.fixed import MIRROR_ID
from wharfinger.host.mirrors import copier
from wharfinger.host.setup import zipapp

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "docs" / "decisions" / "what_may_leave_the_host.md"
CONNECTING = {"asyncio", "ftplib", "http.client", "httpx", "smtplib", "socket", "urllib.request"}
# Module → why it connects to nobody elsewhere.
LOCAL = {
    "wharfinger/host/contents/pausing.py": "only the exceptions of system/probe.py",
    "wharfinger/host/observation/engine_facts.py": "a socket file of podman",
    "wharfinger/host/rollout/readiness.py": "only the exceptions of system/probe.py",
    "wharfinger/host/system/processes.py": "asks the kernel which addresses are the host's own",
}


def imports(path: Path) -> set[str]:
    """The modules that a file imports by their whole names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return names


def test_every_module_that_can_open_a_connection_is_on_the_page() -> None:
    page = PAGE.read_text()
    found = set()
    for package in (*zipapp.PACKAGES, *zipapp.COPIER):
        for path in sorted((PROJECT / "wharfinger" / package).rglob("*.py")):
            if imports(path) & CONNECTING:
                found.add(path.relative_to(PROJECT).as_posix())
    assert found >= LOCAL.keys()
    remote = found - LOCAL.keys()
    host = {name for name in remote if name.startswith("wharfinger/host/")}
    assert {name for name in host if f"`{name}`" not in page} == set()
    # And no module is named that is none.
    assert set(re.findall(r"`(wharfinger/host/\S+\.py)`", page)) == host
    assert {Path(name).parts[1] for name in remote - host} == {"client", "copier"}


def test_the_page_knows_the_copiers_account() -> None:
    assert f"as user {MIRROR_ID}" in PAGE.read_text()


def modules(tmp_path: Path, code: str, *arguments: str) -> set[str]:
    """The modules, by the first part of their names, that a process has in the end."""
    code += "; import json; print('\\n' + json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; {code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        input='{"task": "look", "mirrors": []}',
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_copier_needs_httpx_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "wharfinger-host.pyz"
    program.write_bytes(zipapp.build())
    run = (
        "sys.path.insert(0, sys.argv[1]); from wharfinger.copier.__main__ import main; "
        "assert main() == 0"
    )
    copiers = modules(tmp_path, run, str(program))
    assert "httpx" in copiers
    # httpx imports these where it is used with asyncio.
    httpxs = modules(tmp_path, "import httpx, httpcore, anyio, sniffio, h11, idna, certifi")
    assert copiers - httpxs - sys.stdlib_module_names - {"wharfinger", "__main__"} == set()


@pytest.mark.parametrize("path", ["/usr/local/lib/wharfinger/wharfinger-host.pyz", "/a 'b/x.pyz"])
def test_the_copiers_line_is_python_for_any_path(path: str) -> None:
    assert repr(path) in copier.program(path)
    ast.parse(copier.program(path))
