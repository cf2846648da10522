"""How much the cluster can carry, asked of Ray now and then: asking costs a call to its control service."""

from __future__ import annotations

import time
from typing import Final

from shoal.executors.ray.library import control_service, load_ray
from shoal.executors.ray.tasks import shortage
from shoal.model.policies import Resources

_KEPT: Final = 5.0
"""Seconds for which an answer is used."""

_PATIENCE: Final = 1.0
"""Seconds that the control service gets to say who waits."""


class Capacity:
    """The cluster's CPUs, and which resources some node of it has."""

    def __init__(self) -> None:
        self._cpus = 0.0
        self._asked = float("-inf")
        self._feasible: Final[set[Resources]] = set()

    def cpus(self) -> float:
        """Return the CPUs of all nodes."""
        now = time.monotonic()
        if now - self._asked > _KEPT:
            self._cpus, self._asked = float(load_ray().cluster_resources().get("CPU", 1)), now
        return self._cpus

    def wanted(self) -> bool:
        """Return whether anybody's tasks or actors, in the whole cluster, wait for CPUs. Blocks; for a thread."""
        try:
            # What `ray status` shows as demands; Serve of Ray 2.60 asks for it in the same way.
            usage = control_service().get_all_resource_usage(timeout=_PATIENCE)
            demands = usage.resource_usage_data.resource_load_by_shape.resource_demands
            return any(d.num_ready_requests_queued and d.shape.get("CPU", 0.0) > 0 for d in demands)
        except Exception:  # noqa: BLE001 - Ray raises what it likes; who waits is then not known
            return False

    def fits(self, resources: Resources) -> bool:
        """Return whether some node has, or had, what an attempt takes."""
        if resources not in self._feasible and self.shortage(resources) is None:
            self._feasible.add(resources)
        return resources in self._feasible

    def shortage(self, resources: Resources) -> str | None:
        """Return what no node has enough of, in words; None: some node could carry it if it were idle."""
        return shortage(resources, [node["Resources"] for node in load_ray().nodes() if node["Alive"]])
