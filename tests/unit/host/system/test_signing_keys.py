"""Signing keys: other libraries read the same, and the registry knows keys that are made here."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import ECKey, RSAKey

from wharfinger.host.keys import pki
from wharfinger.host.system import signing_keys
from wharfinger.host.system.runner import SystemRunner

PEM = serialization.Encoding.PEM


def printed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    information = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(PEM, information).decode()


def private(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.mark.parametrize(("exponent", "bits"), [(65537, 2048), (3, 2048), (65537, 3072)])
def test_an_rsa_key_has_the_identifier_that_others_work_out(exponent: int, bits: int) -> None:
    key = rsa.generate_private_key(exponent, bits)
    public = signing_keys.read(f"words before\n{printed(key)}words after\n")
    assert public is not None
    assert public.algorithm == "RS256"
    assert public.identifier == RSAKey.import_key(private(key)).thumbprint()
    assert public.known_to_the_registry


def test_an_es256_key_has_the_identifier_that_others_work_out() -> None:
    seen = set()
    for number in itertools.count(1):
        key = ec.derive_private_key(number, ec.SECP256R1())
        public = signing_keys.read(printed(key))
        assert public is not None
        assert public.algorithm == "ES256"
        assert public.identifier == ECKey.import_key(private(key)).thumbprint()
        point = key.public_key().public_numbers()
        zeros = point.x >> 248 == 0, point.y >> 248 == 0
        assert public.known_to_the_registry is not any(zeros)
        seen.add(zeros)
        if number > 600 and len(seen) >= 3:
            break


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_certificate_says_the_same_as_its_key(tmp_path: Path, algorithm: str) -> None:
    maker = pki.Pki(SystemRunner(), tmp_path)
    key = maker.signing_key(algorithm)
    loaded = serialization.load_pem_private_key(key, None)
    assert isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    public = signing_keys.read(maker.signing(key, "r.example.com", 3).decode())
    assert public is not None
    assert public.algorithm == algorithm
    assert public == signing_keys.read(printed(loaded))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        printed(ec.generate_private_key(ec.SECP384R1())),
        printed(ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_a_key_that_signs_no_tokens_is_not_read(text: str) -> None:
    assert signing_keys.read(text) is None


def test_a_key_of_which_the_registry_works_out_another_identifier_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = ec.SECP256R1()
    numbers = (ec.derive_private_key(number, curve) for number in itertools.count(1))
    unknown = [
        private(key)
        for key in itertools.islice(numbers, 600)
        if min(key.public_key().public_numbers().x, key.public_key().public_numbers().y) >> 248 == 0
    ]
    good = private(ec.derive_private_key(1, curve))
    made = iter([*unknown[:2], good])
    maker = pki.Pki(SystemRunner(), tmp_path)
    monkeypatch.setattr(maker, "key", lambda _kind: next(made))
    assert maker.signing_key("ES256") == good
    assert list(tmp_path.iterdir()) == []
