"""The page of evidence: one chapter for each program that counts something, from its newest run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TITLE = "# Fuzzing: what was tried, and how often"


def made(command: str, seconds: float) -> str:
    """The day, commit, duration and command of a run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"{day}, commit {commit or 'unknown'}, {seconds:.0f} s: `{command}`"


def chapter(heading: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {heading}", "", *lines, ""])


def write(page: Path, heading: str, text: str) -> None:
    """Put a chapter, which begins with its heading, on the page. It replaces an earlier one."""
    page.parent.mkdir(parents=True, exist_ok=True)
    old = page.read_text(encoding="utf-8") if page.exists() else f"{TITLE}\n"
    first, *chapters = re.split(r"(?m)^(?=## )", old)
    others = [
        chapter.rstrip("\n") for chapter in chapters if not chapter.startswith(f"## {heading}\n")
    ]
    whole = "\n\n".join([first.rstrip("\n"), *others, text.rstrip("\n")]) + "\n"
    page.write_text(whole, encoding="utf-8")
