"""The command line over a fake client; definitions from the real language."""

import pytest
from cli_world import ANSWER, World, connect_to

from shoal.cli import main


@pytest.fixture
def world(monkeypatch):
    found = World()
    monkeypatch.setattr("shoal.client.connect", connect_to(found))
    return found


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
