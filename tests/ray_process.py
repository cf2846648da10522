"""Keeps a local Ray for the tests: prints its address, stops it when stdin ends. Run as a process of its own."""

import sys

from shoal.executors.ray.cluster import connect

if __name__ == "__main__":
    connection = connect(num_cpus=float(sys.argv[1]))
    try:
        print(connection.address, flush=True)  # noqa: T201
        sys.stdin.read()
    finally:
        connection.close()
