"""The OCI distribution API, as far as `wharf` needs it: catalog, tags, manifests, referrers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import httpx

from wharfinger.oci import manifests, media_types
from wharfinger.oci.digests import DIGEST, digest_of, list_tag

from .blobs import Blobs
from .errors import Damaged, Denied, LoginRefused, NotFound, Unsupported
from .failures import codes
from .pages import json_object, next_page, pages
from .scopes import CATALOG, delete_scope, pull_scope, push_scope
from .text import clean
from .transport import Transport

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
# Entries per page of the catalog; a registry may send fewer.
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """What a tag or digest leads to. `size`: of the manifest itself, in bytes; None if unknown."""

    digest: str
    media_type: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest: its exact bytes, and their content."""

    digest: str
    media_type: str
    data: bytes
    manifest: manifests.Manifest

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object, with fields that only people read."""
        return manifests.document(self.data)


class Registry:
    """One registry's repositories, tags, manifests and blobs."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.name = transport.registry
        self.blobs = Blobs(transport)
        self._manifests: dict[tuple[str, str], Fetched] = {}

    async def repositories(self) -> list[str]:
        """The catalog, page after page. Raises Denied, Unsupported with what to do instead."""
        instead = "name the repositories instead (wharf tags HOST/NAME)"
        try:
            return [
                name
                async for page in pages(
                    self.transport,
                    f"/v2/_catalog?n={PAGE}",
                    "/v2/_catalog",
                    "repositories",
                    CATALOG,
                )
                for name in page
            ]
        except LoginRefused:
            raise
        except Denied as error:
            raise Denied(
                f"the catalog of {self.name} is closed to {self.transport.user} (it needs the "
                f"right `list`): {instead}"
            ) from error
        except (NotFound, Unsupported) as error:
            raise Unsupported(f"{self.name} has no catalog: {instead}") from error

    async def tags(self, repository: str) -> list[str]:
        """All tags, sorted. Raises NotFound if the repository does not exist."""
        path = f"/v2/{repository}/tags/list"
        try:
            tag_pages = pages(self.transport, path, path, "tags", pull_scope(repository))
            return sorted([tag async for page in tag_pages for tag in page])
        except NotFound as error:
            raise NotFound(f"{self.name} has no repository {repository}") from error

    async def ping(self) -> None:
        """Checks that this is a registry that accepts our login. Raises ClientError."""
        answer = await self.transport.request("GET", "/v2/")
        if answer.status_code != 200:
            raise self.transport.problem(answer, "/v2/ is read")

    # Manifests

    async def head(self, repository: str, reference: str) -> Head:
        """Digest and kind of a tag or digest; reads the content only if HEAD is not enough."""
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
        # Some registries do not answer HEAD, or do not send the digest.
        fetched = await self.manifest(repository, reference)
        return Head(fetched.digest, fetched.media_type, len(fetched.data))

    async def head_or_none(self, repository: str, reference: str) -> Head | None:
        """Like `head`; None if it is gone."""
        try:
            return await self.head(repository, reference)
        except NotFound:
            return None

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """The manifest of a tag or digest. The content is compared with the digest."""
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
        stated = answer.headers.get("docker-content-digest", "")
        digest = digest_of(answer.content, reference if ":" in reference else stated)
        wanted = reference if ":" in reference else stated
        # The digest of a signed schema 1 manifest is the digest of a part of it.
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
        """Deletes a manifest by its digest, or a tag. Raises Unsupported if it cannot."""
        answer = await self.transport.request(
            "DELETE",
            f"/v2/{repository}/manifests/{reference}",
            scope=delete_scope(repository),
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
        """Raises Denied or Unsupported if manifests of the repository cannot be deleted. Tries to
        delete the digest of zero bytes, which no manifest has."""
        with contextlib.suppress(NotFound):
            await self.delete(repository, digest_of(b""))

    async def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `digest`: from the referrers API, or
        without it from the tag that the specification has instead."""
        from_api = await self._referrers(repository, digest)
        if from_api is not None:
            return _descriptors(from_api)
        try:
            fetched = await self.manifest(repository, list_tag(digest))
        except NotFound:
            return []
        return _descriptors(fetched.document.get("manifests") or [])

    async def has_referrers(self, repository: str, digest: str) -> bool:
        """Whether the registry has the referrers API, and therefore no list in a tag."""
        return await self._referrers(repository, digest) is not None

    async def _referrers(self, repository: str, digest: str) -> list[Any] | None:
        """The answer of the referrers API; None if the registry does not have it."""
        scope = pull_scope(repository)
        path: str | None = f"/v2/{repository}/referrers/{digest}"
        entries: list[Any] = []
        seen: set[str] = set()
        while path and path not in seen:
            seen.add(path)
            answer = await self.transport.request("GET", path, scope=scope)
            if answer.status_code != 200:
                return None
            kind = answer.headers.get("content-type", "")
            if "json" not in kind:
                return None  # a page for browsers
            entries += json_object(self.name, answer).get("manifests") or []
            path = next_page(answer)
        return entries

    async def put_manifest(self, repository: str, reference: str, fetched: Fetched) -> None:
        """Pushes a manifest's exact bytes."""
        answer = await self.transport.request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            scope=push_scope(repository),
            headers={"Content-Type": fetched.media_type},
            content=fetched.data,
        )
        if answer.status_code not in (200, 201, 202):
            raise self.transport.problem(answer, f"{_named(repository, reference)} is pushed")


def _named(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def _descriptors(values: object) -> list[dict[str, Any]]:
    """The entries that are descriptors."""
    return [
        entry
        for entry in (values if isinstance(values, list) else [])
        if isinstance(entry, dict) and DIGEST.fullmatch(str(entry.get("digest")))
    ]
