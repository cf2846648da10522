"""Nodes that wait: for a time, a signal, an event by HTTP, or a listener of the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from shoal.model.values import Json
from shoal.model.workflow import Constant, Sleep, Step, WaitSignal
from shoal.workflow import _current
from shoal.workflow._api import checked_id
from shoal.workflow._graph import EventParts
from shoal.workflow._nodes import EventNode
from shoal.workflow.event_listener import EventListener, HTTPListener, SignalListener, TimerListener


def wait_for_event(event_listener_type: type[EventListener], *args: Any, **kwargs: Any) -> EventNode:
    """Return a node whose value is an event.

    Timers, signals and events by HTTP are waited for by the engine. A listener of your own is polled in a process without CPU
    that it shares with others; it is told once its event is recorded, if it has an `event_checkpointed`.

    Args:
        event_listener_type: The class of the listener.
        *args: For its `poll_for_event`; nodes are allowed.
        **kwargs: Likewise.

    Raises:
        TypeError: It is no class of listeners.
    """
    if not (isinstance(event_listener_type, type) and issubclass(event_listener_type, EventListener)):
        name = getattr(event_listener_type, "__name__", event_listener_type)
        raise TypeError(f"Event listener type is {name}, which is not a subclass of workflow.EventListener")
    listener = event_listener_type

    def steps(parts: EventParts) -> Iterable[Step]:
        if listener is TimerListener:
            when = parts.template(_only(parts, "timestamp"))
            yield parts.step(lambda _: Sleep(when, until=True))
        elif listener is SignalListener:
            signal = parts.template(_only(parts, "name"))
            yield parts.step(lambda _: WaitSignal(signal, shape="whole"))
        elif listener is HTTPListener:
            key = _only(parts, "event_key", None)
            yield parts.step(lambda name: WaitSignal(Constant(name) if key is None else parts.template(key), shape="event"))
        else:
            yield from parts.listening(listener, commits=listener.event_checkpointed is not EventListener.event_checkpointed)

    return EventNode(listener.__name__, steps, args, kwargs)


def _only(parts: EventParts, name: str, *default: Any) -> Any:
    """Return the one argument of a listener."""
    given = [*parts.call.args, *parts.call.kwargs.values()]
    if len(given) > 1 or any(key != name for key in parts.call.kwargs) or not (given or default):
        raise TypeError(f"this listener takes one argument, {name}")
    return given[0] if given else default[0]


def sleep(duration: float | timedelta) -> EventNode:
    """Return a node that ends so long after it could begin; its value is None. It holds no worker, and survives any crash.

    Args:
        duration: Seconds.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    return EventNode("sleep", lambda parts: [parts.step(lambda _: Sleep(Constant(seconds)))])


def wait_for_signal(name: str, *, timeout: float | timedelta | None = None) -> EventNode:
    """Return a node whose value is the payload of a signal; one that came before is kept for it.

    Args:
        name: Of the signal.
        timeout: Seconds after which the node fails instead; None: it waits for ever.
    """
    limit = timeout if isinstance(timeout, timedelta) or timeout is None else timedelta(seconds=timeout)
    return EventNode(name, lambda parts: [parts.step(lambda _: WaitSignal(Constant(name), limit, shape="whole"))])


def signal(workflow_id: str, name: str, payload: Json = None) -> None:
    """Send a signal to one workflow. It is durable on return, and kept until a node waits for it.

    Args:
        workflow_id: Which.
        name: Of the signal, or the key of an event by HTTP.
        payload: JSON.

    Raises:
        WorkflowNotFoundError: There is no such workflow.
        ConflictError: It has ended.
    """
    session = _current.session()
    run = session.portal.call(session.record(checked_id(workflow_id)))
    session.portal.call(session.client.signal(run.id, name, payload))
