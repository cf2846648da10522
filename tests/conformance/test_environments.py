"""The environments of uv pass the suite of their port."""

from __future__ import annotations

import os

import pytest

from shoal.environments.provider import UvEnvironments
from shoal.testing.environment_suite import EnvironmentProviderSuite
from toolkit import DictBlobs, HereRunner
from wheels import make_wheel


class TestUvEnvironments(EnvironmentProviderSuite):
    @pytest.fixture
    def publish(self, tmp_path):
        return lambda name, version, files, requires=(): make_wheel(tmp_path / "links", name, version, files, requires=requires)

    @pytest.fixture
    def provider(self, tmp_path):
        variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "links"), "PIP_CONFIG_FILE": os.devnull}
        (tmp_path / "links").mkdir(exist_ok=True)
        return UvEnvironments(tmp_path / "environments", DictBlobs(), HereRunner(), variables=variables)
