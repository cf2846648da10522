"""The documentation is true: every code block is checked or carried out, and every page can be reached."""

import ast
import concurrent.futures
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from doc_blocks import PAGES, ROOT, blocks_of, walk_through, write_files
from ruamel.yaml import YAML

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
WALKS = sorted({block.page for block in BLOCKS if block.kind in ("run", "background")})
DIAGRAMS = ("flowchart ", "sequenceDiagram", "stateDiagram-v2", "classDiagram", "graph ")
OPERATORS = frozenset({"&&", "||", "|", "&", ";", ">", "<", ">>"})


# ---------------------------------------------------------------- blocks that are looked at


@pytest.fixture(scope="module")
def page_folders(tmp_path_factory):
    """A folder for each page with the files that the page writes, for workflows that refer to each other."""
    folders = {}

    def folder(page):
        if page not in folders:
            folders[page] = tmp_path_factory.mktemp("page")
            write_files(page, folders[page])
        return folders[page]

    return folder


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml" and b.kind != "skip"], ids=str)
def test_a_workflow_in_the_docs_is_valid(block, page_folders):
    from shoal.language.loading import load_file

    document = YAML(typ="safe", pure=True).load(block.text)
    if isinstance(document, dict) and {"id", "steps"} <= document.keys():
        file = page_folders(block.page) / (block.argument if block.kind == "file" else f"line-{block.line}.yaml")
        file.write_text(block.text)
        assert load_file(file).id == document["id"]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python" and b.kind != "skip"], ids=str)
def test_python_in_the_docs_compiles(block):
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("json", "toml") and b.kind != "skip"], ids=str)
def test_data_in_the_docs_parses(block):
    (json.loads if block.language == "json" else tomllib.loads)(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "mermaid"], ids=str)
def test_a_diagram_in_the_docs_is_one(block):
    assert block.text.startswith(DIAGRAMS)
    assert block.text.count("subgraph") == len(re.findall(r"^\s*end$", block.text, re.MULTILINE)) - block.text.count("loop ")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("sh", "bash") and b.kind != "skip"], ids=str)
def test_commands_in_the_docs_exist(block):
    subprocess.run(["bash", "-n", "-c", block.text], check=True)
    for arguments in commands(block.text):
        parse(arguments)


def commands(text):
    """Yield the arguments of every `shoal` command in a piece of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = list(shlex.shlex(line, posix=True, punctuation_chars=True)) if "shoal" in line else []
        words = shlex.split(line, comments=True) if words else []
        while "shoal" in words:
            words = words[words.index("shoal") + 1 :]
            end = next((i for i, word in enumerate(words) if word in OPERATORS or word.endswith(";")), len(words))
            yield words[:end]


def parse(arguments):
    """Parse a command line as the command would, without carrying it out."""
    import typer
    import typer.main

    from shoal.cli.app import app

    command = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command `shoal {' '.join(arguments)}`"
        command = command.commands[rest.pop(0)]
    try:
        command.make_context("shoal", rest)
    except typer.Exit:
        pass  # `--help` and its like


# ---------------------------------------------------------------- blocks that are carried out


@pytest.fixture(scope="module")
def walks(request, tmp_path_factory):
    """What came of the pages whose tests were asked for; they are carried out side by side, since they mostly wait."""
    asked = {
        i.callspec.params["page"]
        for i in request.session.items
        if getattr(i, "originalname", "") == "test_a_page_does_what_it_says"
    }
    folder = tmp_path_factory.mktemp("walks")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        begun = {page: pool.submit(walk_through, page, folder / Path(page).stem) for page in sorted(asked)}
        return {page: future.result() for page, future in begun.items()}


@pytest.mark.parametrize("page", WALKS)
def test_a_page_does_what_it_says(page, walks):
    trouble = walks[page]
    assert not trouble, trouble


# ---------------------------------------------------------------- pages


def test_every_link_in_the_docs_leads_somewhere():
    def targets(page):
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
        return [target for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text) if "://" not in target]

    broken = [
        f"{page}: {target}" for page in PAGES for target in targets(page) if not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert not broken


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    missing = [page for page in PAGES if page.startswith("docs/") and page.removeprefix("docs/") not in text]
    assert not missing


def test_the_docs_never_promise_more_than_is_true():
    for page in PAGES:
        for sentence in re.findall(r"[^.]*exactly[ -]once[^.]*", (ROOT / page).read_text().lower()):
            assert re.search(r"\b(not|no|never|nor|claim|advertise)\b", sentence), f"{page}: {sentence.strip()}"
