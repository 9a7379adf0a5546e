"""The commands for any registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import Connection, options
from ..output import Output
from .app import app

Repository = Annotated[
    str, typer.Argument(metavar="REPO", help="HOST[:PORT]/NAME, as docker writes it.")
]
RegistryArgument = Annotated[
    str | None,
    typer.Argument(metavar="[REGISTRY]", help="HOST[:PORT]; without it, what WHARF_REGISTRY says."),
]


@app.command()
@options
def repositories(
    *,
    registry: RegistryArgument = None,
    tags: Annotated[bool, typer.Option("--tags", help="One row for each tag.")] = False,
    connection: Connection,
    output: Output,
) -> None:
    """List a registry's repositories, or all their tags.

    It takes the right `list` (registry_access); without it, name the repositories instead. A
    repository without tags, which a registry may list long after the last one was deleted, has one
    row with an empty tag. Where some may not be read they are left out and named, and the exit code
    is 3.

    \b
    Examples:
      wharf repositories registry.example.com
      wharf repositories registry.example.com --tags
      wharf repositories registry.example.com --tags --format '{{ reference }}'
    """
    from ..commands.listing import show_repositories

    show_repositories(registry, tags, connection, output)


@app.command()
@options
def tags(
    *,
    repository: Repository,
    digests: Annotated[
        bool, typer.Option("--digests", help="With each tag's digest and kind (a request each).")
    ] = False,
    connection: Connection,
    output: Output,
) -> None:
    """List a repository's tags.

    \b
    Examples:
      wharf tags registry.example.com/team/app
      wharf tags registry.example.com/team/app --digests
      wharf tags registry.example.com/team/app --digests --json
    """
    from ..commands.listing import show_tags

    show_tags(repository, digests, connection, output)


@app.command()
@options
def show(
    *,
    reference: Annotated[
        str, typer.Argument(metavar="REPO[:TAG|@DIGEST]", help="Without both: the tag latest.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the manifest's very bytes and nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    connection: Connection,
) -> None:
    """Show what a tag or digest is made of.

    Kind, platforms, configuration, history, layers, sizes, and what refers to it: signatures,
    attestations and the like.

    \b
    Examples:
      wharf show registry.example.com/team/app:1.2
      wharf show registry.example.com/team/app@sha256:…
      wharf show registry.example.com/team/app:1.2 --raw | sha256sum
    """
    from ..commands.show import show_reference

    show_reference(reference, raw, json, connection)


@app.command()
@options
def rm(
    *,
    references: Annotated[
        list[str], typer.Argument(metavar="REPO@DIGEST|REPO:TAG...", help="What to delete.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    connection: Connection,
) -> None:
    """Delete manifests by digest, or remove tags.

    REPO@DIGEST deletes the manifest, and with it every tag that leads to it: these are shown first,
    and the tagged indexes of the repository that still need it. REPO:TAG removes that tag alone,
    where the registry can do that (distribution 3 can); where it cannot, wharf says so and deletes
    nothing, since deleting by digest would take the other tags along.

    Then it asks, and looks once more right before it deletes: what has changed meanwhile is left
    alone. Between that last look and the deletion remains a moment (one request) in which somebody
    may move the tag; the API has no way to close it. Indexes without a tag cannot be seen by the
    API, nor counted here. Space is freed by the registry's garbage collection only.

    What signs or describes another manifest (it has a `subject`) is first taken out of that
    manifest's list of referrers, the tag sha256-…, which takes the right to push; without it,
    nothing is deleted. The last entry takes the list's tag with it.

    \b
    Examples:
      wharf rm registry.example.com/team/app:1.2
      wharf rm registry.example.com/team/app@sha256:… --yes
      wharf tags REPO --format '{{ reference }}' | grep -- -rc | xargs wharf rm --yes
    """
    from ..commands.remove import remove

    remove(references, yes, connection)


@app.command()
@options
def repair(
    *,
    repositories: Annotated[
        list[str], typer.Argument(metavar="REPO...", help="HOST[:PORT]/NAME, as docker writes it.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be taken out.")
    ] = False,
    connection: Connection,
) -> None:
    """Mend lists of referrers that name what is gone.

    Where a registry has no referrers API, oras, cosign and regctl keep the list of what refers to
    an image in its repository, as the tag sha256-…. Where a signature is deleted by something that
    does not know of these lists (crane, skopeo, curl), its entry is left behind, and from then on
    everything that is attached to that image is refused: `MANIFEST_BLOB_UNKNOWN`. This takes such
    entries out, and the tag where nothing is left. It takes the right to push; to remove a tag,
    that to delete. Nothing else is changed.

    \b
    Examples:
      wharf repair registry.example.com/team/app
      wharf repair registry.example.com/team/app registry.example.com/team/web --dry-run
    """
    from ..commands.repair import repair as mend

    mend(repositories, dry_run, connection)


@app.command()
@options
def du(
    *,
    repositories: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REPO|REGISTRY",
            help="Repositories, or a registry for all of its; without any, what WHARF_REGISTRY "
            "says.",
        ),
    ] = None,
    connection: Connection,
    output: Output,
) -> None:
    """Show how much room repositories take.

    `logical` counts every tag in full, as if nothing were shared; `size` counts each blob of the
    repository once; `shared` is the part of it that other repositories of the list need too, so
    that deleting this one would not free it. The total counts each blob once. What no tag leads to
    is on the disk too, until the operator cleans up, but the API cannot list it.

    \b
    Examples:
      wharf du registry.example.com
      wharf du registry.example.com/team/app registry.example.com/team/web
      wharf du registry.example.com --json
    """
    from ..commands.usage import show_usage

    show_usage(repositories or [], connection, output)


@app.command()
@options
def login(
    *,
    registry: RegistryArgument = None,
    connection: Connection,
) -> None:
    """Log in, and keep the login where docker does.

    In the credential helper that docker's config.json names, or without one in config.json itself,
    in clear (base64) and readable only by you. docker then knows the login too, and `docker logout`
    forgets it.

    \b
    Examples:
      wharf login registry.example.com
      wharf login registry.example.com --user ci --password-stdin < password
    """
    from ..commands.login import log_in

    log_in(registry, connection)


@app.command()
@options
def copy(
    *,
    source: Annotated[str, typer.Argument(metavar="SRC", help="REPO[:TAG|@DIGEST]")],
    target: Annotated[
        str, typer.Argument(metavar="DST", help="REPO[:TAG]; the tag is SRC's where there is none.")
    ],
    connection: Connection,
) -> None:
    """Copy an image or artifact elsewhere.

    The same bytes, so the same digest; an index goes with all its platforms. Within a registry the
    blobs do not travel. Signatures and other referrers are not copied.

    \b
    Examples:
      wharf copy registry.example.com/team/app:1.2 registry.example.com/release/app
      wharf copy docker.io/library/debian:13 registry.example.com/base/debian:13
    """
    from ..commands.copy import copy_reference

    copy_reference(source, target, connection)
