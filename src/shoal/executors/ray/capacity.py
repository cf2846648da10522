"""How much the cluster can carry, and who waits in it, as the last look found it.

Owns the looks: each is a call to Ray's control service, which holds its caller when it is gone. So it has a deadline and is
made in a thread; what the event loop asks is answered from the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shoal.executors.ray.library import control_service, load_ray
from shoal.executors.ray.tasks import shortage
from shoal.model.policies import Resources

_PATIENCE: Final = 1.0
"""Seconds that the control service gets to answer."""


_MISSES: Final = 3
"""Looks in a row without this host's node, after which it is taken for lost."""


class Capacity:
    """The resources of the cluster's nodes.

    Attributes:
        cpus: Of all nodes.
        wanted: Whether anybody's tasks or actors, in the whole cluster, wait for CPUs.
    """

    def __init__(self) -> None:
        self.cpus = 0.0
        self.wanted = False
        self._here = ""
        self._missed: int | None = None
        self._nodes: Sequence[Mapping[str, float]] = ()
        self._feasible: Final[set[Resources]] = set()

    def look(self) -> None:
        """Ask Ray; if it does not answer in time, what was known stands. Blocks for a second at most."""
        try:
            # What `ray status` shows; Serve of Ray 2.60 asks for it in the same way.
            usage = control_service().get_all_resource_usage(timeout=_PATIENCE).resource_usage_data
        except Exception:  # noqa: BLE001 - Ray raises what it likes
            self.wanted = False
            return
        self._nodes = [dict(node.resources_total) for node in usage.batch]
        self._here = self._here or str(load_ray().get_runtime_context().get_node_id())
        if any(node.node_id.hex() == self._here for node in usage.batch):
            self._missed = 0
        elif self._missed is not None:
            self._missed += 1
        self.cpus = sum(node.get("CPU", 0.0) for node in self._nodes)
        demands = usage.resource_load_by_shape.resource_demands
        self.wanted = any(d.num_ready_requests_queued and d.shape.get("CPU", 0.0) > 0 for d in demands)

    @property
    def is_cut_off(self) -> bool:
        """Whether this host's node was part of the cluster and is no more: what is submitted from here is carried by nobody."""
        return self._missed is not None and self._missed >= _MISSES

    def fits(self, resources: Resources) -> bool:
        """Return whether some node has, or had, what an attempt takes; as long as no look succeeded, it is taken to."""
        if resources in self._feasible:
            return True
        missing = self.shortage(resources)
        if missing is None and self._nodes:
            self._feasible.add(resources)
        return missing is None

    def shortage(self, resources: Resources) -> str | None:
        """Return what no node has enough of, in words; None: some node could carry it if it were idle, or none is known."""
        return shortage(resources, self._nodes) if self._nodes else None
