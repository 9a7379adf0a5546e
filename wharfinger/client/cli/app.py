"""The program `wharf`: its help and version."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Inspect and clean up a container registry: any registry that speaks the OCI distribution
API.

\b
  wharf login registry.example.com               log in, as docker does
  wharf repositories registry.example.com        list the repositories
  wharf tags registry.example.com/team/app       list a repository's tags
  wharf show registry.example.com/team/app:1.2   show what a tag is made of
  wharf du registry.example.com                  show how much space they take
  wharf rm registry.example.com/team/app:1.2     remove a tag
  wharf repair registry.example.com/team/app     repair its lists of signatures
  wharf copy registry.example.com/team/app:1.2 other.example.com/app:1.2

For the operator, from the inventory:

\b
  wharf can someuser push team/app --inventory inventory/NAME
  wharf access --inventory inventory/NAME
  wharf retention --dry-run --inventory inventory/NAME

With WHARF_REGISTRY=registry.example.com set, names may be short: wharf tags team/app.

On a terminal, the output is a table. In a pipe, each row is one line with its fields separated by
tabs, sizes in bytes and times in ISO 8601. Or use --json, or --format with a Jinja2 template:

\b
  wharf tags team/app --format '{{ reference }}'

NO_COLOR is respected.

\b
Exit codes:
  0   done
  1   failed, or not found
  2   the command line is wrong
  3   not allowed, or a login is needed (wharf can: no)
  130 interrupted
"""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from wharfinger import __version__

        print(f"wharf {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def wharf(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """See HELP."""
