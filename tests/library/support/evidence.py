"""Writes down what a run of the tests has seen, for people who decide by it: docs/evidence/.

Only if WHARFINGER_EVIDENCE names a folder, as `./test evidence` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest


def write(name: str, title: str, command: str, text: str) -> None:
    """Replaces the file `name` with a page that says which command made it, and when."""
    folder = os.environ.get("WHARFINGER_EVIDENCE")
    if not folder:
        return
    day = time.strftime("%Y-%m-%d", time.gmtime())
    Path(folder).mkdir(parents=True, exist_ok=True)
    made = f"Made by `{command}`, a part of `./test evidence`, on {day}."
    page = f"# {title}\n{made}\n\n{text.rstrip()}\n"
    Path(folder, name).write_text(page)


def shown(terminal: pytest.TerminalReporter, title: str, text: str) -> str:
    """Prints a text at the end of a run of the tests; returns it as a part of a page."""
    terminal.write_sep("-", title)
    terminal.write_line(text)
    return f"{title}\n```text\n{text.rstrip()}\n```\n\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
