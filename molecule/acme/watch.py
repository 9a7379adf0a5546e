#!/usr/bin/env python3
"""Sends requests to a registry, each by a new connection, as new clients would:
`watch.py ADDRESS NAME FILE`. FILE.begun exists after the first request. When FILE.stop exists, the
program sends one more request, writes FILE and ends.

FILE is JSON, a list of {"issuer", "certificate" (SHA-256), "status", "count"}, with a new entry for
each change. An entry has `error` instead if there was no answer.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

LONGEST = 1800
# The least number of requests, however fast the change was.
LEAST = 20


class Connection(http.client.HTTPSConnection):
    """A connection to an address, with a name that is not resolved. Any certificate is accepted."""

    def __init__(self, address: str, name: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(address, timeout=20, context=context)
        self.name = name
        self.tls = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.name)


def ask(address: str, name: str) -> dict[str, Any]:
    """The answer to one request."""
    connection = Connection(address, name)
    try:
        connection.request("GET", "/v2/", headers={"Host": name})
        certificate = connection.sock.getpeercert(binary_form=True)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        return {"error": str(problem) or type(problem).__name__}
    finally:
        connection.close()
    issuer = x509.load_der_x509_certificate(certificate).issuer
    [common] = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "issuer": common.value,
        "certificate": hashlib.sha256(certificate).hexdigest(),
        "status": status,
    }


def main(address: str, name: str, file: str) -> None:
    """Sends requests until FILE.stop exists, for at most half an hour."""
    stop, begun = Path(f"{file}.stop"), Path(f"{file}.begun")
    deadline = time.monotonic() + LONGEST
    stop.unlink(missing_ok=True)
    met: list[dict[str, Any]] = []
    for number in itertools.count(1):
        # Checked before the request, so that the last request comes after the whole change.
        last = (stop.exists() and number >= LEAST) or time.monotonic() > deadline
        answer = ask(address, name)
        if met and answer.items() <= met[-1].items():
            met[-1]["count"] += 1
        else:
            met.append({**answer, "count": 1})
        begun.touch()
        if last:
            break
        time.sleep(0.05)
    partial = Path(f"{file}.new")
    partial.write_text(json.dumps(met, indent=1))
    partial.rename(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
