"""Restate's server and Python SDK on loopback; steps run in the service's process. Argument: sizes, folder, server, as JSON."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRIES = 60


def post(url: str, body: Any) -> Any:
    """Post JSON and return the JSON that comes back."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310 - loopback
        return json.load(response)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(ingress: str, chain: int, fanout: int, runs: int, at_once: int) -> dict[str, float]:
    """Measure, after a few steps to warm up."""

    def call(handler: str, n: int) -> Any:
        return post(f"{ingress}/bench/{handler}", n)

    figures: dict[str, float] = {}
    call("chain", 5)
    begun = time.perf_counter()
    call("chain", chain)
    figures["chain"] = (time.perf_counter() - begun) / chain * 1e3
    begun = time.perf_counter()
    call("fan", fanout)
    figures["fanout"] = fanout / (time.perf_counter() - begun)
    with ThreadPoolExecutor(at_once) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda i: call("one", i), range(runs)))
        figures["runs"] = runs / (time.perf_counter() - begun)
    return figures


def main(folder: str, server: str, **sizes: int) -> dict[str, float]:
    """Start the service and the server, measure, stop both."""
    service, admin, ingress, node = (free_port() for _ in range(4))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    bind = f"127.0.0.1:{service}"
    settings = {
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_DISABLE_TELEMETRY": "true",
    }
    started = [
        subprocess.Popen([sys.executable, "-m", "hypercorn", "restate_app:app", "--bind", bind], cwd=HERE, **quiet),
        subprocess.Popen([server, "--bind-ip", "127.0.0.1"], cwd=folder, env=settings, **quiet),
    ]
    try:
        for _ in range(TRIES):
            try:
                post(f"http://127.0.0.1:{admin}/deployments", {"uri": f"http://{bind}"})
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise SystemExit("the server did not answer within 30 s")
        return measure(f"http://127.0.0.1:{ingress}", **sizes)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
