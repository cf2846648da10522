"""Commands that need neither journal nor Ray load neither."""

import json
import subprocess
import sys

import pytest
from cli_world import ANSWER

HEAVY = ["ray", "libp2p", "a2a", "mcp", "sqlalchemy", "alembic", "pydantic_settings", "shoal.client", "shoal.bootstrap"]
DRIVER = """
import json, sys
from shoal.cli import main
status = main(sys.argv[1:])
sys.stderr.write(json.dumps([status, sorted(sys.modules)]))
"""


def loaded(*args):
    process = subprocess.run([sys.executable, "-c", DRIVER, *args], capture_output=True, text=True, check=True)
    return json.loads(process.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "args", [["--help"], ["run", "--help"], ["--version"], ["validate", "FILE"], ["schema"], ["graph", "FILE"]]
)
def test_nothing_heavy_is_loaded(tmp_path, args):
    file = tmp_path / "answer.yaml"
    file.write_text(ANSWER)
    status, modules = loaded(*[str(file) if a == "FILE" else a for a in args])
    assert status == 0
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("args", [["--help"], ["validate", "FILE"], ["schema"]])
def test_no_more_is_loaded_than_the_command_needs(tmp_path, args):
    file = tmp_path / "answer.yaml"
    file.write_text(ANSWER)
    _, modules = loaded(*[str(file) if a == "FILE" else a for a in args])
    assert [name for name in ("rich", "asyncio", "pydantic.main", "jsonschema") if name in modules] == []
