"""Which tags the three forms of an entry in `tags` select."""

from __future__ import annotations

import pytest

from wharfinger.deployment.tag_selection import EXAMPLES, Selection, selected

TAGS = ["1", "1.2", "1.25", "1.25.0", "1.25.3", "v1.26", "1.26-alpine", "2", "2.0", "2.0-rc1"]


@pytest.mark.parametrize(
    ("entry", "tags"),
    [
        ("1.25", ["1.25"]),
        ("1.25.*", ["1.25.0", "1.25.3"]),
        ("1.25*", ["1.25", "1.25.0", "1.25.3"]),
        ("?", ["1", "2"]),
        ("*-alpine", ["1.26-alpine"]),
        (">=1.25 <2", ["1.25", "1.25.0", "1.25.3", "v1.26"]),
        (">1.25", ["1.25.3", "2", "2.0", "v1.26"]),
        ("=1.25", ["1.25", "1.25.0"]),
        ("<=1.2", ["1", "1.2"]),
        (">=v1.25.1 <=1.26", ["1.25.3", "v1.26"]),
        (">=3", []),
    ],
)
def test_an_entry_selects(entry: str, tags: list[str]) -> None:
    assert selected([entry], TAGS) == tags


def test_several_entries_select_a_tag_once() -> None:
    assert selected(["2", ">=2", "2*"], TAGS) == ["2", "2.0", "2.0-rc1"]


def test_versions_compare_by_number_and_not_by_text() -> None:
    assert selected([">=9"], ["10", "9", "8", "09"]) == ["09", "10", "9"]


def test_only_a_name_is_a_name() -> None:
    assert [Selection(text).is_name for text in ("13", "13.*", ">=1")] == [True, False, False]


@pytest.mark.parametrize(
    "entry", ["", " ", ">=", ">= 1.25", "1.25 <2", ">=1.25-alpine", "a b", "ä", "~1.2", "a" * 129]
)
def test_anything_else_is_answered_with_what_to_write(entry: str) -> None:
    with pytest.raises(ValueError) as raised:
        Selection(entry)
    assert str(raised.value) == EXAMPLES
    assert EXAMPLES == (
        'write a name ("13"), a pattern ("13.*") or a range of versions (">=1.25 <2")'
    )
