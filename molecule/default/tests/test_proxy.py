"""What nginx lets through, and how it sends blobs from disk."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from typing import Any

import pytest
from testinfra.host import Host

from support.images import Pushed
from support.registry import Account, Registry, digest


def test_a_large_blob_comes_back_as_it_went(registry: Registry, admin: Account) -> None:
    content = os.urandom(48 * 1024 * 1024)
    assert registry.upload(admin, "other/large", content).status == 201
    assert digest(registry.blob(admin, "other/large", digest(content)).body) == digest(content)


def test_a_blob_is_answered_as_the_registry_answers(
    registry: Registry, admin: Account, images: dict[str, Pushed]
) -> None:
    image = images["other/app"]
    name = image.layer_digest
    whole = registry.blob(admin, "other/app", name)
    assert (whole.status, whole.body) == (200, image.layer)
    assert whole.headers["docker-content-digest"] == name
    assert whole.headers["etag"] == f'"{name}"'
    assert whole.headers["content-length"] == str(len(image.layer))
    assert "last-modified" not in whole.headers
    assert "location" not in whole.headers

    same = registry.blob(admin, "other/app", name, {"If-None-Match": f'"{name}"'})
    assert (same.status, same.body) == (304, b"")
    part = registry.blob(admin, "other/app", name, {"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, image.layer[100:200])
    missing = registry.blob(admin, "other/app", digest(b"not there"))
    assert (missing.status, missing.codes) == (404, ["BLOB_UNKNOWN"])


def test_the_place_of_the_blobs_cannot_be_asked_for(
    registry: Registry, machine: Host, images: dict[str, Pushed]
) -> None:
    image = images["other/app"]
    name = image.layer_digest.removeprefix("sha256:")
    inside = f"/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    site = machine.file("/etc/nginx/sites-enabled/zz-wharfinger.conf").content_string
    locations = re.findall(r"location (?:= |\^~ )?(/\S*) \{\s*internal;", site)
    assert locations
    tried = [location.rstrip("/") + inside for location in locations] + [inside, *locations]
    for path in tried:
        answer = registry.request("GET", path)
        assert answer.status == 404, path
        assert image.layer not in answer.body


@pytest.mark.parametrize(
    "path", ["/debug/health", "/debug/vars", "/debug/pprof/", "/metrics", "/healthz", "/", "/v1/"]
)
def test_nothing_but_the_api_and_the_tokens_is_served(registry: Registry, path: str) -> None:
    answer = registry.request("GET", path)
    assert (answer.status, answer.codes) == (404, ["NOT_FOUND"])


def test_plain_http_only_leads_to_https(registry: Registry) -> None:
    connection = http.client.HTTPConnection(registry.address, 80, timeout=10)
    connection.request("GET", "/v2/", headers={"Host": registry.name})
    answer = connection.getresponse()
    assert answer.status == 301
    assert answer.getheader("Location") == f"https://{registry.name}/v2/"


def test_the_certificate_covers_the_address_too(registry: Registry) -> None:
    # The strict client checks the name that it uses.
    assert registry.request("GET", "/v2/", name=registry.address).status in (401, 421)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(registry: Registry) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    address = (registry.address, registry.port)
    with socket.create_connection(address, 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=registry.name)
    # A newer version is accepted, so the version was the reason.
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection(address, 10) as plain,
        context.wrap_socket(plain, server_hostname=registry.name) as secured,
    ):
        assert secured.version() == "TLSv1.3"


def test_a_forged_forwarded_header_changes_no_address(registry: Registry, admin: Account) -> None:
    forged = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http", "Forwarded": "host=e"}
    scope = "repository:other/app:pull,push"
    path = "/v2/other/app/blobs/uploads/"
    answer = registry.call(admin, scope, "POST", path, headers=forged)
    assert answer.status == 202
    location = answer.headers["location"]
    assert location.startswith((f"https://{registry.name}/v2/", "/v2/")), location
    realm = registry.request("GET", "/v2/", headers=forged).headers["www-authenticate"]
    assert f'realm="https://{registry.name}/auth"' in realm


def test_the_containers_ports_are_closed_to_others(
    registry: Registry, machine: Host, client: Host, containers: dict[str, dict[str, Any]]
) -> None:
    for kind, port, path in (("registry", 5000, "/v2/"), ("token_server", 5002, "/healthz")):
        [network] = containers[kind]["NetworkSettings"]["Networks"].values()
        address = network["IPAddress"]
        fetch = (
            "import http.client, sys; c = http.client.HTTPConnection(*sys.argv[1:3], timeout=4); "
            "c.request('GET', sys.argv[3]); print(c.getresponse().status)"
        )
        # The container answers its own host …
        inside = machine.run("python3 -c %s %s %s %s", fetch, address, str(port), path)
        assert inside.stdout.strip() in ("200", "401"), inside.stderr
        # … but no client with a route to it, and not at the host's own address.
        client.check_output("ip route replace %s/32 via %s", address, registry.address)
        try:
            for target in (address, registry.address):
                outside = client.run("python3 -c %s %s %s %s", fetch, target, str(port), path)
                assert outside.rc != 0, (target, outside.stdout)
        finally:
            client.check_output("ip route del %s/32", address)
