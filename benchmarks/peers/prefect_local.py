"""Prefect 3 with its own local server and persisted results. Argument: sizes and a folder, as JSON."""

import json
import os
import sys
import time
from typing import Any


def main(chain: int, fanout: int, folder: str) -> dict[str, float]:
    """Measure, after a flow to warm up."""
    os.environ.update(
        PREFECT_HOME=folder,
        PREFECT_LOGGING_LEVEL="ERROR",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        PREFECT_RESULTS_PERSIST_BY_DEFAULT="true",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
    )
    from prefect import flow, task

    @task
    def noop(x: Any) -> Any:
        return x

    @flow
    def chain_of(n: int) -> Any:
        x: Any = 0
        for _ in range(n):
            x = noop(x)
        return x

    @flow
    def fan_of(n: int) -> int:
        return len([future.result() for future in noop.map(range(n))])

    figures: dict[str, float] = {}
    chain_of(2)
    fan_of(4)
    begun = time.perf_counter()
    chain_of(chain)
    figures["chain"] = (time.perf_counter() - begun) / chain * 1e3
    begun = time.perf_counter()
    fan_of(fanout)
    figures["fanout"] = fanout / (time.perf_counter() - begun)
    return figures


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
