"""The program `wharf`: its help and version."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Look into a container registry and tidy it up: any registry that speaks the OCI
distribution API.

\b
  wharf login registry.example.com               log in, as docker does
  wharf repositories registry.example.com        what is there
  wharf tags registry.example.com/team/app       a repository's tags
  wharf show registry.example.com/team/app:1.2   what a tag is made of
  wharf du registry.example.com                  who needs how much
  wharf rm registry.example.com/team/app:1.2     remove a tag
  wharf repair registry.example.com/team/app     mend its lists of signatures
  wharf copy registry.example.com/team/app:1.2 other.example.com/app:1.2

For the operator, from the inventory alone:

\b
  wharf can someuser push team/app --inventory inventory/NAME
  wharf access --inventory inventory/NAME
  wharf retention --dry-run --inventory inventory/NAME

With WHARF_REGISTRY=registry.example.com set, names may be short: wharf tags team/app.

A table is for your terminal. Piped, each row is one line with its fields separated by tabs, sizes
in bytes and times in ISO 8601; or take --json, or --format with a Jinja2 template: wharf tags
team/app --format '{{ reference }}'. NO_COLOR is respected.

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
