"""Malicious clients with raw sockets: how nginx and the servers behind it understand the same
bytes, which tokens let a client in, and who still gets in while others hold connections.

nginx, registry and token server are the real ones. After each attack both sides' logs must tell the
same story: a request that only one side saw was smuggled.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import hmac
import json
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.site import PROJECT
from local.stack import NAME, Signer, Stack, running

SECRET_CONTENT = b"only for those who may pull\n"
REPOSITORY = "private/app"
CARRIER = "carrier/app"
PULL = ("repository", REPOSITORY, ["pull"])
FORM = "application/x-www-form-urlencoded"
BASIC = base64.b64encode(b"someuser:the right password").decode()


@pytest.fixture(scope="module")
def hostile(registry: Path, _possible: None) -> Iterator[Stack]:
    """A stack for this module only. Its registry and token server log every request."""
    hashed = bcrypt.hashpw(b"the right password", bcrypt.gensalt(4)).decode()
    accounts = {
        "users": {"someuser": {"password": hashed}, "": {}},
        "acl": [{"match": {"account": "someuser"}, "actions": ["pull"], "comment": "pulls"}],
    }
    logged = {"log": {"accesslog": {"disabled": False}}}
    with running("token", registry, logged, accounts=accounts) as started:
        yield started


@pytest.fixture(scope="module")
def digest(hostile: Stack) -> str:
    return hostile.push_blob(REPOSITORY, SECRET_CONTENT)


# -- what both sides log ---------------------------------------------------------------------------

Seen = collections.Counter[tuple[str, str]]
NOTHING = Seen()


def passed_on(stack: Stack, upstream: str) -> Seen:
    """Method and path of every request that nginx says it gave to the registry or token server."""
    address = f"127.0.0.1:{stack.ports[upstream]}"
    return Seen(
        (entry["method"], entry["path"])
        for entry in stack.access_log()
        if address in entry["upstream"]
    )


def passed_on_for(stack: Stack, client: str) -> Seen:
    """The same for one client address, whatever the upstream."""
    return Seen(
        (entry["method"], entry["path"])
        for entry in stack.access_log()
        if entry["client"] == client and entry["upstream"]
    )


def came_in(stack: Stack) -> Seen:
    """Method and path of every request that the registry says it got."""
    lines = re.findall(
        r'"([A-Z]+) ([^ "?]*)[^ "]* HTTP/1', (stack.folder / "registry.log").read_text()
    )
    return Seen(lines)


def stories(stack: Stack, direct: Seen = NOTHING) -> tuple[Seen, Seen]:
    """nginx's story and the registry's, once both have logged everything (after a minute at most).

    `direct` are the requests that a test sent to the registry itself. Only the registry logs them.
    """
    deadline = time.monotonic() + 60
    while True:
        received, sent = came_in(stack), passed_on(stack, "registry")
        if received == sent + direct or time.monotonic() > deadline:
            return sent, received
        time.sleep(0.05)


def past_nginx(stack: Stack) -> int:
    """How many requests the token server says it got from anybody but nginx.

    It gets one more request, past nginx. Once its log holds that one, it holds all earlier ones.
    """
    mark = f"mark-{secrets.token_hex(4)}"
    headers = {"X-Real-IP": "192.0.2.1"}
    stack.direct("GET", f"/auth?service={mark}", port="tokens", headers=headers)
    deadline = time.monotonic() + 60
    while mark not in (log := (stack.folder / "tokens.log").read_text()):
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    requests = [json.loads(line) for line in log.splitlines() if '"event":"token"' in line]
    return len([entry for entry in requests if not entry.get("service", "").startswith("mark-")])


def test_the_two_logs_can_be_compared(hostile: Stack) -> None:
    path = "/v2/compared/app/tags/list"
    hostile.proxied("GET", path)
    hostile.direct("GET", path, port="registry")
    sent, received = stories(hostile, direct=Seen([("GET", path)]))
    assert (sent["GET", path], received["GET", path]) == (1, 2)
    # The other tests start without the request that went past nginx.
    (hostile.folder / "registry.log").write_text("")
    (hostile.folder / "access.log").write_text("")


# -- smuggling -------------------------------------------------------------------------------------


# Headers that two servers may read differently, one a line. {0} is the length of the whole body.
CHUNKED = [
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: xchunked",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Transfer-Encoding\r\n : chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
]
LENGTHS = [
    "Content-Length: {0}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {0}",
    "Content-Length: {0}\r\nContent-Length: {0}",
    "Content-Length: 0, {0}",
    "Content-Length: {0} 0",
    "Content-Length: 0 {0}",
    "Content-Length: +{0}",
    "Content-Length: -{0}",
    "Content-Length: 0x0",
    "Content-Length: 00",
    "Content-Length: 0;",
    "Content-Length: 0\0",
    "Content-Length: \u0660",
    "Content-Length:\x0b0",
    "Content-Length : 0",
    " Content-Length: 0",
    "Content_Length: 0",
    "Content-Length: \r\n",
    "Content-Length:\r\n 0",
    "X: y\nContent-Length: 0",
    "Content-Length: 9223372036854775808",
    "Content-Length: 18446744073709551616",
]
SIZES = [
    "{0:x};extension",
    '{0:x};name="va\r\nlue"',
    "{0:x};a\nb",
    "0x{0:x}",
    "+{0:x}",
    "-{0:x}",
    " {0:x}",
    "{0:x} ",
    "{0:x}\t",
    "{0:x}\0",
    "{0:X}\n",
    "1{0:016x}",
    "ffffffffffffffff",
    "0;\n",
    "",
    ";",
    "0" * 200 + "{0:x}",
]


def smuggles() -> Iterator[tuple[str, bytes, bytes]]:
    """A title, the headers and the body; `@` in the body is where the hidden request goes."""
    for header in CHUNKED:
        encoded = header.encode()
        yield f"CL.TE {header!r}", b"Content-Length: {whole}\r\n" + encoded, b"0\r\n\r\n@"
        yield f"TE.CL {header!r}", encoded + b"\r\nContent-Length: 4", b"{chunk}@\r\n0\r\n\r\n"
        yield f"TE {header!r}", encoded, b"0\r\n\r\n"
    for header in LENGTHS:
        yield f"CL {header!r}", header.replace("{0}", "{whole}").encode(), b"@"
        both = header.replace("{0}", "{whole}") + "\r\nTransfer-Encoding: chunked"
        yield f"CL+TE {header!r}", both.encode(), b"0\r\n\r\n@"
    for size in SIZES:
        chunk = size.encode()
        yield f"chunk {size!r}", b"Transfer-Encoding: chunked", chunk + b"\r\n@\r\n0\r\n\r\n"
        yield f"chunk LF {size!r}", b"Transfer-Encoding: chunked", chunk + b"\n@\n0\n\n"
    for trailer in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: x", b"\0"):
        ended = b"0\r\n" + trailer + b"\r\n\r\n"
        yield f"trailer {trailer!r}", b"Transfer-Encoding: chunked", ended
    yield "no CRLF after a chunk", b"Transfer-Encoding: chunked", b"3\r\nabc0\r\n\r\n@"
    yield "chunk longer than said", b"Transfer-Encoding: chunked", b"1\r\nabc\r\n0\r\n\r\n@"
    yield "continue", b"Expect: 100-continue\r\nContent-Length: {whole}", b"@"
    yield "upgrade", b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0", b""
    yield "hop by hop", b"Connection: Content-Length\r\nContent-Length: {whole}", b"@"
    yield "folded", b"X-Folded: a\r\n b\r\n\tc\r\nContent-Length: {whole}", b"@"
    yield "name with a space", b"X Y: z\r\nContent-Length: {whole}", b"@"
    yield "name with a NUL", b"X\0Y: z\r\nContent-Length: {whole}", b"@"
    yield "bare CR", b"X: y\rContent-Length: 0\rZ: x\r\nContent-Length: {whole}", b"@"


def quick(stack: Stack, data: bytes, patience: float = 60, source: str = "127.0.0.1") -> bytes:
    """Sends bytes over TLS. Returns what comes back until nginx closes the connection, or until it
    has answered and is silent for a moment. `patience`: seconds until the answer begins.

    Then it hangs up and waits until nginx has closed the connection too. nginx logs a request when
    the request ends and closes afterwards, so the log holds every request of this connection.
    """
    received = b""
    with contextlib.suppress(OSError), connected(stack, source) as tls:
        tls.settimeout(patience)
        with contextlib.suppress(TimeoutError):
            tls.sendall(data)
            while chunk := tls.recv(65536):
                received += chunk
                tls.settimeout(0.2)
        # TLS ends here: nobody reads what still arrives.
        tls.shutdown(socket.SHUT_WR)
        tls.settimeout(60)
        try:
            while tls.recv(65536):
                pass
        except TimeoutError:
            pytest.fail("nginx has not closed a connection whose client hung up a minute ago")
    return received


@contextlib.contextmanager
def connected(stack: Stack, source: str) -> Iterator[ssl.SSLSocket]:
    address = ("127.0.0.1", stack.port)
    with (
        socket.create_connection(address, 60, source_address=(source, 0)) as plain,
        stack.trust.wrap_socket(plain, server_hostname=NAME) as tls,
    ):
        yield tls


def attack(stack: Stack, head: bytes, headers: bytes, body: bytes, hidden: bytes) -> bytes:
    """Sends one of smuggles() with its placeholders filled in."""
    whole = body.replace(b"@", hidden).replace(b"{chunk}", b"%x\r\n" % len(hidden))
    for form in (b"016x", b"x", b"X"):
        written = format(len(hidden), form.decode()).encode()
        whole = whole.replace(b"{0:" + form + b"}", written)
    headers = headers.replace(b"{whole}", b"%d" % len(whole))
    return quick(stack, head + headers + b"\r\n\r\n" + whole)


TARGETS = {
    "upload": f"POST /v2/{CARRIER}/blobs/uploads/ HTTP/1.1\r\nHost: {NAME}\r\n",
    "read": f"GET /v2/{CARRIER}/tags/list HTTP/1.1\r\nHost: {NAME}\r\n",
    "login": f"POST /auth HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: {FORM}\r\n",
}


@pytest.mark.parametrize("target", TARGETS)
def test_no_request_is_hidden_in_another(hostile: Stack, target: str) -> None:
    """A pipelined request is not hidden if nginx itself sees and logs it."""
    token = hostile.signer.token(("repository", CARRIER, ["pull", "push"]))
    signed = "" if target == "login" else f"Authorization: Bearer {token}\r\n"
    head = (TARGETS[target] + signed).encode()
    attacks = list(smuggles())

    def run(number: int) -> bytes:
        path = f"/v2/smuggled/{target}-{number}/tags/list"
        if target == "login":
            path = f"/auth?account=smuggled-{number}"
        hidden = f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nX-Real-IP: 203.0.113.9\r\n\r\n"
        return attack(hostile, head, *attacks[number][1:], hidden.encode())

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(run, range(len(attacks))))
    statuses = collections.Counter(answer[9:12].decode() for answer in answers)
    assert len(attacks) > 120
    # Most are refused. The others are odd but have only one meaning.
    assert statuses["400"] + statuses["501"] > 90, statuses
    assert not statuses.keys() & {"500", "502", "504"}, statuses
    for number in range(20):
        # The next client on nginx's kept connections gets the answer to its own request.
        name = f"bystander/{target}-{number}"
        bystander = hostile.signer.token(("repository", name, ["pull"]))
        answer = hostile.proxied("GET", f"/v2/{name}/tags/list", token=bystander)
        assert json.loads(answer.body)["errors"][0]["detail"] == {"name": name}
    sent, received = stories(hostile)
    assert received["GET", f"/v2/bystander/{target}-0/tags/list"] == 1
    assert received - sent == NOTHING, "the registry has got what nginx has not passed on"
    # decisions.log has the requests through nginx, the token server's own log has all others.
    assert past_nginx(hostile) == 0
    kept = (hostile.folder / "decisions.log").read_text().splitlines()
    decisions = [json.loads(line) for line in kept]
    assert len(decisions) <= passed_on(hostile, "tokens").total()
    assert not [entry for entry in decisions if entry["client"] != "127.0.0.1"]
    if target == "login":
        assert decisions


# -- malformed and oversized -----------------------------------------------------------------------

OK = f"Host: {NAME}\r\nConnection: close\r\n"
MALFORMED = {
    "HTTP/0.9": b"GET /v2/\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "another version": b"GET /v2/ HTTP/9.9\r\n" + OK.encode() + b"\r\n",
    "no version's number": b"GET /v2/ HTTP/x\r\n" + OK.encode() + b"\r\n",
    "NUL in the path": b"GET /v2/\0 HTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "tab in the line": b"GET\t/v2/\tHTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "lower-case method": b"get /v2/ HTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:5000 HTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "TRACE": b"TRACE /v2/ HTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "no Host": b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two Hosts": f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{OK}\r\n".encode(),
    "Host with a path": b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n",
    "Host with a NUL": b"GET /v2/ HTTP/1.1\r\nHost: a\0b\r\nConnection: close\r\n\r\n",
    "long line": b"GET /v2/" + b"a" * 40_000 + b" HTTP/1.1\r\n" + OK.encode() + b"\r\n",
    "long header": b"GET /v2/ HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n" + OK.encode() + b"\r\n",
    "many headers": b"GET /v2/ HTTP/1.1\r\n" + b"X: %s\r\n" % (b"a" * 1000) * 200 + b"\r\n",
    "TLS in TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 100,
}


@pytest.mark.parametrize("title", MALFORMED)
def test_a_malformed_request_is_refused_and_not_passed_on(hostile: Stack, title: str) -> None:
    # No other test uses this address. nginx may still be logging requests of other tests.
    client = f"127.0.1.{1 + list(MALFORMED).index(title)}"
    answer = quick(hostile, MALFORMED[title], source=client)
    status = answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else ""
    if status:
        assert status in ("400", "405", "414", "421", "505"), answer
    else:
        # HTTP/0.9 is older than heads, so the answer has none.
        assert b"400 Bad Request" in answer or b"not the name that was asked for" in answer, answer
    assert passed_on_for(hostile, client) == NOTHING


def test_a_request_that_ends_late_is_seen_to_be_passed_on(hostile: Stack) -> None:
    """The control of the test above: the registry waits for a body that the client never sends."""
    client, path = "127.0.1.254", "/v2/late/app/blobs/uploads/nothing"
    token = hostile.signer.token(("repository", "late/app", ["pull", "push"]))
    head = f"PATCH {path} HTTP/1.1\r\n{OK}Authorization: Bearer {token}\r\n"
    for request in (f"{head}Content-Length: 9999\r\n\r\nabc", f"GET /v2/ HTTP/1.1\r\n{OK}\r\n"):
        quick(hostile, request.encode(), patience=2, source=client)
    assert passed_on_for(hostile, client) == Seen([("PATCH", path), ("GET", "/v2/")])


# -- paths -----------------------------------------------------------------------------------------

FRAGMENTS = [
    *("/", "//", "/./", "/../", "/..;/", "/%2e%2e/", "/%2E%2e/", "%2f", "%2F", "%252f", "%5c"),
    *("\\", "..", ".", ";x=y", "?", "#", "&", "~", "*", "%", "%00", "%0a", "%0d%0a", "%20", "\x80"),
    *("%c0%af", "%c0%ae", "%e0%80%af", "%u002f", "%zz", "v2", "V2", "auth", "blobs", "data"),
    *("private/app", "private", "app", "_catalog", "blobs/uploads", "storage", "metrics"),
    *("docker/registry/v2", "docker/registry/v2/blobs/sha256", "DOCKER/registry/v2", "DATA"),
    *("@wharfinger_blob", "%40wharfinger_blob", ".wharfinger/error", "debug/health", "DATA"),
    *("http://", "https://registry.example.com", "wharfinger-blobs.invalid", "127.0.0.1"),
    *("DIGEST", "HEX", "HEX2", ".well-known/acme-challenge"),
]
CLAIMS = [
    "",
    "X-Accel-Redirect: /DATA",
    "X-Original-URL: /DATA",
    "X-Rewrite-URL: /DATA",
    "X-Forwarded-Host: wharfinger-blobs.invalid",
    "X-HTTP-Method-Override: GET",
    "Location: http://wharfinger-blobs.invalid/DATA",
    "Range: bytes=0-",
    "Upgrade: h2c",
    "Referer: /DATA",
]


def filled(text: str, digest: str) -> bytes:
    hexadecimal = digest.partition(":")[2]
    data = f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    values = {"DIGEST": digest, "HEX2": hexadecimal[:2], "HEX": hexadecimal, "DATA": data}
    for name, value in values.items():
        text = text.replace(name, value)
    return text.encode("latin-1")


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "PROPFIND", "OPTIONS"]),
    start=st.sampled_from(["/", "", "/v2/", "/v2/private/app/blobs/", "/auth", "/DATA"]),
    path=st.lists(st.sampled_from(FRAGMENTS), max_size=7),
    claim=st.sampled_from(CLAIMS),
    host=st.sampled_from([NAME, NAME, "wharfinger-blobs.invalid", "localhost", f"{NAME}."]),
)
def test_no_path_leads_to_a_blob_without_a_token(
    hostile: Stack, digest: str, method: str, start: str, path: list[str], claim: str, host: str
) -> None:
    address = filled(start + "".join(path), digest)
    header = filled(f"\r\nHost: {host}\r\nConnection: close\r\n{claim}", digest).rstrip(b"\r\n")
    request = method.encode() + b" " + address + b" HTTP/1.1" + header + b"\r\n\r\n"
    answer = quick(hostile, request)
    assert SECRET_CONTENT not in answer, request
    status = answer[9:12].decode()
    assert status in ("301", "400", "401", "404", "405", "414", "421", "200", ""), (request, answer)
    if status == "200":
        # The token server gives everybody a token, but this one grants nothing.
        assert b'"token"' in answer or method in ("HEAD", "OPTIONS"), (request, answer)
    if status == "":
        assert b"400 Bad Request" in answer or b"wharfinger" not in answer, (request, answer)


def test_the_same_blob_is_there_for_who_may_pull(hostile: Stack, digest: str) -> None:
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    token = hostile.signer.token(PULL)
    assert hostile.proxied("GET", path, token=token).body == SECRET_CONTENT
    assert hostile.proxied("GET", path).status == 401


# -- tokens ----------------------------------------------------------------------------------------


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token with `changes`. None removes a claim."""
    now = int(time.time())
    good = {
        **{"iss": NAME, "sub": "someuser", "aud": NAME, "jti": secrets.token_hex(8)},
        **{"iat": now, "nbf": now - 10, "exp": now + 600},
        "access": [{"type": "repository", "name": REPOSITORY, "actions": ["pull"]}],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def forged(stack: Stack) -> Iterator[tuple[str, str]]:
    """Titles, each with what follows `Authorization: Bearer `."""
    signer = stack.signer
    good = signer.token(PULL)
    kid = jwt.get_unverified_header(good)["kid"]
    head, payload, signature = good.split(".")
    other = Signer()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    public = signer.key.public_key()
    pem = public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)
    der = public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
    bundle = (stack.folder / "live/token_signing.pem").read_bytes()

    def signed(key: Any = signer.key, algorithm: str = "RS256", **changes: Any) -> str:
        headers = {"kid": kid} | changes.pop("headers", {})
        return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)

    def by_hand(header: dict[str, Any], sign: bytes = b"") -> str:
        parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), sign]
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    def hmac_by(secret: bytes) -> str:
        # By hand, because jwt refuses to use a public key as a secret.
        text = by_hand({"alg": "HS256", "typ": "JWT", "kid": kid}).rsplit(".", 1)[0]
        mac = hmac.new(secret, text.encode(), "sha256").digest()
        return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    now = int(time.time())
    yield "another key", other.token(PULL)
    yield "another key under this one's name", signed(other.key)
    yield "another key that the header brings", signed(other.key, headers={"jwk": other.jwk})
    certificate_of_other = base64.b64encode(other.certificate.public_bytes(encoding.DER)).decode()
    for extra in ({}, {"kid": "x"}):
        brought = {"x5c": [certificate_of_other], **extra}
        yield f"a certificate that the header brings {extra}", signed(other.key, headers=brought)
    yield "an address of keys", signed(other.key, headers={"jku": "https://evil.example/keys"})
    for name in ("none", "None", "NONE", "nOnE", ""):
        yield f"algorithm {name!r}", by_hand({"alg": name, "typ": "JWT", "kid": kid})
        yield f"algorithm {name!r}, signed", by_hand({"alg": name, "kid": kid}, b"x" * 256)
    yield "no algorithm", by_hand({"typ": "JWT", "kid": kid})
    for title, secret in (("PEM", pem), ("DER", der), ("certificate", bundle), ("nothing", b"")):
        yield f"HS256 by the public key as {title}", hmac_by(secret)
    yield "PS256", signed(algorithm="PS256")
    yield "RS512", signed(algorithm="RS512")
    for strange in ("x", "../../etc/passwd", "/dev/null", "' or 1=1 --", kid[:-1], kid + "\0", ""):
        yield f"key {strange!r}", signed(headers={"kid": strange})
    yield "no key's name", by_hand({"alg": "RS256"}, b"x" * 256)
    yield "critical header", signed(headers={"crit": ["unheard"], "unheard": True})
    yield "expired", signed(exp=now - 120)
    yield "expires never", signed(exp=None)
    yield "not yet", signed(nbf=now + 600)
    yield "another issuer", signed(iss="somebody")
    yield "no issuer", signed(iss=None)
    yield "another service", signed(aud="mirror.example.com")
    yield "no service", signed(aud=None)
    yield "another repository", signer.token(("repository", "private/application", ["pull"]))
    yield "a repository above", signer.token(("repository", "private", ["pull"]))
    yield "a pattern", signer.token(("repository", "private/*", ["*"]))
    yield "capitals", signer.token(("repository", "Private/App", ["pull"]))
    yield "pushing only", signer.token(("repository", REPOSITORY, ["push", "delete"]))
    yield "the catalog", signer.token(("registry", "catalog", ["*"]))
    yield "another type", signer.token(("repository(plugin)", REPOSITORY, ["pull"]))
    yield "nothing", signer.token()
    yield "cut off", good[:-20]
    yield "without signature", f"{head}.{payload}."
    yield "with another's signature", f"{head}.{payload}.{other.token(PULL).rsplit('.', 1)[1]}"
    mine = base64.urlsafe_b64encode(json.dumps(claims(exp=now + 10**9)).encode())
    yield "with other claims", f"{head}.{mine.rstrip(b'=').decode()}.{signature}"
    yield "twice", f"{good}.{good}"
    yield "for somebody else, in a list", f"{other.token(PULL)}, Bearer {good}"


def test_only_the_token_servers_own_tokens_count(hostile: Stack, digest: str) -> None:
    tried = list(forged(hostile))
    assert len(tried) > 45
    for title, token in tried:
        for path in (f"/v2/{REPOSITORY}/tags/list", f"/v2/{REPOSITORY}/blobs/{digest}"):
            sent = f"GET {path} HTTP/1.1\r\n{OK}Authorization: Bearer {token}\r\n\r\n"
            answer = quick(hostile, sent.encode("latin-1"))
            assert answer[9:12] in (b"401", b"400"), (title, answer)
            assert SECRET_CONTENT not in answer


def test_a_token_counts_in_one_place_only(hostile: Stack, digest: str) -> None:
    good, bad = hostile.signer.token(PULL), Signer().token(PULL)
    path = f"/v2/{REPOSITORY}/blobs/{digest}"
    for head, answers in (
        (f"Authorization: Bearer {good}", (b"200",)),
        (f"Authorization: Bearer {bad}\r\nAuthorization: Bearer {good}", (b"400", b"401")),
        (f"Authorization: Bearer {bad}\r\nauthorization: Bearer {bad}", (b"400", b"401")),
        (f"Authorization: Basic {BASIC}", (b"401",)),
        (f"Authorization: Token {good}", (b"401",)),
        (f"Authorization:\r\n Bearer {good}", (b"400", b"401")),
        (f"Authorization_: Bearer {good}", (b"401",)),
        (f"Proxy-Authorization: Bearer {good}", (b"401",)),
        (f"Cookie: token={good}", (b"401",)),
    ):
        answer = quick(hostile, f"GET {path} HTTP/1.1\r\n{OK}{head}\r\n\r\n".encode())
        assert answer[9:12] in answers, (head, answer)
    for name in ("access_token", "token", "Authorization"):
        assert hostile.proxied("GET", f"{path}?{name}={good}").status == 401


# -- slow clients ----------------------------------------------------------------------------------


@dataclass
class Slow:
    """Connections that stay open because the client sends a byte now and then."""

    sockets: list[ssl.SSLSocket]

    def drip(self) -> int:
        """Sends a byte on each connection. Returns how many are still open."""
        return self._look(b"a")

    def rest(self) -> int:
        """Sends nothing. Returns how many connections are still open."""
        return self._look(b"")

    def _look(self, sent: bytes) -> int:
        still = []
        for tls in self.sockets:
            try:
                tls.setblocking(True)
                if sent:
                    tls.sendall(sent)
                tls.setblocking(False)
                with contextlib.suppress(ssl.SSLWantReadError):
                    if tls.recv(65536) == b"":
                        raise OSError("closed")
            except OSError:
                tls.close()
            else:
                still.append(tls)
        self.sockets = still
        return len(still)


def slow(stack: Stack, count: int, begun: str) -> Slow:
    sockets = []
    for _ in range(count):
        plain = socket.create_connection(("127.0.0.1", stack.port), 60)
        sockets.append(stack.trust.wrap_socket(plain, server_hostname=NAME))
    # Only after all handshakes: on busy cores the first request would otherwise end before the last
    # one began.
    for tls in sockets:
        tls.sendall(begun.encode())
    return Slow(sockets)


def log_in_and_pull(stack: Stack, digest: str) -> None:
    basic = {"Authorization": f"Basic {BASIC}"}
    path = f"/auth?service={NAME}&scope=repository:{REPOSITORY}:pull"
    login = stack.proxied("GET", path, headers=basic)
    assert login.status == 200
    token = json.loads(login.body)["token"]
    blob = stack.proxied("GET", f"/v2/{REPOSITORY}/blobs/{digest}", token=token)
    assert blob.body == SECRET_CONTENT


def test_slow_clients_keep_nobody_out_and_are_cut_off(hostile: Stack, digest: str) -> None:
    begun = time.monotonic()
    host = f"HTTP/1.1\r\nHost: {NAME}\r\n"
    upload = f"POST /v2/a/b/blobs/uploads/ {host}Content-Length: 9999999\r\n\r\n"
    held = {"headers": slow(hostile, 120, f"GET /v2/ {host}X: ")}
    assert held["headers"].drip() == 120
    held["login"] = slow(hostile, 40, f"POST /auth {host}Content-Length: 9999\r\n\r\n")
    assert held["login"].drip() == 40
    held["upload without a token"] = slow(hostile, 40, upload)
    for _ in range(5):
        log_in_and_pull(hostile, digest)
    # nginx ends a head after a time even if bytes keep coming, but a body only if nothing comes.
    ended: dict[str, float] = {}
    while len(ended) < len(held) and time.monotonic() - begun < 180:
        time.sleep(1)
        for name, group in held.items():
            if name not in ended and (group.rest() if name == "login" else group.drip()) == 0:
                ended[name] = time.monotonic() - begun
    assert ended.keys() == held.keys(), f"a slow client is never sent away: {ended}"


def test_two_thousand_half_sent_heads_keep_nobody_out(hostile: Stack, digest: str) -> None:
    """nginx limits no connection until its request's head is complete: there must be room."""
    command = [sys.executable, str(PROJECT / "tests/library/support" / "half_sent.py")]
    command += ["127.0.0.1", str(hostile.ports["plain"]), str(hostile.port), NAME, "2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        try:
            assert attacker.stdout is not None
            deadline = time.monotonic() + 60
            # If there is no room for all of them, some do not get in.
            while int(attacker.stdout.readline()) < 1900 and time.monotonic() < deadline:
                pass
            for _ in range(5):
                log_in_and_pull(hostile, digest)
            assert int(attacker.stdout.readline()) > 1000
        finally:
            attacker.kill()


def test_one_address_cannot_hold_every_connection_by_logins(hostile: Stack, digest: str) -> None:
    head = f"POST /auth HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 9999\r\n\r\n"
    held = slow(hostile, 100, head)
    deadline = time.monotonic() + 60
    while (
        b"429" not in (answer := quick(hostile, head.encode(), patience=2))
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert answer[9:12] == b"429"
    code, message = "TOOMANYREQUESTS", "too many requests at once from one address"
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]
    assert error == [{"code": code, "message": message}]
    # Everybody else gets in, and so does this address once it has closed its connections.
    other = socket.create_connection(
        ("127.0.0.1", hostile.port), 60, source_address=("127.0.0.2", 0)
    )
    with other, hostile.trust.wrap_socket(other, server_hostname=NAME) as tls:
        tls.sendall(f"GET /auth HTTP/1.1\r\n{OK}\r\n".encode())
        assert tls.recv(65536)[9:12] == b"200"
    for connection in held.sockets:
        connection.close()
    log_in_and_pull(hostile, digest)
