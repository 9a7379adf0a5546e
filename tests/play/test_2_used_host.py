"""A host that is already in use: every obstacle is reported, and nothing is touched."""

from __future__ import annotations

from typing import Any

from .controller import Controller
from .machine import NAME, Machine, differences

# Programs on the ports, another distribution, ids and data of other users, podman's docker command,
# and a route through the stack's subnet.
OCCUPY = r"""
cp /usr/bin/python3 /opt/squatter
systemd-run --quiet --unit=squatter-80 /opt/squatter -m http.server 80 --bind 0.0.0.0
systemd-run --quiet --unit=squatter-443 /opt/squatter -m http.server 443 --bind 0.0.0.0
rm /etc/os-release
printf 'ID=fedora\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41"\n' >/etc/os-release
useradd --no-create-home --uid 64500 theirs
useradd --no-create-home --uid 64501 others
mkdir -p /srv/theirs/docker/registry/v2
chown -R 1234 /srv/theirs
printf '#!/bin/sh\nexec /usr/bin/podman "$@"\n' >/usr/local/bin/docker
chmod 0755 /usr/local/bin/docker
ip route add 172.31.0.0/16 dev eth0
mkdir /opt/behind
cat >/opt/behind/sitecustomize.py <<'END'
import time
present = time.time
time.time = lambda: present() - 3 * 3600
END
cat >/opt/behind/python3 <<'END'
#!/bin/sh
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/behind exec /usr/bin/python3 "$@"
END
chmod 0755 /opt/behind/python3
until ss -ltn | grep -q :443 && ss -ltn | grep -q :80; do sleep 0.1; done
"""

VACATE = r"""
systemctl stop squatter-80 squatter-443
ln -sf ../usr/lib/os-release /etc/os-release
userdel theirs
userdel others
rm -r /srv/theirs /usr/local/bin/docker /opt/behind /opt/squatter
ip route del 172.31.0.0/16 dev eth0
"""


def test_every_obstacle_on_the_host_is_reported_at_once_and_nothing_is_changed(
    machine: Machine, controller: Controller, settings: dict[str, Any]
) -> None:
    machine.run(OCCUPY)
    try:
        occupied = {"storage_path": "/srv/theirs"}
        hosts = {
            "occupied": occupied,
            # The host shares this machine's clock, so a changed Python tells another time.
            "behind": {**occupied, "ansible_python_interpreter": "/opt/behind/python3"},
        }
        inventory = controller.inventory("occupied", settings, hosts)
        plain = machine.run("pgrep -f 'http.server 80'").split()[0]
        secure = machine.run("pgrep -f 'http.server 443'").split()[0]
        before = machine.snapshot()
        run = controller.play("occupied", inventory)
        assert differences(before, machine.snapshot()) == []
    finally:
        machine.run(VACATE)
    expected = [
        "host, distribution: Fedora Linux 41 is not supported: "
        "use Debian 12 or 13, or Ubuntu 24.04",
        f"host, port 80: 80 is in use by squatter (process {plain}) on 0.0.0.0: stop it, "
        "or move it to another port (80 redirects to https)",
        f"registry_port: 443 is in use by squatter (process {secure}) on 0.0.0.0: stop it, "
        "or write a registry_port that is free",
        "host, engine: the docker command (/usr/local/bin/docker) is podman's, which is not Docker "
        "Engine: remove podman-docker, or that file where no package has it; Wharfinger then "
        "installs the distribution's Docker",
        "container_engine_network: 172.31.255.240/28 overlaps a route of the host through eth0 "
        "(172.31.0.0/16): write a subnet that is free, like 172.30.255.240/28",
        "host, users: user id 64500 belongs to theirs, and the registry runs as it: "
        "give theirs another id (usermod --uid)",
        "host, users: user id 64501 belongs to others, and the token server runs as it: "
        "give others another id (usermod --uid)",
        "storage_path: /srv/theirs belongs to user id 1234, and the registry would become its "
        "owner: write a directory of its own, like /srv/theirs/registry",
        "storage_path: /srv/theirs/docker does not belong to the registry (user id 64500): "
        "run `chown -R 64500:64500 /srv/theirs/docker` once, while nothing else uses it",
    ]
    clock = (
        "host, clock: it is 2 hours behind the controller's, and tokens and certificates would "
        "not be valid: set whichever is wrong (systemd-timesyncd or chrony keeps it right)"
    )
    assert run.mistakes == {"occupied": expected, "behind": [expected[0], clock, *expected[1:]]}


def test_other_peoples_containers_and_sites_are_named_and_left_alone(
    machine: Machine, served: None, controller: Controller, settings: dict[str, Any]
) -> None:
    machine.run(
        f"""
        tar --create --files-from=/dev/null | docker import - empty >/dev/null
        docker create --name wharfinger-registry-1 empty nothing >/dev/null
        docker network create --subnet 172.31.255.240/28 wharfinger >/dev/null
        docker network create --subnet 10.77.0.0/24 apps >/dev/null
        cat >/etc/nginx/conf.d/theirs.conf <<'END'
server {{ listen 443; server_name {NAME}; }}
server {{ listen 443; server_name else.play.test; }}
END
        nginx -s reload
        """
    )
    try:
        hosts = {"theirs": {}, "apps": {"container_engine_network": "10.77.0.64/28"}}
        inventory = controller.inventory("theirs", settings, hosts)
        before = machine.snapshot()
        run = controller.play("theirs", inventory)
        assert differences(before, machine.snapshot()) == []
    finally:
        machine.run(
            "docker rm wharfinger-registry-1; docker network rm wharfinger apps; "
            "docker image rm empty; rm /etc/nginx/conf.d/theirs.conf; nginx -s reload"
        )
    move = "move that server, or write another registry_port"
    common = [
        f"registry_port: '/etc/nginx/conf.d/theirs.conf' already serves {NAME} on port 443, and "
        f"nginx would ignore a second server of that name: {move}",
        "registry_port: '/etc/nginx/conf.d/theirs.conf' speaks plain HTTP on port 443, where "
        f"Wharfinger speaks TLS: {move}",
        "host, engine: the container wharfinger-registry-1 is not Wharfinger's, but has a name of "
        "its containers: rename it (docker rename wharfinger-registry-1 …) or remove it",
        "host, engine: the docker network wharfinger is not Wharfinger's: "
        "remove it (docker network rm wharfinger), or rename it",
    ]
    subnet = "container_engine_network: {} overlaps the docker network {}: write a subnet that is "
    assert run.mistakes == {
        "theirs": [
            *common,
            subnet.format("172.31.255.240/28", "wharfinger (172.31.255.240/28)")
            + "free, like 172.30.255.240/28",
        ],
        "apps": [
            *common,
            subnet.format("10.77.0.64/28", "apps (10.77.0.0/24)") + "free, like 172.30.255.240/28",
        ],
    }


def test_an_engine_and_an_nginx_that_cannot_work(
    machine: Machine, served: None, controller: Controller, settings: dict[str, Any]
) -> None:
    machine.run(
        """
        echo '{"userns-remap": "default"}' >/etc/docker/daemon.json
        systemctl restart docker
        echo 'servr {}' >/etc/nginx/conf.d/theirs.conf
        """
    )
    try:
        inventory = controller.inventory("broken", settings, {"instance": {}})
        before = machine.snapshot()
        run = controller.play("broken", inventory)
        assert differences(before, machine.snapshot()) == []
    finally:
        machine.run(
            "rm /etc/docker/daemon.json /etc/nginx/conf.d/theirs.conf; systemctl restart docker"
        )
    assert run.mistakes["instance"] == [
        'host, nginx: its present configuration is broken (unknown directive "servr" in '
        "/etc/nginx/conf.d/theirs.conf:1): correct it until `nginx -t` succeeds",
        "host, engine: Docker maps user ids (userns-remap), so the registry could not own its "
        "data: remove userns-remap from /etc/docker/daemon.json, or use another host",
    ]
