"""Rotations: what is promised of each, killed around any of its steps.

The host is made of memory (world.py) but for openssl, which is real. The token server signs with
what lies in its live directory; a registry trusts what lay in its own when it started. At each step
a token is given out, and every token that has not expired must count.
"""

from __future__ import annotations

import copy
import errno
import functools
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.remembering import RememberingRunner
from tests.unit.host.world import SUBNET, FakeEngine, Killed, Machine, host_of, spec
from wharfinger.host.commands import run
from wharfinger.host.keys import authority_files, expiry, publication, rotation
from wharfinger.host.keys.certificates import facts
from wharfinger.host.keys.pki import Pki
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.files import write_atomically
from wharfinger.host.system.lock import locked

LIFETIME = 300.0
HOSTNAME = "r.example.com"
SETTINGS: Mapping[str, Any] = {
    "hostname": HOSTNAME,
    "names": [HOSTNAME, "10.0.0.1"],
    "token_lifetime": LIFETIME,
}


@dataclass
class Promises(Machine):
    """The machine; it also checks tokens, and what clients of both authorities get."""

    # openssl uses the real clock
    seconds: float = field(default_factory=time.time)
    folder: Path = Path()
    trusted: dict[str, bytes] = field(default_factory=dict)
    tokens: list[tuple[float, bytes]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check_promise(self, what: str) -> None:
        super().check_promise(what)
        live = self.folder / "etc/token_server/signing.pem"
        if not self.served_once or not live.exists():
            return
        signer = live.read_bytes().split(b"-----BEGIN PRIVATE KEY")[0]
        self.tokens.append((self.seconds + LIFETIME, signer))
        addresses = self.serving_addresses()
        (registry,) = [
            container
            for container in self.containers.values()
            if container.labels["wharfinger.kind"] == "registry" and container.address in addresses
        ]
        for until, certificate in self.tokens:
            # The registry's own leeway is not used up.
            if until > self.seconds and certificate not in self.trusted[registry.name]:
                self.broken.append(f"{what}: a token is refused {until - self.seconds:g} s early")
                break
        served = self.folder / "etc/certificates/tls.pem"
        if served.exists() and not fits(served.read_bytes()):
            self.broken.append(f"{what}: nginx's certificate and key do not fit")


@functools.cache
def fits(pem: bytes) -> bool:
    key = load_pem_private_key(pem, None)
    return x509.load_pem_x509_certificate(pem).public_key() == key.public_key()


class Engine(FakeEngine):
    """A registry only reads the certificates that it trusts at its start."""

    def start(self, name: str) -> None:
        assert isinstance(self.machine, Promises)
        bundle = self.machine.folder / "etc/registry/token_signing.pem"
        if bundle.exists():
            self.machine.trusted[name] = bundle.read_bytes()
        super().start(name)


def openssl(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


World = Callable[..., tuple[Host, Promises]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A deployed host in a folder of its own; each write of a key file is a step."""
    machines: list[Promises] = []

    def written(path: Path, data: bytes, *more: Any, **others: Any) -> None:
        with machines[-1].step(f"writing {path.name}"):
            write_atomically(path, data, *more, **others)

    for module in (authority_files, publication, rotation):
        monkeypatch.setattr(module, "write_atomically", written)

    def make(
        name: str = "host", machine: Promises | None = None, copied: Host | None = None
    ) -> tuple[Host, Promises]:
        """`machine` of an earlier call is used again; a `copied` host is deployed already."""
        folder = tmp_path / name
        fresh = machine is None and copied is None
        if copied is not None:
            assert isinstance(copied.engine, Engine)
            assert isinstance(copied.engine.machine, Promises)
            shutil.copytree(copied.paths.etc.parent, folder)
            machine = copy.deepcopy(copied.engine.machine)
        folder.mkdir(exist_ok=True)
        machine = machine or Promises()
        machine.folder = folder
        machine.images["sha256:good"] = {"Id": "sha256:good", "RepoTags": []}
        machines.append(machine)
        host = host_of(folder, machine)
        host.engine = Engine(machine)
        host.runner = RememberingRunner()
        host.served = lambda *_: fingerprint(host.paths.served)
        if fresh:
            run("prepare", {}, host=host)
            run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
            deploy(host)
        return host, machine

    yield make


def fingerprint(path: Path) -> str | None:
    said = openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256")[1]
    return said.partition("=")[2].strip().replace(":", "").lower() or None


def deploy(host: Host, **more: Any) -> dict[str, Any]:
    answer = run("certificates", {"settings": {**SETTINGS, **more}}, host=host)
    folder = host.paths.etc.parent
    for kind in ("token_server", "registry"):
        specification = spec(folder, kind=kind, live=["signing"])
        run("ensure", {"spec": specification}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    return answer


def to_the_end(host: Host, machine: Promises, **request: Any) -> list[str]:
    """Runs a whole rotation, including its wait; returns what was done."""
    answer = run("rotate", request, host=host)
    actions = list(answer["actions"])
    while answer["wait"] is not None:
        machine.seconds += answer["wait"]
        answer = run("rotate", {"what": "due"}, host=host)
        actions += answer["actions"]
    return actions


def certificate(host: Host, name: str) -> bytes:
    path = host.paths.certificates / name
    return path.read_bytes() if path.exists() else b""


def leads(host: Host, authority_file: str) -> bool:
    """Whether a client that only trusts this file accepts what nginx serves."""
    served = host.paths.served
    trusted = host.paths.certificates / authority_file
    code, _, _ = openssl(
        *("verify", "-x509_strict", "-verify_hostname", HOSTNAME),
        *("-CAfile", trusted, "-untrusted", served, served),
    )
    return code == 0


# -- the signing key -------------------------------------------------------------------------------


def test_a_rotation_of_the_signing_key_goes_in_this_order(world: World) -> None:
    host, machine = world()
    old = certificate(host, "signing.crt")
    machine.tokens.clear()
    first = run("rotate", {"what": "signing"}, host=host)
    said = [action for action in first["actions"] if "signing key" in action or "signs" in action]
    assert said == [
        "the signing key is being replaced",
        "the registry trusts the next signing key too",
        "the token server signs with the new key",
    ]
    assert first["wait"] == LIFETIME + rotation.LEEWAY + 1 or first["wait"] == 360
    assert certificate(host, "signing_previous.crt") == old
    assert len(first["next"]) == 1
    assert first["next"][0].startswith(
        "the tokens of the previous signing key are running out (until"
    )
    assert run("rotate", {"what": "due"}, host=host)["actions"] == []
    machine.seconds += first["wait"]
    last = run("rotate", {"what": "due"}, host=host)
    assert "the registry trusts the new signing key only" in last["actions"]
    assert (last["wait"], last["next"]) == (None, [])
    assert certificate(host, "signing_previous.crt") == b""
    assert certificate(host, "signing.crt") not in (b"", old)
    serving = [name for name in machine.containers if "registry" in name]
    assert [machine.trusted[name] for name in serving] == [certificate(host, "signing.crt")]
    assert machine.broken == machine.interruptions == []
    assert deploy(host)["actions"] == []


def asking(command: str, request: dict[str, Any]) -> Callable[[Host, Promises], None]:
    """Runs a command with this request."""

    def act(host: Host, machine: Promises) -> None:
        run(command, request, host=host)

    return act


def killed_at_each_step(
    world: World,
    original: Host,
    act: Callable[[Host, Promises], None],
    *,
    every: int = 1,
    after: bool = False,
) -> Iterator[tuple[int, Host, Promises]]:
    """Does the same on copies of a host, killed at one step after the other (each `every`th; before
    it, or `after` it), until it comes to its end. The step, the host as the next process finds it,
    and its machine."""
    for number in itertools.count(every, every):
        host, machine = world(f"{number}", copied=original)
        machine.after = after
        machine.steps, machine.kill_at = 0, number
        try:
            act(host, machine)
        except Killed:
            machine.kill_at = 0
            again, _ = world(f"{number}", machine)
            yield number, again, machine
        else:
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "request_",
    [{"what": "signing"}, {"what": "tls"}, {"what": "ca"}, {"what": "ca", "finish": True}],
    ids=["signing", "tls", "ca", "finish"],
)
def test_killed_around_any_step_a_rotation_is_led_to_its_end_and_nobody_notices(
    world: World, request_: dict[str, Any], after: bool
) -> None:
    kills = 0
    original, _ = world("original")
    if "finish" in request_:
        run("rotate", {"what": "ca"}, host=original)

    def rotates(host: Host, machine: Promises) -> None:
        to_the_end(host, machine, **request_)

    for number, again, machine in killed_at_each_step(world, original, rotates, after=after):
        kills += 1
        before = certificate(again, "ca_previous.crt")
        # The next run: the timer's, or the operator's.
        answer = run("renew", {}, host=again)
        while answer["wait"] is not None:
            machine.seconds += answer["wait"]
            answer = run("renew", {}, host=again)
        assert machine.broken == [], f"killed at step {number}"
        assert machine.interruptions == [], f"killed at step {number}"
        left = {path.name for path in again.paths.certificates.iterdir()}
        assert not {file for file in left if "next" in file or file.startswith(".")}, (number, left)
        assert "signing_previous.crt" not in left, f"killed at step {number}"
        for name in ("ca.crt", *(["ca_previous.crt"] if before else [])):
            assert leads(again, name), f"killed at step {number}: a client of {name}"
        assert len(machine.containers) == 2, f"killed at step {number}"
        if number % 8 == 0:
            deploy(again)
            assert deploy(again)["actions"] == [], f"killed at step {number}"
    assert kills >= 3


def kind_of_key(host: Host, name: str = "signing.crt") -> str:
    certificate = facts(host.runner, host.paths.certificates / name)
    assert certificate is not None
    return certificate.algorithm


def as_the_release_before(host: Host) -> None:
    """An RSA key, and containers that only know RSA."""
    pki = Pki(host.runner, host.paths.certificates)
    key = pki.signing_key("RS256")
    (host.paths.certificates / "signing.key").write_bytes(key)
    (host.paths.certificates / "signing.crt").write_bytes(pki.signing(key, HOSTNAME, 365))
    run("certificates", {"settings": {**SETTINGS}}, host=host)
    for kind in ("token_server", "registry"):
        before = serving(host, kind, algorithms=None, environment={"RELEASE": "before"})
        run("ensure", {"spec": before, "deployment": "the release before"}, host=host)
    assert isinstance(host.engine, Engine)
    assert isinstance(host.engine.machine, Promises)
    # There is no promise about this.
    host.engine.machine.tokens.clear()
    host.engine.machine.broken.clear()


def serving(host: Host, kind: str, **more: Any) -> Any:
    return spec(host.paths.etc.parent, kind=kind, live=["signing"], **more)


def test_a_new_host_begins_with_es256_and_an_upgraded_one_keeps_its_rsa_key_until_it_is_rotated(
    world: World,
) -> None:
    host, machine = world()
    assert kind_of_key(host) == "ES256"
    as_the_release_before(host)
    key = certificate(host, "signing.crt")
    deploy(host)
    assert certificate(host, "signing.crt") == key
    assert kind_of_key(host) == "RS256"
    to_the_end(host, machine, what="signing")
    assert kind_of_key(host) == "ES256"
    assert machine.broken == machine.interruptions == []


@pytest.mark.parametrize("request_", [{"what": "signing"}, {"what": "signing", "revoke": True}])
def test_an_upgrade_is_gone_back_from_until_the_key_is_es256_and_not_afterwards(
    world: World, request_: dict[str, Any]
) -> None:
    host, machine = world()
    as_the_release_before(host)
    deploy(host)
    for _ in range(2):  # there and back again
        run("rollback", {"kind": "registry"}, host=host)
        run("rollback", {"kind": "token_server"}, host=host)
    assert machine.broken == []
    to_the_end(host, machine, **request_)
    assert kind_of_key(host) == "ES256"
    before, steps = host.paths.state.read_bytes(), machine.steps
    for check in (True, False):
        for kind, does in (("registry", "trusts tokens of"), ("token_server", "signs with")):
            with pytest.raises(HostError) as caught:
                run("rollback", {"kind": kind}, host=host, check=check)
            number = host.store.load().kind(kind).previous
            assert number is not None
            assert str(caught.value) == (
                f"{kind}: generation {number.number} cannot serve again: it {does} RS256 only, and "
                "the key of signing.crt is ES256. To have its settings again, write them into the "
                "inventory and run site.yml instead"
            )
    assert (host.paths.state.read_bytes(), machine.steps) == (before, steps)
    assert machine.interruptions == []
    assert machine.broken == [] or "revoke" in request_


@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_the_next_key_is_rsa_if_a_serving_generation_knows_only_rsa(
    world: World, kind: str
) -> None:
    host, machine = world()
    as_the_release_before(host)
    deploy(host)
    run("rollback", {"kind": kind}, host=host)
    to_the_end(host, machine, what="signing")
    assert kind_of_key(host) == "RS256"
    # After the way back, this no longer holds.
    run("rollback", {"kind": kind}, host=host)
    to_the_end(host, machine, what="signing")
    assert kind_of_key(host) == "ES256"


def test_before_docker_auth_serves_the_same_run_rotates_to_rsa_and_afterwards_back(
    world: World,
) -> None:
    host, machine = world()
    machine.tokens.clear()
    settings = {**SETTINGS, "token_server": "cesanta"}
    said = run("certificates", {"settings": settings}, host=host, check=True)["actions"]
    text = (
        "the signing key is ES256, with which docker_auth cannot sign: it is rotated to RSA first"
    )
    assert text in said
    answer = run("certificates", {"settings": settings}, host=host)
    assert text in answer["actions"]
    assert (kind_of_key(host), kind_of_key(host, "signing_previous.crt")) == ("RS256", "ES256")
    docker_auth = serving(host, "token_server", algorithms=["RS256"])
    run("ensure", {"spec": docker_auth}, host=host)
    assert run("certificates", {"settings": settings}, host=host)["actions"] == []
    machine.seconds += answer["wait"]
    run("renew", {}, host=host)
    assert host.store.load().rotation is None
    # Its own rotations stay with RSA.
    to_the_end(host, machine, what="signing")
    assert kind_of_key(host) == "RS256"
    # Back to the embedded one, which keeps that until the next.
    deploy(host)
    assert kind_of_key(host) == "RS256"
    to_the_end(host, machine, what="signing")
    assert kind_of_key(host) == "ES256"
    assert machine.broken == machine.interruptions == []


def test_docker_auth_is_not_started_with_a_key_that_it_cannot_sign_with(world: World) -> None:
    host, machine = world()
    before = set(machine.containers)
    with pytest.raises(HostError) as caught:
        run("ensure", {"spec": serving(host, "token_server", algorithms=["RS256"])}, host=host)
    assert str(caught.value) == (
        "token_server: it signs with RS256 only, and the key of signing.crt is ES256: run the "
        "whole site.yml, which rotates the key first; if a rotation is under way, run "
        "playbooks/rotate_certificates.yml before that"
    )
    assert set(machine.containers) == before


def test_a_rotation_to_rsa_that_was_killed_anywhere_is_led_to_its_end(world: World) -> None:
    original, _ = world("original")
    settings = {**SETTINGS, "token_server": "cesanta"}
    number = 0
    rotates = asking("certificates", {"settings": settings})
    for number, again, machine in killed_at_each_step(world, original, rotates, every=3):
        run("certificates", {"settings": settings}, host=again)
        run("ensure", {"spec": serving(again, "token_server", algorithms=["RS256"])}, host=again)
        assert kind_of_key(again) == "RS256", f"killed at step {number}"
        assert machine.broken == machine.interruptions == [], f"killed at step {number}"
    assert number > 20


def test_a_rotation_that_was_asked_for_twice_is_one(world: World) -> None:
    host, machine = world()
    run("rotate", {"what": "signing"}, host=host)
    present = certificate(host, "signing.crt")
    to_the_end(host, machine, what="signing")
    assert certificate(host, "signing.crt") == present


def test_revoking_refuses_the_old_keys_tokens_at_once_and_says_so(world: World) -> None:
    host, machine = world()
    old = certificate(host, "signing.crt")
    answer = run("rotate", {"what": "signing", "revoke": True}, host=host)
    assert answer["wait"] is None
    assert (
        "the old signing key is revoked: its tokens are refused, and requests that were under way "
        "with them were cut off"
    ) in answer["actions"]
    for name in machine.containers:
        assert old not in machine.trusted[name]
    assert old not in (host.paths.registry / "token_signing.pem").read_bytes()


def test_revoking_in_the_middle_of_a_rotation_drops_the_key_before_too(world: World) -> None:
    host, _ = world()
    run("rotate", {"what": "signing"}, host=host)
    before = certificate(host, "signing_previous.crt")
    run("rotate", {"what": "signing", "revoke": True}, host=host)
    assert host.store.load().rotation is None
    assert before not in (host.paths.registry / "token_signing.pem").read_bytes()
    assert certificate(host, "signing_previous.crt") == b""


def test_a_revoked_key_stays_revoked_though_no_new_registry_becomes_healthy(world: World) -> None:
    host, machine = world()
    old = certificate(host, "signing.crt")
    machine.behaviour["sha256:good"] = "sick"
    with pytest.raises(HostError) as caught:
        run("rotate", {"what": "signing", "revoke": True}, host=host)
    assert "the old signing key is revoked, for which wharfinger-registry-1 was started again" in (
        str(caught.value)
    )
    assert old not in machine.trusted["wharfinger-registry-1"]


def test_killed_around_any_step_a_revocation_is_led_to_its_end(world: World) -> None:
    original, _ = world("original")
    old = certificate(original, "signing.crt")
    number = 0
    revokes = asking("rotate", {"what": "signing", "revoke": True})
    for number, again, machine in killed_at_each_step(world, original, revokes):
        if again.store.load().rotation is None:
            continue  # killed before anything was recorded, or after all was done
        answer = run("renew", {}, host=again)
        assert answer["wait"] is None, f"killed at step {number}: nothing is waited for"
        assert len(machine.containers) == 2, f"killed at step {number}"
        for name in machine.containers:
            assert old not in machine.trusted[name], f"killed at step {number}"
        left = {path.name for path in again.paths.certificates.iterdir()}
        assert not {file for file in left if "next" in file or "previous" in file}, (number, left)
    assert number > 20


def test_a_rotation_waits_for_the_lifetime_that_the_token_server_really_gives(
    world: World,
) -> None:
    host, _ = world()
    (host.paths.token_server / "auth_config.yml").write_text("token:\n  expiration: 1800\n")
    assert run("rotate", {"what": "signing"}, host=host)["wait"] > 1800


def test_a_longer_lifetime_of_tokens_before_is_waited_for(world: World) -> None:
    host, _ = world()
    deploy(host, token_lifetime=3600.0)
    deploy(host, token_lifetime=60.0)
    answer = run("rotate", {"what": "signing"}, host=host)
    assert answer["wait"] > 3600


def test_a_lost_signing_key_is_followed_by_another_and_its_tokens_still_count(world: World) -> None:
    host, machine = world()
    (host.paths.certificates / "signing.key").unlink()
    answer = deploy(host)
    assert "the signing key is lost and is being replaced" in answer["actions"]
    assert answer["wait"] is not None
    machine.seconds += answer["wait"]
    run("renew", {}, host=host)
    assert host.store.load().rotation is None
    assert machine.broken == []


def test_a_key_before_that_no_record_knows_is_forgotten_once_its_tokens_have_expired(
    world: World,
) -> None:
    host, machine = world()
    run("rotate", {"what": "signing"}, host=host)
    state = host.store.load()
    state.rotation = None
    host.store.save(state)
    answer = run("renew", {}, host=host)
    assert answer["actions"] == [
        "a previous signing key was found: it is trusted until its tokens expire"
    ]
    machine.seconds += answer["wait"]
    run("renew", {}, host=host)
    assert certificate(host, "signing_previous.crt") == b""
    assert machine.broken == []


def test_a_registry_with_htpasswd_keeps_no_key_of_a_rotation(world: World) -> None:
    host, _ = world()
    run("rotate", {"what": "signing"}, host=host)
    run("certificates", {"settings": {**SETTINGS, "auth": "htpasswd"}}, host=host)
    assert host.store.load().rotation is None
    assert certificate(host, "signing_previous.crt") == b""


def test_keys_reach_their_readers_and_only_them(world: World, tmp_path: Path) -> None:
    host, _ = world()
    live = host.paths.token_server / "signing.pem"
    assert live.read_bytes() == certificate(host, "signing.crt") + certificate(host, "signing.key")
    assert live.stat().st_mode & 0o777 == 0o640
    bundle = host.paths.registry / "token_signing.pem"
    assert bundle.read_bytes() == certificate(host, "signing.crt")
    trust, state = tmp_path / "certs.d", host.store.load()
    publication.for_clients(host, state, "own_ca", ["r.example:5000"], trust=trust)
    assert (trust / "r.example:5000" / "ca.crt").read_bytes() == certificate(host, "ca.crt")
    assert publication.for_clients(host, state, "own_ca", ["r.example:5000"], trust=trust) == []
    assert host.store.load().installed["files"] == [str(trust / "r.example:5000" / "ca.crt")]


def test_what_went_back_after_a_rotation_trusts_what_is_trusted_now(world: World) -> None:
    host, machine = world()
    old = certificate(host, "signing.crt")
    folder = host.paths.etc.parent
    changed = spec(folder, environment={"A": "1"}, live=["signing"])
    run("ensure", {"spec": changed}, host=host)
    to_the_end(host, machine, what="signing")
    back = run("rollback", {"kind": "registry"}, host=host)
    assert back["back"] == {"registry": 1}
    (name,) = [container for container in machine.containers if "registry" in container]
    assert machine.definitions[name]["Env"] == []
    assert machine.trusted[name] == certificate(host, "signing.crt") != old
    assert machine.broken == []


# -- the server's certificate and the authority ----------------------------------------------------


def test_the_authority_may_vouch_for_the_registrys_names_only(world: World) -> None:
    host, _ = world()
    text = openssl("x509", "-in", host.paths.certificates / "ca.crt", "-noout", "-text")[1]
    assert "X509v3 Name Constraints: critical" in text
    assert f"DNS:{HOSTNAME}" in text
    assert "IP:10.0.0.1/255.255.255.255" in text
    assert (host.paths.certificates / "ca.key").stat().st_mode & 0o777 == 0o600
    assert host.paths.served.stat().st_mode & 0o777 == 0o600


def test_after_a_rotation_of_the_authority_clients_of_either_go_on_until_it_is_finished(
    world: World, tmp_path: Path
) -> None:
    host, _ = world()
    old = tmp_path / "old.crt"
    old.write_bytes(certificate(host, "ca.crt"))
    key = certificate(host, "ca.key")
    answer = run("rotate", {"what": "ca"}, host=host)
    assert "a new authority replaces the present one, because it was asked for" in answer["actions"]
    assert answer["ca"].encode() == certificate(host, "ca.crt") != old.read_bytes()
    assert certificate(host, "ca.key") not in (b"", key)
    assert leads(host, "ca.crt")
    assert leads(host, "ca_previous.crt")
    assert len(answer["next"]) == 1
    assert "run playbooks/rotate_certificates.yml -e rotate=ca -e finish=true" in answer["next"][0]
    with pytest.raises(HostError, match=r"the authority was already replaced on "):
        run("rotate", {"what": "ca"}, host=host)
    assert run("renew", {}, host=host)["actions"] == []
    done = run("rotate", {"what": "ca", "finish": True}, host=host)
    assert "the previous authority is removed: no client needs it any more" in done["actions"]
    assert done["next"] == []
    assert leads(host, "ca.crt")
    assert certificate(host, "ca_previous.crt") == certificate(host, "ca_cross.crt") == b""
    assert host.paths.served.read_bytes().count(b"-----BEGIN CERTIFICATE") == 1


def test_another_name_joins_the_certificate_when_no_client_is_left_that_would_refuse_it(
    world: World,
) -> None:
    host, _ = world()
    names = [HOSTNAME, "10.0.0.1", "mirror.example.com"]
    answer = deploy(host, names=names)
    assert answer["notes"] == [
        "mirror.example.com: not in the server's certificate yet, because clients that know only "
        "the previous authority would refuse it: let all clients trust the new one, then run "
        "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"
    ]
    assert leads(host, "ca.crt")
    assert leads(host, "ca_previous.crt")
    assert deploy(host, names=names)["actions"] == []
    run("rotate", {"what": "ca", "finish": True}, host=host)
    text = openssl("x509", "-in", host.paths.served, "-noout", "-text")[1]
    assert "DNS:mirror.example.com" in text
    assert leads(host, "ca.crt")


def test_another_hostname_means_an_authority_that_clients_must_trust_again(world: World) -> None:
    host, _ = world()
    answer = deploy(host, hostname="other.example.com", names=["other.example.com"])
    (action,) = [
        action for action in answer["actions"] if action.startswith("an authority was made")
    ]
    assert action == (
        "an authority was made, because the authority may not vouch for other.example.com; all "
        "clients must be made to trust it"
    )
    assert certificate(host, "ca_previous.crt") == b""


def test_a_certificate_that_nginx_does_not_serve_is_an_error(world: World) -> None:
    host, _ = world()
    host.served = lambda *_: "another"
    with pytest.raises(HostError) as caught:
        run("rotate", {"what": "tls"}, host=host)
    assert str(caught.value) == (
        f"nginx was given a new certificate for {HOSTNAME}, but another is served at port 443: "
        "look at `nginx -T` and /var/log/nginx/error.log"
    )


def test_a_certificate_that_nginx_refuses_never_reaches_a_restart(world: World) -> None:
    host, machine = world()
    before = host.paths.served.read_bytes()
    machine.nginx_refuses = "cannot load certificate"
    with pytest.raises(HostError):
        run("rotate", {"what": "tls"}, host=host)
    assert host.paths.served.read_bytes() == before
    machine.nginx_refuses = None
    run("renew", {}, host=host)
    assert host.paths.served.read_bytes() != before


def test_another_name_while_clients_still_know_the_authority_before_waits_and_stops_nothing(
    world: World,
) -> None:
    host, machine = world()
    run("rotate", {"what": "ca"}, host=host)
    names = [HOSTNAME, "10.0.0.1", "mirror.example.com"]
    answer = deploy(host, names=names)
    assert answer["notes"] == [
        "mirror.example.com: not in the server's certificate yet, because clients that know only "
        "the previous authority would refuse it: let all clients trust the new one, then run "
        "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"
    ]
    before = host.paths.served.read_bytes()
    machine.seconds = time.time() + 61 * 86400
    run("renew", {}, host=host)
    assert host.paths.served.read_bytes() != before
    assert leads(host, "ca.crt")
    assert leads(host, "ca_previous.crt")


def test_an_authority_that_has_lost_its_key_is_replaced_by_nobody_unasked(world: World) -> None:
    host, _ = world()
    key = host.paths.certificates / "ca.key"
    key.unlink()
    with pytest.raises(HostError) as caught:
        deploy(host)
    assert str(caught.value) == (
        f"certificates: {key}, the authority's key, is not there or not the right one: bring it "
        f"back from a backup; if it is lost, take the authority away (rm {key.parent}/ca.*), run "
        "site.yml, and let all clients trust the new one"
    )
    with pytest.raises(HostError) as caught:
        run("rotate", {"what": "tls"}, host=host)
    assert str(caught.value) == (
        f"certificates: the authority in {key.parent} is missing, has expired or has lost its key: "
        "run site.yml, which makes it or says what is wrong"
    )
    (host.paths.certificates / "ca.crt").unlink()
    deploy(host)
    assert leads(host, "ca.crt")


def test_the_timer_makes_no_authority_that_clients_would_have_to_trust(world: World) -> None:
    host, _ = world()
    before = host.paths.served.read_bytes()
    (host.paths.certificates / "ca.crt").unlink()
    with pytest.raises(HostError) as caught:
        run("renew", {}, host=host)
    assert str(caught.value) == (
        "certificates: the authority is not there yet, and all clients would have to be made to "
        "trust a new one: run site.yml, which makes it"
    )
    assert host.paths.served.read_bytes() == before


def test_under_another_hostname_nginx_serves_the_certificate_together_with_the_site(
    world: World,
) -> None:
    host, _ = world()
    before = host.paths.served.read_bytes()
    settings = {**SETTINGS, "hostname": "other.example.com", "names": ["other.example.com"]}
    run("certificates", {"settings": settings}, host=host)
    assert host.paths.served.read_bytes() == before
    run("site", {"content": "server { other }\n"}, host=host)
    assert (
        "DNS:other.example.com"
        in (openssl("x509", "-in", host.paths.served, "-noout", "-ext", "subjectAltName")[1])
    )


# -- going back ------------------------------------------------------------------------------------


def refused(host: Host) -> str:
    with pytest.raises(HostError) as caught:
        run("rollback", {"kind": "registry"}, host=host)
    return str(caught.value)


def test_what_cannot_be_gone_back_to_is_refused_with_what_to_do(world: World) -> None:
    host, machine = world()
    folder = host.paths.etc.parent
    assert refused(host) == (
        "registry: there is no generation with another image or other settings to go back to: "
        "change the inventory and run site.yml instead"
    )
    (folder / "other").mkdir()
    mounts = [{"source": str(folder / "other"), "target": "/data", "read_only": False}]
    run("ensure", {"spec": spec(folder, mounts=mounts)}, host=host)
    assert refused(host) == (
        "registry: generation 1 had a different storage_path, which affects more than this "
        "container: write the earlier value into the inventory and run site.yml instead"
    )
    run("ensure", {"spec": spec(folder, mounts=mounts, image="sha256:new")}, host=host)
    machine.images.clear()
    assert refused(host) == (
        "registry: the image of generation 2 (sha256:good) is no longer on this host: write the "
        "earlier version into the inventory and run site.yml"
    )


@pytest.mark.parametrize("check", [False, True])
def test_a_kind_that_nothing_has_is_refused(world: World, check: bool) -> None:
    host, _ = world()
    with pytest.raises(HostError) as caught:
        run("rollback", {"kind": "nginx"}, host=host, check=check)
    assert str(caught.value) == (
        "the request's kind is 'nginx': write registry or token_server, or leave it out to go back "
        "with all that the last deployment changed"
    )


def test_without_a_kind_that_goes_back_which_the_last_deployment_changed(world: World) -> None:
    host, machine = world()
    folder = host.paths.etc.parent
    live, first = ["signing"], {"deployment": "monday"}
    run("ensure", {"spec": spec(folder, environment={"A": "1"}, live=live), **first}, host=host)
    machine.seconds += 10
    other = spec(folder, kind="token_server", environment={"A": "1"}, live=live)
    run("ensure", {"spec": other, "deployment": "tuesday"}, host=host)
    machine.seconds += 10
    # A rotation replaces both containers, but is not a deployment.
    to_the_end(host, machine, what="signing")
    assert run("rollback", {}, host=host)["back"] == {"token_server": 1}


def test_a_rollback_that_is_cut_off_between_two_containers_is_finished_and_goes_no_further(
    world: World,
) -> None:
    original, _ = world("original")
    folder = original.paths.etc.parent
    for kind in ("token_server", "registry"):
        changed = spec(folder, kind=kind, environment={"A": "1"}, live=["signing"])
        run("ensure", {"spec": changed, "deployment": "monday"}, host=original)
    number = 0
    for number, again, machine in killed_at_each_step(world, original, asking("rollback", {})):
        if again.store.load().rollback:
            run("rollback", {}, host=again)
        elif number < 5:
            continue  # killed before anything was recorded
        environments = [machine.definitions[name]["Env"] for name in machine.containers]
        assert environments == [[], []], f"killed at step {number}"
        assert machine.interruptions == machine.broken == [], f"killed at step {number}"
    assert number > 20


# -- the timer -------------------------------------------------------------------------------------


def alerts(host: Host, folder: Path) -> str:
    path = folder / "alerts"
    return path.read_text() if path.exists() else ""


def test_the_timer_renews_the_server_in_its_last_month_and_the_signing_key_too(
    world: World,
) -> None:
    host, machine = world()
    machine.seconds = time.time() + 59 * 86400
    deploy(host)
    before, key = host.paths.served.read_bytes(), certificate(host, "signing.crt")
    assert run("renew", {}, host=host)["actions"] == []
    machine.seconds += 2 * 86400
    answer = run("renew", {}, host=host)
    assert host.paths.served.read_bytes() != before
    assert certificate(host, "signing.crt") == key
    machine.seconds += 275 * 86400
    with pytest.raises(HostError):  # openssl uses the real clock: its certificates are old now
        run("renew", {}, host=host)
    assert answer["wait"] is None
    assert host.store.load().rotation is not None


def test_a_failure_is_reported_once_a_day_and_the_exit_code_is_an_error(
    world: World, tmp_path: Path
) -> None:
    host, machine = world()
    command = f'cat >>{tmp_path}/alerts; echo "for $WHARFINGER_HOSTNAME" >>{tmp_path}/alerts'
    deploy(host, alert_command=command)
    machine.seconds = time.time() + 80 * 86400
    machine.nginx_refuses = "broken by someone"
    with pytest.raises(HostError, match="broken by someone"):
        run("renew", {}, host=host)
    reported = alerts(host, tmp_path)
    assert reported.startswith(f"{HOSTNAME}: nginx refuses its new configuration")
    assert reported.endswith(f"for {HOSTNAME}\n")
    with pytest.raises(HostError):
        run("renew", {}, host=host)
    assert alerts(host, tmp_path) == reported
    machine.seconds += 86401
    with pytest.raises(HostError):
        run("renew", {}, host=host)
    assert alerts(host, tmp_path) == reported * 2
    machine.nginx_refuses = None
    run("renew", {}, host=host)
    assert host.store.load().alerted == {}


def test_problems_that_differ_only_in_numbers_are_the_same(world: World, tmp_path: Path) -> None:
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    for number in range(3):
        machine.nginx_refuses = f"broken at line {number}"
        machine.seconds = time.time() + 80 * 86400 + number
        with pytest.raises(HostError):
            run("renew", {}, host=host)
    assert alerts(host, tmp_path).count("nginx refuses") == 1


def end(machine: Machine, kind: str, code: int) -> str:
    """Ends the container of a kind with this exit code; returns its name."""
    (name,) = (
        container.name for container in machine.containers.values() if f"-{kind}-" in container.name
    )
    machine.change(name, status="exited", exit_code=code, health="none")
    return name


@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_the_timer_starts_what_docker_kill_has_ended(world: World, kind: str) -> None:
    host, machine = world()
    name = end(machine, kind, 137)
    answer = run("renew", {}, host=host)
    assert f"{kind}: {name} had been killed and is started again" in answer["actions"]
    assert machine.containers[name].running
    assert run("renew", {}, host=host)["actions"] == []


def test_the_timer_leaves_alone_what_somebody_has_stopped(world: World) -> None:
    host, machine = world()
    name = end(machine, "registry", 0)
    with pytest.raises(HostError) as error:
        run("renew", {}, host=host)
    assert str(error.value) == (
        f"registry: the container {name} does not run: start it with `docker start`, "
        "or run site.yml"
    )
    assert not machine.containers[name].running


def test_a_state_that_was_lost_costs_no_container_that_serves(world: World) -> None:
    host, machine = world()
    before = set(machine.containers)
    host.paths.state.unlink()
    run("renew", {}, host=host)
    assert set(machine.containers) == before
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    deploy(host)
    assert machine.interruptions == []
    assert len(machine.containers) == 2
    assert not before & set(machine.containers)
    assert deploy(host)["actions"] == []


def test_a_clock_that_was_ahead_leaves_no_certificate_of_the_future(world: World) -> None:
    host, machine = world()
    machine.seconds = time.time() - 40 * 86400
    before = host.paths.served.read_bytes()
    authority = facts(host.runner, host.paths.certificates / "ca.crt")
    assert authority is not None
    # The day on which it was made, which may be yesterday by now.
    begins = time.strftime("%Y-%m-%d", time.gmtime(authority.not_before))
    # Either the authority was made in the future, or the clock is wrong now: it is not replaced.
    for act in (lambda: run("renew", {}, host=host), lambda: deploy(host)):
        with pytest.raises(HostError) as caught:
            act()
        assert str(caught.value) == (
            "certificates: by this host's clock the authority is valid only from "
            f"{begins} on: set the clock right (timedatectl); if "
            "it is right, and was wrong when the authority was made, take that away (rm "
            f"{host.paths.certificates}/ca.*), run site.yml, and let all clients trust the new one"
        )
    assert host.paths.served.read_bytes() == before


def test_a_clock_nine_years_ahead_replaces_nothing_and_is_reported(
    world: World, tmp_path: Path
) -> None:
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    machine.seconds = time.time()
    run("renew", {}, host=host)
    names = ("ca", "tls", "signing")
    ends = [
        time.strftime("%Y-%m-%d", time.gmtime(present.not_after))
        for name in names
        if (present := facts(host.runner, host.paths.certificates / f"{name}.crt"))
    ]
    before = [certificate(host, f"{name}.{kind}") for name in names for kind in ("crt", "key")]
    machine.jumped = 9.5 * 365 * 86400
    for act in (
        lambda: run("renew", {}, host=host),
        lambda: deploy(host, alert_command=f"cat >>{tmp_path}/alerts"),
        lambda: run("rotate", {"what": "due"}, host=host),
    ):
        with pytest.raises(HostError, match="the clock is in doubt: it has jumped 3468 days ahead"):
            act()
    assert [certificate(host, f"{name}.{kind}") for name in names for kind in ("crt", "key")] == (
        before
    )
    reported = alerts(host, tmp_path)
    assert reported.startswith(f"{HOSTNAME}: the clock is in doubt: it has jumped 3468 days ahead")
    assert (
        f"Not renewed meanwhile: the server's certificate ends {ends[1]}, the signing key's ends "
        f"{ends[2]}, the authority ends {ends[0]}\n"
    ) in reported
    assert any(
        "the clock is in doubt" in problem for problem in run("status", {}, host=host)["problems"]
    )
    # A stolen key can be revoked nevertheless.
    assert run("rotate", {"what": "signing", "revoke": True}, host=host)["changed"]
    machine.jumped = 0
    run("renew", {}, host=host)
    assert host.store.load().alerted == {}
    assert certificate(host, "ca.crt") == before[0]


def test_a_person_ends_the_doubt(world: World) -> None:
    host, machine = world()
    machine.seconds = time.time()
    run("renew", {}, host=host)
    machine.boot = "second"
    machine.seconds += 40 * 86400
    with pytest.raises(HostError, match="since the last boot it has gone ahead by 40 days"):
        run("rotate", {"what": "due"}, host=host)
    # With --check nothing is recorded.
    run("rotate", {"what": "due", "clock_is_right": True}, host=host, check=True)
    with pytest.raises(HostError, match="nothing was renewed: the clock is in doubt"):
        run("rotate", {"what": "due"}, host=host)
    run("rotate", {"what": "due", "clock_is_right": True}, host=host)
    run("renew", {}, host=host)


def test_a_certificate_that_openssl_cannot_read_is_not_replaced(
    world: World,
) -> None:
    host, _ = world()
    path = host.paths.certificates / "ca.crt"
    path.write_text("damaged")
    with pytest.raises(HostError) as caught:
        deploy(host)
    assert str(caught.value) == (
        f"certificates: openssl does not read {path} (it did not answer in time, or the file is "
        f"damaged): run again; if it stays so, bring {path.parent} back from a backup"
    )
    assert path.read_text() == "damaged"


def test_a_full_disk_is_reported_too(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    machine.seconds = time.time() + 80 * 86400

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "/etc/wharfinger")

    monkeypatch.setattr(authority_files, "write_atomically", full)
    with pytest.raises(HostError, match="renew: /etc/wharfinger: No space left on device"):
        run("renew", {}, host=host)
    assert "No space left on device" in alerts(host, tmp_path)


def test_on_a_full_disk_an_alarm_is_sent_once_a_day_and_again_once_it_is_over(
    world: World, tmp_path: Path, monkeypatch: Any
) -> None:
    """Then state.json cannot record what was reported."""
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    machine.seconds = time.time() + 80 * 86400
    machine.nginx_refuses = "broken by someone"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(host.store, "save", full)
        for _ in range(3):
            with pytest.raises(HostError, match="No space left on device"):
                run("renew", {}, host=host)
        assert alerts(host, tmp_path).count("nginx refuses") == 1
        machine.seconds += 86401
        with pytest.raises(HostError):
            run("renew", {}, host=host)
        assert alerts(host, tmp_path).count("nginx refuses") == 2
    # There is room again: nothing is reported twice, and nothing is kept in memory.
    with pytest.raises(HostError):
        run("renew", {}, host=host)
    assert alerts(host, tmp_path).count("nginx refuses") == 2
    assert not host.paths.sent_alerts.exists()
    machine.nginx_refuses = None
    run("renew", {}, host=host)
    assert host.store.load().alerted == {}


def renewed_twice(host: Host) -> str:
    """The message of a timer that fails twice with the same message."""
    said = set()
    for _ in range(2):
        with pytest.raises(HostError) as caught:
            run("renew", {}, host=host)
        said.add(str(caught.value))
    (text,) = said
    return text


@pytest.mark.parametrize("reboot", [False, True])
def test_a_damaged_state_is_reported_once_a_day(world: World, tmp_path: Path, reboot: bool) -> None:
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    run("renew", {}, host=host)
    if reboot:
        shutil.rmtree(host.paths.alert.parent)
    whole = host.paths.state.read_bytes()
    host.paths.state.write_bytes(whole[: len(whole) // 2])
    text = renewed_twice(host)
    assert text.startswith(f"{host.paths.state} cannot be read (JSONDecodeError)")
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n"
    machine.seconds += 86401
    renewed_twice(host)
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n" * 2
    # If it is repaired and damaged again, that is reported at once.
    host.paths.state.write_bytes(whole)
    run("renew", {}, host=host)
    host.paths.state.write_bytes(b"[]")
    renewed_twice(host)
    assert alerts(host, tmp_path).count("cannot be read (TypeError)") == 1


def test_damaged_settings_are_reported_by_the_command_of_the_last_renewal(
    world: World, tmp_path: Path
) -> None:
    host, _ = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    run("renew", {}, host=host)
    host.paths.certificate_settings.write_text("{")
    text = renewed_twice(host)
    assert text == (
        f"{host.paths.certificate_settings} cannot be read: run the whole site.yml, which writes it"
    )
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n"
    # After a boot the alert command is unknown: the unit's failure says so.
    shutil.rmtree(host.paths.alert.parent)
    assert renewed_twice(host).endswith(
        f"this was not reported: {host.paths.certificate_settings} cannot be read: run the whole "
        "site.yml, which writes it"
    )


def test_a_lock_held_for_days_is_reported_and_a_lock_held_for_hours_is_not(
    world: World, tmp_path: Path
) -> None:
    host, machine = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    with locked(host.paths.lock, "collect", 0):
        machine.seconds = time.time() + 25 * 3600
        assert run("renew", {}, host=host)["actions"] == []
        machine.seconds = time.time() + 7 * 86400
        text = renewed_twice(host)
    assert re.fullmatch(
        r"another wharfinger-host \(collect, process \d+, since [\d:]+\) has been at work for 168 "
        rf"hours and holds {host.paths.lock}, and nothing is renewed meanwhile: see what it waits "
        "for, or kill its process: the next run repairs what it leaves unfinished",
        text,
    )
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n"


def test_where_the_locks_holder_cannot_be_written_the_timer_works_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _ = world()
    deploy(host)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert run("renew", {}, host=host)["actions"] == []
    assert run("reopen", {}, host=host)["actions"] == []


def test_a_site_that_somebody_removed_is_reported(world: World, tmp_path: Path) -> None:
    host, _ = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")
    host.paths.site.unlink()
    text = renewed_twice(host)
    assert text == f"{host.paths.site} is gone: run site.yml, which writes it again"
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n"


def test_an_error_of_the_program_itself_is_reported_without_its_text(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _ = world()
    deploy(host, alert_command=f"cat >>{tmp_path}/alerts")

    def broken(*_: Any) -> list[str]:
        raise RecursionError("planted-secret")

    monkeypatch.setattr(expiry, "expiring", broken)
    text = renewed_twice(host)
    assert re.fullmatch(
        r"renew: an error of wharfinger-host itself \(RecursionError at test_rotation\.py:\d+\): "
        "nothing is renewed until it is fixed: deploy from an up-to-date checkout, or report it",
        text,
    )
    assert alerts(host, tmp_path) == f"{HOSTNAME}: {text}\n"


def test_before_the_first_deployment_has_ended_the_timer_does_nothing(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine(seconds=time.time()))
    host.runner = RememberingRunner()
    run("prepare", {}, host=host)
    run("certificates", {"settings": {**SETTINGS}}, host=host)
    assert run("renew", {}, host=host)["actions"] == []


def test_a_command_that_cannot_tell_is_named_without_its_words(world: World) -> None:
    host, machine = world()
    deploy(host, alert_command="curl https://planted-secret.example; exit 7")
    machine.nginx_refuses = "broken by someone"
    machine.seconds = time.time() + 80 * 86400
    with pytest.raises(HostError) as caught:
        run("renew", {}, host=host)
    assert "certificates_alert_command ended with exit code 7" in str(caught.value)
    assert "planted-secret" not in str(caught.value)


def test_a_host_that_was_never_deployed_names_the_command_to_run(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine())
    run("prepare", {}, host=host)
    with pytest.raises(HostError) as caught:
        run("renew", {}, host=host)
    assert str(caught.value) == (
        f"{host.paths.certificate_settings} is not there: run the whole site.yml once, which "
        "writes it"
    )


def test_the_settings_are_roots_alone_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine(seconds=time.time()))
    host.runner = RememberingRunner()
    request = {"settings": {**SETTINGS}}
    assert run("certificates", request, host=host, check=True)["changed"]
    assert not host.paths.certificates.exists()
    run("prepare", {}, host=host)
    run("certificates", request, host=host)
    assert host.paths.certificate_settings.stat().st_mode & 0o777 == 0o600
    assert run("certificates", request, host=host, check=True)["changed"] is False
