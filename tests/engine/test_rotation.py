"""Keys and certificates rotated on a real stack: tokens by real servers, TLS by a real nginx."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from wharfinger.host import rotation
from wharfinger.host.commands import run
from wharfinger.host.errors import HostError
from wharfinger.host.proof import ACCOUNT, MANIFEST_TYPE, REPOSITORY, TAG, basic

from .stack import HOSTNAME, KILLED, PORT, SERVICE, STACK, Stack, was_killed
from .test_stack import Load


@pytest.fixture(autouse=True)
def no_leeway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute of the registry's leeway is left out, and the tests' tokens live longer than the
    settings say: so a rotation ends while there are still tokens of the old key to try."""
    monkeypatch.setattr(rotation, "LEEWAY", 0)


def ask(stack: Stack, path: str, headers: dict[str, str], authority: Path | None = None) -> int:
    """The status of a GET through nginx, trusting that authority alone."""
    context = ssl.create_default_context(
        cafile=str(authority or stack.host.paths.certificates / "ca.crt")
    )
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    request = urllib.request.Request(f"https://{HOSTNAME}:{PORT}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token(stack: Stack) -> str:
    password = stack.host.paths.verification_password.read_text().strip()
    serving = stack.host.store.load().kind("token_server").serving
    assert serving is not None
    status, body = stack.host.probe(
        serving.address,
        serving.port,
        f"/auth?service={SERVICE.replace(' ', '%20')}&scope=repository:{REPOSITORY}:pull",
        10,
        {**basic(ACCOUNT, password), "X-Real-IP": "127.0.0.1"},
    )
    assert status == 200, body
    return str(json.loads(body)["token"])


def reads(stack: Stack, by: str) -> int:
    headers = {"Authorization": f"Bearer {by}", "Accept": MANIFEST_TYPE}
    return ask(stack, f"/v2/{REPOSITORY}/manifests/{TAG}", headers)


def restart(stack: Stack, *names: str) -> None:
    """`docker restart`, as anybody might, until they answer again."""
    for name in names:
        subprocess.run(["docker", "restart", name], check=True, capture_output=True)
    for path in ("/v2/", "/auth?service=x"):
        for _ in range(100):
            if ask(stack, path, {}) == 401:
                break
            stack.host.clock.sleep(0.1)


def to_the_end(stack: Stack, **request: Any) -> None:
    answer = run("rotate", request, host=stack.host)
    while answer["wait"] is not None:
        stack.host.clock.sleep(answer["wait"])
        answer = run("rotate", {"what": "due"}, host=stack.host)


def test_a_token_of_the_old_key_counts_until_the_key_is_forgotten_and_a_revoked_one_not_at_all(
    deployed: Stack,
) -> None:
    deployed.verify()
    with Load() as load:
        old = token(deployed)
        answer = run("rotate", {"what": "signing"}, host=deployed.host)
        assert answer["wait"] is not None
        new = token(deployed)
        assert (reads(deployed, old), reads(deployed, new)) == (200, 200)
        to_the_end(deployed, what="due")
        assert (reads(deployed, old), reads(deployed, new)) == (401, 200)
    assert load.failed == []
    answer = run("rotate", {"what": "signing", "revoke": True}, host=deployed.host)
    assert answer["wait"] is None
    assert (reads(deployed, new), reads(deployed, token(deployed))) == (401, 200)
    deployed.verify()
    assert len(deployed.containers()) == 2


def test_clients_of_either_authority_go_on_through_its_rotation(
    deployed: Stack, tmp_path: Path
) -> None:
    old = tmp_path / "old.crt"
    old.write_bytes((deployed.host.paths.certificates / "ca.crt").read_bytes())
    with Load() as load:
        run("rotate", {"what": "ca"}, host=deployed.host)
        assert ask(deployed, "/v2/", {}, old) == 401
        assert ask(deployed, "/v2/", {}) == 401
        run("rotate", {"what": "ca", "finish": True}, host=deployed.host)
        assert ask(deployed, "/v2/", {}) == 401
        with pytest.raises(urllib.error.URLError):
            ask(deployed, "/v2/", {}, old)
    assert load.failed == []


def test_going_back_brings_neither_a_removed_user_nor_a_revoked_key(deployed: Stack) -> None:
    deployed.verify()
    known = run("prepare", {}, host=deployed.host)["verification_hash"]
    password = deployed.host.paths.verification_password.read_text().strip()
    deployed.ensure(
        "token_server", configuration=deployed.users(f"  leaver: {{password: {known}}}\n")
    )
    login = basic("leaver", password)
    assert ask(deployed, "/auth?service=x", login) == 200
    old = token(deployed)
    deployed.ensure("registry", environment={"A": "1"})
    deployed.ensure("token_server", environment={"A": "1"})
    deployed.ensure("token_server", environment={"A": "1"}, configuration=deployed.users())
    run("rotate", {"what": "signing", "revoke": True}, host=deployed.host)
    for kind in ("token_server", "registry"):
        assert run("rollback", {"kind": kind}, host=deployed.host)["back"] == {kind: 1}
    for _ in range(2):
        assert ask(deployed, "/auth?service=x", login) == 401
        assert reads(deployed, old) == 401
        assert reads(deployed, token(deployed)) == 200
        restart(deployed, *deployed.containers())
        deployed.verify()


def test_during_a_failed_upgrade_a_restarted_old_container_refuses_what_was_revoked(
    deployed: Stack,
) -> None:
    deployed.verify()
    old = token(deployed)
    run("rotate", {"what": "signing", "revoke": True}, host=deployed.host)
    with Load() as load, pytest.raises(HostError, match="keeps serving"):
        deployed.ensure("registry", configuration="no yaml: [\n")
    assert load.failed == []
    (name,) = [one for one in deployed.containers() if "registry" in one]
    restart(deployed, name)
    deployed.verify()
    assert reads(deployed, old) == 401


def test_a_registry_that_refuses_real_tokens_never_serves(deployed: Stack) -> None:
    """It is healthy in every other way."""
    deployed.verify()
    other = {"auth": "token", "issuer": "h4 issuer", "service": "another service"}
    with pytest.raises(HostError) as caught:
        deployed.ensure("registry", proof=other, request={"wait": 2})
    assert (
        "registry: the new generation 2 was taken away again and generation 1 keeps serving: it "
        in (str(caught.value))
    )
    assert "a manifest read by someone who may is answered with 401 UNAUTHORIZED" in str(
        caught.value
    )
    deployed.verify()


ROTATED = (
    KILLED
    + """
from wharfinger.host import rotation
from wharfinger.host.commands import run

rotation.LEEWAY = 0
answer = run("rotate", {"what": sys.argv[3]}, host=host)
while answer["wait"] is not None:
    host.clock.sleep(answer["wait"])
    answer = run("rotate", {"what": "due"}, host=host)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "steps"), [("signing", (4, 7, 10)), ("ca", (1,))])
def test_sigkill_in_a_rotation_under_load_fails_no_request_and_the_timer_leads_it_to_its_end(
    deployed: Stack, what: str, steps: tuple[int, ...]
) -> None:
    kills = 0
    with Load() as load:
        for number in steps:
            kills += was_killed(ROTATED, deployed.folder, number, what)
            answer = run("renew", {}, host=deployed.host)
            while answer["wait"] is not None:
                deployed.host.clock.sleep(answer["wait"])
                answer = run("renew", {}, host=deployed.host)
            assert len(deployed.containers()) == 2
            left = {path.name for path in deployed.host.paths.certificates.iterdir()}
            assert not {one for one in left if "next" in one or one.startswith(".")}, left
            assert "signing_previous.crt" not in left
            if what == "ca":
                run("rotate", {"what": "ca", "finish": True}, host=deployed.host)
    assert kills == len(steps)
    assert load.failed == []
    deployed.verify()
    assert len([one for one in deployed.containers() if one.startswith(STACK)]) == 2
