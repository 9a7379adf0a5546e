"""The OCI distribution API, as far as `wharf` needs it, over one registry's transport."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from wharfinger.oci import manifests, media_types
from wharfinger.oci.digests import DIGEST, digest_of, list_tag

from .errors import ClientError, Damaged, Denied, LoginRefused, NotFound, Unsupported
from .text import clean
from .transport import Content, Transport, codes

ACCEPT = ", ".join(
    [
        media_types.OCI_INDEX,
        media_types.DOCKER_LIST,
        media_types.OCI_IMAGE,
        media_types.DOCKER_IMAGE,
        media_types.OCI_ARTIFACT,
        media_types.SCHEMA_1_SIGNED,
        "*/*;q=0.1",
    ]
)
T = TypeVar("T")
R = TypeVar("R")

# Asked for of the catalog; a registry gives fewer if it likes.
PAGE = 1000
MOST_PAGES = 100_000


@dataclass(frozen=True, slots=True)
class Head:
    """What a tag or digest leads to. `size` in bytes of the manifest itself, None if not said."""

    digest: str
    media_type: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest: its very bytes, and what they say."""

    digest: str
    media_type: str
    data: bytes
    manifest: manifests.Manifest

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object, for what only people want to know."""
        return manifests.document(self.data)


def pull_scope(repository: str) -> str:
    """What a token must hold to read a repository."""
    return f"repository:{repository}:pull"


class Registry:
    """One registry's repositories, tags, manifests and blobs."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = transport.registry
        self._manifests: dict[tuple[str, str], Fetched] = {}

    async def repositories(self) -> list[str]:
        """The catalog, page after page. Raises Denied, Unsupported with what to do instead."""
        instead = "name the repositories instead (wharf tags HOST/NAME)"
        try:
            return [
                name
                async for page in self._pages(
                    f"/v2/_catalog?n={PAGE}", "/v2/_catalog", "repositories", "registry:catalog:*"
                )
                for name in page
            ]
        except LoginRefused:
            raise
        except Denied as error:
            raise Denied(
                f"the catalog of {self.name} is closed to {self.transport.user} (it takes the "
                f"right `list`): {instead}"
            ) from error
        except (NotFound, Unsupported) as error:
            raise Unsupported(f"{self.name} has no catalog: {instead}") from error

    async def tags(self, repository: str) -> list[str]:
        """All tags, sorted. Raises NotFound where the repository is none."""
        path = f"/v2/{repository}/tags/list"
        try:
            pages = self._pages(path, path, "tags", pull_scope(repository))
            return sorted([tag async for page in pages for tag in page])
        except NotFound as error:
            raise NotFound(f"{self.name} has no repository {repository}") from error

    async def _pages(
        self, first: str, plain: str, key: str, scope: str
    ) -> AsyncIterator[list[str]]:
        """The lists under `key` of all pages; `plain` is asked where `first` is refused."""
        path, seen = first, {first}
        while True:
            answer = await self.transport.request("GET", path, scope=scope)
            if answer.status_code == 400 and path == first != plain:
                # It allows fewer at once than were asked for.
                path = plain
                continue
            if answer.status_code != 200:
                raise self.transport.problem(answer, f"{urlsplit(path).path} is read")
            yield self._strings(answer, key)
            following = answer.links.get("next", {}).get("url")
            if not following:
                return
            # Only its path and question: the server that we speak with is the right one, even
            # where a registry behind a proxy believes that it has another name.
            parts = urlsplit(str(httpx.URL(str(answer.request.url)).join(following)))
            path = f"{parts.path}?{parts.query}"
            if path in seen or len(seen) > MOST_PAGES:
                raise ClientError(
                    f"{self.name}: the pages of {plain} lead in a circle; what it has cannot be "
                    "listed whole"
                )
            seen.add(path)

    def _strings(self, answer: httpx.Response, key: str) -> list[str]:
        found = self._json(answer)
        values = found.get(key) or []
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise ClientError(
                f"{self.name} answers {urlsplit(str(answer.request.url)).path} without a list of "
                f"{key}: is it a registry?"
            )
        return [clean(one) for one in values]

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        path = urlsplit(str(answer.request.url)).path
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ClientError(
                f"{self.name} answers {path} with something else than JSON: is it a registry?"
            )
        return found

    async def ping(self) -> None:
        """Asks for nothing but whether this is a registry that knows us."""
        answer = await self.transport.request("GET", "/v2/")
        if answer.status_code != 200:
            raise self.transport.problem(answer, "/v2/ is read")

    # Manifests

    async def head(self, repository: str, reference: str) -> Head:
        """Digest and kind of a tag or digest, without its content where the registry tells."""
        path = f"/v2/{repository}/manifests/{reference}"
        answer = await self.transport.request(
            "HEAD", path, scope=pull_scope(repository), headers={"Accept": ACCEPT}
        )
        if answer.status_code == 404:
            raise self._absent(repository, reference)
        digest = answer.headers.get("docker-content-digest", "")
        if answer.status_code == 200 and DIGEST.fullmatch(digest):
            length = answer.headers.get("content-length", "")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
            return Head(digest, clean(kind), int(length) if length.isdigit() else None)
        if answer.status_code not in (200, 400, 405, 501):
            raise self.transport.problem(answer, f"{_named(repository, reference)} is looked at")
        # Not every registry answers HEAD, or names the digest.
        fetched = await self.manifest(repository, reference)
        return Head(fetched.digest, fetched.media_type, len(fetched.data))

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """The manifest of a tag or digest, its content checked against the digest."""
        known = self._manifests.get((repository, reference))
        if known is not None:
            return known
        answer = await self.transport.request(
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            scope=pull_scope(repository),
            headers={"Accept": ACCEPT},
        )
        if answer.status_code == 404:
            raise self._absent(repository, reference)
        if answer.status_code != 200:
            raise self.transport.problem(answer, f"{_named(repository, reference)} is read")
        fetched = self._fetched(repository, reference, answer)
        self._manifests[repository, fetched.digest] = fetched
        return fetched

    def _fetched(self, repository: str, reference: str, answer: httpx.Response) -> Fetched:
        kind = clean(answer.headers.get("content-type", "").partition(";")[0])
        said = answer.headers.get("docker-content-digest", "")
        digest = digest_of(answer.content, reference if ":" in reference else said)
        wanted = reference if ":" in reference else said
        # The digest of a signed schema 1 manifest is that of a part of it.
        if kind == media_types.SCHEMA_1_SIGNED and wanted:
            digest = wanted
        elif wanted and digest != wanted:
            raise Damaged(
                f"{self.name} answers {_named(repository, reference)} with other content than "
                f"{clean(wanted)[:150]}: it is damaged there, or changed on its way"
            )
        read = manifests.parse(answer.content)
        if isinstance(read, manifests.Unreadable):
            raise Damaged(
                f"{self.name}: the manifest {_named(repository, reference)} is unreadable: "
                f"{clean(read.why)}"
            )
        return Fetched(digest, read.media_type or kind, answer.content, read)

    def _absent(self, repository: str, reference: str) -> NotFound:
        what = "digest" if ":" in reference else "tag"
        return NotFound(f"{self.name}/{repository} has no {what} {reference}")

    async def delete(self, repository: str, reference: str) -> None:
        """Deletes a manifest by its digest, or a tag. Raises Unsupported where it cannot."""
        answer = await self.transport.request(
            "DELETE",
            f"/v2/{repository}/manifests/{reference}",
            scope=f"repository:{repository}:delete",
        )
        if answer.status_code in (200, 202, 204):
            return
        if answer.status_code == 404:
            raise self._absent(repository, reference)
        is_tag = ":" not in reference
        refused = answer.status_code in (405, 501) or "UNSUPPORTED" in codes(answer)
        if refused or (is_tag and answer.status_code == 400):
            raise Unsupported(
                f"{self.name} does not remove {'single tags' if is_tag else 'manifests'} "
                f"({self.transport.problem(answer, 'it is asked to')})"
            )
        raise self.transport.problem(answer, f"{_named(repository, reference)} is deleted")

    async def may_delete(self, repository: str) -> None:
        """Raises Denied or Unsupported where manifests of the repository cannot be deleted. Asks
        for the deletion of the digest of nothing, which no manifest has."""
        with contextlib.suppress(NotFound):
            await self.delete(repository, digest_of(b""))

    async def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `digest`: by the referrers API, or where
        there is none by the tag that the specification puts in its place."""
        found = await self._referrers(repository, digest)
        if found is not None:
            return _descriptors(found)
        try:
            fetched = await self.manifest(repository, list_tag(digest))
        except NotFound:
            return []
        return _descriptors(fetched.document.get("manifests") or [])

    async def has_referrers(self, repository: str, digest: str) -> bool:
        """Whether the registry has the referrers API, and so keeps no list in a tag."""
        return await self._referrers(repository, digest) is not None

    async def _referrers(self, repository: str, digest: str) -> list[Any] | None:
        """What the referrers API answers, None where there is none."""
        scope = pull_scope(repository)
        path: str | None = f"/v2/{repository}/referrers/{digest}"
        found: list[Any] = []
        seen: set[str] = set()
        while path and path not in seen:
            seen.add(path)
            answer = await self.transport.request("GET", path, scope=scope)
            if answer.status_code != 200:
                return None
            kind = answer.headers.get("content-type", "")
            if "json" not in kind:
                return None  # a page for browsers
            found += self._json(answer).get("manifests") or []
            following = answer.links.get("next", {}).get("url")
            parts = urlsplit(str(httpx.URL(path).join(following))) if following else None
            path = f"{parts.path}?{parts.query}" if parts else None
        return found

    # Blobs

    async def configuration(self, repository: str, digest: str) -> dict[str, Any]:
        """A small blob of JSON, checked against its digest; {} where it is no JSON object."""
        answer = await self.transport.request(
            "GET", f"/v2/{repository}/blobs/{digest}", scope=pull_scope(repository)
        )
        if answer.status_code == 404:
            raise NotFound(f"{self.name}/{repository} lacks the blob {digest}")
        if answer.status_code != 200:
            raise self.transport.problem(answer, f"the blob {digest} of {repository} is read")
        if digest_of(answer.content, digest) != digest:
            raise Damaged(
                f"{self.name} answers the blob {digest} of {repository} with other content: it is "
                "damaged there, or changed on its way"
            )
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    async def put_manifest(self, repository: str, reference: str, fetched: Fetched) -> None:
        """Pushes a manifest's very bytes."""
        answer = await self.transport.request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            scope=push_scope(repository),
            headers={"Content-Type": fetched.media_type},
            content=fetched.data,
        )
        if answer.status_code not in (200, 201, 202):
            raise self.transport.problem(answer, f"{_named(repository, reference)} is pushed")

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the repository has the blob."""
        answer = await self.transport.request(
            "HEAD", f"/v2/{repository}/blobs/{digest}", scope=push_scope(repository)
        )
        return answer.status_code == 200

    async def put_blob(
        self,
        repository: str,
        digest: str,
        size: int | None,
        content: Callable[[], AsyncIterator[bytes]],
        mount_from: str = "",
    ) -> bool:
        """Pushes a blob; where the registry takes it from `mount_from`, nothing travels. Returns
        whether bytes travelled."""
        scope = push_scope(repository)
        if mount_from and mount_from != repository:
            scope += " " + pull_scope(mount_from)
        question = f"?mount={quote(digest)}&from={quote(mount_from, safe='')}" if mount_from else ""
        begun = await self.transport.request(
            "POST", f"/v2/{repository}/blobs/uploads/{question}", scope=scope
        )
        if begun.status_code == 201:
            return False
        if begun.status_code != 202 or "location" not in begun.headers:
            raise self.transport.problem(begun, f"the blob {digest} of {repository} is pushed")
        location = begun.headers["location"]
        location += ("&" if "?" in location else "?") + f"digest={quote(digest)}"
        headers = {"Content-Type": "application/octet-stream"}
        body: Content = content
        if size is not None:
            headers["Content-Length"] = str(size)
        answer = await self.transport.request(
            "PUT", location, scope=scope, headers=headers, content=body
        )
        if answer.status_code not in (201, 204):
            raise self.transport.problem(answer, f"the blob {digest} of {repository} is pushed")
        return True


def push_scope(repository: str) -> str:
    """What a token must hold to push to a repository."""
    return f"repository:{repository}:pull,push"


async def each(
    items: Sequence[T], work: Callable[[T], Awaitable[R]], done: Callable[[], None] = lambda: None
) -> list[R]:
    """The results of `work` over all items, in their order; the transport bounds how many run at
    once. The first error ends the others."""

    async def one(item: T) -> R:
        result = await work(item)
        done()
        return result

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _named(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def _descriptors(values: object) -> list[dict[str, Any]]:
    """The entries that are descriptors."""
    return [
        one
        for one in (values if isinstance(values, list) else [])
        if isinstance(one, dict) and DIGEST.fullmatch(str(one.get("digest")))
    ]
