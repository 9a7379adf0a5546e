"""What else the proxy promises: only the registry is reachable, uploads stream, Locations are
right, and the proxy believes nothing that a client claims about itself."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from local.stack import NAME, OTHER_NAME, Echo, Signer, Stack
from tests.proxy.test_log import logged

REPOSITORY = "someuser/app"
PUSH = ("repository", REPOSITORY, ["pull", "push"])
SECRET_CONTENT = b"only for those who may pull\n"


@pytest.fixture(scope="module")
def digest(stack: Stack) -> str:
    return stack.push_blob("private/app", SECRET_CONTENT)


def internal_paths(digest: str) -> Iterator[str]:
    hexadecimal = digest.partition(":")[2]
    data = f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    yield from (f"/{data}", f"//{data}", f"/%2f{data}", f"/v2/../{data}", f"/v2/%2e%2e/{data}")
    yield from (f"/v2/..%2f{data}", f"/v2/x/blobs/..%2f..%2f..%2f..%2f{data}")
    yield from (f"/auth/../{data}", f"/.wharfinger/../{data}", f"/v2/x/blobs//{data}")
    yield from (f"/@wharfinger_blob/{data}", f"/%40wharfinger_blob/{data}", "/@wharfinger_blob")
    yield from (f"/storage/{data}", f"/DOCKER/{data[7:]}", f"/\\{data}", f"/v2/x/blobs/%5c{data}")
    yield from (f"http://wharfinger-blobs.invalid/{data}", f"https://{NAME}/{data}")
    yield from (f"/v2/x/blobs/{data.replace('/', '%2f')}", f"/v2/x/blobs/a%00/{data}")
    yield from (f"/.well-known/acme-challenge/../../../{data}", f"/{data}?", f"/{data}#")


def test_blobs_are_reachable_by_no_other_address(stack: Stack, digest: str) -> None:
    for path in internal_paths(digest):
        for claims in (
            "",
            "X-Accel-Redirect: /docker/\r\nX-Original-URL: /docker/\r\nX-Rewrite-URL: /docker/\r\n",
            "Range: bytes=0-5\r\nX-HTTP-Method-Override: GET\r\n",
        ):
            request = f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{claims}\r\n"
            answer = stack.raw(request.encode())
            assert SECRET_CONTENT[:6] not in answer, path
            assert answer.split(b" ")[1] in (b"400", b"404", b"421"), (path, answer)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1/", "/v1/_ping", "/debug/health", "/debug/vars", "/metrics", "/healthz"),
        *("/v2/../debug/health", "/authx", "/auth/", "/auth/x", "/.wharfinger/error", "/.git"),
    ],
)
def test_nothing_but_the_registry_answers(stack: Stack, path: str) -> None:
    answer = stack.proxied("GET", path)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer["Content-Type"] == "application/json"
    assert answer["Server"] == "nginx"


def test_missing_slash_leads_to_the_api(stack: Stack) -> None:
    answer = stack.proxied("GET", "/v2")
    assert (answer.status, answer["Location"]) == (301, f"https://{NAME}:{stack.port}/v2/")


@pytest.mark.parametrize(
    "path",
    [
        *("/v2//x/tags/list", "/v2/a/../b/tags/list", "/v2/a/./tags/list", "/v2/a%2fb/tags/list"),
        # The log could not name a user, verb or repository for these.
        *("/v%32/a/tags/list", "/v2/a/%74ags/list", "/v2/%61/tags/list", "/v2/a%2Db/tags/list"),
        *("/a%75th?service=x", "/auth%2Ftoken", "/%61uth/token"),
    ],
)
def test_path_with_two_readings_is_refused(stack: Stack, path: str) -> None:
    answer = stack.proxied("GET", path)
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_an_encoded_colon_in_a_digest_is_not_read_differently(stack: Stack, digest: str) -> None:
    token = stack.signer.token(("repository", "private/app", ["pull"]))
    path = f"/v2/private/app/blobs/{digest.replace(':', '%3A')}"
    assert stack.proxied("GET", path, token=token).body == SECRET_CONTENT


def test_token_server_gets_the_request_as_it_was_and_the_true_address(stack: Stack) -> None:
    claims = {
        **{"X-Real-IP": "203.0.113.9", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=x"},
        **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Upgrade": "h2c"},
        **{"X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/x", "Authorization": "Basic eDp5"},
    }
    path = "/auth?service=registry&scope=repository:a/b:pull,push&scope=x"
    answer = stack.proxied("GET", path, headers=claims)
    seen = json.loads(answer.body)
    assert seen["path"] == path
    kept = {name: value for name, value in seen["headers"].items() if name != "accept-encoding"}
    assert kept == {
        "authorization": "Basic eDp5",
        "host": f"{NAME}:{stack.port}",
        # Asks the token server to hand over its decision.
        "wharfinger-decision": "1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-real-ip": "127.0.0.1",
    }


def test_oauth2_form_reaches_the_token_server_and_a_huge_one_does_not(stack: Stack) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = stack.proxied("POST", "/auth/token", headers=form, body="grant_type=password&x=1")
    assert json.loads(answer.body)["body"] == "grant_type=password&x=1"
    refused = stack.proxied("POST", "/auth", headers=form, body="x" * 70_000)
    assert (refused.status, refused.code) == (413, "SIZE_INVALID")


def test_slow_form_keeps_no_token_server_busy(stack: Stack) -> None:
    head = f"POST /auth?slow HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 20\r\n\r\ngrant_"
    stack.raw(head.encode())  # waits two seconds, but no answer comes
    assert "/auth?slow" not in Echo.begun
    stack.proxied("POST", "/auth?whole", body="grant_type=password")
    assert "/auth?whole" in Echo.begun


def test_challenge_names_the_token_server_by_the_name_that_was_called(stack: Stack) -> None:
    for name in (NAME, OTHER_NAME):
        challenge = str(stack.proxied("GET", "/v2/", name=name)["WWW-Authenticate"])
        assert challenge.startswith(f'Bearer realm="https://{name}:{stack.port}/auth",')
        assert f'service="{NAME}"' in challenge


def test_upload_locations_are_the_clients_own_address(stack: Stack) -> None:
    claims = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    claims["Forwarded"] = "host=evil.example;proto=http"
    for name in (NAME, OTHER_NAME):
        answer = stack.proxied(
            "POST",
            f"/v2/{REPOSITORY}/blobs/uploads/",
            token=stack.signer.token(PUSH),
            headers=claims,
            name=name,
        )
        assert answer.status == 202
        location = str(answer["Location"])
        uploads = f"https://{name}:{stack.port}/v2/{REPOSITORY}/blobs/uploads/"
        assert location.startswith(uploads)


def test_forged_request_line_does_not_put_a_foreign_host_into_a_location(stack: Stack) -> None:
    token = stack.signer.token(PUSH)
    answer = stack.raw(
        f"POST https://{NAME}/v2/{REPOSITORY}/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    assert f"Location: https://{NAME}/v2/{REPOSITORY}/blobs/uploads/".encode() in answer
    assert b"evil" not in answer


def upload_path(stack: Stack, location: str | None) -> str:
    parts = urlsplit(str(location))
    assert (parts.scheme, parts.netloc) == ("https", f"{NAME}:{stack.port}")
    return f"{parts.path}?{parts.query}"


def test_layer_in_chunks_and_manifest_arrive_whole(stack: Stack) -> None:
    token = stack.signer.token(PUSH)
    pieces = [os.urandom(3_000_000), os.urandom(1_000_000)]
    whole = b"".join(pieces)
    layer = "sha256:" + hashlib.sha256(whole).hexdigest()
    started = stack.proxied("POST", f"/v2/{REPOSITORY}/blobs/uploads/", token=token)
    location = started["Location"]
    for piece in pieces:
        chunks = iter([piece[:100_000], piece[100_000:]])  # Transfer-Encoding: chunked
        answer = stack.proxied("PATCH", upload_path(stack, location), token=token, body=chunks)
        assert answer.status == 202
        location = answer["Location"]
    assert answer["Range"] == f"0-{len(whole) - 1}"
    done = stack.proxied("PUT", f"{upload_path(stack, location)}&digest={layer}", token=token)
    assert (done.status, done["Docker-Content-Digest"]) == (201, layer)

    reference = {"mediaType": "application/octet-stream", "digest": layer, "size": len(whole)}
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": reference,
            "layers": [reference],
            "annotations": {"padding": "x" * 1_000_000},
        }
    ).encode()
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    path = f"/v2/{REPOSITORY}/manifests/latest"
    stored = stack.proxied("PUT", path, token=token, headers=kind, body=manifest)
    assert stored.status == 201
    read = stack.proxied("GET", path, token=token, headers={"Accept": kind["Content-Type"]})
    assert read.body == manifest
    assert stack.proxied("GET", f"/v2/{REPOSITORY}/blobs/{layer}", token=token).body == whole


def test_upload_reaches_the_registry_while_it_is_still_being_sent(stack: Stack) -> None:
    """Once half of a layer is sent, the registry has that half, and nginx has buffered nothing."""
    token = stack.signer.token(PUSH)
    started = stack.proxied("POST", f"/v2/{REPOSITORY}/blobs/uploads/", token=token)
    path = upload_path(stack, started["Location"])
    half = os.urandom(8_000_000)
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(half) * 2}\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", stack.port), 60) as plain,
        stack.trust.wrap_socket(plain, server_hostname=NAME) as tls,
    ):
        tls.sendall(head.encode() + half)
        identifier = urlsplit(path).path.rpartition("/")[2]
        (data,) = stack.storage.rglob(f"_uploads/{identifier}/data")
        deadline = time.monotonic() + 60
        while data.stat().st_size < 0.9 * len(half) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert data.stat().st_size >= 0.9 * len(half)
        resting = [path for path in (stack.folder / "temporary").rglob("*") if path.is_file()]
        assert resting == []
        tls.sendall(half)
        response = http.client.HTTPResponse(tls)
        response.begin()
        assert response.status == 202


def test_a_request_for_an_unknown_name_is_answered_with_the_served_name(stack: Stack) -> None:
    answer = stack.proxied("GET", "/v2/", name="other.example.com")
    assert answer.status == 421
    message = json.loads(answer.body)["errors"][0]["message"]
    assert message == f"this host serves {NAME}, not the name that was asked for"


def test_long_token_fits_and_an_absurd_one_is_refused_in_the_registrys_form(stack: Stack) -> None:
    scopes = [("repository", f"team/repository-{number}", ["pull"]) for number in range(200)]
    long = stack.signer.token(*scopes)
    assert 16_000 < len(long) < 30_000
    assert stack.proxied("GET", "/v2/", token=long).status == 200
    answer = stack.proxied("GET", "/v2/", token="x" * 40_000)
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_plain_http_leads_to_https_and_serves_challenges(stack: Stack) -> None:
    def get(path: str, name: str = NAME) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", stack.ports["plain"], timeout=60)
        connection.request("GET", path, headers={"Host": name})
        return connection.getresponse()

    answer = get("/v2/_catalog?n=5")
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://{NAME}:{stack.port}/v2/_catalog?n=5"
    assert get("/.well-known/acme-challenge/a-token").read() == b"a-token.thumbprint"
    assert get("/.well-known/acme-challenge/none").status == 404
    assert get("/v2/", name="other.example.com").status == 421


def test_access_log_holds_no_query_and_no_credential(stack: Stack) -> None:
    planted = {"Authorization": "Basic cGxhbnRlZDpwdw=="}
    entry = logged(stack, "GET", "/auth?account=planted-account", headers=planted)
    assert (entry["path"], entry["method"]) == ("/auth", "GET")
    assert (entry["status"], entry["client"]) == ("200", "127.0.0.1")
    text = (stack.folder / "access.log").read_text()
    assert "planted-account" not in text
    assert "cGxhbnRlZDpwdw" not in text
    assert "_state=" not in text


def test_registry_that_is_away_is_reported_in_the_registrys_form(registry_elsewhere: Stack) -> None:
    stack = registry_elsewhere
    stack.processes[0].terminate()
    stack.processes[0].wait(timeout=60)
    for path in ("/v2/", f"/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}"):
        answer = stack.proxied("GET", path)
        assert (answer.status, answer.code) == (502, "UNAVAILABLE")
        assert answer["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_htpasswd_needs_no_token_server(htpasswd_stack: Stack) -> None:
    stack = htpasswd_stack
    assert stack.proxied("GET", "/auth").status == 404
    answer = stack.proxied("GET", "/v2/")
    assert (answer.status, answer["WWW-Authenticate"]) == (401, f'Basic realm="{NAME}"')
    right = {"Authorization": "Basic c29tZXVzZXI6Y29ycmVjdCBob3JzZQ=="}
    wrong = {"Authorization": "Basic c29tZXVzZXI6d3Jvbmc="}
    assert stack.proxied("GET", "/v2/", headers=right).status == 200
    assert stack.proxied("GET", "/v2/", headers=wrong).status == 401


def test_other_site_stays_the_default_of_the_shared_port(shared_nginx: Stack) -> None:
    for name in ("shop.example", "unknown.example"):
        assert shared_nginx.proxied("GET", "/", name=name).body == b"shop"
    assert shared_nginx.proxied("GET", "/v2/").status == 401


def test_settings_of_others_for_all_sites_do_not_reach_the_registry(shared_nginx: Stack) -> None:
    stack = shared_nginx
    token = stack.signer.token(PUSH)
    content = b"compressible " * 5000
    digest = stack.push_blob(REPOSITORY, content)
    blob = stack.proxied(
        "GET",
        f"/v2/{REPOSITORY}/blobs/{digest}",
        token=token,
        headers={"Accept-Encoding": "gzip"},
    )
    assert blob.body == content
    assert (blob["Content-Encoding"], blob["X-Shop"]) == (None, None)
    # Cached answers would let the second client in without a token.
    tags = f"/v2/{REPOSITORY}/tags/list"
    assert stack.proxied("GET", tags, token=token).status == 404
    assert stack.proxied("GET", tags).status == 401
    assert json.loads(stack.proxied("GET", "/auth?x=1").body)["path"] == "/auth?x=1"
    assert json.loads(stack.proxied("GET", "/auth?x=1").body)["path"] == "/auth?x=1"
    started = stack.proxied("POST", f"/v2/{REPOSITORY}/blobs/uploads/", token=token)
    path = upload_path(stack, started["Location"])
    assert stack.proxied("PATCH", path, token=token, body=b"x" * 5000).status == 202
    assert stack.proxied("GET", "/nothing").code == "NOT_FOUND"


@pytest.mark.parametrize("first", ["mount", "from"])
def test_a_mount_without_the_right_to_read_the_source_begins_an_upload(
    stack: Stack, digest: str, first: str
) -> None:
    """The specification demands it. When docker pushes an image whose layers came from several
    repositories, it names any one of them."""
    names = {"mount": digest, "from": "private/app"}
    query = "&".join(f"{key}={names[key]}" for key in sorted(names, key=lambda key: key != first))
    path = f"/v2/{REPOSITORY}/blobs/uploads/?{query}"
    token = stack.signer.token(PUSH)
    answer = stack.proxied("POST", path, token=token)
    assert (answer.status, answer.body) == (202, b"")
    location = urlsplit(answer["location"] or "")
    assert (location.scheme, location.netloc) == ("https", f"{NAME}:{stack.port}")
    address = f"{location.path}?{location.query}&digest={digest}"
    answer = stack.proxied("PUT", address, token=token, body=SECRET_CONTENT)
    assert answer.status == 201


def test_a_mount_is_refused_as_the_registry_does_where_no_upload_is_allowed(
    stack: Stack, digest: str
) -> None:
    path = f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from=private/app"
    both = ("repository", "private/app", ["pull"])
    scopes = (f"repository:{REPOSITORY}:pu", "repository:private/app:pull")
    # Tokens with too few rights or none, no token, and tokens that the registry does not trust.
    for token in (
        stack.signer.token(both),
        stack.signer.token(),
        *("", "nonsense", Signer().token(PUSH, both)),
    ):
        answer = stack.proxied("POST", path, **({"token": token} if token else {}))
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        for scope in scopes:
            assert scope in (answer["www-authenticate"] or "")
    answer = stack.proxied("POST", path, token=stack.signer.token(PUSH, both))
    assert answer.status == 201
