"""How ./test tells what it did (bin/checks.sh)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# As `test` uses bin/checks.sh, with parts that do nothing but count and wait.
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
    told = [re.fullmatch(r" +0:0(\d)  (\S+)", line) for line in lines[:-1]]
    assert [one and one[2] for one in told] == ["waits-2.2", "waits-0", "sum"]
    seconds = [int(one[1]) for one in told if one]
    assert seconds[0] >= 2
    assert seconds[2] == seconds[0] + seconds[1]


def test_a_part_that_ends_before_its_time_is_told_with_its_time_too() -> None:
    code, lines = ran("cut-off", "waits-0")
    assert code == 1
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    assert {line.split()[-1] for line in lines[:-1]} == {"cut-off", "waits-0", "sum"}
