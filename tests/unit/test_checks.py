"""How ./test reports what it did (bin/checks.sh)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# Uses bin/checks.sh as `test` does, with parts that only count and wait.
PROGRAM = """
set -euo pipefail
. bin/environment.sh
. bin/checks.sh
run_part() {
  [ "$1" != cut-off ] || exit 1
  sleep "${1#waits-}"
  passed=2 failed=0 skipped=1
}
run_in_lanes 2 "$@"
summary
"""


def ran(*parts: str) -> tuple[int, list[str]]:
    """Exit code, and the lines of standard output."""
    done = subprocess.run(
        ["bash", "-c", PROGRAM, "test", *parts], cwd=PROJECT, capture_output=True, text=True
    )
    return done.returncode, done.stdout.splitlines()


def test_the_parts_times_come_before_the_last_line_the_longest_first() -> None:
    code, lines = ran("waits-0", "waits-2.2")
    assert code == 0
    assert lines[-1] == "4 passed, 0 failed, 2 skipped"
    rows = [re.fullmatch(r" +0:0(\d)  (\S+)", line) for line in lines[:-1]]
    assert [row and row[2] for row in rows] == ["waits-2.2", "waits-0", "sum"]
    seconds = [int(row[1]) for row in rows if row]
    assert seconds[0] >= 2
    assert seconds[2] == seconds[0] + seconds[1]


def test_parts_that_need_nothing_run_while_others_are_prepared() -> None:
    program = PROGRAM.replace(
        'run_in_lanes 2 "$@"',
        # What is prepared here ends only when the first of these parts has ended.
        "begin_lane waits-0 waits-0.1 waits-0.2\n"
        'until [ -s "$logs/times" ]; do sleep 0.1; done\n'
        'run_in_lanes 2 "$@"',
    )
    for parts in (["waits-0.3", "waits-0.4"], []):
        done = subprocess.run(
            ["bash", "-c", program, "test", *parts],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        lines = done.stdout.splitlines()
        assert lines[-1] == f"{2 * len(parts) + 6} passed, 0 failed, {len(parts) + 3} skipped"
        early = ["waits-0", "waits-0.1", "waits-0.2"]
        assert {line.split()[-1] for line in lines[:-1]} == {*early, *parts, "sum"}


def test_a_part_that_ends_early_is_listed_with_its_time() -> None:
    code, lines = ran("cut-off", "waits-0")
    assert code == 1
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert lines[:2] == ["failures:", "cut-off ended before its time:"]
    assert {line.split()[-1] for line in lines[2:-1]} == {"cut-off", "waits-0", "sum"}


def test_evidence_has_the_counts_of_every_check(tmp_path: Path) -> None:
    program = PROGRAM.split("run_part")[0] + "check first true\ncheck second false\n"
    variables = os.environ | {"WHARFINGER_EVIDENCE": str(tmp_path)}
    subprocess.run(["bash", "-c", program], cwd=PROJECT, env=variables, capture_output=True)
    assert (tmp_path / "full.md").read_text() == "| first | 1 | 0 | 0 |\n| second | 0 | 1 | 0 |\n"


# The output of parts that fail, in the form in which ./test keeps it.
TEST = """\
=================================== FAILURES ===================================
________________________ test_docker_kill[registry] ____________________________

    def test_docker_kill(bench: Bench, kind: str) -> None:
>       bench.out_now(5)

_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
>       assert not answered, watch.name
E       AssertionError: watching pulls

faults/bench.py:136: AssertionError
=========================== short test summary info ============================
FAILED tests/test_1_kills.py::test_docker_kill[registry] - watching pulls
============== 1 failed, 44 passed in 527.61s (0:08:47) ===============
CRITICAL Verifier tests failed
ERROR    [faults > verify] \x1b[31mExecuted: Failed\x1b[0m
"""
TASK = """\
TASK [Nothing of theirs has changed] *******************************
changed: [brought -> localhost]
fatal: [shared -> localhost]: FAILED! =>
    changed: false
    msg: non-zero return code

PLAY RECAP *********************************************************************
"""
COMMAND = "one\ntwo\n"

FAILING = """
set -euo pipefail
. bin/environment.sh
. bin/checks.sh
run_part() { check "$1" sh -c 'cat "$0"; exit "$1"' "$FOLDER/$1" "${1#*-}"; }
run_in_lanes 1 "$@"
summary
"""


def test_why_a_part_failed_is_repeated_in_few_lines_before_the_times(tmp_path: Path) -> None:
    parts = {"a-1": TEST, "b-2": TASK, "c-3": COMMAND, "d-0": COMMAND}
    for name, text in parts.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["bash", "-c", FAILING, "test", *parts],
        cwd=PROJECT,
        env={**os.environ, "FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    _, _, failures = done.stdout.partition("failures:\n")
    assert failures.splitlines()[:-6] == [
        "a-1:",
        "  test_docker_kill[registry]",
        "  E       AssertionError: watching pulls",
        "  FAILED tests/test_1_kills.py::test_docker_kill[registry] - watching pulls",
        "b-2:",
        "  fatal: [shared -> localhost]: FAILED! =>",
        "      changed: false",
        "      msg: non-zero return code",
        "c-3:",
        "  one",
        "  two",
    ]
    assert failures.splitlines()[-1] == "45 passed, 3 failed, 0 skipped"
