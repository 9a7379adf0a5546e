"""The pictures of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.picture import Bar, bars

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path: Path, *rows: Bar) -> ElementTree.Element:
    bars(path, "Pulls & pushes <400 MB>", "MB/s", rows)
    return ElementTree.parse(path).getroot()


def widths(picture: ElementTree.Element) -> list[float]:
    return [
        float(rect.attrib["width"])
        for rect in picture.iter(f"{SVG}rect")
        if rect.attrib["class"].startswith("bar")
    ]


def test_is_well_formed_and_says_everything(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "a.svg", Bar('the "usual" recipe', 250.0), Bar("ours", 1234.5))
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert words == [
        "Pulls & pushes <400 MB>",
        "MB/s",
        'the "usual" recipe',
        "250",
        "ours",
        "1,234",
    ]
    assert picture.attrib["aria-label"] == (
        'Pulls & pushes <400 MB> (MB/s). the "usual" recipe: 250; ours: 1,234'
    )


def test_bars_are_in_proportion_and_ours_stands_out(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "a.svg", Bar("usual", 25), Bar("ours", 100, ours=True))
    small, large = widths(picture)
    assert large == pytest.approx(4 * small, abs=0.2)
    classes = [rect.attrib["class"] for rect in picture.iter(f"{SVG}rect")]
    assert classes == ["card", "bar", "bar ours"]


@pytest.mark.parametrize(("aim", "lines"), [(None, 0), (0.9, 2)])
def test_an_aim_is_a_dashed_line_and_explained(
    tmp_path: Path, aim: float | None, lines: int
) -> None:
    picture = drawn(tmp_path / "a.svg", Bar("ours", 0.5, aim))
    dashed = [path for path in picture.iter(f"{SVG}path") if "stroke-dasharray" in path.attrib]
    assert len(dashed) == lines
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert ("the aim" in words) == bool(lines)


@pytest.mark.parametrize("rows", [[], [Bar("nothing", 0)]])
def test_nothing_to_show_is_a_picture_too(tmp_path: Path, rows: list[Bar]) -> None:
    drawn(tmp_path / "a.svg", *rows)
