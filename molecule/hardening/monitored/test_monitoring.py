"""Debian's Prometheus with the scrape configuration, alert rules and dashboard as shipped."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from support import hosts, renewals
from support.registry import Account, Registry, digest

NAME = "debian13"
SHIPPED = Path(__file__).resolve().parents[3] / "templates" / "monitoring"
LAYER = b"a layer that is pulled"
USERS_FILE = "/etc/wharfinger/token_server/auth_config.yml"
# These metrics exist only while the condition that they report lasts.
AT_TIMES = {"wharfinger_host_writes_refused_since_timestamp_seconds"}
# This host has no backups.
OF_BACKUPS = {
    "wharfinger_host_backup_newest_timestamp_seconds",
    "wharfinger_host_restore_estimate_seconds",
}
EMPTY = {"Another generation serves", "Newest backup, age", "A restore would take"}


def machine() -> Host:
    return hosts.host(NAME)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return hosts.registry(NAME)


@pytest.fixture(scope="module", autouse=True)
def used(registry: Registry) -> None:
    """Pushes to the registry, pulls from it, and checks its contents once."""
    someuser = hosts.account("someuser")
    assert registry.push(someuser, "someuser/app", "latest", LAYER).status == 201
    token = registry.token(someuser, "repository:someuser/app:pull")
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "the puller"}
    blob = f"/v2/someuser/app/blobs/{digest(LAYER)}"
    assert registry.request("GET", blob, headers=headers).body == LAYER
    machine().check_output("wharfinger-host check_contents")


@pytest.fixture
def no_renewals() -> Iterator[None]:
    """The timer begins no renewal during the test."""
    with renewals.held(machine()):
        yield


def prometheus(path: str, **parameters: str) -> Any:
    """Prometheus' answer."""
    address = hosts.variables(NAME)["ansible_host"]
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://{address}:9090/api/v1/{path}?{query}", timeout=30) as got:
        answer = json.load(got)
    assert answer["status"] == "success", answer
    return answer["data"]


def value(expression: str) -> float | None:
    """The only value of an expression, or None."""
    result = prometheus("query", query=expression)["result"]
    assert len(result) < 2, result
    return float(result[0]["value"][1]) if result else None


def awaited(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.5)


def firing() -> set[str]:
    return {
        alert["labels"]["alertname"]
        for alert in prometheus("alerts")["alerts"]
        if alert["state"] == "firing"
    }


def expressions() -> Iterator[tuple[str, str]]:
    """(place, expression) of every alert and panel, with the dashboard's variables filled in."""
    rules = yaml.safe_load((SHIPPED / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((SHIPPED / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], filled(target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], filled(annotation["expr"])


def filled(expression: str) -> str:
    return expression.replace("$registry", "registry.example.com").replace("$__rate_interval", "1m")


def test_every_target_is_up() -> None:
    def health() -> dict[str, str]:
        return {
            target["labels"]["job"]: target["health"]
            for target in prometheus("targets")["activeTargets"]
        }

    wanted = {f"wharfinger_{name}" for name in ("token_server", "registry", "nginx", "host")}
    awaited(lambda: health() == dict.fromkeys(wanted, "up"))


def test_every_metric_that_is_asked_for_is_there() -> None:
    names = {
        name
        for _, expression in expressions()
        for name in re.findall(r"\b((?:wharfinger|registry|nginx|process)_\w+|up)\b", expression)
        if not re.fullmatch(r"wharfinger_(token_server|registry|nginx|host)", name)
    }
    assert len(names) > 25
    missing = names

    def scraped() -> bool:
        nonlocal missing
        missing = names - set(prometheus("label/__name__/values"))
        return missing <= AT_TIMES | OF_BACKUPS

    with contextlib.suppress(AssertionError):
        awaited(scraped)
    assert missing == AT_TIMES | OF_BACKUPS


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_prometheus_accepts_every_expression(where: str, expression: str) -> None:
    prometheus("query", query=expression)


def test_the_panels_show_something() -> None:
    alerts = {rule["name"] for group in prometheus("rules")["groups"] for rule in group["rules"]}
    empty: set[str] = set()

    def filled_in() -> bool:
        nonlocal empty
        empty = {
            where
            for where, expression in expressions()
            if where not in alerts and not prometheus("query", query=expression)["result"]
        }
        return empty <= EMPTY

    # A rate needs two samples, and the scrapes have just begun.
    with contextlib.suppress(AssertionError):
        awaited(filled_in)
    assert empty <= EMPTY


def test_prometheus_finds_no_fault_with_the_rules_and_they_alert_when_they_should() -> None:
    test = (Path(__file__).with_name("rules_test.yml")).read_text()
    done = hosts.run_with_input(
        NAME,
        ["sh", "-c", "cat > /tmp/rules_test.yml && cd /tmp && promtool test rules rules_test.yml"],
        test,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_healthy_host_fires_nothing() -> None:
    assert firing() == set()


def test_logins_that_fail_are_counted_and_fire(registry: Registry) -> None:
    counted = 'wharfinger_token_server_requests_total{result=~"wrong_password|limited"}'
    before = value(f"sum({counted})")
    assert before is not None
    statuses = [registry.login(Account("admin", f"guess {number}")) for number in range(80)]
    assert set(statuses) <= {401, 429}
    awaited(lambda: (value(f"sum({counted})") or 0) == before + 80)
    awaited(lambda: "WharfingerLoginFailures" in firing())


def test_a_users_file_that_cannot_be_used_fires_until_it_is_mended() -> None:
    keep = f"{USERS_FILE}.kept"
    machine().check_output(f"cp --archive {USERS_FILE} {keep}")
    try:
        # The whole file in one step, as the toolkit does it, with the group that may read it.
        machine().check_output(
            f"cp --archive {keep} {USERS_FILE}.new && echo nonsense > {USERS_FILE}.new "
            f"&& mv {USERS_FILE}.new {USERS_FILE}"
        )
        awaited(lambda: "WharfingerConfigurationRejected" in firing())
    finally:
        machine().check_output(f"mv {keep} {USERS_FILE}")
    awaited(lambda: "WharfingerConfigurationRejected" not in firing())


# A renewal would start the stopped container.
@pytest.mark.usefixtures("no_renewals")
def test_a_registry_that_does_not_run_fires_until_it_does(registry: Registry) -> None:
    state = json.loads(machine().check_output("wharfinger-host status --json"))["state"]
    container = f"wharfinger-registry-{state['generations']['registry']['serving']['number']}"
    machine().check_output("docker stop %s", container)
    try:
        awaited(lambda: "WharfingerDown" in firing())
        # nginx itself answers clients then, and no error rate counts that.
        assert registry.request("GET", "/v2/").status in (502, 504)
        assert "WharfingerErrors" not in firing()
    finally:
        machine().check_output("docker start %s", container)
    awaited(lambda: "WharfingerDown" not in firing())


def test_the_log_says_who_pulled_what() -> None:
    text = machine().file("/var/log/wharfinger/access.log").content_string
    lines = [json.loads(line) for line in text.splitlines()]
    pull = [line for line in lines if line["agent"] == "the puller"][-1]
    assert (pull["user"], pull["verb"], pull["repository"]) == ("someuser", "pull", "someuser/app")
    assert (pull["status"], pull["bytes"]) == ("200", str(len(LAYER)))
    assert {line["verb"] for line in lines} >= {"login", "push", "pull", "ping"}
    guesses = [line for line in lines if line["verb"] == "login" and line["status"] != "200"]
    assert len(guesses) >= 80
    assert {line["user"] for line in guesses} == {""}
    log = machine().file("/var/log/wharfinger/access.log")
    assert (log.mode, log.group) == (0o640, "adm")


# A renewal would compress the rotated log.
@pytest.mark.usefixtures("no_renewals")
def test_after_a_rotation_lines_go_on(registry: Registry) -> None:
    # Large enough for the timer to rotate it.
    filled = "head --bytes 105M /dev/zero | tr '\\0' '\\n' >>/var/log/wharfinger/access.log"
    machine().check_output(filled)
    # It ends with 1 if it has problems to report, and another test may have left some.
    machine().run("wharfinger-host renew")
    log = machine().file("/var/log/wharfinger/access.log")

    def answered() -> bool:
        registry.request("GET", "/v2/")
        return '"verb":"ping"' in log.content_string

    awaited(answered)
    assert (log.mode, log.group) == (0o640, "adm")
    (name,) = machine().check_output("ls /var/log/wharfinger/access-*.log").splitlines()
    rotated = machine().file(name)
    assert (rotated.user, rotated.group, rotated.mode) == ("root", "adm", 0o640)
    lines = machine().check_output("grep --invert-match '^$' %s", name).splitlines()
    assert all(json.loads(line)["time"] for line in lines)
    # nginx no longer has it open, so only root can change it.
    assert machine().run("find /proc/[0-9]*/fd -lname %s", name).stdout == ""


def test_the_decisions_are_kept_where_no_container_writes(registry: Registry) -> None:
    lines = machine().file("/var/log/wharfinger/decisions.log").content_string.splitlines()
    decisions = [json.loads(line) for line in lines]
    assert {decision["result"] for decision in decisions} >= {"granted", "wrong_password"}
    granted = [decision for decision in decisions if decision["result"] == "granted"][-1]
    assert granted["granted"][0]["type"] == "repository"
    mounts = machine().check_output(
        "docker ps --quiet | xargs docker inspect --format '{{json .Mounts}}'"
    )
    assert "/var/log" not in mounts
    machine().run("wharfinger-host renew")
    metrics = machine().file("/run/wharfinger/host.prom").content_string
    assert "wharfinger_host_decisions_lost 0\n" in metrics


def test_nothing_of_it_is_on_the_public_site(registry: Registry) -> None:
    for path in ("/metrics", "/metrics/host", "/metrics/token_server", "/auth/metrics"):
        assert registry.request("GET", path).status == 404
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hosts.variables(NAME)["ansible_host"], 9180), 5)


def test_no_other_container_reaches_the_registrys_debug_port() -> None:
    state = json.loads(machine().check_output("wharfinger-host status --json"))
    address = state["state"]["generations"]["registry"]["serving"]["address"]
    image = state["state"]["images"]["token_server"]["id"]
    ask = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 5001), 3)\n"
        "except OSError as problem: sys.exit(str(problem))\n"
        "print('open')"
    )
    from_host = machine().run("python3 -c %s %s", ask, address)
    assert from_host.stdout.strip() == "open"
    from_container = machine().run(
        "docker run --rm --network bridge --entrypoint /usr/bin/python3.13 %s -c %s %s",
        image,
        ask,
        address,
    )
    assert from_container.rc == 1, from_container.stdout
    assert "open" not in from_container.stdout
