"""A neighbour reaches nginx and SSH, and nothing behind them, whatever routes it adds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from support import hosts

OPEN = [22, 80, 443]
# Finds the TCP ports from FIRST to LAST of an address that accept a connection. Ports that do not
# answer are tried again, because the machine may be busy.
SCAN = r"""
import json, select, socket, sys, time
address, (first, last) = sys.argv[1], map(int, sys.argv[2].split(","))
result = {"open": [], "closed": 0}
left = list(range(first, last + 1))
def ask(ports):
    poll, waiting, silent = select.poll(), {}, []
    for port in ports:
        probe = socket.socket()
        probe.setblocking(False)
        probe.connect_ex((address, port))
        waiting[probe.fileno()] = probe, port
        poll.register(probe, select.POLLOUT)
    deadline = time.monotonic() + 3
    while waiting and (rest := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(rest * 1000):
            probe, port = waiting.pop(number)
            poll.unregister(number)
            if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                result["closed"] += 1
            else:
                result["open"].append(port)
            probe.close()
    for probe, port in waiting.values():
        silent.append(port)
        probe.close()
    return silent
for attempt in range(3 if len(left) > 1000 else 1):
    asked, left = left, []
    for start in range(0, len(asked), 500):
        left += ask(asked[start : start + 500])
print(json.dumps({"open": sorted(result["open"]), "closed": result["closed"], "silent": len(left)}))
"""
# Finds the UDP ports that the host does not refuse.
UDP = r"""
import json, socket, sys
silent = []
for port in map(int, sys.argv[2].split(",")):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1)
        probe.connect((sys.argv[1], port))
        for _ in range(4):  # the kernel refuses a few a second only
            try:
                probe.send(b"\0" * 12)
                probe.recv(1)
            except ConnectionRefusedError:
                break
            except OSError:
                continue
        else:
            silent.append(port)
print(json.dumps(silent))
"""
UDP_PORTS = "53,67,69,80,111,123,137,161,443,500,514,1900,2377,4789,5353,7946"
PORTS = {"registry": "5000,5001", "token_server": "5001,5003"}


def look(host: Host, code: str, address: str, ports: str, namespace: str = "") -> Any:
    """The output of one of the programs above on `host`."""
    return json.loads(host.check_output(f"{namespace} python3 -c %s {address} {ports}", code))


def opened(host: Host, address: str, ports: str, namespace: str = "") -> list[int]:
    """The TCP ports from FIRST to LAST that accept a connection from `host`."""
    return list(look(host, SCAN, address, ports, namespace)["open"])


@pytest.fixture
def targets(containers: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Kind → the container's address."""
    addresses = {}
    for kind, container in containers.items():
        (network,) = container["NetworkSettings"]["Networks"].values()
        addresses[kind] = network["IPAddress"]
    return addresses


@pytest.fixture
def gateway(machine: Host) -> str:
    """The host's own address in the containers' network."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    return machine.check_output("docker network inspect wharfinger --format %s", form)


@pytest.fixture
def routed(neighbour: Host, machine: Host, address: str) -> Iterator[None]:
    """The neighbour routes the containers' network through the host under test."""
    form = "{{(index .IPAM.Config 0).Subnet}}"
    subnet = machine.check_output("docker network inspect wharfinger --format %s", form)
    neighbour.check_output(f"ip route replace {subnet} via {address}")
    yield
    neighbour.check_output(f"ip route del {subnet}")


def test_nothing_but_ssh_and_nginx_takes_connections(neighbour: Host, address: str) -> None:
    scan = look(neighbour, SCAN, address, "1,65535")
    assert scan == {"open": OPEN, "closed": 65535 - len(OPEN), "silent": 0}


def test_no_listener_is_meant_for_others(machine: Host) -> None:
    lines = machine.check_output("ss --no-header --numeric --listening --tcp --udp").splitlines()
    places = {line.split()[4] for line in lines}
    outward = {place for place in places if not place.startswith(("127.", "[::1]"))}
    assert {int(place.rpartition(":")[2]) for place in outward} == set(OPEN)


def test_no_datagram_is_taken(neighbour: Host, address: str) -> None:
    assert look(neighbour, UDP, address, UDP_PORTS) == []


@pytest.mark.usefixtures("routed")
def test_no_route_leads_to_the_containers(
    neighbour: Host, machine: Host, targets: dict[str, str], gateway: str
) -> None:
    # Packets get as far as the host, and the containers answer the host itself.
    assert machine.check_output("sysctl --values net.ipv4.ip_forward") == "1"
    assert opened(neighbour, gateway, "1,10000") == OPEN
    for kind, target in targets.items():
        assert opened(machine, target, PORTS[kind]), kind
        for ports in ("1,500", "4990,5100", "8000,8100", "9000,9200"):
            assert opened(neighbour, target, ports) == [], kind


@pytest.mark.usefixtures("routed")
def test_no_route_leads_there_while_the_firewalls_rules_are_gone(
    neighbour: Host, machine: Host, targets: dict[str, str]
) -> None:
    """As after `nft flush ruleset`: containers of an internal network have no route out."""
    machine.check_output("iptables-save >/run/saved-rules")
    try:
        machine.check_output("iptables --policy FORWARD ACCEPT && iptables --flush")
        assert machine.run("iptables --list-rules | grep -q DROP").rc == 1
        for kind, target in targets.items():
            assert opened(machine, target, PORTS[kind]), kind
            assert opened(neighbour, target, "4990,5100") == [], kind
    finally:
        machine.check_output("iptables-restore </run/saved-rules && rm /run/saved-rules")


@pytest.fixture
def beside(neighbour: Host, address: str) -> Iterator[str]:
    """The prefix of a command that runs on the neighbour in a namespace without a loopback address,
    which routes 127.0.0.1 to the host under test."""
    own = str(hosts.variables("neighbour")["ansible_host"])
    other = own.rpartition(".")[0] + ".77"
    inside = "ip netns exec beside"
    neighbour.check_output(
        "ip netns add beside && ip link add link eth0 name eth9 type macvlan mode bridge"
        " && ip link set eth9 netns beside"
        f" && ip -n beside address add {other}/24 dev eth9 && ip -n beside link set eth9 up"
        f" && {inside} sysctl -q -w net.ipv4.conf.all.route_localnet=1"
        f" && ip -n beside route add 127.0.0.1/32 via {address}"
    )
    yield inside
    neighbour.check_output("ip netns del beside")


def test_no_route_leads_to_the_loopback_address(
    neighbour: Host, machine: Host, address: str, beside: str
) -> None:
    counted = "PREROUTING --in-interface eth0 --destination 127.0.0.1 --protocol tcp"
    machine.check_output(f"iptables --table raw --insert {counted}")
    # A server listens on this address only.
    machine.check_output(
        "systemd-run --quiet --unit=listener python3 -m http.server --bind 127.0.0.1 9999"
    )
    try:
        assert opened(neighbour, address, "443,443", beside) == [443]
        assert opened(neighbour, "127.0.0.1", "9999,9999", beside) == []
        assert opened(neighbour, "127.0.0.1", "443,443", beside) == []
        assert opened(machine, "127.0.0.1", "9999,9999") == [9999]
        # The packets reached the host and were dropped there.
        rules = machine.check_output("iptables --table raw --list PREROUTING --verbose --exact -n")
        (rule,) = [line for line in rules.splitlines() if "127.0.0.1" in line]
        assert int(rule.split()[0]) >= 2
    finally:
        machine.check_output(f"iptables --table raw --delete {counted}")
        machine.check_output("systemctl stop listener")
