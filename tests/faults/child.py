"""A process of its own that starts or takes up a run on the inline executor, and may be armed to die (`SHOAL_FAULT`).

Usage: child.py HOME RUN_ID LOG start|cancel|park|environment|resume
"""

import asyncio
import sys
from pathlib import Path

import shoal
from shoal.errors import ShoalError

FLOW = Path(__file__).parents[1] / "promises" / "promises.yaml"


async def main(home: str, run_id: str, log: str, what: str) -> None:
    async with shoal.connect(home=home) as client:
        match what:
            case "resume":
                handle = await client.resume(run_id)
            case "environment":
                flow = Path(home).parent / "environment.yaml"
                handle = await client.start(flow, {}, run_id=run_id, executor="inline")
            case _:
                inputs = {"log": log, "pace": 0.05 if what in ("cancel", "park") else 0.0}
                handle = await client.start(FLOW, inputs, run_id=run_id, executor="inline")
        if what == "park":
            await asyncio.sleep(0.3)
            return  # leaving gives the run back
        if what == "cancel":
            await asyncio.sleep(0.1)
            await client.cancel(run_id)
        view = await handle.wait()
        sys.stdout.write(f"{view.run.status.value}\n")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ShoalError as error:
        sys.stdout.write(f"error: {error.code}: {error}\n")
        raise SystemExit(9) from None
