"""Every executor keeps the promises of `StepExecutor`."""

import pytest

from shoal.executors.inline.executor import InlineExecutor
from shoal.testing.executor_suite import ExecutorSuite
from shoal.testing.executor_tools import SuiteInvoker


class TestInline(ExecutorSuite):
    # It runs in the orchestrator's process: see "Executing" in docs/adr/0003.
    ends_for_real = False
    catches_descriptors = False

    def make_executor(self, blobs):
        return InlineExecutor(invoker=SuiteInvoker(blobs), blobs=blobs)


@pytest.mark.usefixtures("ray_connection")
class TestRay(ExecutorSuite):
    def make_executor(self, blobs):
        from shoal.executors.ray.executor import RayExecutor

        return RayExecutor(invoker=SuiteInvoker(blobs), blobs=blobs)
