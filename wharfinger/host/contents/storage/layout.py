"""The registry's storage on disk, as distribution 3's filesystem driver lays it out.

    docker/registry/v2/
        blobs/sha256/XX/HEX/data
        repositories/NAME/_manifests/revisions/sha256/HEX/link
        repositories/NAME/_manifests/tags/TAG/current/link
        repositories/NAME/_manifests/tags/TAG/index/sha256/HEX/link
        repositories/NAME/_layers/sha256/HEX/link
        repositories/NAME/_uploads/…

A link is a file that contains a digest and nothing else. Other processes push, delete and collect
meanwhile: a file that vanishes during a walk counts as missing. No symbolic link below the
storage's folder is followed: the registry's process may write here, and this one may read
everything.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....oci.digests import ALGORITHMS, DIGEST
from ....oci.manifests import MAX_BYTES
from ....oci.names import REPOSITORY
from ...system.errors import HostError

_HEX = re.compile(r"[0-9a-f]+")
_LINK_BYTES = 256
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

MISSING = "missing"
EMPTY = "empty"
MALFORMED = "malformed"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Link:
    """A link. `name` is the tag or digest that it stands for, by its place. `target` is the digest
    in it; if that is "", `problem` says why (MISSING, EMPTY, MALFORMED or UNREADABLE)."""

    name: str
    target: str
    pushed: float
    problem: str = ""


class Storage:
    """The storage below `path` (STORAGE_PATH). Raises HostError if it cannot be read.

    `on_poll` is called before each repository, and may raise HostError to end the work there.
    `moment` corrects the time of a file to a trusted clock (clock.py); without it, the file's time
    counts.
    """

    def __init__(self, path: Path, moment: Callable[[float], float] | None = None) -> None:
        self.path = path
        self.moment = moment or (lambda written: written)
        self.on_poll: Callable[[], None] = lambda: None
        self.root = path / "docker" / "registry" / "v2"

    def repositories(self) -> Iterator[str]:
        """The names of all repositories, sorted. A repository may lie below another."""
        yield from self._with_folders("_manifests")

    def with_uploads(self) -> Iterator[str]:
        """The names of all repositories with an unfinished upload, including those without any
        manifest."""
        yield from self._with_folders("_uploads")

    def with_contents(self) -> Iterator[str]:
        """The names of all repositories that have manifests or layers, sorted. In the middle of a
        first push there are only layers."""
        yield from self._with_folders("_manifests", "_layers")

    def _with_folders(self, *folders: str) -> Iterator[str]:
        """The names of all repositories that have one of these folders."""
        for repository in self._below("", [], folders):
            self.on_poll()
            yield repository

    def strays(self) -> list[Path]:
        """Symbolic links among the repositories, and folders with manifests whose names no
        repository can have. Walks all repositories."""
        strays: list[Path] = []
        for _ in self._below("", strays):
            pass
        return strays

    def tags(self, repository: str) -> Iterator[Link]:
        """The tags of a repository. A tag without its link is MISSING."""
        with self.folder(self.tags_path(repository)) as folder:
            for entry in self._entries(folder):
                if not entry.is_dir(follow_symlinks=False):
                    yield Link(entry.name, "", 0.0, MALFORMED)
                    continue
                yield self._link(entry.name, folder, entry.name, "current", "link")

    def tag(self, repository: str, name: str) -> Link | None:
        """One tag as it is now; None if it does not exist."""
        with self.folder(self.tags_path(repository)) as folder:
            if folder is None:
                return None
            try:
                os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            return self._link(name, folder, name, "current", "link")

    def revisions(self, repository: str) -> Iterator[Link]:
        """The links of a repository's manifests. A folder without its link file is left out: that
        is how distribution deletes a manifest."""
        yield from self._links(repository, "_manifests", "revisions")

    def revision(self, repository: str, digest: str) -> Link | None:
        """One manifest's link as it is now; None if it does not exist."""
        return self._digest_link(digest, repository, "_manifests", "revisions")

    def deleted(self, repository: str) -> Iterator[tuple[str, float]]:
        """The manifests that distribution has deleted, and when: their folders are left."""
        for algorithm in ALGORITHMS:
            path = self._repository(repository, "_manifests", "revisions", algorithm)
            with self.folder(path) as folder:
                for entry in self._entries(folder):
                    if not _is_hex(algorithm, entry.name) or not entry.is_dir(
                        follow_symlinks=False
                    ):
                        continue
                    try:
                        os.stat(f"{entry.name}/link", dir_fd=folder, follow_symlinks=False)
                    except FileNotFoundError:
                        with contextlib.suppress(FileNotFoundError):
                            status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                            yield f"{algorithm}:{entry.name}", self.moment(status.st_mtime)

    def history(self, repository: str, tag: str) -> Iterator[tuple[str, float]]:
        """The digests that a tag has named, each with the last time it was set to it."""
        for link in self._links(repository, "_manifests", "tags", tag, "index"):
            yield link.name, link.pushed

    def changed(self, repository: str) -> tuple[float, float]:
        """When a tag was last made or removed, and when the last new manifest came, judged by the
        times of the folders."""
        tags = self._changed(self.tags_path(repository))
        folder = self._repository(repository, "_manifests", "revisions")
        return tags, max(self._changed(folder / algorithm) for algorithm in ALGORITHMS)

    def _changed(self, path: Path) -> float:
        with self.folder(path) as folder:
            return 0.0 if folder is None else os.fstat(folder).st_mtime

    def layers(self, repository: str) -> Iterator[Link]:
        """The links of a repository's layers and configs."""
        yield from self._links(repository, "_layers")

    def layer(self, repository: str, digest: str) -> Link | None:
        """One layer's link as it is now; None if it does not exist."""
        return self._digest_link(digest, repository, "_layers")

    def has_layers(self, repository: str) -> bool:
        """Whether the folder of the layers' links exists. Without it, distribution's garbage
        collection fails."""
        with self.folder(self.layers_path(repository)) as folder:
            return folder is not None

    def blobs(self) -> Iterator[tuple[str, int]]:
        """All blobs and their sizes in bytes."""
        for algorithm in ALGORITHMS:
            top = self.root / "blobs" / algorithm
            for prefix in self.names(top):
                with self.folder(top / prefix) as folder:
                    for entry in self._entries(folder):
                        size = self._size(folder, entry)
                        if size is not None and _is_hex(algorithm, entry.name):
                            yield f"{algorithm}:{entry.name}", size

    def blob_path(self, digest: str) -> Path:
        """The file of a blob."""
        algorithm, _, value = digest.partition(":")
        return self.root / "blobs" / algorithm / value[:2] / value / "data"

    def open_blob(self, digest: str) -> int:
        """A descriptor to read a blob. Raises FileNotFoundError or another OSError."""
        return self._open(self.blob_path(digest))

    def blob_size(self, digest: str) -> int | None:
        """A blob's size in bytes; None if it does not exist."""
        try:
            descriptor = self.open_blob(digest)
        except OSError as problem:
            if problem.errno in _GONE:
                return None
            raise
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def manifest(self, digest: str) -> bytes | None:
        """A manifest's bytes; None if there is no such blob, if its content has another digest, or
        if it is too large for a manifest. Raises OSError if the kernel cannot read it."""
        try:
            descriptor = self.open_blob(digest)
        except OSError as problem:
            if problem.errno in _GONE:
                return None
            raise
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            if os.fstat(descriptor).st_size > MAX_BYTES:
                return None
            data = stream.read(MAX_BYTES + 1) or b""
        algorithm, _, value = digest.partition(":")
        return data if hashlib.new(algorithm, data).hexdigest() == value else None

    def link_path(self, repository: str, *, tag: str = "", digest: str = "") -> Path:
        """The link file of a tag, or without a tag, that of a manifest."""
        if tag:
            return self.tags_path(repository) / tag / "current" / "link"
        return self._digest_path(self._repository(repository, "_manifests", "revisions"), digest)

    def layer_path(self, repository: str, digest: str) -> Path:
        """The link file of a layer."""
        return self._digest_path(self.layers_path(repository), digest)

    def layers_path(self, repository: str) -> Path:
        """The folder of the layers' links."""
        return self._repository(repository, "_layers")

    @staticmethod
    def _digest_path(folder: Path, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return folder / f"{algorithm}/{value}/link"

    def _repository(self, repository: str, *more: str) -> Path:
        return self.root.joinpath("repositories", repository, *more)

    def tags_path(self, repository: str) -> Path:
        """The folder of a repository's tags."""
        return self._repository(repository, "_manifests", "tags")

    def uploads_path(self, repository: str) -> Path:
        """The folder of a repository's uploads."""
        return self._repository(repository, "_uploads")

    def _below(
        self, name: str, strays: list[Path], folders: Sequence[str] = ("_manifests",)
    ) -> Iterator[str]:
        """The repositories at and below this name that have one of these folders."""
        path = self._repository(name)
        with self.folder(path) as folder:
            entries = [
                (entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink())
                for entry in self._entries(folder)
            ]
        if any((folder, True, False) in entries for folder in folders):
            if REPOSITORY.fullmatch(name):
                yield name
            else:
                strays.append(path)
        for entry, directory, symlink in entries:
            if entry.startswith("_"):
                continue
            if symlink:
                strays.append(path / entry)
            elif directory:
                below = f"{name}/{entry}" if name else entry
                yield from self._below(below, strays, folders)

    def _links(self, repository: str, *kind: str) -> Iterator[Link]:
        """All links in this folder of a repository."""
        for algorithm in ALGORITHMS:
            with self.folder(self._repository(repository, *kind, algorithm)) as folder:
                for entry in self._entries(folder):
                    if not _is_hex(algorithm, entry.name):
                        continue
                    link = self._link(f"{algorithm}:{entry.name}", folder, entry.name, "link")
                    if link.problem != MISSING:
                        yield link

    def _digest_link(self, digest: str, repository: str, *kind: str) -> Link | None:
        algorithm, _, value = digest.partition(":")
        with self.folder(self._repository(repository, *kind, algorithm)) as folder:
            if folder is None:
                return None
            link = self._link(digest, folder, value, "link")
            return None if link.problem == MISSING else link

    def _link(self, name: str, folder: int | None, *parts: str) -> Link:
        """The link at this place below an open folder."""
        assert folder is not None
        try:
            descriptor = _open_below(folder, parts)
        except OSError as problem:
            if problem.errno in _GONE:
                return Link(name, "", 0.0, MISSING)
            return Link(name, "", 0.0, UNREADABLE)
        try:
            pushed = self.moment(os.fstat(descriptor).st_mtime)
            text = os.read(descriptor, _LINK_BYTES).decode("ascii", "replace")
        except OSError:
            return Link(name, "", 0.0, UNREADABLE)
        finally:
            os.close(descriptor)
        if not text:
            return Link(name, "", pushed, EMPTY)
        if not DIGEST.fullmatch(text):
            return Link(name, "", pushed, MALFORMED)
        return Link(name, text, pushed)

    @staticmethod
    def _size(folder: int | None, entry: os.DirEntry[str]) -> int | None:
        """The size of a blob's file in this folder of blobs."""
        if not entry.is_dir(follow_symlinks=False):
            return None
        try:
            status = os.stat(f"{entry.name}/data", dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def _open(self, path: Path) -> int:
        """Opens a file of the storage; raises OSError."""
        top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return _open_below(top, path.relative_to(self.path).parts)
        finally:
            os.close(top)

    @contextlib.contextmanager
    def folder(self, path: Path) -> Iterator[int | None]:
        """A descriptor of a folder of the storage; None if it does not exist."""
        try:
            top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                descriptor = _open_below(top, path.relative_to(self.path).parts, directory=True)
            finally:
                os.close(top)
        except OSError as problem:
            if problem.errno == errno.ENOENT:
                yield None
                return
            raise _unread(path, problem) from None
        try:
            yield descriptor
        except OSError as problem:
            raise _unread(path, problem) from None
        finally:
            os.close(descriptor)

    def names(self, path: Path) -> list[str]:
        """The names in a folder of the storage, sorted; empty if the folder does not exist."""
        with self.folder(path) as folder:
            return [entry.name for entry in self._entries(folder)]

    @staticmethod
    def _entries(folder: int | None) -> list[os.DirEntry[str]]:
        """The entries of an open folder, sorted by name; empty without a folder."""
        if folder is None:
            return []
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)


def _is_hex(algorithm: str, text: str) -> bool:
    return len(text) == ALGORITHMS[algorithm] and _HEX.fullmatch(text) is not None


def _unread(path: Path, problem: OSError) -> HostError:
    if problem.errno in (errno.ELOOP, errno.ENOTDIR):
        return HostError(
            f"{path}: this or a folder above it is a symbolic link or a file, and no symbolic"
            " link is followed in the registry's storage. Move the folder itself to this place"
        )
    return HostError(f"{path} cannot be read: {problem.strerror}")


def _open_below(folder: int, parts: tuple[str, ...], *, directory: bool = False) -> int:
    """Opens the file or directory at `parts` below an open folder, without following symbolic
    links.

    Opens only regular files and directories: a pipe would block for ever. Raises OSError.
    """
    current = folder
    try:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            if not last or directory:
                flags |= os.O_DIRECTORY
            next_descriptor = os.open(part, flags, dir_fd=current)
            if current != folder:
                os.close(current)
            current = next_descriptor
        if not directory and not stat.S_ISREG(os.fstat(current).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
    except BaseException:
        if current != folder:
            os.close(current)
        raise
    return current
