"""A session of workflows without Ray, for a module's tests."""

import pytest

from shoal import workflow


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    workflow.shutdown()
    workflow.init(executor="inline", home=str(tmp_path_factory.mktemp("home")))
    yield workflow
    workflow.shutdown()
