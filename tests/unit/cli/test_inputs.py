"""Workflows by file and id, and inputs from files."""

import pytest
from cli_world import ANSWER

from shoal.cli.inputs import read_inputs
from shoal.errors import DefinitionError, InvalidInputError, NotFoundError
from shoal.language.finding import find_workflow, is_file_name
from shoal.language.loading import load_file


@pytest.fixture
def answer(answer_file):
    return load_file(answer_file)


def test_a_name_with_an_ending_a_separator_or_a_file_behind_it_is_a_file(answer_file):
    assert [is_file_name(n) for n in ("x.yaml", "x.yml", "./x", "answer.yaml", "answer")] == [True] * 4 + [False]
    (answer_file.parent / "plain").write_text("")
    assert is_file_name("plain")


def test_an_unknown_id_names_the_ids_there_are(answer_file):
    folder = answer_file.parent / "workflows"
    folder.mkdir()
    (folder / "a.yaml").write_text(ANSWER.replace("id: answer", "id: first"))
    (folder / "b.yml").write_text(ANSWER.replace("id: answer", "id: second"))
    assert find_workflow("second").id == "second"
    with pytest.raises(NotFoundError) as caught:
        find_workflow("third")
    assert "first, second" in caught.value.hint


def test_a_broken_file_beside_it_does_not_hide_an_id_and_a_broken_one_says_so(answer_file):
    folder = answer_file.parent / "workflows"
    folder.mkdir()
    (folder / "a.yaml").write_text("id: [")
    (folder / "b.yaml").write_text(ANSWER)
    (folder / "c.yaml").write_text(ANSWER.replace("id: answer", "id: broken").replace("tool:", "tol:"))
    assert find_workflow("answer").id == "answer"
    with pytest.raises(DefinitionError):
        find_workflow("broken")


@pytest.mark.parametrize(
    ("name", "text"),
    [("i.json", '{"question": "2026-01-01", "count": 3}'), ("i.yaml", "question: 2026-01-01\ncount: 3\n")],
)
def test_inputs_are_json_or_yaml_and_dates_stay_strings(answer, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_inputs(answer, [], str(tmp_path / name)) == {"question": "2026-01-01", "count": 3}


def test_an_assignment_wins_and_keeps_a_string_a_string(answer, tmp_path):
    (tmp_path / "i.yaml").write_text("question: from the file\n")
    found = read_inputs(answer, ["question=[1]", "count=4", "question=a=b"], str(tmp_path / "i.yaml"))
    assert found == {"question": "a=b", "count": 4}


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "a: b: c",
        "{",
        "1: a number as key",
        "question: !!python/object/apply:os.system [exit]",
        "question: !!binary aGk=",
        "question: &a [*a]",
        "count: many",
        "qestion: x",
        "\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]"] + [f"{c}: &{c} [{', '.join(['*' + p] * 10)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)]),
    ],
    ids=["list", "syntax", "open", "key", "object", "binary", "cycle", "type", "unknown", "bomb"],
)  # fmt: skip
def test_what_is_no_mapping_of_json_is_refused(answer, tmp_path, text):
    (tmp_path / "i.yaml").write_text(text)
    with pytest.raises(InvalidInputError):
        read_inputs(answer, [], str(tmp_path / "i.yaml"))


@pytest.mark.parametrize("text", ['{"count": 1, "count": 2}', '{"question": "x", "question": "x"}', "count: 1\ncount: 2\n"])
def test_a_key_that_is_there_twice_is_refused(answer, tmp_path, text):
    (tmp_path / "i").write_text(text)
    with pytest.raises(InvalidInputError, match=r"twice|duplicate key"):
        read_inputs(answer, [], str(tmp_path / "i"))


def test_inputs_that_cannot_be_read_are_refused(answer, tmp_path):
    with pytest.raises(NotFoundError):
        read_inputs(answer, [], str(tmp_path / "none.yaml"))
    (tmp_path / "i.yaml").write_bytes(b"question: \xff")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_inputs(answer, [], str(tmp_path / "i.yaml"))
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    with pytest.raises(InvalidInputError, match="10 MiB"):
        read_inputs(answer, [], str(tmp_path / "big.json"))


def test_inputs_come_from_stdin(answer, monkeypatch):
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"count": 9}')))
    assert read_inputs(answer, [], "-")["count"] == 9


def test_an_input_that_is_given_wrongly_is_not_called_missing(tmp_path):
    from shoal.language.loading import load_text

    flow = load_text("id: w\ninputs: {x: {type: object}, y: {}}\nsteps: [{name: s, tool: t}]")
    with pytest.raises(InvalidInputError) as caught:
        read_inputs(flow, ['x={"a": 1, "a": 2}'], None)
    assert [p.message for p in caught.value.problems] == [
        "input 'x': the key 'a' is there twice in one object",
        "input 'y' is missing",
    ]
