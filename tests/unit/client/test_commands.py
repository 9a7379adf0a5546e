"""The command line as a whole."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.unit.client.conftest import Wharf
from wharfinger import __version__

COMMANDS = [
    "repositories", "tags", "show", "rm", "repair", "du", "login", "copy", "can", "access",
    "retention",
]  # fmt: skip
# Slow to import: a command that does not need them must not import them.
HEAVY = ("httpx", "docker", "jinja2", "ansible", "rich", "asyncio")


def test_help_shows_every_command_by_example(wharf: Wharf) -> None:
    ran = wharf("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert f"\n    wharf {command} " in ran.out, command
    assert "3   not allowed, or a login is needed" in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_examples_of_its_own(wharf: Wharf, command: str) -> None:
    ran = wharf(command, "--help")
    assert ran.code == 0
    assert f"  Examples:\n    wharf {command} " in ran.out


def test_no_command_takes_a_password_as_an_argument(wharf: Wharf) -> None:
    for command in COMMANDS:
        shown = re.sub(r"-\n +", "-", wharf(command, "--help").out)
        options = re.findall(r"--[a-z-]*password[a-z-]*(?: [A-Z]+)?", shown)
        assert set(options) <= {"--password-stdin"}, command


def test_help_imports_little() -> None:
    program = (
        "import sys\nsys.argv = ['wharf', '--help']\n"
        "from wharfinger.client.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_the_version(wharf: Wharf) -> None:
    assert wharf("--version").out == f"wharf {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("nothing",), "No such command 'nothing'"),
        (("tags",), "Missing argument 'REPO'"),
        (("tags", "a.b/c", "--max-requests", "0"), "Invalid value for '--max-requests'"),
        (("access",), "Missing option '--inventory' / '-i'"),
    ],
)
def test_a_wrong_command_line_is_2(wharf: Wharf, arguments: tuple[str, ...], part: str) -> None:
    ran = wharf(*arguments)
    assert ran.code == 2
    assert part in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_shells(shell: str) -> None:
    # From a shell, as a user does it: typer looks for a shell among its parent processes.
    command = [sys.executable, "-m", "wharfinger.client", "--show-completion", shell]
    done = subprocess.run(
        ["bash", "-c", '"$@"; exit', "bash", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_WHARF_COMPLETE" in done.stdout
