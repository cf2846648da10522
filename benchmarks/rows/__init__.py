"""The rows of the suite, in the order of the table."""

from benchmarks.rows.catalog import PEERS, ROWS

__all__ = ["PEERS", "ROWS"]
