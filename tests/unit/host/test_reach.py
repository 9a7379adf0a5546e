"""Whether image registries answer: against real servers, with docker's own settings."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.reach import HUB, Docker, environment

Serve = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(status, tls=True): `127.0.0.1:PORT` of a server that gives this status to everything,
    and the requests that it has had."""
    servers: list[ThreadingHTTPServer] = []

    def begin(status: int, *, tls: bool = False) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_CONNECT = answer

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            subprocess.run(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
                " -keyout key.pem -out crt.pem -subj /CN=x -addext subjectAltName=IP:127.0.0.1",
                cwd=tmp_path,
                shell=True,
                check=True,
                capture_output=True,
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / "crt.pem", tmp_path / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_address[1]}", asked

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("status", [200, 401, 403, 404, 503])
def test_a_registry_answers_whatever_it_answers(serve: Serve, status: int) -> None:
    name, asked = serve(status)
    assert Docker({}, {}).ask(name) == ""
    assert asked == ["GET /v2/"]


def test_why_there_is_no_answer(serve: Serve, nobody: str, tmp_path: Path) -> None:
    private, _ = serve(200, tls=True)
    request = {"registries": [nobody, private, "registry.invalid"]}
    answer = run("reachable", request, host=host_of(tmp_path, Machine()))
    assert not answer["changed"]
    found = answer["registries"]
    assert found[nobody] == "Connection refused"
    assert found[private].startswith("its certificate is refused: self-signed certificate")
    assert "name" in found["registry.invalid"].lower()


def test_docker_speaks_plain_http_where_it_is_told_to(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = serve(200)
    port = name.partition(":")[2]
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: look_up(
            "127.0.0.1" if host == "images.test" else host, *rest, **more
        ),
    )
    there = f"images.test:{port}"
    assert Docker({}, {}).ask(there) != ""
    assert Docker({"insecure-registries": [there]}, {}).ask(there) == ""
    assert Docker({"insecure-registries": ["127.0.0.0/8"]}, {}).ask(there) == ""


def test_a_mirror_stands_for_docker_hub_alone(serve: Serve, nobody: str) -> None:
    mirror, _ = serve(200)
    # A proxy that does not answer keeps the real Docker Hub out of the test.
    docker = Docker(
        {"registry-mirrors": [f"http://{mirror}/"]},
        {"HTTPS_PROXY": f"http://{nobody}", "NO_PROXY": "127.0.0.1"},
    )
    assert docker.ask(HUB) == ""
    assert docker.ask("quay.io") == "Connection refused (through the proxy)"


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({}, {"HTTPS_PROXY": "http://{proxy}"}),
        ({}, {"https_proxy": "http://{proxy}"}),
        ({"proxies": {"https-proxy": "http://{proxy}"}}, {"HTTPS_PROXY": "http://127.0.0.1:1"}),
    ],
)
def test_dockers_proxy_is_asked(
    serve: Serve, settings: dict[str, dict[str, str]], variables: dict[str, str]
) -> None:
    proxy, asked = serve(502)
    filled = {
        key: {name: text.format(proxy=proxy) for name, text in value.items()}
        for key, value in settings.items()
    }
    docker = Docker(filled, {name: text.format(proxy=proxy) for name, text in variables.items()})
    assert "502" in docker.ask("quay.io")
    assert asked == ["CONNECT quay.io:443"]


def test_a_proxys_password_is_not_shown() -> None:
    # With an @ and a / in the password, Python takes the rest of it for a port.
    proxy = {"HTTPS_PROXY": "http://me:x@y:planted/z@127.0.0.1:1"}
    assert Docker({}, proxy).ask("quay.io") == "the address cannot be read (through the proxy)"


def test_no_proxy_is_followed_with_its_subnets(serve: Serve, nobody: str) -> None:
    name, _ = serve(200)
    dead = {"HTTPS_PROXY": f"http://{nobody}", "HTTP_PROXY": f"http://{nobody}"}
    assert Docker({}, dead).ask(name) == "Connection refused (through the proxy)"
    assert Docker({}, dead | {"NO_PROXY": "example.com,127.0.0.1"}).ask(name) == ""
    assert Docker({}, dead | {"NO_PROXY": "127.0.0.0/8"}).ask(name) == ""


def test_the_environment_is_dockerds_or_what_its_unit_will_give_it(tmp_path: Path) -> None:
    proc, units = tmp_path / "proc", tmp_path / "docker.service.d"
    proc.mkdir()
    assert environment(proc, units) == {}
    units.mkdir()
    (units / "proxy.conf").write_text(
        '[Service]\nEnvironment="HTTPS_PROXY=http://p:1" NO_PROXY=a,b\nEnvironment="broken\n'
    )
    assert environment(proc, units) == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a,b"}
    running = proc / "7"
    running.mkdir()
    (running / "comm").write_text("dockerd\n")
    (running / "environ").write_bytes(b"PATH=/bin\0HTTPS_PROXY=http://q:2\0")
    assert environment(proc, units) == {"PATH": "/bin", "HTTPS_PROXY": "http://q:2"}
