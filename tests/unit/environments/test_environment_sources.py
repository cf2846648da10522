"""Direct references: built once into a wheel that is kept by its digest."""

import asyncio
import shutil
import subprocess

import pytest

from shoal.environments import sources
from shoal.environments.provider import UvEnvironments
from shoal.errors import EnvironmentBuildError, ToolResolutionError
from toolkit import HereRunner
from wheels import make_wheel

PROJECT = """
[project]
name = "local-tool"
version = "{version}"
dependencies = []

[project.entry-points."tool.entrypoint"]
local_tool = "local_tool:main"

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "flows" / "local tool"
    (folder / "src" / "local_tool").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(version="0.3"))
    (folder / "src" / "local_tool" / "__init__.py").write_text("def main(): return 'local'\n")
    return folder


@pytest.fixture
def builds(monkeypatch):
    """Count the builds of wheels."""
    built = []
    real = sources._build

    def counted(path, uv):
        built.append(path)
        return real(path, uv)

    monkeypatch.setattr(sources, "_build", counted)
    return built


@pytest.fixture
def lock(provider, tmp_path):
    def make(*requirements, base_dir=tmp_path / "flows", process=False):
        return asyncio.run(provider.lock(requirements, process=process, base_dir=base_dir and str(base_dir)))

    return make


def test_a_folder_becomes_a_wheel_once(project, lock, provider, blobs, builds, tmp_path, variables):
    found = lock("local-tool @ file:./local%20tool")
    (package,) = found.packages
    assert (package.name, package.version, package.source) == ("local-tool", "0.3", "file:./local%20tool")
    assert package.hashes == (f"sha256:{package.wheel}",)
    assert package.wheel in blobs.data
    assert lock("local-tool @ file:./local%20tool") == found
    again = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables)
    assert (
        asyncio.run(again.lock([f"local-tool @ {project.as_uri()}"], process=True, base_dir=None)).packages[0].wheel
        == package.wheel
    )
    assert len(builds) == 1
    shutil.rmtree(project)
    built = asyncio.run(provider.build(found))
    code = "import local_tool; print(local_tool.main())"
    assert subprocess.run([built.python, "-c", code], capture_output=True, text=True, check=True).stdout == "local\n"


def test_a_changed_folder_is_built_anew(project, lock, builds):
    first = lock("local-tool @ file:local%20tool")
    (project / "src" / "local_tool" / "__init__.py").write_text("def main(): return 'changed'\n")
    assert lock("local-tool @ file:local%20tool").digest != first.digest
    assert len(builds) == 2


def test_a_wheel_that_is_gone_from_the_blobs_is_built_again_or_told(project, lock, provider, blobs, builds):
    found = lock("local-tool @ file:local%20tool")
    blobs.data.clear()
    with pytest.raises(EnvironmentBuildError, match="gone from the blobs"):
        asyncio.run(provider.build(found))
    again = lock("local-tool @ file:local%20tool")
    assert again.packages[0].wheel in blobs.data
    assert len(builds) == 2


def test_a_wheel_is_taken_as_it_is_with_what_it_requires(links, lock, builds, tmp_path):
    make_wheel(links, "dep", "1.5", {"dep.py": ""})
    make_wheel(tmp_path / "flows", "needy", "1.0", {"needy.py": ""}, requires=["dep>=1"])
    found = lock("needy @ file:./needy-1.0-py3-none-any.whl", "dep<2")
    assert [(p.name, p.version, p.source) for p in found.packages] == [
        ("dep", "1.5", ""),
        ("needy", "1.0", "file:./needy-1.0-py3-none-any.whl"),
    ]
    assert builds == []


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_repository_is_pinned_to_a_commit(project, lock, builds):
    repository = project.parent
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "one")
    git(repository, "tag", "-am", "a note", "v1")
    commit = git(repository, "rev-parse", "HEAD")
    (project / "pyproject.toml").write_text(PROJECT.format(version="0.4"))
    git(repository, "commit", "-qam", "two")
    url = f"git+{repository.as_uri()}"
    where = "#subdirectory=local tool".replace(" ", "%20")
    tagged = lock(f"local-tool @ {url}@v1{where}")
    (package,) = tagged.packages
    assert (package.version, package.source) == ("0.3", f"{url}@{commit}{where}")
    assert lock(f"local-tool @ {url}@{commit}{where}") == tagged
    assert len(builds) == 1
    assert lock(f"local-tool @ {url}{where}").packages[0].version == "0.4"
    assert lock(f"local-tool @ {url}@main{where}").packages[0].version == "0.4"
    with pytest.raises(ToolResolutionError, match="no tag or branch 'v9'"):
        lock(f"local-tool @ {url}@v9{where}")


@pytest.mark.parametrize(
    ("reference", "base_dir", "said"),
    [
        ("x @ file:./absent", True, "there is nothing at"),
        ("x @ file:./relative", False, "relative, and the workflow came from no file"),
        ("x @ file:./empty", True, "no pyproject.toml"),
        ("x @ file:./text.txt", True, "no wheel, no source archive and no folder"),
        ("x @ file:./broken.whl", True, "not a wheel that can be read"),
        ("x @ file:./local%20tool", True, "is the package local-tool, not x"),
        ("x @ https://example.org/x.whl", True, "only file: and git"),
        ("x @ git+ext::sh%20-c%20touch%20pwned", True, "git"),
        ("x @ git+file:///absent/repository", True, "git"),
    ],
)
def test_what_is_not_there_is_told_plainly(project, lock, tmp_path, reference, base_dir, said):
    (tmp_path / "flows" / "empty").mkdir()
    (tmp_path / "flows" / "text.txt").write_text("")
    (tmp_path / "flows" / "broken.whl").write_text("not a zip")
    with pytest.raises(ToolResolutionError, match=said):
        lock(reference, base_dir=tmp_path / "flows" if base_dir else None)


def test_a_project_that_does_not_build_says_why(project, lock):
    (project / "pyproject.toml").write_text(
        "[project]\nname = 'local-tool'\nversion = 'not a version'\n[build-system]\nrequires=['uv_build']\nbuild-backend='uv_build'\n"
    )
    with pytest.raises(ToolResolutionError, match=r"does not build.*version"):
        lock("local-tool @ file:./local%20tool")


def test_a_wheel_cannot_name_a_path(lock, tmp_path):
    import zipfile

    folder = tmp_path / "flows"
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
        wheel.writestr("x-1.dist-info/METADATA", "Name: x\nVersion: 1\n")
        wheel.writestr("x-1.dist-info/WHEEL", "Tag: py3-none-../../../evil\n")
    with pytest.raises(ToolResolutionError, match="not a wheel that can be read"):
        lock("x @ file:./x.whl")
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("spelling", ["file:./{}", "file:{}", "file://./{}", "file:///{root}/{}", "file://localhost{root}/{}"])
def test_every_spelling_of_a_path_is_understood(lock, tmp_path, spelling):
    root = tmp_path / "flows"
    wheel = make_wheel(root, "plain", "1.0", {"plain.py": ""})
    assert lock(f"plain @ {spelling.format(wheel.name, root=root)}").packages[0].version == "1.0"
