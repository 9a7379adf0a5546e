"""`mirror`, `mirrors` and `look_upstream`: what the host makes of the copier's answers, and what
people and metrics see of it. tests/client/test_mirrors.py has the copier itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import FakeRunner, Machine, deployed
from wharfinger.host.commands import COMMANDS, run
from wharfinger.host.contents import reports
from wharfinger.host.observation import metrics, watching
from wharfinger.host.observation.status import text as status_text
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.lock import locked
from wharfinger.host.system.runner import Result

DAY = 86400.0
NOW = 1_796_086_800.0  # 2026-12-01 01:00 UTC
FIRST, SECOND, THIRD = (f"sha256:{digit * 64}" for digit in "abc")
DEBIAN = "docker.io/library/debian"
TOOLS = "quay.io/team/tools"
LOCK = "\n".join(
    [
        f"base/debian:12@{FIRST} 2026-11-30 {DEBIAN}",
        f"base/debian:13@{SECOND} 2026-12-01 {DEBIAN}",
        f"tools:1@{THIRD} 2026-12-01 {TOOLS}",
        # Of no entry: it is not copied.
        f"other:1@{THIRD} 2026-12-01 {TOOLS}",
        "",
    ]
)
ENTRIES = [
    {"from": DEBIAN, "to": "base/debian", "upstream": "docker.io", "source": "library/debian"},
    {"from": TOOLS, "to": "tools", "upstream": "quay.io", "source": "team/tools"},
]
FOUND: dict[str, Any] = {
    "here": 0,
    "missing": [],
    "copied": [],
    "failed": {},
    "blobs": 0,
    "problem": None,
    "tags": {},
    "gone": [],
}


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    """A host with two mirrors that were just set up."""
    machine.seconds = NOW
    host = deployed(tmp_path, machine)
    entries = [entry | {"tags": ["*"], "platforms": [], "password": ""} for entry in ENTRIES]
    entries[0] |= {"username": "me", "password": "upstream-pw"}
    settings = {"registry": "localhost", "mirrors": entries}
    host.paths.mirror_settings.write_text(json.dumps(settings))
    host.paths.mirror_lock.write_text(LOCK)
    return host


def answers(host: Host, *found: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The copier answers this for the two mirrors; returns the list of requests that it gets."""
    requests = []

    def as_user(request: str) -> Result:
        requests.append(json.loads(request))
        mirrors = [FOUND | entry for entry in found]
        answer = {"mirrors": mirrors, "requests": {"docker.io": 3}, "left_alone": {}} | more
        return Result(0, json.dumps(answer), "")

    says(host, as_user)
    return requests


def says(host: Host, as_user: Callable[[str], Result]) -> None:
    assert isinstance(host.runner, FakeRunner)
    host.runner.as_user = as_user


def failure(host: Host, command: str = "mirror") -> str:
    with pytest.raises(HostError) as failed:
        run(command, {}, host=host)
    return str(failed.value)


WELL = (
    {"here": 1, "copied": ["13"], "tags": {"12": FIRST, "13": SECOND}},
    {"here": 1, "tags": {"1": THIRD}},
)
DIFFERENT = (
    {"here": 2, "tags": {"13": THIRD, "14": FIRST}, "gone": ["12"]},
    {"here": 1, "tags": {"1": THIRD}},
)
DOWN = {"here": 1, "problem": "quay.io has not answered within 30 s"}


def test_the_copier_gets_what_it_needs_on_standard_input_and_no_login_as_argument(
    host: Host,
) -> None:
    requests = answers(host, *WELL)
    answer = run("mirror", {}, host=host)
    assert answer["actions"] == ["base/debian:13 was copied"]
    password = host.paths.mirror_password.read_text().splitlines()[0]
    own = requests[0].pop("registry")
    assert own == {
        "name": "localhost",
        "address": "127.0.0.1",
        "user": "wharfinger-mirror",
        "password": password,
        "ca": "",
    }
    assert requests[0]["task"] == "copy"
    assert [entry["lines"] for entry in requests[0]["mirrors"]] == [
        {"12": FIRST, "13": SECOND},
        {"1": THIRD},
    ]
    runner = host.runner
    assert isinstance(runner, FakeRunner)
    (call,) = [call for call in runner.calls if call[0] == "/usr/bin/python3"]
    assert call[1:3] == ["-I", "-c"]
    assert str(host.paths.program) in call[3]
    for secret in ("upstream-pw", password):
        assert secret not in str(runner.calls)


def test_another_port_is_part_of_the_registrys_name(host: Host) -> None:
    settings = json.loads(host.paths.mirror_settings.read_text()) | {"registry": "localhost:8443"}
    host.paths.mirror_settings.write_text(json.dumps(settings))
    requests = answers(host, *WELL)
    run("mirror", {}, host=host)
    assert requests[0]["registry"]["name"] == "localhost:8443"
    assert requests[0]["registry"]["address"] == "127.0.0.1"


def test_what_upstream_has_moved_is_reported_and_no_failure(host: Host) -> None:
    answers(host, *DIFFERENT)
    answer = run("mirror", {}, host=host)
    assert answer["changed"] is False
    row = answer["mirrors"][0]
    assert (row["moved"], row["new"], row["gone"]) == (["13"], ["14"], ["12"])
    words = "moved upstream: 13; new upstream: 14; no longer upstream: 12"
    status = run("status", {}, host=host)
    assert not [problem for problem in status["problems"] if "mirror" in problem]
    lines = [line for line in status_text(status).splitlines() if "mirror" in line]
    assert lines == [
        "mirror        base/debian: 2 of 2 locked tags are here, last success 2026-12-01 01:00 "
        f"UTC; {words}",
        "mirror        tools: 1 of 1 locked tags are here, last success 2026-12-01 01:00 UTC",
    ]
    assert "base/debian" not in metrics.text(host)
    lines = metrics.text(host).splitlines()
    assert [line for line in lines if line.startswith("wharfinger_host_mirror_tags")] == [
        'wharfinger_host_mirror_tags{state="locked"} 3',
        'wharfinger_host_mirror_tags{state="missing"} 0',
        'wharfinger_host_mirror_tags{state="moved"} 1',
        'wharfinger_host_mirror_tags{state="new"} 1',
        'wharfinger_host_mirror_tags{state="gone"} 1',
    ]
    assert 'wharfinger_host_job_last_run_ok{job_name="mirror"} 1' in lines


def test_one_upstream_that_fails_is_one_problem_and_the_other_has_succeeded(
    host: Host, machine: Machine
) -> None:
    answers(host, *WELL)
    run("mirror", {}, host=host)
    machine.seconds += DAY
    answers(host, WELL[0] | {"here": 2, "copied": []}, DOWN | {"here": 0})
    problem = (
        f"mirror: tools ({TOOLS}): quay.io has not answered within 30 s; 1 of 1 locked tags are "
        "not here"
    )
    assert failure(host) == problem
    status = run("status", {}, host=host)
    assert [text for text in status["problems"] if "mirror" in text] == [problem]
    assert [line for line in status_text(status).splitlines() if "mirror" in line] == [
        "mirror        base/debian: 2 of 2 locked tags are here, last success 2026-12-02 01:00 UTC",
        "mirror        tools: 0 of 1 locked tags are here, last success 2026-12-01 01:00 UTC",
        f"PROBLEM       {problem}",
    ]
    assert 'job_last_run_ok{job_name="mirror"} 0' in metrics.text(host)
    # Weeks later it is still the same one problem.
    every = {"storage_path": "/x", "every": {"mirror": DAY}}
    host.paths.contents_settings.write_text(json.dumps(every))
    host.paths.certificate_settings.write_text("{}")
    watching.succeeded(host, "renew")
    machine.seconds += 20 * DAY
    assert not [text for text in watching.overdue(host) if "mirror" in text]
    # A timer that does not run is another matter.
    answers(host, *WELL)
    run("mirror", {}, host=host)
    machine.seconds += 4000 * DAY
    assert [text for text in watching.overdue(host) if text.startswith("mirror: ")]


def test_tags_that_could_not_be_copied_are_named_and_not_all_of_many(host: Host) -> None:
    answers(host, FOUND | {"failed": {"13": "bad", "12": "worse"}}, WELL[1])
    assert failure(host) == f"mirror: base/debian ({DEBIAN}): 12: worse\n" + (
        f"base/debian ({DEBIAN}): 13: bad"
    )
    answers(host, FOUND | {"failed": {f"{number:02}": "bad" for number in range(13)}}, WELL[1])
    lines = failure(host).splitlines()
    assert (len(lines), lines[-1]) == (11, "and 3 more")


def test_a_run_that_found_nothing_out_keeps_what_the_last_one_knew(
    host: Host, machine: Machine
) -> None:
    answers(host, *DIFFERENT, left_alone={"quay.io": NOW + 3600})
    run("mirror", {}, host=host)
    before = reports.last_report(host, "mirror")
    machine.seconds += 60
    says(host, lambda request: Result(1, "", "Traceback\nMemoryError\n"))
    assert failure(host) == "the copier of mirrors has not answered: MemoryError"
    after = reports.last_report(host, "mirror")
    assert before is not None and after is not None
    assert (after["mirrors"], after["left_alone"]) == (before["mirrors"], {"quay.io": NOW + 3600})
    # A run that was killed has its report from `failed`.
    reports.report_failure(host, "mirror", HostError("mirror: it was killed"))
    requests = answers(host, *WELL)
    run("mirror", {}, host=host)
    assert requests[0]["left_alone"] == {"quay.io": NOW + 3600}


def test_an_upstream_that_wants_no_requests_is_left_alone_until_then(
    host: Host, machine: Machine
) -> None:
    answers(host, *WELL, left_alone={"docker.io": NOW + 3600, "quay.io": 0})
    run("mirror", {}, host=host)
    requests = answers(host, *WELL)
    machine.seconds = NOW + 3599
    run("mirror", {}, host=host)
    assert requests[-1]["left_alone"] == {"docker.io": NOW + 3600}
    machine.seconds = NOW + 3601
    run("mirror", {}, host=host)
    assert requests[-1]["left_alone"] == {}


def test_a_dry_run_asks_only_the_own_registry_and_says_how_much_is_missing(host: Host) -> None:
    requests = answers(host, {"here": 0, "missing": ["12", "13"]}, {"here": 1})
    answer = run("mirror", {}, host=host, check=True)
    assert answer["actions"] == ["2 of 3 locked tags would be copied"]
    assert requests[0]["task"] == "here"
    assert reports.last_report(host, "mirror") is None
    answers(host, {"here": 2}, {"here": 1})
    assert run("mirror", {}, host=host, check=True)["actions"] == []
    answers(host, {"problem": "the login was refused"}, {"here": 1})
    with pytest.raises(HostError, match=r"^mirror: the login was refused$"):
        run("mirror", {}, host=host, check=True)


def test_two_runs_at_once(host: Host) -> None:
    answers(host, *WELL)
    with locked(host.paths.mirror_job, "mirror", 0):
        assert "another wharfinger-host is at work (mirror, process" in failure(host)


def test_it_takes_no_lock_that_others_need(host: Host) -> None:
    answers(host, *WELL)
    with locked(host.paths.lock, "collect", 0):
        run("mirror", {}, host=host)
    assert COMMANDS["mirror"].locked is COMMANDS["look_upstream"].locked is False


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            Result(1, "", "ModuleNotFoundError: No module named 'httpx'\n"),
            "the package python3-httpx is missing: run site.yml, which installs it",
        ),
        (
            Result(124, "", "/usr/bin/python3 did not answer within 86400 s"),
            "the copier of mirrors has not answered: /usr/bin/python3 did not answer within "
            "86400 s",
        ),
        (Result(137, "", ""), "the copier of mirrors has not answered: it said nothing"),
    ],
)
def test_a_copier_that_does_not_answer(host: Host, said: Result, problem: str) -> None:
    says(host, lambda request: said)
    assert failure(host) == problem
    assert problem in run("status", {}, host=host)["problems"]


def test_a_damaged_lock_and_a_missing_password_are_named_in_the_report(host: Host) -> None:
    answers(host, *WELL)
    host.paths.mirror_lock.write_text("base/debian:13\n")
    assert failure(host).startswith(f"{host.paths.mirror_lock}: line 1")
    assert reports.problems(host) == [failure(host)]
    host.paths.mirror_lock.write_text(LOCK)
    host.paths.mirror_password.unlink()
    assert failure(host) == f"{host.paths.mirror_password} is missing: run the whole site.yml"


def test_a_host_without_mirrors_has_none_and_their_last_problem_is_over(host: Host) -> None:
    answers(host, WELL[0], DOWN)
    failure(host)
    assert reports.problems(host) != []
    host.paths.mirror_settings.unlink()
    assert reports.problems(host) == []
    assert "mirror" not in run("status", {}, host=host)["contents"]
    assert "wharfinger_host_mirror_tags{" not in metrics.text(host)
    assert 'job_name="mirror"' not in metrics.text(host)
    for command in ("mirror", "mirrors"):
        assert failure(host, command) == (
            f"{host.paths.mirror_settings} is not there: set registry_mirrors in the inventory and "
            "run site.yml"
        )


def test_mirrors_says_of_each_what_is_known(host: Host) -> None:
    words = COMMANDS["mirrors"].words
    assert words is not None
    assert words(run("mirrors", {}, host=host))[0].splitlines() == [
        f"base/debian from {DEBIAN}",
        "  2 tags locked; nothing was copied yet",
        f"tools from {TOOLS}",
        "  1 tags locked; nothing was copied yet",
    ]
    answers(host, DIFFERENT[0], DOWN)
    failure(host)
    assert words(run("mirrors", {}, host=host))[0].splitlines() == [
        f"base/debian from {DEBIAN}",
        "  2 of 2 locked tags are here, last success 2026-12-01 01:00 UTC; moved upstream: 13; new "
        "upstream: 14; no longer upstream: 12",
        f"tools from {TOOLS}",
        "  1 of 1 locked tags are here, last success never",
        "last run: 2026-12-01 01:00 UTC",
        f"PROBLEM mirror: tools ({TOOLS}): quay.io has not answered within 30 s",
    ]


def test_look_upstream_takes_lock_and_entries_from_the_controller(host: Host) -> None:
    requests = answers(host, *DIFFERENT)
    host.paths.mirror_lock.unlink()
    entries = [entry | {"tags": ["*"], "platforms": []} for entry in ENTRIES]
    answer = run("look_upstream", {"mirrors": entries, "lock": LOCK}, host=host)
    assert answer["changed"] is False
    assert answer["mirrors"][0]["tags"] == {"13": THIRD, "14": FIRST}
    assert answer["requests"] == {"docker.io": 3}
    assert "registry" not in requests[0]
    assert requests[0]["mirrors"][0]["lines"] == {"12": FIRST, "13": SECOND}
    with pytest.raises(HostError, match=r"^mirror\.lock: line 1"):
        run("look_upstream", {"mirrors": entries, "lock": "nonsense"}, host=host)


def test_a_report_that_the_job_did_not_write_counts_as_a_failure(host: Host) -> None:
    host.paths.reports.mkdir()
    report = {"job": "mirror", "at": 1, "seconds": 1, "ok": False, "problem": "x", "mirrors": [{}]}
    (host.paths.reports / "mirror.json").write_text(json.dumps(report))
    assert "is not what mirror writes" in reports.problems(host)[0]
    assert "mirror " not in status_text(run("status", {}, host=host)).partition("PROBLEM")[0]


def test_with_the_data_everything_of_mirrors_is_removed(host: Host) -> None:
    answers(host, *WELL)
    run("mirror", {}, host=host)
    run("remove", {}, host=host)
    assert not host.paths.mirror_settings.exists()
    assert not host.paths.mirror_lock.exists()
    assert not host.paths.mirror_job.exists()
    # The account's password stays, as the registry's users do.
    assert host.paths.mirror_password.exists()
    run("remove", {"remove_data": True}, host=host)
    assert not host.paths.etc.exists()
    assert not host.paths.var.exists()


def test_a_tag_that_an_update_made_is_not_missed_upstream(host: Host) -> None:
    line = f"base/debian:12-20261130@{THIRD} 2026-11-30 {DEBIAN}\n"
    host.paths.mirror_lock.write_text(LOCK + line)
    answers(host, DIFFERENT[0] | {"gone": ["12", "12-20261130"]}, DIFFERENT[1])
    assert run("mirror", {}, host=host)["mirrors"][0]["gone"] == ["12"]
