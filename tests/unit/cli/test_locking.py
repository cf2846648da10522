"""`tools lock` and `tools envs`, with a find-links folder as the only index."""

import json
import os
import re

import pytest

from shoal.cli.app import main
from shoal.cli.spans import parse_size
from shoal.errors import InvalidInputError
from wheels import make_wheel, tool_wheel

FLOW = "id: t\nsteps: [{name: a, tool: say-dep}]\noutputs: {dep: '{{ steps.a.outputs.dep }}'}\n"


@pytest.fixture
def links(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "SHOAL_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    make_wheel(folder, "dep", "1.0", {"dep.py": "VERSION = '1.0'\n"})
    tool_wheel(folder, "say-dep", "1.0", "def main():\n    import dep\n    return {'dep': dep.VERSION}\n", requires=["dep"])
    (tmp_path / "t.yaml").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def shoal(links, capfd):
    def call(*args):
        status = main(list(args))
        out, err = capfd.readouterr()
        return status, out, err

    return call


def test_a_lock_says_what_changed_and_a_check_what_is_stale(shoal, links, tmp_path):
    path = tmp_path / "shoal.lock"
    assert shoal("tools", "lock", "t.yaml", "--check") == (1, "", f"there is no {path}\n  hint: shoal tools lock t.yaml\n")
    assert shoal("tools", "lock", "t.yaml")[:2] == (0, f"added    say-dep  dep 1.0, say-dep 1.0\n{path}: 1 tool, written\n")
    assert shoal("tools", "lock", "t.yaml")[:2] == (0, f"{path}: 1 tool, nothing changed\n")
    assert shoal("tools", "lock", "t.yaml", "--check")[:2] == (0, f"{path}: up to date (1 tool)\n")
    make_wheel(links, "dep", "1.1", {"dep.py": "VERSION = '1.1'\n"})
    assert shoal("tools", "lock", "t.yaml", "--upgrade")[1] == f"updated  say-dep  dep 1.0 -> 1.1\n{path}: 1 tool, written\n"
    (tmp_path / "t.yaml").write_text(FLOW.replace("say-dep", "say-dep@1.0"))
    status, out, _ = shoal("tools", "lock", "t.yaml", "--check", "--json")
    assert (status, json.loads(out)["problems"]) == (1, ["not in shoal.lock: say-dep@1.0"])
    status, out, _ = shoal("tools", "lock", "t.yaml", "--json")
    told = json.loads(out)
    assert (status, told["written"], told["file"]) == (0, True, str(path))
    assert told["added"] == [{"tool": "say-dep@1.0", "before": [], "after": ["dep==1.1", "say-dep==1.0"]}]
    assert [c["tool"] for c in told["removed"]] == ["say-dep"]
    assert shoal("tools", "lock", "t.yaml", "--check", "--upgrade")[0] == 2


def test_a_run_says_what_its_lock_file_does_not_serve_and_refuses_a_broken_one(shoal, tmp_path):
    shoal("tools", "lock", "t.yaml")
    (tmp_path / "t.yaml").write_text(FLOW.replace("say-dep", "say-dep@1.0"))
    status, out, err = shoal("run", "t.yaml", "--executor", "inline")
    assert (status, out) == (0, "dep: 1.0\n")
    assert "not in shoal.lock: say-dep@1.0\n" in err
    (run,) = json.loads(shoal("runs", "--json")[1])["runs"]
    shown = shoal("show", run["run_id"])[1]
    assert re.search(r"tools, from shoal\.lock \w{12}\n  say-dep@1\.0  say-dep 1\.0  overlay \w{12}, packages: 2\n", shown)
    assert "  not in shoal.lock: say-dep@1.0\n" in shown
    told = json.loads(shoal("show", run["run_id"], "--json")[1])
    assert told["tools"][0]["packages"] == ["dep==1.0", "say-dep==1.0"]
    assert told["lock_file"]["remarks"] == ["not in shoal.lock: say-dep@1.0"]
    (tmp_path / "shoal.lock").write_text("[[package]]\n")
    status, _, err = shoal("run", "t.yaml", "--executor", "inline")
    assert (status, "not a lock file of Shoal" in err, "shoal.lock" in err) == (2, True, True)


def test_environments_are_listed_and_pruned(shoal):
    assert shoal("tools", "envs") == (0, "", "0 environments, 0 B\n")
    shoal("run", "t.yaml", "--executor", "inline")
    status, out, err = shoal("tools", "envs")
    assert re.fullmatch(r"\w{12}  overlay +[\d.]+ [KM]iB  used .*  built .*  \S+  say_dep \(2 packages\)\n", out), out
    assert (status, err.startswith("1 environment, ")) == (0, True)
    assert shoal("tools", "envs", "--prune", "--older-than", "1h")[2] == "0 environments removed, 0 B\n"
    assert "1 environment would be removed" in shoal("tools", "envs", "--prune", "--max-size", "1KB", "--dry-run")[2]
    told = json.loads(shoal("tools", "envs", "--prune", "--older-than", "0s", "--json")[1])
    assert [e["packages"] for e in told["environments"]] == [["dep==1.0", "say-dep==1.0"]]
    assert json.loads(shoal("tools", "envs", "--json")[1]) == {"environments": [], "bytes": 0}


@pytest.mark.parametrize("args", [["--prune"], ["--older-than", "1d"], ["--dry-run"], ["--prune", "--max-size", "much"]])
def test_a_wrong_use_of_envs_is_refused(shoal, args):
    assert shoal("tools", "envs", *args)[0] == 2


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("12b", 12), ("1k", 1024), ("2KiB", 2048), ("1.5 MB", 1_500_000), ("3GiB", 3 * 1024**3)]
)
def test_sizes(text, size):
    assert parse_size(text) == size
    with pytest.raises(InvalidInputError):
        parse_size(text + "x")
