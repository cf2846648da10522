"""Listeners: what a workflow can wait for."""

from __future__ import annotations

import asyncio
import time
from typing import Any

Event = Any


class EventListener:
    """Base of listeners of your own. Stateless: one is made, without arguments, for each call below.

    It runs in the event loop of one process of the cluster that has no CPU and carries many listeners at once: a listener that
    waits costs no worker, and one that blocks holds up the others.
    """

    def __init__(self) -> None:
        """Make a listener; called without arguments."""

    async def poll_for_event(self, *args: Any, **kwargs: Any) -> Event:
        """Return the event once it has happened.

        May be called again after a crash, until its event is recorded.
        """
        raise NotImplementedError

    async def event_checkpointed(self, event: Event) -> None:
        """Take note that the event is recorded durably, so that its source may forget it. May be called more than once."""


class TimerListener(EventListener):
    """Ends at a time in seconds since 1970; its event is None. Waited for by the engine, in no process at all."""

    async def poll_for_event(self, timestamp: float) -> None:
        """Return at a time; for a class derived from this one."""
        await asyncio.sleep(timestamp - time.time())


class SignalListener(EventListener):
    """Waits for a signal to this workflow (`workflow.signal`, `shoal signal`); its event is the payload."""

    async def poll_for_event(self, name: str) -> Event:
        """Never called: the engine waits by itself."""
        raise NotImplementedError


class HTTPListener(EventListener):
    """Waits for an event by HTTP (`workflow.serve_events`); its event is the pair of key and payload.

    An event that comes before its listener is kept.
    """

    async def poll_for_event(self, event_key: str | None = None) -> tuple[str, Event]:
        """Never called: the engine waits by itself."""
        raise NotImplementedError
