"""Programs that the host runs."""

from __future__ import annotations

from wharfinger.host.system.runner import Result, SystemRunner


def test_a_program_that_takes_too_long_is_ended_and_what_it_said_is_kept() -> None:
    program = "echo one; echo two >&2; exec sleep 60"
    assert SystemRunner().run(["sh", "-c", program], timeout=3) == Result(
        124, "one\ntwo\n", "sh did not answer within 3 s"
    )


def test_a_program_that_is_not_installed() -> None:
    assert SystemRunner().run(["wharfinger-none"]) == Result(
        127, "", "wharfinger-none is not installed"
    )
