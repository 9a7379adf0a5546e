"""Makes keys and certificates by the openssl command line (3.0 and newer).

This module does not know where they are kept or why they are made. It takes and returns PEM bytes,
and uses a work directory that only root can enter and that is removed afterwards. The extensions
are those that RFC 5280 demands and strict clients (Python 3.13 and newer) check.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..system import signing_keys
from ..system.errors import HostError
from ..system.files import remove_tree
from ..system.runner import Runner
from ..system.signing_keys import RS256

# The limit of a common name in X.520; clients only look at the alternative names.
_LONGEST_NAME = 64
_PATIENCE = 60

KEYS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


class Pki:
    """Makes keys and certificates, one at a time, with work files in `folder`/`work` (root-only).

    Each call raises HostError with openssl's message if it fails.
    """

    def __init__(self, runner: Runner, folder: Path, work: str = ".work") -> None:
        self._runner = runner
        # Always the same: the next use removes what a killed run has left, including keys.
        self._folder = folder / work

    def key(self, kind: str) -> bytes:
        """A new private key (PKCS #8, PEM): `rsa` or `ec`."""
        return self._openssl("genpkey", *KEYS[kind])

    def signing_key(self, algorithm: str) -> bytes:
        """A new private key that signs tokens: for RS256 or ES256."""
        if algorithm == RS256:
            return self.key("rsa")
        while True:
            key = self.key("ec")
            with self._work(key=key) as work:
                printed = self._openssl("pkey", "-in", work / "key", "-pubout")
            public = signing_keys.read(printed.decode())
            assert public is not None
            if public.known_to_the_registry:
                return key

    def signing(self, key: bytes, hostname: str, days: int) -> bytes:
        """A self-signed certificate for the key that signs tokens."""
        with self._work(key=key, config=_config(f"{hostname} token signing", _SIGNING)) as work:
            return self._self_signed(work, days)

    def authority(self, key: bytes, name: str, names: Iterable[str], days: int) -> bytes:
        """A root certificate that may vouch for `names` (and names below them) and nothing else."""
        with self._work(key=key, config=_config(name, _authority(names))) as work:
            return self._self_signed(work, days)

    def cross(
        self, key: bytes, name: str, names: Iterable[str], by: tuple[bytes, bytes], days: int
    ) -> bytes:
        """A certificate for the authority's `key`, signed by another authority, `by` (certificate,
        key): clients that trust only that one then accept this one too (RFC 5280, 3.2)."""
        with self._work(
            key=key, config=_config(name, _authority(names)), ca=by[0], ca_key=by[1]
        ) as work:
            return self._signed(work, days)

    def request(self, key: bytes, names: Sequence[str]) -> bytes:
        """A request for a server's certificate with these names, to be signed elsewhere."""
        with self._work(key=key, config=_config(names[0], _server(names))) as work:
            return self._request(work)

    def server(self, key: bytes, names: Sequence[str], by: tuple[bytes, bytes], days: int) -> bytes:
        """A server's certificate for `names`, signed by an authority, `by` (certificate, key)."""
        with self._work(
            key=key, config=_config(names[0], _server(names)), ca=by[0], ca_key=by[1]
        ) as work:
            return self._signed(work, days)

    def sign(
        self, request: bytes, names: Sequence[str], by: tuple[bytes, bytes], days: int
    ) -> bytes:
        """A server's certificate for `names` and the key in `request`, of which nothing else is
        used."""
        config = _config(names[0], _server(names))
        with self._work(request=request, config=config, ca=by[0], ca_key=by[1]) as work:
            return self._signed(work, days)

    # -- openssl -----------------------------------------------------------------------------------

    @contextmanager
    def _work(self, **files: bytes) -> Iterator[Path]:
        self.clean()
        self._folder.mkdir(mode=0o700)
        try:
            for file, data in files.items():
                (self._folder / file).write_bytes(data)
            yield self._folder
        finally:
            self.clean()

    def clean(self) -> None:
        """Removes what a killed run has left."""
        remove_tree(self._folder)

    def _self_signed(self, work: Path, days: int) -> bytes:
        return self._openssl(
            *("req", "-x509", "-new", "-key", work / "key", "-config", work / "config"),
            *("-sha256", "-days", days, "-set_serial", _serial()),
        )

    def _request(self, work: Path) -> bytes:
        return self._openssl(
            *("req", "-new", "-key", work / "key", "-config", work / "config", "-sha256")
        )

    def _signed(self, work: Path, days: int) -> bytes:
        request = work / "request"
        if not request.exists():
            request.write_bytes(self._request(work))
        return self._openssl(
            *("x509", "-req", "-in", request, "-CA", work / "ca", "-CAkey", work / "ca_key"),
            *("-extfile", work / "config", "-extensions", "signed"),
            *("-sha256", "-days", days, "-set_serial", _serial()),
        )

    def _openssl(self, *arguments: object) -> bytes:
        said = self._runner.run(["openssl", *map(str, arguments)], timeout=_PATIENCE)
        if not said.ok or "-----BEGIN" not in said.output:
            raise HostError(
                f"openssl {arguments[0]} failed ({said.words or 'it said nothing'}): see that the "
                "host's openssl is 3.0 or newer and that its disk is not full"
            )
        return said.output.encode()


def _serial() -> str:
    """Random, positive and at most 20 octets (RFC 5280, 4.1.2.2)."""
    return f"0x{secrets.token_hex(16)}"


_SIGNING = (
    "basicConstraints = critical, CA:FALSE",
    "keyUsage = critical, digitalSignature",
)


def _authority(names: Iterable[str]) -> tuple[str, ...]:
    return (
        # One authority may be below it: its successor, by the cross certificate.
        "basicConstraints = critical, CA:TRUE, pathlen:1",
        "keyUsage = critical, keyCertSign, cRLSign",
        f"nameConstraints = critical, {name_constraints(names)}",
    )


def _server(names: Sequence[str]) -> tuple[str, ...]:
    return (
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth",
        f"subjectAltName = {', '.join(map(alternative_name, names))}",
    )


def _config(name: str, extensions: tuple[str, ...]) -> bytes:
    """openssl's configuration. A request has the extensions too, for its signer."""
    own = (*extensions, "subjectKeyIdentifier = hash")
    return "\n".join(
        [
            "[req]",
            "prompt = no",
            "utf8 = yes",
            "string_mask = utf8only",
            "distinguished_name = name",
            "x509_extensions = own",
            "req_extensions = own",
            "[name]",
            f"CN = {name[:_LONGEST_NAME]}",
            "[own]",
            *own,
            "[signed]",
            *own,
            "authorityKeyIdentifier = keyid:always",
            "",
        ]
    ).encode()


def authority_name(hostname: str, now: float) -> str:
    """An authority's common name, with the day of `now` (seconds since 1970), so that two
    authorities differ in a client's list."""
    return f"{hostname[:48]} CA {time.strftime('%Y-%m-%d', time.gmtime(now))}"


def alternative_name(name: str) -> str:
    """`DNS:NAME` or `IP:ADDRESS`, as openssl writes a subject alternative name."""
    return f"DNS:{name}" if _address(name) is None else f"IP:{name}"


def name_constraints(names: Iterable[str]) -> str:
    """The name constraints (RFC 5280, 4.2.1.10) for `names`: addresses exactly, DNS names with
    names below them. Without an address all addresses are excluded, since a constraint on DNS names
    says nothing about addresses. A registry always has a DNS name."""
    texts = []
    for name in names:
        address = _address(name)
        if address is None:
            texts.append(f"permitted;DNS:{name}")
        else:
            mask = ipaddress.ip_network(f"{address}/{address.max_prefixlen}").netmask
            texts.append(f"permitted;IP:{address}/{mask}")
    if not any("IP:" in text for text in texts):
        texts += ["excluded;IP:0.0.0.0/0.0.0.0", "excluded;IP:::/::"]
    return ", ".join(texts)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
