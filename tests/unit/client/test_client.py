"""The public Python API on a journal of its own, inline."""

from __future__ import annotations

import asyncio

import pytest

import shoal
from shoal.errors import ConflictError, InvalidInputError, NotFoundError, RunAlreadyExistsError, RunError
from shoal.model.run import RunStatus

FLOW = (
    "id: t\ninputs: {x: {type: integer, default: 1}}\nsteps: [{name: a, tool: 'json:dumps', inputs: {obj: '{{ inputs.x }}'}}]\n"
)


@pytest.fixture
def flow(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(FLOW)
    return path


def play(tmp_path, work):
    async def main():
        async with shoal.connect(home=str(tmp_path / "home")) as client:
            await work(client)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_run_gives_its_result_and_stays_to_be_looked_at(tmp_path, flow):
    async def work(client):
        handle = await client.start(flow, {"x": 7}, executor="inline")
        assert await handle.result() == {"result": "7"}
        view = await client.show(handle.id)
        assert (view.run.status, view.outputs) == (RunStatus.SUCCEEDED, {"result": "7"})
        assert [event.name async for event in client.events(handle.id)][-1] == "run.succeeded"
        assert [run.id for run in await client.runs()] == [handle.id]
        await client.delete(handle.id)
        with pytest.raises(NotFoundError):
            await client.show(handle.id)

    play(tmp_path, work)


def test_a_second_start_with_an_id_attaches_or_is_a_conflict(tmp_path, flow):
    async def work(client):
        first = await client.start(flow, {"x": 7}, run_id="one", executor="inline")
        again = await client.start(flow, {"x": 7}, run_id="one", executor="inline")
        assert again.id == first.id
        assert await again.result() == {"result": "7"}
        with pytest.raises(RunAlreadyExistsError, match="inputs"):
            await client.start(flow, {"x": 8}, run_id="one", executor="inline")
        assert len(await client.runs()) == 1

    play(tmp_path, work)


def test_retry_is_a_new_run_of_what_was_pinned_and_a_success_is_not_resumed(tmp_path, flow):
    async def work(client):
        first = await client.start(flow, {"x": 7}, executor="inline")
        await first.result()
        flow.write_text("id: other\nsteps: [{name: z, tool: 'json:loads'}]\n")
        second = await client.retry(first.id)
        assert second.id != first.id
        assert await second.result() == {"result": "7"}
        with pytest.raises(ConflictError, match="succeeded"):
            await client.resume(first.id)
        with pytest.raises(ConflictError):
            await client.cancel(first.id)

    play(tmp_path, work)


def test_a_failed_run_raises_its_error(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("id: bad\nsteps: [{name: a, tool: 'json:loads', inputs: {s: nonsense}, retry: {max_attempts: 1}}]\n")

    async def work(client):
        handle = await client.start(path, executor="inline")
        with pytest.raises(RunError, match="JSONDecodeError"):
            await handle.result()

    play(tmp_path, work)


@pytest.mark.parametrize("context", [{"a": "x" * 70_000}, {"a": {1, 2}}, {"a": float("nan")}])
def test_a_context_is_small_json(tmp_path, flow, context):
    async def work(client):
        with pytest.raises(InvalidInputError, match="context"):
            await client.start(flow, context=context, executor="inline")
        assert await client.runs() == []

    play(tmp_path, work)


def test_detach_and_inline_do_not_go_together(tmp_path, flow):
    async def work(client):
        with pytest.raises(InvalidInputError, match="Ray"):
            await client.start(flow, executor="inline", detach=True)
        assert await client.runs() == []

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [(None, 0, "there is no file"), ("a=b\n", 0o644, "chmod 600"), ("no such line\n", 0o600, "secrets:1: not a line")],
)
def test_a_file_of_secrets_that_cannot_be_used_is_refused_before_a_run_is_recorded(
    tmp_path, monkeypatch, flow, text, mode, words
):
    file = tmp_path / "secrets"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    monkeypatch.setenv("SHOAL_SECRETS_FILE", str(file))

    async def work(client):
        with pytest.raises(InvalidInputError, match=words):
            await client.start(flow, executor="inline")
        with pytest.raises(InvalidInputError, match=words):
            await client.start(flow, detach=True)
        assert await client.runs() == []
        findings = {finding.name: finding async for finding in client.diagnose()}
        assert (findings["secrets"].ok, bool(findings["secrets"].hint)) == (False, True)

    play(tmp_path, work)


def test_a_start_that_its_caller_gives_up_is_not_there_or_goes_on(tmp_path, flow):
    async def work(client):
        await (await client.start(flow, executor="inline")).result()
        for number in range(6):
            start = asyncio.create_task(client.start(flow, run_id=f"r{number}", executor="inline"))
            for _ in range(number):
                await asyncio.sleep(0)
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
        await asyncio.sleep(0)
        runs = [run for run in await client.runs() if run.id.startswith("r")]
        assert runs, "one was recorded before its caller gave up"
        async with asyncio.timeout(20):
            while not all(run.status.ended for run in runs):
                await asyncio.sleep(0.02)
                runs = [run for run in await client.runs() if run.id.startswith("r")]
        assert {run.status for run in runs} == {RunStatus.SUCCEEDED}

    play(tmp_path, work)


FLAKY = """
import pathlib, sys
def once(flag: str) -> dict:
    if not pathlib.Path(flag).exists():
        raise ValueError("no flag")
    return {"ok": True}
"""


def test_a_failed_run_that_is_resumed_gives_its_new_end(tmp_path):
    (tmp_path / "flaky.py").write_text(FLAKY)
    flag = tmp_path / "flag"
    path = tmp_path / "f.yaml"
    path.write_text(
        "id: f\ninputs: {flag: {type: string}}\n"
        "steps: [{name: a, tool: 'flaky:once', inputs: {flag: '{{ inputs.flag }}'}, retry: {max_attempts: 1}}]\n"
    )

    async def work(client):
        handle = await client.start(path, {"flag": str(flag)}, run_id="f", executor="inline")
        with pytest.raises(RunError):
            await handle.result()
        flag.touch()
        again = await client.resume("f")
        statuses = [view.run.status async for view in again.watch()]
        assert statuses[-1] is RunStatus.SUCCEEDED
        assert RunStatus.FAILED not in statuses, "an end that is past is not shown"
        assert await (await client.handle("f")).result() == {"ok": True}
        flag.unlink()
        second = await client.start(path, {"flag": str(flag)}, run_id="g", executor="inline")
        with pytest.raises(RunError):
            await second.result()
        with pytest.raises(RunError):
            await (await client.resume("g")).result()

    play(tmp_path, work)


def test_logs_of_a_step_that_is_not_there_are_no_empty_logs(tmp_path, flow):
    async def work(client):
        handle = await client.start(flow, executor="inline")
        await handle.result()
        assert [chunk async for chunk in client.logs(handle.id, "a")] == []
        for name in ("nosuch", "../../x"):
            with pytest.raises(NotFoundError):
                [chunk async for chunk in client.logs(handle.id, name)]

    play(tmp_path, work)
