"""The one local Ray that both sides share. Owns its process; at most one stands at a time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator, Mapping
from typing import Final

from benchmarks.place import ROOT, MeasurementError, environment

CPUS: Final = 2
STOP_TIMEOUT: Final = 60.0


class LocalRay:
    """A Ray of two CPUs without a dashboard, started when its address is first asked for; or one that others keep."""

    def __init__(self, address: str | None = None) -> None:
        self._foreign = address
        self._keeper: subprocess.Popen[str] | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """Return the address; starts the Ray.

        Raises:
            MeasurementError: It did not start.
        """
        if self._foreign is not None:
            return self._foreign
        if self._keeper is None:
            self._start({})
        return self._address

    def _start(self, variables: Mapping[str, str]) -> None:
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.keeper", str(CPUS)],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None  # noqa: S101 - it is a pipe
        self._address = self._keeper.stdout.readline().strip()
        if not self._address:
            self.stop()
            raise MeasurementError("the local Ray did not start")

    def stop(self) -> None:
        """Stop the Ray if it was started here. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        try:
            keeper.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.communicate()

    def must_be_ours(self) -> None:
        """Raise `MeasurementError` if the Ray is one that others keep, and cannot be restarted."""
        if self._foreign is not None:
            raise MeasurementError("needs a Ray that it may restart; leave out --ray-address")

    def restart(self, **variables: str) -> str:
        """Return the address of a new Ray, whose processes have further variables. Raises `MeasurementError`."""
        self.must_be_ours()
        self.stop()
        self._start(variables)
        return self._address

    @contextlib.contextmanager
    def away(self) -> Generator[None]:
        """Have no Ray of ours running for the time of the context. Raises `MeasurementError`."""
        self.must_be_ours()
        self.stop()
        yield
