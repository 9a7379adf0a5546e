"""Plugins are doors from Ansible to the package: their decisions are made where mypy checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
FILES = sorted(path for path in PLUGINS.glob("*/*.py") if not path.is_symlink())
LONGEST = 60


def lines_of_code(text: str) -> int:
    """The number of lines with code: without comments, docstrings and ansible-doc's
    documentation."""
    written: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Constant):
            words = node.value.value
            if isinstance(words, str) and (isinstance(node, ast.Expr) or "\n" in words):
                written |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in written
        for number, line in enumerate(text.splitlines(), 1)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_plugin_is_a_door(path: Path) -> None:
    assert lines_of_code(path.read_text(encoding="utf-8")) <= LONGEST


def test_only_code_counts() -> None:
    text = '"""Words."""\n\n# more\nRETURN = """\na: b\n"""\nx = 1\n\n\ndef f():\n    """Says."""\n'
    assert lines_of_code(text) == 2
