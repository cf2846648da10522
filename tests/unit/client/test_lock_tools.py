"""Lock files made and used through the Python API, with a find-links folder as the only index."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess

import pytest

import shoal
from shoal.environments import base, locked
from shoal.errors import DefinitionError, InvalidInputError, ToolResolutionError
from shoal.language.loading import load_file, load_text
from shoal.model.run import RunStatus
from wheels import make_wheel, tool_wheel

FLOW = "id: {id}\nsteps:\n{steps}"
SAY = "def main():\n    import dep\n    return {'dep': dep.VERSION}\n"


@pytest.fixture
def links(tmp_path, monkeypatch):
    folder = tmp_path / "links"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    dep(folder, "1.0")
    tool_wheel(folder, "say-dep", "1.0", SAY, requires=["dep"])
    return folder


def dep(folder, version):
    make_wheel(folder, "dep", version, {"dep.py": f"VERSION = {version!r}\n"})


@pytest.fixture
def flows(tmp_path):
    folder = tmp_path / "flows"
    folder.mkdir()
    return folder


def write(folder, name, *steps, more=""):
    text = (
        FLOW.format(id=name, steps="".join(f"  - {{name: s{i}, needs: [], {step}}}\n" for i, step in enumerate(steps))) + more
    )
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def play(tmp_path, links):
    def run(work, home="home"):
        async def main():
            async with shoal.connect(home=str(tmp_path / home)) as client:
                return await work(client)

        return asyncio.run(asyncio.wait_for(main(), 90))

    return run


def names(changes):
    return [(c.tool, c.before, c.after) for c in changes]


async def ran(client, flow):
    handle = await client.start(flow, executor="inline")
    view = await handle.wait()
    assert view.run.status is RunStatus.SUCCEEDED, view.run.error
    return handle, view


def test_a_lock_is_exact_kept_upgraded_and_checked(play, links, flows):
    flow = write(flows, "a", "tool: say-dep", "tool: 'json:dumps', inputs: {obj: 1}", "tool: shell, inputs: {script: 'true'}")

    async def work(client):
        first = await client.lock_tools(flow)
        assert names(first.added) == [("say-dep", (), ("dep==1.0", "say-dep==1.0"))]
        text = first.file.read_text()
        assert (first.file, first.written, "http" in text, str(links) in text) == (flows / "shoal.lock", True, False, False)
        dep(links, "2.0")
        again = await client.lock_tools(flow)
        assert ([c.after for c in again.kept], again.written) == ([("dep==1.0", "say-dep==1.0")], False)
        assert first.file.read_text() == text
        assert (await client.lock_tools(flow, check=True)).problems == ()
        newer = await client.lock_tools(flow, upgrade=True)
        assert names(newer.updated) == [("say-dep", ("dep==1.0", "say-dep==1.0"), ("dep==2.0", "say-dep==1.0"))]
        write(flows, "a", "tool: 'json:dumps', inputs: {obj: 1}")
        assert "does not call it any more" in (await client.lock_tools(flow, check=True)).problems[0]
        gone = await client.lock_tools(flow)
        assert [c.tool for c in gone.removed] == ["say-dep"]

    play(work)


def test_a_check_says_what_is_missing(play, flows):
    flow = write(flows, "a", "tool: say-dep")

    async def work(client):
        assert "there is no" in (await client.lock_tools(flow, check=True)).problems[0]
        await client.lock_tools(flow)
        write(flows, "a", "tool: say-dep@1.0", "tool: say-dep, requirements: [dep]", "tool: no-such-tool")
        report = await client.lock_tools(flow, check=True)
        assert report.problems == (
            "not in shoal.lock: say-dep@1.0",
            "not in shoal.lock: say-dep",
            "not in shoal.lock: no-such-tool",
        )
        with pytest.raises(ToolResolutionError, match="step s2: no-such-tool"):
            await client.lock_tools(flow)
        assert (await client.lock_tools(flow, check=True)).problems == report.problems

    play(work)


def test_workflows_of_a_folder_share_a_file_and_sub_workflows_are_locked_with_theirs(play, links, flows):
    tool_wheel(links, "other", "1.0", "def main():\n    return 1\n")
    (flows / "sub").mkdir()
    write(flows / "sub", "inner", "tool: other")
    one = write(flows, "one", "tool: say-dep", "workflow: ./sub/inner.yaml")
    two = write(flows, "two", "tool: say-dep")

    async def work(client):
        assert [c.tool for c in (await client.lock_tools(one)).added] == ["other", "say-dep"]
        assert "is not locked for two" in (await client.lock_tools(two, check=True)).problems[0]
        assert [c.tool for c in (await client.lock_tools(two)).kept] == ["say-dep"]
        assert 'workflows = ["one", "two"]' in (flows / "shoal.lock").read_text()
        write(flows, "one", "tool: 'json:dumps', inputs: {obj: 1}")
        assert [c.tool for c in (await client.lock_tools(one)).removed] == ["other"]
        assert 'workflows = ["two"]' in (flows / "shoal.lock").read_text()
        two.unlink()
        assert [c.tool for c in (await client.lock_tools(one)).removed] == ["say-dep"]

    play(work)


def test_a_run_takes_what_is_locked_and_asks_no_index(play, links, flows, monkeypatch):
    flow = write(flows, "a", "tool: say-dep", more="outputs: {dep: '{{ steps.s0.outputs.dep }}'}\n")

    async def work(client):
        await client.lock_tools(flow)
        dep(links, "2.0")
        handle, view = await ran(client, flow)
        assert (handle.remarks, view.outputs) == ((), {"dep": "1.0"})
        assert view.lock_file.remarks == ()
        assert [p.version for lock in view.run.locks for p in lock.environment.packages] == ["1.0", "1.0"]
        shutil.rmtree(links)
        monkeypatch.setattr("shoal.environments.uv.find_uv_bin", lambda: "/no/such/uv")
        assert (await ran(client, flow))[1].outputs == {"dep": "1.0"}
        again = await client.retry(handle.id)
        assert (await again.wait()).outputs == {"dep": "1.0"}

    play(work)


def test_what_the_file_does_not_serve_is_resolved_and_said(play, flows):
    flow = write(flows, "a", "tool: say-dep")

    async def work(client):
        await client.lock_tools(flow)
        write(flows, "a", "tool: say-dep", "tool: say-dep@1.0")
        handle, view = await ran(client, flow)
        assert handle.remarks == ("not in shoal.lock: say-dep@1.0",)
        assert len(view.run.locks) == 2
        events = {e.name: e.data async for e in client.events(handle.id)}
        assert events["run.lock_file"] == {"digest": view.lock_file.digest, "remarks": ["not in shoal.lock: say-dep@1.0"]}

    play(work)


def test_a_broken_file_is_refused_before_anything_starts(play, flows):
    flow = write(flows, "a", "tool: 'json:dumps', inputs: {obj: 1}")
    (flows / "shoal.lock").write_text("{}")

    async def work(client):
        for call in (client.start(flow, executor="inline"), client.lock_tools(flow)):
            with pytest.raises(DefinitionError, match=r"shoal\.lock"):
                await call
        assert await client.runs() == []

    play(work)


def test_a_workflow_without_a_file_has_no_lock(play):
    async def work(client):
        with pytest.raises(InvalidInputError, match="no file"):
            await client.lock_tools(load_text("id: a\nsteps: [{name: s, tool: 'json:dumps'}]\n"))

    play(work)


# ---------------------------------------------------------------- staleness


@pytest.fixture
def remarks(play, flows):
    """Return what a run would say, after a lock was made and something changed."""

    def look(steps, change):
        flow = write(flows, "a", *steps)

        async def work(client):
            await client.lock_tools(flow)
            assert (await client.lock_tools(flow, check=True)).problems == ()
            change()
            problems = (await client.lock_tools(flow, check=True)).problems
            handle, _ = await ran(client, flow)
            assert handle.remarks == problems
            return problems

        return play(work)

    return look


def test_another_machine_is_told(remarks, monkeypatch):
    (said,) = remarks(["tool: say-dep"], lambda: monkeypatch.setattr(locked, "machine_name", lambda: "cpython 4.0 mars"))
    assert "it was locked for cpython" in said
    assert said.endswith("and this is cpython 4.0 mars")


def test_another_base_is_told_only_where_it_matters(remarks, links, monkeypatch):
    packaging = base.fixed_packages()["packaging"]
    tool_wheel(links, "packs", "1.0", "def main():\n    return 1\n", requires=["packaging"])

    def change():
        changed = {**base.fixed_packages(), "packaging": "99.0", "shoal": "99.0"}
        monkeypatch.setattr(locked, "fixed_packages", lambda: changed)

    (said,) = remarks(["tool: say-dep", "tool: packs", "tool: packs, isolation: process"][:2], change)
    assert said == (
        f"shoal.lock does not serve for packs: it was locked with packaging {packaging} of the base environment, "
        "which now has packaging 99.0"
    )


def test_a_package_that_the_base_now_fixes_is_told(remarks, monkeypatch):
    def change():
        monkeypatch.setattr(locked, "fixed_packages", lambda: {**base.fixed_packages(), "dep": "3.0"})

    assert "it holds dep, of which the base environment now has 3.0" in remarks(["tool: say-dep"], change)[0]


def test_an_entry_that_does_not_hold_what_is_asked_for_is_told(remarks, flows):
    def change():
        path = flows / "shoal.lock"
        path.write_text(path.read_text().replace('name = "say-dep"\nversion', 'name = "said-dep"\nversion'))

    assert "does not hold say-dep" in remarks(["tool: say-dep"], change)[0]


def test_a_tool_of_the_base_is_locked_by_its_version(play, flows):
    flow = write(flows, "a", "tool: 'packaging.version:parse', inputs: {version: '1.0'}, checkpoint: false")

    async def work(client):
        report = await client.lock_tools(flow)
        version = base.fixed_packages()["packaging"]
        assert report.added[0].after == (f"packaging=={version}",)
        report.file.write_text(report.file.read_text().replace(version, "0.1"))
        (problem,) = (await client.lock_tools(flow, check=True)).problems
        assert "it was locked as packaging 0.1 of the base environment, which now has packaging" in problem

    play(work)


# ---------------------------------------------------------------- sources


def source(folder, name, version="1.0"):
    """Write a project that builds offline: its backend is in its own tree."""
    project = folder / name
    project.mkdir(parents=True, exist_ok=True)
    wheel = tool_wheel(project / "made", name, version, "def main():\n    return 1\n")
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n'
    )
    (project / "backend.py").write_text(
        "import pathlib, shutil, zipfile, time\n"
        "def build_wheel(out, config_settings=None, metadata_directory=None):\n"
        f"    made = pathlib.Path('made') / {wheel.name!r}\n"
        "    shutil.copy(made, out)\n"
        "    with zipfile.ZipFile(pathlib.Path(out) / made.name, 'a') as wheel:\n"
        "        wheel.writestr('stamp.txt', str(time.time_ns()))\n"  # no two builds make the same bytes
        "    return made.name\n"
    )
    return project


def test_a_file_reference_is_locked_by_its_content_wherever_its_wheel_is(play, flows):
    project = source(flows, "mine")
    flow = write(flows, "a", "tool: 'mine @ file:./mine'", "tool: 'mine @ file:./mine', requirements: [dep]")

    async def lock(client):
        await client.lock_tools(flow)
        assert (await ran(client, flow))[0].remarks == ()

    async def elsewhere(client):  # no blob there has the wheel, and what is built has other bytes
        handle, view = await ran(client, flow)
        assert handle.remarks == ()
        return {p.wheel for tool in view.run.locks for p in tool.environment.packages if p.wheel}

    async def changed(client):
        (project / "more.txt").write_text("more")
        handle, _ = await ran(client, flow)
        assert len(handle.remarks) == 2
        assert "file:./mine has changed since it was locked" in handle.remarks[0]
        shutil.rmtree(project)
        assert "there is nothing at" in (await client.lock_tools(flow, check=True)).problems[0]

    play(lock)
    assert 'source = "file:./mine"' in (flows / "shoal.lock").read_text()
    (wheel,) = play(elsewhere, "elsewhere")
    assert wheel not in (flows / "shoal.lock").read_text()
    play(changed)


def test_a_git_reference_stays_at_its_commit(play, flows, tmp_path):
    project = source(tmp_path, "mine")

    def git(*words):
        who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main")
        done = subprocess.run(["git", *who, "-C", str(project), *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    flow = write(flows, "a", f"tool: 'mine @ git+file://{project}@main'")

    async def lock(client):
        await client.lock_tools(flow)

    async def elsewhere(client):
        _, view = await ran(client, flow)
        (tool,) = view.run.locks
        return tool.environment.packages[0].source

    async def upgrade(client):
        assert (await client.lock_tools(flow, check=True)).problems == ()
        await client.lock_tools(flow, upgrade=True)

    play(lock)
    (project / "more.txt").write_text("more")
    git("add", "-A")
    git("commit", "-qm", "two")
    assert play(elsewhere, "elsewhere") == f"git+file://{project}@{commit}"
    play(upgrade)
    assert git("rev-parse", "HEAD") in (flows / "shoal.lock").read_text()


def test_relative_references_of_two_folders_are_told_apart(play, flows):
    source(flows, "mine", "1.0")
    source(flows / "sub", "mine", "2.0")
    write(flows / "sub", "inner", "tool: 'mine @ file:./mine'")
    flow = write(flows, "a", "tool: 'mine @ file:./mine'", "workflow: ./sub/inner.yaml")

    async def work(client):
        report = await client.lock_tools(flow)
        assert [c.after for c in report.added] == [("mine==1.0",), ("mine==2.0",)]
        assert 'folder = "sub"' in report.file.read_text()
        assert str(flows) not in report.file.read_text()
        assert (await ran(client, flow))[0].remarks == ()

    play(work)


def test_a_source_that_must_be_built_and_cannot_fails_the_run_which_says_so(play, flows):
    project = source(flows, "mine")
    flow = write(flows, "a", "tool: 'mine @ file:./mine'")

    async def lock(client):
        await client.lock_tools(flow)

    async def broken(client):
        (project / "pyproject.toml").write_text(
            (project / "pyproject.toml").read_text().replace("requires = []", "requires = ['gone']")
        )
        entry = (flows / "shoal.lock").read_text()
        from shoal.environments.sources import content_of

        old = entry.split('content = "sha256:')[1][:64]
        (flows / "shoal.lock").write_text(entry.replace(old, content_of("file:./mine", str(flows))))
        handle = await client.start(flow, executor="inline")
        assert "does not build" in handle.remarks[0]
        assert (await handle.wait()).run.error.code == "tool_resolution"

    play(lock)
    play(broken, "elsewhere")


def test_the_workflow_may_be_given_as_loaded(play, flows):
    flow = load_file(write(flows, "a", "tool: say-dep"))

    async def work(client):
        assert (await client.lock_tools(flow)).written

    play(work)
