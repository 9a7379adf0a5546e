"""What a command prints: a table for people, lines for pipes, JSON, or a template's text per row.

To a terminal goes a table as wide as it is. Anywhere else each row is one line, its values in full,
separated by tabs and without a heading; sizes are then in bytes and times in ISO 8601.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .text import clean

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(_plain, value))
    return clean(str(value))


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the rows. `show` makes a value's text for a table, `plain` for a pipe."""

    key: str
    title: str
    show: Callable[[Any], str] = lambda value: "" if value is None else str(value)
    right: bool = False
    plain: Callable[[Any], str] = _plain


@dataclass(frozen=True, slots=True)
class Output:
    """The chosen form of the output: `json`, a template (`format`), or neither."""

    json: bool = False
    format: str | None = None

    def check(self) -> None:
        """Raises UsageError for options that contradict each other, or a malformed template."""
        if self.json and self.format is not None:
            raise UsageError("--json and --format exclude each other: use only one")
        self._template()

    def rows(self, columns: Sequence[Column], rows: Sequence[Row], whole: object = None) -> None:
        """Prints the rows. As JSON, prints `whole` instead if it is given."""
        if self.json:
            self.document(rows if whole is None else whole)
        elif self.format is not None:
            self._format(rows)
        elif sys.stdout.isatty():
            print_table(columns, rows)
        else:
            for row in rows:
                print("\t".join(column.plain(row.get(column.key)) for column in columns))

    def document(self, value: object) -> None:
        """Prints a value as JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False))

    def _template(self) -> Any:
        if self.format is None:
            return None
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        try:
            return ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(self.format)
        except TemplateSyntaxError as error:
            raise UsageError(f"--format is not a Jinja2 template: {error.message}") from error

    def _format(self, rows: Sequence[Row]) -> None:
        from jinja2 import TemplateError

        template = self._template()
        for row in rows:
            try:
                print(template.render(row))
            except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
                raise UsageError(
                    f"--format: {clean(str(error))}; a row has: {', '.join(row)}"
                ) from error


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal. Other output is never cut or wrapped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else 100_000,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_table(columns: Sequence[Column], rows: Sequence[Row], indent: int = 0) -> None:
    """Prints the rows under headings, in columns; nothing is cut."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(column.show(row.get(column.key)))) for column in columns))
    screen = console()
    with screen.capture() as captured:
        screen.print(Padding(table, (0, 0, 0, indent), expand=False))
    for line in captured.get().splitlines():
        print(line.rstrip())


def say(text: str) -> None:
    """Prints a sentence for people to standard error."""
    print(f"wharf: {text}", file=sys.stderr)


def notice(text: str) -> None:
    """Like `say`, but only on a terminal."""
    if sys.stderr.isatty():
        say(text)


@contextlib.contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, if that is a terminal. Call the result for each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *((BarColumn(), MofNCompleteColumn()) if total is not None else ()),
        console=console(stderr=True),
        transient=True,
    )
    with shown:
        task = shown.add_task(title, total=total)
        yield lambda: shown.advance(task)
