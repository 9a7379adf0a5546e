"""The registry accepts only its own token server's tokens, for itself, while they are valid."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import load_pem_x509_certificate
from testinfra.host import Host

from support import hosts
from support.images import Pushed
from support.registry import MANIFEST, Account, Registry
from wharfinger.host.keys.rotation import LEEWAY

SCOPE = "repository:other/app:pull"


@pytest.fixture(scope="module")
def signing_key(machine: Host) -> str:
    """The host's own key. The tests use it as a thief would, to have a valid token to compare."""
    return machine.file("/etc/wharfinger/certificates/signing.key").content_string


@pytest.fixture(scope="module")
def signing_certificate(machine: Host) -> bytes:
    return machine.file("/etc/wharfinger/certificates/signing.crt").content


@pytest.fixture(scope="module")
def genuine(registry: Registry, admin: Account) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that the token server has made."""
    token = registry.token(admin, SCOPE)
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.get_unverified_header(token), claims


Ask = Callable[[str], int]


@pytest.fixture
def ask(registry: Registry, images: dict[str, Pushed]) -> Ask:
    """The status of a request with a token for an existing image."""
    path = f"/v2/other/app/manifests/{images['other/app'].digest}"

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "Accept": MANIFEST}
        return registry.request("GET", path, headers=headers).status

    return status


def signed(
    genuine: tuple[dict[str, Any], dict[str, Any]], key: str, header: Any = None, **claims: Any
) -> str:
    """The genuine token with other claims, signed with a key. The algorithm is the genuine one,
    unless `header` has another."""
    now = int(time.time())
    times = {"iat": now, "nbf": now - 10, "exp": now + 60}
    return jwt.encode(
        {**genuine[1], **times, **claims},
        key,
        headers={**genuine[0], **(header or {})},
    )


def part(content: Any) -> str:
    """A segment of a token."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_signed_like_the_token_servers_is_taken(
    ask: Ask, genuine: tuple[dict[str, Any], dict[str, Any]], signing_key: str
) -> None:
    # The comparison for all tests below: the same token, with nothing wrong.
    assert ask(signed(genuine, signing_key)) == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": int(time.time()) - 3600, "nbf": int(time.time()) - 7200},
        {"nbf": int(time.time()) + 3600},
        {"aud": "another.registry.test"},
        {"iss": "another issuer"},
        {"access": []},
    ],
    ids=["expired", "not valid yet", "for another service", "by another issuer", "for nothing"],
)
def test_a_wrong_token_is_refused_though_the_key_is_right(
    ask: Ask,
    genuine: tuple[dict[str, Any], dict[str, Any]],
    signing_key: str,
    wrong: dict[str, Any],
) -> None:
    assert ask(signed(genuine, signing_key, **wrong)) == 401


@pytest.mark.parametrize(("ago", "status"), [(LEEWAY // 2, 200), (LEEWAY + 5, 401)])
def test_a_token_is_taken_for_a_minute_after_its_end(
    ask: Ask,
    genuine: tuple[dict[str, Any], dict[str, Any]],
    signing_key: str,
    ago: int,
    status: int,
) -> None:
    # So a removed user's last token works for docker_auth_token_lifetime and a minute.
    end = int(time.time()) - ago
    assert ask(signed(genuine, signing_key, exp=end, nbf=end - 300)) == status


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_signed_with_another_key_is_refused(
    ask: Ask, genuine: tuple[dict[str, Any], dict[str, Any]], algorithm: str
) -> None:
    if algorithm == "RS256":
        modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        n = modulus.public_key().public_numbers().n
        key, own = pem(modulus), {"kty": "RSA", "n": part(n.to_bytes(256, "big")), "e": "AQAB"}
    else:
        scalar = ec.generate_private_key(ec.SECP256R1())
        point = scalar.public_key().public_numbers()
        x, y = (part(coordinate.to_bytes(32, "big")) for coordinate in (point.x, point.y))
        key, own = pem(scalar), {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    assert ask(signed(genuine, key, header={"alg": algorithm})) == 401
    # A key in the token's own header does not help either.
    assert ask(signed(genuine, key, header={"alg": algorithm, "jwk": own})) == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_a_token_without_signature_is_refused(
    ask: Ask, genuine: tuple[dict[str, Any], dict[str, Any]], algorithm: str
) -> None:
    header = {**genuine[0], "alg": algorithm}
    for signature in ("", part(b"signature")):
        assert ask(f"{part(header)}.{part(genuine[1])}.{signature}") == 401


def test_the_public_key_does_not_work_as_a_shared_secret(
    ask: Ask, genuine: tuple[dict[str, Any], dict[str, Any]], signing_certificate: bytes
) -> None:
    public = load_pem_x509_certificate(signing_certificate).public_key()
    encodings = [
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
    ]
    secrets = [signing_certificate] + [public.public_bytes(*pair) for pair in encodings]
    for secret in secrets:
        text = f"{part({**genuine[0], 'alg': 'HS256'})}.{part(genuine[1])}"
        mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        assert ask(f"{text}.{part(mac)}") == 401


def test_a_changed_token_is_refused(ask: Ask, registry: Registry, someuser: Account) -> None:
    header, claims, signature = registry.token(someuser, SCOPE).split(".")
    plain = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    plain["access"] = [{"type": "repository", "name": "other/app", "actions": ["pull"]}]
    assert ask(f"{header}.{part(plain)}.{signature}") == 401


def test_a_token_of_another_registry_is_refused(name: str, ask: Ask) -> None:
    others = [other for other in hosts.group("registry") if other != name]
    assert others
    for other in others:
        assert ask(hosts.registry(other).token(hosts.account("admin"), SCOPE)) == 401


def test_the_token_says_how_long_it_lives(registry: Registry, admin: Account) -> None:
    answer = registry.token_answer(admin, SCOPE).json
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert answer["expires_in"] == 60
    assert claims["exp"] - claims["iat"] == 60
