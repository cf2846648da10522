"""Blobs and logs in memory, for tests and the store of a first try.

Owns no format: what they hold ends with their process, and they do not travel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from shoal.errors import NotFoundError
from shoal.model.encoding import digest_of
from shoal.model.ids import Digest, RunId, StepPath
from shoal.ports import LogChunk
from shoal.stores.blobs import check_digest
from shoal.stores.logs import LIMIT, dropped_line, gap_line, place


class MemoryBlobStore:
    """A `BlobStore` of one process."""

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        """Start empty; `now` dates the blobs (None: the machine's clock)."""
        self._now = now or (lambda: datetime.now(UTC))
        self._blobs: dict[Digest, tuple[bytes, datetime]] = {}

    def put(self, data: bytes) -> Digest:
        """See `BlobStore.put`."""
        digest = digest_of(data)
        self._blobs[digest] = (bytes(data), self._now())
        return digest

    def get(self, digest: Digest) -> bytes:
        """See `BlobStore.get`."""
        found = self._blobs.get(check_digest(digest))
        if found is None:
            raise NotFoundError(f"there is no blob {digest} in memory")
        return found[0]

    def path(self, digest: Digest) -> str | None:
        """Return None: there is no file."""
        check_digest(digest)
        return None

    def sweep(self, referenced: frozenset[Digest], older_than: datetime, *, dry_run: bool = False) -> tuple[int, int]:
        """See `BlobStore.sweep`."""
        unused = [d for d, (_, written) in self._blobs.items() if d not in referenced and written < older_than]
        size = sum(len(self._blobs[digest][0]) for digest in unused)
        if not dry_run:
            for digest in unused:
                del self._blobs[digest]
        return len(unused), size


class MemoryLogStore:
    """A `LogStore` of one process."""

    def __init__(self) -> None:
        """Start empty."""
        self._logs: dict[RunId, dict[tuple[StepPath, int], tuple[bytearray, int]]] = {}

    def append(self, run_id: RunId, path: StepPath, number: int, data: bytes, *, dropped: int = 0) -> None:
        """See `LogStore.append`."""
        data += gap_line(dropped) if dropped else b""
        log, lost = self._logs.setdefault(run_id, {}).setdefault((path, number), (bytearray(), 0))
        kept = data[: LIMIT - len(log)]
        log.extend(kept)
        self._logs[run_id][path, number] = (log, lost + len(data) - len(kept))

    def read(
        self, run_id: RunId, path: StepPath | None = None, *, after: Mapping[str, int] | None = None
    ) -> Sequence[LogChunk]:
        """See `LogStore.read`; by path and number."""
        found: list[LogChunk] = []
        for (step, number), (log, lost) in sorted(self._logs.get(run_id, {}).items()):
            offset = place(step, number, after)
            data = (bytes(log) + (dropped_line(lost) if lost else b""))[offset:]
            if data and (path is None or step == path):
                found.append(LogChunk(step, number, offset, data))
        return found

    def delete(self, run_id: RunId) -> None:
        """See `LogStore.delete`."""
        self._logs.pop(run_id, None)
