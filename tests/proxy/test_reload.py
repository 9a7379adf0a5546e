"""A reload as the host program does it: no client loses a request, and the reload does not wait for
clients that are not there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.stack import NAME, Stack
from wharfinger.host.system import nginx as system_nginx
from wharfinger.host.system.nginx import SystemNginx
from wharfinger.host.system.processes import command_line

REPOSITORY = "reloaded/app"
PUSH = ("repository", REPOSITORY, ["pull", "push"])
CONTENT = b"some layer\n" * 100


@pytest.fixture
def closing(stack: Stack) -> Iterator[Path]:
    """The flag's path. The flag is removed afterwards."""
    path = stack.folder / "closing"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def nginx(stack: Stack, closing: Path) -> SystemNginx:
    """The stack's nginx as the host program knows it, with nobody connected."""
    return stack.host_nginx()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload waits for clients far longer than anything here takes on a busy machine."""
    monkeypatch.setattr(system_nginx, "_LEAVING", 120)


@contextlib.contextmanager
def client(stack: Stack) -> Iterator[Callable[..., httpx.Response]]:
    """A client that keeps its connections. A call sends a request that may push and pull."""
    token = stack.signer.token(PUSH)
    headers = {"Host": f"{NAME}:{stack.port}", "Authorization": f"Bearer {token}"}
    base = f"https://127.0.0.1:{stack.port}"
    with httpx.Client(verify=stack.trust, base_url=base, headers=headers, trust_env=False) as pool:

        def request(method: str, path: str, **options: Any) -> httpx.Response:
            # The certificate is for this name.
            outgoing = pool.build_request(method, path, **options)
            outgoing.extensions["sni_hostname"] = NAME
            return pool.send(outgoing)

        yield request


def push(request: Callable[..., httpx.Response]) -> list[httpx.Response]:
    """Both answers of an upload: to its beginning, and to its end, a request with a body."""
    digest = "sha256:" + "0" * 64
    begun = request("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    where = begun.headers["Location"].partition(f":{begun.request.url.port}")[2]
    return [begun, request("PUT", f"{where}&digest={digest}", content=iter([CONTENT]))]


def answers(stack: Stack, request: Callable[..., httpx.Response]) -> list[httpx.Response]:
    """One answer of each kind that the site gives."""
    blob = f"/v2/{REPOSITORY}/blobs/" + stack.push_blob(REPOSITORY, CONTENT)
    digest = blob.rpartition("/")[2]
    return [
        request("GET", "/v2/"),
        request("GET", "/auth?x=1"),
        request("GET", "/nothing"),
        request("GET", f"/v2/{REPOSITORY}/tags/list"),
        request("GET", "/v2/a//b/tags/list"),
        request("HEAD", blob),
        request("GET", blob),
        request("GET", blob, headers={"Range": "bytes=0-5"}),
        request("GET", blob, headers={"Range": "bytes=5000-"}),
        request("GET", blob, headers={"If-None-Match": f'"{digest}"'}),
        request("GET", f"/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}"),
        request("GET", "/v2/", headers={"Host": "other.example.com"}),
        *push(request),
    ]


def test_every_answer_ends_its_connection_while_the_flag_is_there(
    stack: Stack, closing: Path
) -> None:
    with client(stack) as request:
        before = answers(stack, request)
        closing.touch()
        during = answers(stack, request)
    known = [200, 200, 404, 404, 400, 200, 200, 206, 416, 304, 404, 421, 202, 400]
    assert (
        [answer.status_code for answer in before]
        == [answer.status_code for answer in during]
        == known
    )
    # The server for unknown names is not the registry's, and 400 ends a connection anyway.
    for number, answer in enumerate(during):
        assert "close" in answer.headers.get_list("Connection", split_commas=True) or (
            answer.status_code == 421
        ), (number, answer.headers)
    for old, new in zip(before, during, strict=True):
        assert old.status_code == 400 or "close" not in old.headers["Connection"]
        changing = {"connection", "date", "location", "docker-upload-uuid", "content-length"}
        assert {name: value for name, value in old.headers.items() if name not in changing} == {
            name: value for name, value in new.headers.items() if name not in changing
        }


def test_what_is_refused_before_the_flag_is_looked_at_fills_no_log(stack: Stack) -> None:
    assert stack.raw(b"GET /v2/ HTTP/3.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert "uninitialized" not in (stack.folder / "error.log").read_text()


@pytest.mark.usefixtures("patient")
def test_a_client_that_is_busy_leaves_before_the_reload(
    stack: Stack, nginx: SystemNginx, closing: Path
) -> None:
    workers = nginx.workers()
    with client(stack) as request:
        request("GET", "/v2/")
        reload = threading.Thread(target=nginx.reload)
        began = time.monotonic()
        reload.start()
        while not closing.exists():
            assert time.monotonic() < began + 60
        answer = request("GET", "/v2/")
        assert "close" in answer.headers["Connection"]
        reload.join()
    # The only connection is gone, so the reload waits no longer.
    assert time.monotonic() - began < 60
    assert not closing.exists()
    assert [worker for worker in nginx.workers() if worker not in workers]


def test_a_client_that_only_rests_does_not_stop_the_reload(
    stack: Stack, nginx: SystemNginx, closing: Path
) -> None:
    """The flag stays until no old worker takes requests any more."""
    workers = [pid for pid, _ in nginx.workers()]
    with client(stack) as request:
        request("GET", "/v2/")
        reload = threading.Thread(target=nginx.reload)
        began = time.monotonic()
        reload.start()
        while not closing.exists():
            assert time.monotonic() < began + 60
        while closing.exists():
            assert time.monotonic() < began + 60
        at_the_end = [command_line(Path("/proc"), pid) for pid in workers]
        reload.join()
        assert 2 <= time.monotonic() - began < 60
        assert all(words == "" or "shutting down" in words for words in at_the_end)
        # The client's next request uses another connection.
        assert request("GET", "/v2/").status_code == 200


@pytest.mark.usefixtures("patient")
def test_a_reload_without_clients_or_in_a_hurry_does_not_wait(
    stack: Stack, nginx: SystemNginx, closing: Path
) -> None:
    began = time.monotonic()
    nginx.reload()
    assert time.monotonic() - began < 60
    with client(stack) as request:
        request("GET", "/v2/")
        # A killed run leaves the flag behind.
        closing.touch()
        began = time.monotonic()
        nginx.reload(gently=False)
        assert time.monotonic() - began < 60
    assert not closing.exists()
