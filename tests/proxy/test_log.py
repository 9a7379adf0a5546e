"""A real nginx's access log (who did what, but no name that is only claimed), and its metrics."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client.parser import text_string_to_metric_families

from local.site import NJS
from local.stack import NAME, Stack, running

needs_njs = pytest.mark.skipif(not NJS.exists(), reason="needs libnginx-mod-http-js")
NOWHERE = "sha256:" + "0" * 64


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def logged(stack: Stack, method: str, path: str, **options: Any) -> dict[str, str]:
    """Makes a request and returns its line of the log."""
    marker = f"test {time.monotonic_ns()}"
    headers = {"User-Agent": marker} | options.pop("headers", {})
    answer = stack.proxied(method, path, headers=headers, **options)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for entry in stack.access_log():
            if entry["agent"] == marker:
                assert entry["status"] == str(answer.status)
                return entry
        time.sleep(0.02)
    raise AssertionError("no line of the log is this request's")


def forged(repository: str, user: str = "admin") -> list[str]:
    """Tokens that name `user` and that no registry may accept."""
    access = [{"type": "repository", "name": repository, "actions": ["pull", "push", "delete"]}]
    now = int(time.time())
    claims = {"iss": NAME, "sub": user, "aud": NAME, "nbf": now - 9, "exp": now + 99}
    claims |= {"access": access}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed = jwt.encode(claims, key, algorithm="RS256")
    return [signed, jwt.encode(claims, "", algorithm="none"), signed + "=", signed[:-9]]


@needs_njs
def test_a_pull_has_user_repository_and_verb(stack: Stack) -> None:
    digest = stack.push_blob("team/app", b"content of a blob")
    token = stack.signer.token(("repository", "team/app", ["pull"]))
    line = logged(stack, "GET", f"/v2/team/app/blobs/{digest}", token=token)
    assert (line["user"], line["verb"], line["repository"]) == ("someuser", "pull", "team/app")
    assert (line["status"], line["bytes"]) == ("200", "17")
    assert float(line["seconds"]) >= 0
    none = logged(stack, "GET", f"/v2/team/app/blobs/{NOWHERE}", token=token)
    assert (none["status"], none["user"]) == ("404", "someuser")
    etag = {"If-None-Match": f'"{digest}"'}
    same = logged(stack, "GET", f"/v2/team/app/blobs/{digest}", token=token, headers=etag)
    assert (same["status"], same["user"]) == ("304", "someuser")


@needs_njs
@pytest.mark.parametrize(
    ("method", "path", "verb", "repository", "user"),
    [
        ("GET", "/v2/", "ping", "", "someuser"),
        ("GET", "/v2/a/b/tags/list", "list", "a/b", "someuser"),
        ("GET", "/v2/a/b/tags/list?n=1", "list", "a/b", "someuser"),
        ("HEAD", "/v2/a/b/manifests/latest", "pull", "a/b", "someuser"),
        ("GET", "/v2/a/b/manifests/latest", "pull", "a/b", "someuser"),
        ("DELETE", f"/v2/a/b/manifests/{NOWHERE}", "delete", "a/b", "someuser"),
        ("DELETE", f"/v2/a/b/blobs/{NOWHERE}", "delete", "a/b", "someuser"),
        ("POST", "/v2/a/b/blobs/uploads/", "push", "a/b", "someuser"),
        ("POST", f"/v2/a/b/blobs/uploads/?mount={NOWHERE}&from=c", "mount", "a/b", "someuser"),
        ("POST", f"/v2/a/b/blobs/uploads/?from=c&mount={NOWHERE}", "mount", "a/b", "someuser"),
        ("PATCH", "/v2/a/b/blobs/uploads/some-id?_state=SECRET", "push", "a/b", "someuser"),
        ("GET", "/v2/a/b/blobs/uploads/some-id?_state=SECRET", "push", "a/b", "someuser"),
        ("PUT", "/v2/a/b/manifests/latest", "push", "a/b", "someuser"),
        # A repository's name may contain words of the API: the last one counts.
        ("GET", f"/v2/a/blobs/uploads/blobs/{NOWHERE}", "pull", "a/blobs/uploads", "someuser"),
        ("GET", "/v2/manifests/tags/list/tags/list", "list", "manifests/tags/list", "someuser"),
        # The registry verifies no token for a path that its router does not know.
        ("GET", f"/v2/a/b/referrers/{NOWHERE}", "list", "a/b", ""),
        ("GET", "/v2/a/b/nonsense", "", "", ""),
    ],
)
def test_what_a_request_was(
    stack: Stack, method: str, path: str, verb: str, repository: str, user: str
) -> None:
    grants = [("repository", name, ["pull", "push", "delete"]) for name in (repository, "c")]
    line = logged(stack, method, path, token=stack.signer.token(*grants))
    assert (line["verb"], line["repository"], line["user"]) == (verb, repository, user)
    assert line["status"] != "401"
    assert "SECRET" not in json.dumps(line)


@needs_njs
def test_a_mount_that_becomes_an_upload_has_its_user(stack: Stack) -> None:
    path = f"/v2/a/b/blobs/uploads/?mount={NOWHERE}&from=not/readable"
    token = stack.signer.token(("repository", "a/b", ["pull", "push"]))
    line = logged(stack, "POST", path, token=token)
    assert (line["status"], line["user"]) == ("202", "someuser")
    assert (line["verb"], line["repository"]) == ("mount", "a/b")


@needs_njs
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/_catalog/"),
        ("GET", "/v2/a/b/tags/list"),
        ("GET", "/v2/a/b/tags/list/"),
        ("GET", "/v2/a/b/tags/list?n=-1"),
        ("HEAD", "/v2/a/b/manifests/latest"),
        ("GET", "/v2/a/b/manifests/la%20test"),
        ("GET", f"/v2/a/b/blobs/{NOWHERE}"),
        ("GET", "/v2/a/b/blobs/sha256:short"),
        ("GET", "/v2/A/B/blobs/x"),
        ("GET", f"/v2/a/b/referrers/{NOWHERE}"),
        ("GET", "/v2/a/b/nonsense"),
        ("OPTIONS", "/v2/a/b/tags/list"),
        ("TRACE", "/v2/a/b/tags/list"),
        ("BREW", "/v2/a/b/tags/list"),
        ("POST", "/v2/a/b/blobs/uploads/"),
        ("PUT", "/v2/a/b/blobs/uploads/some-id?digest=nonsense&_state=x"),
        ("PATCH", "/v2/a/b/blobs/uploads/some-id"),
        ("DELETE", f"/v2/a/b/manifests/{NOWHERE}"),
        ("GET", "/auth?service=x"),
        ("GET", "/"),
        ("GET", "//v2/a/b/tags/list"),
        ("GET", "/v2/a%2fb/tags/list"),
    ],
)
def test_a_forged_token_gives_nobody_a_name(stack: Stack, method: str, path: str) -> None:
    for token in forged("a/b"):
        line = logged(stack, method, path, token=token)
        # The echo that replaces the token server answers everybody with 200, as anonymous.
        assert line["user"] == "", line


@needs_njs
def test_a_token_for_something_else_gives_no_name(stack: Stack) -> None:
    token = stack.signer.token(("repository", "other", ["pull"]))
    line = logged(stack, "GET", "/v2/team/app/tags/list", token=token)
    assert (line["status"], line["user"]) == ("401", "")


@needs_njs
def test_two_authorization_headers_are_not_taken_apart(stack: Stack) -> None:
    good, bad = stack.signer.token(("repository", "a/b", ["pull"])), forged("a/b")[0]
    for tokens in ((good, bad), (bad, good)):
        lines = "".join(f"Authorization: Bearer {token}\r\n" for token in tokens)
        # nginx may refuse the second header, and then reads no further.
        head = f"GET /v2/a/b/tags/list HTTP/1.1\r\nHost: {NAME}\r\nUser-Agent: twice\r\n"
        stack.raw(f"{head}{lines}Connection: close\r\n\r\n".encode())
    users: list[str] = []
    deadline = time.monotonic() + 60
    while len(users) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
        users = [entry["user"] for entry in stack.access_log() if entry["agent"] == "twice"]
    assert len(users) == 2
    assert "admin" not in users


def test_by_basic_the_user_is_the_one_whose_password_was_right(htpasswd_stack: Stack) -> None:
    right, wrong = basic("someuser", "correct horse"), basic("someuser", "wrong")
    line = logged(htpasswd_stack, "GET", "/v2/", headers=right)
    assert (line["status"], line["user"]) == ("200", "someuser")
    for path in ("/v2/", "/v2/a/tags/list", "/v2/a/nonsense"):
        assert logged(htpasswd_stack, "GET", path, headers=wrong)["user"] == ""


def test_a_login_is_named_where_the_token_server_has_said_yes(stack: Stack) -> None:
    # The echo that replaces the token server says yes to everybody.
    line = logged(stack, "GET", "/auth?service=x&account=y", headers=basic("someone", "pw"))
    assert (line["verb"], line["user"], line["path"]) == ("login", "someone", "/auth")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    line = logged(stack, "POST", "/auth/token", headers=form, body="username=x&password=SECRET")
    assert (line["verb"], line["user"]) == ("login", "")
    assert "SECRET" not in (stack.folder / "access.log").read_text()


def test_no_token_is_in_the_log(stack: Stack) -> None:
    token = stack.signer.token(("repository", "a/b", ["pull"]))
    logged(stack, "GET", "/v2/a/b/tags/list", token=token)
    text = (stack.folder / "access.log").read_text() + (stack.folder / "error.log").read_text()
    assert token not in text
    assert token.split(".")[1] not in text


def test_no_request_makes_a_long_line(stack: Stack) -> None:
    """A field holds 256 characters of what the client sent. An escaped character takes six."""
    odd = "\x7f" * 20_000
    path = "/v2/" + "/".join(["long-name"] * 300) + "/tags/list"
    before = (stack.folder / "access.log").stat().st_size
    request = f"GET {path} HTTP/1.1\r\nHost: {'h' * 9000}\r\nUser-Agent: {odd}\r\n"
    stack.raw(f"{request}Connection: close\r\n\r\n".encode())
    stack.raw(f"{'M' * 9000} / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
    path = f"/v2/{'n' * 300}/blobs/{NOWHERE}?{'q' * 9000}"
    line = logged(stack, "GET", path)
    assert (line["path"], line["repository"]) == (f"/v2/{'n' * 252}", "n" * 256)
    assert line["verb"] == "pull"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = (stack.folder / "access.log").read_text()[before:]
        if text.count("\n") >= 3:
            break
        time.sleep(0.02)
    lines = text.splitlines()
    assert len(lines) >= 3
    assert max(map(len, lines)) < 4000
    fields = [value for line in lines for value in json.loads(line).values()]
    assert max(map(len, fields)) == 256


def test_the_client_gets_nothing_of_what_the_token_server_hands_over(stack: Stack) -> None:
    # The echo that replaces the token server shows what reached it, whatever the client says.
    headers = {"Wharfinger-Decision": "0"}
    answer = stack.proxied("GET", "/auth", headers=headers)
    seen = json.loads(answer.body)["headers"]
    assert seen["wharfinger-decision"] == "1"
    assert seen["x-real-ip"] == "127.0.0.1"
    assert answer["wharfinger-decision"] is None


# -- metrics


@pytest.fixture
def metrics(stack: Stack) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.ports["metrics"], timeout=60)
    yield connection
    connection.close()


def names(text: str) -> set[str]:
    return {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }


@needs_njs
def test_nginx_tells_of_its_connections_and_requests(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.ports['metrics']}/metrics/nginx"

    def requests() -> float:
        with urllib.request.urlopen(address) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            text = answer.read().decode()
        assert names(text) == {
            *("nginx_connections_active", "nginx_connections_accepted_total"),
            *("nginx_connections_handled_total", "nginx_http_requests_total"),
            *("nginx_connections_reading", "nginx_connections_writing"),
            "nginx_connections_waiting",
        }
        return float(text.split("\nnginx_http_requests_total ")[1].split()[0])

    before = requests()
    for _ in range(5):
        stack.proxied("GET", "/v2/")
    assert requests() >= before + 6


def test_the_registrys_metrics_are_at_their_own_address_only(stack: Stack) -> None:
    digest = stack.push_blob("team/app", b"something to count")
    token = stack.signer.token(("repository", "team/app", ["pull"]))
    assert stack.proxied("GET", f"/v2/team/app/blobs/{digest}", token=token).status == 200
    address = f"http://127.0.0.1:{stack.ports['metrics']}/metrics/registry"
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
    assert "registry_http_requests_total" in names(text)
    assert "registry_storage_action_seconds_count" in names(text)
    for path in ("/metrics", "/metrics/registry", "/metrics/nginx", "/debug/vars", "/debug/health"):
        assert stack.proxied("GET", path).status == 404
    internal = ("/.wharfinger/registry_health", "/debug/vars", "/debug/health")
    for path in (*internal, "/metrics/registry/../../debug/vars", "/", "/v2/", "/auth"):
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(address.replace("/metrics/registry", path))


def test_a_registry_that_refuses_everything_counts_as_down(
    registry: Path, _possible: None, tmp_path: Path
) -> None:
    """A registry does so when its storage fails. Here a file makes its health check fail."""
    ill = tmp_path / "ill"
    check = {"file": str(ill), "interval": "100ms", "threshold": 1}
    with running("token", registry, {"health": {"file": [check]}}) as stack:
        address = f"http://127.0.0.1:{stack.ports['metrics']}/metrics/registry"

        def answered() -> tuple[int, int]:
            """The statuses that a client and Prometheus get."""
            try:
                with urllib.request.urlopen(address) as answer:
                    read = answer.status
            except HTTPError as problem:
                read = problem.code
                assert b"ill" not in problem.read()
            return stack.proxied("GET", "/v2/").status, read

        def awaited(wanted: tuple[int, int]) -> None:
            deadline = time.monotonic() + 60
            while answered() != wanted:
                assert time.monotonic() < deadline, answered()
                time.sleep(0.05)

        awaited((401, 200))
        ill.touch()
        awaited((503, 500))
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['debug']}/metrics") as answer:
            counted = {
                sample.labels["code"]
                for family in text_string_to_metric_families(answer.read().decode())
                for sample in family.samples
                if sample.name == "registry_http_requests_total"
            }
        assert counted == {"401"}
        ill.unlink()
        awaited((401, 200))


def test_nothing_of_a_request_for_metrics_goes_on(
    stack: Stack, metrics: http.client.HTTPConnection
) -> None:
    # The echo that replaces the token server shows what reached it.
    headers = {"Authorization": "Basic eDp5", "X-Real-IP": "10.0.0.1", "Content-Length": "3"}
    metrics.request("POST", "/metrics/token_server?a=b", body=b"abc", headers=headers)
    seen = json.loads(metrics.getresponse().read())
    assert seen["body"] == ""
    assert set(seen["headers"]) <= {"host", "connection"}


def test_metrics_of_the_host_program_are_served(stack: Stack, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{stack.ports['metrics']}/metrics/host"
    with pytest.raises(HTTPError, match="404"):
        urllib.request.urlopen(address)
    folder = stack.folder / "metrics"
    folder.mkdir(exist_ok=True)
    (folder / "host.prom").write_text("up 1\n")
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"up 1\n"
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"


def test_the_digest_in_a_blobs_address_is_not_logged_as_a_repository(stack: Stack) -> None:
    digest = "sha256:" + hashlib.sha256(b"x").hexdigest()
    line = logged(stack, "GET", f"/v2/team/app/blobs/{digest}")
    assert (line["repository"], line["verb"], line["user"]) == ("team/app", "pull", "")
