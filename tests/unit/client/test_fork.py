"""Forks: a new run on what another has recorded, for YAML runs and their loops, sub-workflows and failures."""

from __future__ import annotations

import asyncio

import pytest

import shoal
from shoal.errors import ConflictError, InvalidInputError, NotFoundError

FLOW = """
id: t
inputs: {log: {type: string}, x: {type: integer, default: 1}, bad: {type: boolean, default: false}}
steps:
  - {name: a, tool: 'beside:note', inputs: {log: '{{ inputs.log }}', who: a, v: '{{ inputs.x }}'}}
  - {name: many, foreach: '[1, 2, 3]', tool: 'beside:note', inputs: {log: '{{ inputs.log }}', who: many, v: '{{ item }}'}}
  - {name: never, if: 'false', tool: 'beside:note', inputs: {log: '{{ inputs.log }}', who: never, v: 0}}
  - name: b
    tool: 'beside:note'
    inputs: {log: '{{ inputs.log }}', who: b, v: '{{ steps.many.outputs.v }}', bad: '{{ inputs.bad }}'}
    retry: {max_attempts: 1}
  - {name: side, needs: [a], tool: 'beside:note', inputs: {log: '{{ inputs.log }}', who: side, v: '{{ inputs.x }}'}}
outputs: {b: '{{ steps.b.outputs.v }}', side: '{{ steps.side.outputs.v }}', a: '{{ steps.a.outputs.v }}'}
"""
TOOLS = """
def note(log: str, who: str, v: object, bad: bool = False) -> dict:
    with open(log, "a") as file:
        file.write(who + "\\n")
    if bad:
        raise ValueError("bad")
    return {"v": v}
"""


@pytest.fixture
def flow(tmp_path):
    (tmp_path / "beside.py").write_text(TOOLS)
    path = tmp_path / "t.yaml"
    path.write_text(FLOW)
    return path


def play(tmp_path, work):
    async def main():
        async with shoal.connect(home=str(tmp_path / "home")) as client:
            await work(client)

    asyncio.run(asyncio.wait_for(main(), 60))


def written(tmp_path):
    return (tmp_path / "log").read_text().split()


def test_a_fork_runs_a_step_and_what_follows_and_takes_the_rest_over(tmp_path, flow):
    async def work(client):
        log = str(tmp_path / "log")
        first = await client.start(flow, {"log": log}, executor="inline")
        assert await first.result() == {"b": [1, 2, 3], "side": 1, "a": 1}
        before = sorted(written(tmp_path))
        assert before == ["a", "b", "many", "many", "many", "side"]
        fork = await client.fork(first.id, "b", inputs={"x": 5})
        assert await fork.result() == {"b": [1, 2, 3], "side": 1, "a": 1}, "what is taken over was made with the old inputs"
        assert sorted(written(tmp_path)) == sorted([*before, "b"])
        view = await client.show(fork.id)
        assert [(s.name, s.status.value, s.attempts) for s in view.steps][:2] == [
            ("a", "succeeded", 1),
            ("many", "succeeded", 0),
        ]
        assert view.run.retry_of == first.id
        other = await client.fork(first.id, "side", inputs={"x": 5}, new_id="chosen")
        assert other.id == "chosen"
        assert (await other.result())["side"] == 5
        await client.delete(first.id)
        assert (await client.show(fork.id)).outputs == {"b": [1, 2, 3], "side": 1, "a": 1}

    play(tmp_path, work)


def test_a_failed_run_is_forked_with_another_input_and_stays_failed(tmp_path, flow):
    async def work(client):
        first = await client.start(flow, {"log": str(tmp_path / "log"), "bad": True}, executor="inline")
        with pytest.raises(shoal.StepFailedError):
            await first.result()
        fork = await client.fork(first.id, "b", inputs={"bad": False})
        assert (await fork.result())["b"] == [1, 2, 3]
        assert written(tmp_path).count("a") == 1
        assert (await client.show(first.id)).run.status == "failed"

    play(tmp_path, work)


def test_what_cannot_be_forked_is_refused_and_nothing_is_recorded(tmp_path, flow):
    async def work(client):
        first = await client.start(flow, {"log": str(tmp_path / "log")}, executor="inline")
        await first.result()
        with pytest.raises(NotFoundError, match="no step 'z'"):
            await client.fork(first.id, "z")
        with pytest.raises(NotFoundError):
            await client.fork("nothing", "a")
        with pytest.raises(InvalidInputError):
            await client.fork(first.id, "b", inputs={"x": "text"})
        with pytest.raises(InvalidInputError, match="runs anew"):
            await client.fork(first.id, "a", outputs={"b": {}})
        assert len(await client.runs()) == 1

    play(tmp_path, work)


def test_a_step_that_the_run_had_not_come_to_is_a_conflict(tmp_path, flow):
    async def work(client):
        flow.write_text(FLOW.replace("foreach: '[1, 2, 3]'", "foreach: 'inputs.x'"))
        first = await client.start(flow, {"log": str(tmp_path / "log")}, executor="inline")
        with pytest.raises(shoal.ShoalError, match="must be a list"):
            await first.result()
        with pytest.raises(ConflictError, match="has no result"):
            await client.fork(first.id, "b")

    play(tmp_path, work)
