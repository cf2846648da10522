"""ray.workflow 2.47.1 on local files: the library whose place Shoal takes. Argument: sizes and a folder, as JSON."""

import json
import sys
import time
from typing import Any

import ray
from ray import workflow


def main(chain: int, fanout: int, runs: int, folder: str) -> dict[str, float]:
    """Measure, after one run to warm up."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        storage=f"file://{folder}",
    )

    @ray.remote(num_cpus=0.5)
    def noop(x: Any) -> Any:
        return x

    @ray.remote(num_cpus=0.5)
    def count(*xs: Any) -> int:
        return len(xs)

    figures: dict[str, float] = {}
    workflow.init()
    workflow.run(count.bind(*[noop.bind(i) for i in range(8)]), workflow_id="warm")
    node = noop.bind(0)
    for _ in range(chain - 1):
        node = noop.bind(node)
    begun = time.perf_counter()
    workflow.run(node, workflow_id="chain")
    figures["chain"] = (time.perf_counter() - begun) / chain * 1e3
    begun = time.perf_counter()
    workflow.run(count.bind(*[noop.bind(i) for i in range(fanout)]), workflow_id="fan")
    figures["fanout"] = fanout / (time.perf_counter() - begun)
    begun = time.perf_counter()
    ray.get([workflow.run_async(noop.bind(i), workflow_id=f"run{i}") for i in range(runs)])
    figures["runs"] = runs / (time.perf_counter() - begun)
    ray.shutdown()
    return figures


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
