"""Ray's remote functions for attempts, and what of them the cluster can carry.

Owns the options of a task. One remote function serves all attempts of the same environment and resources, so that a
submission costs no more than Ray's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from shoal.executors.ray import cluster
from shoal.executors.ray.library import load_ray, on_node
from shoal.model.attempts import AttemptCall
from shoal.model.policies import Isolation, Resources


def _bind(kit: bytes) -> Callable[[bytes], bytes]:
    # A closure is pickled by value, once, with the function; a worker loads it once, whatever the number of its attempts.
    def shoal_attempt(call: bytes) -> bytes:
        from shoal.executors.ray.worker import carry

        return carry(kit, call)

    return shoal_attempt


def _bind_reader(kit: bytes) -> Callable[[bytes], str]:
    def shoal_options(tool: bytes) -> str:
        from shoal.executors.ray.worker import read_options

        return read_options(kit, tool)

    return shoal_options


class Tasks:
    """The remote functions of one executor."""

    def __init__(self, kit: bytes) -> None:
        self._reader: Final[Any] = load_ray().remote(max_retries=0, num_cpus=0)(_bind_reader(kit))
        self._function: Final[Any] = load_ray().remote(max_retries=0)(_bind(kit))
        self._variants: Final[dict[tuple[str | None, Resources], Any]] = {}

    def of(self, call: AttemptCall) -> Any:
        """Return the remote function that carries a call.

        A clean child process is started by a task of the base environment. Environment variables are never put into a
        runtime_env: that would cost a new worker process for each set of them, and show secrets to the whole cluster.
        """
        overlay = call.environment is not None and call.isolation is not Isolation.PROCESS
        python = call.environment.python if call.environment is not None and overlay else None
        key = (python, call.resources)
        variant = self._variants.get(key)
        if variant is None:
            options = {**ray_options(call.resources), **interpreter(python)}
            variant = self._variants[key] = self._function.options(**options)
        return variant

    def reader(self, python: str | None) -> Any:
        """Return the remote function that reads a tool's options in the base environment, or under another interpreter."""
        return self._reader if python is None else self._reader.options(**interpreter(python))


def interpreter(python: str | None) -> dict[str, Any]:
    """Return the options of what runs under an interpreter of an environment; None: the base environment's.

    Environments stand on the driver's host: in a cluster of several hosts their attempts run on the driver's node.
    """
    if python is None:
        return {}
    options: dict[str, Any] = {"runtime_env": {"py_executable": python}}
    if len(cluster.hosts()) > 1:
        options["scheduling_strategy"] = on_node(load_ray().get_runtime_context().get_node_id())
    return options


def ray_options(resources: Resources) -> dict[str, Any]:
    """Return what Ray is asked for; one CPU unless something else is said."""
    options: dict[str, Any] = {"num_cpus": 1 if resources.cpus is None else resources.cpus}
    if resources.gpus is not None:
        options["num_gpus"] = resources.gpus
    if resources.memory is not None:
        options["memory"] = resources.memory
    if resources.custom:
        options["resources"] = dict(resources.custom)
    return options


def shortage(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Return what no node has enough of for an attempt, in words; None: some node could carry it if it were idle.

    Args:
        resources: Of the attempt.
        nodes: The total resources of every live node, by Ray's names.
    """
    wanted = {"CPU": 1.0 if resources.cpus is None else resources.cpus, "GPU": resources.gpus or 0.0}
    wanted["memory"] = float(resources.memory or 0)
    wanted.update(resources.custom)
    if any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in nodes):
        return None
    short = [
        f"{name} {amount:g} (the largest node has {max((n.get(name, 0.0) for n in nodes), default=0.0):g})"
        for name, amount in wanted.items()
        if amount and all(node.get(name, 0.0) < amount for node in nodes)
    ]
    return ", ".join(short) or "this combination of resources on one node"
