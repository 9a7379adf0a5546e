"""Every process that serves is killed by SIGKILL, under load."""

from __future__ import annotations

import pytest

from faults import Bench

DOCKER = "docker starts it again (restart policy)"
SYSTEMD = "systemd starts it again"


@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_the_process_of_a_container(bench: Bench, kind: str) -> None:
    name, before = bench.container(kind), bench.inspected(kind)["RestartCount"]
    with bench.fault(f"SIGKILL: {kind}", returns=DOCKER):
        bench.run(f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {name})")
    assert bench.inspected(kind)["RestartCount"] == before + 1


@pytest.mark.parametrize("kind", ["registry", "token_server"])
def test_docker_kill(bench: Bench, kind: str) -> None:
    name = bench.container(kind)
    returns = "the host's timer starts it, within a quarter of an hour (here: called after 5 s)"
    with bench.fault(f"docker kill: {kind}", returns=returns):
        bench.run(f"docker kill {name}")
        bench.out_now(5)
        # docker takes this for a request to stop, so the container does not restart.
        assert bench.inspected(kind)["State"]["Status"] == "exited"
        bench.run("systemctl start wharfinger-renew.service")
    assert bench.container(kind) == name


def test_a_worker_of_nginx(bench: Bench) -> None:
    with bench.fault("SIGKILL: a worker of nginx", returns="nginx starts another"):
        bench.run("kill -9 $(pgrep --oldest --parent $(cat /run/nginx.pid))")


def test_the_master_of_nginx(bench: Bench) -> None:
    with bench.fault("SIGKILL: the master of nginx", returns=SYSTEMD):
        bench.run("kill -9 $(cat /run/nginx.pid)")


@pytest.mark.parametrize("service", ["docker", "containerd"])
def test_the_engine(bench: Bench, service: str) -> None:
    containers = [bench.inspected(kind)["State"]["Pid"] for kind in ("registry", "token_server")]
    with bench.fault(f"SIGKILL: {service}", returns=f"{SYSTEMD}; the containers go on meanwhile"):
        bench.run(f"kill -9 $(systemctl show --property MainPID --value {service})")
    bench.until(f"systemctl is-active {service} && docker info")
    assert containers == [
        bench.inspected(kind)["State"]["Pid"] for kind in ("registry", "token_server")
    ]
