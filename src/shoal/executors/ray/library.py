"""Ray as this package uses it: imported on first use, and without its types, many of which are missing or wrong."""

from __future__ import annotations

from typing import Any


def load_ray() -> Any:
    """Return the module `ray`."""
    import ray

    return ray


def load_exceptions() -> Any:
    """Return the module `ray.exceptions`."""
    import ray.exceptions

    return ray.exceptions


def end_actor(actor: Any) -> None:
    """End an actor, if it is there: the process may be connected to no Ray any more, or to another one by now."""
    ray = load_ray()
    if ray.is_initialized():
        try:
            ray.kill(actor, no_restart=True)
        except Exception:  # noqa: BLE001 - Ray raises what it likes for the handle of an actor that went with its cluster
            return


def on_node(node_id: str) -> Any:
    """Return the scheduling strategy of a task that runs on one node or not at all."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def near_node(node_id: str) -> Any:
    """Return the scheduling strategy of an actor that prefers a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=True)


def control_service() -> Any:
    """Return the client of the cluster's control service that this driver has."""
    from ray._private import worker

    driver: Any = worker.global_worker
    return driver.gcs_client
