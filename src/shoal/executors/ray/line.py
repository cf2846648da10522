"""A direct line between the orchestrator and a warm worker of its host: a Unix socket beside Ray's own way for calls.

A call of a warm actor takes Ray 1 to 2 ms on two cores, most of it in its processes and threads waking one another up; the
same bytes through a socket take a twentieth of that. Ray still starts the worker, counts its CPUs, says that it died and ends
it; only batches and their replies go this way. Who may come in: processes of the same user, for the socket lies in the
board's private folder (0700) and what connects is asked for its user; and of what connects only a worker that has also told
its token by Ray is ever sent anything. See ADR 0011.

A message is a length (4 bytes) and so many bytes. To the worker: the length of a ticket (1 byte), the ticket, the packed batch.
From it: first its token, then a packed reply for each batch, in their order.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, cast

_LENGTH: Final = struct.Struct("!I")
_NAME: Final = "line"

_LIMIT: Final = 1 << 30
"""Bytes of a message; a longer one ends the line."""

_LIMIT_OF_TOKEN: Final = 64
"""Bytes of the first one, which nobody has vouched for yet."""

_PATIENCE: Final = 5.0
"""Seconds that a worker waits for the orchestrator to take its token."""


class WorkerLine:
    """The worker's end. One thread uses it."""

    def __init__(self, connection: socket.socket, token: str) -> None:
        self.token: Final = token
        self._socket: Final = connection
        self._reader: Final = connection.makefile("rb")

    @classmethod
    def open(cls, folder: str) -> WorkerLine | None:
        """Connect to the orchestrator of a board; None: it cannot be reached, and Ray's way is left."""
        token = os.urandom(16).hex()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(f"{folder}/{_NAME}")
            line = cls(connection, token)
            line.send(token.encode())
            if line._read() != token.encode():
                raise ConnectionError("the orchestrator does not know this token")
        except OSError:
            connection.close()
            return None
        connection.settimeout(None)
        return line

    def receive(self) -> tuple[str, bytes] | None:
        """Wait for the next batch; return its ticket and its packed jobs. None: the line has ended."""
        try:
            data = self._read()
        except OSError:
            return None
        if not data:
            return None
        size = data[0]
        return data[1 : 1 + size].decode("ascii"), data[1 + size :]

    def send(self, data: bytes) -> None:
        """Send a reply. Raises `OSError` if the line has ended."""
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        """End the line. Idempotent."""
        self._reader.close()
        self._socket.close()

    def _read(self) -> bytes:
        head = self._reader.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return b""
        (size,) = _LENGTH.unpack(head)
        data = self._reader.read(size)
        return data if len(data) == size else b""


class Line(asyncio.Protocol):
    """The orchestrator's end of one line."""

    def __init__(self, lines: Lines) -> None:
        self._lines: Final = lines
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._token: str | None = None
        self._take: Callable[[bytes], None] | None = None
        self._ended: asyncio.Event = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse what other users open."""
        self._transport = cast("asyncio.Transport", transport)
        if not _is_ours(transport.get_extra_info("socket")):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand on what has come in whole."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._data)
            end = _LENGTH.size + size
            if size > _LIMIT or (self._token is None and size > _LIMIT_OF_TOKEN):
                self.close()
                return
            if len(self._data) < end:
                return
            message = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            self._message(message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """Note the end; all that came before it was handed on."""
        self._ended.set()
        if self._token is not None:
            self._lines.waiting.pop(self._token, None)

    def _message(self, data: bytes) -> None:
        if self._token is None:
            self._token = data.decode("ascii", "replace")
            self._lines.waiting[self._token] = self
            self._write(data)
        elif self._take is not None:
            self._take(data)

    def listen(self, take: Callable[[bytes], None]) -> None:
        """Hand every reply to `take`, in the loop."""
        self._take = take

    def send(self, ticket: str, jobs: bytes) -> None:
        """Send a batch; one that the worker does not get any more is lost with it."""
        head = ticket.encode("ascii")
        self._write(bytes((len(head),)) + head + jobs)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(data)) + data)

    async def ended(self, seconds: float) -> None:
        """Wait until all that the worker sent has been handed on: to the end of the line, or so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass  # a child process of a tool holds it open

    def close(self) -> None:
        """End the line. Idempotent."""
        if self._transport is not None:
            self._transport.abort()


class Lines:
    """The orchestrator's side: takes what connects.

    Attributes:
        waiting: Lines by token, until they are claimed.
    """

    def __init__(self, folder: str) -> None:
        """Lie in a board's folder; `open` before use."""
        self.waiting: Final[dict[str, Line]] = {}
        self._path: Final = f"{folder}/{_NAME}"
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to take lines. Where no socket can be made (its path is too long) there are none, and calls go by Ray."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_unix_server(lambda: Line(self), self._path)
        except OSError:
            self._server = None

    def claim(self, token: str) -> Line | None:
        """Return the line of a worker that told its token by Ray; None: there is none."""
        return self.waiting.pop(token, None)

    def close(self) -> None:
        """Take no more lines. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in list(self.waiting.values()):
            line.close()


def _is_ours(connection: Any) -> bool:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True  # not Linux: the folder keeps others out
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] == os.getuid()
