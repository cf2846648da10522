"""Keeps a local Ray as Shoal starts one: prints its address, stops it when stdin ends. Run as a process of its own."""

from __future__ import annotations

import sys

from shoal.executors.ray.cluster import connect


def main() -> None:
    """Start, tell, wait, stop."""
    connection = connect(num_cpus=float(sys.argv[1]))
    try:
        sys.stdout.write(connection.address + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
