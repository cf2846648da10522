"""The endpoint for events by HTTP.

Owns a small server in the session's loop: one kind of request, JSON in and out, sizes and times bounded. It makes a signal in
the journal of an event, so one that comes before its listener is kept, and nothing that it reads is ever run or unpickled.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
from typing import Any, Final, cast

from shoal.errors import ConflictError, ShoalError
from shoal.model.ids import RUN_ID, RunId
from shoal.model.values import Json
from shoal.workflow import _current
from shoal.workflow._session import Session
from shoal.workflow.exceptions import WorkflowNotFoundError

HEAD_LIMIT: Final = 16 * 1024
BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a request."""

DEADLINE: Final = 10.0
"""Seconds that a request may take."""

CONNECTIONS: Final = 256
"""Requests at a time."""

_PREFIX: Final = "/event/send_event/"
_REASONS: Final = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
    409: "Conflict", 413: "Content Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


class EventEndpoint:
    """A running endpoint.

    Attributes:
        address: Where it listens, as a URL.
    """

    def __init__(self, session: Session, server: asyncio.Server, address: str) -> None:
        """Hold on to a server; `serve_events` makes endpoints."""
        self._session = session
        self._server = server
        self.address = address

    def close(self) -> None:
        """Listen no more. Idempotent; it happens by itself when the process ends."""

        async def stop() -> None:
            self._server.close()

        self._session.portal.call(stop())


def serve_events(host: str = "127.0.0.1", port: int = 8000, *, token: str | None = None) -> EventEndpoint:
    """Take events for `HTTPListener` by HTTP, in this process: `POST /event/send_event/WORKFLOW_ID`.

    The request's body is `{"event_key": ..., "event_payload": ...}`. The answer is 200 once the event is durable, whether
    or not anything waits for it yet; 404 if there is no such workflow, 409 if it has ended.

    Args:
        host: Address to listen at.
        port: Port; 0: any that is free.
        token: What a request must present as `Authorization: Bearer TOKEN`; needed where others than this host reach it.

    Raises:
        ValueError: It would be open to others without a token.
        OSError: The port cannot be had.
    """
    if token is None and not _is_loopback(host):
        raise ValueError("an endpoint that others reach needs a token")
    session = _current.session()

    async def begin() -> tuple[asyncio.Server, int]:
        slots = asyncio.Semaphore(CONNECTIONS)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with slots:
                await _handle(session, token, reader, writer)

        server = await asyncio.start_server(handle, host, port, limit=HEAD_LIMIT)
        session.servers.append(server)
        return server, int(server.sockets[0].getsockname()[1])

    server, bound = session.portal.call(begin())
    return EventEndpoint(session, server, f"http://{host}:{bound}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _handle(session: Session, token: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            status, message = await _answer(session, token, reader)
    except TimeoutError:
        status, message = 408, "the request took too long"
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        status, message = 400, "this is no request of the form that is expected here"
    except ShoalError as error:
        status, message = 503, error.message
    body = json.dumps({} if status == 200 else {"error": {"code": status, "message": message}}).encode()  # noqa: PLR2004
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        async with asyncio.timeout(DEADLINE):
            await writer.drain()
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()


async def _answer(session: Session, token: str | None, reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (f.partition(":") for f in fields if f)}
    given = headers.get("authorization", "").removeprefix("Bearer ")
    if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
        return 401, "a token is needed"
    run_id = target.partition("?")[0].removeprefix(_PREFIX)
    if not target.startswith(_PREFIX) or not RUN_ID.match(run_id):
        return 404, f"events are sent to {_PREFIX}WORKFLOW_ID"
    if method != "POST":
        return 405, "events are sent by POST"
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= BODY_LIMIT:
        return 413, f"an event has {BODY_LIMIT} bytes at most"
    return await _deliver(session, RunId(run_id), json.loads(await reader.readexactly(size)))


async def _deliver(session: Session, run_id: RunId, event: Any) -> tuple[int, str]:
    if not isinstance(event, dict):
        return 400, "the body is a JSON object"
    fields = cast("dict[str, Json]", event)
    for name in ("event_key", "event_payload"):
        if name not in fields:
            return 404, f"{name!r} field is not found in the request JSON"
    key = fields["event_key"]
    if not isinstance(key, str):
        return 400, "event_key is a string"
    try:
        await session.record(run_id)
        await session.client.signal(run_id, key, fields["event_payload"])
    except WorkflowNotFoundError as error:
        return 404, error.message
    except ConflictError as error:
        return 409, error.message
    return 200, ""
