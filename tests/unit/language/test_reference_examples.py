"""Every YAML example of the language reference is what it says it is."""

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from shoal.errors import DefinitionError
from shoal.language._document import parse, to_json
from shoal.language._problems import Problems
from shoal.language.loading import load_text
from shoal.language.schema import schema

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "language.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
HEAD = "id: example\ninputs: {url: , urls: , n: , person: }\n"
CHILD = "id: clean-up\ninputs: {path: }\nsteps: [{name: s, tool: t}]\noutputs: {freed: 1}\n"


def whole(block: str) -> str:
    """Return an example as a file: a fragment gets an id and inputs, a list of steps its key."""
    if re.search(r"^id:", block, re.MULTILINE):
        return block
    if block.startswith("- "):
        block = "steps:\n" + block
    if not re.search(r"^steps:", block, re.MULTILINE):
        block += "steps: [{name: only, tool: t}]\n"
    return (
        re.sub(r"^inputs:.*\n", "", HEAD, flags=re.MULTILINE) + block
        if re.search(r"^inputs:", block, re.MULTILINE)
        else HEAD + block
    )


def test_there_are_examples():
    assert len(BLOCKS) >= 12


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_example(block, tmp_path):
    (tmp_path / "clean-up.yaml").write_text(CHILD)
    wrong = re.search(r"^# refused: (.*)$", block, re.MULTILINE)
    text = whole(block)
    if wrong:
        with pytest.raises(DefinitionError, match=re.escape(wrong[1])):
            load_text(text, base_dir=tmp_path, workflows=[tmp_path])
        return
    load_text(text, base_dir=tmp_path, workflows=[tmp_path])
    data = to_json(parse(text, "example", Problems()))
    assert list(Draft202012Validator(schema()).iter_errors(data)) == []
