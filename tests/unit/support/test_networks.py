"""Which subnets the test suites take."""

from __future__ import annotations

from ipaddress import IPv4Network

from support.networks import free, routed

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-1\t0000620A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0
"""


def test_routed_subnets_are_taken_except_the_default_route() -> None:
    assert routed(TABLE) == [IPv4Network("172.17.0.0/16"), IPv4Network("10.98.0.0/28")]


def test_a_subnet_that_overlaps_another_network_is_never_chosen() -> None:
    within = IPv4Network("10.98.0.0/26")
    assert set(free(within, 28, routed(TABLE))) == {
        IPv4Network(f"10.98.0.{number}/28") for number in (16, 32, 48)
    }
    assert list(free(within, 28, [IPv4Network("10.0.0.0/8")])) == []
