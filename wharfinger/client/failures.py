"""Makes errors of `wharf` from answers that are not a success, and from httpx's exceptions."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from .errors import ClientError, Denied, NoAnswer, NotFound, Unsupported
from .text import clean

TIMEOUT = httpx.Timeout(60, connect=15, pool=None)
# Requests with these methods change nothing, so they may be sent twice.
SAFE = ("GET", "HEAD")


def unexpected_answer(
    answer: httpx.Response, doing: str, *, registry: str, user: str
) -> ClientError:
    """The error for an answer that is not a success. `doing`: "REPO:TAG is read"."""
    status_code = answer.status_code
    sentence = f"{registry} answers {status(answer)} when {doing}{detail(answer)}"
    if status_code in (401, 403):
        return Denied(f"{user} may not do this: {sentence}")
    if status_code == 404:
        return NotFound(sentence)
    if status_code in (405, 501):
        return Unsupported(sentence)
    if status_code == 429:
        return ClientError(
            f"{sentence}; it was asked several times: wait, log in, or lower --max-requests"
        )
    if status_code == 503 and answer.request.method not in SAFE:
        return ClientError(
            f"{sentence}; it was asked several times: writes are closed for now, as they are while "
            "a registry is cleaned up; nothing was changed, try again later"
        )
    return ClientError(sentence)


def no_answer(error: Exception, url: str, *, registry: str) -> NoAnswer:
    """The error for an exception of httpx: what failed, where, and what to do."""
    place = host_of(url)
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswer(_certificate(cause, place, registry))
    for cause in causes:
        # The cause of a silent server's timeout is that TLS waits for more bytes.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLWantReadError):
            why = (cause.reason or str(cause)).replace("_", " ").lower()
            return NoAnswer(
                f"{place} does not speak TLS as it should ({why}): is the port right? A "
                "registry without TLS needs --plain-http"
            )
        if isinstance(cause, socket.gaierror):
            return NoAnswer(f"{place}: no such host is known; is the name right?")
        if isinstance(cause, ConnectionRefusedError):
            return NoAnswer(
                f"{place} refuses the connection: does the registry run, is the port right?"
            )
    return NoAnswer(_broken_off(error, place, registry))


def _broken_off(error: Exception, place: str, registry: str) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"{place} cannot be reached: no connection within {TIMEOUT.connect:.0f} s"
    if isinstance(error, httpx.TimeoutException):
        return f"{place} has not answered within {TIMEOUT.read:.0f} s"
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return f"{registry} leads to something that is not an address: {clean(str(error))}"
    why = clean(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return f"{place} cannot be reached: {why}"
    if isinstance(error, httpx.ProxyError):
        return f"{place} cannot be reached through the proxy that the environment names: {why}"
    return f"{place} has broken off its answer: {why}"


def _certificate(cause: ssl.SSLCertVerificationError, place: str, registry: str) -> str:
    why = clean(cause.verify_message or str(cause))
    if cause.verify_code == 62 or "doesn't match" in why or "mismatch" in why.lower():
        return f"{place} has a certificate for another name: {why}"
    if cause.verify_code in (9, 10):
        return f"{place} has a certificate that is out of date ({why}): renew it there"
    return (
        f"{place} has a certificate of an authority that this machine does not trust ({why}): "
        "name the authority's certificate with --cacert FILE, or put it at "
        f"/etc/docker/certs.d/{registry}/ca.crt"
    )


def detail(answer: httpx.Response) -> str:
    """The message in an error's body, to be put after a sentence: " (…)", or nothing."""
    try:
        document = json.loads(answer.content)
        errors = document.get("errors") or [document]
        texts = [_error_text(error) for error in errors if isinstance(error, dict)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        media_type = answer.headers.get("content-type", "")
        if "html" in media_type:
            texts = ["a page of HTML, so perhaps from a proxy"]
        else:
            texts = [answer.content[:1000].decode(errors="replace")]
    joined = clean("; ".join(text for text in texts if text))[:300]
    return f" ({joined})" if joined else ""


def _error_text(error: Mapping[str, Any]) -> str:
    message = error.get("message") or error.get("details") or error.get("error")
    return ": ".join(str(part) for part in (error.get("code"), message) if part)


def codes(answer: httpx.Response) -> set[str]:
    """The error codes in a body of the registry API's form."""
    try:
        errors = json.loads(answer.content)["errors"]
        return {str(error["code"]).upper() for error in errors}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def status(answer: httpx.Response) -> str:
    """An answer's status in words: `404 Not Found`."""
    return f"{answer.status_code} {clean(answer.reason_phrase)}".rstrip()


def host_of(url: str) -> str:
    """HOST[:PORT] of an address, without a name, a password or anything else in it."""
    return clean(urlsplit(url).netloc.rpartition("@")[2])


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all its causes."""
    causes: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is None or cause in causes:
            continue
        causes.append(cause)
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
    return causes
