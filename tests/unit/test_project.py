"""Rules for the project's files as a whole."""

from __future__ import annotations

import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import ansible_collections
import pytest
import yaml

from support.imports import imported

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))


def files() -> list[Path]:
    """The files that are committed, or would be by `git add --all`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (PROJECT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    # Joined from parts, so that this file does not contain these names either.
    hosts = [".".join(words) for words in (("pypi", "org"), ("files", "pythonhosted", "org"))]
    hosts += [
        ".".join(words) for words in (("proxy", "golang", "org"), ("registry", "npmjs", "org"))
    ]
    paths = ["/" + "work/", "/" + "farm/", "/" + "root/."]
    places = {
        f"{path.relative_to(PROJECT)}: {word}"
        for path in files()
        for word in hosts + paths
        if word in text(path)
    }
    assert places == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_a_version_and_hashes_and_no_address(lock: Path) -> None:
    packages = re.findall(r"^[a-z0-9].*?(?=^\S|\Z)", text(lock), re.MULTILINE | re.DOTALL)
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", package), package
        assert "--hash=sha256:" in package, package
    assert "://" not in text(lock)
    assert "--index-url" not in text(lock)


def test_every_requirement_is_locked() -> None:
    assert {path.stem for path in (PROJECT / "requirements").glob("*.in")} == {
        path.stem for path in LOCKS
    }


def locked(name: str) -> dict[str, str]:
    pairs = re.findall(r"^([a-z0-9._-]+)==(\S+)", text(PROJECT / "requirements" / name), re.M)
    return dict(pairs)


@pytest.mark.parametrize("name", ["controller.txt", "token_server.txt"])
def test_the_tests_run_with_the_versions_that_are_used(name: str) -> None:
    tested = locked("test.txt")
    different = {
        package: (version, tested[package])
        for package, version in locked(name).items()
        if package in tested and tested[package] != version
    }
    assert different == {}


def test_the_required_collections_are_those_that_the_ansible_package_carries() -> None:
    root = Path(next(iter(ansible_collections.__path__)))
    wanted = yaml.safe_load(text(PROJECT / "requirements.yml"))["collections"]
    carried = {
        item["name"]: yaml.safe_load(text(root / item["name"].replace(".", "/") / "MANIFEST.json"))[
            "collection_info"
        ]["version"]
        for item in wanted
    }
    assert {item["name"]: item["version"] for item in wanted} == carried


def test_the_package_and_the_project_have_one_version() -> None:
    project = tomllib.loads(text(PROJECT / "pyproject.toml"))["project"]
    assert f'__version__ = "{project["version"]}"' in text(PROJECT / "wharfinger" / "__init__.py")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    outside_code = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_within_the_documentation_leads_somewhere() -> None:
    broken = []
    for page in (path for path in files() if path.suffix == ".md"):
        outside_code = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", outside_code):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name) if name else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []


def test_the_map_of_the_tests_has_each_part_and_each_folder() -> None:
    listed = subprocess.run([PROJECT / "test", "--list"], capture_output=True, text=True).stdout
    parts = set(listed.split()) - {"quick", "evidence"}
    table = set(re.findall(r"^\| `([a-z_/]+)` \|", text(PROJECT / "tests/README.md"), re.MULTILINE))
    libraries = {f"{path.name}/" for path in (PROJECT / "tests/library").iterdir()}
    assert table == parts | {name for name in libraries if not name.startswith("__")}


def test_a_suite_imports_no_other_suite_and_the_library_imports_none() -> None:
    suites = {path.name for path in (PROJECT / "tests").iterdir() if path.is_dir()} - {"library"}
    mistakes = []
    for path in (path for path in files() if path.suffix == ".py"):
        name = path.relative_to(PROJECT)
        own = name.parts[1] if name.parts[0] == "tests" else ""
        for module in imported(path):
            top, *below = module.split(".")
            if top == "tests" and below[:1] != [own]:
                mistakes.append(f"{name} imports {module}")
    assert suites >= {"unit", "engine", "proxy", "client", "play", "fuzz"}
    assert mistakes == []


@pytest.mark.parametrize(
    "room",
    [
        "access",
        "access/validation",
        "contents",
        "credentials",
        "deployment",
        "inventory",
        "preflight",
    ],
)
def test_no_modules_of_a_room_import_each_other_in_a_circle(room: str) -> None:
    imports = {path.stem: _imported(path) for path in (PROJECT / "wharfinger" / room).glob("*.py")}
    # The names that the room's __init__ offers are for other rooms.
    imports.pop("__init__")
    TopologicalSorter(imports).prepare()


def _imported(path: Path) -> set[str]:
    """The modules of its own room that a module imports, including imports within functions."""
    room = ".".join(path.relative_to(PROJECT).parent.parts) + "."
    names = (name.removeprefix(room) for name in imported(path) if name.startswith(room))
    return {name.partition(".")[0] for name in names}
