"""The rooms of the host program: imports, sizes of classes and functions, requirements.

docs/decisions/rooms_of_the_host_program.md says why, and why some are larger.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from wharfinger.host.commands import COMMANDS, Command
from wharfinger.host.setup import zipapp

PROJECT = Path(__file__).parents[3]
HOST = PROJECT / "wharfinger" / "host"
DECISION = PROJECT / "docs" / "decisions" / "rooms_of_the_host_program.md"
# A room may import itself and the rooms before it; modules above all rooms may import any.
ROOMS = (
    "system",
    "rollout",
    "contents",
    "keys",
    "backup",
    "setup",
    "observation",
    "mirrors",
    "base_images",
)
MOST_OF_A_CLASS = 250
MOST_OF_A_FUNCTION = 50
EXCEPTIONS = {
    "contents/storage/scrub.py: _Scrub",
    "contents/storage/layout.py: Storage",
    "keys/acme.py: _Order",
    "keys/rotation.py: Signing",
    "observation/engine_facts.py: look",
    "observation/observe.py: observe",
    "system/paths.py: Paths",
}


def sources() -> dict[str, Path]:
    """Module → file, for the packages in the zipapp."""
    paths = {}
    for name in zipapp.PACKAGES:
        for path in sorted((PROJECT / "wharfinger" / name).rglob("*.py")):
            parts = list(path.relative_to(PROJECT).with_suffix("").parts)
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


SOURCES = sources()


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements except those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


def imported(module: str) -> set[str]:
    """The modules of SOURCES that a module imports, including imports in functions."""
    path, modules = SOURCES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = ".".join(package[: len(package) - node.level + 1])
            start += f".{node.module}" if node.module else ""
            for name in node.names:
                whole = f"{start}.{name.name}"
                modules.add(whole if whole in SOURCES else start)
    return modules & SOURCES.keys()


def room(module: str) -> str:
    """The module's room; "" above all rooms and outside the host program."""
    parts = module.split(".")
    return parts[2] if parts[1] == "host" and len(parts) > 2 and parts[2] in ROOMS else ""


def test_each_folder_is_a_room() -> None:
    folders = {path.name for path in HOST.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("module", [name for name in SOURCES if room(name)])
def test_a_room_imports_no_room_above_it(module: str) -> None:
    allowed = ROOMS[: ROOMS.index(room(module)) + 1]
    for name in imported(module):
        if name.startswith("wharfinger.host"):
            assert room(name) in allowed, f"{module} imports {name}"


def test_what_the_host_program_stands_on_does_not_import_it() -> None:
    for module in SOURCES:
        if not module.startswith("wharfinger.host"):
            assert not [name for name in imported(module) if name.startswith("wharfinger.host")]


def test_the_package_itself_imports_nothing() -> None:
    # Importing one of its modules (like rendered_files in each run) must not import all.
    assert imported("wharfinger.host") == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A package's re-exports come from its modules, which are nodes of their own.
    graph = {module: imported(module) - {module} for module in SOURCES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as problem:
        pytest.fail(" → ".join(problem.args[1]))


def test_a_class_has_one_job_and_a_function_fits_on_a_screen() -> None:
    large = set()
    for path in sorted(HOST.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                most = MOST_OF_A_CLASS
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                most = MOST_OF_A_FUNCTION
            else:
                continue
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > most:
                large.add(f"{path.relative_to(HOST)}: {node.name}")
    # Exceptions that are no longer needed must be removed.
    assert large == EXCEPTIONS
    page = DECISION.read_text()
    for exception in EXCEPTIONS:
        file, _, name = exception.partition(": ")
        assert f"`{name}` in `{file}`" in page


def test_every_module_needs_the_standard_library_only(tmp_path: Path) -> None:
    program = tmp_path / "wharfinger-host.pyz"
    program.write_bytes(zipapp.build())
    code = (
        "import importlib, json, sys; sys.path.insert(0, sys.argv[1]); "
        "[importlib.import_module(name) for name in json.loads(sys.argv[2])]"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(program), json.dumps(sorted(SOURCES))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_start_imports_only_what_every_command_needs() -> None:
    code = "import json, sys, wharfinger.host.commands; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    rooms = {room(name) for name in json.loads(done.stdout) if name in SOURCES}
    assert rooms == {"", "system"}
    assert "wharfinger.deployment.facts" not in json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_row_loads_what_it_runs(command: Command) -> None:
    function = command.load()
    assert len(inspect.signature(function).parameters) == 3
    assert command.function.__name__ == command.name


def test_a_scrub_goes_on_where_a_deployment_replaces_its_file(tmp_path: Path) -> None:
    # A scrub reads for hours without the lock.
    program, storage = tmp_path / "wharfinger-host.pyz", tmp_path / "storage"
    program.write_bytes(zipapp.build())
    (storage / "docker" / "registry" / "v2").mkdir(parents=True)
    (tmp_path / "contents.json").write_text(json.dumps({"storage_path": str(storage)}))
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from wharfinger.host.commands import COMMANDS, run\n"
        "from wharfinger.host.system.context import Host\n"
        "from wharfinger.host.system.paths import Paths\n"
        "here = Path(sys.argv[1]).parent\n"
        "COMMANDS['check_contents'].load()\n"
        "Path(sys.argv[1]).unlink()\n"
        "host = Host.real(Paths(etc=here, var=here, metrics=here / 'host.prom'))\n"
        "print(run('check_contents', {}, host=host)['ok'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert "job_last_run_seconds" in (tmp_path / "host.prom").read_text()
