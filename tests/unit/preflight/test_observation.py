"""What preflight asks a host that it examines."""

from __future__ import annotations

from typing import Any

from wharfinger.preflight.observation import request


def test_an_acme_servers_names_are_all_looked_up(settings: dict[str, Any]) -> None:
    settings |= {
        "registry_hostname": "r.example.com",
        "registry_extra_hostnames": ["r2.example.com", "10.0.0.5", "https://me:secret@r3"],
    }
    assert request(settings)["names"] == ["r.example.com"]
    settings["certificates_tls_source"] = "acme"
    assert request(settings)["names"] == ["r.example.com", "r2.example.com"]
    # The host's own name, which is not known here yet.
    settings["registry_hostname"] = ""
    assert request(settings)["names"] == []
