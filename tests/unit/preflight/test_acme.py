"""A certificate from an ACME server: what the inventory must contain for it, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Judge
from .test_certificates import MIDDLE, ROOT, SERVER

OWN = "https://ca.example.lan/acme/directory"
HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.fixture
def acme(judge: Judge) -> Judge:
    """The good case with an ACME server, and these changes."""
    return lambda **changes: judge(certificates_tls_source="acme", **changes)


def test_acme_needs_nothing_but_the_word(acme: Judge) -> None:
    report = acme()
    assert (report.errors, report.warnings) == ([], [])


def test_everything_that_acme_knows_may_be_given(acme: Judge, tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_bytes(ROOT.pem())
    report = acme(
        certificates_acme_directory=OWN,
        certificates_acme_ca="root.crt",
        certificates_acme_email="ops+ca@example.com",
        certificates_acme_eab_kid="kid-1",
        certificates_acme_eab_hmac_key=HMAC,
        certificates_tls_ca="root.crt",
        certificates_ca_offline=True,
    )
    assert (report.errors, report.warnings) == ([], [])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "certificates_acme_directory",
            "http://ca.lan/directory",
            "'http://ca.lan/directory' is not an https:// URL: write the URL of the ACME server's "
            "directory, like https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "certificates_acme_directory",
            "letsencrypt",
            "'letsencrypt' is not an https:// URL: write the URL of the ACME server's directory, "
            "like https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "certificates_acme_directory",
            "",
            "'' is not an https:// URL: write the URL of the ACME server's directory, like "
            "https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "certificates_acme_directory",
            "https://ca.lan/a b",
            "'https://ca.lan/a b' is not an https:// URL: write the URL of the ACME server's "
            "directory, like https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "certificates_acme_directory",
            "https://[ca.lan/directory",
            "'https://[ca.lan/directory' is not an https:// URL: write the URL of the ACME "
            "server's directory, like https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "certificates_acme_directory",
            "https://me:planted@ca.lan/directory",
            "'…@ca.lan/directory' has credentials in it: write the URL without what precedes the @",
        ),
        (
            "certificates_acme_email",
            "operator",
            "'operator' is not an e-mail address: write one like admin@example.com, or remove the "
            "line",
        ),
        (
            "certificates_acme_email",
            "a@example.com,b@example.com",
            "'…@example.com' is not an e-mail address: write one like admin@example.com, or "
            "remove the line",
        ),
        (
            "certificates_acme_eab_kid",
            "kid-1",
            None,
        ),
    ],
)
def test_a_value_that_cannot_be(acme: Judge, name: str, value: str, message: str | None) -> None:
    expected = (
        [f"{name}: {message}"]
        if message
        else [
            "certificates_acme_eab_hmac_key: is empty, but certificates_acme_eab_kid is given: "
            "write both as the authority gave them, or remove both"
        ]
    )
    assert acme(**{name: value}).errors == expected


def test_an_external_accounts_key_without_its_identifier(acme: Judge) -> None:
    assert acme(certificates_acme_eab_hmac_key=HMAC).errors == [
        "certificates_acme_eab_kid: is empty, but certificates_acme_eab_hmac_key is given: "
        "write both as the authority gave them, or remove both"
    ]


@pytest.mark.parametrize("key", ["planted+planted/", "planted planted", "planted\neab-kid = x"])
def test_an_external_accounts_key_that_is_not_base64url_is_not_shown(acme: Judge, key: str) -> None:
    report = acme(certificates_acme_eab_kid="1", certificates_acme_eab_hmac_key=key)
    assert report.errors == [
        "certificates_acme_eab_hmac_key: is not base64url, which has letters, digits, - and _ "
        "only: write it as the authority gave it (where that has + and /: - for +, _ for /)"
    ]
    assert "planted" not in str(report)


def test_an_external_accounts_identifier_in_two_words(acme: Judge) -> None:
    report = acme(certificates_acme_eab_kid="a b", certificates_acme_eab_hmac_key=HMAC)
    assert report.errors == [
        "certificates_acme_eab_kid: has blanks or other characters in it: "
        "write it as the authority gave it"
    ]


def test_addresses_are_not_proven(acme: Judge) -> None:
    assert acme(registry_extra_hostnames=["r2.example.com", "10.0.0.5", "fd00::5"]).errors == [
        f"registry_extra_hostnames, entry {number}: '{address}' is an address, and "
        "certificates_tls_source acme works for names only: remove it, or write "
        "certificates_tls_source: own_ca"
        for number, address in ((2, "10.0.0.5"), (3, "fd00::5"))
    ]


def test_a_wildcard_is_not_a_registrys_name(acme: Judge) -> None:
    (message,) = acme(registry_extra_hostnames=["*.example.com"]).errors
    assert message.startswith(
        "registry_extra_hostnames, entry 1: '*.example.com' is not a host name"
    )


def test_lets_encrypt_certifies_public_names_only(acme: Judge) -> None:
    names: dict[str, Any] = {
        "registry_hostname": "vm.internal",
        "registry_extra_hostnames": ["registry", "r.example.com"],
    }
    said = (
        "is not a name in public DNS, and Let's Encrypt certifies only those: write a public "
        "name, or an ACME server of your own into certificates_acme_directory"
    )
    assert acme(**names).errors == [
        f"registry_hostname: 'vm.internal' {said}",
        f"registry_extra_hostnames, entry 1: 'registry' {said}",
    ]
    assert acme(**names, certificates_acme_directory=OWN).errors == []


@pytest.mark.parametrize("name", ["certificates_acme_ca", "certificates_tls_ca"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'given.pem' does not exist on the controller: write the PEM file's path"),
        (
            b"nothing",
            "'given.pem' holds no PEM certificate: export it as PEM (-----BEGIN CERTIFICATE-----)",
        ),
        (
            SERVER.key_pem(),
            "'given.pem' holds a private key: write the path of the certificate instead",
        ),
    ],
    ids=["missing", "no PEM", "key"],
)
def test_an_authoritys_file_that_is_none(
    acme: Judge, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "given.pem").write_bytes(content)
    assert acme(**{name: "given.pem"}).errors == [f"{name}: {message}"]


def test_clients_trust_a_root(acme: Judge, tmp_path: Path) -> None:
    (tmp_path / "middle.crt").write_bytes(MIDDLE.pem())
    assert acme(certificates_tls_ca="middle.crt").errors == [
        "certificates_tls_ca: 'middle.crt' holds no root certificate (one that signs itself): "
        "write the file of the root that clients must trust"
    ]


def test_an_authority_that_not_every_system_knows_has_a_root(acme: Judge, tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_bytes(ROOT.pem())
    report = acme(certificates_acme_ca="root.crt", certificates_acme_directory=OWN)
    assert report.errors == []
    assert report.warnings == [
        "certificates_tls_ca: is empty, so clients must know the authority already, and "
        "certificates_acme_ca says that not every system does: "
        "write the file of the root that they must trust"
    ]


REACH = (
    "and the ACME server must reach this host's port 80 by that name: behind NAT or with split "
    "DNS this is right (fetching the challenge path will show it); otherwise let public DNS lead "
    "it to this host"
)


@pytest.mark.parametrize("hosts_entry", [False, True])
@pytest.mark.parametrize(
    ("addresses", "where"),
    [
        ([], "does not resolve on the host"),
        (["127.0.1.1"], "resolves to 127.0.1.1 on the host"),
        (["203.0.113.9", "2001:db8::9"], "resolves to 203.0.113.9, 2001:db8::9 on the host"),
    ],
)
def test_each_name_that_does_not_lead_to_the_host_is_a_warning(
    acme: Judge, addresses: list[str], where: str, hosts_entry: bool
) -> None:
    names = ("registry.example.com", "r2.example.com")
    report = acme(
        registry_hosts_entry=hosts_entry,
        registry_extra_hostnames=["r2.example.com"],
        host={"resolved": dict.fromkeys(names, addresses)},
    )
    assert report.errors == []
    assert report.warnings == [
        f"registry_hostname: registry.example.com {where}, {REACH}",
        f"registry_extra_hostnames, entry 1: r2.example.com {where}, {REACH}",
    ]
