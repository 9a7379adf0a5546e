"""The API as a client of many repositories uses it: few tokens, connections that stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from load.record import Attempt
from load.session import Body, Session, Unexpected, expect
from support.registry import digest

from .content import MIB, Content, Large
from .manifests import ACCEPTED, Manifest

_PARTS = 4


class Pushing:
    """One client that may do everything. `repositories`: those that one token is requested for."""

    def __init__(self, session: Session, content: Content, repositories: Iterable[str]) -> None:
        self.session = session
        self.content = content
        self._scope = " ".join(f"repository:{name}:pull,push,delete" for name in repositories)

    def request(
        self, method: str, address: str, body: Body | bytes | None = None, **headers: str
    ) -> httpx.Response:
        """One request with this client's token; header names with _ instead of -."""
        attempt = Attempt()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            content = body
            named["Content-Length"] = str(len(content))
            body = lambda: [content]  # noqa: E731
        authorization = self.session.authorization(attempt, self._scope)
        return self.session.request(
            attempt, method, address, headers=authorization | named, body=body
        )

    # -- push --------------------------------------------------------------------------------------

    def blob(self, repository: str, content: bytes) -> str:
        """Pushes a blob in one piece; returns its digest."""
        location = self.begin(repository)
        mark = "&" if "?" in location else "?"
        answer = self.request("PUT", f"{location}{mark}digest={digest(content)}", content)
        expect(answer, 201, "a blob's push")
        return digest(content)

    def begin(self, repository: str) -> str:
        """Starts an upload; returns its address."""
        answer = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        expect(answer, 202, "an upload's begin")
        return str(answer.headers["location"])

    def large(self, repository: str, content: Large) -> None:
        """Pushes a large blob in parts; it is never in memory as a whole."""
        location = self.begin(repository)
        step = -(-content.size // (_PARTS * MIB)) * MIB
        for start in range(0, content.size, step):
            end = min(start + step, content.size)

            def body(start: int = start, end: int = end) -> Iterator[bytes]:
                return content.read(start, end)

            answer = self.request(
                "PATCH",
                location,
                body,
                Content_Length=str(end - start),
                Content_Range=f"{start}-{end - 1}",
                Content_Type="application/octet-stream",
            )
            expect(answer, 202, "a part of a large blob")
            location = answer.headers["location"]
        mark = "&" if "?" in location else "?"
        answer = self.request("PUT", f"{location}{mark}digest={content.digest}", b"")
        expect(answer, 201, "a large blob's push")

    def mount(self, repository: str, name: str, source: str) -> None:
        """Mounts a blob of another repository in this one."""
        answer = self.request(
            "POST", f"/v2/{repository}/blobs/uploads/?mount={name}&from={source}", b""
        )
        expect(answer, 201, "a blob's mount")

    def manifest(self, repository: str, manifest: Manifest, tag: str | None = None) -> Manifest:
        """Pushes a manifest, by a tag or by its digest alone."""
        answer = self.request(
            "PUT",
            f"/v2/{repository}/manifests/{tag or manifest.digest}",
            manifest.content,
            Content_Type=manifest.media_type,
        )
        expect(answer, 201, "a manifest's push")
        if answer.headers["docker-content-digest"] != manifest.digest:
            raise Unexpected(f"{repository} was given another digest than {manifest.digest}")
        known = self.content[repository]
        known.manifests[manifest.digest] = manifest
        if tag:
            known.tags[tag] = manifest.digest
        return manifest

    # -- delete ------------------------------------------------------------------------------------

    def delete(self, repository: str, reference: str) -> None:
        """Deletes a tag alone, or a manifest by its digest with all its tags."""
        answer = self.request("DELETE", f"/v2/{repository}/manifests/{reference}")
        expect(answer, 202, "a manifest's deletion")
        known = self.content[repository]
        if reference.startswith("sha256:"):
            known.manifests.pop(reference, None)
            known.tags = {tag: name for tag, name in known.tags.items() if name != reference}
        else:
            known.tags.pop(reference, None)

    # -- read --------------------------------------------------------------------------------------

    def digest_of(self, repository: str, reference: str) -> str | None:
        """The digest of a manifest, by HEAD; None if it does not exist."""
        answer = self.request("HEAD", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPTED)
        if answer.status_code == 404:
            return None
        expect(answer, 200, "a manifest's HEAD")
        return str(answer.headers["docker-content-digest"])

    def size(self, repository: str, name: str) -> int | None:
        """The size of a blob, by HEAD; None if it does not exist."""
        answer = self.request("HEAD", f"/v2/{repository}/blobs/{name}")
        if answer.status_code == 404:
            return None
        expect(answer, 200, "a blob's HEAD")
        return int(answer.headers["content-length"])

    def pull(self, repository: str, reference: str) -> None:
        """Pulls a manifest, everything it leads to, and every blob, and checks each digest. Raises
        Unexpected, which says what is wrong."""
        answer = self.request("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPTED)
        expect(answer, 200, "a manifest's pull")
        manifest = Manifest(answer.content, answer.headers["content-type"])
        if reference.startswith("sha256:") and manifest.digest != reference:
            raise Unexpected(f"{repository}@{reference} is {manifest.digest}")
        for child in manifest.children:
            self.pull(repository, child)
        for name, size in manifest.blobs:
            # Even a large blob is held in memory only once.
            answer = self.request("GET", f"/v2/{repository}/blobs/{name}")
            expect(answer, 200, "a blob's pull")
            if digest(answer.content) != name or len(answer.content) != size:
                raise Unexpected(f"the blob {name} of {repository} is {digest(answer.content)}")


def several(work: Iterable[Callable[[], object]], workers: int = 8) -> None:
    """Runs several functions at the same time; raises the first error."""
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(task) for task in work]:
            done.result()
