"""What a reference resolves to: the base environment first, then a lock, with all problems told at once."""

import asyncio
import importlib
import subprocess
import sys

import pytest

from shoal.errors import IndexUnavailableError, ToolChangedError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.model.tools import EnvironmentLock, LockedPackage
from shoal.tools.resolver import Resolver
from toolkit import request
from wheels import LEGACY_TOOL


class Locking:
    """An environment provider whose index holds `known`; it really locks nothing else."""

    def __init__(self, *known):
        self.known = dict(k.split("==") for k in known)
        self.asked = []
        self.unreachable = False

    async def lock(self, requirements, *, process, base_dir):
        self.asked.append((tuple(requirements), process))
        if self.unreachable:
            raise IndexUnavailableError("no network")
        packages = []
        for text in requirements:
            name, _, version = text.partition(" @ ")[0].partition("==")
            if self.known.get(name, "") != (version or self.known.get(name)):
                raise ToolResolutionError(f"{text} was not found in the package registry")
            packages.append(LockedPackage(name, self.known[name]))
        kind = "process" if process else "overlay"
        return EnvironmentLock(Digest(f"{kind}:{','.join(requirements)}"), kind, tuple(packages))

    async def build(self, lock, *, tell=None):
        raise AssertionError("a resolver builds nothing")

    def fingerprint(self):
        return "base"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Install distributions into a folder on the path; returns the installer."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name, version, code="def main(): pass\n", entry_points=None):
        module = name.replace("-", "_")
        package = site / module
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(code)
        info = site / f"{module}-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = {module: f"{module}:main"} if entry_points is None else entry_points
        (info / "entry_points.txt").write_text("[tool.entrypoint]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
        (info / "RECORD").write_text(
            f"{module}/__init__.py,sha256={hash(code)},9\n{module}-1.dist-info/INSTALLER,sha256=pip,4\n../../bin/x,sha256=q,1\n"
            f"{module}/__pycache__/__init__.cpython-311.pyc,,\n{module}-1.dist-info/RECORD,,\n"
        )
        (info / "top_level.txt").write_text(module)
        importlib.invalidate_caches()
        from shoal.tools import base_environment

        base_environment._distributions_by_top_level.cache_clear()
        return info

    yield install
    for name in [n for n in sys.modules if n.startswith("zz_")]:
        del sys.modules[name]


@pytest.fixture
def locking():
    return Locking("zz-other==2.0", "zz-tool==1.0", "numpy==2.0")


@pytest.fixture
def resolve(blobs, locking):
    resolver = Resolver(locking, blobs)

    def one(*requests):
        locks = asyncio.run(resolver.resolve(requests))
        return locks[requests[0]] if len(requests) == 1 else [locks[r] for r in requests]

    one.resolver = resolver
    return one


def distribution(name, **more):
    return request(name, "distribution", **more)


# ---------------------------------------------------------------- distributions


def test_a_tool_of_the_base_environment_needs_no_lock_and_is_pinned(resolve, base, locking):
    base("zz-tool", "1.0")
    lock = resolve(distribution("zz-tool"))
    assert (lock.load, lock.target, lock.distribution, lock.environment) == ("entry_point", "zz-tool", ("zz-tool", "1.0"), None)
    assert len(lock.record_hash) == 64
    assert resolve(distribution("zz-tool", version="1.0.0")).environment is None
    assert locking.asked == []


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"version": "1.0"}, (("zz-tool==1.0",), False)),
        ({"requirements": ("numpy==2.0",)}, (("zz-tool", "numpy==2.0"), False)),
        ({"process": True}, (("zz-tool",), True)),
    ],
)
def test_another_version_requirements_or_a_process_need_an_environment(resolve, base, locking, more, asked):
    base("zz-tool", "0.9")
    lock = resolve(distribution("zz-tool", **more))
    assert locking.asked == [asked]
    assert lock.environment.kind == ("process" if asked[1] else "overlay")
    assert lock.distribution == ("zz-tool", "1.0")
    assert lock.record_hash is None


def test_a_direct_reference_is_locked_as_it_is(resolve, locking):
    resolve(request("zz-tool @ file:./tool", "direct", "zz-tool", url="file:./tool", base_dir="/somewhere"))
    assert locking.asked == [(("zz-tool @ file:./tool",), False)]


def test_a_distribution_without_a_tool_says_so(resolve, base):
    base("zz-tool", "1.0", entry_points={})
    with pytest.raises(ToolResolutionError, match=r"no entry point in the group 'tool.entrypoint'.*package.module:function"):
        resolve(distribution("zz-tool"))
    base("zz-tool", "1.0", entry_points={"a": "zz_tool:main", "b": "zz_tool:main"})
    with pytest.raises(ToolResolutionError, match="several tools and none under its own name: a, b"):
        resolve(distribution("zz-tool"))


def test_all_problems_are_told_at_once(resolve, locking):
    requests = [distribution("no-such-tool"), distribution("zz-tool"), request("no_such:f"), request("shel", "builtin")]
    with pytest.raises(ToolResolutionError) as caught:
        resolve(*requests)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["no-such-tool", "no_such:f", "shel"]
    assert "was not found in the package registry" in lines[0]


def test_an_unreachable_index_is_not_a_missing_tool(resolve, locking):
    locking.unreachable = True
    with pytest.raises(IndexUnavailableError) as caught:
        resolve(distribution("zz-tool"), request("math:sqrt"), distribution("zz-other"))
    assert caught.value.message.splitlines() == ["zz-tool: no network", "zz-other: no network"]


def test_an_unreachable_index_does_not_hide_what_cannot_be_had(resolve, locking):
    locking.unreachable = True
    with pytest.raises(ToolResolutionError) as caught:
        resolve(distribution("zz-tool"), request("no_such:f"), request("shel", "builtin"))
    lines = caught.value.message.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["no_such:f", "shel", "zz-tool"]
    assert lines[2] == "zz-tool: no network"


def test_equal_requests_are_resolved_once(resolve, locking):
    resolve(distribution("zz-other"), distribution("zz-other"))
    assert len(locking.asked) == 1


# ---------------------------------------------------------------- functions


def test_the_standard_library_needs_nothing(resolve, locking):
    lock = resolve(request("math:sqrt"))
    assert (lock.load, lock.target, lock.distribution, lock.environment, lock.modules) == (
        "function",
        "math:sqrt",
        None,
        None,
        None,
    )
    assert resolve(request("math:sqrt", process=True)).environment.packages == ()
    assert locking.asked == [((), True)]


def test_a_function_of_the_base_environment_is_pinned_to_its_distribution(resolve, base, locking):
    base("zz-tool", "1.0", "def helper(): pass\n")
    assert resolve(request("zz_tool:helper")).distribution == ("zz-tool", "1.0")
    resolve(request("zz_tool:helper", process=True))
    assert locking.asked == [(("zz-tool==1.0",), True)]


def test_nothing_is_imported_to_find_a_function(resolve, base, tmp_path):
    base("zz-tool", "1.0", f"open({str(tmp_path / 'imported')!r}, 'w')\ndef main(): pass\n")
    (tmp_path / "zz_beside.py").write_text("raise SystemExit\ndef f(): pass\n")
    resolve(request("zz_tool:main"), request("zz_beside:f", base_dir=str(tmp_path)))
    assert not (tmp_path / "imported").exists()
    assert "zz_tool" not in sys.modules


@pytest.mark.parametrize("code", ["def other(): pass", "other = 1\nother.f = 2"])
def test_a_missing_function_is_found_out_from_the_source(resolve, base, code):
    base("zz-tool", "1.0", code)
    with pytest.raises(ToolResolutionError, match="'zz_tool' has no function 'f'"):
        resolve(request("zz_tool:f"))


@pytest.mark.parametrize("target", ["math:nosuch", "os:nosuch", "json:nosuch", "sys:nosuch", "zipfile:nosuch"])
def test_a_function_that_the_standard_library_has_not_is_found_out(resolve, target):
    with pytest.raises(ToolResolutionError, match="has no function 'nosuch'"):
        resolve(request(target))


@pytest.mark.parametrize(
    "target", ["importlib:util.find_spec", "xml:dom.minidom.parse", "math:sqrt", "os:path.join", "curses:x"]
)
def test_a_function_that_the_standard_library_may_have_is_left_to_the_worker(resolve, target):
    assert resolve(request(target)).target == target


def test_a_compiled_module_that_is_not_loaded_is_not_loaded_to_find_out(resolve, monkeypatch):
    monkeypatch.delitem(sys.modules, "math")
    assert resolve(request("math:nosuch")).target == "math:nosuch"
    assert "math" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "from math import *",
        "def __getattr__(name): ...",
        "from math import sqrt as f",
        "globals()['f'] = 1",
        "if True:\n    f = 1",
        "(f := 1)",
        "import f",
        "def (",
    ],
)
def test_a_function_that_may_be_there_is_left_to_the_worker(resolve, base, code):
    base("zz-tool", "1.0", code)
    assert resolve(request("zz_tool:f")).target == "zz_tool:f"


def test_an_unknown_module_is_told_where_it_was_sought(resolve, tmp_path):
    with pytest.raises(ToolResolutionError, match=r"no module 'zz_none.sub'.*nor beside the workflow file.*requirements"):
        resolve(request("zz_none.sub:f", base_dir=str(tmp_path)))


def test_requirements_of_a_function_make_an_environment(resolve, locking):
    lock = resolve(request("zz_other.deep:f", requirements=("zz-other==2.0",)))
    assert locking.asked == [(("zz-other==2.0",), False)]
    assert lock.environment is not None


# ---------------------------------------------------------------- modules beside the workflow file


def test_modules_beside_the_workflow_go_along_only_if_named(resolve, blobs, tmp_path):
    (tmp_path / "zz_beside.py").write_text("def f(): pass")
    resolve(request("math:sqrt", base_dir=str(tmp_path)))
    assert blobs.data == {}
    lock = resolve(request("zz_beside:f", base_dir=str(tmp_path)))
    assert lock.modules in blobs.data
    assert resolve(request("zz_beside:f", base_dir=str(tmp_path))).modules == lock.modules
    with_requirements = resolve(request("zz_beside:f", requirements=("numpy==2.0",), base_dir=str(tmp_path)))
    assert (with_requirements.modules, with_requirements.environment.kind) == (lock.modules, "overlay")


def test_the_standard_library_is_never_shadowed(resolve, tmp_path):
    (tmp_path / "math.py").write_text("def sqrt(x): return 'shadow'")
    assert resolve(request("math:sqrt", base_dir=str(tmp_path))).modules is None


# ---------------------------------------------------------------- built-ins


def test_builtins_run_in_the_base_or_beside_requirements(resolve, locking):
    assert resolve(request("shell", "builtin", process=True)).environment is None
    assert resolve(request("python", "builtin", requirements=("numpy==2.0",))).environment.kind == "overlay"
    with pytest.raises(ToolResolutionError, match="beside the base environment"):
        resolve(request("python", "builtin", requirements=("numpy==2.0",), process=True))


# ---------------------------------------------------------------- resume


def check(resolve, lock, *, accept_change=False):
    return asyncio.run(resolve.resolver.check(lock, accept_change=accept_change))


def test_an_unchanged_tool_keeps_its_lock(resolve, base):
    info = base("zz-tool", "1.0")
    lock = resolve(distribution("zz-tool"))
    record = (info / "RECORD").read_text().replace("sha256=pip", "sha256=uv").replace("sha256=q", "sha256=other")
    (info / "RECORD").write_text(record)
    assert check(resolve, lock) is lock
    environment = resolve(distribution("zz-other"))
    assert check(resolve, environment) is environment


def test_a_changed_version_is_built_as_it_was_pinned(resolve, base):
    base("zz-tool", "1.0")
    lock = resolve(distribution("zz-tool"))
    base("zz-tool", "1.1")
    again = check(resolve, lock)
    assert again.environment.packages == (LockedPackage("zz-tool", "1.0"),)
    assert (again.load, again.target, again.distribution) == ("entry_point", "zz-tool", ("zz-tool", "1.0"))


def test_a_version_that_is_not_to_be_had_needs_a_word_of_the_user(resolve, base, locking):
    base("zz-tool", "1.0")
    lock = resolve(distribution("zz-tool"))
    base("zz-tool", "1.1")
    locking.known.clear()
    with pytest.raises(ToolChangedError, match=r"pinned to zz-tool 1.0.*is now 1.1.*--accept-tool-change"):
        check(resolve, lock)
    assert check(resolve, lock, accept_change=True).distribution == ("zz-tool", "1.1")


def test_other_files_under_the_same_version_are_a_change(resolve, base):
    base("zz-tool", "1.0")
    lock = resolve(distribution("zz-tool"))
    base("zz-tool", "1.0", LEGACY_TOOL)
    with pytest.raises(ToolChangedError, match="other files under the same version"):
        check(resolve, lock)
    assert check(resolve, lock, accept_change=True).record_hash != lock.record_hash


def test_the_resolver_loads_no_user_code_and_no_ray():
    code = "import sys, shoal.tools.resolver; print({'ray', 'httpx', 'sqlalchemy', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
