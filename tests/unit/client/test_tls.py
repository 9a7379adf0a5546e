"""Which certificates are trusted, against a real TLS server."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.client.conftest import Wharf
from wharfinger.client import tls

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with one tag."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"tags": ["1"]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    """Prints nothing about clients that do not trust it."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet."""


def serving(folder: Path, address: str, ends: datetime.datetime) -> Server:
    """A server with a certificate for `address`, by an authority in `folder`/ca.crt. The authority
    lacks the extensions that only strict readers require."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def made(subject: str, public: object, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 3 * DAY)
            .not_valid_after(ends)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(authority, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    constraints = x509.BasicConstraints(ca=True, path_length=None)
    (folder / "ca.crt").write_bytes(made("authority", authority.public_key(), (constraints, True)))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    (folder / "tls.pem").write_bytes(
        made("server", key.public_key(), (names, False))
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.fixture
def started() -> Iterator[list[Server]]:
    """Servers, which are stopped at the end."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def run(server: Server, started: list[Server]) -> str:
    """HOST:PORT of a server, which runs until the test ends."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    started.append(server)
    return f"127.0.0.1:{server.server_address[1]}"


def test_an_unknown_authority_is_refused_and_both_remedies_named(
    tmp_path: Path, wharf: Wharf, started: list[Server]
) -> None:
    host = run(serving(tmp_path, "127.0.0.1", NOW + DAY), started)
    ran = wharf("tags", f"{host}/app")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {host} has a certificate of an authority that this machine does not trust (unable "
        "to get local issuer certificate): name the authority's certificate with --cacert FILE, or "
        f"put it at /etc/docker/certs.d/{host}/ca.crt\n",
    )


def test_cacert_makes_it_trusted(tmp_path: Path, wharf: Wharf, started: list[Server]) -> None:
    host = run(serving(tmp_path, "127.0.0.1", NOW + DAY), started)
    ran = wharf("tags", f"{host}/app", "--cacert", str(tmp_path / "ca.crt"))
    assert (ran.out, ran.err) == ("1\n", "")


@pytest.mark.parametrize("place", ["system", "desktop", "rootless", "xdg"])
def test_dockers_folders_make_it_trusted(
    tmp_path: Path,
    wharf: Wharf,
    started: list[Server],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    host = run(serving(tmp_path, "127.0.0.1", NOW + DAY), started)
    if place == "xdg":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    folder = {
        "system": tls.SYSTEM,
        "desktop": home / ".docker/certs.d",
        "rootless": home / ".config/docker/certs.d",
        "xdg": tmp_path / "xdg/docker/certs.d",
    }[place] / host
    folder.mkdir(parents=True)
    (folder / "any-name.crt").write_bytes((tmp_path / "ca.crt").read_bytes())
    assert wharf("tags", f"{host}/app").out == "1\n"


def test_a_client_certificate_is_loaded_and_others_files_are_not(tmp_path: Path) -> None:
    serving(tmp_path, "127.0.0.1", NOW + DAY).server_close()
    folder = tls.SYSTEM / "registry.test"
    folder.mkdir(parents=True)
    for name in ("client.cert", "client.key"):
        (folder / name).write_bytes((tmp_path / "tls.pem").read_bytes())
    (folder / "README").write_text("not a certificate")
    (folder / "alone.cert").write_text("no key beside it")
    tls.context("registry.test", None)


@pytest.mark.parametrize("name", ["ca.crt", "client.cert"])
def test_a_file_that_is_not_a_certificate_is_named(tmp_path: Path, wharf: Wharf, name: str) -> None:
    folder = tls.SYSTEM / "registry.test"
    folder.mkdir(parents=True)
    (folder / name).write_text("hello")
    (folder / "client.key").write_text("hello")
    ran = wharf("tags", "registry.test/app")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {folder / name}: is not a certificate in PEM form; docker cannot use it either: "
        "repair or remove it\n",
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file or directory"), ("hello", "contains no certificate")],
)
def test_a_cacert_that_is_not_a_certificate(
    tmp_path: Path, wharf: Wharf, content: str | None, why: str
) -> None:
    file = tmp_path / "given.crt"
    if content:
        file.write_text(content)
    ran = wharf("tags", "registry.test/app", "--cacert", str(file))
    assert (ran.code, ran.err) == (
        2,
        f"wharf: --cacert {file}: {why}; give a file in PEM form\n",
    )


def test_a_certificate_for_another_name(
    tmp_path: Path, wharf: Wharf, started: list[Server]
) -> None:
    host = run(serving(tmp_path, "192.0.2.7", NOW + DAY), started)
    ran = wharf("tags", f"{host}/app", "--cacert", str(tmp_path / "ca.crt"))
    assert ran.code == 1
    assert ran.err.startswith(f"wharf: {host} has a certificate for another name: ")


def test_a_certificate_that_is_out_of_date(
    tmp_path: Path, wharf: Wharf, started: list[Server]
) -> None:
    host = run(serving(tmp_path, "127.0.0.1", NOW - DAY), started)
    ran = wharf("tags", f"{host}/app", "--cacert", str(tmp_path / "ca.crt"))
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {host} has a certificate that is out of date (certificate has expired): renew it "
        "there\n",
    )


def test_without_tls_only_with_the_option(wharf: Wharf, started: list[Server]) -> None:
    host = run(Server(("127.0.0.1", 0), Handler), started)
    ran = wharf("tags", f"{host}/app")
    assert ran.code == 1
    assert ran.err.startswith(f"wharf: {host} does not speak TLS as it should (")
    assert ran.err.endswith("): is the port right? A registry without TLS needs --plain-http\n")
    assert wharf("tags", f"{host}/app", "--plain-http").out == "1\n"


def test_a_port_on_which_nothing_listens(wharf: Wharf) -> None:
    server = Server(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{server.server_address[1]}"
    server.server_close()
    ran = wharf("tags", f"{host}/app")
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {host} refuses the connection: does the registry run, is the port right?\n",
    )


def test_a_name_that_is_not_known(wharf: Wharf) -> None:
    ran = wharf("tags", "registry.invalid/app")
    assert (ran.code, ran.err) == (
        1,
        "wharf: registry.invalid: no such host is known; is the name right?\n",
    )
