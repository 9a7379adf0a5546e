"""Tables, lines, JSON and templates."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, Fake, image
from wharfinger.client.output import Column, Output
from wharfinger.client.text import clean, size


@pytest.fixture
def app(fake: Fake) -> str:
    fake.push("app", "1", image())
    fake.push("app", "2", image())
    return f"{HOST}/app"


def test_a_template_is_printed_for_each_row(app: str, wharf: Wharf) -> None:
    ran = wharf("tags", app, "--format", "{{ reference }} {{ tag | upper }}")
    assert ran.out == f"{HOST}/app:1 1\n{HOST}/app:2 2\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nothing }}", "--format: 'nothing' is undefined; a row has: tag, reference"),
        (
            "{{ tag",
            "--format is not a Jinja2 template: unexpected end of template, expected 'end of print "
            "statement'.",
        ),
        (
            "{{ ''.__class__.__mro__ }}",
            "--format: access to attribute '__class__' of 'str' object is unsafe.; a row has: tag, "
            "reference",
        ),
    ],
)
def test_a_template_that_fails_is_explained(
    app: str, wharf: Wharf, template: str, message: str
) -> None:
    ran = wharf("tags", app, "--format", template)
    assert (ran.code, ran.out, ran.err) == (2, "", f"wharf: {message}\n")


def test_json_and_a_template_exclude_each_other(app: str, wharf: Wharf) -> None:
    ran = wharf("tags", app, "--format", "x", "--json")
    assert (ran.code, ran.err) == (
        2,
        "wharf: --json and --format exclude each other: use only one\n",
    )


def test_a_pipe_gets_one_whole_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    columns = [Column("a", "A"), Column("b", "B", size), Column("c", "C")]
    Output().rows(
        columns, [{"a": long, "b": 1500, "c": None}, {"a": "t\tu", "b": True, "c": [1, 2]}]
    )
    assert capsys.readouterr().out == f"{long}\t1500\t\nt u\tyes\t1,2\n"


def test_a_terminal_gets_a_table_without_colours_where_they_are_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    columns = [Column("a", "A"), Column("b", "B", size, right=True)]
    Output().rows(columns, [{"a": "one", "b": 1500}, {"a": "y" * 60, "b": 12}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", "B"]
    assert lines[1].split() == ["one", "1.5", "kB"]
    # Folded, not cut.
    assert "".join(lines[2:]).replace(" ", "").replace("12B", "") == "y" * 60
    assert not any("\x1b[3" in line for line in lines)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (999_600, "1 MB"),
        (5_000_000_000, "5 GB"),
        (1_500_000_000_000, "1.5 TB"),
        (None, "?"),
    ],
)
def test_sizes_for_people(number: float | None, text: str) -> None:
    assert size(number) == text


def test_clean_keeps_words_and_drops_what_steers() -> None:
    assert clean("a\x1b[2Jb\r\n c\u202e ü") == "a [2Jb c ü"


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in which $WHARF is the command."""
    wharf = f"{sys.executable} -m wharfinger.client"
    return subprocess.run(
        ["bash", "-c", script.replace("$WHARF", wharf)], capture_output=True, text=True, check=False
    )


def test_a_reader_of_the_output_may_stop_reading() -> None:
    # `true` reads nothing at all, and is gone before anything is written.
    done = shell("$WHARF --help | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (1, "")


def test_an_output_that_cannot_be_written_is_said() -> None:
    done = shell("$WHARF --help >/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "wharf: the output cannot be written: No space left on device\n",
    )
