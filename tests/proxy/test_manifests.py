"""Which manifest a client gets for its Accept header, from nginx and from the registry itself.

A client that accepts anything (no Accept header, or `*/*`) gets what is stored. Every other answer
is the registry's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess

import pytest

from local.stack import NAME, NGINX, Answer, Stack
from tests.proxy.test_log import logged

REPOSITORY = "someuser/kinds"
ACCESS = ("repository", REPOSITORY, ["pull", "push"])
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker.distribution.manifest."
KINDS = {
    "oci-manifest": f"{OCI}manifest.v1+json",
    "oci-index": f"{OCI}index.v1+json",
    "docker-manifest": f"{DOCKER}v2+json",
    "docker-list": f"{DOCKER}list.v2+json",
}
EVERYTHING = ", ".join(KINDS.values())

ANYTHING: list[list[str]] = [
    [],
    [""],
    ["*/*"],
    ["application/*"],
    ["*/*;q=0.001"],
    ["*/* ; q=0.8"],
    ["text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8"],
    ["text/html, image/gif, *; q=.2, */*; q=.2"],
    [f"{KINDS['docker-manifest']}, */*"],
    ["*/*, text/html"],
    ["application/json,\t*/*;v=1;q=0.5"],
    # In two lines.
    ["*/*", "text/html"],
    ["*/*", KINDS["docker-manifest"]],
]
# Named types, and what only looks like "anything".
NAMED: list[list[str]] = [
    *([kind] for kind in KINDS.values()),
    *([kind.upper()] for kind in KINDS.values()),
    [EVERYTHING],
    list(KINDS.values()),
    ["text/html", KINDS["oci-index"]],
    [KINDS["docker-manifest"], f"{KINDS['docker-list']}, {KINDS['oci-manifest']}"],
    [f"{KINDS['oci-manifest']};q=0.5"],
    ["application/json"],
    ["text/*"],
    ["*/*;q=0"],
    ["*/*; q=0.00, text/html"],
    ["*/*;v=1;q=0"],
    ["x*/*"],
    ["*/*x"],
    ["application/*+json"],
    ["nonsense"],
]


def descriptor(kind: str, content: bytes) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return {"mediaType": kind, "digest": digest, "size": len(content)}


@pytest.fixture(scope="module")
def manifests(stack: Stack) -> dict[str, str]:
    """Pushes a manifest of each kind, tagged with the kind's name. Kind → digest."""
    blob = b"{}"
    stack.push_blob(REPOSITORY, blob)
    digests = {}

    def push(name: str, **content: object) -> dict[str, object]:
        kind = KINDS[name]
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **content}).encode()
        stored = stack.direct(
            "PUT",
            f"/v2/{REPOSITORY}/manifests/{name}",
            token=stack.signer.token(ACCESS),
            headers={"Content-Type": kind},
            body=body,
        )
        assert stored.status == 201, stored.body
        digests[name] = str(stored["Docker-Content-Digest"])
        return {**descriptor(kind, body), "platform": {"architecture": "amd64", "os": "linux"}}

    layers = {"layers": [descriptor(f"{OCI}layer.v1.tar", blob)]}
    oci = push("oci-manifest", config=descriptor(f"{OCI}config.v1+json", blob), **layers)
    config = "application/vnd.docker.container.image.v1+json"
    docker = push("docker-manifest", config=descriptor(config, blob), **layers)
    push("oci-index", manifests=[oci])
    push("docker-list", manifests=[docker])
    return digests


def text(stack: Stack, method: str, reference: str, accept: list[str]) -> bytes:
    """A request with one Accept line for each item of `accept`."""
    lines = [
        f"{method} /v2/{REPOSITORY}/manifests/{reference} HTTP/1.1",
        f"Host: {NAME}:{stack.port}",
        f"Authorization: Bearer {stack.signer.token(ACCESS)}",
        "X-Forwarded-Proto: https",
        "Connection: close",
        *(f"Accept: {value}" for value in accept),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def parsed(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = [line.split(": ", 1) for line in lines]
    return Answer(int(status.split()[1]), [(name.lower(), value) for name, value in headers], body)


def compared(answer: Answer) -> tuple[object, ...]:
    names = ("Content-Type", "Content-Length", "Docker-Content-Digest", "ETag")
    return (answer.status, *(answer[name] for name in names), answer.body)


def ask(stack: Stack, method: str, reference: str, accept: list[str]) -> tuple[object, ...]:
    return compared(parsed(stack.raw(text(stack, method, reference, accept))))


def ask_the_registry(
    stack: Stack, method: str, reference: str, accept: list[str]
) -> tuple[object, ...]:
    return compared(parsed(stack.raw_direct(text(stack, method, reference, accept))))


@pytest.mark.parametrize("accept", ANYTHING, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_accepts_anything_gets_the_stored_manifest(
    stack: Stack, manifests: dict[str, str], method: str, kind: str, accept: list[str]
) -> None:
    for reference in (kind, manifests[kind]):
        answer = ask(stack, method, reference, accept)
        assert answer[0] == 200
        assert answer == ask_the_registry(stack, method, reference, [EVERYTHING])
        assert answer[1] == KINDS[kind] and answer[3] == manifests[kind]


@pytest.mark.parametrize("accept", NAMED, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_names_types_gets_the_registrys_own_answer(
    stack: Stack, manifests: dict[str, str], kind: str, accept: list[str]
) -> None:
    for reference in (kind, manifests[kind], "none", f"sha256:{'0' * 64}"):
        for method in ("GET", "HEAD"):
            assert ask(stack, method, reference, accept) == ask_the_registry(
                stack, method, reference, accept
            )


def test_the_second_of_two_lines_reaches_the_registry(
    stack: Stack, manifests: dict[str, str]
) -> None:
    """The comparison alone would also hold if both sides saw one line."""
    kind = KINDS["oci-manifest"]
    assert ask(stack, "GET", "oci-manifest", [KINDS["docker-manifest"]])[0] == 404
    assert ask(stack, "GET", "oci-manifest", [KINDS["docker-manifest"], kind])[:2] == (200, kind)


def test_anything_in_a_second_line_is_seen_by_nginx_1_23_and_newer(
    stack: Stack, manifests: dict[str, str]
) -> None:
    """An older nginx sees only the first line, and passes both on unchanged."""
    said = subprocess.run([str(NGINX), "-v"], capture_output=True, text=True, check=True).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)", said)
    assert version
    newer = (int(version[1]), int(version[2])) >= (1, 23)
    answer = ask(stack, "GET", "oci-manifest", ["text/html", "*/*"])
    assert answer[0] == (200 if newer else 404)


def test_the_registry_answers_for_a_missing_manifest(
    stack: Stack, manifests: dict[str, str]
) -> None:
    path = f"/v2/{REPOSITORY}/manifests/none"
    answer = stack.proxied("GET", path, token=stack.signer.token(ACCESS))
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    assert stack.proxied("GET", path).status == 401
    assert "Bearer realm=" in str(stack.proxied("GET", path)["WWW-Authenticate"])


def test_a_manifest_for_anybody_is_logged_like_any_other(
    stack: Stack, manifests: dict[str, str]
) -> None:
    path = f"/v2/{REPOSITORY}/manifests/{manifests['oci-index']}"
    entry = logged(stack, "GET", path, token=stack.signer.token(ACCESS))
    assert (entry["verb"], entry["repository"], entry["status"]) == ("pull", REPOSITORY, "200")
