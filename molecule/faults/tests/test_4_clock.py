"""A clock that jumps by an hour. A container has the clock of its machine, which these tests share
with others, so nothing is set: tokens are made as they would have been made before a jump, with the
real key, and the host program is run by another clock (libfaketime)."""

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
    """What the registry answers to a token that was made just before the clock has jumped."""
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
        # From which every client goes on by itself: it asks for another token.
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    return answer.status


@pytest.mark.parametrize(
    ("jump", "status"),
    [(HOUR, 401), (-HOUR, 401), (0, 200), (100, 200), (130, 401), (-50, 200), (-80, 401)],
)
def test_a_token_from_before_a_jump(bench: Bench, jump: float, status: int) -> None:
    """A token lasts for 60 seconds here, and the registry forgives 60 seconds more at both ends."""
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
    # Not what has begun before, at another fault, and ended only now.
    assert [operation for operation in bench.load.failures(fault) if operation.start >= began] == []
