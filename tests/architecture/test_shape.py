"""The size limits of the house."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "shoal"
FILES = sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_file_and_its_parts_are_small(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 700
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it owns"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"
    assert file.stem not in {"utils", "helpers", "common", "manager", "misc"}
