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
    typer.Argument(metavar="[REGISTRY]", help="HOST[:PORT]; without it, WHARF_REGISTRY."),
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

    It needs the right `list` (registry_access); without it, name the repositories instead. A
    registry may list a repository long after its last tag was deleted: it has one row with an empty
    tag. Repositories that you may not read are left out and named, and the exit code is 3.

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
        bool,
        typer.Option("--digests", help="Also show each tag's digest and kind (one request each)."),
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
        bool, typer.Option("--raw", help="Print the manifest's exact bytes and nothing else.")
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

    REPO@DIGEST deletes the manifest and every tag that leads to it. These tags are shown first, and
    the tagged indexes of the repository that still need the manifest. REPO:TAG removes only that
    tag, if the registry can do that (distribution 3 can). If it cannot, wharf says so and deletes
    nothing, because deleting by digest would also delete the other tags.

    Then it asks, and looks again right before it deletes: what has changed meanwhile is left alone.
    Between that look and the deletion (one request), somebody may still move the tag; the API
    cannot prevent that. The API does not show indexes without a tag, so they are not considered.
    Only the registry's garbage collection frees space.

    A manifest that signs or describes another one (it has a `subject`) is first taken out of that
    manifest's list of referrers, the tag sha256-…. That needs the right to push; without it,
    nothing is deleted. With the last entry, the list's tag is removed too.

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
    """Repair lists of referrers that name missing manifests.

    If a registry has no referrers API, oras, cosign and regctl list the referrers of an image under
    the tag sha256-… in its repository. Tools that do not know these lists (crane, skopeo, curl)
    leave the entry of a signature behind when they delete it. From then on the registry refuses
    everything that is attached to that image: `MANIFEST_BLOB_UNKNOWN`. This command takes such
    entries out, and removes a list's tag if it is then empty. It needs the right to push, and to
    remove a tag the right to delete. It changes nothing else.

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
            help="Repositories, or a registry for all of them; without any, WHARF_REGISTRY.",
        ),
    ] = None,
    connection: Connection,
    output: Output,
) -> None:
    """Show how much space repositories take.

    `logical` counts every tag in full, as if nothing were shared. `size` counts each blob of the
    repository once. `shared` is the part of `size` that other repositories in the table also need:
    deleting this repository would not free it. The total counts each blob once. Content without a
    tag also takes space, until the operator cleans up, but the API cannot list it.

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
    """Log in, and store the login where docker does.

    It is stored in the credential helper that docker's config.json names, or without one in
    config.json itself, unencrypted (base64) and readable only by you. docker then uses the login
    too, and `docker logout` removes it.

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
        str, typer.Argument(metavar="DST", help="REPO[:TAG]; without a tag, that of SRC.")
    ],
    connection: Connection,
) -> None:
    """Copy an image or artifact.

    The bytes stay the same, and so does the digest. An index is copied with all its platforms.
    Within a registry, no blobs are transferred. Signatures and other referrers are not copied.

    \b
    Examples:
      wharf copy registry.example.com/team/app:1.2 registry.example.com/release/app
      wharf copy docker.io/library/debian:13 registry.example.com/base/debian:13
    """
    from ..commands.copy import copy_reference

    copy_reference(source, target, connection)
