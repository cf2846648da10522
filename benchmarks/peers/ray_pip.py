"""Ray's own pip plugin: the first task of a runtime_env with one package, on a local Ray of its own that is warm otherwise."""

import json
import sys
import time

import ray


def main(package: str) -> None:
    """Measure and print."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    @ray.remote
    def noop(x: int) -> int:
        return x

    ray.get(noop.remote(0))
    begun = time.perf_counter()
    ray.get(noop.options(runtime_env={"pip": [package]}).remote(1))
    seconds = time.perf_counter() - begun
    ray.shutdown()
    sys.stdout.write("\n" + json.dumps({"build_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
