"""The public Python API: `async with shoal.connect() as client: handle = await client.start(workflow, inputs)`."""

from shoal.bootstrap import PruneReport
from shoal.client._client import Client, connect
from shoal.client._diagnosis import Finding
from shoal.client._environments import EnvironmentView
from shoal.client._handle import RunHandle
from shoal.client._locks import LockReport, ToolChange
from shoal.client._view import RunView

__all__ = ["Client", "EnvironmentView", "Finding", "LockReport", "PruneReport", "RunHandle", "RunView", "ToolChange", "connect"]
