"""Fixtures of the tests of tools."""

from __future__ import annotations

import sys

import pytest

from toolkit import DictBlobs, Invoking


@pytest.fixture
def blobs():
    return DictBlobs()


@pytest.fixture
def invoke(blobs, monkeypatch):
    return Invoking(blobs)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module with a name of its own, importable for the time of the test; returns its name."""
    made = []

    def write(code, name=None):
        name = name or f"tool_module_{tmp_path.name.replace('-', '_')}_{len(made)}"
        (tmp_path / f"{name}.py").write_text(code)
        made.append(name)
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    for name in made:
        sys.modules.pop(name, None)
