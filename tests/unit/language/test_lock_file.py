"""The text of lock files: what is written is read again, and everything else is refused in words."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import DefinitionError
from shoal.language import lock_file
from shoal.language.lock_file import parse_lock_file, read_lock_file, render_lock_file
from shoal.model.ids import Digest
from shoal.model.locks import LockEntry
from shoal.model.tools import LockedPackage

HASH = "sha256:" + "ab" * 32
PATH = Path("flows/shoal.lock")
TOOL = f"""
[[tool]]
name = "t@1.0"
workflows = ["w"]
isolation = "overlay"
machine = "cpython"
[[tool.package]]
name = "t"
version = "1.0"
hashes = ["{HASH}"]
"""

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
versions = st.sampled_from(["1.0", "2!3.4.post1", "0.1.2rc1+local.7"])
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
hashes = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@st.composite
def packages(draw):
    source = draw(st.sampled_from(["", "file:./x", "git+https://h/r@" + "a" * 40]))
    found = tuple(sorted(draw(st.sets(hashes, min_size=1, max_size=1 if source else 3))))
    wheel = Digest(found[0][7:]) if source else None
    return LockedPackage(draw(names), draw(versions), found, source, wheel, "c" * 64 if source.startswith("file:") else "")


entries = st.builds(
    LockEntry,
    tool=lines.filter(bool),
    requirements=st.lists(lines, max_size=3).map(lambda x: tuple(sorted(x))),
    isolation=st.sampled_from(["base", "overlay", "process"]),
    workflows=st.sets(names, min_size=1, max_size=3).map(lambda x: tuple(sorted(x))),
    folder=lines,
    machine=lines,
    base=st.dictionaries(names, versions, max_size=3).map(lambda d: tuple(sorted(d.items()))),
    packages=st.lists(packages(), max_size=3, unique_by=lambda p: p.name).map(lambda x: tuple(sorted(x, key=lambda p: p.name))),
)


@given(st.lists(entries, max_size=4, unique_by=lambda e: e.key))
def test_what_is_written_is_read_again_and_the_order_does_not_matter(found):
    text = render_lock_file(tuple(found))
    assert render_lock_file(tuple(reversed(found))) == text
    assert parse_lock_file(text.encode(), PATH).entries == tuple(sorted(found, key=lambda e: e.key))


def test_no_file_is_none(tmp_path):
    assert read_lock_file(tmp_path / "shoal.lock") is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("format = \n", "is no TOML"),
        ("[[package]]\nname = 'foreign'\n", "not a lock file of Shoal"),
        ("version = 1\n", "not a lock file of Shoal"),
        ("format = 'x'\n", "not a lock file of Shoal"),
        ("format = true\n", "not a lock file of Shoal"),
        ("format = 2\n", "has the format 2"),
        ("format = 1\nmore = 1\n", "more"),
        ("format = 1\ntool = 3\n", "tool"),
        ("format = 1\n" + TOOL + TOOL, "listed twice"),
        ("format = 1\n" + TOOL.replace('"t"', '"../../etc"'), "package.1.name"),
        ("format = 1\n" + TOOL.replace('"t"', '"t --index-url http"'), "package.1.name"),
        ("format = 1\n" + TOOL.replace('version = "1.0"', 'version = "1.0\\n--pre"'), "version"),
        ("format = 1\n" + TOOL.replace('version = "1.0"', 'version = "one"'), "version"),
        ("format = 1\n" + TOOL.replace(HASH, HASH + "\\n"), "hashes"),
        ("format = 1\n" + TOOL.replace(HASH, "md5:1"), "hashes"),
        ("format = 1\n" + TOOL.replace(f'["{HASH}"]', "[]"), "hashes"),
        ("format = 1\n" + TOOL.replace("overlay", "elsewhere"), "isolation"),
        ("format = 1\n" + TOOL + 'source = "file:./x"\n'.replace("x", "x y"), "source"),
        ("format = 1\n" + TOOL + 'source = "https://h/x.whl"\n', "source"),
        ("format = 1\n" + TOOL.replace(f'["{HASH}"]', f'["{HASH}", "{HASH}"]') + 'source = "file:./x"\n', "one hash"),
        ("format = 1\nx = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_broken_or_foreign_is_refused_and_named(tmp_path, text, word):
    path = tmp_path / "shoal.lock"
    path.write_text(text)
    with pytest.raises(DefinitionError, match=r"shoal\.lock") as caught:
        read_lock_file(path)
    assert word in str(caught.value)
    assert caught.value.exit_status == 2
    assert str(path) in str(caught.value)


def test_the_place_of_a_mistake_is_told(tmp_path):
    path = tmp_path / "shoal.lock"
    path.write_text("format = 1\nx = = 2\n")
    with pytest.raises(DefinitionError) as caught:
        read_lock_file(path)
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 5)


def test_what_is_too_large_no_text_or_no_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "shoal.lock"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="UTF-8"):
        read_lock_file(path)
    monkeypatch.setattr(lock_file, "SIZE_LIMIT", 10)
    path.write_text("format = 1\n")
    with pytest.raises(DefinitionError, match="larger than 10 bytes"):
        read_lock_file(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DefinitionError, match="is no file"):
        read_lock_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DefinitionError, match=r"shoal\.lock"):
        read_lock_file(path)
