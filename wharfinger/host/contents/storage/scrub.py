"""Reads everything and compares it with its digest; finds damage, repairs nothing.

The scrub lists the links first. Then it reads each blob once: it hashes the blob and, if it is a
manifest, parses it. Pushes, deletions and collections go on meanwhile. So at the end every finding
is checked again, and only what is still damaged and still needed is reported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....oci.digests import is_list_tag
from ....oci.manifests import MAX_BYTES, Manifest, Unreadable, parse
from ....oci.media_types import INDEXES, OCI_INDEX
from ....oci.platforms import Platforms
from ...system.errors import HostError
from . import sentences
from .layout import Link, Storage
from .model import Damage
from .reading import read_document, read_manifest

Progress = Callable[[int, int], None]

_CHUNK = 1 << 20


# Repository → the platforms of each mirror that writes there.
Mirrored = Mapping[str, Sequence[Platforms]]


def scrub(
    storage: Storage,
    rate: int = 0,
    progress: Progress | None = None,
    mirrored: Mirrored | None = None,
) -> dict[str, Any]:
    """Checks blobs, links and manifests.

    `rate`: at most so many bytes each second; 0 means no limit. `progress(done, total)` is called
    with bytes. `mirrored`: where indexes may lack members. Returns (JSON) `{"blobs": int,
    "bytes": int, "seconds": float, "damage": [{"kind", "repository", "digest", "path", "sentence",
    "tags", "repositories"}], "harmless": [the same], "stale": [the same], "not_mirrored": int}`.
    Harmless is what is damaged or incomplete but not needed, and a manifest that the registry
    cannot read. A list of referrers is stale if it names a deleted manifest. `not_mirrored` counts
    the members of indexes that their mirror does not keep. Raises HostError if the storage as a
    whole cannot be read.
    """
    begun = time.monotonic()
    scrubbing = _Scrub(storage, rate, progress, mirrored or {})
    damage, harmless, stale = scrubbing.run()
    return {
        "blobs": scrubbing.blobs,
        "bytes": scrubbing.bytes,
        "seconds": round(time.monotonic() - begun, 3),
        "damage": [problem.report() for problem in damage],
        "harmless": [problem.report() for problem in harmless],
        "stale": [problem.report() for problem in stale],
        "not_mirrored": len(scrubbing.not_mirrored),
    }


@dataclass
class _Listing:
    """The links of a repository. `tags`: with the digests that they name; `revisions`, `layers`:
    digests; `aliases`: layers that are stored under another digest; `problems`: what is wrong with
    links; `broken`: the digests whose links these are."""

    tags: dict[str, str] = field(default_factory=dict)
    revisions: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    problems: list[Damage] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def add_problem(self, damage: Damage) -> None:
        """Notes a link that is not as it should be."""
        self.problems.append(damage)
        if damage.digest is not None:
            self.broken.add(damage.digest)


@dataclass(slots=True)
class _Known:
    """What is kept of a manifest: digests only. `why`: why it is unreadable."""

    children: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    index: bool = False
    oci_index: bool = False
    uncollected: str = ""
    why: str = ""


@dataclass(frozen=True)
class _Finding:
    """Something wrong in a repository. `users`: the manifests that are directly affected."""

    damage: Damage
    users: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str | None, str]:
        """Identifies the finding when it is found again."""
        return self.damage.repository, self.damage.path


class _Scrub:
    def __init__(
        self, storage: Storage, rate: int, progress: Progress | None, mirrored: Mirrored
    ) -> None:
        self.storage = storage
        self.blobs = 0
        self.bytes = 0
        # Repository and digest of what an index names and its mirror does not keep.
        self.not_mirrored: set[tuple[str, str]] = set()
        self._mirrored = mirrored
        self._throttle = _Throttle(rate)
        self._progress = progress or (lambda _done, _total: None)
        self._chunk = min(_CHUNK, max(rate // 8, 1 << 16)) if rate else _CHUNK
        self._buffer = bytearray(self._chunk)
        # By digest: a blob's size on disk, what is wrong with its content, and each manifest.
        self._sizes: dict[str, int] = {}
        self._damaged: dict[str, tuple[str, str]] = {}
        self._known: dict[str, _Known] = {}
        # Sizes that manifests claim wrongly, by the digests of manifest and blob; and the largest
        # of them for each blob.
        self._claimed_sizes: dict[tuple[str, str], int] = {}
        self._largest_claims: dict[str, int] = {}
        self._done = 0
        self._total = 0

    def run(self) -> tuple[list[Damage], list[Damage], list[Damage]]:
        """Returns the damage, the harmless findings, and the stale lists of referrers."""
        listings = {name: self._list(name) for name in self.storage.repositories()}
        strays = {path: sentences.stray_name(path) for path in self.storage.strays()}
        self._read_all({digest for listing in listings.values() for digest in listing.revisions})
        first = {
            repository: findings
            for repository, listing in listings.items()
            if (findings := list(self._findings_in(repository, listing)))
        }
        listings.clear()
        confirmed = self._confirmed(first)
        stale = [damage for damage in confirmed if damage.kind == sentences.STALE_LIST]
        unneeded = [damage for damage in confirmed if _is_harmless(damage)]
        damage = [damage for damage in confirmed if damage not in stale and damage not in unneeded]
        still_stray = set(self.storage.strays()) if strays else set()
        damage += [stray for path, stray in strays.items() if path in still_stray]
        needed = {problem.digest for problem in damage}
        harmless = unneeded + [
            sentences.harmless_blob(self.storage, digest, *self._damaged[digest])
            for digest in sorted(self._damaged)
            if digest not in needed
        ]
        return damage, harmless, stale

    # -- reading ---------------------------------------------------------------------------------

    def _list(self, repository: str) -> _Listing:
        """All links of a repository as they are now."""
        listing = _Listing()
        storage = self.storage
        try:
            for link in storage.tags(repository):
                if link.problem:
                    listing.add_problem(sentences.stray_tag(storage, repository, link))
                else:
                    listing.tags[link.name] = sys.intern(link.target)
            for link in storage.revisions(repository):
                if link.target == link.name:
                    listing.revisions.add(sys.intern(link.name))
                else:
                    listing.add_problem(sentences.unreadable_link(storage, repository, link))
            for link in storage.layers(repository):
                self._add_layer(repository, link, listing)
        except HostError as problem:
            path = str(storage.layers_path(repository).parent)
            hit = (repository,)
            listing.add_problem(
                Damage("unreadable folder", repository, None, path, str(problem), (), hit)
            )
        return listing

    def _add_layer(self, repository: str, link: Link, listing: _Listing) -> None:
        if link.problem:
            listing.add_problem(sentences.unreadable_layer_link(self.storage, repository, link))
            return
        name = sys.intern(link.name)
        listing.layers.add(name)
        if link.target != name:
            listing.aliases[name] = sys.intern(link.target)

    def _read_all(self, manifests: set[str]) -> None:
        """Reads each blob that exists now, once."""
        for digest, size in self.storage.blobs():
            self._sizes[sys.intern(digest)] = size
        self._total = sum(self._sizes.values())
        for digest, size in list(self._sizes.items()):
            done = self._done + size
            if self._read(digest, digest in manifests):
                self.blobs += 1
                self.bytes += self._sizes[digest]
            self._done = done
            self._progress(self._done, self._total)

    def _read(self, digest: str, is_manifest: bool = False) -> bool:
        """Hashes one blob, and notes what is wrong with it and what a manifest refers to. Returns
        whether it existed."""
        self._damaged.pop(digest, None)
        try:
            descriptor = self.storage.open_blob(digest)
            try:
                body = self._hash(descriptor, digest, is_manifest)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            self._sizes.pop(digest, None)
            return False
        except OSError as problem:
            self._damaged[digest] = _unreadable_blob(problem)
            return True
        if is_manifest and digest not in self._damaged:
            self._keep_references(digest, parse(body))
        return True

    def _hash(self, descriptor: int, digest: str, is_manifest: bool) -> bytes:
        """Compares an open blob with its digest. Returns the bytes of a manifest, up to the
        limit."""
        algorithm, _, value = digest.partition(":")
        hashed = hashlib.new(algorithm)
        body = bytearray()
        size = 0
        view = memoryview(self._buffer)
        while read := os.readv(descriptor, [view]):
            hashed.update(view[:read])
            if is_manifest and size <= MAX_BYTES:
                body += view[:read]
            size += read
            self._throttle.take(read)
            self._progress(min(self._done + size, self._total), self._total)
        self._sizes[digest] = size
        if hashed.hexdigest() != value:
            why = f"its content ({size} bytes) has another digest"
            self._damaged[digest] = ("changed blob", why)
        return bytes(body)

    def _keep_references(self, digest: str, manifest: Manifest | Unreadable) -> None:
        """Keeps what a manifest refers to, and which sizes it claims wrongly."""
        if isinstance(manifest, Unreadable):
            self._known[digest] = _Known(why=manifest.why)
            return
        contents = [
            reference
            for reference in manifest.contents
            if not reference.elsewhere or self._is_there(reference.digest)
        ]
        self._known[digest] = _Known(
            tuple(sys.intern(reference.digest) for reference in manifest.children),
            tuple(sys.intern(reference.digest) for reference in contents),
            manifest.media_type in INDEXES,
            manifest.media_type == OCI_INDEX,
            "" if manifest.collected else manifest.media_type,
        )
        for reference in (*manifest.children, *contents):
            if reference.size is not None and self._sizes.get(reference.digest) != reference.size:
                self._claimed_sizes[digest, sys.intern(reference.digest)] = reference.size
                self._largest_claims[reference.digest] = max(
                    reference.size, self._largest_claims.get(reference.digest, 0)
                )

    def _is_there(self, digest: str) -> bool:
        """Whether a blob exists: it was listed, or came since then."""
        if digest not in self._sizes:
            try:
                size = self.storage.blob_size(digest)
            except OSError as problem:
                self._damaged[digest] = _unreadable_blob(problem)
                size = 0
            if size is None:
                return False
            self._sizes[digest] = size
        return True

    def _known_manifest(self, digest: str) -> _Known:
        """What a manifest refers to. One that was pushed meanwhile is read now."""
        if digest not in self._known:
            self._keep_references(digest, read_manifest(self.storage, digest))
        return self._known[digest]

    # -- judging ---------------------------------------------------------------------------------

    def _findings_in(self, repository: str, listing: _Listing) -> Iterator[_Finding]:
        """What is wrong in a repository, judged by its links and what is known about blobs."""
        storage = self.storage
        for problem in listing.problems:
            yield _Finding(problem, frozenset((problem.digest,)) if problem.digest else frozenset())
        for name, digest in listing.tags.items():
            if digest not in listing.revisions and digest not in listing.broken:
                yield _Finding(sentences.lost_tag(storage, repository, name, digest))
        missing: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        lists = self._referrer_lists(listing)
        for digest in sorted(listing.revisions):
            users = frozenset((digest,))
            if not self._is_there(digest):
                yield _Finding(sentences.orphan_link(storage, repository, digest), users)
                continue
            if digest in self._damaged:
                yield self._blob_finding(digest, users)
                continue
            known = self._known_manifest(digest)
            if known.why:
                damage = sentences.unjudged_manifest(storage, repository, digest, known.why)
                yield _Finding(damage, users)
            elif known.uncollected:
                damage = sentences.uncollected_manifest(
                    storage, repository, digest, known.uncollected
                )
                yield _Finding(damage, users)
            gone = self._check_children(listing, digest, missing)
            if gone and digest in lists:
                yield _Finding(
                    sentences.stale_list(storage, repository, lists[digest], digest, gone), users
                )
            elif gone:
                for child in self._unexpectedly(repository, digest, gone):
                    missing["child", child].add(digest)
            for content in known.contents:
                # What an index calls a blob may still be a manifest.
                if not (known.index and content in listing.revisions):
                    self._check_content(listing, digest, content, missing)
        for (kind, digest), manifests in missing.items():
            yield self._finding(repository, kind, digest, frozenset(manifests))

    def _check_children(
        self, listing: _Listing, digest: str, missing: dict[tuple[str, str], set[str]]
    ) -> list[str]:
        """Notes in `missing` the children of a manifest whose size is another. Returns those that
        the repository does not have."""
        gone = []
        for child in self._known[digest].children:
            if child not in listing.revisions and child not in listing.broken:
                gone.append(child)
            elif self._has_other_size(digest, child):
                missing["size", child].add(digest)
        return gone

    def _unexpectedly(self, repository: str, index: str, gone: Sequence[str]) -> list[str]:
        """Those of the members `gone` that no mirror leaves out. Where several mirrors write into
        this repository, one that does is enough: their own job copies what another one lacks."""
        kept = self._mirrored.get(repository, ())
        document = read_document(self.storage, index) if kept else {}
        expected = {
            child
            for child in gone
            if any(not platforms.keeps(document, child) for platforms in kept)
        }
        self.not_mirrored |= {(repository, child) for child in expected}
        return [child for child in gone if child not in expected]

    def _referrer_lists(self, listing: _Listing) -> dict[str, str]:
        """The lists of referrers and their tags. An index that has another tag, too, is not a
        list."""
        lists: dict[str, str] = {}
        others: set[str] = set()
        for tag, digest in listing.tags.items():
            if is_list_tag(tag, digest) and digest in listing.revisions:
                lists[digest] = tag
            else:
                others.add(digest)
        return {
            digest: tag
            for digest, tag in lists.items()
            if digest not in others and self._known.get(digest, _Known()).oci_index
        }

    def _check_content(
        self,
        listing: _Listing,
        digest: str,
        content: str,
        missing: dict[tuple[str, str], set[str]],
    ) -> None:
        """Notes in `missing` if something is wrong with a config or layer of a manifest."""
        stored = listing.aliases.get(content, content)
        if not self._is_there(stored) or stored in self._damaged:
            missing["blob", stored].add(digest)
        elif self._has_other_size(digest, content):
            missing["size", content].add(digest)
        elif content not in listing.layers and content not in listing.broken:
            missing["link", content].add(digest)

    def _has_other_size(self, user: str, digest: str) -> bool:
        """Whether a manifest claims a wrong size for an undamaged blob."""
        claimed = self._claimed_sizes.get((user, digest))
        size = self._sizes.get(digest)
        return digest not in self._damaged and None not in (claimed, size) and claimed != size

    def _finding(self, repository: str, kind: str, digest: str, users: frozenset[str]) -> _Finding:
        storage = self.storage
        if kind == "blob":
            return self._blob_finding(digest, users)
        if kind == "child":
            is_mirror = repository in self._mirrored
            damage = sentences.missing_child(storage, repository, digest, is_mirror=is_mirror)
            return _Finding(damage, users)
        if kind == "link":
            return _Finding(sentences.missing_layer_link(storage, repository, digest), users)
        claimed = min(self._claimed_sizes[user, digest] for user in users)
        damage = sentences.wrong_size(storage, repository, digest, self._sizes[digest], claimed)
        return _Finding(damage, users)

    def _blob_finding(self, digest: str, users: frozenset[str]) -> _Finding:
        """A blob that is missing or damaged."""
        kind, why = self._damaged.get(digest, ("missing blob", "it is not there"))
        size, claimed = self._sizes.get(digest, 0), self._largest_claims.get(digest, 0)
        if kind == "changed blob" and claimed > size:
            kind, why = "truncated blob", f"it has {size} of {claimed} bytes"
        return _Finding(sentences.damaged_blob(self.storage, digest, kind, why), users)

    # -- the second check ------------------------------------------------------------------------

    def _confirmed(self, first: dict[str, list[_Finding]]) -> list[Damage]:
        """Checks the findings again. Returns those that remain, with all tags that they affect."""
        for digest in list(self._damaged):
            self._read(digest)
        merged: dict[tuple[str | None, str], Damage] = {}
        for repository, findings in first.items():
            keys = {finding.key for finding in findings}
            listing = self._list(repository)
            still = [
                finding for finding in self._findings_in(repository, listing) if finding.key in keys
            ]
            parents = self._parents(listing) if still else {}
            for finding in still:
                tags = [f"{repository}:{tag}" for tag in _hit(finding.users, parents, listing)]
                damage = merged.get(finding.key, finding.damage)
                merged[finding.key] = dataclasses.replace(
                    damage,
                    tags=tuple(sorted({*damage.tags, *tags})),
                    repositories=tuple(sorted({*damage.repositories, repository})),
                )
        return [_with_tags(damage) for damage in merged.values()]

    def _parents(self, listing: _Listing) -> dict[str, list[str]]:
        """Digest → the manifests that name it."""
        parents: defaultdict[str, list[str]] = defaultdict(list)
        for digest in listing.revisions:
            known = self._known.get(digest, _Known())
            for part in (*known.children, *known.contents):
                parents[part].append(digest)
        return parents


def _unreadable_blob(problem: OSError) -> tuple[str, str]:
    return "unreadable blob", f"it cannot be read ({problem.strerror})"


def _hit(users: Iterable[str], parents: dict[str, list[str]], listing: _Listing) -> list[str]:
    """The tags from which these manifests are reached."""
    reached: set[str] = set()
    waiting = list(users)
    while waiting:
        digest = waiting.pop()
        if digest not in reached:
            reached.add(digest)
            waiting.extend(parents.get(digest, ()))
    return [tag for tag, digest in listing.tags.items() if digest in reached]


def _is_harmless(damage: Damage) -> bool:
    """Whether this is reported without an alarm. Clients that delete manifests leave incomplete
    ones that no tag leads to: nobody pulls them, and the disk is fine. A manifest that the registry
    cannot read is undamaged."""
    incomplete = damage.kind in sentences.INCOMPLETE and not damage.tags
    return incomplete or damage.kind == sentences.UNREAD


def _with_tags(damage: Damage) -> Damage:
    """The damage, with the affected tags in its sentence."""
    unnamed = [name for name in damage.tags if name not in damage.sentence]
    if not damage.tags and damage.repository is None:
        sentence = f"{damage.sentence}. No tag needs it, but {', '.join(damage.repositories)} does"
        return dataclasses.replace(damage, sentence=sentence)
    if not unnamed:
        return damage
    more = f" and {len(unnamed) - 5} more" if len(unnamed) > 5 else ""
    sentence = f"{damage.sentence}. This affects {', '.join(unnamed[:5])}{more}"
    return dataclasses.replace(damage, sentence=sentence)


class _Throttle:
    """Lets at most `rate` bytes pass each second. Unused bytes are not saved up."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next = 0.0

    def take(self, number: int) -> None:
        """Waits as long as these bytes take."""
        if not self._rate:
            return
        now = time.monotonic()
        self._next = max(self._next, now) + number / self._rate
        if self._next - now > 0.001:
            time.sleep(self._next - now)
