"""Things that arrive in batches and are taken in batches, in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue of which a caller takes everything at once. Belongs to one event loop."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._ready: Final = asyncio.Event()
        self._error: Exception | None = None

    def put(self, items: Iterable[T]) -> None:
        """Add items."""
        self._items.extend(items)
        if self._items:
            self._ready.set()

    def withdraw(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out and return the items, not yet taken, that a condition holds for."""
        found = [i for i in self._items if unwanted(i)]
        if found:
            self._items = [i for i in self._items if not unwanted(i)]
            if not self._items and self._error is None:
                self._ready.clear()
        return found

    @property
    def error(self) -> Exception | None:
        """What `fail` was given."""
        return self._error

    def fail(self, error: Exception) -> None:
        """Let every taker from now on get this error, once the items there are have been taken."""
        self._error = self._error or error
        self._ready.set()

    async def take(self) -> list[T]:
        """Wait for at least one item and return all; raises what `fail` was given."""
        await self._ready.wait()
        items, self._items = self._items, []
        if self._error is None:
            self._ready.clear()
        elif not items:
            raise self._error
        return items
