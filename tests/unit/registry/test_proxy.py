"""Which ports belong to the registry alone."""

from __future__ import annotations

import pytest

from wharfinger.deployment.facts import Site
from wharfinger.registry.proxy import owned_ports, served_name


def site(*listen: str, ours: bool = False) -> Site:
    return Site("/etc/nginx/site", listen, ours=ours)


@pytest.mark.parametrize(
    ("listen", "left"),
    [
        ("443 ssl", [80]),
        ("[::]:443 ssl http2", [80]),
        ("10.0.0.1:443", [80]),
        ("*:80", [443]),
        ("80 default_server", [443]),
        ("[::]:80 default_server ipv6only=on", [443]),
        ("localhost", [443]),
        ("10.0.0.1 ssl", [443]),
        ("[2001:db8::1]", [443]),
        ("[2001:db8::443]", [443]),
        ("8443 ssl", [80, 443]),
        ("unix:/run/x:443.sock", [80, 443]),
    ],
)
def test_port_of_another_site_is_not_ours_alone(listen: str, left: list[int]) -> None:
    assert owned_ports([site(listen)], [80, 443]) == left


def test_own_site_does_not_count_as_another() -> None:
    assert owned_ports([site("443 ssl default_server", "80", ours=True)], [80, 443]) == [80, 443]
    assert owned_ports([], [80, 8443]) == [80, 8443]


def test_the_name_of_the_last_deployment_is_read_from_our_own_site() -> None:
    foreign = Site(names=("theirs.example.com",))
    own = Site(ours=True, names=("registry.example.com", "10.0.0.5"))
    assert served_name([foreign, Site(ours=True), own]) == "registry.example.com"
    long = r"~^registry\-of\-a\-team\-with\-a\-long\-name\.example\.com$"
    assert served_name([Site(ours=True, names=(long,))]) == (
        "registry-of-a-team-with-a-long-name.example.com"
    )
    assert served_name([foreign]) == ""
