"""The built-in tools, run for real."""

import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from shoal.errors import RunCanceledError, StepFailedError, StepTimeoutError
from shoal.model.tools import ToolLock
from shoal.tools.builtins import BUILTINS, HOST_TOOLS
from toolkit import request


def builtin(name):
    return ToolLock(request(name, "builtin"), "builtin", name)


@pytest.fixture
def run(invoke):
    def call(name, inputs, **more):
        outcome = invoke(builtin(name), inputs, **more)
        return invoke.outputs(outcome) if outcome.kind == "succeeded" else outcome

    call.invoke = invoke
    return call


def test_all_that_reach_the_host_are_listed():
    assert HOST_TOOLS == {"shell", "http", "python"} == set(BUILTINS)


# ---------------------------------------------------------------- shell


def test_a_script_gets_its_values_as_variables_and_never_as_text(run, capfd):
    evil = "'; echo pwned; $(echo pwned) `echo pwned` \n"
    out = run("shell", {"script": 'printf %s "$text"; printf %s "$data" >&2', "text": evil, "data": {"a": [1]}})
    assert out == {"stdout": evil, "stderr": '{"a":[1]}', "exit_code": 0, "truncated": False}
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == (evil, '{"a":[1]}')


def test_characters_cut_by_a_read_are_whole_in_the_log(run, capfd):
    run("shell", {"script": "printf '\\303'; sleep 0.05; printf '\\244'"})
    assert capfd.readouterr().out == "ä"


def test_a_failing_command_ends_the_script_and_the_step(run):
    outcome = run("shell", {"script": "echo to-the-log >&2; false; echo unreached"})
    assert isinstance(outcome.error, StepFailedError)
    assert "exit code 1" in outcome.error.message
    assert "to-the-log" in outcome.error.message
    assert outcome.retryable
    assert run("shell", {"script": "exit 3", "check": False})["exit_code"] == 3
    assert "nounset" in run("shell", {"script": 'echo "$nounset"'}).error.message


def test_a_failing_script_says_so_once(run):
    error = run("shell", {"script": "echo why >&2; exit 3"}).error
    assert error.message == "the script ended with exit code 3:\nwhy"
    assert not error.traceback, "there is no frame of the tool's to show"
    assert "FileNotFoundError" in run("shell", {"script": "", "cwd": "/no/such/folder"}).error.traceback, "a cause is shown"


def test_bash_fails_in_a_pipe(run):
    assert run("shell", {"script": "false | cat"})["exit_code"] == 0
    assert run("shell", {"script": "false | cat", "shell": "bash", "check": False})["exit_code"] == 1
    assert "not a shell" in run("shell", {"script": "", "shell": "/usr/bin/python3"}).error.message


def test_stdin_and_cwd(run, tmp_path):
    out = run("shell", {"script": "cat; pwd", "stdin": "x" * 200_000, "cwd": str(tmp_path)})
    assert out["stdout"] == "x" * 200_000 + f"{tmp_path}\n"
    assert not run("shell", {"script": "", "cwd": str(tmp_path / "absent")}).retryable


@pytest.mark.parametrize(("name", "value"), [("a-b", "x"), ("ok", "x" * 3_000_000), ("ok", {1, 2})])
def test_what_cannot_be_a_variable_is_refused(run, name, value):
    from shoal.model.encoding import encode
    from shoal.model.values import Arguments

    arguments = Arguments({"script": "true", name: None}, (((name,), encode(value, run.invoke.blobs.put)),))
    outcome = run.invoke(builtin("shell"), arguments=arguments)
    assert outcome.error.message
    assert not outcome.retryable


def test_output_beyond_the_limit_is_dropped_and_said(run, capfd):
    out = run("shell", {"script": "head -c 12000000 /dev/zero | tr '\\0' x"})
    assert out["truncated"]
    assert len(out["stdout"]) == 10 * 1024 * 1024


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def gone(pid):
    end = time.monotonic() + 10
    while alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def wait_for(path):
    end = time.monotonic() + 10
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(path.read_text())


ENDLESS = "sleep 100 & echo $! > {pid}; wait"


def test_a_cancel_ends_every_process_of_the_script(run, tmp_path):
    pid = tmp_path / "pid"

    def cancel():
        wait_for(pid)
        run.invoke.canceled = True

    thread = threading.Thread(target=cancel)
    thread.start()
    outcome = run("shell", {"script": ENDLESS.format(pid=pid)})
    thread.join()
    assert isinstance(outcome.error, RunCanceledError)
    assert gone(wait_for(pid))


def test_a_time_out_ends_every_process_of_the_script(run, tmp_path):
    outcome = run("shell", {"script": ENDLESS.format(pid=tmp_path / "pid")}, timeout=0.4)
    assert isinstance(outcome.error, StepTimeoutError)
    assert gone(wait_for(tmp_path / "pid"))


def test_what_a_script_leaves_in_the_background_ends_with_it(run, tmp_path):
    started = time.monotonic()
    run("shell", {"script": f"sleep 100 & echo $! > {tmp_path}/pid"})
    assert time.monotonic() - started < 5
    assert gone(wait_for(tmp_path / "pid"))


def test_a_killed_worker_takes_its_script_along(tmp_path):
    code = f"""
        from shoal.tools import ToolContext
        from shoal.tools.builtins.shell import shell
        shell({ENDLESS.format(pid=tmp_path / "pid")!r}, ToolContext())
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    pid = wait_for(tmp_path / "pid")
    assert alive(pid)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert gone(pid)


# ---------------------------------------------------------------- python


def test_code_is_the_body_of_a_function(run):
    code = "import math\ndef area(r):\n    return math.pi * r * r\nreturn {'total': sum(area(r) for r in radii), 'text': '''a\nb'''}"
    out = run("python", {"code": code, "radii": [1, 2]})
    assert round(out["total"], 2) == 15.71
    assert out["text"] == "a\nb"
    assert run("python", {"code": ""}) == {"result": None}
    assert run("python", {"code": "return x", "x": "{{ steps.y }}"}) == {"result": "{{ steps.y }}"}


def test_a_traceback_shows_the_line_of_the_code(run):
    outcome = run("python", {"code": "a = 1\nraise ValueError(a)"})
    assert "line 2" in outcome.error.traceback
    assert "raise ValueError(a)" in outcome.error.traceback
    assert outcome.retryable


@pytest.mark.parametrize("inputs", [{"code": "return ("}, {"code": "return 1", "not-a-name": 1}, {"code": "\0"}])
def test_code_that_does_not_compile_is_not_retried(run, inputs):
    outcome = run("python", inputs)
    assert outcome.error.message
    assert not outcome.retryable


# ---------------------------------------------------------------- http


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        sent = self.rfile.read(length).decode()
        path = self.path.partition("?")[0]
        if path == "/moved":
            self.send_response(302)
            self.send_header("location", "/echo")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        status = int(path[1:]) if path[1:].isdigit() else 200
        kinds = {"/binary": "application/octet-stream", "/broken": "application/json"}
        body = {"/binary": b"\xff\xfe\x00", "/broken": b"{", "/long": b"x" * 5000}.get(path)
        if body is None:
            heard = {"method": self.command, "path": self.path, "sent": sent, "token": self.headers.get("x-token")}
            body, kinds[path] = json.dumps(heard).encode(), "application/json; charset=utf-8"
        self.send_response(status)
        self.send_header("content-type", kinds.get(path, "text/plain"))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_and_its_answer(run, server):
    out = run(
        "http", {"url": f"{server}/echo", "method": "post", "json": {"a": 1}, "headers": {"X-Token": "t"}, "params": {"q": "1"}}
    )
    assert out["status"] == 200
    assert out["json"] == {"method": "POST", "path": "/echo?q=1", "sent": '{"a":1}', "token": "t"}
    assert json.loads(out["body"]) == out["json"]
    assert out["headers"]["content-type"].startswith("application/json")
    assert run("http", {"url": f"{server}/moved"})["url"].endswith("/echo")
    assert run("http", {"url": f"{server}/moved", "follow": False})["status"] == 302
    assert run("http", {"url": f"{server}/binary"})["body"] == b"\xff\xfe\x00"


@pytest.mark.parametrize(("path", "retryable"), [("404", False), ("400", False), ("500", True), ("503", True), ("429", True)])
def test_statuses_decide_about_a_retry(run, server, path, retryable):
    outcome = run("http", {"url": f"{server}/{path}"})
    assert path in outcome.error.message
    assert outcome.retryable is retryable
    assert run("http", {"url": f"{server}/{path}", "expect": [int(path)]})["status"] == int(path)


def test_answers_that_are_too_long_or_not_what_they_say(run, server):
    assert not run("http", {"url": f"{server}/long", "max_bytes": 1000}).retryable
    assert "JSON" in run("http", {"url": f"{server}/broken"}).error.message
    assert not run("http", {"url": f"{server}/echo", "expect": 204}).retryable


@pytest.mark.parametrize(("url", "retryable"), [("http://127.0.0.1:9/", True), ("file:///etc/passwd", False), ("::", False)])
def test_what_cannot_be_reached(run, url, retryable):
    outcome = run("http", {"url": url})
    assert outcome.kind == "failed"
    assert outcome.retryable is retryable


def test_a_script_sees_no_secrets_but_those_it_is_given(run, monkeypatch):
    monkeypatch.setenv("SHOAL_SECRET_OTHER", "not for scripts")
    monkeypatch.setenv("SHOAL_SECRETS_FILE", "/nowhere")
    found = run("shell", {"script": "env"})
    assert "SHOAL_SECRET" not in found["stdout"]
