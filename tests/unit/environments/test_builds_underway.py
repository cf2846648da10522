"""Several who want one environment, builds ahead of their use, and what is kept from removal."""

import asyncio
import functools
import hashlib
import http.server
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from shoal.environments.cache import READY
from shoal.environments.provider import UvEnvironments
from shoal.environments.underway import AHEAD, BuildsUnderway
from shoal.errors import EnvironmentBuildError, IndexUnavailableError
from shoal.model.tools import BuiltEnvironment
from toolkit import HereRunner
from wheels import make_wheel

BUILT = BuiltEnvironment("k", "/p", 1.5, reused=False)


class Builds:
    """Builds that end when they are told to."""

    def __init__(self):
        self.begun = []
        self.most = 0
        self.now = 0
        self.go = asyncio.Event()

    def of(self, name, error=None):
        async def build():
            self.begun.append(name)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.go.wait()
            finally:
                self.now -= 1
            if error is not None:
                raise error
            return BUILT

        return build


def play(work):
    asyncio.run(asyncio.wait_for(work(), 10))


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def test_fifty_who_want_one_environment_wait_for_one_build():
    async def work():
        builds, underway = Builds(), BuildsUnderway()
        waiting = [asyncio.ensure_future(underway.wait(("d", None), builds.of("d"))) for _ in range(50)]
        await settle()
        waiting[0].cancel()
        builds.go.set()
        found = await asyncio.gather(*waiting[1:])
        assert builds.begun == ["d"]
        assert {(b.key, b.reused, b.seconds) for b in found} == {("k", True, 0.0)}

    play(work)


def test_builds_ahead_are_bounded_in_order_and_never_in_the_way():
    async def work():
        builds, underway = Builds(), BuildsUnderway()
        ahead = [asyncio.ensure_future(underway.ahead((n, None), builds.of(n))) for n in "abcd"]
        again = asyncio.ensure_future(underway.ahead(("a", None), builds.of("a")))
        await settle()
        assert builds.begun == ["a", "b"]
        assert builds.most == AHEAD
        needed = asyncio.ensure_future(underway.wait(("d", None), builds.of("d")))
        await settle()
        assert builds.begun == ["a", "b", "d"]
        builds.go.set()
        assert (await needed) == BUILT
        await asyncio.gather(*ahead, again)
        assert builds.begun.count("c") == 1

    play(work)


def test_a_build_ahead_is_waited_for_and_its_error_kept_for_whoever_needs_it():
    async def work():
        builds, underway = Builds(), BuildsUnderway()
        error = EnvironmentBuildError("no room")
        ahead = asyncio.ensure_future(underway.ahead(("a", None), builds.of("a", error)))
        await settle()
        builds.go.set()
        await ahead
        with pytest.raises(EnvironmentBuildError, match="no room"):
            await underway.wait(("a", None), builds.of("a"))
        assert await underway.wait(("a", None), builds.of("a")) == BUILT
        gone = IndexUnavailableError("gone")
        await underway.ahead(("b", None), builds.of("b", gone))
        assert await underway.wait(("b", None), builds.of("b")) == BUILT

    play(work)


def test_cancelling_a_preparation_stops_what_has_not_begun():
    async def work():
        builds, underway = Builds(), BuildsUnderway()
        ahead = [asyncio.ensure_future(underway.ahead((n, None), builds.of(n))) for n in "abc"]
        await settle()
        for task in ahead:
            task.cancel()
        await settle()
        assert builds.begun == ["a", "b"]
        waiting = asyncio.ensure_future(underway.wait(("a", None), builds.of("a")))
        builds.go.set()
        assert await waiting == BUILT
        assert builds.begun == ["a", "b"]

    play(work)


# ---------------------------------------------------------------- the provider


class CountingRunner(HereRunner):
    def __init__(self):
        self.nodes = []

    async def run_on_node(self, function, *args, node=None):
        self.nodes.append(node)
        return await super().run_on_node(function, *args)

    def here(self):
        return "me"


@pytest.fixture
def runner():
    return CountingRunner()


@pytest.fixture
def counted(tmp_path, blobs, variables, runner, links):
    make_wheel(links, "dep", "1.0", {"dep.py": ""})
    return UvEnvironments(tmp_path / "environments", blobs, runner, variables=variables)


def test_a_runner_is_asked_once_and_not_for_what_stands_here(counted, runner):
    async def work():
        lock = await counted.lock(["dep"], process=False, base_dir=None)
        await counted.prepare([lock, lock])
        built = await asyncio.gather(*(counted.build(lock) for _ in range(50)))
        assert {b.reused for b in built} == {True}
        assert runner.nodes == [None]
        assert (await counted.build(lock, node="me")).reused
        assert (await counted.build(lock, node="other")).reused
        assert runner.nodes == [None, "other"]

    play(work)


def test_what_was_built_for_this_process_stays_until_it_is_closed(counted, tmp_path):
    lock = asyncio.run(counted.lock(["dep"], process=False, base_dir=None))
    built = asyncio.run(counted.build(lock))
    folder = counted.folder()
    note = Path(built.python).parents[1] / READY
    os.utime(note, (time.time() - 7200,) * 2)
    assert folder.in_use(built.key)
    assert folder.prune(older_than=3600, max_size=0) == ()
    counted.close()
    assert [e.key for e in folder.prune(older_than=3600, max_size=None, dry_run=True)] == [built.key]
    assert folder.prune(older_than=86_400, max_size=10**12) == ()
    (gone,) = folder.prune(older_than=3600, max_size=None)
    assert (gone.digest, gone.packages, gone.kind) == (lock.digest, ("dep==1.0",), "overlay")
    assert folder.standing() == ()
    assert not asyncio.run(counted.build(lock)).reused


def test_pruning_by_size_takes_the_longest_unused(counted, links):
    make_wheel(links, "dep", "2.0", {"dep.py": "x" * 10})
    for age, version in ((7200, "1.0"), (3600, "2.0")):
        lock = asyncio.run(counted.lock([f"dep=={version}"], process=False, base_dir=None))
        built = asyncio.run(counted.build(lock))
        os.utime(Path(built.python).parents[1] / READY, (time.time() - age,) * 2)
    counted.close()
    first, second = counted.folder().standing()
    assert first.built > time.time() - 100
    assert counted.folder().prune(older_than=None, max_size=first.size + second.size - 1) == (first,)


def test_pruning_takes_what_killed_builds_left_and_no_build_under_way(counted):
    folder = counted.folder()
    left = folder.root / ".new-abc-1234"
    busy = folder.root / ".new-def-1234"
    for path in (left, busy):
        (path / "bin").mkdir(parents=True)
    (folder.root / "locks").mkdir()
    with folder.building("def"):
        folder.prune(older_than=None, max_size=None)
        assert (left.exists(), busy.exists()) == (False, True)
    folder.prune(older_than=None, max_size=None)
    assert not busy.exists()


# ---------------------------------------------------------------- without an index


def offline(tmp_path, blobs, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    variables = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)}
    return UvEnvironments(tmp_path / "elsewhere", blobs, HereRunner(), variables=variables)


def test_without_an_index_an_error_names_what_must_come_from_it(counted, tmp_path, blobs, monkeypatch):
    lock = asyncio.run(counted.lock(["dep"], process=False, base_dir=None))
    alone = offline(tmp_path, blobs, monkeypatch)
    with pytest.raises(IndexUnavailableError, match=r"^dep==1\.0 must come from the package index"):
        asyncio.run(alone.build(lock))
    with pytest.raises(IndexUnavailableError, match=r"^dep>=1, other==2 must be resolved with the package index"):
        asyncio.run(alone.lock(["other==2", "dep>=1"], process=False, base_dir=None))


def test_an_environment_that_stands_needs_neither_index_nor_resolver(counted, tmp_path, blobs, monkeypatch):
    lock = asyncio.run(counted.lock(["dep"], process=False, base_dir=None))
    built = asyncio.run(counted.build(lock))
    monkeypatch.setattr("shoal.environments.uv.find_uv_bin", lambda: "/no/such/uv")
    again = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables={})
    found = asyncio.run(again.build(lock))
    assert (found.python, found.reused) == (built.python, True)
    assert subprocess.run([found.python, "-c", "import dep"], check=False).returncode == 0


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_what_is_in_the_cache_is_not_asked_of_the_index_again(tmp_path, blobs, monkeypatch):
    """An index of one package that is then gone: the environment is built from what was downloaded, in another home."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    wheel = make_wheel(tmp_path / "index" / "dep", "dep", "1.0", {"dep.py": ""})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(tmp_path / "index")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    variables = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/",
        "PIP_CONFIG_FILE": os.devnull,
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path),
    }
    try:
        first = UvEnvironments(tmp_path / "first", blobs, HereRunner(), variables=variables)
        lock = asyncio.run(first.lock(["dep"], process=False, base_dir=None))
        assert not asyncio.run(first.build(lock)).reused
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    second = UvEnvironments(tmp_path / "second", blobs, HereRunner(), variables=variables)
    assert not asyncio.run(second.build(lock)).reused
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    third = UvEnvironments(tmp_path / "third", blobs, HereRunner(), variables=variables)
    with pytest.raises(IndexUnavailableError, match=r"dep==1\.0 must come from the package index"):
        asyncio.run(third.build(lock))
