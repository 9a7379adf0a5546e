"""Reads the registry's JSON answers: one object, or a list that comes in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from .errors import ClientError
from .text import clean
from .transport import Transport

# A list that has more does not end: the registry makes it up, or its pages lead nowhere.
MOST_PAGES = 10_000
MOST_ENTRIES = 1_000_000


async def pages(
    transport: Transport, first: str, plain: str, key: str, scope: str
) -> AsyncIterator[list[str]]:
    """The lists under `key` on all pages. If the registry refuses `first`, asks for `plain`. Raises
    ClientError."""
    path, seen, entries = first, {first}, 0
    while True:
        answer = await transport.request("GET", path, scope=scope)
        if answer.status_code == 400 and path == first != plain:
            # The registry does not allow so many entries on one page.
            path = plain
            continue
        if answer.status_code != 200:
            raise transport.problem(answer, f"{urlsplit(path).path} is read")
        page = _strings(transport.registry, answer, key)
        yield page
        entries += len(page)
        following = next_page(answer)
        if following is None:
            return
        if len(seen) >= MOST_PAGES or entries > MOST_ENTRIES:
            raise ClientError(
                f"{transport.registry}: the list {plain} does not end: after {len(seen)} pages "
                f"and {entries} {key} there is still a next page"
            )
        if following in seen:
            raise ClientError(
                f"{transport.registry}: the pages of {plain} lead in a circle; what it has cannot "
                "be listed whole"
            )
        path = following
        seen.add(path)


def next_page(answer: httpx.Response) -> str | None:
    """Path and query of the page that an answer's Link header names.

    Its host is ignored: a registry behind a proxy may believe that it has another name. Raises
    ClientError.
    """
    link = answer.links.get("next", {}).get("url")
    if not link:
        return None
    try:
        url = answer.request.url.join(link)
    except (ValueError, httpx.InvalidURL) as error:
        raise ClientError(
            f"{answer.request.url.netloc.decode()} names a next page of {answer.request.url.path} "
            "that is not an address: is it a registry?"
        ) from error
    parts = urlsplit(str(url))
    return f"{parts.path}?{parts.query}"


def json_object(registry: str, answer: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises ClientError."""
    path = urlsplit(str(answer.request.url)).path
    try:
        document = answer.json()
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ClientError(
            f"{registry} answers {path} with something other than JSON: is it a registry?"
        )
    return document


def _strings(registry: str, answer: httpx.Response, key: str) -> list[str]:
    values = json_object(registry, answer).get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ClientError(
            f"{registry} answers {urlsplit(str(answer.request.url)).path} without a list of "
            f"{key}: is it a registry?"
        )
    return [clean(value) for value in values]
