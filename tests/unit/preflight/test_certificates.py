"""A provided certificate: preflight accepts exactly what a strict TLS client accepts."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wharfinger.preflight import certificates

from .conftest import Judge, Judged

# The real time, because the oracle below (a real handshake) uses it.
NOW = time.time()
NAME = "registry.example.com"
STRICT = (
    "which strict clients (Python 3.13 and newer, the verification at the end) demand: "
    "have it made again with that"
)


def day(offset: float) -> datetime.datetime:
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    return moment.replace(microsecond=0) + datetime.timedelta(days=offset)


@dataclass
class Made:
    """A certificate to make, with the defaults of a good one."""

    common_name: str
    issuer: Made | None = None
    ca: bool = False
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    names: tuple[str, ...] = (NAME,)
    start: float = -1
    end: float = 80
    digest: Any = field(default_factory=hashes.SHA256)
    usage: bool = True
    identifiers: bool = True
    critical: bool = True
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH

    def build(self) -> x509.Certificate:
        signer = self.issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.common_name))
            .issuer_name(_name(signer.common_name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(day(self.start))
            .not_valid_after(day(self.end))
        )
        if self.ca:
            constraints = x509.BasicConstraints(ca=True, path_length=None)
            builder = builder.add_extension(constraints, critical=self.critical)
        else:
            purpose = x509.ExtendedKeyUsage([self.purpose])
            builder = builder.add_extension(purpose, critical=False)
            if self.names:
                names = x509.SubjectAlternativeName([_general(name) for name in self.names])
                builder = builder.add_extension(names, critical=False)
        if self.usage:
            builder = builder.add_extension(_usage(self.ca), critical=True)
        if self.identifiers:
            subject = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
            authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
            builder = builder.add_extension(subject, critical=False)
            builder = builder.add_extension(authority, critical=False)
        return builder.sign(signer.key, self.digest)

    def pem(self) -> bytes:
        return self.build().public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


ROOT = Made("Test Root", ca=True, end=3000)
MIDDLE = Made("Test Intermediate", ROOT, ca=True, end=2000)
SERVER = Made(NAME, MIDDLE)


class Provided:
    """The three files on the controller, and the report about them."""

    def __init__(self, judge: Judge, folder: Path) -> None:
        self._judge = judge
        self.folder = folder
        self.write(SERVER.pem() + MIDDLE.pem(), SERVER.key_pem(), ROOT.pem())

    def write(
        self, chain: bytes | None = None, key: bytes | None = None, ca: bytes | None = None
    ) -> None:
        for name, data in (("tls.crt", chain), ("tls.key", key), ("ca.crt", ca)):
            if data is not None:
                (self.folder / name).write_bytes(data)

    def judge(self, **changes: Any) -> Judged:
        controller = {"clock": [NOW - 1, NOW + 1], **changes.pop("controller", {})}
        return self._judge(
            host={"clock": NOW, **changes.pop("host", {})},
            controller=controller,
            **{
                "certificates_tls_source": "provided",
                "certificates_tls_certificate": "tls.crt",
                "certificates_tls_key": "tls.key",
                "certificates_tls_ca": "ca.crt",
                **changes,
            },
        )

    def errors(self, **changes: Any) -> list[str]:
        return self.judge(**changes).errors

    def strict_client_accepts(self, *names: str) -> bool:
        """Makes a handshake in memory with Python's own client, X509_STRICT as in 3.13 and
        newer."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        client.hostname_checks_common_name = False  # as Go and browsers
        try:
            server.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
            for name in names:
                _shake_hands(server, client, name)
        except ssl.SSLError:
            return False
        return True


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(outgoing, incoming, server_hostname=name),
        server.wrap_bio(incoming, outgoing, server_side=True),
    ]
    waiting = set(ends)
    while waiting:
        for end in ends:
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                continue


@pytest.fixture
def provided(judge: Judge, tmp_path: Path) -> Provided:
    return Provided(judge, tmp_path)


def test_a_good_certificate_is_accepted_without_a_word(provided: Provided) -> None:
    report = provided.judge()
    assert (report.errors, report.warnings) == ([], [])
    assert provided.strict_client_accepts(NAME)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
    ids=["RSA 2048", "P-384", "P-521"],
)
def test_keys_that_every_client_takes_are_accepted(provided: Provided, key: Any) -> None:
    server = Made(NAME, MIDDLE, key=key)
    provided.write(server.pem() + MIDDLE.pem(), server.key_pem())
    assert provided.errors() == []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            Made(NAME, MIDDLE, names=("other.example.com", "10.0.0.9")),
            "'tls.crt' covers other.example.com, 10.0.0.9, but not registry.example.com: "
            "get a certificate for all of registry_hostname and registry_extra_hostnames",
        ),
        (
            Made(NAME, MIDDLE, names=()),
            "'tls.crt' has no subject alternative names, which clients demand: "
            "get a certificate for registry.example.com",
        ),
        (
            Made(NAME, MIDDLE, start=-100, end=-10),
            f"'registry.example.com' in 'tls.crt' expired on {day(-10):%Y-%m-%d}: "
            "write the path of a renewed one",
        ),
        (
            Made(NAME, MIDDLE, start=2),
            f"'registry.example.com' in 'tls.crt' is not valid before {day(2):%Y-%m-%d %H:%M} UTC: "
            "write the path of one that is valid now",
        ),
        (
            Made(NAME, MIDDLE, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
            "'tls.crt' is not for servers (extended key usage): get a certificate with serverAuth",
        ),
        (
            Made(NAME, MIDDLE, identifiers=False),
            "'registry.example.com' in 'tls.crt' lacks an authority key identifier, " + STRICT,
        ),
    ],
    ids=["names", "no names", "expired", "not yet", "purpose", "identifiers"],
)
def test_a_server_certificate_that_clients_refuse(
    provided: Provided, made: Made, message: str
) -> None:
    provided.write(made.pem() + MIDDLE.pem(), made.key_pem())
    assert provided.errors() == [f"certificates_tls_certificate: {message}"]
    assert not provided.strict_client_accepts(NAME)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (
            Made("Test Intermediate", ROOT, ca=True, start=-9, end=-3),
            f"'Test Intermediate' in 'tls.crt' expired on {day(-3):%Y-%m-%d}: "
            "write the path of a renewed one",
        ),
        (
            Made("Test Intermediate", ROOT, ca=True, usage=False),
            f"'Test Intermediate' in 'tls.crt' lacks a key usage with keyCertSign, {STRICT}",
        ),
        (
            Made("Test Intermediate", ROOT, ca=True, critical=False),
            "'Test Intermediate' in 'tls.crt' lacks critical basic constraints with CA:TRUE, "
            + STRICT,
        ),
        (
            Made("Test Intermediate", ROOT, ca=True, identifiers=False),
            "'Test Intermediate' in 'tls.crt' lacks a subject key identifier "
            f"and an authority key identifier, {STRICT}",
        ),
    ],
    ids=["expired", "usage", "constraints", "identifiers"],
)
def test_an_intermediate_certificate_that_clients_refuse(
    provided: Provided, middle: Made, message: str
) -> None:
    server = Made(NAME, middle)
    provided.write(server.pem() + middle.pem(), server.key_pem())
    assert provided.errors() == [f"certificates_tls_certificate: {message}"]
    assert not provided.strict_client_accepts(NAME)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (
            Made("Test Root", ca=True, start=-9, end=-3),
            f"'Test Root' in 'ca.crt' expired on {day(-3):%Y-%m-%d}: "
            "write the path of a renewed one",
        ),
        (
            Made("Test Root", ca=True, usage=False),
            f"'Test Root' in 'ca.crt' lacks a key usage with keyCertSign, {STRICT}",
        ),
    ],
    ids=["expired", "usage"],
)
def test_a_root_that_clients_refuse(provided: Provided, root: Made, message: str) -> None:
    server = Made(NAME, root)
    provided.write(server.pem(), server.key_pem(), root.pem())
    assert provided.errors() == [f"certificates_tls_ca: {message}"]
    assert not provided.strict_client_accepts(NAME)


def test_a_missing_intermediate_certificate(provided: Provided) -> None:
    provided.write(SERVER.pem())
    assert provided.errors() == [
        "certificates_tls_certificate: the chain in 'tls.crt' ends at 'registry.example.com', "
        "whose issuer 'Test Intermediate' is neither in it nor in certificates_tls_ca ('ca.crt'): "
        "append the intermediate certificates after the server's, "
        "or write the root's file into certificates_tls_ca"
    ]
    assert not provided.strict_client_accepts(NAME)


def test_a_chain_to_another_root(provided: Provided) -> None:
    provided.write(SERVER.pem() + MIDDLE.pem() + ROOT.pem(), ca=Made("Other Root", ca=True).pem())
    assert provided.errors() == [
        "certificates_tls_certificate: the chain in 'tls.crt' ends at 'Test Root', "
        "which signs itself and is not in certificates_tls_ca ('ca.crt'): "
        "write its root's file into certificates_tls_ca"
    ]
    assert not provided.strict_client_accepts(NAME)


def test_another_root_of_the_same_name_is_another_root(provided: Provided) -> None:
    provided.write(ca=Made("Test Root", ca=True).pem())
    (message,) = provided.errors()
    assert "'Test Intermediate', whose issuer 'Test Root' is neither in it nor in" in message


def test_without_a_ca_the_systems_roots_count(provided: Provided, tmp_path: Path) -> None:
    (tmp_path / "system.pem").write_bytes(Made("Other", ca=True).pem() + ROOT.pem())
    system = {"roots": str(tmp_path / "system.pem")}
    assert provided.errors(certificates_tls_ca="", controller=system) == []
    (tmp_path / "system.pem").write_bytes(Made("Other", ca=True).pem())
    assert provided.errors(certificates_tls_ca="", controller=system) == [
        "certificates_tls_certificate: the chain in 'tls.crt' ends at 'Test Intermediate', whose "
        "issuer 'Test Root' is neither in it nor in the controller's system roots: "
        "append the intermediate certificates after the server's, "
        "or write the root's file into certificates_tls_ca"
    ]


@pytest.mark.parametrize("python_knows", [True, False])
def test_the_controllers_own_roots_are_found(
    provided: Provided, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python_knows: bool
) -> None:
    # Two oddities of real bundles: text between certificates, and a certificate that is unreadable.
    damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = tmp_path / "system.pem"
    bundle.write_bytes(b"# Some Root\n" + damaged + b"# Test Root\n" + ROOT.pem())

    class Paths:
        cafile = str(bundle) if python_knows else None

    elsewhere = () if python_knows else (tmp_path / "none.pem", bundle)
    monkeypatch.setattr(certificates, "get_default_verify_paths", Paths)
    monkeypatch.setattr(certificates, "BUNDLES", elsewhere)
    assert provided.errors(certificates_tls_ca="") == []
    bundle.unlink()
    (message,) = provided.errors(certificates_tls_ca="")
    assert "nor in the controller's system roots" in message


def test_a_ca_file_without_a_root(provided: Provided) -> None:
    provided.write(SERVER.pem(), ca=MIDDLE.pem())
    assert provided.errors() == [
        "certificates_tls_ca: 'ca.crt' holds no root certificate (one that signs itself): "
        "put intermediate certificates into certificates_tls_certificate and the root here"
    ]


def test_a_key_of_another_certificate(provided: Provided) -> None:
    provided.write(key=Made(NAME).key_pem())
    assert provided.errors() == [
        "certificates_tls_key: 'tls.key' does not belong to the certificate in 'tls.crt': "
        "write the path of the key that the certificate was made for"
    ]
    assert not provided.strict_client_accepts(NAME)


def test_a_chain_in_the_wrong_order(provided: Provided) -> None:
    provided.write(MIDDLE.pem() + SERVER.pem())
    assert provided.errors() == [
        "certificates_tls_certificate: 'tls.crt' has 'Test Intermediate' before the server's own "
        "certificate 'registry.example.com': put the server's first"
    ]


def test_a_wildcard_covers_one_label(provided: Provided) -> None:
    server = Made(NAME, MIDDLE, names=("*.example.com",))
    provided.write(server.pem() + MIDDLE.pem(), server.key_pem())
    assert provided.errors(registry_extra_hostnames=["b.example.com"]) == []
    assert provided.strict_client_accepts(NAME, "b.example.com")
    assert provided.errors(registry_extra_hostnames=["a.b.example.com", "example.com"]) == [
        "certificates_tls_certificate: 'tls.crt' covers *.example.com, but not a.b.example.com, "
        "example.com: "
        "get a certificate for all of registry_hostname and registry_extra_hostnames"
    ]
    assert not provided.strict_client_accepts("a.b.example.com")


def test_addresses_are_covered_by_addresses(provided: Provided) -> None:
    server = Made(NAME, MIDDLE, names=(NAME, "10.0.0.5", "fd00::5"))
    provided.write(server.pem() + MIDDLE.pem(), server.key_pem())
    assert provided.errors(registry_extra_hostnames=["10.0.0.5", "fd00:0::5"]) == []
    (message,) = provided.errors(registry_extra_hostnames=["10.0.0.6"])
    assert "but not 10.0.0.6" in message


def test_a_certificate_that_ends_soon_is_a_warning(provided: Provided) -> None:
    server = Made(NAME, MIDDLE, end=12.5)
    provided.write(server.pem() + MIDDLE.pem(), server.key_pem())
    report = provided.judge()
    assert report.errors == []
    assert report.warnings == [
        f"certificates_tls_certificate: 'tls.crt' expires on {day(12.5):%Y-%m-%d}, in 12 days: "
        "renew it"
    ]
    assert provided.judge(certificates_renew_days=10).warnings == []


def test_a_weak_signature(provided: Provided) -> None:
    root = Made("Test Root", ca=True, key=rsa.generate_private_key(65537, 2048))
    server = Made(NAME, root)
    # The library makes no SHA-1 certificate, so the test replaces the algorithm's name
    # (1.2.840.113549.1.1, 11 for SHA-256, 5 for SHA-1) and signs the content again.
    rsa_with = bytes.fromhex("06092a864886f70d0101")
    sha256, sha1 = rsa_with + b"\x0b", rsa_with + b"\x05"
    good = server.build()
    content = good.tbs_certificate_bytes.replace(sha256, sha1)
    weak = (
        good.public_bytes(serialization.Encoding.DER)
        .replace(sha256, sha1)
        .replace(good.signature, root.key.sign(content, padding.PKCS1v15(), hashes.SHA1()))
    )
    pem = x509.load_der_x509_certificate(weak).public_bytes(serialization.Encoding.PEM)
    provided.write(pem, server.key_pem(), root.pem())
    assert provided.errors() == [
        "certificates_tls_certificate: 'registry.example.com' in 'tls.crt' is signed with SHA1, "
        "which clients refuse: get one signed with SHA-256"
    ]
    assert not provided.strict_client_accepts(NAME)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (rsa.generate_private_key(65537, 1024), "is an RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "is an ECDSA key on secp256k1"),
    ],
    ids=["RSA 1024", "secp256k1"],
)
def test_a_key_that_clients_refuse(provided: Provided, key: Any, problem: str) -> None:
    server = Made(NAME, MIDDLE, key=key)
    provided.write(server.pem() + MIDDLE.pem(), server.key_pem())
    assert provided.errors() == [
        f"certificates_tls_key: 'tls.key' {problem}, which clients refuse: write an RSA key of "
        "2048 bits or more, or ECDSA P-256, P-384 or P-521"
    ]


def test_a_key_of_another_kind(provided: Provided) -> None:
    provided.write(key=Made(NAME, key=ed25519.Ed25519PrivateKey.generate()).key_pem())
    assert provided.errors() == [
        "certificates_tls_key: 'tls.key' is neither an RSA nor an ECDSA key, which clients "
        "refuse: write an RSA key of 2048 bits or more, or ECDSA P-256, P-384 or P-521"
    ]


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        (
            "tls.key",
            SERVER.key_pem(b"passphrase"),
            "certificates_tls_key: 'tls.key' is encrypted with a passphrase, and nginx must start "
            "unattended: write the path of the decrypted key",
        ),
        (
            "tls.key",
            b"nothing",
            "certificates_tls_key: 'tls.key' holds no private key in PEM: "
            "write the key file's path",
        ),
        (
            "tls.key",
            b"$ANSIBLE_VAULT;1.1;AES256\n6162\n",
            "certificates_tls_key: 'tls.key' is encrypted by ansible-vault and was not decrypted: "
            "give the vault's password, or the path of the plain file",
        ),
        (
            "tls.crt",
            SERVER.key_pem(),
            "certificates_tls_certificate: 'tls.crt' holds a private key: "
            "write the certificate's path here, the key's in certificates_tls_key",
        ),
        (
            "tls.crt",
            SERVER.build().public_bytes(serialization.Encoding.DER),
            "certificates_tls_certificate: 'tls.crt' holds no PEM certificate: "
            "export it as PEM (-----BEGIN CERTIFICATE-----)",
        ),
        (
            "ca.crt",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificates_tls_ca: 'ca.crt' holds a damaged certificate: export it again as PEM",
        ),
    ],
    ids=["passphrase", "no key", "vault", "key for certificate", "DER", "damaged"],
)
def test_a_file_that_holds_something_else(
    provided: Provided, file: str, data: bytes, message: str
) -> None:
    (provided.folder / file).write_bytes(data)
    assert provided.errors() == [message]


def test_files_that_are_not_named_or_not_there(provided: Provided) -> None:
    assert provided.errors(
        certificates_tls_certificate="", certificates_tls_key="none.key", certificates_tls_ca="."
    ) == [
        "certificates_tls_certificate: is empty, but certificates_tls_source is provided: "
        "write the path of the PEM file on the controller",
        "certificates_tls_key: 'none.key' does not exist on the controller: "
        "write the PEM file's path",
        "certificates_tls_ca: '.' cannot be read on the controller (Is a directory): "
        "write a readable PEM file's path",
    ]


def test_files_are_read_as_the_caller_reads_them(provided: Provided) -> None:
    files = {"tls.crt": SERVER.pem() + MIDDLE.pem(), "tls.key": SERVER.key_pem(), "x": ROOT.pem()}
    assert provided.errors(certificates_tls_ca="x", controller={"read": files.__getitem__}) == []


def test_several_mistakes_of_a_certificate_arrive_together(provided: Provided) -> None:
    server = Made(NAME, MIDDLE, names=("other.example.com",), start=-9, end=-2)
    provided.write(server.pem(), Made(NAME).key_pem())
    subjects = [message.partition(":")[0] for message in provided.errors()]
    assert subjects == ["certificates_tls_key", *["certificates_tls_certificate"] * 3]
