"""The token server's image: Debian's Python, hash-locked wheels, wharfinger/token_server, no shell.

Of Debian's packages the image keeps only what Python needs at run time: Python's library, the
shared libraries that a kept file needs, certificates, and the packages' licences and versions
(which vulnerability scanners read from /var/lib/dpkg/status.d).
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from images.image_tar import Entry, directory, layer, symlink
from images.token_server.elf import needed
from images.toolbox import (
    ROOT,
    BuildError,
    install_wheels,
    native_architecture,
    run,
    say,
    source_files,
)
from wharfinger.deployment.fixed import TOKEN_SERVER_ID, TOKEN_SERVER_PORT

NAME = "wharfinger/token-server"
FOLDER = ROOT / "images" / "token_server"
PACKAGES = FOLDER / "packages.txt"
REQUIREMENTS = ROOT / "requirements" / "token_server.txt"
SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PYTHON = "usr/bin/python3.13"
LIBRARY = "usr/lib/python3.13"
APPLICATION = "opt/wharfinger"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
SETTINGS = {
    "Entrypoint": [f"/{PYTHON}", "-m", "wharfinger.token_server"],
    "Cmd": ["serve", "/config/auth_config.yml"],
    "Env": [
        "PATH=/usr/bin",
        "LANG=C.UTF-8",
        f"PYTHONPATH=/{APPLICATION}",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONUNBUFFERED=1",
        f"SSL_CERT_FILE=/{CERTIFICATES}",
    ],
    "ExposedPorts": {f"{TOKEN_SERVER_PORT}/tcp": {}},
    "User": f"{TOKEN_SERVER_ID}:{TOKEN_SERVER_ID}",
    "WorkingDir": "/",
}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}

# Parts of Python's library that a server never imports or that need more shared libraries.
_UNUSED = re.compile(
    rf"{LIBRARY}/("
    r"__pycache__|.*/__pycache__|_pyrepl|config-[^/]*|curses|dbm|ensurepip|idlelib|lib2to3|"
    r"pydoc_data|sqlite3|test|tkinter|turtledemo|turtle\.py|venv|EXTERNALLY-MANAGED|"
    r"sitecustomize\.py|lib-dynload/(_curses|_dbm|_gdbm|_sqlite3|_test|_ctypes_test|_tkinter|"
    r"readline|xx)[^/]*)(/|$)"
)
# Of the packages' documentation only the licences are kept.
_LICENCE = re.compile(r"usr/share/(common-licenses/[^/]+|doc/[^/]+/copyright)")
_WHEEL_WASTE = re.compile(
    r"bin/|(.*/)?__pycache__/|.*\.(pyi|pyx|pxd|c|h|pth)$|\.lock$|"
    r"[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_.*)$"
)
_LIBRARIES_BY_NAME = ("libgcc_s.so.1",)  # glibc loads it when a thread is cancelled

# Runs in the new root's namespace, before mmdebstrap removes the downloaded packages.
_RECORD_PACKAGES = """\
mkdir -p "$1/var/lib/dpkg/status.d"
for package in "$1"/var/cache/apt/archives/*.deb; do
    name=$(dpkg-deb --field "$package" Package)
    dpkg-deb --field "$package" > "$1/var/lib/dpkg/status.d/$name"
done"""


def version() -> str:
    """The project's version, which is the token server's too."""
    text = (ROOT / "wharfinger" / "__init__.py").read_text(encoding="utf-8")
    assignment = re.search(r'^__version__(?:: \w+)? = "([^"]+)"$', text, re.MULTILINE)
    assert assignment, "wharfinger/__init__.py names the version"
    return assignment[1]


def application() -> list[Path]:
    """The files of this project that the image contains."""
    return [
        ROOT / "wharfinger" / "__init__.py",
        ROOT / "wharfinger" / "bcrypt_hash.py",
        ROOT / "wharfinger" / "suggestions.py",
        *source_files(ROOT / "wharfinger" / "token_server"),
        *source_files(ROOT / "wharfinger" / "tokens"),
    ]


def sources() -> list[Path]:
    """Every file that the image is built from."""
    own = [FOLDER / name for name in ("compile.py", "elf.py", "recipe.py")]
    return [*own, PACKAGES, REQUIREMENTS, *application()]


def build(work: Path, architecture: str) -> list[bytes]:
    """The image's layers. ``work`` is an empty folder that the caller removes."""
    doing = f"building {NAME} for {architecture}"
    require_tools(doing)
    with ThreadPoolExecutor() as pool:
        say(f"{doing}: fetching Debian's packages and the locked wheels")
        fetched_system = pool.submit(_debian, work / "system.tar", architecture, doing)
        fetched_wheels = pool.submit(
            install_wheels,
            REQUIREMENTS,
            work / "wheels",
            doing=doing,
            options=["--python-version", "3.13", "--python-platform", _PLATFORMS[architecture]],
        )
        native = native_architecture()
        fetched_compiler = None
        if architecture != native:
            # Bytecode is the same on every processor, but only this machine's Python runs here.
            fetched_compiler = pool.submit(_debian, work / "compiler.tar", native, doing)
        fetched_wheels.result()
        packages = fetched_system.result()
        compiler_packages = fetched_compiler.result() if fetched_compiler else packages
    wheels = _wheels(work / "wheels")
    code = _code()
    system = _system(packages, architecture, wheels)
    compiler = system if architecture == native else _system(compiler_packages, native, [])
    say(f"{doing}: compiling Python's bytecode")
    bytecode = _compile(work, [*system, *wheels, *code], compiler, native, doing)

    def with_bytecode(entries: list[Entry]) -> list[Entry]:
        return entries + [bytecode[entry.path] for entry in entries if entry.path in bytecode]

    return [layer(with_bytecode(system)), layer(with_bytecode(wheels)), layer(with_bytecode(code))]


def require_tools(doing: str) -> None:
    """Raises BuildError if this machine lacks a program that `build` runs."""
    missing = []
    if shutil.which("mmdebstrap") is None:
        missing.append("mmdebstrap")
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    if os.geteuid() != 0 and shutil.which("newuidmap") is None:
        missing.append("uidmap")
    if missing:
        raise BuildError(
            f"{doing} needs {', '.join(missing)} on the controller: "
            f"sudo apt-get install {' '.join(missing)}; "
            "or use a bundle (images_source: archive), which needs none of them"
        )


def _debian(output: Path, architecture: str, doing: str) -> Path:
    """Unpack Debian's packages into the tar ``output``. None of their programs is run."""
    packages = [
        line.strip()
        for line in PACKAGES.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=extract",
            "--format=tar",
            f"--architectures={architecture}",
            f"--include={','.join(packages)}",
            "--skip=check/qemu",
            f"--extract-hook={_RECORD_PACKAGES}",
            SUITE,
            str(output),
        ],
        doing=doing,
    )
    return output


def _read(archive_path: Path) -> dict[str, Entry]:
    """Every file, link and directory of a tar, by path."""
    entries: dict[str, Entry] = {}
    with tarfile.open(archive_path) as archive:
        for member in archive:
            path = str(PurePosixPath(member.name))
            if member.islnk():
                entries[path] = Entry(
                    path, member.mode & 0o755, entries[str(PurePosixPath(member.linkname))].content
                )
            elif member.issym():
                entries[path] = symlink(path, member.linkname)
            elif member.isfile():
                extracted = archive.extractfile(member)
                assert extracted is not None
                # Without set-user-id bits, even if a package has them.
                entries[path] = Entry(path, member.mode & 0o755, extracted.read())
            elif member.isdir() and path != ".":
                entries[path] = directory(path, member.mode & 0o755)
    return entries


def _system(archive: Path, architecture: str, wheels: list[Entry]) -> list[Entry]:
    """The files of Debian's packages that the server can use."""
    everything = _read(archive)
    kept: dict[str, Entry] = {}
    for path, entry in everything.items():
        is_python = path == PYTHON or (
            path.startswith(f"{LIBRARY}/") and not _UNUSED.match(path) and entry.content is not None
        )
        is_root_link = "/" not in path and entry.target is not None
        is_record = path.startswith("var/lib/dpkg/status.d/")
        is_system = path in ("etc/os-release", "usr/lib/os-release", "etc/debian_version")
        if is_python or is_root_link or is_record or is_system or _LICENCE.fullmatch(path):
            kept[path] = entry
    _add_libraries(kept, everything, _TRIPLETS[architecture], wheels)
    certificates = [
        entry.content
        for path, entry in sorted(everything.items())
        if path.startswith("usr/share/ca-certificates/") and entry.content is not None
    ]
    kept[CERTIFICATES] = Entry(CERTIFICATES, content=b"".join(certificates))
    kept["usr/bin/python3"] = symlink("usr/bin/python3", "python3.13")
    for path, mode in (("config", 0o755), ("tmp", 0o1777)):
        kept[path] = directory(path, mode)
    for path, text in (
        ("etc/passwd", f"wharfinger:x:{TOKEN_SERVER_ID}:{TOKEN_SERVER_ID}::/:/nonexistent\n"),
        ("etc/group", f"wharfinger:x:{TOKEN_SERVER_ID}:\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ):
        kept[path] = Entry(path, content=text.encode())
    return list(kept.values())


def _add_libraries(
    kept: dict[str, Entry], everything: dict[str, Entry], triplet: str, wheels: list[Entry]
) -> None:
    """Add the shared libraries that the kept files and the wheels need, and all that these need."""
    bundled = {PurePosixPath(entry.path).name for entry in wheels}
    needs = [
        (entry.path, name)
        for entry in [*kept.values(), *wheels]
        for name in needed(entry.content or b"")
    ]
    needs += [("glibc", name) for name in _LIBRARIES_BY_NAME]
    while needs:
        user, name = needs.pop()
        if name.startswith("/"):
            path = _resolve(name.lstrip("/"), everything)
        else:
            path = f"usr/lib/{triplet}/{name}"
            if path not in everything and name in bundled:
                continue
        # A link is kept together with the file to which it leads.
        while path not in kept:
            entry = everything.get(path)
            if entry is None:
                raise BuildError(
                    f"{NAME}: {user} needs {name}, which no package has: add its package to "
                    f"{PACKAGES.relative_to(ROOT)}"
                )
            kept[path] = entry
            if entry.target is None:
                needs += [(path, library) for library in needed(entry.content or b"")]
                break
            path = os.path.normpath(f"{PurePosixPath(path).parent}/{entry.target}")


def _resolve(path: str, everything: dict[str, Entry]) -> str:
    """``path``, after following a leading link such as lib64 -> usr/lib64."""
    first, _, rest = path.partition("/")
    entry = everything.get(first)
    return f"{entry.target}/{rest}" if entry is not None and entry.target else path


def _wheels(folder: Path) -> list[Entry]:
    entries = []
    for path in source_files(folder):
        inside = path.relative_to(folder).as_posix()
        if not _WHEEL_WASTE.match(inside):
            entries.append(Entry(f"{APPLICATION}/{inside}", content=path.read_bytes()))
    return entries


def _code() -> list[Entry]:
    return [
        Entry(f"{APPLICATION}/{path.relative_to(ROOT).as_posix()}", content=path.read_bytes())
        for path in application()
    ]


def _compile(
    work: Path, entries: list[Entry], compiler: list[Entry], native: str, doing: str
) -> dict[str, Entry]:
    """The bytecode of every source among ``entries``, by the path of its source."""
    sources_root, python_root = work / "sources", work / "python"
    _unpack((entry for entry in entries if entry.path.endswith(".py")), sources_root)
    _unpack(compiler, python_root)
    triplet = _TRIPLETS[native]
    loaders = [
        entry.path for entry in compiler if PurePosixPath(entry.path).name.startswith("ld-linux")
    ]
    run(
        # Started by that tree's own loader, so it needs neither root nor a chroot.
        [
            str(python_root / sorted(loaders)[0]),
            "--library-path",
            str(python_root / "usr/lib" / triplet),
            str(python_root / PYTHON),
            "-S",
            "-s",
            "-B",
            str(FOLDER / "compile.py"),
            str(sources_root),
            LIBRARY,
            APPLICATION,
        ],
        doing=doing,
        environment={"PYTHONHOME": str(python_root / "usr"), "PYTHONHASHSEED": "0"},
    )
    compiled = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        inside = f"{path.parent}/__pycache__/{path.stem}.cpython-313.pyc"
        if path.suffix == ".py":
            compiled[entry.path] = Entry(inside, content=(sources_root / inside).read_bytes())
    return compiled


def _unpack(entries: Iterable[Entry], root: Path) -> None:
    """Write files and links below ``root``, an empty or missing folder."""
    for entry in entries:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.target is not None:
            path.symlink_to(entry.target)
        elif entry.content is not None:
            path.write_bytes(entry.content)
            path.chmod(entry.mode)
