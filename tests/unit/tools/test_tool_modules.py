"""The modules beside a workflow file: what goes into their zip, and how a worker puts them on its path."""

import importlib
import io
import subprocess
import sys
import zipfile

import pytest

from shoal.errors import StoreUnavailableError, ToolResolutionError
from shoal.tools import module_archive
from shoal.tools.module_archive import archive
from shoal.tools.module_path import ModulePath
from toolkit import DictBlobs, function_lock


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def names(data):
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_modules_and_packages_with_their_data_belong_to_it(tmp_path):
    for name in (
        "report.py",
        "workflow.yaml",
        ".hidden.py",
        ".git/x.py",
        "package/__init__.py",
        "package/template.md",
        "package/sub/more.txt",
        "package/__pycache__/x.pyc",
        "loose/module.py",
        "loose/notes.txt",
        "not-a-name/x.py",
        "venv/pyvenv.cfg",
        "venv/lib/x.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    assert names(archive(tmp_path)) == [
        "loose/module.py",
        "package/__init__.py",
        "package/sub/more.txt",
        "package/template.md",
        "report.py",
    ]


def test_the_same_files_make_the_same_bytes(tmp_path):
    import os

    (tmp_path / "a.py").write_text("x = 1")
    first = archive(tmp_path)
    os.utime(tmp_path / "a.py", (1, 1))
    (tmp_path / "a.py").chmod(0o600)
    assert archive(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2")
    assert archive(tmp_path) != first


def test_what_git_ignores_stays_behind(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("build/\nsecret.py\n")
    (tmp_path / "flows" / "build").mkdir(parents=True)
    for name in ("a.py", "secret.py", "build/b.py"):
        (tmp_path / "flows" / name).write_text("")
    assert names(archive(tmp_path / "flows")) == ["a.py"]


def test_too_much_is_refused_with_the_largest_named(tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("")
    with (tmp_path / "data" / "huge.bin").open("wb") as file:
        file.truncate(module_archive.SIZE_LIMIT + 1)
    with pytest.raises(ToolResolutionError, match=r"50.0 MiB.*largest: data/huge.bin \(50.0 MiB\)"):
        archive(tmp_path)
    monkeypatch.setattr(module_archive, "FILE_LIMIT", 2)
    (tmp_path / "data" / "huge.bin").write_text("")
    with pytest.raises(ToolResolutionError, match=r"3 files.*most files: data \(2\)"):
        archive(tmp_path)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    before = (list(sys.path), set(sys.modules))
    yield folder
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        if name.partition(".")[0] in ("zz_flow", "zz_package"):
            del sys.modules[name]


def folder_of(tmp_path, name, text):
    folder = tmp_path / name
    (folder / "zz_package").mkdir(parents=True)
    (folder / "zz_flow.py").write_text(f"from zz_package import text\nclass Kind: pass\ndef f(): return text() + {text!r}\n")
    (folder / "zz_package" / "__init__.py").write_text(
        "from pathlib import Path\ndef text(): return Path(__file__).with_name('data.txt').read_text()\n"
    )
    (folder / "zz_package" / "data.txt").write_text(name)
    return archive(folder)


def test_a_tool_beside_the_workflow_is_called_from_the_blob(tmp_path, invoke):
    digest = invoke.blobs.put(folder_of(tmp_path, "one", "!"))
    assert invoke.outputs(invoke(function_lock("zz_flow:f", modules=digest))) == {"result": "one!"}


def test_a_traceback_names_a_module_as_its_author_does(tmp_path, invoke):
    folder = tmp_path / "flow"
    (folder / "zz_package").mkdir(parents=True)
    (folder / "zz_flow.py").write_text("from zz_package import deep\ndef f(): deep()\n")
    (folder / "zz_package" / "__init__.py").write_text("def deep(): raise ValueError('x')\n")
    outcome = invoke(function_lock("zz_flow:f", modules=invoke.blobs.put(archive(folder))))
    assert 'File "zz_flow.py", line 2, in f\n    def f(): deep()' in outcome.error.traceback
    assert 'File "zz_package/__init__.py", line 1, in deep' in outcome.error.traceback


def test_two_states_of_a_folder_in_one_process_do_not_mix(tmp_path, invoke):
    one = function_lock("zz_flow:f", modules=invoke.blobs.put(folder_of(tmp_path, "one", "1")))
    two = function_lock("zz_flow:f", modules=invoke.blobs.put(folder_of(tmp_path, "two", "2")))
    answers = [invoke.outputs(invoke(lock))["result"] for lock in (one, two, one, two)]
    assert answers == ["one1", "two2", "one1", "two2"]


def test_classes_stay_the_same_over_a_swap(tmp_path):
    blobs = DictBlobs()
    one, two = (blobs.put(folder_of(tmp_path, name, "")) for name in ("one", "two"))
    path = ModulePath(blobs)
    path.activate(one)
    kind = importlib.import_module("zz_flow").Kind
    path.activate(two)
    assert importlib.import_module("zz_flow").Kind is not kind
    path.activate(one)
    assert importlib.import_module("zz_flow").Kind is kind


def test_they_stand_behind_the_standard_library(tmp_path):
    blobs = DictBlobs()
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "colorsys.py").write_text("raise AssertionError('shadowed')")
    ModulePath(blobs).activate(blobs.put(archive(tmp_path / "flow")))
    sys.modules.pop("colorsys", None)
    assert importlib.import_module("colorsys").rgb_to_hsv


def test_a_folder_that_a_cleaner_thinned_out_is_filled_again(tmp_path, temporary):
    blobs = DictBlobs()
    digest = blobs.put(folder_of(tmp_path, "one", ""))
    ModulePath(blobs).activate(digest)
    (file,) = temporary.rglob("zz_flow.py")
    file.unlink()
    ModulePath(blobs).activate(digest)
    assert file.exists()


def test_a_folder_of_another_is_refused(tmp_path, temporary):
    import os

    blobs = DictBlobs()
    folder = temporary / f"shoal-modules-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(StoreUnavailableError, match="not a folder of this user alone"):
        ModulePath(blobs).activate(blobs.put(folder_of(tmp_path, "one", "")))


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "a\\..\\evil.py"])
def test_a_zip_cannot_write_outside_of_its_folder(tmp_path, name):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        target.writestr(name, "x")
    blobs = DictBlobs()
    with pytest.raises(StoreUnavailableError, match="outside"):
        ModulePath(blobs).activate(blobs.put(data.getvalue()))
    assert list(tmp_path.rglob("evil*")) == []
