"""Set-up that every tier shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("shoal.testing")

settings.register_profile("shoal", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("shoal")


@pytest.fixture(scope="session")
def ray_address():
    """Address of the session's one Ray, of 2 CPUs: started when the first test asks for it, stopped at the end.

    A process of its own holds it, so that drivers in this process and in others attach to it alike
    (`SHOAL_RAY_ADDRESS`); this process is no driver of it by itself.
    """
    keeper = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_process.py")), "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = keeper.stdout.readline().strip()
    assert address, "the session's Ray did not start"
    yield address
    keeper.communicate(timeout=60)


@pytest.fixture(scope="session")
def ray_connection(ray_address):
    """This process as a driver of the session's Ray."""
    from shoal.executors.ray.cluster import connect

    connection = connect(ray_address)
    yield connection
    connection.close()
