"""Pushes an image to this host's own registry, through TLS, as any client does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from ...deployment.fixed import MIRROR_ACCOUNT
from ...oci.digests import digest_of
from ...oci.media_types import OCI_IMAGE
from ..observation.verify import Answer, Client, Way, expect, failure
from ..rollout.challenge import challenge
from ..rollout.readiness_check import basic
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text
from .build import Image
from .settings import Settings

_TAGS_OF_A_DAY = 100


class Registry:
    """The host's own registry, for the account that keeps base images.

    Methods raise HostError, which names what failed.
    """

    def __init__(self, host: Host, settings: Settings) -> None:
        self._password = (read_text(host.paths.mirror_password) or "").partition("\n")[0].strip()
        if not self._password:
            raise HostError(f"{host.paths.mirror_password} is missing: run the whole site.yml")
        authority = host.paths.for_clients
        self._client = Client(
            settings.hostname,
            settings.port,
            str(authority) if exists(authority) else None,
            Way.to(settings.hostname).address,
        )

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest of a tag; None if there is no such tag."""
        answer = self._ask("HEAD", repository, f"manifests/{tag}", {"Accept": OCI_IMAGE})
        if answer.status == 404:
            return None
        expect(answer, (200,), f"the look at {repository}:{tag}", "registry")
        return answer.headers.get("docker-content-digest")

    def free_tag(self, repository: str, dated: str, digest: str | None) -> str:
        """The dated tag for an image: the first of 13-20261130, 13-20261130.2 and so on that the
        registry has with this digest, or does not have."""
        for number in range(1, _TAGS_OF_A_DAY):
            tag = dated if number == 1 else f"{dated}.{number}"
            if self.digest(repository, tag) in (None, digest):
                return tag
        raise HostError(f"{repository}: a hundred tags begin with {dated}: delete some of them")

    def push(self, repository: str, image: Image, dated: str, tag: str) -> list[str]:
        """Pushes the image by a dated tag that is never moved, and by `tag`. Returns both."""
        self._blob(repository, digest_of(image.configuration), image.configuration)
        self._blob(repository, image.layer_digest, image.layer)
        tags = [self.free_tag(repository, dated, image.digest), tag]
        for name in tags:
            answer = self._ask(
                "PUT",
                repository,
                f"manifests/{name}",
                {"Content-Type": OCI_IMAGE},
                image.manifest,
            )
            expect(answer, (201,), f"the push of {repository}:{name}", "registry")
            if answer.headers.get("docker-content-digest") != image.digest:
                raise failure("storage", f"{repository}:{name} has another digest than was pushed")
        return tags

    def _blob(self, repository: str, digest: str, data: bytes | Path) -> None:
        if self._ask("HEAD", repository, f"blobs/{digest}").status == 200:
            return
        start = self._ask("POST", repository, "blobs/uploads/", {}, b"")
        expect(start, (202,), f"the start of an upload to {repository}", "registry")
        location = start.headers.get("location", "")
        target = location + ("&" if "?" in location else "?") + urlencode({"digest": digest})
        headers = {**self._login(repository), "Content-Type": "application/octet-stream"}
        if isinstance(data, bytes):
            answer = self._client.ask("PUT", target, body=data, headers=headers)
        else:
            headers["Content-Length"] = str(data.stat().st_size)
            with data.open("rb") as stream:
                answer = self._client.ask("PUT", target, body=stream, headers=headers)
        expect(answer, (201,), f"the upload of a layer to {repository}", "registry")

    def _ask(
        self,
        method: str,
        repository: str,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        login = self._login(repository)
        return self._client.ask(
            method, f"/v2/{repository}/{what}", body=body, headers={**login, **(headers or {})}
        )

    def _login(self, repository: str) -> dict[str, str]:
        """The header that allows pull and push. A token is asked for each time: it may end while a
        large layer is sent."""
        login = basic(MIRROR_ACCOUNT, self._password)
        asked = challenge(self._client.ask("GET", "/v2/").headers.get("www-authenticate"))
        if asked is None or "realm" not in asked.parameters:
            raise failure("registry", "GET /v2/ does not ask for a login")
        if asked.scheme == "basic":
            return login
        query = urlencode(
            {
                "service": asked.parameters.get("service", ""),
                "scope": f"repository:{repository}:pull,push",
            }
        )
        answer = self._client.ask("GET", f"{asked.parameters['realm']}?{query}", headers=login)
        expect(answer, (200,), f"the login of {MIRROR_ACCOUNT}", "token server")
        try:
            document = json.loads(answer.body)
            return {"Authorization": f"Bearer {document.get('token') or document['access_token']}"}
        except (ValueError, KeyError, AttributeError) as problem:
            raise failure("token server", "its answer holds no token") from problem
