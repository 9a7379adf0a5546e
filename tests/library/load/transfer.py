"""Push, pull and list by the OCI distribution specification; every digest is checked."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from .image import MANIFEST, Image, digest
from .record import Attempt, Stopped
from .session import Body, Session, Unexpected, expect

# How often one upload may be resumed.
_RESUMES = 3
_BLOCK = 64 * 1024

Upload = Callable[["Transfer", Attempt, bytes], None]


class Transfer:
    """One client's use of one repository. `stop` ends slow uploads."""

    def __init__(self, session: Session, repository: str, stop: threading.Event) -> None:
        self.session = session
        self.repository = repository
        self.stop = stop

    def request(
        self, attempt: Attempt, method: str, address: str, **options: object
    ) -> httpx.Response:
        """A request with a token for this repository."""
        headers = dict(options.pop("headers", None) or {})  # type: ignore[call-overload]
        actions = "pull" if method in ("GET", "HEAD") and "uploads" not in address else "pull,push"
        scope = f"repository:{self.repository}:{actions}"
        headers |= self.session.authorization(attempt, scope)
        return self.session.request(attempt, method, address, headers=headers, **options)  # type: ignore[arg-type]

    def path(self, rest: str) -> str:
        return f"/v2/{self.repository}/{rest}"

    # -- push --------------------------------------------------------------------------------------

    def push(self, attempt: Attempt, image: Image, tag: str, upload: Upload) -> None:
        """Pushes all blobs at the same time, as docker does, then the manifest."""
        blobs = [image.config, *image.layers]
        with ThreadPoolExecutor(len(blobs)) as pool:
            for done in [pool.submit(self._blob, attempt, blob, upload) for blob in blobs]:
                done.result()
        manifest = image.manifest
        answer = self.request(
            attempt,
            "PUT",
            self.path(f"manifests/{tag}"),
            headers={"Content-Type": MANIFEST, "Content-Length": str(len(manifest))},
            body=lambda: [manifest],
        )
        expect(answer, 201, "the manifest's push")
        # Whatever happens next, from here on the manifest must never be lost.
        attempt.pushed.append(f"{self.repository}@{digest(manifest)}")
        same(answer.headers["docker-content-digest"], digest(manifest), "the pushed manifest")

    def _blob(self, attempt: Attempt, blob: bytes, upload: Upload) -> None:
        answer = self.request(attempt, "HEAD", self.path(f"blobs/{digest(blob)}"))
        expect(answer, 404, "a blob that nobody has pushed")
        upload(self, attempt, blob)

    def begin(self, attempt: Attempt) -> str:
        """The address to upload to."""
        answer = self.request(
            attempt, "POST", self.path("blobs/uploads/"), headers={"Content-Length": "0"}
        )
        expect(answer, 202, "the upload's begin")
        return str(answer.headers["location"])

    def finish(self, attempt: Attempt, location: str, blob: bytes, body: Body, size: int) -> None:
        """PUT: the rest of the blob, if any, and the digest of all.

        If a connection ends with the answer on its way, the registry has the blob, and the request
        that is sent again finds no upload: then the blob itself says how the first one ended.
        """
        mark, retries = "&" if "?" in location else "?", attempt.retries
        answer = self.request(
            attempt,
            "PUT",
            f"{location}{mark}digest={digest(blob)}",
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            body=body,
        )
        if answer.status_code == 404 and attempt.retries > retries:
            answer = self.request(attempt, "HEAD", self.path(f"blobs/{digest(blob)}"))
            expect(answer, 200, "the blob of an upload whose end was sent twice")
        else:
            expect(answer, 201, "the upload's end")
        same(answer.headers["docker-content-digest"], digest(blob), "the pushed blob")

    def progress(self, attempt: Attempt, location: str) -> tuple[str, int]:
        """Where an interrupted upload continues: its address, and how many bytes are there."""
        answer = self.request(attempt, "GET", location)
        expect(answer, 204, "the interrupted upload")
        return str(answer.headers["location"]), received(answer.headers["range"])

    # -- pull --------------------------------------------------------------------------------------

    def manifest(self, attempt: Attempt, reference: str, *, small: bool = False) -> bytes:
        """The manifest by tag or digest."""
        answer = self.request(
            attempt,
            "GET",
            self.path(f"manifests/{reference}"),
            headers={"Accept": MANIFEST},
            small=small,
        )
        expect(answer, 200, "the manifest's pull")
        same(digest(answer.content), answer.headers["docker-content-digest"], "a pulled manifest")
        if reference.startswith("sha256:"):
            same(digest(answer.content), reference, "a manifest pulled by digest")
        return answer.content

    def pull(self, attempt: Attempt, reference: str, wanted: str) -> None:
        """Manifest and all blobs of the image whose manifest has the digest `wanted`."""
        content = self.manifest(attempt, reference)
        same(digest(content), wanted, "a pulled manifest")
        parsed = json.loads(content)
        for descriptor in [parsed["config"], *parsed["layers"]]:
            answer = self.request(attempt, "GET", self.path(f"blobs/{descriptor['digest']}"))
            expect(answer, 200, "a blob's pull")
            same(digest(answer.content), descriptor["digest"], "a pulled blob")

    def tags(self, attempt: Attempt) -> list[str]:
        """The repository's tags."""
        answer = self.request(attempt, "GET", self.path("tags/list"))
        expect(answer, 200, "the list of tags")
        return list(answer.json()["tags"])

    # -- bodies ------------------------------------------------------------------------------------

    def paced(self, content: bytes, seconds: float) -> Iterator[bytes]:
        """The content, spread evenly over that time, however often the network asks for more."""
        began = time.monotonic()
        for offset in range(0, len(content), _BLOCK):
            ahead = offset / len(content) * seconds - (time.monotonic() - began)
            if ahead > 0 and self.stop.wait(ahead):
                raise Stopped
            yield content[offset : offset + _BLOCK]


def monolithic(seconds: float = 0) -> Upload:
    """POST, then everything in one PUT."""

    def upload(transfer: Transfer, attempt: Attempt, blob: bytes) -> None:
        location = transfer.begin(attempt)
        transfer.finish(attempt, location, blob, lambda: transfer.paced(blob, seconds), len(blob))

    return upload


def chunked(pieces: int = 3, seconds: float = 0) -> Upload:
    """POST, PATCHes that take `seconds` in total, PUT; resumed after an error."""

    def upload(transfer: Transfer, attempt: Attempt, blob: bytes) -> None:
        location, offset, resumed = transfer.begin(attempt), 0, 0
        size = -(-len(blob) // pieces)
        while offset < len(blob):
            piece = blob[offset : offset + size]
            try:
                answer = transfer.request(
                    attempt,
                    "PATCH",
                    location,
                    headers={
                        "Content-Type": "application/octet-stream",
                        "Content-Length": str(len(piece)),
                        "Content-Range": f"{offset}-{offset + len(piece) - 1}",
                    },
                    body=lambda piece=piece: transfer.paced(
                        piece, seconds * len(piece) / len(blob)
                    ),
                    again=False,
                )
            except httpx.TransportError:
                if resumed == _RESUMES:
                    raise
                resumed += 1
                attempt.retried()
                location, offset = transfer.progress(attempt, location)
                continue
            expect(answer, 202, "a part of an upload")
            location = answer.headers["location"]
            offset += len(piece)
            same(str(received(answer.headers["range"])), str(offset), "the bytes received")
        transfer.finish(attempt, location, blob, lambda: [], 0)

    return upload


def received(header: str) -> int:
    """How many bytes an upload has, by its answer's Range: `0-0` means none (parts are longer)."""
    matched = re.fullmatch(r"(?:bytes=)?0-(\d+)", header)
    if matched is None:
        raise Unexpected(f"an upload's Range is {header!r}")
    last = int(matched[1])
    return last + 1 if last else 0


def same(actual: str, wanted: str, what: str) -> None:
    """Raises Unexpected if two digests (or numbers) differ."""
    if actual != wanted:
        raise Unexpected(f"{what} is {actual} instead of {wanted}")
