"""The example `repo_report`: its tools against figures counted by hand, and one run of its workflow on Ray."""

import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "examples" / "repo_report" / "repo_report"
WORKFLOW = PACKAGE / "workflows" / "report.yaml"
CALL = """
import contextlib, importlib, io, json, sys
module, function, inputs = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    try:
        answer = {"returned": getattr(importlib.import_module(module), function)(**inputs)}
    except Exception as error:
        answer = {"raised": f"{type(error).__name__}: {error}"}
json.dump(answer, sys.stdout)
"""

PYTHON_SOURCE = '''"""A module.

Its docstring has three lines, one of them blank.
"""

import os  # code with a comment is code

# a comment


class Shape:
    """A class."""

    def area(self, sides):
        total = """not a docstring,

        # nor a comment"""
        if sides and len(sides) > 2:
            for side in sides:
                total += side
        return total


def pick(values, default=None):
    def good(value):
        return value if value else default

    try:
        return [good(v) for v in values if v]
    except ValueError:
        return None


async def constant():
    return 42
'''
PYTHON_COUNT = {"language": "Python", "prose": False, "code": 18, "comment": 5, "blank": 12}
PYTHON_FUNCTIONS = [
    # 1, if, and, for
    {"line": 14, "name": "Shape.area", "complexity": 4},
    # 1, except, comprehension, its condition
    {"line": 24, "name": "pick", "complexity": 4},
    # 1, conditional expression
    {"line": 25, "name": "pick.good", "complexity": 2},
    {"line": 34, "name": "constant", "complexity": 1},
]
C_SOURCE = """#include <stdio.h>
/* a comment
   of two lines */

int main(void) { /* a comment beside code */
    puts("/* no comment */ // none either");
    return 0; // done
}
"""


# ---------------------------------------------------------------- set-up


class Environment:
    """A virtual environment with some of the example's tools, installed as wheels with their own dependencies."""

    def __init__(self, folder, *tools):
        self.python = folder / "bin" / "python"
        uv = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True)
        wanted = [str(PACKAGE / "tools" / tool) for tool in tools]
        subprocess.run([*uv, "pip", "install", "--python", str(self.python), *wanted], check=True)

    def answer(self, module, function, **inputs):
        command = [self.python, "-W", "error", "-c", CALL]
        done = subprocess.run(
            command, input=json.dumps([module, function, inputs]), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def call(self, module, function, **inputs):
        answer = self.answer(module, function, **inputs)
        assert "returned" in answer, answer["raised"]
        return answer["returned"]

    def version(self, package):
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("readers") / "env", "line-counter", "complexity-meter", "git-hotspots")


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("writer") / "env", "report-writer")


@pytest.fixture(scope="module")
def sources():
    spec = importlib.util.spec_from_file_location("repo_report_sources", WORKFLOW.parent / "sources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_git(monkeypatch, tmp_path):
    """Keep the git of these tests apart from that of the user."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))


def git(folder, *arguments, author="ann"):
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in
           (("NAME", author), ("EMAIL", f"{author}@example.org"), ("DATE", "2024-05-06T07:08:09Z"))}  # fmt: skip
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env={**os.environ, **who})


def write(folder, name, text="x = 1\n"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def listed(found):
    return [name for group in found["groups"] for name in group["files"]]


# ---------------------------------------------------------------- sources


def test_sources_of_a_git_tree_are_what_git_would_track(sources, tmp_path):
    git(tmp_path, "init", "--quiet")
    write(tmp_path, ".gitignore", "ignored/\n*.log\n")
    for name in ("a.py", "build/kept.py", "ignored/b.py", "c.log", ".hidden/d.py", "node_modules/e.js", "sub dir/ü.py"):
        write(tmp_path, name)
    git(tmp_path, "add", "a.py", "build")
    (tmp_path / "outside.py").symlink_to("/etc/passwd")
    found = sources.list_sources(str(tmp_path))
    assert listed(found) == ["a.py", "build/kept.py", "sub dir/ü.py"]
    assert found["root"] == str(tmp_path.resolve())
    assert (found["files"], found["git"]) == (3, True)


def test_sources_outside_of_git_leave_out_hidden_vendored_and_generated_folders(sources, tmp_path):
    for name in ("a.py", "b/c.txt", ".venv/x.py", "venv/x.py", "b/__pycache__/x.pyc", "dist/x.py", ".env"):
        write(tmp_path, name)
    found = sources.list_sources(str(tmp_path))
    assert listed(found) == ["a.py", "b/c.txt"]
    assert found["python_groups"] == [{"name": ".", "files": ["a.py"]}]
    assert found["git"] is False


def test_every_source_is_in_exactly_one_group_of_bounded_size(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "GROUP_FILES", 3)
    monkeypatch.setattr(sources, "GROUP_BYTES", 100)
    names = [f"{folder}{i}.py" for folder in ("", "a/", "a/b/", "c/d/e/") for i in range(4)]
    for name in names:
        write(tmp_path, name, "x" * 10)
    write(tmp_path, "a/large.py", "x" * 200)
    groups = sources.list_sources(str(tmp_path))["groups"]
    assert [name for group in groups for name in group["files"]] == sorted([*names, "a/large.py"])
    assert max(len(group["files"]) for group in groups) == 3
    assert [group["files"] for group in groups if "a/large.py" in group["files"]] == [["a/large.py"]]
    assert {"name": "c/d/e", "files": ["c/d/e/0.py", "c/d/e/1.py", "c/d/e/2.py"]} in groups


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: ".", "is not an absolute path"),
        (lambda folder: folder / "nowhere", "is not a folder"),
        (lambda folder: write(folder, "file.py"), "is not a folder"),
        (lambda folder: folder, "holds no source file"),
    ],
)
def test_a_path_without_sources_is_an_error_that_says_so(sources, tmp_path, make, says):
    with pytest.raises(ValueError, match=says):
        sources.list_sources(str(make(tmp_path)))


def test_more_files_than_wanted_are_an_error(sources, tmp_path):
    for i in range(4):
        write(tmp_path, f"{i}.py")
    with pytest.raises(ValueError, match="more than 3 files"):
        sources.list_sources(str(tmp_path), max_files=3)


# ---------------------------------------------------------------- line-counter


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", PYTHON_SOURCE, PYTHON_COUNT),
        ("a.py", PYTHON_SOURCE.replace("\n", "\r\n"), PYTHON_COUNT),
        ("a.py", "\ufeff" + PYTHON_SOURCE.rstrip("\n"), PYTHON_COUNT),
        ("a.c", C_SOURCE, {"language": "C", "prose": False, "code": 5, "comment": 2, "blank": 1}),
        ("x/Makefile", "all:\n\techo hi # no comment here\n\n# one\n", {"language": "Makefile", "prose": False, "code": 2, "comment": 1, "blank": 1}),
        ("a.yaml", "a: 1\n\n# c\nb: '# no'\n", {"language": "YAML", "prose": False, "code": 2, "comment": 1, "blank": 1}),
        ("README.md", "# Title\n\nText\n", {"language": "Markdown", "prose": True, "code": 2, "comment": 0, "blank": 1}),
        ("LICENSE", "May\n\nnot\n", {"language": "Other text", "prose": True, "code": 2, "comment": 0, "blank": 1}),
        ("empty.py", "", {"language": "Python", "prose": False, "code": 0, "comment": 0, "blank": 0}),
        ("blank.py", "\n\n", {"language": "Python", "prose": False, "code": 0, "comment": 0, "blank": 2}),
    ],
    ids=["python", "crlf", "bom-and-no-last-newline", "c", "make", "yaml", "markdown", "no-language", "empty", "blank"],
)  # fmt: skip
def test_lines_are_counted_as_by_hand(readers, tmp_path, name, text, expected):
    write(tmp_path, name, text)
    counts = readers.call("line_counter", "count_lines", root=str(tmp_path), files=[name], group="g")["counts"]
    assert counts == {"group": "g", "files": [{"path": name, **expected}], "binary": [], "too_large": [], "gone": []}


def test_files_that_are_no_text_are_named_and_have_no_lines(readers, tmp_path):
    write(tmp_path, "latin.py", "# caf\u00e9\n".encode("latin-1"))
    write(tmp_path, "zero.py", b"a\0b")
    write(tmp_path, "big.py", "x = 1\n" * 100)
    (tmp_path / "folder.py").mkdir()
    names = ["latin.py", "zero.py", "big.py", "folder.py", "never.py"]
    counts = readers.call("line_counter", "count_lines", root=str(tmp_path), files=names, max_bytes=599)["counts"]
    assert counts == {
        "group": "", "files": [], "binary": ["latin.py", "zero.py"], "too_large": ["big.py"], "gone": ["folder.py", "never.py"]
    }  # fmt: skip


@pytest.mark.parametrize(("module", "function"), [("line_counter", "count_lines"), ("complexity_meter", "measure_complexity")])
@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "link.py"])
def test_no_tool_reads_outside_of_the_tree(readers, tmp_path, module, function, path):
    write(tmp_path, "outside.py")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.py").symlink_to("../outside.py")
    assert "is not below" in readers.answer(module, function, root=str(root), files=[path])["raised"]


# ---------------------------------------------------------------- complexity-meter


def test_complexity_is_as_counted_by_hand(readers, tmp_path):
    write(tmp_path, "a.py", PYTHON_SOURCE)
    write(tmp_path, "empty.py", "")
    found = readers.call("complexity_meter", "measure_complexity", root=str(tmp_path), files=["a.py", "empty.py"], group="g")
    functions = [{"path": "a.py", **function} for function in PYTHON_FUNCTIONS]
    assert found == {"complexity": {"group": "g", "functions": functions, "not_parsed": []}}


def test_what_is_not_python_is_named_and_does_not_stop_the_rest(readers, tmp_path):
    write(tmp_path, "old.py", "print 'python 2'\n")
    write(tmp_path, "image.py", b"\xff\xd8\xff\0")
    write(tmp_path, "deep.py", "(" * 300 + ")" * 300)
    write(tmp_path, "good.py", "def f(): pass\n")
    names = ["old.py", "image.py", "deep.py", "good.py"]
    found = readers.call("complexity_meter", "measure_complexity", root=str(tmp_path), files=names)["complexity"]
    assert [entry["path"] for entry in found["not_parsed"]] == ["old.py", "image.py", "deep.py"]
    assert found["functions"] == [{"path": "good.py", "line": 1, "name": "f", "complexity": 1}]


# ---------------------------------------------------------------- git-hotspots


@pytest.fixture
def history(tmp_path):
    """Three commits by two authors in a repository whose sources are in a folder of it."""
    root = tmp_path / "repo" / "src"
    git(write(root, "a.py", "1\n2\n3\n").parents[1], "init", "--quiet")
    write(root, "old.py")
    write(root, "b c/ü\n.py", "1\n")
    write(root.parent, "beside.py")
    for author, change in (
        ("ann", lambda: None),
        ("bob", lambda: (write(root, "a.py", "1\n3\n4\n5\n"), (root / "old.py").unlink(), write(root, "bin.dat", b"\0\1"))),
        ("ann", lambda: (write(root, "a.py", "1\n"), write(root.parent, "beside.py", "y\n"))),
    ):
        change()
        git(root.parent, "add", "--all")
        git(root.parent, "commit", "--quiet", "--message", "change", author=author)
    return root


def test_hotspots_are_as_counted_by_hand(readers, history):
    found = readers.call("git_hotspots", "find_hotspots", root=str(history))["history"]
    common = {"last": "2024-05-06"}
    assert found["files"] == [
        # Three lines new; then one deleted and two added; then three deleted.
        {"path": "a.py", "commits": 3, "added": 5, "deleted": 4, "authors": 2, **common},
        {"path": "b c/ü\n.py", "commits": 1, "added": 1, "deleted": 0, "authors": 1, **common},
        {"path": "bin.dat", "commits": 1, "added": 0, "deleted": 0, "authors": 1, **common},
    ]
    assert (found["commits"], found["date"], found["note"]) == (3, "2024-05-06", "")
    assert len(found["commit"]) == 40


def test_hotspots_look_no_further_back_than_asked(readers, history):
    found = readers.call("git_hotspots", "find_hotspots", root=str(history), max_commits=1, top=1)["history"]
    assert [(f["path"], f["commits"]) for f in found["files"]] == [("a.py", 1)]
    assert found["commits"] == 1


def test_there_are_no_hotspots_outside_of_git_or_before_the_first_commit(readers, tmp_path):
    found = readers.call("git_hotspots", "find_hotspots", root=str(tmp_path))["history"]
    assert (found["files"], found["commits"], found["commit"]) == ([], 0, None)
    assert "not a git repository" in found["note"]
    git(tmp_path, "init", "--quiet")
    assert readers.call("git_hotspots", "find_hotspots", root=str(tmp_path))["history"]["files"] == []


def test_nothing_that_a_repository_configures_is_run(readers, sources, history, tmp_path):
    trap = tmp_path / "trap"
    for key in ("core.fsmonitor", "diff.external", "gpg.program", "core.pager", "diff.x.textconv", "filter.x.clean"):
        git(history, "config", key, f"touch {trap}; true")
    git(history, "config", "log.showSignature", "true")
    write(history, ".gitattributes", "* diff=x filter=x\n")
    assert readers.call("git_hotspots", "find_hotspots", root=str(history))["history"]["commits"] == 3
    assert "a.py" in listed(sources.list_sources(str(history)))
    assert not trap.exists()


# ---------------------------------------------------------------- report-writer


def counted(path, code, *, comment=0, blank=0, language="Python", prose=False):
    return {"path": path, "language": language, "prose": prose, "code": code, "comment": comment, "blank": blank}


def group(name, *files, **unread):
    return {"group": name, "files": list(files), "binary": [], "too_large": [], "gone": [], **unread}


def figures():
    """What the three tools return for a tree of four files; the figures below are computed from these by hand."""
    changes = {"added": 30, "deleted": 10, "authors": 2, "last": "2024-05-06"}
    return {
        "lines": [
            group("src", counted("src/a.py", 1000, comment=200, blank=34), counted("src/b.py", 20, blank=2), binary=["src/x.png"]),
            group("web", counted("web/c.js", 50, comment=5, language="JavaScript"), counted("web/d.md", 7, language="Markdown", prose=True)),
        ],
        "complexity": [
            {
                "group": "src",
                "functions": [
                    {"path": "src/b.py", "line": 3, "name": "f", "complexity": 25},
                    {"path": "src/a.py", "line": 9, "name": "A.g", "complexity": 7},
                    {"path": "src/a.py", "line": 1, "name": "h", "complexity": 1},
                ],
                "not_parsed": [],
            }
        ],
        "history": {
            "commits": 12, "commit": "0123456789abcdef", "date": "2024-05-06", "note": "",
            "files": [{"path": "web/c.js", "commits": 9, **changes}, {"path": "src/a.py", "commits": 4, **changes}, {"path": "src/b.py", "commits": 1, **changes}],
        },
    }  # fmt: skip


def rows(report, heading):
    """Return the cells of the last table below a heading."""
    section = report.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    start = max(i for i, line in enumerate(table) if line.startswith("|:"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[start + 1 :]]


def test_the_figures_of_a_report_are_as_computed_by_hand(writer, tmp_path):
    answer = writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path / "new" / "out"), **figures())
    assert answer["report"] == str(tmp_path / "new" / "out" / "report.md")
    assert answer["totals"] == {
        "files": 4, "code_files": 3, "code": 1070, "comment": 205, "blank": 36, "prose": 7, "languages": 2, "functions": 3,
        "most_complex": {"complexity": 25, "name": "f", "place": "src/b.py:3"},
    }  # fmt: skip
    report = Path(answer["report"]).read_text()
    assert report.startswith("# Report on tree\n\n**1,070** lines of code in **3** files of **2** languages")
    assert rows(report, "Lines by language") == [
        ["Python", "2", "1,020", "200", "36", "20 %"],
        ["JavaScript", "1", "50", "5", "0", "10 %"],
        ["**All code**", "**3**", "**1,070**", "**205**", "**36**", "**19 %**"],
        ["*Markdown*", "1", "7", "0", "0", ""],
    ]
    assert rows(report, "Lines by folder") == [["`src`", "2", "1,020"], ["`web`", "2", "50"]]
    assert rows(report, "Largest files")[0] == ["`src/a.py`", "Python", "1,234", "1,000"]
    assert rows(report, "Most complex functions") == [
        ["`f`", "25", "`src/b.py:3`"],
        ["`A.g`", "7", "`src/a.py:9`"],
        ["`h`", "1", "`src/a.py:1`"],
    ]
    # Commits times the complexity of the file: 4 * (7 + 1), 1 * 25. JavaScript is not measured.
    assert rows(report, "Hotspots") == [
        ["`src/a.py`", "4", "8", "32", "1,000", "2024-05-06"],
        ["`src/b.py`", "1", "25", "25", "20", "2024-05-06"],
    ]
    assert rows(report, "Changed most often")[0] == ["`web/c.js`", "9", "30", "10", "2"]
    assert "1 file not of UTF-8 text: `src/x.png`" in report


def test_the_charts_are_images_that_the_report_shows(writer, tmp_path):
    writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path), **figures())
    report = (tmp_path / "report.md").read_text()
    for name, shows in (("languages.svg", "JavaScript"), ("hotspots.svg", "src/a.py: 4 commits, complexity 8, 1000 lines")):
        assert f"]({name})" in report
        image = ET.fromstring((tmp_path / name).read_text())  # noqa: S314 - our own file
        assert image.tag == "{http://www.w3.org/2000/svg}svg"
        assert any(shows in (element.text or "") for element in image.iter())


def test_the_report_goes_below_the_tree_unless_told_otherwise(writer, tmp_path):
    answer = writer.call("report_writer", "write_report", root=str(tmp_path), out=".report", **figures())
    assert answer["report"] == str(tmp_path / ".report" / "report.md")


def test_a_second_attempt_writes_the_same_bytes_and_leaves_nothing_behind(writer, tmp_path):
    def written():
        writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path), **figures())
        return {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    first = written()
    assert sorted(first) == ["hotspots.svg", "languages.svg", "report.md"]
    assert written() == first


def test_a_chart_with_nothing_to_show_is_removed(writer, tmp_path):
    writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path), **figures())
    writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path), **{**figures(), "history": None})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["languages.svg", "report.md"]
    assert "hotspots.svg" not in (tmp_path / "report.md").read_text()


def test_a_group_that_could_not_be_counted_is_told(writer, tmp_path):
    given = figures()
    given["lines"][1] = None
    answer = writer.call("report_writer", "write_report", root="/x/tree", out=str(tmp_path), **given)
    assert answer["totals"]["code"] == 1020
    assert "1 group of files could not be examined" in (tmp_path / "report.md").read_text()


def test_an_empty_tree_makes_a_report_too(writer, tmp_path):
    answer = writer.call(
        "report_writer", "write_report", root="/x/tree", out=str(tmp_path), lines=[], complexity=[], history=None
    )
    assert answer["totals"]["files"] == 0
    assert answer["totals"]["most_complex"] is None


def test_names_from_the_tree_make_no_markdown(writer, tmp_path):
    nasty = "a|b`c\n## d <img src=x> [e](f)/n.py"
    given = figures()
    given["lines"] = [group(nasty, counted(nasty, 5)), group("w", counted("w/g.py", 1, language="<b>*L*"))]
    given["complexity"][0]["functions"] = [{"path": nasty, "line": 1, "name": "f", "complexity": 2}]
    given["history"]["files"][0]["path"] = nasty
    writer.call("report_writer", "write_report", root=f"/x/{nasty[:-5]}", out=str(tmp_path), **given)
    report = (tmp_path / "report.md").read_text()
    assert "\n## d" not in report
    assert r"\<b\>\*L\*" in report
    for heading in ("Lines by folder", "Largest files", "Most complex functions", "Hotspots", "Changed most often"):
        line = next(line for line in report.split(f"## {heading}\n")[1].splitlines() if r"a\|b" in line)
        assert r"`` a\|b`c�## d <img src=x> [e](f)" in line
    ET.fromstring((tmp_path / "hotspots.svg").read_text())  # noqa: S314 - our own file


# ---------------------------------------------------------------- the workflow


def test_two_tools_need_versions_of_one_package_that_exclude_each_other(readers, writer):
    assert (readers.version("tabulate"), writer.version("tabulate")) == ("0.9.0", "0.8.10")


def test_the_agent_carries_its_workflow_and_the_sources_of_its_tools(tmp_path):
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "build", "--wheel", "--out-dir", str(tmp_path), str(PACKAGE.parent)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tools = [f"repo_report/tools/{tool.name}/pyproject.toml" for tool in (PACKAGE / "tools").iterdir()]
    assert len(tools) == 4
    assert names >= {"repo_report/workflows/report.yaml", "repo_report/workflows/sources.py", *tools}


@pytest.fixture
def tree(tmp_path):
    """A repository of two commits with more files than one group holds."""
    root = tmp_path / "tree"
    for i in range(45):
        write(root, f"many/m{i}.py", "def f(x):\n    # a comment\n    return 1 if x else 2\n\n")
    write(root, "main.py", PYTHON_SOURCE)
    write(root, "main.c", C_SOURCE)
    git(root, "init", "--quiet")
    for text in ("", "# changed\n"):
        write(root, "main.py", PYTHON_SOURCE + text)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "change")
    return root


def test_the_workflow_reports_on_a_tree_and_a_second_run_uses_its_environments_again(ray_address, tree, tmp_path):
    home = tmp_path / "home"
    environment = {**os.environ, "SHOAL_HOME": str(home), "SHOAL_RAY_ADDRESS": ray_address}

    def run():
        command = [
            Path(sys.executable).with_name("shoal"),
            "run",
            WORKFLOW,
            "-i",
            f"path={tree}",
            "-i",
            f"out={tmp_path / 'out'}",
            "--json",
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def built():
        return {folder.name: folder.stat().st_ino for folder in (home / "environments").iterdir()}

    first = run()
    environments = built()
    totals = {
        "files": 47, "code_files": 47, "code": 45 * 2 + 18 + 5, "comment": 45 + 5 + 1 + 2, "blank": 45 + 12 + 1, "prose": 0,
        "languages": 2, "functions": 45 + 4, "most_complex": {"complexity": 4, "name": "Shape.area", "place": "main.py:14"},
    }  # fmt: skip
    assert first["status"] == "succeeded"
    assert first["outputs"] == {"report": str(tmp_path / "out" / "report.md"), "totals": totals}
    items = {step["name"]: step["items"]["succeeded"] for step in first["steps"] if step.get("items")}
    assert items["lines"] > 1
    assert items["complexity"] > 1
    report = (tmp_path / "out" / "report.md").read_text()
    assert rows(report, "Hotspots")[0][:4] == ["`main.py`", "2", "11", "22"]
    assert run()["outputs"] == first["outputs"]
    assert built() == environments
