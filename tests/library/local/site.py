"""The proxy's site as the role renders it, and what nginx itself says about it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from wharfinger.host.setup import main_settings
from wharfinger.registry import configuration

PROJECT = Path(__file__).resolve().parents[3]
_TEMPLATE = PROJECT / "templates" / "nginx" / "wharfinger.conf.j2"

SCRIPT = _TEMPLATE.with_name("wharfinger.js")
# Debian's libnginx-mod-http-js.
NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")

VARIABLES: dict[str, Any] = {
    "reverse_proxy_names": ["registry.example.com"],
    "registry_port": 443,
    "registry_auth": "token",
    "registry_settings": {},
    "storage_path": "/var/lib/wharfinger/registry",
    "reverse_proxy_catalog": configuration.catalog({}, {}),
}


@functools.cache
def _load_plugins() -> None:
    init_plugin_loader([])


def render(**variables: Any) -> str:
    """The text of the site, rendered over VARIABLES by Ansible's own template lookup."""
    _load_plugins()
    templar = Templar(loader=DataLoader(), variables=VARIABLES | variables)
    lookup = f"{{{{ lookup('ansible.builtin.template', '{_TEMPLATE}') }}}}"
    return str(templar.template(trust_as_template(lookup)))


def relocated(site: str, folder: Path) -> str:
    """The same site for a private nginx: its files below `folder`, its listeners local."""
    for path, name in (
        ("/etc/wharfinger/certificates", "certificates"),
        ("/etc/nginx/wharfinger/upstreams.conf", "upstreams.conf"),
        ("/var/log/wharfinger/access.log", "access.log"),
        ("/var/log/wharfinger/decisions.log", "decisions.log"),
        ("/var/lib/wharfinger/acme", "acme"),
        ("/run/wharfinger-closing", "closing"),
        ("/etc/nginx/wharfinger/wharfinger.js", "wharfinger.js"),
        ("/run/wharfinger/host.prom", "metrics/host.prom"),
    ):
        site = site.replace(path, str(folder / name))
    return re.sub(r"    listen (?=[0-9]+[ ;])", "    listen 127.0.0.1:", site)


def main_configuration(folder: Path, user: str | None = "www-data", others: str = "") -> str:
    """An nginx.conf that includes `folder`/site.conf and keeps all other files in `folder`.

    Without `user`, its workers run as the caller. `others` is what other people have configured at
    the http level.
    """
    owner = f"user {user};\n" if user else ""
    temporary = "".join(
        f"    {kind}_temp_path {folder}/temporary/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    module = f"load_module {NJS};\n" if NJS.exists() else ""
    return (
        f"{module}{owner}worker_processes 2;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log info;\n"
        f"worker_rlimit_nofile {main_settings.FILES};\n"
        f"events {{ worker_connections {main_settings.CONNECTIONS}; }}\n"
        # As in Debian's own nginx.conf.
        "http {\n    sendfile on;\n    tcp_nopush on;\n"
        f"{temporary}{others}    include {folder}/site.conf;\n}}\n"
    )
