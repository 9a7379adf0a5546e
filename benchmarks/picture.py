"""A bar chart as a small SVG, for docs/pictures: `bars(path, title, unit, rows)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr


class Bar(NamedTuple):
    """One bar: its label, its value (0 or more), the target value (a dashed line across the bar)
    and whether it is this project's own, which gets the strong colour."""

    label: str
    value: float
    aim: float | None = None
    ours: bool = False


# A card with its own colour, so that it is legible on a page of any colour.
_STYLE = """
    .card{fill:#fff;stroke:#cfd8dc} text{fill:#263238} .small{fill:#546e7a}
    .bar{fill:#90a4ae} .ours{fill:#1565c0} .aim{stroke:#c62828}
    @media (prefers-color-scheme: dark){
      .card{fill:#1b2328;stroke:#37474f} text{fill:#eceff1} .small{fill:#b0bec5}
      .bar{fill:#607d8b} .ours{fill:#64b5f6} .aim{stroke:#ef9a9a}
    }
"""
_WIDTH, _LEFT, _RIGHT, _TOP, _STEP, _THICK = 760, 290, 110, 64, 34, 20


def bars(path: Path | str, title: str, unit: str, rows: Sequence[Bar]) -> None:
    """Writes horizontal bars from zero, one for each row; the longest takes the whole width."""
    aims = [bar.aim for bar in rows if bar.aim is not None]
    most = max([*(bar.value for bar in rows), *aims], default=0) or 1
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = _TOP + _STEP * len(rows) + (34 if aims else 12)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f" aria-label={quoteattr(_spoken(title, unit, rows))}"
        ' font-family="system-ui, sans-serif" font-size="14">',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="card" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'  <text x="20" y="30" font-size="16" font-weight="600">{escape(title)}</text>',
        f'  <text class="small" x="{_WIDTH - 20}" y="30" text-anchor="end">{escape(unit)}</text>',
    ]
    for number, bar in enumerate(rows):
        top = _TOP - 14 + _STEP * number
        middle = top + _THICK / 2 + 5
        end = _LEFT + bar.value * scale
        kind = "bar ours" if bar.ours else "bar"
        lines += [
            f'  <text x="{_LEFT - 10}" y="{middle:g}" text-anchor="end">{escape(bar.label)}</text>',
            f'  <rect class="{kind}" x="{_LEFT}" y="{top}" width="{max(end - _LEFT, 1):.1f}"'
            f' height="{_THICK}" rx="2"/>',
        ]
        if bar.aim is not None:
            at = _LEFT + bar.aim * scale
            lines.append(
                f'  <path class="aim" d="M{at:.1f} {top - 4}V{top + _THICK + 4}"'
                ' stroke-width="2" stroke-dasharray="4 3"/>'
            )
            # The number must not touch the line.
            end = max(end, at) if end < at < end + 70 else end
        value = f'<text x="{end + 8:.1f}" y="{middle:g}" font-weight="600">{_number(bar.value)}'
        lines.append(f"  {value}</text>")
    if aims:
        line = _TOP + _STEP * len(rows) + 6
        lines += [
            f'  <path class="aim" d="M{_LEFT} {line}h24" stroke-width="2" stroke-dasharray="4 3"/>',
            f'  <text class="small" x="{_LEFT + 32}" y="{line + 5}" font-size="13">the aim</text>',
        ]
    Path(path).write_text("\n".join([*lines, "</svg>", ""]), encoding="utf-8")


def _number(value: float) -> str:
    """The number as a person writes it: 1,234 or 12.3 or 0.94."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spoken(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """The picture in words, for people who do not see it."""
    values = "; ".join(f"{bar.label}: {_number(bar.value)}" for bar in rows)
    return f"{title} ({unit}). {values}"
