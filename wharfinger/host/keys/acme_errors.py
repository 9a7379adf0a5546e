"""certbot's errors as one sentence that says what to do (pure).

The same failure always gives the same words, so that an alarm can tell it from a new one.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

_LONGEST = 300
_SHOW_ACCOUNT = (
    "look at certificates_acme_eab_kid, certificates_acme_eab_hmac_key and certificates_acme_email"
)
_SHOW_WAY = (
    "look at certificates_acme_directory and at this host's way there (name resolution, firewall, "
    "proxy)"
)
_SHOW_LOG = "look at certbot's log"

# Why an authority could not check a name (RFC 8555, 6.7) → what to do.
_CHALLENGES = {
    "dns": "give this name a DNS entry that leads to this host, also where the ACME server looks",
    "connection": "see that port 80 of this name leads to this host and is open to the ACME server "
    "(firewall, port forwarding)",
    "unauthorized": "something else answers at port 80 of this name: let its DNS entries (A and "
    "AAAA) lead to this host, or forward port 80 to it",
    "caa": "let the DNS CAA record of this name allow this authority",
}

# Part of an ACME error's type → what it means, what to do.
_PROBLEMS = {
    "rateLimited": ("its limit is reached", "wait: the timer tries again when it may"),
    "rejectedIdentifier": (
        "it refuses a name",
        "take it out of registry_hostname or registry_extra_hostnames, or ask another authority",
    ),
    "invalidContact": ("it refuses the e-mail address", "look at certificates_acme_email"),
    "unsupportedContact": ("it refuses the e-mail address", "look at certificates_acme_email"),
    "externalAccountRequired": ("it wants to know whose account this is", _SHOW_ACCOUNT),
    "serverInternal": ("it has a fault of its own", "wait: the timer tries again"),
}

# Pattern of certbot's last line → what it means (\1 is a group of it), what to do.
_LINES = (
    (
        r"CERTIFICATE_VERIFY_FAILED.*(?:mismatch|not valid for)|CertificateError.*doesn't match",
        "its own certificate is for another name",
        "write the server's right name in certificates_acme_directory",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?) \(_ssl",
        r"its own certificate is refused (\1)",
        "set certificates_acme_ca to the file (PEM) of the authority that vouches for it",
    ),
    (
        r"NO_CERTIFICATE_OR_CRL_FOUND|invalid path",
        "certificates_acme_ca holds no certificate",
        "set it to the file (PEM) of the authority that vouches for the ACME server",
    ),
    (
        r"(Name or service not known|No address associated with hostname"
        r"|Temporary failure in name resolution)",
        r"its name does not resolve here (\1)",
        _SHOW_WAY,
    ),
    (
        r"(Connection refused|[Tt]imed out|No route to host|Network is unreachable"
        r"|Connection reset by peer|Cannot connect to proxy)",
        r"it cannot be reached (\1)",
        _SHOW_WAY,
    ),
    (
        r"ClientError: (?:<Response \[)?(\d+|.*Content-Type: [\w/+.-]+)|JSONDecodeError",
        "what answers at {directory} is not an ACME server",
        "write the address of its directory in certificates_acme_directory",
    ),
    (
        r"requires external account binding",
        "it wants to know whose account this is (external account binding)",
        "set certificates_acme_eab_kid and certificates_acme_eab_hmac_key to what its operator "
        "gave you",
    ),
    (
        r"Unable to register an account with ACME server\. "
        r"(?:Error returned by the ACME server: )?(.*)",
        r"it refuses to register an account (\1)",
        _SHOW_ACCOUNT,
    ),
    (
        r"binascii\.Error|Incorrect padding",
        "certificates_acme_eab_hmac_key is not base64url",
        "write the key just as its operator gave it to you",
    ),
    (r"acme\.errors\.TimeoutError", "it has not answered in time", "wait: the timer tries again"),
)


def explain(output: str, error: str, log: str, directory: str, secrets: Iterable[str] = ()) -> str:
    """`no certificate from SERVER: what it could not do (its words): what to do`.

    `log` is certbot's: the output of Debian 12's certbot lacks the server's words.
    """
    failed = _challenges(output)
    if failed:
        text = "; ".join(
            f"it could not check {name} ({_calm(detail)}): {_challenge_advice(kind, detail)}"
            for name, kind, detail in failed
        )
    elif "Unable to register" in error:
        text = _line(error, directory)
    else:
        text = _problem(log) or _line(error, directory)
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return f"no certificate from {urlsplit(directory).hostname}: {text}"


def no_answer(words: str, directory: str) -> str:
    """`no certificate can come from SERVER: why: what to do`. words: Python's error when it read
    the server's directory."""
    met = _known(words, directory) or f"it cannot be read ({_calm(words)}): {_SHOW_WAY}"
    return f"no certificate can come from {urlsplit(directory).hostname}: {met}"


def account_is_gone(log: str) -> bool:
    """Whether the authority no longer knows the account."""
    return _kind(log)[0] == "accountDoesNotExist"


def not_before(text: str) -> float:
    """When a rate limit ends, as Let's Encrypt writes it (seconds since 1970), else 0."""
    retry = re.search(r"retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", text)
    if retry is None:
        return 0
    moment = time.strptime(retry.group(1).replace("T", " "), "%Y-%m-%d %H:%M:%S")
    return calendar.timegm(moment)


def _challenges(output: str) -> list[tuple[str, str, str]]:
    """Name, kind and the authority's words, for each name that it could not check."""
    return re.findall(
        r"^ *Domain: *(\S+)\n *Type: *(\S+)\n *Detail: *(.+)$", output, flags=re.MULTILINE
    )


def _challenge_advice(kind: str, detail: str) -> str:
    resolves = not re.search(r"could not resolve|NXDOMAIN|no such host|No valid IP", detail)
    return _CHALLENGES.get(kind if resolves else "dns", _SHOW_LOG)


def _kind(log: str) -> tuple[str, str]:
    """Type and words of the ACME error that ended certbot."""
    details = re.findall(
        r"^acme\.messages\.Error: urn:ietf:params:acme:error:(\w+) :: (.+)$", log, re.MULTILINE
    )
    return (details[-1][0], details[-1][1].rpartition(" :: ")[2]) if details else ("", "")


def _problem(log: str) -> str | None:
    kind, words = _kind(log)
    if not kind:
        return None
    meaning, advice = _PROBLEMS.get(kind, (f"it answers {kind}", _SHOW_LOG))
    return f"{meaning} ({_calm(words)}): {advice}"


def _line(error: str, directory: str) -> str:
    noise = ("Saving debug log", "Ask for help", "An unexpected error occurred")
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if not line.startswith(noise)), "it said nothing")
    return _known(said, directory) or f"certbot failed ({_calm(said)}): {_SHOW_LOG}"


def _known(said: str, directory: str) -> str | None:
    for pattern, meaning, advice in _LINES:
        match = re.search(pattern, said)
        if match:
            seen = match.expand(meaning) if r"\1" in meaning else meaning
            return f"{_calm(seen.replace('{directory}', directory))}: {advice}"
    return None


def _calm(words: str) -> str:
    """The words without parts that differ each time, and not too long."""
    words = re.sub(r"(acme-challenge/)[\w-]+", r"\1…", words)
    words = re.sub(r'^Get "[^"]*": ', "", words)
    words = re.sub(r" object at 0x[0-9a-f]+", "", words).strip().rstrip(".")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
