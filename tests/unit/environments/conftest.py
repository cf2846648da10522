"""Fixtures of the tests of environments: a find-links folder, and a provider that knows nothing else."""

from __future__ import annotations

import os

import pytest

from shoal.environments.provider import UvEnvironments
from toolkit import DictBlobs, HereRunner


@pytest.fixture
def links(tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def variables(links):
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def blobs():
    return DictBlobs()


@pytest.fixture
def provider(tmp_path, blobs, variables):
    return UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables)
