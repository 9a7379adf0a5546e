"""Every change that an operator makes, one after the other: no client notices.

The tests run in the order in which they are written; the same clients work through all of them.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography import x509

from images.registry import recipe
from load import Load, images_before
from load.site import Site, client_command, edit_users
from support import hosts
from support.images import Pushed, push_everywhere
from support.registry import MANIFEST, Account, digest

ROTATE = "playbooks/rotate_certificates.yml"
SCOPE = "repository:load/stable:pull"


@pytest.fixture(scope="module")
def images(site: Site) -> dict[str, Pushed]:
    """Images that were pushed before the upgrade: repository → image."""
    return push_everywhere(site.registry(), hosts.account("admin"))


@pytest.fixture(scope="module", autouse=True)
def everybody(loaded: Load, images: dict[str, Pushed]) -> None:
    """Real clients work beside the pooled ones. At first, nothing changes."""
    for tool in ("docker", "containerd"):
        loaded.add_real(tool, client_command())
    loaded.phase("steady")
    time.sleep(15)


def ask(site: Site, token: str) -> int:
    """The status of a request with a token for an existing image."""
    headers = {"Authorization": f"Bearer {token}", "Accept": MANIFEST}
    return (
        site.registry().request("GET", "/v2/load/stable/manifests/present", headers=headers).status
    )


def kept(site: Site) -> tuple[str, Callable[[], int]]:
    """The current signing key's identity, and a function for the status of a token that this key
    has signed for an hour, as a thief of the key could: the comparison for the tests."""
    key = site.machine.file("/etc/wharfinger/certificates/signing.key").content_string
    genuine = site.registry().token(hosts.account("admin"), SCOPE)
    identity = str(jwt.get_unverified_header(genuine)["kid"])
    claims: dict[str, Any] = jwt.decode(genuine, options={"verify_signature": False})
    token = jwt.encode(
        claims | {"exp": int(time.time()) + 3600},
        key,
        headers=jwt.get_unverified_header(genuine),
    )
    return identity, lambda: ask(site, token)


def signs_with(site: Site) -> str:
    """The identity of the key that signs new tokens."""
    return signed_by(site)["kid"]


def signed_by(site: Site) -> dict[str, str]:
    """The header of new tokens: algorithm and key."""
    token = site.registry().token(hosts.account("admin"), SCOPE)
    header: dict[str, str] = jwt.get_unverified_header(token)
    return header


def served_certificate(site: Site) -> x509.Certificate:
    """The certificate that the proxy serves."""
    registry = site.registry()
    text = ssl.get_server_certificate((registry.address, registry.port))
    return x509.load_pem_x509_certificate(text.encode())


def test_nothing_fails_while_nothing_happens(site: Site, loaded: Load) -> None:
    real = {"docker push", "docker pull by tag", "docker pull by digest", "docker login"}
    real |= {"containerd push", "containerd pull by tag", "containerd pull by digest"}
    deadline = time.monotonic() + 300
    while missing := real - {operation.kind for operation in loaded.operations("steady")}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)
    site.served("steady")


def version(site: Site) -> str:
    """The version of distribution that serves, as its program reports it."""
    container = site.serving("registry")["Id"]
    said = site.machine.check_output("docker exec %s /registry --version", container)
    return said.split()[-1]


def everything_is_there(site: Site, loaded: Load, images: dict[str, Pushed]) -> None:
    """Checks that everything that any version answered with 201 can be pulled with the same digest,
    and that a user and a robot still sign in and pull."""
    assert loaded.lost(loaded.pushed()) == []
    registry = site.registry()
    for account in map(hosts.account, ("readonly", "ci")):
        for image in images.values():
            if account.name == "readonly" or image.repository.startswith("team/"):
                manifest = registry.pull(account, image.repository, "present")
                assert (manifest.status, digest(manifest.body)) == (200, image.digest)
                layer = registry.blob(account, image.repository, image.layer_digest)
                assert (layer.status, layer.body) == (200, image.layer)


def test_an_upgrade_from_the_release_before(
    site: Site, loaded: Load, images: dict[str, Pushed]
) -> None:
    assert version(site) == images_before.version() != recipe.version()
    key = signed_by(site)
    assert key["alg"] == "RS256"
    site.change("upgrade", "site.yml")
    assert version(site) == recipe.version()
    assert signed_by(site) == key
    everything_is_there(site, loaded, images)


def test_back_to_the_release_before(site: Site, loaded: Load, images: dict[str, Pushed]) -> None:
    site.change("roll back", "playbooks/rollback.yml")
    assert version(site) == images_before.version()
    everything_is_there(site, loaded, images)


def test_and_forward_again(site: Site, loaded: Load, images: dict[str, Pushed]) -> None:
    site.change("forward again", "playbooks/rollback.yml")
    assert version(site) == recipe.version()
    everything_is_there(site, loaded, images)


def test_another_signing_key(site: Site) -> None:
    old, with_old_key = kept(site)
    with site.during("rotate signing"):
        run = site.operator.begin(ROTATE, rotate="signing")
        if run.until("Tokens of the old signing key are valid until"):
            # The overlap: the new key signs, and the old one's tokens are still accepted.
            assert signs_with(site) != old
            assert with_old_key() == 200
        done = run.wait()
        assert done.code == 0, done.output
        assert "Tokens of the old signing key are valid until" in done.said
        assert with_old_key() == 401
    assert site.state()["rotation"] is None
    assert signed_by(site)["alg"] == "ES256"


def test_then_there_is_no_way_back_to_the_former_release(site: Site) -> None:
    before = {kind: site.serving(kind)["Id"] for kind in ("registry", "token_server")}
    with site.during("no way back"):
        for kind in before:
            done = site.operator.begin("playbooks/rollback.yml", rollback=kind).wait()
            assert done.code != 0
            assert "RS256 only, and the key of signing.crt is ES256" in done.said
    assert {kind: site.serving(kind)["Id"] for kind in before} == before


def test_users_come_and_go(site: Site) -> None:
    former = hosts.account("leaver")
    assert site.registry().login(former) == 200
    edit_users()
    site.change("users", "playbooks/users.yml")
    assert site.registry().login(hosts.account("newcomer")) == 200
    assert site.registry().login(former) == 401


def test_a_setting_of_the_registry(site: Site) -> None:
    before = site.serving("registry")["Id"]
    site.operator.settings["registry_settings"] = {"log": {"level": "debug"}}
    site.change("registry setting", "site.yml")
    assert site.serving("registry")["Id"] != before


def test_another_certificate_of_the_server(site: Site) -> None:
    before = served_certificate(site)
    site.change("rotate tls", ROTATE, rotate="tls")
    after = served_certificate(site)
    assert after.serial_number != before.serial_number
    assert after.issuer == before.issuer


def test_another_authority(site: Site, loaded: Load) -> None:
    before = hosts.authority(site.name).read_bytes()
    site.change("rotate ca", ROTATE, rotate="ca")
    assert hosts.authority(site.name).read_bytes() != before
    # All clients so far trust only the previous authority, and go on. These trust only the new one.
    new = site.kept_authority("new")
    loaded.add_trusting("new", new)
    loaded.ca_file = str(new)


def test_another_generation_of_the_token_server(site: Site) -> None:
    registry, token_server = site.serving("registry")["Id"], site.serving("token_server")["Id"]
    site.operator.settings["docker_auth_memory"] = "300m"
    site.change("token server", "site.yml")
    assert site.serving("token_server")["HostConfig"]["Memory"] == 300 * 1024**2
    assert site.serving("token_server")["Id"] != token_server
    assert site.serving("registry")["Id"] == registry


def test_the_end_of_the_authority_before(site: Site, loaded: Load) -> None:
    # Clients that trust only that authority can no longer connect, as the operator is told.
    loaded.stop("reader", "puller", "pusher", "chunker", "slow", "login", "docker", "containerd")
    for holder in site.holders:
        if holder.session.trusts != loaded.ca_file:
            holder.join(90)
    site.change("finish ca", ROTATE, rotate="ca", finish=True)
    assert "ca_previous.crt" not in site.machine.check_output("ls /etc/wharfinger/certificates")
    with pytest.raises(ssl.SSLCertVerificationError):
        former = site.registry()
        former.context = ssl.create_default_context(cafile=site.holders[0].session.trusts)
        former.login(hosts.account("admin"))


def test_tokens_issued_just_before_a_change_have_worked_until_they_expired(
    site: Site, loaded: Load
) -> None:
    assert len(site.holders) == 11
    for holder in site.holders:
        holder.join(90)
        used = [operation for operation in loaded.operations() if operation.client == holder.name]
        assert len(used) > 10
        assert [operation.error for operation in used if operation.error] == []
        # The 60-second token was still in use in its last seconds.
        assert holder.until is not None
        assert used[-1].start + used[-1].seconds > holder.until - 3


def test_it_was_a_load(site: Site, loaded: Load) -> None:
    loaded.stop()
    report = loaded.report("steady")
    assert report["requests"] >= 5000
    assert report["failed"] == 0, report["failures"]
    site.tidy()


def test_a_revoked_keys_tokens_are_refused_at_once_and_going_back_does_not_bring_it_back(
    site: Site,
) -> None:
    old, with_old_key = kept(site)
    genuine = site.registry().token(hosts.account("admin"), SCOPE)
    assert ask(site, genuine) == with_old_key() == 200
    done = site.operator.play(ROTATE, rotate="signing", revoke=True)
    assert "its tokens are refused" in done.said
    assert signs_with(site) != old
    assert ask(site, genuine) == with_old_key() == 401
    site.tidy()
    # Going back does not bring back a removed user either.
    leaver = Account("leaver", hosts.users()["former"]["leaver"])
    before = {kind: site.serving(kind)["Id"] for kind in ("registry", "token_server")}
    for kind in before:
        site.operator.play("playbooks/rollback.yml", rollback=kind)
    assert not set(before.values()) & {site.serving(kind)["Id"] for kind in before}
    assert signs_with(site) != old
    assert with_old_key() == 401
    assert site.registry().login(leaver) == 401
    removed = site.machine.check_output("cat /var/lib/wharfinger/removed_accounts.json")
    assert json.loads(removed).keys() == {"leaver"}
    assert site.registry().login(hosts.account("newcomer")) == 200
    site.tidy()
