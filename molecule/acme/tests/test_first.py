"""The registries serve the ACME server's certificate; before, they served their own authority's."""

from __future__ import annotations

import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from testinfra.host import Host

from support import hosts
from support.docker import Docker
from support.registry import ANONYMOUS, Registry

REGISTRIES = hosts.group("registry")


@pytest.fixture(params=REGISTRIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machine(name: str) -> Host:
    return hosts.host(name)


def test_the_own_authoritys_certificate_was_served_until_the_acme_servers_came(name: str) -> None:
    met = json.loads((hosts.ephemeral() / f"{name}-first.json").read_text())
    answered = [answer for answer in met if "issuer" in answer]
    issuers = list(dict.fromkeys(answer["issuer"] for answer in answered))
    assert len(issuers) == 2
    assert issuers[0].startswith(f"{name}.wharfinger.test CA")
    assert issuers[1].startswith("Pebble Intermediate")
    # After the first answer, every request is answered, and the certificate changes once.
    begun = next(number for number, answer in enumerate(met) if answer.get("status") == 401)
    assert {answer.get("status") for answer in met[begun:]} == {401}
    assert len({answer["certificate"] for answer in met[begun:]}) == 2


def test_a_client_that_trusts_only_the_acme_servers_root_can_sign_in(name: str) -> None:
    address = hosts.variables(name)["ansible_host"]
    root = hosts.ephemeral() / "root.crt"
    registry = Registry(f"{name}.wharfinger.test", address, str(root))
    assert registry.login(hosts.account("admin")) == 200
    assert registry.pull(ANONYMOUS, "nothing/here", "latest").status == 401


def test_the_root_lies_beside_the_inventory(name: str) -> None:
    beside = hosts.inventory_file().parent / "credentials" / f"{name}.wharfinger.test-ca.crt"
    assert beside.read_text() == (hosts.ephemeral() / "root.crt").read_text()


def test_the_certificate_is_of_an_elliptic_curve_and_for_the_name(name: str) -> None:
    address = hosts.variables(name)["ansible_host"]
    certificate = x509.load_pem_x509_certificate(
        ssl.get_server_certificate((address, 443)).encode()
    )
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"{name}.wharfinger.test" in names.get_values_for_type(x509.DNSName)


def test_docker_signs_in_pushes_and_pulls(name: str) -> None:
    docker = Docker(hosts.host("client"), hosts.registry(name))
    try:
        signed_in = docker.login("admin")
        assert signed_in.rc == 0, signed_in.stderr
        image = docker.image("any/tool")
        assert docker("push", image).rc == 0
        docker("image rm --force", image)
        assert docker("pull", image).rc == 0
    finally:
        docker.client.run("rm -rf %s", docker.configuration)


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/wharfinger/acme", 0o700),
        ("/etc/wharfinger/certificates/tls.key", 0o600),
        ("/etc/wharfinger/certificates/settings.json", 0o600),
        ("/var/lib/wharfinger/acme-work", 0o700),
        ("/var/lib/wharfinger/acme", 0o755),
    ],
)
def test_secrets_are_roots_alone(machine: Host, path: str, mode: int) -> None:
    file = machine.file(path)
    assert (file.user, file.mode) == ("root", mode)


def test_the_external_accounts_key_is_in_the_settings_only(name: str) -> None:
    secret = (hosts.ephemeral() / "eab_hmac_key").read_text().strip()
    places = ["/etc/wharfinger", "/var/lib/wharfinger", "/var/log", "/root", "/tmp", "/run"]
    places += ["/etc/systemd", "/etc/letsencrypt"]
    # By standard input, because the journal keeps every command line that sudo runs.
    search = hosts.run_with_input(name, ["grep", "-rslFf", "-", *places], secret)
    assert search.stdout.split() == ["/etc/wharfinger/certificates/settings.json"]


def test_debians_own_renewal_has_nothing_to_do_with_it(machine: Host) -> None:
    assert machine.package("certbot").is_installed
    for path in ("live", "renewal", "accounts"):
        folder = machine.file(f"/etc/letsencrypt/{path}")
        assert not folder.exists or folder.listdir() == []
    assert machine.run("find /etc/wharfinger/acme -name '*.conf'").stdout == ""
