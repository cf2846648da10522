"""The public face: what is there, and what importing it costs."""

import subprocess
import sys

import pytest

import shoal

HEAVY = ("ray", "sqlalchemy", "alembic", "pydantic", "pydantic_settings", "httpx", "cel", "ruamel")


def test_every_export_is_there():
    for name in shoal.__all__:
        assert getattr(shoal, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = shoal.nothing


@pytest.mark.parametrize("line", ["import shoal", "from shoal import tool, continuation, ToolContext, NonRetryableError"])
def test_a_tool_package_that_imports_shoal_loads_nothing_heavy(line):
    code = f"{line}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
