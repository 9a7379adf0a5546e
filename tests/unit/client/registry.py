"""A registry with the oddities of all registries, without a network."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from wharfinger.oci.digests import digest_of
from wharfinger.oci.media_types import (
    OCI_IMAGE,
    OCI_INDEX,
    OCI_LAYER,
)

HOST = "registry.test"
REALM = "https://tokens.test/auth"
REPOSITORY = f"{HOST}/team/app"
# The options of a login; the password comes on standard input.
BOB = ("--user", "bob", "--password-stdin")

Answer = Callable[[httpx.Request], httpx.Response | None]


def digest(data: bytes) -> str:
    return digest_of(data)


def errors(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message}]}


def image(*layers: tuple[str, int], media_type: str = OCI_IMAGE, **more: Any) -> bytes:
    """A manifest with CONFIGURATION and layers: for each a text with its digest, and a size."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"digest": digest(CONFIGURATION), "size": len(CONFIGURATION)},
            "layers": [
                {"mediaType": "layer", "digest": digest(name.encode()), "size": size}
                for name, size in layers
            ],
            **more,
        }
    ).encode()


def index(*children: bytes, media_type: str = OCI_INDEX, platforms: bool = True) -> bytes:
    """An index of manifests."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [
                {
                    "mediaType": json.loads(child)["mediaType"],
                    "digest": digest(child),
                    "size": len(child),
                    **(
                        {"platform": {"os": "linux", "architecture": f"arch{number}"}}
                        if platforms
                        else {}
                    ),
                }
                for number, child in enumerate(children)
            ],
        }
    ).encode()


def cache() -> bytes:
    """BuildKit's cache in its old form: an index of CACHED and of its own configuration."""
    layer, config = f"{OCI_LAYER}+gzip", "{}"
    described = [(layer, CACHED), ("application/vnd.buildkit.cacheconfig.v0", config.encode())]
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {"mediaType": kind, "digest": digest(data), "size": len(data)}
                for kind, data in described
            ],
        }
    ).encode()


CACHED = b"a layer of forty bytes, exactly that....."[:40]
CONFIGURATION = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "created": "2026-01-02T03:04:05Z",
        "config": {
            "Entrypoint": ["/app", "--serve"],
            "Env": ["A=1", "B=2"],
            "Labels": {"maintainer": "someone"},
            "ExposedPorts": {"80/tcp": {}},
        },
        "history": [
            {"created": "2026-01-02T03:04:05Z", "created_by": "COPY app /app"},
            {"created_by": "ENV A=1", "empty_layer": True},
        ],
    }
).encode()


@dataclass
class Fake:
    """The registry HOST and, for `bearer`, its token server. Tests may set every attribute."""

    repositories: dict[str, dict[str, str]] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    auth: str = "none"
    users: dict[str, str] = field(default_factory=lambda: {"bob": "pw"})
    allowed: Callable[[str], bool] = lambda scope: True
    page: int = 1000
    most: int = 1000
    link: Callable[[str], str] = lambda target: f'<{target}>; rel="next"'
    catalog: bool = True
    head: bool = True
    names_digest: bool = True
    deletes_tags: bool = True
    takes_sparse: bool = False
    referrers: dict[str, list[dict[str, Any]]] | None = None
    challenges: list[str] | None = None
    before: list[Answer] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    blobs: dict[str, set[str]] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)

    # Content

    def push(self, repository: str, tag: str | None, data: bytes) -> str:
        name = digest(data)
        self.content[name] = data
        tags = self.repositories.setdefault(repository, {})
        self.blobs.setdefault(repository, set()).add(name)
        if tag:
            tags[tag] = name
        self.content[digest(CONFIGURATION)] = CONFIGURATION
        return name

    @property
    def counts(self) -> Counter[str]:
        return Counter(f"{request.method} {request.url.path}" for request in self.requests)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    # HTTP

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.content == b"" and not isinstance(request.stream, httpx.ByteStream):
            await request.aread()
        self.requests.append(request)
        for answer in list(self.before):
            response = answer(request)
            if response is not None:
                return response
        if str(request.url).startswith(REALM):
            return self._token(request)
        assert request.url.netloc.decode() == HOST, request.url
        refused = self._refused(request)
        return refused if refused is not None else self._api(request)

    def _token(self, request: httpx.Request) -> httpx.Response:
        scopes = request.url.params.get_list("scope")
        user = _user(request, self.users)
        if user is None:
            return httpx.Response(401, json=errors("UNAUTHORIZED", "wrong user or password"))
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = [scope for scope in scopes if self.allowed(scope)]
        return httpx.Response(200, json={"token": token, "expires_in": 300})

    def _refused(self, request: httpx.Request) -> httpx.Response | None:
        if self.auth == "none":
            return None
        scope = _scope(request)
        given = request.headers.get("authorization", "")
        if self.auth == "basic":
            if _user(request, self.users):
                return None
            challenge = 'Basic realm="a registry"'
        else:
            held = self.tokens.get(given.removeprefix("Bearer "))
            if held is not None and (not scope or scope in held):
                return None
            challenge = f'Bearer realm="{REALM}",service="the service"'
            challenge += f',scope="{scope}"' if scope else ""
        headers = [("WWW-Authenticate", value) for value in self.challenges or [challenge]]
        body = errors("UNAUTHORIZED", "authentication required")
        return httpx.Response(401, headers=headers, json=body)

    def _api(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v2/":
            return httpx.Response(200, json={})
        if path == "/v2/_catalog":
            if not self.catalog:
                return httpx.Response(404, text="404 page not found")
            return self._list(request, "repositories", sorted(self.repositories))
        repository, _, rest = path.removeprefix("/v2/").partition("/manifests/")
        if rest:
            return self._manifest(request, repository, rest)
        repository, _, rest = path.removeprefix("/v2/").partition("/referrers/")
        if rest:
            if self.referrers is None:
                return httpx.Response(404, text="404 page not found")
            descriptors = self.referrers.get(rest, [])
            return httpx.Response(200, json={"manifests": descriptors})
        repository, _, rest = path.removeprefix("/v2/").partition("/blobs/")
        if rest:
            return self._blob(request, repository, rest)
        repository = path.removeprefix("/v2/").removesuffix("/tags/list")
        if repository not in self.repositories:
            return httpx.Response(404, json=errors("NAME_UNKNOWN", "repository name not known"))
        return self._list(request, "tags", sorted(self.repositories[repository]))

    def _list(self, request: httpx.Request, key: str, names: list[str]) -> httpx.Response:
        params = request.url.params
        number = int(params.get("n", self.page))
        if number > self.most:
            return httpx.Response(400, json=errors("PAGINATION_NUMBER_INVALID", "too many"))
        number = min(number, self.page)
        after = [name for name in names if name > params.get("last", "")]
        headers = {}
        if len(after) > number:
            target = f"{request.url.path}?last={after[number - 1]}&n={number}"
            headers["Link"] = self.link(target)
        # Distribution sends null for an empty list.
        return httpx.Response(200, headers=headers, json={key: after[:number] or None})

    def _manifest(self, request: httpx.Request, repository: str, reference: str) -> httpx.Response:
        tags = self.repositories.get(repository, {})
        if request.method == "PUT":
            lacking = [
                entry["digest"]
                for entry in json.loads(request.content).get("manifests", [])
                if entry["digest"] not in self.blobs.get(repository, set())
            ]
            if lacking and not self.takes_sparse:
                body = errors("MANIFEST_BLOB_UNKNOWN", f"blob unknown: {lacking[0]}")
                return httpx.Response(400, json=body)
            name = self.push(
                repository, reference if ":" not in reference else None, request.content
            )
            return httpx.Response(201, headers={"Docker-Content-Digest": name})
        name = reference if ":" in reference else tags.get(reference, "")
        if name not in self.content or name not in self.blobs.get(repository, set()):
            return httpx.Response(404, json=errors("MANIFEST_UNKNOWN", "manifest unknown"))
        if request.method == "DELETE":
            if ":" not in reference and not self.deletes_tags:
                return httpx.Response(400, json=errors("DIGEST_INVALID", "no digest"))
            if ":" in reference:
                self.blobs[repository].discard(name)
            gone = [
                t for t, d in tags.items() if (d == name if ":" in reference else t == reference)
            ]
            for tag in gone:
                del tags[tag]
            return httpx.Response(202)
        if request.method == "HEAD" and not self.head:
            return httpx.Response(405)
        data = self.content[name]
        try:
            kind = json.loads(data)["mediaType"]
        except (ValueError, KeyError, TypeError):
            kind = OCI_IMAGE
        headers = {"Content-Type": kind, "Content-Length": str(len(data))}
        if self.names_digest:
            headers["Docker-Content-Digest"] = name
        return httpx.Response(
            200, headers=headers, content=b"" if request.method == "HEAD" else data
        )

    def _blob(self, request: httpx.Request, repository: str, rest: str) -> httpx.Response:
        held = self.blobs.setdefault(repository, set())
        if request.method == "POST":
            mount = request.url.params.get("mount")
            if mount and mount in self.blobs.get(request.url.params.get("from", ""), set()):
                held.add(mount)
                return httpx.Response(201)
            return httpx.Response(
                202, headers={"Location": f"/v2/{repository}/blobs/uploads/one?state=abc"}
            )
        if request.method == "PUT":
            name = request.url.params["digest"]
            if digest(request.content) != name:
                return httpx.Response(400, json=errors("DIGEST_INVALID", "other content"))
            self.content[name] = request.content
            held.add(name)
            return httpx.Response(201)
        if rest in self.content and (rest in held or rest == digest(CONFIGURATION)):
            body = b"" if request.method == "HEAD" else self.content[rest]
            return httpx.Response(200, content=body)
        return httpx.Response(404, json=errors("BLOB_UNKNOWN", "blob unknown to registry"))


def _user(request: httpx.Request, users: dict[str, str]) -> str | None:
    given = request.headers.get("authorization", "")
    if not given.startswith("Basic "):
        return None
    name, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
    return name if users.get(name) == password else None


def _scope(request: httpx.Request) -> str:
    """The scope that this request needs, as distribution asks for it."""
    path = request.url.path
    if path == "/v2/":
        return ""
    if path == "/v2/_catalog":
        return "registry:catalog:*"
    repository = path.removeprefix("/v2/")
    for part in ("/manifests/", "/tags/", "/blobs/", "/referrers/"):
        repository = repository.partition(part)[0]
    verbs = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "pull,push")
    return f"repository:{repository}:{verbs}"


def filled(fake: Fake, auth: str = "none") -> Fake:
    """The registry with an image in REPOSITORY and this kind of login."""
    fake.push("team/app", "1", image(("a", 5)))
    fake.auth = auth
    return fake
