"""The command line over a fake client; definitions from the real language."""

import sys

import pytest
from cli_world import ANSWER, World, install

from shoal.cli import main


@pytest.fixture
def world(monkeypatch):
    for name in list(sys.modules):
        if name == "shoal.client" or name.startswith("shoal.client."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "shoal.client", None)
    return install(World())


@pytest.fixture
def answer_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "answer.yaml"
    path.write_text(ANSWER)
    return path


@pytest.fixture
def shoal(capfd):
    """Carry out a command line: its status, what it wrote to stdout and to stderr."""

    def call(*args):
        status = main([str(a) for a in args])
        out, err = capfd.readouterr()
        return status, out, err

    return call
