"""A registry that misbehaves on demand: a TLS server that passes requests on to a real one."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .registries import ADDRESS, Served, make_certificates

_PIECE = 64 << 10


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """Passes one request on, unless `behave` answers it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _serve(self) -> None:
        stands_before = self.server.stands_before
        stands_before.asked.append(Asked(self.command, self.path, dict(self.headers)))
        if not stands_before.behave(self):
            self.pass_on()

    do_GET = do_HEAD = _serve

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> bool:
        """Answers by itself."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        return True

    def pass_on(self, piece: Callable[[int], bool] = lambda sent: True) -> bool:
        """Passes the request on, and the answer back for as long as `piece` (bytes so far) says;
        then the connection is broken off."""
        behind = self.server.stands_before.behind
        assert behind is not None
        context = ssl.create_default_context(cafile=str(behind.ca))
        connection = http.client.HTTPSConnection(behind.address, behind.port, context=context)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request(self.command, self.path, headers=headers)
        answer = connection.getresponse()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        sent = 0
        while data := answer.read(_PIECE):
            if not piece(sent):
                self.close_connection = True
                break
            self.wfile.write(data)
            sent += len(data)
        connection.close()
        return True

    def log_message(self, *arguments: object) -> None:
        """Nothing: `asked` has the requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stands_before: Misbehaving, context: ssl.SSLContext) -> None:
        super().__init__((ADDRESS, 0), Handler)
        self.stands_before, self._context = stands_before, context

    def finish_request(self, request: object, client_address: object) -> None:
        # In the connection's own thread, so that a client that is silent holds up no other.
        assert not isinstance(request, tuple)
        # typeshed calls it a socket or a pair for UDP; a TCP server's is a socket.
        wrapped = self._context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        super().finish_request(wrapped, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients may hang up."""


@dataclass
class Misbehaving:
    """The server. behave: answers a request and returns True, or leaves it to be passed on."""

    ca: Path
    behind: Served | None
    name: str = ""
    asked: list[Asked] = field(default_factory=list)
    behave: Callable[[Handler], bool] = lambda handler: False

    def count(self, text: str = "/") -> int:
        """How many requests with this text in their path arrived."""
        return sum(text in asked.path for asked in self.asked)


@contextmanager
def misbehaving(folder: Path, behind: Served | None = None) -> Iterator[Misbehaving]:
    """A server until the end of the body; its authority is `ca`."""
    make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    upstream = Misbehaving(folder / "ca.crt", behind)
    server = _Server(upstream, context)
    upstream.name = f"{ADDRESS}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
