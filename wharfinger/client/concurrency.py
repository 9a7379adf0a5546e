"""Many requests at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def each(
    items: Sequence[T], work: Callable[[T], Awaitable[R]], done: Callable[[], None] = lambda: None
) -> list[R]:
    """The results of `work` for all items, in their order. The transport bounds how many run at the
    same time. The first error cancels the others."""

    async def tracked(item: T) -> R:
        result = await work(item)
        done()
        return result

    tasks = [asyncio.ensure_future(tracked(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
