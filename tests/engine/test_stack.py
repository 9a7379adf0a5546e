"""A real registry, a real token server and a real nginx, deployed, changed, killed and removed."""

from __future__ import annotations

import http.client
import ssl
import threading
from pathlib import Path

import pytest

from support.amount import PACE
from support.waiting import enough
from wharfinger.host.commands import run
from wharfinger.host.system.errors import HostError

from .stack import HOSTNAME, KILLED, NETWORK, PORT, STACK, Stack, was_killed


def test_a_deployment_is_proven_and_a_second_run_changes_nothing(deployed: Stack) -> None:
    answer = deployed.verify()
    assert answer["changed"] is False
    assert answer["done"] == [
        "login",
        "push",
        "pull by tag",
        "pull by digest",
        "a push to a repository without rights: denied",
        "a push without login: denied",
    ]
    size = _size(deployed.folder / "storage")
    assert deployed.verify()["digest"] == answer["digest"]
    assert _size(deployed.folder / "storage") == size
    assert deployed.ensure("registry")["changed"] is False
    assert deployed.ensure("token_server", configuration=deployed.users())["changed"] is False
    assert run("site", {"content": deployed.site()}, host=deployed.host)["changed"] is False
    assert deployed.certificates()["changed"] is False


def _size(folder: Path) -> tuple[int, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def test_nothing_is_published_and_both_containers_are_confined(deployed: Stack) -> None:
    for name in deployed.containers():
        raw = deployed.host.engine.get(f"/containers/{name}/json")  # type: ignore[attr-defined]
        assert raw["NetworkSettings"]["Ports"] in ({}, {"5000/tcp": None}, {"5002/tcp": None})
        assert list(raw["NetworkSettings"]["Networks"]) == [NETWORK]
        assert raw["HostConfig"]["ReadonlyRootfs"] is True
        assert raw["HostConfig"]["CapDrop"] == ["ALL"]
        assert raw["Config"]["User"] in ("64500:64500", "64501:64501")
        assert raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_changes_under_load_fail_no_request(deployed: Stack) -> None:
    with Load() as load:
        assert deployed.ensure("registry", environment={"A": "1"})["generation"] == 2
        assert deployed.ensure("token_server", environment={"A": "1"})["generation"] == 2
        assert deployed.ensure("registry", environment={"A": "2"})["slot"] == "a"
        enough(lambda: load.answered, 50)
    assert load.failed == []
    assert deployed.containers() == [f"{STACK}-registry-3", f"{STACK}-token_server-2"]
    deployed.verify()


def test_a_registry_that_cannot_start_is_an_error_with_its_words_and_no_outage(
    deployed: Stack,
) -> None:
    with Load() as load, pytest.raises(HostError) as caught:
        deployed.ensure("registry", configuration="no yaml: [\n")
    text = str(caught.value)
    assert text.startswith(
        "registry: the new generation 2 was removed again and generation 1 keeps serving: it "
        "ended with exit code 1. The end of its log:\n"
    )
    assert "yaml" in text
    assert load.failed == []
    assert deployed.containers() == [f"{STACK}-registry-1", f"{STACK}-token_server-1"]
    deployed.verify()


def test_a_registry_that_never_becomes_healthy_is_an_error_and_no_outage(deployed: Stack) -> None:
    with pytest.raises(
        HostError, match=r"not healthy within 20 s \(GET /v2/ is answered with 401\)"
    ):
        deployed.ensure("registry", probe={"path": "/v2/", "status": [200]}, request={"wait": 20})
    deployed.verify()


def test_users_change_without_any_generation_and_bad_ones_are_refused_with_a_reason(
    deployed: Stack,
) -> None:
    known = run("prepare", {}, host=deployed.host)["verification_hash"]
    digest = deployed.users(f"  someone:\n    password: {known}\n")
    assert deployed.ensure("token_server", configuration=digest)["generation"] == 1
    bad = deployed.users("  someone:\n    pasword: x\n")
    with pytest.raises(HostError) as caught:
        deployed.ensure("token_server", configuration=bad)
    assert (
        "token_server: the new configuration is refused and the previous one stays in force: "
        in (str(caught.value))
    )
    # A key below a user may be a secret that YAML has misread, so it is not shown.
    assert "an unknown key (not shown, it may be a secret): did you mean password?" in (
        str(caught.value)
    )
    deployed.verify()


def test_a_killed_container_comes_back_and_a_removed_one_is_replaced(deployed: Stack) -> None:
    engine = deployed.host.engine
    engine.stop(f"{STACK}-registry-1", 0)
    assert deployed.ensure("registry")["generation"] == 1
    deployed.verify()
    engine.remove(f"{STACK}-registry-1")
    assert deployed.ensure("registry")["generation"] == 2
    deployed.verify()


CHANGED = (
    KILLED
    + """
stack = Stack(Path(sys.argv[1]), host)
stack.images = host.store.load().images
stack.ensure("registry", environment={"A": sys.argv[3]})
"""
)


@pytest.mark.slow
def test_sigkill_after_every_persisted_step_under_load_fails_no_request(
    deployed: Stack,
) -> None:
    kills = 0
    with Load() as load:
        for number in range(1, 20):
            if not was_killed(CHANGED, deployed.folder, number, f"{number}"):
                break
            kills += 1
            answer = deployed.ensure("registry", environment={"A": f"{number}"})
            assert deployed.containers() == [
                f"{STACK}-registry-{answer['generation']}",
                f"{STACK}-token_server-1",
            ]
            assert deployed.ensure("registry", environment={"A": f"{number}"})["changed"] is False
    assert kills >= 4
    assert load.failed == []
    deployed.verify()


def test_every_other_hop_that_fails_is_named(deployed: Stack) -> None:
    engine = deployed.host.engine
    engine.stop(f"{STACK}-token_server-1", 0)
    with pytest.raises(HostError, match=r"^verification failed at token server: "):
        deployed.verify()
    engine.start(f"{STACK}-token_server-1")
    engine.stop(f"{STACK}-registry-1", 0)
    with pytest.raises(HostError, match=r"^verification failed at registry: "):
        deployed.verify()
    deployed.stop_nginx()
    with pytest.raises(HostError, match=f"proxy: nothing listens at 127.0.0.1, port {PORT}"):
        deployed.verify()


def test_remove_takes_away_everything_of_ours_and_keeps_data_and_keys(deployed: Stack) -> None:
    host = deployed.host
    storage = deployed.folder / "storage"
    answer = run("remove", {"storage_path": str(storage)}, host=host)
    assert answer["changed"]
    assert deployed.containers() == []
    assert host.engine.network(NETWORK) is None
    assert not host.paths.site.exists()
    assert not host.paths.token_server.exists()
    assert (host.paths.certificates / "ca.key").exists()
    assert (storage / "docker").is_dir()
    assert run("remove", {"storage_path": str(storage)}, host=host)["changed"] is False
    run("remove", {"storage_path": str(storage), "remove_data": True}, host=host)
    assert not host.paths.etc.exists()
    assert not host.paths.var.exists()
    assert not storage.exists()


class Load:
    """Clients that constantly send requests to the registry and the token server, each on a new
    connection."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(path, wanted))
            for path, wanted in (("/v2/", 401), ("/auth?service=x", 401))
        ]
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, path: str, wanted: int) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPSConnection(
                HOSTNAME, PORT, timeout=60, context=self._context
            )
            try:
                connection.request("GET", path)
                status = connection.getresponse().status
                if status != wanted:
                    self.failed.append(f"{path}: {status}")
            except (OSError, http.client.HTTPException) as problem:
                self.failed.append(f"{path}: {problem!r}")
            finally:
                connection.close()
            self.answered += 1
            self._stop.wait(0.01 * PACE)
