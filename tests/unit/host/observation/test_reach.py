"""Whether image registries answer, with real servers and docker's own settings."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.observation.reach import HUB, Docker, environment
from wharfinger.host.system.paths import Paths

Serve = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(status, tls=True): `127.0.0.1:PORT` of a server that gives this status to everything,
    and the requests that it has had."""
    servers: list[ThreadingHTTPServer] = []

    def begin(status: int, *, tls: bool = False, body: bytes = b"") -> tuple[str, list[str]]:
        requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                requests.append(f"{self.command} {self.path}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

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
        return f"127.0.0.1:{server.server_address[1]}", requests

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
    name, requests = serve(status)
    assert Docker({}, {}).ask(name) == ""
    assert requests == ["GET /v2/"]


def test_the_reason_for_no_answer_is_given(serve: Serve, nobody: str, tmp_path: Path) -> None:
    private, _ = serve(200, tls=True)
    request = {"registries": [nobody, private, "registry.invalid"]}
    answer = run("reachable", request, host=host_of(tmp_path, Machine()))
    assert not answer["changed"]
    registries = answer["registries"]
    assert registries[nobody] == "Connection refused"
    assert registries[private].startswith("its certificate is refused: self-signed certificate")
    assert "name" in registries["registry.invalid"].lower()


def test_docker_speaks_plain_http_to_insecure_registries(
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
    address = f"images.test:{port}"
    assert Docker({}, {}).ask(address) != ""
    assert Docker({"insecure-registries": [address]}, {}).ask(address) == ""
    assert Docker({"insecure-registries": ["127.0.0.0/8"]}, {}).ask(address) == ""


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
    proxy, requests = serve(502)
    filled = {
        key: {name: text.format(proxy=proxy) for name, text in value.items()}
        for key, value in settings.items()
    }
    docker = Docker(filled, {name: text.format(proxy=proxy) for name, text in variables.items()})
    assert "502" in docker.ask("quay.io")
    assert requests == ["CONNECT quay.io:443"]


def test_a_proxys_password_is_not_shown() -> None:
    # If the password contains @ and /, Python takes the rest for a port.
    proxy = {"HTTPS_PROXY": "http://me:x@y:planted/z@127.0.0.1:1"}
    assert Docker({}, proxy).ask("quay.io") == "the address cannot be read (through the proxy)"


def test_no_proxy_is_followed_with_its_subnets(serve: Serve, nobody: str) -> None:
    name, _ = serve(200)
    dead = {"HTTPS_PROXY": f"http://{nobody}", "HTTP_PROXY": f"http://{nobody}"}
    assert Docker({}, dead).ask(name) == "Connection refused (through the proxy)"
    assert Docker({}, dead | {"NO_PROXY": "example.com,127.0.0.1"}).ask(name) == ""
    assert Docker({}, dead | {"NO_PROXY": "127.0.0.0/8"}).ask(name) == ""


def without_dockerd(tmp_path: Path) -> Paths:
    """The paths of a host where no process runs."""
    proc = tmp_path / "proc"
    proc.mkdir()
    return replace(host_of(tmp_path, Machine()).paths, proc=proc)


def test_the_environment_is_dockerds_or_what_its_unit_will_give_it(tmp_path: Path) -> None:
    paths = without_dockerd(tmp_path)
    assert environment(paths) == {}
    paths.docker_units.mkdir(parents=True)
    (paths.docker_units / "proxy.conf").write_text(
        '[Service]\nEnvironment="HTTPS_PROXY=http://p:1" NO_PROXY=a,b\nEnvironment="broken\n'
    )
    assert environment(paths) == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a,b"}
    running = paths.proc / "7"
    running.mkdir(parents=True)
    (running / "comm").write_text("dockerd\n")
    (running / "environ").write_bytes(b"PATH=/bin\0HTTPS_PROXY=http://q:2\0")
    assert environment(paths) == {"PATH": "/bin", "HTTPS_PROXY": "http://q:2"}


@pytest.mark.parametrize("line", ["export HTTPS_PROXY='http://p:1'", "HTTPS_PROXY=http://p:1"])
def test_a_proxy_that_only_dockers_init_script_knows_is_seen_while_docker_is_down(
    tmp_path: Path, line: str
) -> None:
    paths = without_dockerd(tmp_path)
    paths.docker_defaults.parent.mkdir(parents=True, exist_ok=True)
    paths.docker_defaults.write_text(f"# HTTP_PROXY=http://no:1\nDOCKER_OPTS='--debug'\n{line}\n")
    assert environment(paths) == {"DOCKER_OPTS": "--debug", "HTTPS_PROXY": "http://p:1"}


def test_a_file_that_dockers_unit_names_is_read(tmp_path: Path) -> None:
    paths = without_dockerd(tmp_path)
    paths.docker_units.mkdir(parents=True)
    file = tmp_path / "proxy.env"
    (paths.docker_units / "a.conf").write_text(
        f"[Service]\nEnvironmentFile=-{file}\nEnvironment=HTTPS_PROXY=http://p:1 NO_PROXY=a\n"
    )
    assert environment(paths) == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a"}
    file.write_text("HTTPS_PROXY=http://q:2\n")
    assert environment(paths) == {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "a"}


DIRECTORY = b'{"newNonce": "https://acme.test/nonce", "newOrder": "https://acme.test/order"}'


def acme(tmp_path: Path, directory: str, ca: str = "") -> str:
    request = {"acme": {"directory": directory, "ca": ca}}
    answer = run("reachable", request, host=host_of(tmp_path, Machine()))
    assert not answer["changed"]
    return str(answer["acme"])


def test_an_acme_server_that_answers(serve: Serve, tmp_path: Path) -> None:
    name, requests = serve(200, tls=True, body=DIRECTORY)
    assert acme(tmp_path, f"https://{name}/dir", (tmp_path / "crt.pem").read_text()) == ""
    assert requests == ["GET /dir"]


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"{}"), (200, b"5"), (404, b"")]
)
def test_a_server_that_is_not_an_acme_server_is_refused(
    serve: Serve, tmp_path: Path, status: int, body: bytes
) -> None:
    name, _ = serve(status, tls=True, body=body)
    assert acme(tmp_path, f"https://{name}/dir", (tmp_path / "crt.pem").read_text()) == (
        f"no certificate can come from 127.0.0.1: what answers at https://{name}/dir is not an "
        "ACME server: write the address of its directory in certificates_acme_directory"
    )


def test_why_an_acme_server_cannot_be_asked(serve: Serve, nobody: str, tmp_path: Path) -> None:
    way = (
        "look at certificates_acme_directory and at this host's way there (name resolution, "
        "firewall, proxy)"
    )
    assert acme(tmp_path, f"https://{nobody}/dir") == (
        f"no certificate can come from 127.0.0.1: it cannot be reached (Connection refused): {way}"
    )
    said = acme(tmp_path, "https://acme.invalid/dir")
    assert said.startswith("no certificate can come from acme.invalid: its name does not resolve")
    name, _ = serve(200, tls=True, body=DIRECTORY)
    assert acme(tmp_path, f"https://{name}/dir") == (
        "no certificate can come from 127.0.0.1: its own certificate is refused (self-signed "
        "certificate): set certificates_acme_ca to the file (PEM) of the authority that vouches "
        "for it"
    )
    name, _ = serve(503, tls=True)
    assert acme(tmp_path, f"https://{name}/dir", (tmp_path / "crt.pem").read_text()) == (
        f"no certificate can come from 127.0.0.1: it cannot be read (status 503): {way}"
    )
    plain, _ = serve(200, body=DIRECTORY)
    said = acme(tmp_path, f"https://{plain}/dir")
    assert said.startswith("no certificate can come from 127.0.0.1: it cannot be read ([SSL")
    assert said.endswith(way)


def test_an_acme_servers_proxy_does_not_show_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", "http://me:x@y:planted/z@127.0.0.1:1")
    said = acme(tmp_path, "https://acme.invalid/dir")
    assert said.startswith("no certificate can come from acme.invalid: it cannot be reached")
    assert "planted" not in said
