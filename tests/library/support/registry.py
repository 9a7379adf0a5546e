"""A registry as a client sees it, by raw requests: nothing is retried, repaired or hidden.

Follows the OCI distribution specification and distribution's token authentication. It does not use
the project's own code, so that testing one with the other can fail.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(content: bytes) -> str:
    """The content's digest as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The error codes of a registry's error answer."""
        return [error["code"] for error in self.json["errors"]]


@dataclass(frozen=True)
class Account:
    """The user that asks. Without a name: a client that is not signed in."""

    name: str = ""
    password: str = field(default="", repr=False)

    @property
    def basic(self) -> dict[str, str]:
        """The Authorization header, or nothing."""
        if not self.name:
            return {}
        pair = f"{self.name}:{self.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


ANONYMOUS = Account()


class _Connection(http.client.HTTPSConnection):
    """Connects to an address, by a name, so that no name resolution is involved."""

    def __init__(self, name: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=60, context=context)
        self._target = (address, port)
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection(self._target, self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Registry:
    """The registry `name` at `address`, trusted by the authority in `ca_file` and nothing else."""

    def __init__(
        self, name: str, address: str, ca_file: str, port: int = 443, auth: str = "token"
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.auth = auth
        self.context = ssl.create_default_context(cafile=ca_file)
        self.context.verify_flags |= ssl.VERIFY_X509_STRICT

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        name: str | None = None,
    ) -> Answer:
        """One request on one connection; `path` may be an address of this registry (a Location)."""
        if path.startswith("https://"):
            parts = urllib.parse.urlsplit(path)
            assert parts.hostname == self.name, path
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = _Connection(name or self.name, self.address, self.port, self.context)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, content)
        finally:
            connection.close()

    def token_answer(self, account: Account, *scopes: str, service: str | None = None) -> Answer:
        """The token server's whole answer."""
        pairs = [("service", self.service if service is None else service)]
        pairs += [("scope", scope) for scope in scopes]
        return self.request("GET", "/auth?" + urllib.parse.urlencode(pairs), headers=account.basic)

    def token(self, account: Account, *scopes: str) -> str:
        """A token for the scopes, as far as they are granted; signing in must succeed."""
        answer = self.token_answer(account, *scopes)
        assert answer.status == 200, (account, answer.status, answer.body)
        return str(answer.json["token"])

    @property
    def challenge(self) -> dict[str, str]:
        """What the registry requires from a client without a login."""
        header = self.request("GET", "/v2/").headers["www-authenticate"]
        kind, _, rest = header.partition(" ")
        fields = dict(part.split("=", 1) for part in rest.split(","))
        return {"kind": kind} | {key: value.strip('"') for key, value in fields.items()}

    @property
    def service(self) -> str:
        """The audience of this registry's tokens, as its challenge names it."""
        return self.challenge["service"]

    def login(self, account: Account) -> int:
        """The status of what `docker login` does: 200, or 401."""
        if self.auth == "htpasswd":
            return self.request("GET", "/v2/", headers=account.basic).status
        answer = self.token_answer(account)
        if answer.status != 200:
            return answer.status
        headers = {"Authorization": f"Bearer {answer.json['token']}"}
        return self.request("GET", "/v2/", headers=headers).status

    def authorization(self, account: Account, *scopes: str) -> dict[str, str]:
        """The Authorization header for requests within the scopes."""
        if self.auth == "htpasswd":
            return account.basic
        answer = self.token_answer(account, *scopes)
        if answer.status == 401 and not account.name:
            return {}  # without signing in, nothing is allowed here
        assert answer.status == 200, (account, answer.status, answer.body)
        return {"Authorization": f"Bearer {answer.json['token']}"}

    def call(
        self,
        account: Account,
        scopes: Sequence[str] | str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """A request with a token for the scopes."""
        wanted = [scopes] if isinstance(scopes, str) else list(scopes)
        return self.request(
            method,
            path,
            headers={**self.authorization(account, *wanted), **(headers or {})},
            body=body,
        )

    def upload(self, account: Account, repository: str, content: bytes) -> Answer:
        """Pushes a blob in one piece; returns the answer of the step that failed, or of the
        last."""
        headers = self.authorization(account, f"repository:{repository}:pull,push")
        begun = self.request("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)
        if begun.status != 202:
            return begun
        location = begun.headers["location"]
        mark = "&" if "?" in location else "?"
        return self.request(
            "PUT",
            f"{location}{mark}digest={digest(content)}",
            headers={**headers, "Content-Type": "application/octet-stream"},
            body=content,
        )

    def push(self, account: Account, repository: str, tag: str, layer: bytes) -> Answer:
        """Pushes an image of one layer; returns the answer that failed, or the manifest's."""
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}, "tag": tag}
        ).encode()
        for content in (config, layer):
            answer = self.upload(account, repository, content)
            if answer.status != 201:
                return answer
        return self.call(
            account,
            f"repository:{repository}:pull,push",
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            headers={"Content-Type": MANIFEST},
            body=manifest(config, layer),
        )

    def pull(self, account: Account, repository: str, reference: str) -> Answer:
        """The manifest's answer."""
        return self.call(
            account,
            f"repository:{repository}:pull",
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            headers={"Accept": MANIFEST},
        )

    def blob(
        self, account: Account, repository: str, name: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The blob's answer."""
        scope = f"repository:{repository}:pull"
        return self.call(account, scope, "GET", f"/v2/{repository}/blobs/{name}", headers=headers)

    def delete(self, account: Account, repository: str, name: str) -> Answer:
        """Asks for the deletion of a manifest, by its digest."""
        scope = f"repository:{repository}:delete"
        return self.call(account, scope, "DELETE", f"/v2/{repository}/manifests/{name}")

    def catalog(self, account: Account) -> Answer:
        """The list of repositories."""
        return self.call(account, "registry:catalog:*", "GET", "/v2/_catalog")


def manifest(config: bytes, layer: bytes) -> bytes:
    """An image manifest of one layer."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}],
        }
    ).encode()
