"""The proxy's site, rendered without a host and checked by nginx itself if it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from local.site import NJS, SCRIPT, main_configuration, relocated, render
from local.stack import NGINX, certificate, pem
from wharfinger.host.rollout.proxy import refusal
from wharfinger.registry import configuration

LONG_NAME = "registry." + "long-label-of-a-department." * 4 + "example.com"

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "htpasswd": {"registry_auth": "htpasswd"},
    "another port": {"registry_port": 8443},
    "many names": {"reverse_proxy_names": ["r.example.com", "10.0.0.1", "fd00::1", LONG_NAME]},
    "alone on its ports": {"reverse_proxy_owned_ports": [18080, 18443]},
    "the containers' network": {"reverse_proxy_gateway": "172.31.255.241"},
    "no plain port": {"reverse_proxy_http_port": 0},
    "metrics": {"reverse_proxy_metrics_listen": "127.0.0.1:19180"},
    "metrics, htpasswd": {
        "reverse_proxy_metrics_listen": "[::1]:19180",
        "registry_auth": "htpasswd",
        "reverse_proxy_gateway": "172.31.255.241",
    },
    "load balancers": {"reverse_proxy_trusted_networks": ["10.0.0.0/8", "2001:db8::7"]},
    "headers": {"registry_settings": {"http": {"headers": {"X-Team": ["a"]}}}},
}


if NJS.exists():
    VARIANTS["njs"] = {"reverse_proxy_njs": "abc", "reverse_proxy_metrics_listen": "127.0.0.1:1918"}


def server_with(site: str, text: str) -> str:
    """The server block that holds `text`."""
    return next(block for block in re.split(r"(?m)^server \{$", site) if text in block)


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.parametrize("variant", VARIANTS)
def test_nginx_accepts_the_site(tmp_path: Path, variant: str) -> None:
    ports = {"registry_port": 18443, "reverse_proxy_http_port": 18080}
    site = render(**(VARIANTS[variant] | ports))
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "certificates").mkdir()
    (tmp_path / "temporary").mkdir()
    (tmp_path / "certificates/tls.pem").write_bytes(
        certificate("r.example.com", key).public_bytes(Encoding.PEM) + pem(key)
    )
    (tmp_path / "upstreams.conf").write_text(
        "upstream wharfinger_registry { server 172.31.255.242:5000; keepalive 8; }\n"
        "upstream wharfinger_registry_metrics { server 172.31.255.242:5001; }\n"
        "upstream wharfinger_token_server { server 172.31.255.244:5002; keepalive 8; }\n"
        + "\n".join(refusal())
    )
    (tmp_path / "site.conf").write_text(relocated(site, tmp_path))
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "nginx.conf").write_text(main_configuration(tmp_path, user=None))
    command = [str(NGINX), "-t", "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_outside_our_servers_touches_other_sites(variant: str) -> None:
    site = render(**VARIANTS[variant])
    outside = re.findall(r"(?m)^([a-z_]+)\s+(.*?)[;{]?$", site)
    names = {
        "include": r"/etc/nginx/wharfinger/upstreams\.conf",
        "limit_conn_zone": r"\$wharfinger_network zone=wharfinger_\w+:10?m",
        "log_format": r"wharfinger(_decision)? .*",
        "js_import": r"wharfinger from /etc/nginx/wharfinger/wharfinger\.js;  # abc",
        "js_set": r"\$wharfinger_subject wharfinger\.subject",
        "map": r".* \$wharfinger_[a-z_]+ ",
        "server": "",
    }
    if "reverse_proxy_njs" not in VARIANTS[variant]:
        del names["js_import"], names["js_set"]
    assert {directive for directive, _ in outside} == set(names)
    for directive, value in outside:
        assert re.fullmatch(names[directive], value), (directive, value)
    assert "ssl_session_cache shared:wharfinger:" in site
    captures = set(re.findall(r"\(\?<(\w+)>", site))
    assert captures
    assert all(name.startswith("wharfinger_") for name in captures)


def test_blob_pattern_knows_the_name_that_the_registry_redirects_to() -> None:
    name = configuration.BLOB_REDIRECT_HOST.replace(".", r"\.")
    assert f'"~^http://{name}(?<wharfinger_file>/docker/registry/v2/blobs/' in render()


def test_blobs_lie_below_the_storage_path() -> None:
    assert "\n        root /srv/registry;\n" in render(storage_path="/srv/registry")


def test_htpasswd_has_no_token_server() -> None:
    assert "proxy_pass http://wharfinger_token_server;" in render()
    assert "wharfinger_token_server;" not in render(registry_auth="htpasswd")


def test_plain_port_leads_to_the_port_of_the_registry() -> None:
    assert "return 301 https://$host$request_uri;" in render()
    assert "return 301 https://$host:8443$request_uri;" in render(registry_port=8443)


def test_every_name_is_served_and_an_ipv6_address_is_bracketed() -> None:
    site = render(**VARIANTS["many names"])
    pattern = LONG_NAME.replace(".", "\\.").replace("-", "\\-")
    names = f'server_name r.example.com 10.0.0.1 [fd00::1] "~^{pattern}$";'
    assert site.count(names) == 2


def test_other_sites_stay_the_default_of_a_shared_port() -> None:
    assert "default_server" not in render()
    alone = render(reverse_proxy_owned_ports=[443])
    assert "listen 443 ssl default_server;" in alone
    assert "listen 80 default_server" not in alone


def test_ipv6_listens_only_where_it_is_asked_for() -> None:
    assert "[::]" not in render()
    site = render(reverse_proxy_ipv6=True)
    assert "listen [::]:443 ssl;" in site
    assert "listen [::]:80;" in site


@pytest.mark.parametrize(
    ("version", "known"), [("1.22.1", False), ("1.26.3", False), ("1.27.4", True), ("1.30", True)]
)
def test_keepalive_min_timeout_is_set_where_nginx_knows_it(version: str, known: bool) -> None:
    site = render(reverse_proxy_nginx_version=version)
    assert ("keepalive_min_timeout 30s;" in site) is known


def test_headers_of_the_operator_go_with_the_blobs_too() -> None:
    site = render(**VARIANTS["headers"])
    line = "        add_header X-Team $upstream_http_x_team;\n"
    assert site.count(line) == 2
    again = render(registry_settings={"http": {"headers": {"x-content-type-options": ["y"]}}})
    assert again.count("$upstream_http_x_content_type_options;") == 2


def test_tls_is_mozillas_intermediate_profile() -> None:
    site = render(reverse_proxy_owned_ports=[443])
    for listener in ("listen 443 ssl;", "listen 443 ssl default_server;"):
        block = server_with(site, listener)
        assert "ssl_protocols TLSv1.2 TLSv1.3;" in block
        assert "ssl_session_tickets off;" in block
        assert "ssl_prefer_server_ciphers off;" in block
        (ciphers,) = re.findall(r"ssl_ciphers (\S+);", block)
        assert set(ciphers.split(":")) == {
            f"ECDHE-{key}-{cipher}"
            for key in ("ECDSA", "RSA")
            for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
        }


def test_requests_are_passed_on_from_the_containers_network_only() -> None:
    """Without the network, the address to connect from is missing, and nginx asks nobody."""
    assert "    proxy_bind 172.31.255.241;\n" in render(reverse_proxy_gateway="172.31.255.241")
