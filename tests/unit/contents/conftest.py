"""Fixtures for all tests of the storage's contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.storage_tree import Tree
from wharfinger.host.contents.storage.layout import Storage


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty storage."""
    return Tree(tmp_path / "storage")


@pytest.fixture
def storage(tree: Tree) -> Storage:
    """The same storage as the program reads it."""
    tree.path.mkdir(exist_ok=True)
    return Storage(tree.path)
