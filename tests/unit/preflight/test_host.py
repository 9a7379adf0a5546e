"""Problems of a host: each one's message, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wharfinger.host.observation import engine_facts
from wharfinger.host.observation.engine_state import STATES
from wharfinger.host.system.paths import Paths
from wharfinger.preflight import own_name

from .conftest import NOW, Judge

Strings = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (
            {"distribution": {"id": "fedora", "version": "41", "name": "Fedora Linux 41"}},
            "host, distribution: Fedora Linux 41 is not supported: "
            "use Debian 12 or 13, or Ubuntu 24.04",
        ),
        (
            {"distribution": {"id": "debian", "version": "", "name": "Debian GNU/Linux forky/sid"}},
            "host, distribution: Debian GNU/Linux forky/sid is not supported: "
            "use Debian 12 or 13, or Ubuntu 24.04",
        ),
        (
            {"architecture": "riscv64"},
            "host, architecture: riscv64 is not supported: use amd64 or arm64",
        ),
        (
            {"python": "3.10.12"},
            "host, Python: 3.10.12 is too old: "
            "use Python 3.11 or newer, as Debian 12 and Ubuntu 24.04 have it",
        ),
        (
            {"uid": 1000},
            "host, user: the tasks run as user id 1000 and need root: "
            "write ansible_become: true and connect as a user who may sudo",
        ),
    ],
)
def test_a_system_that_is_not_supported(
    errors: Strings, host: dict[str, Any], message: str
) -> None:
    assert errors(host=host) == [message]


@pytest.mark.parametrize(
    ("system", "version"), [("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")]
)
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_systems_that_are_supported(
    errors: Strings, system: str, version: str, architecture: str
) -> None:
    distribution = {"id": system, "version": version}
    assert errors(host={"distribution": distribution, "architecture": architecture}) == []


@pytest.mark.parametrize(
    ("offset", "how_far"),
    [
        (-90, "89 seconds behind"),
        (100, "99 seconds ahead of"),
        (-7201, "2 hours behind"),
        (3600, "59 minutes ahead of"),
        (-40 * 86400 - 1, "40 days behind"),
    ],
)
def test_a_clock_that_is_far_off(errors: Strings, offset: float, how_far: str) -> None:
    assert errors(host={"clock": NOW + offset}) == [
        f"host, clock: it is {how_far} the controller's, and tokens and certificates would not be "
        "valid: set whichever is wrong (systemd-timesyncd or chrony keeps it right)"
    ]


def test_slow_observation_of_the_host_is_not_a_wrong_clock(errors: Strings) -> None:
    assert errors(host={"clock": NOW}, controller={"clock": [NOW - 300, NOW + 300]}) == []
    assert errors(host={"clock": NOW - 60}) == []
    assert len(errors(host={"clock": NOW - 60}, preflight_clock_tolerance=30)) == 1


@pytest.mark.parametrize(
    ("port", "program", "pid", "message"),
    [
        (
            80,
            "apache2",
            812,
            "host, port 80: 80 is in use by apache2 (process 812) on 0.0.0.0: stop it, "
            "or move it to another port (80 redirects to https)",
        ),
        (
            443,
            "docker-proxy",
            93,
            "registry_port: 443 is in use by a container's published port (docker-proxy, "
            "process 93) on 0.0.0.0: stop it, or write a registry_port that is free",
        ),
        (
            443,
            "nginx",
            7,
            "registry_port: 443 is in use by an nginx that is not the host's service (process 7) "
            "on 0.0.0.0: stop it, or write a registry_port that is free",
        ),
        (
            443,
            None,
            None,
            "registry_port: 443 is in use by another program on 0.0.0.0: "
            "stop it, or write a registry_port that is free",
        ),
    ],
)
def test_a_port_in_use(
    errors: Strings, port: int, program: str | None, pid: int | None, message: str
) -> None:
    listener = {"address": "0.0.0.0", "port": port, "program": program, "pid": pid}
    assert errors(host={"listeners": [listener]}) == [message]


def test_a_program_on_both_protocols_is_named_once(errors: Strings) -> None:
    both = [
        {"address": address, "port": 5000, "program": "python3", "pid": 5}
        for address in ("0.0.0.0", "::")
    ]
    assert errors(registry_port=5000, host={"listeners": both}) == [
        "registry_port: 5000 is in use by python3 (process 5) on 0.0.0.0: "
        "stop it, or write a registry_port that is free"
    ]


def test_the_hosts_own_nginx_may_have_the_ports(errors: Strings) -> None:
    listeners = [
        {"address": "0.0.0.0", "port": port, "program": "nginx", "pid": 7} for port in (80, 443)
    ]
    nginx = {"present": True, "running": True}
    assert errors(host={"listeners": listeners, "nginx": nginx}) == []


def test_an_nginx_without_njs_logs_no_users(warnings: Strings) -> None:
    present = {"present": True, "running": True, "servers": [], "njs": False}
    assert warnings(host={"nginx": present}) == [
        "host, nginx: it does not load njs, so the access log has no users: install "
        "libnginx-mod-http-js at a quiet time (this reloads nginx), and run site.yml again"
    ]
    assert warnings(host={"nginx": present | {"njs": True}}) == []


def test_an_nginx_with_few_connections_is_named_where_it_is_somebody_elses(
    warnings: Strings,
) -> None:
    few = {"present": True, "running": True, "connections": 768, "connections_packaged": False}
    assert warnings(host={"nginx": few}) == [
        "host, nginx: /etc/nginx/nginx.conf has worker_connections 768, so one client that begins "
        "a few thousand requests and ends none keeps everybody out. Somebody else has installed "
        "or changed it, so it is left alone: write `worker_connections 8192;` into its events "
        "block and `worker_rlimit_nofile 16896;` before that"
    ]
    for change in ({"connections_packaged": True}, {"connections": 4096}, {"connections": None}):
        assert warnings(host={"nginx": few | change}) == []


METRICS = "reverse_proxy_metrics_listen"


@pytest.mark.parametrize(
    ("listen", "address", "program", "message"),
    [
        (
            "127.0.0.1:9180",
            "127.0.0.1",
            "prometheus",
            "9180 is in use by prometheus (process 7) on 127.0.0.1: "
            "stop it, or write another port, such as 127.0.0.1:9181",
        ),
        (
            "[::1]:9180",
            "::",
            "nginx",
            "9180 is in use by an nginx that is not the host's service (process 7) on ::: "
            "stop it, or write another port, such as [::1]:9181",
        ),
        (
            "10.0.0.5:9180",
            "0.0.0.0",
            None,
            "9180 is in use by another program on 0.0.0.0: "
            "stop it, or write another port, such as 10.0.0.5:9181",
        ),
    ],
)
def test_an_address_for_metrics_that_is_in_use(
    errors: Strings, listen: str, address: str, program: str | None, message: str
) -> None:
    taken = {"address": address, "port": 9180, "program": program, "pid": 7}
    assert errors(reverse_proxy_metrics_listen=listen, host={"listeners": [taken]}) == [
        f"{METRICS}: {message}"
    ]


def test_an_address_for_metrics_that_is_another_hosts(errors: Strings) -> None:
    assert errors(reverse_proxy_metrics_listen="10.0.0.6:9180") == [
        f"{METRICS}: 10.0.0.6 is not an address of the host: write one that it has (10.0.0.5, "
        "172.17.0.1), or 127.0.0.1:9180"
    ]


def test_an_ipv6_address_for_metrics_on_a_host_without(errors: Strings) -> None:
    assert errors(reverse_proxy_metrics_listen="[::1]:9180", host={"ipv6": False}) == [
        f"{METRICS}: [::1]:9180 is IPv6, which the host does not have: write 127.0.0.1:9180"
    ]
    assert errors(reverse_proxy_metrics_listen="[::1]:9180", host={"ipv6": True}) == []


def test_an_address_for_metrics_that_another_site_has(errors: Strings) -> None:
    assert errors(host=nginx((["9180"], ["stats.example.com"]))) == [
        f"{METRICS}: '/etc/nginx/site' listens on port 9180 already: write another port, "
        "such as 127.0.0.1:9181"
    ]


def test_metrics_may_stay_where_they_are_or_beside_a_program_on_another_address(
    errors: Strings,
) -> None:
    own = {"address": "127.0.0.1", "port": 9180, "program": "nginx", "pid": 7}
    other = {"address": "10.0.0.5", "port": 9180, "program": "exporter", "pid": 9}
    present = nginx((["127.0.0.1:9180"], ["_"]), ours=True)
    assert errors(host=present | {"listeners": [own, other]}) == []
    assert errors(reverse_proxy_metrics_listen="", host={"listeners": [own]}) == []
    ipv4 = {"address": "0.0.0.0", "port": 9180, "program": "exporter", "pid": 9}
    assert errors(reverse_proxy_metrics_listen="[::1]:9180", host={"listeners": [ipv4]}) == []


def nginx(*servers: tuple[list[str], list[str]], ours: bool = False) -> dict[str, Any]:
    sites = [
        {"file": "/etc/nginx/site", "ours": ours, "listen": listen, "names": names}
        for listen, names in servers
    ]
    return {"nginx": {"present": True, "running": True, "servers": sites}}


@pytest.mark.parametrize(
    ("listen", "names", "message"),
    [
        (
            ["443 ssl"],
            ["registry.example.com"],
            "registry_port: '/etc/nginx/site' already serves registry.example.com on port 443, "
            "and nginx would ignore a second server of that name: move that server, or write "
            "another registry_port",
        ),
        (
            ["[::]:443 ssl"],
            [".Registry.example.com"],
            "registry_port: '/etc/nginx/site' already serves registry.example.com on port 443, "
            "and nginx would ignore a second server of that name: move that server, or write "
            "another registry_port",
        ),
        (
            ["80"],
            ["www.example.com", "r2.example.com"],
            "host, nginx: '/etc/nginx/site' already serves r2.example.com on port 80, and nginx "
            "would ignore a second server of that name: move that server to another port",
        ),
        (
            ["10.0.0.5:443 ssl"],
            ["www.example.com"],
            "registry_port: '/etc/nginx/site' listens on 10.0.0.5:443, so nginx would answer all "
            "requests to that address there: write `listen 443` without the address in it",
        ),
        (
            ["10.0.0.5"],
            ["www.example.com"],
            "host, nginx: '/etc/nginx/site' listens on 10.0.0.5:80, so nginx would answer all "
            "requests to that address there: write `listen 80` without the address in it",
        ),
        (
            ["443 default_server"],
            ["_"],
            "registry_port: '/etc/nginx/site' speaks plain HTTP on port 443, where Wharfinger "
            "speaks TLS: move that server, or write another registry_port",
        ),
        (
            ["*:80 ssl"],
            ["_"],
            "host, nginx: '/etc/nginx/site' speaks TLS on port 80, where Wharfinger speaks "
            "plain HTTP: move that server to another port",
        ),
    ],
)
def test_a_server_of_somebody_else_that_conflicts(
    errors: Strings, listen: list[str], names: list[str], message: str
) -> None:
    messages = errors(host=nginx((listen, names)), registry_extra_hostnames=["r2.example.com"])
    assert messages == [message]


@pytest.mark.parametrize(
    ("listen", "names"),
    [
        (["80 default_server", "[::]:80 default_server"], ["_"]),
        (["443 ssl default_server"], ["www.example.com"]),
        (["443 ssl"], ["*.example.com"]),
        (["8443 ssl"], ["registry.example.com"]),
        (["127.0.0.1:443"], ["status"]),
        (["10.0.0.77:443 ssl"], ["www.example.com"]),
        (["unix:/run/app.sock"], ["registry.example.com"]),
        (["localhost:8080"], ["registry.example.com"]),
    ],
)
def test_a_server_of_somebody_else_that_does_not_conflict(
    errors: Strings, listen: list[str], names: list[str]
) -> None:
    assert errors(host=nginx((listen, names))) == []


def test_one_ssl_is_enough_for_all_servers_of_a_port(errors: Strings) -> None:
    assert errors(host=nginx((["443"], ["a.lan"]), (["443 ssl"], ["b.lan"]))) == []


def test_the_toolkits_own_site_does_not_conflict(errors: Strings) -> None:
    own = nginx((["443 ssl"], ["registry.example.com"]), ours=True)
    assert errors(host=own) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            '2026/11/24 03:35:57 [emerg] 1724#1724: unknown directive "servr" in /etc/nginx/a:1\n'
            "nginx: configuration file /etc/nginx/nginx.conf test failed\n",
            'unknown directive "servr" in /etc/nginx/a:1',
        ),
        (
            'nginx: [emerg] unknown directive "servr" in /etc/nginx/a:1\n',
            'unknown directive "servr" in /etc/nginx/a:1',
        ),
        ("nginx took longer\nthan 10 s\n", "nginx took longer than 10 s"),
    ],
)
def test_an_nginx_whose_configuration_is_broken(errors: Strings, said: str, shown: str) -> None:
    assert errors(host={"nginx": {"present": True, "error": said}}) == [
        f"host, nginx: its present configuration is broken ({shown}): correct it until `nginx -t` "
        "succeeds"
    ]


# Every state of the table that stops a deployment, word for word.
ENGINES = {
    "masked": (
        "docker.service docker.socket",
        "Docker cannot start, because it is masked in systemd: "
        "run `systemctl unmask docker.service docker.socket`",
    ),
    "misconfigured": (
        "/etc/docker/daemon.json, line 3, is not JSON (Expecting value): correct it",
        "Docker would not start: /etc/docker/daemon.json, line 3, is not JSON (Expecting value): "
        "correct it",
    ),
    "elsewhere": ("Docker runs, but not here: move it", "Docker runs, but not here: move it"),
    "silent": (
        "process 812",
        "Docker runs (process 812), but it does not answer at /var/run/docker.sock: look for the "
        "reason in its log, and restart it",
    ),
    "parts": (
        "containerd.io",
        "there is no engine, and the distribution's docker.io would replace containerd.io: install "
        "the engine that belongs to it (docker-ce, from Docker's own repository), or remove "
        "containerd.io; Wharfinger then installs the distribution's",
    ),
    "rootless": (
        None,
        "Docker runs rootless, and nginx cannot reach its containers' addresses: "
        "use an engine that runs as root (remove the rootless one, or use another host)",
    ),
    "userns-remap": (
        None,
        "Docker maps user ids (userns-remap), so the registry could not own its data: "
        "remove userns-remap from /etc/docker/daemon.json, or use another host",
    ),
    "snap": (
        None,
        "Docker comes from a snap, which cannot read /etc and /var/lib: "
        "remove it (snap remove docker); Wharfinger then installs the distribution's",
    ),
    "podman": (
        "the docker command (/usr/bin/docker) is podman's: remove it",
        "the docker command (/usr/bin/docker) is podman's: remove it; "
        "Wharfinger then installs the distribution's Docker",
    ),
}


def test_the_table_of_engine_states_has_a_message_for_each_that_stops_a_deployment() -> None:
    stopping = {name for name, state in STATES.items() if state.deployment == "stops"}
    assert set(ENGINES) == stopping == {name for name, state in STATES.items() if state.message}


@pytest.mark.parametrize("state", ENGINES)
def test_an_engine_that_cannot_work(errors: Strings, state: str) -> None:
    detail, message = ENGINES[state]
    assert errors(host={"engine": {"state": state, "detail": detail, "running": False}}) == [
        f"host, engine: {message}"
    ]


@pytest.mark.parametrize("state", sorted(STATES.keys() - ENGINES.keys()))
def test_an_engine_that_is_there_or_is_brought(
    errors: Strings, warnings: Strings, state: str
) -> None:
    engine = {"state": state, "version": None, "root": None, "free_bytes": None}
    assert errors(host={"engine": engine, "networks": []}) == []
    assert warnings(host={"engine": engine, "networks": []}) == []


def test_an_engine_that_is_too_old(errors: Strings) -> None:
    assert errors(host={"engine": {"version": "19.03.15"}}) == [
        "host, engine: Docker 19.03.15 is too old: install 20.10 or newer"
    ]


def test_an_engine_that_would_not_start_again_is_a_warning(warnings: Strings) -> None:
    why = "it is masked in systemd: run `systemctl unmask docker.service`"
    assert warnings(host={"engine": {"warning": why}}) == [
        f"host, engine: Docker runs, but it would not start again: {why}"
    ]


def test_the_documentation_has_every_engine_state(project: Path) -> None:
    text = (project / "docs" / "platforms.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|.*\| (installs|starts|uses|stops)", text, re.MULTILINE)
    assert dict(rows) == {name: state.deployment for name, state in STATES.items()}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"SecurityOptions": ["name=rootless"]}, "Docker runs rootless"),
        ({"SecurityOptions": ["name=userns"]}, "Docker maps user ids (userns-remap)"),
        ({"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, "Docker comes from a snap"),
        (
            {"BuildahVersion": "1.39.3", "ProductLicense": "Apache-2.0"},
            "podman answers at /var/run/docker.sock, where Docker Engine is needed: stop that (`rm "
            "/var/run/docker.sock` where it is a link); Wharfinger then installs",
        ),
    ],
)
def test_an_engine_that_is_recognised_on_the_host_has_its_sentence(
    errors: Strings, info: dict[str, Any], words: str
) -> None:
    engine = {**engine_facts.facts(info, Paths().docker_socket), "free_bytes": 50 * 2**30}
    (message,) = errors(host={"engine": engine})
    assert message.startswith(f"host, engine: {words}")


@pytest.mark.parametrize(
    ("nginx", "message"),
    [
        (
            {"present": True, "masked": True},
            "nginx cannot start, because it is masked in systemd: "
            "run `systemctl unmask nginx.service`",
        ),
        (
            {"present": False, "masked": True},
            "nginx cannot start, because it is masked in systemd: "
            "run `systemctl unmask nginx.service`",
        ),
        (
            {
                "present": True,
                "program": "/usr/local/sbin/nginx",
                "settings": "/usr/local/nginx/conf/nginx.conf",
            },
            "/usr/local/sbin/nginx reads /usr/local/nginx/conf/nginx.conf, and Wharfinger's site "
            "would not be part of it: use an nginx that reads /etc/nginx/nginx.conf, or remove "
            "this one; Wharfinger then installs the distribution's",
        ),
    ],
)
def test_an_nginx_that_cannot_serve(errors: Strings, nginx: dict[str, Any], message: str) -> None:
    assert errors(host={"nginx": nginx}) == [f"host, nginx: {message}"]


def test_an_nginx_that_would_not_start_again_is_a_warning(warnings: Strings) -> None:
    nginx = {"present": True, "running": True, "masked": True, "njs": True}
    assert warnings(host={"nginx": nginx}) == [
        "host, nginx: nginx would not start again, because it is masked in systemd: "
        "run `systemctl unmask nginx.service`"
    ]


@pytest.mark.parametrize(
    ("recorded", "subject"),
    [("/var/lib/wharfinger/registry", "host, data"), ("/srv/old", "storage_path")],
)
def test_data_that_are_not_where_the_inventory_says(
    judge: Judge, recorded: str, subject: str
) -> None:
    host = {
        "missing_data": "the host's own words: its own cure",
        "state": {"storage_path": recorded},
    }
    assert judge(host=host).errors == [f"{subject}: the host's own words: its own cure"]
    # A registry can still be removed when its disk is lost.
    kept = judge(host=host, scope="remove").errors
    assert kept == ([] if subject == "host, data" else judge(host=host).errors)


def test_containers_and_networks_of_somebody_else_with_our_names(errors: Strings) -> None:
    foreign = {"name": "wharfinger", "subnet": "10.7.0.0/24", "internal": False, "ours": False}
    assert errors(host={"network": foreign, "foreign_containers": ["wharfinger-registry-1"]}) == [
        "host, engine: the container wharfinger-registry-1 is not Wharfinger's, but has a name of "
        "its containers: rename it (docker rename wharfinger-registry-1 …) or remove it",
        "host, engine: the docker network wharfinger is not Wharfinger's: "
        "remove it (docker network rm wharfinger), or rename it",
    ]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (
            {"networks": [{"name": "apps", "subnets": ["172.31.0.0/16"]}]},
            "overlaps the docker network apps (172.31.0.0/16): "
            "write a subnet that is free, like 172.30.255.240/28",
        ),
        (
            {"routes": [{"destination": "172.16.0.0/12", "device": "tun0"}]},
            "overlaps a route of the host through tun0 (172.16.0.0/12): "
            "write a subnet that is free, like 10.255.255.240/28",
        ),
        (
            {"addresses": ["172.31.255.241"], "resolved": {}},
            "overlaps an address of the host (172.31.255.241/32): "
            "write a subnet that is free, like 172.30.255.240/28",
        ),
        (
            {
                "routes": [
                    {"destination": network, "device": "tun0"}
                    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
                ]
            },
            "overlaps a route of the host through tun0 (172.16.0.0/12): "
            "write a subnet that is free",
        ),
    ],
)
def test_a_subnet_that_is_taken(errors: Strings, host: dict[str, Any], message: str) -> None:
    assert errors(host=host) == [f"container_engine_network: 172.31.255.240/28 {message}"]


def test_the_default_route_in_any_form_takes_no_subnet(errors: Strings) -> None:
    forms = ("default", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "fd00::/8")
    assert errors(host={"routes": [{"destination": f, "device": "tun0"} for f in forms]}) == []


OURS = {"name": "wharfinger", "subnet": "172.31.255.240/28", "internal": True, "ours": True}
OUR_TRACES: dict[str, Any] = {
    "networks": [{"name": "wharfinger", "subnets": ["172.31.255.240/28"]}],
    "routes": [{"destination": "172.31.255.240/28", "device": "wharfinger0"}],
    "addresses": ["10.0.0.5", "172.31.255.241"],
}


def test_the_own_network_takes_no_subnet(errors: Strings) -> None:
    assert errors(host={"network": OURS, **OUR_TRACES}) == []


def test_the_own_network_is_known_where_docker_is_stopped(errors: Strings) -> None:
    recorded = {name: OURS[name] for name in ("name", "subnet", "internal")}
    assert errors(host={**OUR_TRACES, "networks": [], "state": {"network": recorded}}) == []


def test_another_subnet_for_containers_that_are_there(errors: Strings) -> None:
    host = {"network": OURS, **OUR_TRACES, "containers": [{"name": "wharfinger-registry-1"}]}
    assert errors(host=host, container_engine_network="10.9.0.0/24") == [
        "container_engine_network: 10.9.0.0/24 is not the subnet that the host's containers are "
        "in, 172.31.255.240/28: write 172.31.255.240/28, "
        "or run playbooks/remove.yml first (data and keys stay)"
    ]


def test_another_subnet_is_fine_before_there_are_containers(errors: Strings) -> None:
    host = {"network": OURS, **OUR_TRACES}
    assert errors(host=host, container_engine_network="172.31.255.0/24") == []


def test_a_user_id_of_somebody_else(errors: Strings) -> None:
    assert errors(host={"uids": {"64500": "backup2", "64501": "ldap"}}) == [
        "host, users: user id 64500 belongs to backup2, and the registry runs as it: "
        "give backup2 another id (usermod --uid)",
        "host, users: user id 64501 belongs to ldap, and the token server runs as it: "
        "give ldap another id (usermod --uid)",
    ]


MOUNT = {"src": "/dev/sdb1", "fstype": "ext4"}
HERE = "/var/lib/wharfinger/registry"


def test_data_below_a_mount_point_that_is_not_mounted(errors: Strings) -> None:
    storage = {"exists": True, "is_mount": False, "data": True, "data_uid": 64500, "uid": 64500}
    assert errors(storage_mount=MOUNT, host={"storage": storage}) == [
        f"storage_mount: {HERE} holds registry data on the disk below the mount point, which the "
        f"mount would hide: mount the new disk elsewhere, copy {HERE}/docker to it, "
        f"and rename {HERE}/docker away"
    ]


def test_another_source_is_mounted(errors: Strings) -> None:
    storage = {"exists": True, "is_mount": True, "source": "/dev/sdc1", "uid": 64500}
    assert errors(storage_mount=MOUNT, host={"storage": storage}) == [
        f"storage_mount, src: {HERE} is mounted from /dev/sdc1, which is another source: "
        "write that, or unmount it first"
    ]


@pytest.mark.parametrize(
    ("src", "source"),
    [
        ("/dev/sdb1", "/dev/sdb1"),
        ("UUID=1234-5678", "/dev/sdc1"),
        ("LABEL=registry", "/dev/sdc1"),
        ("/dev/disk/by-label/registry", "/dev/sdc1"),
        ("/dev/mapper/vg-registry", "/dev/dm-1"),
        ("nas:/export/", "nas:/export"),
    ],
)
def test_the_same_source_by_whatever_name_is_mounted(
    errors: Strings, src: str, source: str
) -> None:
    storage = {"exists": True, "is_mount": True, "source": source, "uid": 0}
    assert errors(storage_mount={**MOUNT, "src": src}, host={"storage": storage}) == []


def test_the_hosts_own_comparison_decides(errors: Strings) -> None:
    storage = {"exists": True, "is_mount": True, "source": "tmpfs", "is_source": False, "uid": 0}
    mount = {"src": "/data/registry", "fstype": "none", "opts": "bind"}
    assert errors(storage_mount=mount, host={"storage": storage}) == [
        f"storage_mount, src: {HERE} is mounted from tmpfs, which is another source: "
        "write that, or unmount it first"
    ]
    assert errors(storage_mount=mount, host={"storage": storage | {"is_source": True}}) == []


def test_a_bind_mount_shows_another_source(errors: Strings) -> None:
    mount = {"src": "/data/registry", "fstype": "none", "opts": "bind,noatime"}
    storage = {"exists": True, "is_mount": True, "source": "/dev/vda1", "uid": 0}
    assert errors(storage_mount=mount, host={"storage": storage}) == []


def test_data_of_another_owner_shows_the_command(errors: Strings) -> None:
    storage = {"exists": True, "data": True, "uid": 0, "foreign_owner": "/srv/old/docker/registry"}
    assert errors(storage_path="/srv/old", host={"storage": storage}) == [
        "storage_path: /srv/old/docker/registry does not belong to the registry (user id 64500): "
        "run `chown -R 64500:64500 /srv/old/docker` once, while nothing else uses it"
    ]


def test_a_directory_of_another_owner_is_not_taken_away(errors: Strings) -> None:
    assert errors(storage_path="/home/eve", host={"storage": {"exists": True, "uid": 1000}}) == [
        "storage_path: /home/eve belongs to user id 1000, and the registry would become its "
        "owner: write a directory of its own, like /home/eve/registry"
    ]


LITTLE: dict[str, Any] = {
    "storage": {"free_bytes": 3 * 2**29},
    "engine": {"free_bytes": 100 * 2**20},
}
TOO_LITTLE = [
    f"storage_free_minimum: 1.5 GiB are free in storage_path {HERE}, less than 2 GiB: "
    "make room, or write a smaller storage_free_minimum",
    "container_engine_free_minimum: 100 MiB are free in Docker's directory /var/lib/docker, "
    "less than 1 GiB: make room, or write a smaller container_engine_free_minimum",
]


def test_too_little_disk(errors: Strings) -> None:
    assert errors(host=LITTLE) == TOO_LITTLE
    assert (
        errors(host=LITTLE, storage_free_minimum="1GiB", container_engine_free_minimum="100m") == []
    )


def test_too_little_disk_under_a_registry_that_serves_is_a_warning(
    judge: Judge,
) -> None:
    serving = {"generations": {"registry": {"serving": {"number": 1}}}}
    report = judge(host={**LITTLE, "state": serving})
    assert (report.errors, report.warnings) == ([], TOO_LITTLE)


def test_the_space_of_a_disk_that_is_not_mounted_yet_is_unknown(errors: Strings) -> None:
    assert errors(storage_mount=MOUNT, host={"storage": LITTLE["storage"]}) == []


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (
            [],
            "registry.example.com does not resolve on the host: let DNS lead it to 10.0.0.5, or "
            "write registry_hosts_entry: true for an entry in the host's own /etc/hosts",
        ),
        (
            ["127.0.1.1"],
            "registry.example.com resolves to 127.0.1.1 on the host, and docker there may fall "
            "back to plain HTTP: let DNS lead it to 10.0.0.5, or write registry_hosts_entry: true "
            "for an entry in the host's own /etc/hosts",
        ),
        (
            ["203.0.113.9"],
            "registry.example.com resolves to 203.0.113.9, which is not an address of the host: "
            "behind NAT or a load balancer this is right; otherwise let DNS lead it to 10.0.0.5",
        ),
    ],
)
def test_a_name_that_does_not_lead_to_the_host_is_a_warning(
    warnings: Strings, addresses: list[str], message: str
) -> None:
    host = {"resolved": {"registry.example.com": addresses}}
    assert warnings(host=host) == [f"registry_hostname: {message}"]
    assert warnings(host=host, registry_hosts_entry=True) == []


def test_addresses_are_compared_in_whatever_form(warnings: Strings) -> None:
    host = {"addresses": ["fd00::5"], "resolved": {"registry.example.com": ["fd00:0:0::5"]}}
    assert warnings(host=host) == []


@pytest.mark.parametrize(
    ("fqdn", "hosts_entry", "name"),
    [
        ("VM.example.com", True, "vm.example.com"),
        ("vm.example.com", False, "vm.example.com"),
        ("vm", True, "vm.internal"),
        ("vm.localdomain", True, "vm.internal"),
        ("vm", False, "vm"),
    ],
)
def test_the_own_name_has_a_dot_where_it_may_be_written_into_hosts(
    fqdn: str, hosts_entry: bool, name: str
) -> None:
    assert own_name(fqdn, hosts_entry) == name


def test_a_host_that_could_hardly_be_observed_is_judged_by_what_is_known(
    specs: dict[str, Any],
) -> None:
    from wharfinger.preflight import check

    report = check(
        {"registry_hostname": "registry.example.com"},
        specs,
        {"python": "3.9.2"},
        {"clock": [NOW, NOW]},
    )
    assert [str(problem) for problem in report.errors if problem.topic.startswith("host")] == [
        "host, Python: 3.9.2 is too old: "
        "use Python 3.11 or newer, as Debian 12 and Ubuntu 24.04 have it"
    ]


@pytest.mark.parametrize(
    ("storage", "mount", "message"),
    [
        (
            {"source_there": False},
            {"src": "/dev/sdz1", "fstype": "ext4"},
            "storage_mount, src: there is no such device or directory on the host: attach it, or "
            "write one that `lsblk -f` shows there",
        ),
        (
            {"helper_there": False},
            {"src": "nas:/registry", "fstype": "nfs4"},
            "storage_mount, fstype: the host has no program that mounts nfs4: write "
            "container_engine_packages: [nfs-common], or install nfs-common there",
        ),
    ],
)
def test_a_mount_that_cannot_work_is_reported_before_anything_is_changed(
    errors: Callable[..., list[str]], storage: dict[str, bool], mount: dict[str, str], message: str
) -> None:
    assert errors(storage_mount=mount, host={"storage": storage}) == [message]
    # A mount that already exists needs nothing more.
    present = {"is_mount": True, "is_source": True}
    assert errors(storage_mount=mount, host={"storage": {**storage, **present}}) == []


def test_a_package_that_is_brought_may_mount(errors: Callable[..., list[str]]) -> None:
    assert (
        errors(
            storage_mount={"src": "nas:/registry", "fstype": "nfs4"},
            container_engine_packages=["nfs-common"],
            host={"storage": {"helper_there": False}},
        )
        == []
    )


def test_a_folder_that_cannot_be_written_stops_the_first_deployment(
    errors: Callable[..., list[str]],
) -> None:
    closed = {"closed": "/srv/inventory"}
    assert errors(controller=closed) == [
        "credentials: '/srv/inventory' cannot be written, and what is generated is kept in "
        "credentials/ beside the inventory: run this as the owner of the inventory, or copy the "
        "inventory to a folder of your own"
    ]
    serving = {"state": {"generations": {"registry": {"serving": {"number": 1}}}}}
    assert errors(controller=closed, host=serving) == []


def test_half_of_a_restore_is_not_deployed(judge: Judge) -> None:
    host = {"half_restored": "the host's own words: its own cure"}
    assert judge(host=host).errors == ["host, restore: the host's own words: its own cure"]
    assert judge(host=host, scope="restore").errors == []
