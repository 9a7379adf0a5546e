"""The own authority's key on the controller: when it is needed, and what can be wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wharfinger.preflight.authority import PREVIOUS

from .conftest import NOW, Judge, Judged
from .test_certificates import ROOT, SERVER

DAY = 86400
KEY = "credentials/registry.example.com-ca.key"
MISSING = (
    f"and the authority's key that must sign it is missing: copy it to {KEY} beside the inventory "
    "(mode 0600); if it is lost, remove the authority from the host (rm "
    "/etc/wharfinger/certificates/ca.*) and run site.yml, and let all clients trust the new one"
)
ROOT_PEM = ROOT.pem()
FINGERPRINT = x509.load_pem_x509_certificate(ROOT_PEM).fingerprint(hashes.SHA256()).hex()


def authority(**changes: Any) -> dict[str, Any]:
    return {
        "not_before": NOW - 100 * DAY,
        "not_after": NOW + 3000 * DAY,
        "key_matches": None,
        "path_length": 1,
        "permitted": None,
        "fingerprint": FINGERPRINT,
        **changes,
    }


def server(**changes: Any) -> dict[str, Any]:
    return {
        "not_before": NOW - 10 * DAY,
        "not_after": NOW + 80 * DAY,
        "key_matches": True,
        "names": ["registry.example.com"],
        "trusted": True,
        **changes,
    }


FRESH, LASTING = server(), authority()
DUE = server(not_after=NOW + 20 * DAY, not_before=NOW - 70 * DAY)


@pytest.fixture
def offline(judge: Judge) -> Judge:
    """A deployed host whose authority's key is on the controller, and these changes."""

    def judged(*, ca: Any = LASTING, tls: Any = FRESH, **changes: Any) -> Judged:
        host = changes.pop("host", {}) | {"certificates": {"ca": ca, "tls": tls}}
        return judge(**{"certificates_ca_offline": True, "host": host, **changes})

    return judged


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The authority's key in its place, and the certificate for clients beside it."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/registry.example.com-ca.crt").write_bytes(ROOT_PEM)
    path = tmp_path / KEY
    path.write_bytes(ROOT.key_pem())
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("scope", ["site", "rotate"])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tls": DUE}, "a new server's certificate is due"),
        ({"tls": None}, "a new server's certificate is due"),
        ({"tls": server(trusted=False)}, "a new server's certificate is due"),
        ({"registry_extra_hostnames": ["10.0.0.5"]}, "a new server's certificate is due"),
        (
            {"ca": authority(not_before=NOW - 3000 * DAY, not_after=NOW + 300 * DAY)},
            "the authority is in its last year and another is due",
        ),
        ({"certificates_tls_source": "acme", "tls": DUE}, "a new server's certificate is due"),
    ],
    ids=["age", "none", "another issuer", "names", "the authority's age", "acme"],
)
def test_a_key_that_is_missing_where_something_must_be_signed(
    offline: Judge, scope: str, changes: dict[str, Any], why: str
) -> None:
    report = offline(scope=scope, **changes)
    assert report.errors == [f"certificates_ca_offline: {why}, {MISSING}"]


@pytest.mark.parametrize("what", ["tls", "ca", "all"])
def test_a_key_that_is_missing_for_what_is_asked(offline: Judge, what: str) -> None:
    report = offline(scope="rotate", playbook_vars={"rotate": what})
    assert report.errors == [
        f"certificates_ca_offline: rotate={what} asks for a new certificate, {MISSING}"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scope": "rotate"},
        {"scope": "rotate", "playbook_vars": {"rotate": "signing"}},
        {"scope": "users", "tls": DUE},
        {"scope": "remove", "tls": DUE},
        {"scope": "rollback", "tls": DUE},
        # the key is on the host, and about to move to the controller
        {"ca": authority(key_matches=True), "tls": DUE},
        # nothing exists yet, or a new key is made
        {"ca": None, "tls": None},
        {"ca": authority(not_after=NOW - DAY), "tls": DUE},
        # another authority already follows this one; a name is left out meanwhile because of it
        {"host": {"files": {PREVIOUS: "00"}}, "registry_extra_hostnames": ["r2.example.com"]},
        # an ACME server's certificate
        {"certificates_tls_source": "acme", "tls": server(trusted=False)},
    ],
)
def test_a_missing_key_is_not_a_mistake_if_nothing_must_be_signed(
    offline: Judge, changes: dict[str, Any]
) -> None:
    assert offline(**changes).errors == []


def test_the_right_key_is_accepted_without_a_word(offline: Judge, key: Path) -> None:
    report = offline(tls=DUE)
    assert (report.errors, report.warnings) == ([], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            SERVER.key_pem(),
            "is not the key of the host's authority: copy the one there that "
            "credentials/registry.example.com-ca.crt was made with",
        ),
        (ROOT_PEM, "holds no private key in PEM: copy the authority's key there again"),
        (
            ROOT.key_pem(b"a passphrase"),
            "is encrypted with a passphrase, and the toolkit asks for none: decrypt it (openssl "
            "pkey -in FILE), and keep the file on a medium that is encrypted",
        ),
        (
            b"$ANSIBLE_VAULT;1.1;AES256\n00",
            "is encrypted by ansible-vault, and the toolkit does not decrypt it: decrypt it "
            f"(ansible-vault decrypt {KEY}), and keep the file on a medium that is encrypted",
        ),
    ],
    ids=["another", "a certificate", "a passphrase", "a vault"],
)
def test_a_key_that_is_none(offline: Judge, key: Path, content: bytes, message: str) -> None:
    key.write_bytes(content)
    assert offline().errors == [f"certificates_ca_offline: {KEY} {message}"]


def test_a_key_that_others_can_read(offline: Judge, key: Path) -> None:
    key.chmod(0o640)
    assert offline().errors == [
        f"certificates_ca_offline: {KEY} is open to others (mode 0640), and anyone who has it can "
        f"pose as the registry: run `chmod 0600 {KEY}` beside the inventory"
    ]


def test_a_key_that_cannot_be_read(
    offline: Judge, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert offline().errors == [
        f"certificates_ca_offline: {KEY} cannot be read on the controller (Permission denied): "
        "make it readable for you alone (chmod 0600)"
    ]


@pytest.mark.parametrize("beside", [None, b"", SERVER.pem()])
def test_a_key_is_not_judged_by_another_authoritys_certificate(
    offline: Judge, key: Path, beside: bytes | None
) -> None:
    certificate = key.with_suffix(".crt")
    if beside is None:
        certificate.unlink()
    else:
        certificate.write_bytes(beside)
    assert offline().errors == []


def test_a_key_on_its_way_back_to_the_host_is_the_right_one(offline: Judge, key: Path) -> None:
    assert offline(certificates_ca_offline=False).errors == []
    key.write_bytes(SERVER.key_pem())
    (message,) = offline(certificates_ca_offline=False).errors
    assert message.startswith(f"certificates_ca_offline: {KEY} is not the key of the host's")
    # The host has its own key, so the one on the controller is not used.
    own = authority(key_matches=True)
    assert offline(certificates_ca_offline=False, ca=own).errors == []


def test_a_run_that_ended_before_the_controller_knew_of_the_next_authority(
    offline: Judge, key: Path
) -> None:
    key.write_bytes(SERVER.key_pem())
    key.with_name("registry.example.com-ca_next.key").write_bytes(ROOT.key_pem())
    assert offline().errors == []
