"""Keys and certificates, made by the openssl command line (3.0 and newer).

Nothing here knows where they lie or why they are made: keys and certificates go in and out as PEM
bytes, through a work directory that only root can enter and that is gone afterwards. The extensions
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

# X.520 allows a common name this many characters; clients look at the alternative names only.
_LONGEST_NAME = 64
_PATIENCE = 60

KEYS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


class Pki:
    """Makes keys and certificates in `folder` (root-only), where its work files come and go, in
    `work`: one at a time.

    Each call raises HostError with openssl's words where that fails.
    """

    def __init__(self, runner: Runner, folder: Path, work: str = ".work") -> None:
        self._runner = runner
        # Always the same, so that what a kill leaves there, keys included, goes with the next use.
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
        """The certificate, signed by itself, of the key that signs tokens."""
        with self._work(key=key, config=_config(f"{hostname} token signing", _SIGNING)) as work:
            return self._self_signed(work, days)

    def authority(self, key: bytes, name: str, names: Iterable[str], days: int) -> bytes:
        """A root certificate that may vouch for `names` (and names below them) and nothing else."""
        with self._work(key=key, config=_config(name, _authority(names))) as work:
            return self._self_signed(work, days)

    def cross(
        self, key: bytes, name: str, names: Iterable[str], by: tuple[bytes, bytes], days: int
    ) -> bytes:
        """The certificate of the authority's `key`, signed by another authority, `by` (its
        certificate and key): who trusts only that one can follow it to this one (RFC 5280, 3.2)."""
        with self._work(
            key=key, config=_config(name, _authority(names)), ca=by[0], ca_key=by[1]
        ) as work:
            return self._signed(work, days)

    def request(self, key: bytes, names: Sequence[str]) -> bytes:
        """A certificate request for a server of these names, to be signed elsewhere."""
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
        """A server's certificate for `names` and the key in somebody's request. Of the request only
        the key counts."""
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
        """Takes away what a killed run has left."""
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
        # One authority may stand below it: its successor, in the cross certificate.
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
    """openssl's configuration. A request carries the extensions too, for whoever signs it."""
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
    """An authority's common name; with the day (of `now`, seconds since 1970), so that two of them
    can be told apart in a client's list."""
    return f"{hostname[:48]} CA {time.strftime('%Y-%m-%d', time.gmtime(now))}"


def alternative_name(name: str) -> str:
    """`DNS:NAME` or `IP:ADDRESS`, as openssl writes a subject alternative name."""
    return f"DNS:{name}" if _address(name) is None else f"IP:{name}"


def name_constraints(names: Iterable[str]) -> str:
    """The constraint (RFC 5280, 4.2.1.10) to `names`: an address exactly, a DNS name with those
    below it. Without any address all are excluded, since it says nothing of other kinds of
    names; a registry always has a DNS name."""
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
