"""The token server as an ASGI application (Starlette): addresses, headers, the log of decisions."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from . import log
from .issue import Issuer, Reply, refusal
from .keys import ENCODE
from .metrics import CONTENT_TYPE, Metrics
from .reload import Rejected

NO_STORE = {"cache-control": "no-store"}
# A client that sends this header, as nginx does, keeps the decision itself: the answer has it in a
# header of the same name, and this process does not log it.
DECISION = "wharfinger-decision"
# nginx has 16 kB for the head of an answer. Longer lines, with very long rules, lose their lists.
LONGEST_DECISION = 12_000


class Application:
    """From an HTTP request to an HTTP response; `asgi` is what an ASGI server runs."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.rejected: Rejected | None = None
        self.metrics = Metrics()
        # A gap in the numbers means that a decision was lost.
        self._process = secrets.token_hex(4)
        self._decisions = 0
        prefix = issuer.configuration.server.path_prefix
        self.asgi = Starlette(
            routes=[
                Route(f"{prefix}/auth", self._token, methods=["GET", "POST"]),
                Route(f"{prefix}/auth/token", self._token, methods=["GET", "POST"]),
                Route("/healthz", self._health),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={404: _not_found, 405: _method_not_allowed},
        )
        # No redirects: only the exact paths above exist.
        self.asgi.router.redirect_slashes = False

    async def _token(self, request: Request) -> Response:
        begun = time.perf_counter()
        header = self.issuer.configuration.server.real_ip_header
        try:
            reply = await self.issuer.answer(
                request.scope["query_string"],
                await request.body() if request.method == "POST" else None,
                request.headers.get("authorization"),
                request.headers.get(header) if header else None,
                request.client.host if request.client else None,
            )
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            log_failure(error)
            self.metrics.results["failed"] += 1
            return _response(
                refusal(500, "UNKNOWN", "the token server has failed", "server_error", {})
            )
        seconds = time.perf_counter() - begun
        self.metrics.answered(reply.log, seconds)
        decision = reply.log | {"ms": round(seconds * 1000, 1)}
        if DECISION not in request.headers:
            log.write(decision)
            return _response(reply)
        return _response(reply, {DECISION: self._kept_elsewhere(decision)})

    def _kept_elsewhere(self, decision: dict[str, Any]) -> str:
        """The decision as one line, with its number since this process began."""
        self._decisions += 1
        numbered = {"process": self._process, "number": self._decisions, **decision}
        line = log.line(numbered)
        if len(line) > LONGEST_DECISION:
            short = {key: value for key, value in numbered.items() if not isinstance(value, list)}
            line = log.line(short | {"cut": True})
        return line

    async def _health(self, _: Request) -> Response:
        rejected = self.rejected
        content = {
            "status": "ok",
            "configuration": self.issuer.configuration.digest,
            "rejected": {"configuration": rejected.configuration, "message": rejected.message}
            if rejected
            else None,
        }
        return Response(ENCODE(content), 200, NO_STORE, "application/json")

    async def _metrics(self, _: Request) -> Response:
        text = self.metrics.text(self.issuer, rejected=self.rejected is not None)
        return Response(text, headers={"content-type": CONTENT_TYPE})


def _response(reply: Reply, more: Mapping[str, str] | None = None) -> Response:
    headers = NO_STORE | reply.headers | dict(more or {})
    return Response(ENCODE(reply.body), reply.status, headers, "application/json")


async def _not_found(*_: object) -> Response:
    text = "there is nothing at this address"
    return _response(refusal(404, "UNSUPPORTED", text, "invalid_request", {}))


async def _method_not_allowed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
    text = f"this address accepts {allowed}"
    headers = {"allow": allowed}
    return _response(refusal(405, "UNSUPPORTED", text, "invalid_request", {}, headers))


def log_failure(error: BaseException | None) -> None:
    """Log where it happened, but not the exception's text, which may contain a password."""
    places = traceback.extract_tb(error.__traceback__) if error else None
    where = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    log.write({"event": "error", "error": type(error).__name__, "where": where})
