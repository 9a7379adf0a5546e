"""Keys and certificates rotated on a real stack: real servers issue tokens, nginx serves TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.amount import FULL
from support.waiting import enough
from wharfinger.host.commands import run
from wharfinger.host.keys import rotation
from wharfinger.host.keys.pki import Pki
from wharfinger.host.rollout.readiness_check import ACCOUNT, REPOSITORY, TAG, basic
from wharfinger.host.system import signing_keys
from wharfinger.host.system.errors import HostError
from wharfinger.oci.media_types import OCI_IMAGE

from .stack import HOSTNAME, KILLED, PORT, SERVICE, STACK, Stack, was_killed
from .test_stack import Load

MANIFEST = f"/v2/{REPOSITORY}/manifests/{TAG}"


@pytest.fixture(autouse=True)
def no_leeway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation does not wait for the registry's leeway of a minute, and the tests' tokens live
    longer than the settings say. So tokens of the old key are still valid when it ends."""
    monkeypatch.setattr(rotation, "LEEWAY", 0)


def ask(stack: Stack, path: str, headers: dict[str, str], authority: Path | None = None) -> int:
    """The status of a GET through nginx that trusts only that authority."""
    return fetch(stack, path, headers, authority)[0]


def fetch(
    stack: Stack, path: str, headers: dict[str, str], authority: Path | None = None
) -> tuple[int, bytes]:
    """Status and body of such a GET."""
    context = ssl.create_default_context(
        cafile=str(authority or stack.host.paths.certificates / "ca.crt")
    )
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    request = urllib.request.Request(f"https://{HOSTNAME}:{PORT}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


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


def bearer(encoded: str) -> dict[str, str]:
    """The headers of a client that reads a manifest with this token."""
    return {"Authorization": f"Bearer {encoded}", "Accept": OCI_IMAGE}


def reads(stack: Stack, by: str) -> int:
    return ask(stack, MANIFEST, bearer(by))


def restart(stack: Stack, *names: str) -> None:
    """Runs `docker restart`, as anybody might, and waits until they answer again."""
    for name in names:
        subprocess.run(["docker", "restart", name], check=True, capture_output=True)
    deadline = time.monotonic() + 120
    for path in ("/v2/", "/auth?service=x"):
        while (status := ask(stack, path, {})) != 401:
            assert time.monotonic() < deadline, (path, status)
            time.sleep(0.1)


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


class Readers:
    """Clients that log in and read a manifest with each token until it has nearly expired. If
    something fails, they try again with another token for `patience` seconds before the failure
    counts."""

    def __init__(self, stack: Stack, patience: float = 0) -> None:
        self.stack = stack
        self.patience = patience
        self.answers: list[int] = []
        self.algorithms: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(2)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        login = basic(ACCOUNT, self.stack.host.paths.verification_password.read_text().strip())
        address = f"/auth?service={SERVICE.replace(' ', '%20')}&scope=repository:{REPOSITORY}:pull"
        worked = time.monotonic()
        while not self._stop.is_set():
            status, body = self._fetch(address, login)
            if status == 200:
                encoded = str(json.loads(body)["token"])
                self.algorithms.append(algorithm_of(encoded))
                until = time.monotonic() + 2
                while time.monotonic() < until and not self._stop.is_set():
                    status, _ = self._fetch(MANIFEST, bearer(encoded))
                    if status != 200:
                        break
                    self.answers.append(status)
                    worked = time.monotonic()
                    time.sleep(0.1)
            if status != 200 and time.monotonic() - worked >= self.patience:
                self.answers.append(status)

    def _fetch(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            return fetch(self.stack, path, headers)
        except OSError:
            return 0, b""  # the connection was refused, or broke

    @property
    def failed(self) -> list[int]:
        return [status for status in self.answers if status != 200]


def algorithm_of(encoded: str) -> str:
    return str(jwt.get_unverified_header(encoded)["alg"])


def refused_to_go_back(stack: Stack, kind: str) -> str:
    before = stack.host.paths.state.read_bytes()
    with pytest.raises(HostError) as caught:
        run("rollback", {"kind": kind}, host=stack.host)
    assert stack.host.paths.state.read_bytes() == before
    return str(caught.value)


def test_the_kind_of_key_changes_by_rotations_alone_and_no_client_notices(deployed: Stack) -> None:
    deployed.verify()
    kinds = ("token_server", "registry")
    with Load() as load, Readers(deployed) as readers:
        assert algorithm_of(token(deployed)) == "ES256"
        # docker_auth's specification, except for its program, which is not available here.
        settings = {"token_server": "cesanta"}
        docker_auth: dict[str, Any] = {
            "algorithms": ["RS256"],
            "live": ["signing", "configuration"],
        }
        with pytest.raises(HostError, match="signs with RS256 only"):
            deployed.ensure("token_server", **docker_auth)
        deployed.certificates(**settings)
        deployed.ensure("token_server", **docker_auth)
        to_the_end(deployed, what="due")
        to_the_end(deployed, what="signing")
        assert algorithm_of(token(deployed)) == "RS256"
        # The embedded token server again, and a registry, both from a release that knew only RSA.
        deployed.certificates()
        for kind in kinds:
            deployed.ensure(kind, algorithms=["RS256"], request={"deployment": "before"})
        key = (deployed.host.paths.certificates / "signing.crt").read_bytes()
        # Upgrade, roll back, and roll forward again.
        deployed.certificates()
        for kind in kinds:
            deployed.ensure(kind, request={"deployment": "upgrade"})
        for _ in range(2):
            assert set(run("rollback", {}, host=deployed.host)["back"]) == set(kinds)
        assert (deployed.host.paths.certificates / "signing.crt").read_bytes() == key
        assert algorithm_of(token(deployed)) == "RS256"
        to_the_end(deployed, what="signing")
        assert algorithm_of(token(deployed)) == "ES256"
        for kind in kinds:
            assert "only, and the key of signing.crt is ES256" in refused_to_go_back(deployed, kind)
        enough(lambda: len(readers.answers), 100)
    assert load.failed == readers.failed == []
    assert set(readers.algorithms) == {"ES256", "RS256"}
    deployed.verify()


def test_a_client_that_logs_in_after_a_revocation_continues_with_the_other_kind_of_key(
    deployed: Stack,
) -> None:
    deployed.verify()
    deployed.certificates(token_server="cesanta")
    deployed.certificates()
    to_the_end(deployed, what="due")
    old = token(deployed)
    assert algorithm_of(old) == "RS256"
    with Load() as load, Readers(deployed, patience=30) as readers:
        enough(lambda: len(readers.answers))
        run("rotate", {"what": "signing", "revoke": True}, host=deployed.host)
        assert (reads(deployed, old), algorithm_of(token(deployed))) == (401, "ES256")
        before = len(readers.answers)
        enough(lambda: len(readers.answers) - before)
    assert load.failed == readers.failed == []
    assert set(readers.algorithms) == {"RS256", "ES256"}


def certificate_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "token signing")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def signed(claims: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    own = signing_keys.read(certificate_of(key).decode())
    assert own is not None
    return jwt.encode(claims, key, "ES256", {"kid": own.identifier})


def test_the_registry_knows_hundreds_of_keys_of_ours_and_none_with_a_zero_byte_in_front(
    deployed: Stack, tmp_path: Path
) -> None:
    deployed.verify()
    claims: dict[str, Any] = jwt.decode(token(deployed), options={"verify_signature": False})
    claims["exp"] += 600
    maker = Pki(deployed.host.runner, tmp_path)
    ours, others = [], []
    for _ in range(600 if FULL else 150):
        key = serialization.load_pem_private_key(maker.signing_key("ES256"), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        ours.append(key)
    for number in range(1, 601):
        key = ec.derive_private_key(number, ec.SECP256R1())
        point = key.public_key().public_numbers()
        if point.x >> 248 == 0 or point.y >> 248 == 0:
            others.append(key)
    assert len(others) >= 3
    with (deployed.host.paths.registry / "token_signing.pem").open("ab") as bundle:
        bundle.writelines(map(certificate_of, [*ours, *others]))
    restart(deployed, *(name for name in deployed.containers() if "registry" in name))
    assert {reads(deployed, signed(claims, key)) for key in ours} == {200}
    assert {reads(deployed, signed(claims, key)) for key in others} == {401}


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
    (name,) = [container for container in deployed.containers() if "registry" in container]
    restart(deployed, name)
    deployed.verify()
    assert reads(deployed, old) == 401


def test_a_registry_that_refuses_real_tokens_never_serves(deployed: Stack) -> None:
    """Such a registry is healthy in every other way."""
    deployed.verify()
    other = {"auth": "token", "issuer": "h4 issuer", "service": "another service"}
    with pytest.raises(HostError) as caught:
        deployed.ensure("registry", proof=other, request={"wait": 20})
    assert (
        "registry: the new generation 2 was removed again and generation 1 keeps serving: it "
        in (str(caught.value))
    )
    assert "reading a manifest with a valid login is answered with 401 UNAUTHORIZED" in str(
        caught.value
    )
    deployed.verify()


ROTATED = (
    KILLED
    + """
from wharfinger.host.keys import rotation
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
            assert not {name for name in left if "next" in name or name.startswith(".")}, left
            assert "signing_previous.crt" not in left
            if what == "ca":
                run("rotate", {"what": "ca", "finish": True}, host=deployed.host)
    assert kills == len(steps)
    assert load.failed == []
    deployed.verify()
    assert len([name for name in deployed.containers() if name.startswith(STACK)]) == 2
