"""The promises of `EnvironmentProvider`, as tests that every provider passes.

Subclass `EnvironmentProviderSuite` in a test module of your own; pytest collects the tests from the subclass:

    class TestMyEnvironments(EnvironmentProviderSuite):
        @pytest.fixture
        def publish(self, tmp_path):
            return lambda name, version, files, requires=(): ...

        @pytest.fixture
        def provider(self, tmp_path, publish):
            return MyEnvironments(...)

`publish` makes a pure-Python package known to the provider's index: `files` are paths in site-packages and their text. The
index knows nothing else, and `provider` stands on an empty cache.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import EnvironmentBuildError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.model.run import Progress
from shoal.model.tools import BuiltEnvironment, EnvironmentLock, LockedPackage
from shoal.ports import EnvironmentProvider

Publish = Callable[..., object]


def ask(built: BuiltEnvironment, code: str, *flags: str) -> Any:
    """Return what code prints, as JSON, in an environment."""
    done = subprocess.run([built.python, *flags, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


class EnvironmentProviderSuite:
    """What every `EnvironmentProvider` does; see the module for how to use it."""

    @pytest.fixture
    def publish(self) -> Publish:
        """Return what makes a package known: `publish(name, version, files, requires=())`."""
        raise NotImplementedError

    @pytest.fixture
    def provider(self, publish: Publish) -> EnvironmentProvider:
        """Return a provider on an empty cache that knows what was published."""
        raise NotImplementedError

    @pytest.fixture
    def alpha(self, publish: Publish) -> None:
        """Publish `suite-alpha` in two versions, and `suite-beta`, which needs the older one."""
        for version in ("1.0", "2.0"):
            publish("suite-alpha", version, {"suite_alpha.py": f"VERSION = {version!r}\n"})
        publish("suite-beta", "1.0", {"suite_beta.py": ""}, ["suite-alpha<2"])

    def _lock(self, provider: EnvironmentProvider, *requirements: str, process: bool = False) -> EnvironmentLock:
        return asyncio.run(provider.lock(requirements, process=process, base_dir=None))

    def _build(self, provider: EnvironmentProvider, lock: EnvironmentLock) -> BuiltEnvironment:
        return asyncio.run(provider.build(lock))

    @pytest.mark.usefixtures("alpha")
    def test_a_lock_is_exact(self, provider: EnvironmentProvider) -> None:
        """A lock names every package with version and hash, whatever the order in which they were asked for."""
        lock = self._lock(provider, "suite-beta", "suite-alpha")
        assert [(p.name, p.version) for p in lock.packages] == [("suite-alpha", "1.0"), ("suite-beta", "1.0")]
        assert all(h.startswith("sha256:") for p in lock.packages for h in p.hashes)
        assert all(p.hashes for p in lock.packages)
        assert self._lock(provider, "suite-alpha", "suite-beta") == lock

        async def side_by_side() -> list[EnvironmentLock]:
            asked = (provider.lock([f"suite-alpha=={v}"], process=False, base_dir=None) for v in ("1.0", "2.0", "1.0"))
            return list(await asyncio.gather(*asked))

        one, two, again = asyncio.run(side_by_side())
        assert (one == again, one == two) == (True, False)
        assert self._lock(provider, "suite-alpha==2.0").digest != self._lock(provider, "suite-alpha==1.0").digest

    @pytest.mark.usefixtures("alpha")
    @pytest.mark.parametrize(
        ("requirements", "word"),
        [
            (["suite-gamma"], "suite-gamma"),
            (["suite-alpha==9.9"], "9.9"),
            (["suite-beta", "suite-alpha==2.0"], "suite-beta"),
            (["not a requirement"], "not a requirement"),
        ],
    )
    def test_what_cannot_be_met_is_refused(self, provider: EnvironmentProvider, requirements: Sequence[str], word: str) -> None:
        """An unknown package, an impossible version and a conflict are errors that name them, in few words."""
        with pytest.raises(ToolResolutionError) as caught:
            self._lock(provider, *requirements)
        assert word in str(caught.value)
        assert len(str(caught.value)) < 3000

    @pytest.mark.usefixtures("alpha")
    def test_an_overlay_sees_the_base_and_its_own_first(self, provider: EnvironmentProvider) -> None:
        """An overlay's interpreter finds the locked packages, then those of the base; also with `-I`."""
        built = self._build(provider, self._lock(provider, "suite-alpha==1.0"))
        code = "import json, shoal, packaging, suite_alpha; print(json.dumps([suite_alpha.VERSION, shoal.__version__]))"
        assert ask(built, code) == ["1.0", importlib.metadata.version("shoal")]
        assert ask(built, code, "-I") == ["1.0", importlib.metadata.version("shoal")]

    @pytest.mark.usefixtures("alpha")
    def test_a_process_environment_holds_nothing_of_the_base(self, provider: EnvironmentProvider, tmp_path: Path) -> None:
        """A process environment has the locked packages and the standard library."""
        built = self._build(provider, self._lock(provider, "suite-alpha", process=True))
        file = tmp_path / "child.py"
        file.write_text(
            "import importlib.util as u, json, suite_alpha\n"
            "print(json.dumps([suite_alpha.VERSION, *[n for n in ('ray', 'shoal', 'packaging') if u.find_spec(n)]]))"
        )
        done = subprocess.run([built.python, "-I", str(file)], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == ["2.0"]
        bare = self._build(provider, self._lock(provider, process=True))
        assert ask(bare, "print(1)", "-I") == 1

    @pytest.mark.usefixtures("alpha")
    def test_two_versions_stand_side_by_side(self, provider: EnvironmentProvider) -> None:
        """Environments of different locks do not touch each other."""
        locks = [self._lock(provider, f"suite-alpha=={version}") for version in ("1.0", "2.0")]

        async def both() -> list[BuiltEnvironment]:
            return list(await asyncio.gather(*(provider.build(lock) for lock in locks)))

        built = asyncio.run(both())
        code = "import json, suite_alpha; print(json.dumps(suite_alpha.VERSION))"
        assert [ask(b, code) for b in built] == ["1.0", "2.0"]

    @pytest.mark.usefixtures("alpha")
    def test_it_is_built_once_and_told(self, provider: EnvironmentProvider) -> None:
        """Of builds of one lock at the same time one builds and the others wait; later ones find it there."""
        lock = self._lock(provider, "suite-alpha==1.0")
        told: list[Progress] = []

        async def all_at_once() -> list[BuiltEnvironment]:
            return list(await asyncio.gather(*(provider.build(lock, tell=told.append) for _ in range(4))))

        built = asyncio.run(all_at_once())
        assert sorted(b.reused for b in built) == [False, True, True, True]
        assert len({(b.key, b.python) for b in built}) == 1
        assert any("suite-alpha" in p.note for p in told)
        assert self._build(provider, lock).reused

    @pytest.mark.usefixtures("alpha")
    def test_it_is_built_ahead_and_its_trouble_kept(self, provider: EnvironmentProvider) -> None:
        """What was prepared stands when it is needed; what could not be is told by the build that needs it, not before."""
        lock = self._lock(provider, "suite-alpha==1.0")
        bad = LockedPackage("suite-alpha", "1.0", ("sha256:" + "0" * 64,))
        broken = EnvironmentLock(Digest("0" * 64), "overlay", (bad,))

        async def ahead() -> BuiltEnvironment:
            await provider.prepare([broken, lock, lock])
            with pytest.raises(EnvironmentBuildError):
                await provider.build(broken)
            return await provider.build(lock)

        assert asyncio.run(ahead()).reused

    def test_what_a_worker_has_loaded_stays_as_it_is(self, provider: EnvironmentProvider, publish: Publish) -> None:
        """A tool that needs another version of what a Ray worker has imported is refused, and told the way out."""
        for version in ("3.20.0", "99.0"):
            publish("protobuf", version, {"google/protobuf/__init__.py": ""})
        publish("suite-old", "1.0", {"suite_old.py": ""}, ["protobuf<4"])
        publish("suite-fits", "1.0", {"suite_fits.py": ""}, ["protobuf>=4", "ray", "shoal"])
        with pytest.raises(ToolResolutionError, match=r"protobuf .* of the base environment.*isolation: process"):
            self._lock(provider, "suite-old")
        assert [p.name for p in self._lock(provider, "suite-fits").packages] == ["suite-fits"]
        alone = self._lock(provider, "suite-old", process=True)
        assert [(p.name, p.version) for p in alone.packages] == [("protobuf", "3.20.0"), ("suite-old", "1.0")]

    def test_the_fingerprint_is_steady(self, provider: EnvironmentProvider) -> None:
        """The base environment has one fingerprint."""
        assert provider.fingerprint() == provider.fingerprint()
        assert provider.fingerprint()
