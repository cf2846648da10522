"""Every executor keeps the promises of `StepExecutor`."""

from dataclasses import replace

import pytest

from shoal.executors.inline.executor import InlineExecutor
from shoal.model.policies import Isolation
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


@pytest.mark.usefixtures("ray_connection")
class TestRayTasks(ExecutorSuite):
    """`isolation: task`: the same promises."""

    def make_executor(self, blobs):
        from shoal.executors.ray.executor import RayExecutor

        class Tasks(RayExecutor):
            def submit(self, calls):
                kept = (Isolation.PROCESS, Isolation.SHARED)
                super().submit([c if c.isolation in kept else replace(c, isolation=Isolation.TASK) for c in calls])

        return Tasks(invoker=SuiteInvoker(blobs), blobs=blobs)


@pytest.mark.full
@pytest.mark.usefixtures("ray_connection")
class TestRayElsewhere(ExecutorSuite):
    """Workers that do not see the driver's folder, as on another host; but for tools that stop every thread."""

    def make_executor(self, blobs):
        from shoal.executors.ray.executor import RayExecutor

        return RayExecutor(invoker=SuiteInvoker(blobs), blobs=blobs, board=False)
