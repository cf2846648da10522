"""Every bad file says in comments what must be found in it: `# !! LINE:COLUMN words`. Nothing more and nothing less."""

import re
from pathlib import Path

import pytest

from shoal.errors import DefinitionError
from shoal.language.loading import load_file

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_all_problems_are_told_at_once_where_they_are(path):
    expected = re.findall(r"# !! (\d+:\d+) (.*)", path.read_text())
    assert expected
    with pytest.raises(DefinitionError) as caught:
        load_file(path)
    found = [(f"{p.line}:{p.column}", p.message, p.file) for p in caught.value.problems]
    missing = [e for e in expected if not any(place == e[0] and e[1] in message for place, message, _ in found)]
    strange = [f for f in found if not any(f[0] == place and words in f[1] for place, words in expected)]
    assert (missing, strange) == ([], [])
    assert {file for _, _, file in found} == {str(path)}
    assert caught.value.exit_status == 2
