"""What uv's failures mean: a missing package, a network that is not there, a uv that is not there."""

import asyncio
import http.server
import threading

import pytest

from shoal.environments import uv as uv_module
from shoal.environments.provider import UvEnvironments
from shoal.environments.uv import shortened
from shoal.errors import EnvironmentBuildError, IndexUnavailableError, ToolResolutionError
from shoal.model.tools import EnvironmentLock, LockedPackage
from toolkit import HereRunner
from wheels import make_wheel


class Index(http.server.BaseHTTPRequestHandler):
    status = 404

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def index():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    Index.status = 404
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lock(tmp_path, blobs, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def make(url, requirement="no-such-tool==1.0"):
        variables = {
            "PIP_INDEX_URL": url,
            "PIP_CONFIG_FILE": "/dev/null",
            "HOME": str(tmp_path),
            "XDG_CONFIG_DIRS": str(tmp_path),
        }
        provider = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables)
        return asyncio.run(provider.lock([requirement], process=False, base_dir=None))

    return make


def test_an_index_without_the_package_is_a_resolution_error(lock, index):
    with pytest.raises(ToolResolutionError, match="no-such-tool was not found"):
        lock(f"http://127.0.0.1:{index.server_port}/simple")


@pytest.mark.parametrize("status", [500, 503])
def test_an_index_that_is_broken_is_unavailable(lock, index, status):
    Index.status = status
    with pytest.raises(IndexUnavailableError):
        lock(f"http://127.0.0.1:{index.server_port}/simple")


def test_an_index_that_is_not_there_is_unavailable_and_its_password_unsaid(lock):
    with pytest.raises(IndexUnavailableError) as caught:
        lock("http://user:hunter2@127.0.0.1:9/simple")
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_status == 3


def test_an_unknown_host_is_unavailable(lock):
    with pytest.raises(IndexUnavailableError):
        lock("https://no-such-host.invalid/simple")


def test_offline_is_unavailable(lock, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(IndexUnavailableError):
        lock("https://no-such-host.invalid/simple")


def test_a_build_whose_index_is_gone_is_unavailable(tmp_path, blobs, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    variables = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null"}
    provider = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables)
    packages = (LockedPackage("no-such-tool", "1.0", ("sha256:" + "0" * 64,)),)
    with pytest.raises(IndexUnavailableError):
        asyncio.run(provider.build(EnvironmentLock("0" * 64, "overlay", packages)))


def test_without_uv_nothing_can_be_built(lock, monkeypatch):
    monkeypatch.setattr(uv_module, "find_uv_bin", lambda: "/no/such/uv")
    with pytest.raises(EnvironmentBuildError, match=r"uv could not be run.*shoal doctor"):
        lock("http://127.0.0.1:9/simple")


def test_words_are_shortened_to_what_matters():
    text = "Using Python 3.11 at /x\nerror: Failed\n  cause: because http://u:p@h/x\n\nhint: try " + "y" * 5000
    words = shortened(text)
    assert words.startswith("Failed because http://***@h/x try yyy")
    assert len(words) < 1600


def test_variables_that_point_uv_elsewhere_do_not_count(tmp_path, blobs, monkeypatch):
    make_wheel(tmp_path / "links", "dep", "1.0", {"dep.py": ""})
    for name, value in {"UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "2.7", "VIRTUAL_ENV": "/none", "UV_PROJECT": "/none"}.items():
        monkeypatch.setenv(name, value)
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "links"), "PIP_CONFIG_FILE": "/dev/null"}
    provider = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables)
    found = asyncio.run(provider.lock(["dep"], process=False, base_dir=None))
    assert asyncio.run(provider.build(found)).python.startswith(str(tmp_path))
