"""The commands for the operator, which read an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import options
from ..output import Output
from .app import app

Inventory = Annotated[
    Path,
    typer.Option(
        "--inventory", "-i", metavar="DIR", help="The inventory, such as inventory/local."
    ),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", metavar="HOST", help="This host, if the inventory has several."),
]


@app.command()
@options
def can(
    *,
    user: Annotated[
        str,
        typer.Argument(
            metavar="USER", help="A name, or `anonymous` for a client that is not logged in."
        ),
    ],
    verb: Annotated[
        str,
        typer.Argument(
            metavar="VERB",
            help="pull, push, delete or list.",
            autocompletion=lambda: ["pull", "push", "delete", "list"],
        ),
    ],
    repository: Annotated[
        str | None,
        typer.Argument(
            metavar="[REPO]", help="Its name as in the rules, without HOST; not for list."
        ),
    ] = None,
    inventory: Inventory,
    limit: Limit = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a user may do something, and why.

    The exit code is 0 for yes and 3 for no. No host is asked: changes to the inventory count here
    even before they are deployed.

    \b
    Examples:
      wharf can someuser push someuser/app --inventory inventory/local
      wharf can anonymous pull public/app -i inventory/local
      wharf can readonly list -i inventory/local
    """
    from ..commands.access import answer

    answer(user, verb, repository, inventory, limit, json)


@app.command()
@options
def access(
    *,
    inventory: Inventory,
    limit: Limit = None,
    output: Output,
) -> None:
    """Show who may do what, in the order of the rules.

    It reads only the inventory; no host is asked.

    \b
    Examples:
      wharf access --inventory inventory/local
      wharf access -i inventory/local --json
    """
    from ..commands.access import show_access

    show_access(inventory, limit, output)


@app.command()
@options
def retention(
    *,
    inventory: Inventory,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be kept and removed, and why.")
    ] = False,
    limit: Limit = None,
    removed: Annotated[
        bool, typer.Option("--removed", help="Only the tags that would be removed.")
    ] = False,
    ask_become_pass: Annotated[
        bool,
        typer.Option(
            "--ask-become-pass", "-K", help="Ask for the password that sudo wants on the host."
        ),
    ] = False,
    output: Output,
) -> None:
    """Show which tags retention would remove.

    It also shows which tags stay, and why. It changes nothing. It asks the host, by running
    playbooks/retention.yml in check mode. Without --check, that playbook applies the rules.

    \b
    Examples:
      wharf retention --dry-run --inventory inventory/local
      wharf retention --dry-run --removed -i inventory/local --format '{{ repository }}:{{ tag }}'
    """
    from ..commands.retention import dry_run as show_dry_run
    from ..commands.retention import refuse

    if not dry_run:
        refuse(inventory)
    arguments = [*(["--limit", limit] if limit else []), *(["-K"] if ask_become_pass else [])]
    show_dry_run(inventory, arguments, removed, output)
