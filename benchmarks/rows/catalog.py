"""Which rows there are."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Row
from benchmarks.rows import command, environments, growth, peers, resume, speed

ROWS: Final[tuple[Row, ...]] = (
    speed.CHAIN,
    speed.FANOUT,
    speed.RUNS,
    growth.SCALE,
    growth.MEMORY,
    resume.RESUME,
    environments.BUILD,
    environments.REUSE,
    command.COMMAND,
)
"""What `make bench` measures."""

PEERS: Final = peers.PEERS
"""What `make bench-peers` measures besides."""
