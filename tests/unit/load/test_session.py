"""Which failures a pooled client may repair by itself, with a real server that misbehaves."""

from __future__ import annotations

import base64
import datetime
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from load.record import Attempt
from load.session import Account, Course, Session, Target, Unexpected, expiry, is_stale

NAME = "registry.test"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GONE = httpx.RemoteProtocolError("Server disconnected without sending a response.")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate that is its own authority, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    unused = ("content_commitment", "key_encipherment", "data_encipherment")
    unused += ("key_agreement", "encipher_only", "decipher_only")
    used = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True)
    usage = x509.KeyUsage(**used, **dict.fromkeys(unused, False))
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def read_request(connection: ssl.SSLSocket) -> None:
    """Reads all of it: a server that closes with unread data would discard its own answer."""
    request = b""
    while not request.endswith(b"0\r\n\r\n" if b"chunked" in request else b"\r\n\r\n"):
        part = connection.recv(65536)
        if not part:
            return
        request += part


Serve = Callable[[list[list[bytes | None]]], Session]


@pytest.fixture
def serve(certificate: Path) -> Iterator[Serve]:
    """A server that is told what to send for each request of each connection; `None` closes the
    connection without an answer. After the last answer, the server closes it."""
    sockets: list[socket.socket] = []

    def begin(connections: list[list[bytes | None]]) -> Session:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def run() -> None:
            for answers in connections:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    # The test ended before this connection was made.
                    return
                with context.wrap_socket(plain, server_side=True) as connection:
                    for answer in answers:
                        read_request(connection)
                        if answer is None:
                            # A reset, as from a server that closes with unread data.
                            connection.setsockopt(
                                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                            )
                            break
                        connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        port = listening.getsockname()[1]
        return Session(Target(NAME, "127.0.0.1", port), Account("me", "secret"), str(certificate))

    yield begin
    for connection in sockets:
        connection.close()


def test_a_request_on_a_connection_used_before_is_sent_once_more(serve: Serve) -> None:
    session, attempt = serve([[ANSWER, None], [ANSWER]]), Attempt()
    session.request(attempt, "GET", "/")
    bodies = iter(["first", "second"])
    answer = session.request(attempt, "PUT", "/", body=lambda: [next(bodies).encode()])
    assert answer.text == "ok"
    assert next(bodies, None) is None, "the body was not made again"
    assert (attempt.requests, attempt.retries) == (3, 1)


def test_it_is_not_sent_a_third_time(serve: Serve) -> None:
    session, attempt = serve([[ANSWER, None], [None], [ANSWER]]), Attempt()
    session.request(attempt, "GET", "/")
    with pytest.raises(httpx.TransportError):
        session.request(attempt, "GET", "/")
    assert attempt.retries == 1


def test_a_new_connection_that_is_closed_is_a_failure(serve: Serve) -> None:
    session, attempt = serve([[None], [ANSWER]]), Attempt()
    with pytest.raises(httpx.TransportError):
        session.request(attempt, "GET", "/")
    assert attempt.retries == 0


def test_an_answer_that_was_begun_is_not_asked_for_again(serve: Serve) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nhalf of it"
    session, attempt = serve([[ANSWER, begun], [ANSWER]]), Attempt()
    session.request(attempt, "GET", "/")
    with pytest.raises(httpx.RemoteProtocolError):
        session.request(attempt, "GET", "/")
    assert attempt.retries == 0


def test_an_answer_of_the_server_is_never_asked_for_again(serve: Serve) -> None:
    bad = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    session, attempt = serve([[ANSWER, bad], [ANSWER]]), Attempt()
    session.request(attempt, "GET", "/")
    assert session.request(attempt, "GET", "/").status_code == 502
    assert attempt.retries == 0


@pytest.mark.parametrize(
    ("error", "reused", "answered", "stale"),
    [
        (GONE, True, False, True),
        (httpx.ReadError("[Errno 104] Connection reset by peer"), True, False, True),
        (httpx.WriteError("[Errno 32] Broken pipe"), True, False, True),
        (GONE, False, False, False),
        (httpx.ReadError("[Errno 104] Connection reset by peer"), True, True, False),
        (httpx.RemoteProtocolError("illegal status line"), True, False, False),
        (httpx.ReadTimeout("timed out"), True, False, False),
        (httpx.ConnectError("[Errno 111] Connection refused"), True, False, False),
    ],
)
def test_what_a_stale_connection_is(
    error: Exception, reused: bool, answered: bool, stale: bool
) -> None:
    assert is_stale(error, Course(reused, answered)) == stale


def test_no_connection_changes_the_context_that_others_are_using(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = serve([[ANSWER], [ANSWER]])
    changes: list[object] = []
    monkeypatch.setattr(
        ssl.SSLContext, "set_alpn_protocols", lambda _, protocols: changes.append(protocols)
    )
    for _ in range(2):
        assert session.request(Attempt(), "GET", "/").status_code == 200
    assert changes == []


def test_another_hosts_address_is_not_followed(serve: Serve) -> None:
    with pytest.raises(Unexpected, match=r"an address of another host: https://elsewhere\.test/x"):
        serve([]).request(Attempt(), "GET", "https://elsewhere.test/x")


def test_when_a_token_ends() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1234567890}).encode()).rstrip(b"=")
    assert expiry(f"header.{claims.decode()}.signature") == 1234567890
