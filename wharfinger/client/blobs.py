"""The blobs of one registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from wharfinger.oci.digests import digest_of

from .errors import Damaged, NotFound
from .scopes import pull_scope, push_scope
from .transport import Content, Transport


class Blobs:
    """The blobs of one registry, by repository and digest."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def configuration(self, repository: str, digest: str) -> dict[str, Any]:
        """A small blob of JSON, compared with its digest; {} if it is not a JSON object."""
        answer = await self.transport.request(
            "GET", f"/v2/{repository}/blobs/{digest}", scope=pull_scope(repository)
        )
        if answer.status_code == 404:
            raise NotFound(f"{self.transport.registry}/{repository} lacks the blob {digest}")
        if answer.status_code != 200:
            raise self.transport.problem(answer, f"the blob {digest} of {repository} is read")
        if digest_of(answer.content, digest) != digest:
            raise Damaged(
                f"{self.transport.registry} answers the blob {digest} of {repository} with other "
                "content: it is damaged there, or changed on its way"
            )
        try:
            document = answer.json()
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    async def has(self, repository: str, digest: str) -> bool:
        """Whether the repository has the blob."""
        answer = await self.transport.request(
            "HEAD", f"/v2/{repository}/blobs/{digest}", scope=push_scope(repository)
        )
        return answer.status_code == 200

    async def push(
        self,
        repository: str,
        digest: str,
        size: int | None,
        content: Callable[[], AsyncIterator[bytes]],
        mount_from: str = "",
    ) -> bool:
        """Pushes a blob, unless the registry can mount it from the repository `mount_from`.
        Returns whether the bytes were sent."""
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
