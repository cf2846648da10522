"""DBOS 3.4 on SQLite; its steps run in process. Argument: sizes and a folder, as JSON."""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS


@DBOS.step()
def noop(x: Any) -> Any:
    """Return what was given."""
    return x


@DBOS.step()
async def noop_async(x: Any) -> Any:
    """Return what was given."""
    return x


@DBOS.workflow()
def chain_of(n: int) -> Any:
    """Call one step after the other."""
    x: Any = 0
    for _ in range(n):
        x = noop(x)
    return x


@DBOS.workflow()
async def fan_of(n: int) -> int:
    """Call all steps at once."""
    return len(await asyncio.gather(*[noop_async(i) for i in range(n)]))


@DBOS.workflow()
def one(x: Any) -> Any:
    """Call one step."""
    return noop(x)


def main(chain: int, fanout: int, runs: int, at_once: int, folder: str) -> dict[str, float]:
    """Measure, after a few steps to warm up."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder}/sys.sqlite",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    figures: dict[str, float] = {}
    chain_of(5)
    begun = time.perf_counter()
    chain_of(chain)
    figures["chain"] = (time.perf_counter() - begun) / chain * 1e3

    async def fan() -> float:
        await fan_of(5)
        begun = time.perf_counter()
        await fan_of(fanout)
        return fanout / (time.perf_counter() - begun)

    figures["fanout"] = asyncio.run(fan())
    with ThreadPoolExecutor(at_once) as pool:
        begun = time.perf_counter()
        list(pool.map(one, range(runs)))
        figures["runs"] = runs / (time.perf_counter() - begun)
    DBOS.destroy()
    return figures


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
