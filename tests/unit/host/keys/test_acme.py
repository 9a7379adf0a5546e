"""Certificates of an ACME server: how certbot is run, its results, and messages."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.keys import acme
from wharfinger.host.keys.acme_errors import explain
from wharfinger.host.keys.certificates import facts
from wharfinger.host.system import processes
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.runner import Result, SystemRunner

DIRECTORY = "https://acme.example.test:14000/dir"
HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
HOUR = 3600


class Certbot(FakeRunner):
    """A real openssl; certbot signs with its own authority, or fails as requested."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.real = SystemRunner()
        self.days = 90
        self.fails: list[tuple[Result, str]] = []
        self.orders: list[dict[str, Any]] = []
        self.meddle: Callable[[dict[str, str]], None] = lambda _options: None
        self.ca, self.ca_key = folder / "ca.crt", folder / "ca.key"
        self.openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self.ca_key, "-out", self.ca, "-subj", "/CN=ACME"),
        )

    def openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        if arguments[0] == "openssl":
            return self.real.run(arguments, timeout=timeout)
        super().run(arguments, timeout=timeout, environment=environment)
        return self.certbot(list(arguments))

    def certbot(self, arguments: list[str]) -> Result:
        options = dict(pairwise(arguments))
        ini = Path(options["--config"])
        self.orders.append(
            {
                "ini": ini.read_text(),
                "mode": ini.stat().st_mode & 0o777,
                "folder": ini.parent.stat().st_mode & 0o777,
                "files": {path.name for path in ini.parent.iterdir()},
            }
        )
        bundle = self.environments[-1].get("REQUESTS_CA_BUNDLE")
        self.orders[-1]["ca"] = bundle and Path(bundle).read_text()
        log = Path(options["--logs-dir"]) / "letsencrypt.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        if self.fails:
            said, words = self.fails.pop(0)
            log.write_text(words)
            return said
        account = Path(options["--config-dir"]) / "accounts" / "server" / "dir" / "1234"
        account.mkdir(parents=True, exist_ok=True)
        (account / "regr.json").write_text("{}")
        self.openssl(
            *("x509", "-req", "-in", options["--csr"], "-CA", self.ca, "-CAkey", self.ca_key),
            *("-copy_extensions", "copy", "-days", self.days, "-out", options["--cert-path"]),
        )
        leaf = Path(options["--cert-path"]).read_text()
        Path(options["--fullchain-path"]).write_text(leaf + self.ca.read_text())
        self.meddle(options)
        return Result(0, "Successfully received certificate.\n", "Saving debug log to x\n")


@pytest.fixture
def machine() -> Machine:
    return Machine(seconds=time.time())


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    host.runner = Certbot(tmp_path)
    host.paths.etc.mkdir()
    host.paths.var.mkdir()
    answering(host, lambda path, _headers: (200, webroot(host, path).read_bytes()))
    return host


def webroot(host: Host, path: str) -> Path:
    """The file that nginx serves for a path."""
    return host.paths.var / "acme" / path.strip("/")


def answering(
    host: Host, answer: Callable[[str, Mapping[str, str]], tuple[int, bytes]], port: int = 80
) -> None:
    def probe(
        address: str, asked_port: int, path: str, timeout: float, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        assert (asked_port, timeout) == (port, 5)
        return answer(path, headers)

    host.probe = probe


def certbot(host: Host) -> Certbot:
    assert isinstance(host.runner, Certbot)
    return host.runner


def settings(**more: Any) -> dict[str, Any]:
    names = more.pop("names", ["registry.example.test", "other.example.test"])
    renew_days = more.pop("renew_days", 30)
    account = {
        "directory": DIRECTORY,
        "email": "ops@example.test",
        "eab_kid": "kid-1",
        "eab_hmac_key": HMAC,
        "ca": "-----BEGIN CERTIFICATE-----\nACME\n",
        **more,
    }
    return {"hostname": names[0], "names": names, "renew_days": renew_days, "acme": account}


def failing(host: Host, output: str, error: str, log: str = "", times: int = 1) -> None:
    said = Result(1, output, f"Saving debug log to /x/letsencrypt.log\n{error}\n")
    certbot(host).fails = [(said, log)] * times


def refused(host: Host, wanted: Mapping[str, Any], **how: Any) -> acme.AcmeError:
    with pytest.raises(acme.AcmeError) as caught:
        acme.obtain(host, wanted, **how)
    return caught.value


# -- what certbot is asked -------------------------------------------------------------------------


def test_certbot_is_asked_in_these_words_and_none_of_them_is_secret(host: Host) -> None:
    acme.obtain(host, settings())
    (call,) = certbot(host).calls
    var, etc = host.paths.var, host.paths.etc
    account = call[call.index("--config-dir") + 1]
    assert re.fullmatch(rf"{etc}/acme/[0-9a-f]{{12}}", account)
    work = f"{var}/acme-work"
    assert call == [
        *("certbot", "certonly", "--non-interactive", "--config", f"{work}/request/certbot.ini"),
        *("--server", DIRECTORY, "--config-dir", account, "--work-dir", work),
        *("--logs-dir", f"{work}/logs", "--max-log-backups", "10"),
        *("--agree-tos", "--no-eff-email", "--preferred-challenges", "http"),
        *("--webroot", "--webroot-path", f"{var}/acme"),
        *("--csr", f"{work}/request/request.pem", "--cert-path", f"{work}/request/leaf.pem"),
        *("--chain-path", f"{work}/request/intermediate.pem"),
        *("--fullchain-path", f"{work}/request/chain.pem"),
    ]
    assert not [word for word in call if HMAC in word or "kid-1" in word or "ops@" in word]


def test_the_account_is_in_a_file_of_roots_and_so_is_the_servers_authority(host: Host) -> None:
    acme.obtain(host, settings())
    (order,) = certbot(host).orders
    assert order["ini"] == f"email = ops@example.test\neab-kid = kid-1\neab-hmac-key = {HMAC}\n"
    assert (order["mode"], order["folder"]) == (0o600, 0o700)
    assert order["ca"] == "-----BEGIN CERTIFICATE-----\nACME\n"


def test_an_external_account_is_sent_only_until_there_is_an_account(host: Host) -> None:
    acme.obtain(host, settings())
    acme.obtain(host, settings(), force=True)
    assert certbot(host).orders[1]["ini"] == "email = ops@example.test\n"


def test_neither_e_mail_nor_authority_nor_external_account_is_needed(host: Host) -> None:
    acme.obtain(host, settings(email="", eab_kid="", eab_hmac_key="", ca=""))
    (order,) = certbot(host).orders
    assert order["ini"] == "register-unsafely-without-email = true\n"
    assert certbot(host).environments == [{}]


def test_nothing_of_a_request_stays_and_everything_is_roots(host: Host) -> None:
    acme.obtain(host, settings())
    work = host.paths.var / "acme-work"
    assert sorted(path.name for path in work.iterdir()) == ["logs"]
    (account,) = (host.paths.etc / "acme").iterdir()
    modes = {
        host.paths.etc / "acme": 0o700,
        account: 0o700,
        account / "last.pem": 0o600,
        work: 0o700,
        host.paths.var / "acme": 0o755,
    }
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("email", "certificates_acme_email"),
        ("eab_kid", "certificates_acme_eab_kid"),
        ("eab_hmac_key", "certificates_acme_eab_hmac_key"),
    ],
)
def test_a_line_break_cannot_become_an_option(host: Host, key: str, name: str) -> None:
    with pytest.raises(HostError) as caught:
        acme.obtain(host, settings(**{key: "a\nstaging = true"}))
    assert str(caught.value) == (
        f"{name}: it has a line break or another control character: write it on one line"
    )
    assert certbot(host).calls == []


def test_an_address_is_refused_before_anybody_is_asked(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        acme.obtain(host, settings(names=["registry.example.test", "10.0.0.1", "fd00::1"]))
    assert str(caught.value) == (
        "certificates: certbot cannot get a certificate for addresses: take 10.0.0.1, fd00::1 out "
        "of registry_extra_hostnames, or write certificates_tls_source: own_ca"
    )
    assert certbot(host).calls == []


@pytest.mark.parametrize(
    ("answer", "met"), [((404, b""), "status 404"), ((200, b"hello"), "another server")]
)
def test_the_acme_server_is_not_asked_before_our_own_proxy_serves_the_proof(
    host: Host, answer: tuple[int, bytes], met: str
) -> None:
    answering(host, lambda _path, _headers: answer)
    with pytest.raises(HostError) as caught:
        acme.obtain(host, settings())
    assert str(caught.value) == (
        f"certificates: nothing was asked of {DIRECTORY}, because nginx on this host does not hand "
        f"out /.well-known/acme-challenge/ of registry.example.test at port 80 ({met}): run the "
        "whole site.yml, and look at `nginx -T` for another site of this name"
    )
    assert certbot(host).calls == []
    assert not (host.paths.var / "acme-work" / "failed.json").exists()


def test_another_port_behind_a_port_forwarding_is_asked_there(host: Host) -> None:
    hosts: list[str] = []

    def answer(path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        hosts.append(headers["Host"])
        return 200, webroot(host, path).read_bytes()

    answering(host, answer, port=8080)
    acme.obtain(host, settings() | {"http_port": 8080})
    assert hosts == ["registry.example.test", "other.example.test"]


# -- when a new one is due -------------------------------------------------------------------------


def test_the_first_one_has_its_names_and_fits_its_key(host: Host, tmp_path: Path) -> None:
    got = acme.obtain(host, settings())
    assert got.new
    (tmp_path / "chain").write_bytes(got.chain)
    (tmp_path / "key").write_bytes(got.key)
    certificate = facts(SystemRunner(), tmp_path / "chain", tmp_path / "key")
    assert certificate is not None
    assert certificate.names == ("registry.example.test", "other.example.test")
    assert certificate.key_matches
    assert got.chain.count(b"-----BEGIN CERTIFICATE-----") == 2
    assert b"CERTIFICATE" not in got.key
    described = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key", "-noout", "-text"],
        capture_output=True,
        text=True,
    )
    assert "prime256v1" in described.stdout


def test_the_same_one_is_given_until_it_is_due(host: Host, machine: Machine) -> None:
    first = acme.obtain(host, settings())
    machine.seconds += 59 * 24 * HOUR
    again = acme.obtain(host, settings())
    assert (again.chain, again.key, again.new) == (first.chain, first.key, False)
    assert len(certbot(host).calls) == 1
    machine.seconds += 2 * 24 * HOUR
    renewed = acme.obtain(host, settings())
    assert renewed.new
    assert renewed.key != first.key


def test_a_short_life_is_renewed_when_a_third_is_left(host: Host, machine: Machine) -> None:
    certbot(host).days = 6
    acme.obtain(host, settings())
    machine.seconds += 3.9 * 24 * HOUR
    assert not acme.obtain(host, settings()).new
    machine.seconds += 0.2 * 24 * HOUR
    assert acme.obtain(host, settings()).new


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["registry.example.test"]},
        {"names": ["registry.example.test", "other.example.test", "third.example.test"]},
        {"directory": "https://other.example.test/dir"},
        {"eab_kid": "kid-2"},
        {"email": "others@example.test"},
    ],
)
def test_other_names_or_another_account_make_a_new_one(host: Host, change: dict[str, Any]) -> None:
    acme.obtain(host, settings())
    assert acme.obtain(host, settings(**change)).new
    assert not acme.obtain(host, settings(**change)).new
    # The previous account's files are gone.
    assert len(list((host.paths.etc / "acme").iterdir())) == 1


def test_the_order_of_names_makes_no_new_one(host: Host) -> None:
    acme.obtain(host, settings(names=["a.example.test", "b.example.test"]))
    assert not acme.obtain(host, settings(names=["b.example.test", "A.example.test"])).new


def test_names_that_the_authority_adds_make_no_new_one_each_time(host: Host) -> None:
    def add(options: dict[str, str]) -> None:
        runner = certbot(host)
        extensions = Path(options["--csr"]).with_name("extensions")
        extensions.write_text("subjectAltName=DNS:registry.example.test,DNS:www.example.test\n")
        runner.openssl(
            *("x509", "-req", "-in", options["--csr"], "-CA", runner.ca, "-CAkey", runner.ca_key),
            *("-extfile", extensions, "-days", 90, "-out", options["--fullchain-path"]),
        )

    certbot(host).meddle = add
    wanted = settings(names=["registry.example.test"])
    assert acme.obtain(host, wanted).new
    assert not acme.obtain(host, wanted).new


def test_a_forced_one_is_new(host: Host) -> None:
    first = acme.obtain(host, settings())
    assert acme.obtain(host, settings(), force=True).chain != first.chain


def test_a_damaged_memory_makes_a_new_one(host: Host) -> None:
    acme.obtain(host, settings())
    (kept,) = (host.paths.etc / "acme").glob("*/last.pem")
    kept.write_bytes(kept.read_bytes()[:700])
    assert acme.obtain(host, settings()).new


def test_leftovers_of_a_killed_run_do_not_disturb_the_next_run(host: Host) -> None:
    left = host.paths.var / "acme-work" / "request"
    left.mkdir(parents=True)
    (left / "chain.pem").write_text("half")
    acme.obtain(host, settings())
    assert certbot(host).orders[0]["files"] == {"certbot.ini", "key", "request.pem", "ca.crt"}


# -- failures --------------------------------------------------------------------------------------

CHALLENGE = """Requesting a certificate for registry.example.test

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority \
reported these problems:
  Domain: {name}
  Type:   {kind}
  Detail: {detail}

Hint: The Certificate Authority failed to download the temporary challenge files.
"""
TAIL = (
    "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile "
    "/x/letsencrypt.log or re-run Certbot with -v for more details."
)
LOG = "Traceback:\nacme.messages.Error: urn:ietf:params:acme:error:{} :: {} :: {}\n\nDuring …\n"
PEBBLE = 'Get "http://r.example.test:80/.well-known/acme-challenge/5ARYbNJF1gvFQzNphllgckk": '
ACCOUNT = "Unable to register an account with ACME server. "
POOL = "HTTPSConnectionPool(host='acme.example.test', port=14000): Max retries exceeded with url: "
LOOK_AT_ACCOUNT = (
    "look at certificates_acme_eab_kid, certificates_acme_eab_hmac_key and certificates_acme_email"
)
LOOK_AT_WAY = (
    "look at certificates_acme_directory and at this host's way there (name resolution, firewall, "
    "proxy)"
)
DNS = "give this name a DNS entry that leads to this host, also where the ACME server looks"
PORT = (
    "see that port 80 of this name leads to this host and is open to the ACME server "
    "(firewall, port forwarding)"
)


# Output of certbot 2.1 and 4.0, with messages of pebble and of Let's Encrypt.
@pytest.mark.parametrize(
    ("kind", "detail", "said"),
    [
        (
            "connection",
            PEBBLE + 'could not resolve URL "http://r.example.test:80/.well-known/acme-challenge/'
            '5ARYbNJF1gvFQzNphllgckk"',
            '(could not resolve URL "http://r.example.test:80/.well-known/acme-challenge/…"): '
            + DNS,
        ),
        (
            "dns",
            "DNS problem: NXDOMAIN looking up A for r.example.test - check that a DNS record "
            "exists for this domain",
            "(DNS problem: NXDOMAIN looking up A for r.example.test - check that a DNS record "
            f"exists for this domain): {DNS}",
        ),
        (
            "connection",
            PEBBLE + "dial tcp 10.99.60.13:80: connect: connection refused",
            f"(dial tcp 10.99.60.13:80: connect: connection refused): {PORT}",
        ),
        (
            "connection",
            "203.0.113.5: Fetching http://r.example.test/.well-known/acme-challenge/Xy-_1: "
            "Timeout during connect (likely firewall problem)",
            "(203.0.113.5: Fetching http://r.example.test/.well-known/acme-challenge/…: Timeout "
            f"during connect (likely firewall problem)): {PORT}",
        ),
        (
            "unauthorized",
            "Non-200 status code from HTTP: http://r.example.test:80/.well-known/acme-challenge/"
            "VATOM8aSM returned 404",
            "(Non-200 status code from HTTP: http://r.example.test:80/.well-known/acme-challenge/… "
            "returned 404): something else answers at port 80 of this name: let its DNS entries "
            "(A and AAAA) lead to this host, or forward port 80 to it",
        ),
        (
            "caa",
            "CAA record for r.example.test prevents issuance",
            "(CAA record for r.example.test prevents issuance): let the DNS CAA record of this "
            "name allow this authority",
        ),
        ("tls", "strange", "(strange): look at certbot's log"),
    ],
)
def test_a_name_that_cannot_be_checked_is_named(kind: str, detail: str, said: str) -> None:
    output = CHALLENGE.format(name="r.example.test", kind=kind, detail=detail)
    assert explain(output, f"Some challenges have failed.\n{TAIL}", "", DIRECTORY) == (
        f"no certificate from acme.example.test: it could not check r.example.test {said}"
    )


@pytest.mark.parametrize(
    ("error", "log", "said"),
    [
        (
            ACCOUNT + "Server requires external account binding. Please use --eab-kid and "
            "--eab-hmac-key.",
            "",
            "it wants to know whose account this is (external account binding): set "
            "certificates_acme_eab_kid and certificates_acme_eab_hmac_key to what its operator "
            "gave you",
        ),
        (
            ACCOUNT + "Error returned by the ACME server: the field 'kid' references a key that is "
            "not known to the ACME server",
            LOG.format("unauthorized", "The client lacks", "the field 'kid' references a key"),
            "it refuses to register an account (the field 'kid' references a key that is not known "
            f"to the ACME server): {LOOK_AT_ACCOUNT}",
        ),
        (
            "An unexpected error occurred:\nbinascii.Error: Invalid base64-encoded string",
            "",
            "certificates_acme_eab_hmac_key is not base64url: write the key just as its operator "
            "gave it to you",
        ),
        (
            "An unexpected error occurred:\nValueError: Requesting acme.example.test/dir: "
            "Connection refused",
            "",
            f"it cannot be reached (Connection refused): {LOOK_AT_WAY}",
        ),
        (
            f"requests.exceptions.ConnectionError: {POOL}/dir (Caused by NameResolutionError("
            '"<urllib3.connection.HTTPSConnection object at 0x7f7a715478c0>: Failed to resolve '
            "'acme.example.test' ([Errno -2] Name or service not known)\"))",
            "",
            f"its name does not resolve here (Name or service not known): {LOOK_AT_WAY}",
        ),
        (
            f"requests.exceptions.ConnectTimeout: {POOL}/dir (Caused by ConnectTimeoutError(<x "
            "object at 0x7fe7>, 'Connection to acme.example.test timed out. (connect "
            "timeout=45)'))",
            "",
            f"it cannot be reached (timed out): {LOOK_AT_WAY}",
        ),
        (
            f"requests.exceptions.SSLError: {POOL}/dir (Caused by SSLError("
            "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
            "failed: unable to get local issuer certificate (_ssl.c:992)')))",
            "",
            "its own certificate is refused (unable to get local issuer certificate): set "
            "certificates_acme_ca to the file (PEM) of the authority that vouches for it",
        ),
        (
            f"requests.exceptions.SSLError: {POOL}/dir (Caused by SSLError("
            'SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify '
            "failed: IP address mismatch, certificate is not valid for '10.99.60.3'. "
            '(_ssl.c:1029)")))',
            "",
            "its own certificate is for another name: write the server's right name in "
            "certificates_acme_directory",
        ),
        (
            f"requests.exceptions.SSLError: {POOL}/dir (Caused by SSLError(CertificateError("
            "\"hostname '10.99.60.3' doesn't match 'acme.example.test'\")))",
            "",
            "its own certificate is for another name: write the server's right name in "
            "certificates_acme_directory",
        ),
        (
            f"requests.exceptions.SSLError: {POOL}/dir (Caused by SSLError(SSLError(136, '[X509: "
            "NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found (_ssl.c:4346)')))",
            "",
            "certificates_acme_ca holds no certificate: set it to the file (PEM) of the authority "
            "that vouches for the ACME server",
        ),
        (
            "acme.errors.ClientError: <Response [404]>",
            "",
            f"what answers at {DIRECTORY} is not an ACME server: write the address of its "
            "directory in certificates_acme_directory",
        ),
        (
            "acme.errors.ClientError: Unexpected response Content-Type: text/html",
            "",
            f"what answers at {DIRECTORY} is not an ACME server: write the address of its "
            "directory in certificates_acme_directory",
        ),
        (
            "too many certificates already issued",
            LOG.format(
                "rateLimited",
                "There were too many requests of a given type",
                'too many failed authorizations for "r.example.test" in the last 1h0m0s, retry '
                "after 2026-06-12 15:34:00 UTC",
            ),
            'its limit is reached (too many failed authorizations for "r.example.test" in the last '
            "1h0m0s, retry after 2026-06-12 15:34:00 UTC): wait: the timer tries again when it may",
        ),
        # Debian 12's certbot prints this for every error of the server.
        (
            "An unexpected error occurred:\nAttributeError: can't set attribute",
            LOG.format(
                "rejectedIdentifier",
                "The server will not issue certificates for the identifier",
                'Order included an identifier for which issuance is forbidden by policy: "x.test"',
            ),
            "it refuses a name (Order included an identifier for which issuance is forbidden by "
            'policy: "x.test"): take it out of registry_hostname or registry_extra_hostnames, or '
            "ask another authority",
        ),
        (
            "An unexpected error occurred:\nsome words",
            LOG.format("orderNotReady", "The request attempted to finalize", "some words"),
            "it answers orderNotReady (some words): look at certbot's log",
        ),
        (
            "acme.errors.TimeoutError",
            "",
            "it has not answered in time: wait: the timer tries again",
        ),
        (
            "SomeError: words",
            "",
            "certbot failed (SomeError: words): look at certbot's log",
        ),
        ("", "", "certbot failed (it said nothing): look at certbot's log"),
    ],
)
def test_a_failure_is_explained(error: str, log: str, said: str) -> None:
    error = f"Saving debug log to /x\n{error}\n{TAIL}"
    assert explain("", error, log, DIRECTORY) == f"no certificate from acme.example.test: {said}"


def test_a_secret_in_certbots_words_is_not_passed_on() -> None:
    assert HMAC not in explain("", f"the key {HMAC} is bad", "", DIRECTORY, (HMAC,))


def test_long_words_are_cut() -> None:
    assert len(explain("", "x" * 5000, "", DIRECTORY)) < 450


def test_a_failure_says_where_the_log_is_and_leaves_the_last_one(
    host: Host, machine: Machine
) -> None:
    acme.obtain(host, settings())
    (kept,) = (host.paths.etc / "acme").glob("*/last.pem")
    before = kept.read_bytes()
    machine.seconds += 61 * 24 * HOUR
    failing(host, "", f"acme.errors.TimeoutError\n{TAIL}")
    assert str(refused(host, settings())) == (
        "certificates: no certificate from acme.example.test: it has not answered in time: wait: "
        f"the timer tries again (certbot's log: {host.paths.var}/acme-work/logs/letsencrypt.log)"
    )
    assert kept.read_bytes() == before
    assert not (host.paths.var / "acme-work" / "request").exists()


def test_another_account_that_fails_leaves_the_present_one(host: Host) -> None:
    acme.obtain(host, settings())
    failing(host, "", f"acme.errors.TimeoutError\n{TAIL}")
    refused(host, settings(eab_kid="kid-2"))
    assert not acme.obtain(host, settings()).new


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (127, "certificates: certbot is not installed: run site.yml, which installs it"),
        (
            124,
            "certificates: certbot did not end within 600 s: see that "
            f"{DIRECTORY} can be reached from this host",
        ),
    ],
)
def test_certbot_that_is_missing_or_hangs_is_named(host: Host, code: int, message: str) -> None:
    certbot(host).fails = [(Result(code, "", "x"), "")]
    assert str(refused(host, settings())) == message


def test_an_account_that_the_server_has_forgotten_is_created_again(host: Host) -> None:
    acme.obtain(host, settings())
    log = LOG.format("accountDoesNotExist", "The request specified", "Account x not found")
    failing(host, "", "AttributeError: can't set attribute", log)
    assert acme.obtain(host, settings(), force=True).new
    assert [HMAC in order["ini"] for order in certbot(host).orders] == [True, False, True]


@pytest.mark.parametrize(
    ("meddle", "seen"),
    [
        (
            lambda options: Path(options["--fullchain-path"]).write_text(""),
            "it is not a certificate",
        ),
        (
            lambda options: subprocess.run(
                [
                    *("openssl", "genpkey", "-algorithm", "ED25519"),
                    *("-out", Path(options["--csr"]).with_name("key")),
                ],
                check=True,
            ),
            "it is for another key",
        ),
    ],
)
def test_a_certificate_that_does_not_fit_is_not_taken(
    host: Host, meddle: Callable[[dict[str, str]], None], seen: str
) -> None:
    certbot(host).meddle = meddle
    assert str(refused(host, settings())) == (
        f"certificates: the certificate from {DIRECTORY} cannot be used: {seen}: look at this "
        "host's clock and at the ACME server"
    )
    assert list((host.paths.etc / "acme").glob("*/last.pem")) == []


def test_a_certificate_that_has_ended_by_the_hosts_clock_is_not_taken(
    host: Host, machine: Machine
) -> None:
    machine.seconds += 100 * 24 * HOUR
    assert "by this host's clock it has already ended" in str(refused(host, settings()))


# -- pauses ----------------------------------------------------------------------------------------


def attempts(host: Host, machine: Machine, hours: float) -> list[float]:
    """After how many hours the timer, which runs every 15 minutes, really asks the server."""
    start, times = machine.seconds, []
    while machine.seconds < start + hours * HOUR:
        before = len(certbot(host).calls)
        problem = refused(host, settings())
        assert problem.tried == (len(certbot(host).calls) > before)
        if problem.tried:
            times.append((machine.seconds - start) / HOUR)
        machine.seconds += HOUR / 4
    return times


def test_the_timer_tries_again_with_growing_pauses(host: Host, machine: Machine) -> None:
    failing(host, "", "acme.errors.TimeoutError", times=20)
    assert attempts(host, machine, 40) == [0, 1, 3, 7, 15, 27, 39]


def test_a_short_life_leaves_several_attempts(host: Host, machine: Machine) -> None:
    certbot(host).days = 1
    acme.obtain(host, settings())
    machine.seconds += 16.25 * HOUR
    failing(host, "", "acme.errors.TimeoutError", times=40)
    hours = attempts(host, machine, 7.75)
    assert len(hours) >= 8
    assert all(later - earlier >= 0.25 for earlier, later in pairwise(hours))


def test_in_a_pause_the_same_words_are_said(host: Host, machine: Machine) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    first = refused(host, settings())
    machine.seconds += HOUR / 2
    again = refused(host, settings())
    assert (str(again), again.again) == (str(first), first.again)
    assert (first.tried, again.tried) == (True, False)
    assert first.again == pytest.approx(machine.seconds + HOUR / 2)


@pytest.mark.parametrize("how", [{"now": True}, {"force": True}])
def test_a_person_does_not_wait(host: Host, how: dict[str, bool]) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    refused(host, settings())
    assert acme.obtain(host, settings(), **how).new


@pytest.mark.parametrize("change", [{"eab_hmac_key": "AAAA"}, {"ca": "x"}, {"eab_kid": "kid-2"}])
def test_a_changed_setting_ends_the_pause(host: Host, change: dict[str, str]) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    refused(host, settings())
    assert acme.obtain(host, settings(**change)).new


def test_success_is_followed_by_no_pause(host: Host, machine: Machine) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    refused(host, settings())
    machine.seconds += 2 * HOUR
    assert acme.obtain(host, settings()).new
    assert not (host.paths.var / "acme-work" / "failed.json").exists()


def test_a_limit_is_waited_for_as_long_as_the_server_says(host: Host, machine: Machine) -> None:
    until = machine.seconds + 30 * HOUR
    said = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(until))
    words = f"too many certificates already issued, retry after {said} UTC: see https://x"
    failing(host, "", "x", LOG.format("rateLimited", "There were too many requests", words))
    assert refused(host, settings()).again == pytest.approx(until, abs=1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"what": 1}'])
def test_a_damaged_memory_of_failures_is_none(host: Host, content: str) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    refused(host, settings())
    (host.paths.var / "acme-work" / "failed.json").write_text(content)
    assert acme.obtain(host, settings()).new


def test_a_clock_that_was_set_back_does_not_lengthen_a_pause(host: Host, machine: Machine) -> None:
    failing(host, "", "acme.errors.TimeoutError")
    refused(host, settings())
    machine.seconds -= 24 * HOUR
    assert acme.obtain(host, settings()).new


def test_the_remembered_attempt_belongs_to_root_and_has_no_secrets(host: Host) -> None:
    failing(host, "", f"bad {HMAC}")
    refused(host, settings())
    path = host.paths.var / "acme-work" / "failed.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert HMAC not in path.read_text()
    assert json.loads(path.read_text())["count"] == 1


# -- where the names lead --------------------------------------------------------------------------


def warnings(host: Host, addresses: list[str], own: set[str] | None = None) -> list[str]:
    return acme.reachability(
        host,
        settings(names=["r.example.test"]),
        resolve=lambda _name: addresses,
        own=lambda address: address in (own or set()),
    )


def test_a_name_that_leads_to_this_host_is_not_a_problem(host: Host) -> None:
    assert warnings(host, ["10.0.0.1", "fd00::1"], own={"10.0.0.1", "fd00::1"}) == []


def test_another_address_that_leads_here_is_said(host: Host) -> None:
    requests: list[Mapping[str, str]] = []

    def nat(path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        requests.append(headers)
        file = webroot(host, path)
        assert file.stat().st_mode & 0o777 == 0o644
        return 200, file.read_bytes()

    answering(host, nat)
    assert warnings(host, ["10.0.0.1", "203.0.113.9"], own={"10.0.0.1"}) == [
        "certificates: r.example.test resolves to 203.0.113.9, which is not an address of this "
        "host, but its port 80 leads here (/.well-known/acme-challenge/ was fetched)"
    ]
    assert requests == [{"Host": "r.example.test"}]
    assert list((host.paths.var / "acme" / ".well-known" / "acme-challenge").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        (lambda _path, _headers: (404, b""), "status 404"),
        (lambda _path, _headers: (200, b"<html>"), "another server"),
    ],
)
def test_something_else_at_that_address_is_said(
    host: Host, answer: Callable[[str, Mapping[str, str]], tuple[int, bytes]], met: str
) -> None:
    answering(host, answer)
    assert warnings(host, ["203.0.113.9"]) == [
        "certificates: r.example.test resolves to 203.0.113.9, which is not an address of this "
        f"host, and a request for /.well-known/acme-challenge/ there met {met}: unless the ACME "
        "server sees another DNS entry, let it lead to this host, or forward port 80 to it"
    ]


def test_an_address_on_which_nothing_listens_is_reported(host: Host) -> None:
    def closed(path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        raise ConnectionRefusedError(111, "Connection refused")

    answering(host, closed)
    (text,) = warnings(host, ["203.0.113.9"])
    assert "there met Connection refused: unless" in text


def test_a_name_without_an_address_is_said(host: Host) -> None:
    def nowhere(_name: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    assert acme.reachability(host, settings(names=["r.example.test"]), resolve=nowhere) == [
        "certificates: r.example.test does not resolve on this host (Name or service not known): "
        "the ACME server must resolve it by its DNS, and reach port 80 of this host"
    ]


def test_this_hosts_addresses_are_its_own_and_others_are_not() -> None:
    assert processes.is_own("127.0.0.1")
    assert processes.is_own("127.0.1.1")
    assert processes.is_own("::1")
    assert not processes.is_own("203.0.113.9")
    assert acme.addresses_of("127.0.0.1") == ["127.0.0.1"]
