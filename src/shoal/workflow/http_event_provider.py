"""Events by HTTP, where programs written for ray.workflow look for them."""

from shoal.workflow._endpoint import serve_events
from shoal.workflow.event_listener import HTTPListener

__all__ = ["HTTPListener", "serve_events"]
