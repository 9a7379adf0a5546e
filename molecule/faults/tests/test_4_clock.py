"""A clock that jumps by an hour. A container has the clock of its machine, which these tests share
with others, so no clock is set. Instead, tokens are signed with the real key as they would have
been before a jump, and the host program runs with another clock (libfaketime)."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from faults import Bench
from support import hosts
from support.registry import MANIFEST

SCOPE = "repository:load/watched:pull"
HOUR = 3600


def answered(bench: Bench, jump: float) -> int:
    """The registry's answer to a token that was made just before the clock jumped."""
    registry, account = hosts.registry("debian13"), hosts.account("admin")
    genuine = registry.token(account, SCOPE)
    key = bench.machine.file("/etc/wharfinger/certificates/signing.key").content_string
    claims: dict[str, Any] = jwt.decode(genuine, options={"verify_signature": False})
    shifted = {name: claims[name] - jump for name in ("iat", "nbf", "exp")}
    header = jwt.get_unverified_header(genuine)
    identity = {"kid": header["kid"]}
    token = jwt.encode(claims | shifted, key, algorithm=header["alg"], headers=identity)
    headers = {"Authorization": f"Bearer {token}", "Accept": MANIFEST}
    answer = registry.request("GET", "/v2/load/watched/manifests/kept", headers=headers)
    if answer.status == 401:
        # Every client recovers from this answer by itself: it asks for another token.
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    return answer.status


@pytest.mark.parametrize(
    ("jump", "status"),
    [(HOUR, 401), (-HOUR, 401), (0, 200), (100, 200), (130, 401), (-50, 200), (-80, 401)],
)
def test_a_token_from_before_a_jump(bench: Bench, jump: float, status: int) -> None:
    """A token lasts 60 seconds here, and the registry tolerates 60 more seconds at both ends."""
    assert answered(bench, jump) == status


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_the_host_program_by_another_clock(bench: Bench, jump: str) -> None:
    fault = f"the host program's clock jumps by {jump}"
    with bench.fault(fault, returns="never gone") as began:
        faketime = f"faketime --exclude-monotonic -f {jump}"
        seen = float(bench.run(f"{faketime} python3 -c 'import time; print(time.time())'"))
        assert abs(abs(seen - began) - HOUR) < 60
        state, files = bench.state(), bench.run("cat /etc/wharfinger/certificates/* | sha256sum")
        said = bench.run(f"{faketime} wharfinger-host renew --json")
        assert json.loads(said)["actions"] == []
        assert bench.state() == state
        assert bench.run("cat /etc/wharfinger/certificates/* | sha256sum") == files
    # Operations that began before, during another fault, do not count.
    assert [operation for operation in bench.load.failures(fault) if operation.start >= began] == []
