"""What a run does, in the words of the language: real language, engine and orchestrator, fake tools, a clock that skips."""

from __future__ import annotations

import asyncio
import textwrap

import pytest

from shoal import NonRetryableError, continuation
from shoal.errors import StepFailedError, StepTimeoutError, ToolResolutionError
from shoal.model.run import RunStatus, SkipReason
from shoal.testing.workbench import FinishedRun, Workbench


def ok(**inputs):
    return {"v": inputs.get("v", 1), **inputs}


def boom(**_):
    raise ValueError("boom")


TOOLS = {"ok": ok, "boom": boom}


def flow(text: str) -> str:
    return "id: t\n" + textwrap.dedent(text)


def play(text: str, tools=None, inputs=None, **kwargs) -> FinishedRun:
    async def main() -> FinishedRun:
        async with Workbench({**TOOLS, **(tools or {})}, **kwargs) as bench:
            return await bench.run(flow(text), inputs)

    return asyncio.run(asyncio.wait_for(main(), 60))


def statuses(run: FinishedRun) -> dict[str, str]:
    return {path: step.status.value for path, step in run.steps.items()}


def reason(run: FinishedRun, path: str) -> SkipReason | None:
    return run.step(path).skip_reason


def called(run: FinishedRun) -> list[str]:
    return [name for name, _ in run.calls]


# ---------------------------------------------------------------- order and data


def test_steps_run_one_after_the_other_unless_needs_says_otherwise():
    order = []

    def note(n):
        order.append(n)

    play(
        """
        steps:
          - {name: a, tool: note, inputs: {n: a}}
          - {name: b, tool: note, inputs: {n: b}}
          - {name: c, tool: note, inputs: {n: c}}
        """,
        {"note": note},
    )
    assert order == ["a", "b", "c"]


def test_a_whole_reference_keeps_its_type_and_mixed_text_becomes_a_string():
    run = play(
        """
        inputs: {n: {type: integer, default: 3}}
        steps:
          - {name: a, tool: ok, inputs: {v: [1, {x: null}]}}
          - name: b
            tool: ok
            inputs: {v: "{{ steps.a.outputs.v }}", t: "n is {{ inputs.n }}", s: "{{ inputs.n + 1 }}", i: "{{ run.id }}"}
        outputs: {b: "{{ steps.b.outputs.v }}", t: "{{ steps.b.outputs.t }}", s: "{{ steps.b.outputs.s }}"}
        """
    )
    assert run.outputs == {"b": [1, {"x": None}], "t": "n is 3", "s": 4}


@pytest.mark.parametrize("text", ["{{ secrets.X }}", "${HOME}", '{"a": 1}', "[1,2]", "1e3", "null", "{{ '{{' }}", "$(id)"])
def test_an_output_stays_exactly_the_string_it_is(text):
    run = play(
        """
        steps:
          - {name: a, tool: say}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.result }}", w: "<{{ steps.a.outputs.result }}>"}}
        outputs: {v: "{{ steps.b.outputs.v }}", w: "{{ steps.b.outputs.w }}"}
        """,
        {"say": lambda: text},
    )
    assert run.outputs == {"v": text, "w": f"<{text}>"}


def test_python_values_and_large_values_pass_between_steps():
    run = play(
        """
        steps:
          - {name: a, tool: make}
          - {name: b, tool: take, inputs: {thing: "{{ steps.a.outputs.thing }}", text: "{{ steps.a.outputs.text }}"}}
        """,
        {
            "make": lambda: {"thing": {1, 2, 3}, "text": "x" * 300_000},
            "take": lambda thing, text: {"kind": type(thing).__name__, "n": len(text)},
        },
    )
    assert run.outputs == {"kind": "set", "n": 300_000}


def test_looking_into_a_python_value_in_an_expression_is_an_error_that_says_so():
    run = play(
        """
        steps:
          - {name: a, tool: make}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.thing.x }}"}}
        """,
        {"make": lambda: {"thing": {1, 2}}},
    )
    assert run.status is RunStatus.FAILED
    assert "Python object" in str(run.error)
    assert "builtins.set" in str(run.error)


def test_an_output_that_was_not_returned_names_those_that_were():
    run = play(
        """
        steps:
          - {name: a, tool: ok}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.nope }}"}}
        """
    )
    assert "nope" in str(run.error)
    assert "v" in str(run.error)


def test_the_result_is_the_last_steps_outputs_if_none_are_declared():
    assert play("steps: [{name: a, tool: ok}, {name: b, tool: say}]", {"say": lambda: 7}).outputs == {"result": 7}


def test_context_and_secrets_reach_a_tool_and_a_missing_secret_fails_before_anything_starts():
    text = """
    steps:
      - {name: a, tool: ok, inputs: {v: "Bearer {{ secrets.TOKEN }}", user: "{{ context.user }}"}}
    """

    async def main(secrets):
        async with Workbench(TOOLS, secrets=secrets) as bench:
            return await bench.run(flow(text), context={"user": "ann"})

    run = asyncio.run(main({"TOKEN": "s3cret-value"}))
    assert run.outputs == {"v": "Bearer s3cret-value", "user": "ann"}
    run = asyncio.run(main({}))
    assert run.status is RunStatus.FAILED
    assert run.error.code == "missing_secret"
    assert run.calls == []


def test_every_tool_that_is_not_to_be_had_is_named_before_the_first_dispatch():
    run = play("steps: [{name: a, tool: ok}, {name: b, tool: nowhere}]")
    assert isinstance(run.error, ToolResolutionError)
    assert "nowhere" in str(run.error)
    assert run.calls == []


# ---------------------------------------------------------------- conditions and failures


def test_a_skipped_step_counts_as_done_and_a_reference_into_it_is_null():
    run = play(
        """
        steps:
          - {name: a, if: "1 > 2", tool: ok}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.v }}"}}
        """
    )
    assert run.status is RunStatus.SUCCEEDED
    assert run.outputs == {"v": None}
    assert reason(run, "a") == "condition"


def test_when_a_step_fails_nothing_new_starts_and_what_was_not_reached_is_skipped():
    run = play("steps: [{name: a, tool: boom, retry: {max_attempts: 1}}, {name: b, tool: ok}, {name: c, tool: ok}]")
    assert run.status is RunStatus.FAILED
    assert isinstance(run.error, StepFailedError)
    assert run.error.step == "a"
    assert statuses(run) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert reason(run, "b") == "not_reached"


def test_a_step_that_may_fail_counts_as_done_with_null_outputs():
    run = play(
        """
        steps:
          - {name: a, tool: boom, retry: {max_attempts: 1}, on_error: continue}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.v }}", c: "{{ steps.a.error.code }}"}}
        """
    )
    assert run.status is RunStatus.SUCCEEDED
    assert run.outputs == {"v": None, "c": "step_failed"}


def test_always_failure_and_a_mentioned_status_run_after_a_failure_and_finally_last():
    run = play(
        """
        steps:
          - {name: a, tool: boom, retry: {max_attempts: 1}}
          - {name: plain, needs: [a], tool: ok}
          - {name: on-failure, needs: [a], if: failure(), tool: ok, inputs: {v: failure}}
          - {name: on-always, needs: [plain], if: always(), tool: ok, inputs: {v: always}}
          - {name: on-status, needs: [a], if: "steps.a.status == 'failed'", tool: ok, inputs: {v: status}}
        finally:
          - {name: last, tool: ok, inputs: {v: last}}
        """
    )
    assert run.status is RunStatus.FAILED
    told = statuses(run)
    assert told.pop("plain") == "skipped"
    assert told == {
        "a": "failed",
        "on-failure": "succeeded",
        "on-always": "succeeded",
        "on-status": "succeeded",
        "last": "succeeded",
    }
    assert run.calls[-1][1] == {"v": "last"}


def test_failure_is_false_in_a_run_that_goes_well():
    run = play("steps: [{name: a, tool: ok}, {name: b, if: failure(), tool: ok}]")
    assert run.status is RunStatus.SUCCEEDED
    assert reason(run, "b") == "condition"


def test_a_finally_step_that_fails_fails_the_run_and_the_others_still_run():
    run = play(
        """
        steps: [{name: a, tool: ok}]
        finally:
          - {name: f, tool: boom, retry: {max_attempts: 1}}
          - {name: g, needs: [], tool: ok}
        """
    )
    assert run.status is RunStatus.FAILED
    assert statuses(run) == {"a": "succeeded", "f": "failed", "g": "succeeded"}


# ---------------------------------------------------------------- retries and time


def flaky(times: int, error: type[BaseException] = ValueError):
    left = [times]

    def tool():
        if left[0] > 0:
            left[0] -= 1
            raise error("not yet")
        return {"v": "at last"}

    return tool


def test_five_attempts_by_default_and_then_it_fails():
    assert play("steps: [{name: a, tool: f}]", {"f": flaky(4)}).step("a").attempts == 5
    run = play("steps: [{name: a, tool: f}]", {"f": flaky(5)})
    assert run.status is RunStatus.FAILED
    assert run.step("a").attempts == 5


@pytest.mark.parametrize(("on", "attempts"), [("ValueError", 3), ("ArithmeticError", 1), ("any", 3), ("Exception", 3)])
def test_retry_on_names_the_exceptions_it_covers(on, attempts):
    run = play(f"steps: [{{name: a, tool: f, retry: {{on: [{on}]}}}}]", {"f": flaky(2)})
    assert run.step("a").attempts == attempts


def test_an_error_that_is_not_retryable_is_not_retried():
    run = play("steps: [{name: a, tool: f}]", {"f": flaky(1, NonRetryableError)})
    assert run.status is RunStatus.FAILED
    assert run.step("a").attempts == 1


def test_wrong_inputs_of_a_tool_are_not_retried():
    run = play("steps: [{name: a, tool: f, inputs: {nope: 1}}]", {"f": lambda v=1: v})
    assert run.status is RunStatus.FAILED
    assert run.step("a").attempts == 1
    assert "nope" in str(run.error)


def test_delays_grow_and_stay_below_their_bound():
    async def main() -> float:
        async with Workbench({"f": flaky(4)}) as bench:
            text = flow("steps: [{name: a, tool: f, retry: {initial: 10, multiplier: 3, max: 60, jitter: false}}]")
            await bench.run(text)
            return bench.clock.monotonic()

    assert asyncio.run(main()) == pytest.approx(10 + 30 + 60 + 60, abs=0.1)


def test_a_deadline_ends_a_step_between_its_attempts():
    run = play("steps: [{name: a, tool: boom, deadline: 25, retry: {initial: 10, multiplier: 1, jitter: false}}]")
    assert isinstance(run.error, StepTimeoutError)
    assert run.step("a").attempts == 3


def test_a_runs_timeout_ends_it_as_failed_and_its_finally_steps_run():
    run = play("timeout: 1h\nsteps: [{name: a, sleep: 2h}]\nfinally: [{name: f, tool: ok}]")
    assert run.status is RunStatus.FAILED
    assert isinstance(run.error, StepTimeoutError)
    assert statuses(run) == {"a": "canceled", "f": "succeeded"}


def test_a_sleep_takes_its_time_and_holds_no_worker():
    async def main() -> float:
        async with Workbench(TOOLS) as bench:
            await bench.run(flow("steps: [{name: a, sleep: 3d2h}]"))
            return bench.clock.monotonic()

    assert asyncio.run(main()) == pytest.approx(74 * 3600, abs=60)


# ---------------------------------------------------------------- signals, cancel, resume


WAIT = flow(
    "steps: [{name: w, wait: {signal: go, timeout: 1h}}, {name: b, tool: ok, inputs: {v: '{{ steps.w.outputs.who }}'}}]"
)


def test_a_signal_reaches_a_waiting_run_and_an_early_one_is_kept():
    async def main() -> list[FinishedRun]:
        async with Workbench(TOOLS, skip_time=False) as bench:
            waiting = await bench.start(WAIT)
            await bench.until(lambda run: run.status is RunStatus.WAITING, waiting)
            await bench.signal(waiting, "go", {"who": "late"})
            early = await bench.start(WAIT, run_id="early")
            await bench.signal(early, "go", {"who": "early"})
            return [await bench.finish(waiting), await bench.finish(early)]

    assert [run.outputs for run in asyncio.run(main())] == [{"v": "late"}, {"v": "early"}]


def test_a_wait_without_its_signal_times_out():
    run = play("steps: [{name: w, wait: {signal: go, timeout: 1h}}]")
    assert isinstance(run.error, StepTimeoutError)
    assert "go" in str(run.error)


def test_cancel_ends_a_run_runs_its_finally_steps_and_a_resume_goes_on():
    async def main() -> tuple[FinishedRun, FinishedRun]:
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(WAIT + "\nfinally: [{name: f, tool: ok}]\n")
            await bench.until(lambda run: run.status is RunStatus.WAITING, run_id)
            await bench.cancel(run_id)
            canceled = await bench.finish(run_id)
            await bench.signal(run_id, "go", {"who": "x"})
            return canceled, await bench.resume(run_id)

    canceled, resumed = asyncio.run(main())
    assert canceled.status is RunStatus.CANCELED
    assert statuses(canceled) == {"w": "canceled", "b": "skipped", "f": "succeeded"}
    assert resumed.status is RunStatus.SUCCEEDED
    assert resumed.step("f#2").status.value == "succeeded"
    assert resumed.step("f").finished_at == canceled.step("f").finished_at


def test_a_restart_in_the_middle_goes_on_and_nothing_recorded_runs_again():
    async def main() -> FinishedRun:
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(flow("steps: [{name: a, tool: ok}, {name: w, wait: {signal: go}}, {name: b, tool: ok}]"))
            await bench.until(lambda run: run.status is RunStatus.WAITING, run_id)
            await bench.restart()
            await bench.orchestrator.resume(run_id)
            await bench.signal(run_id, "go")
            return await bench.finish(run_id)

    run = asyncio.run(main())
    assert run.status is RunStatus.SUCCEEDED
    assert [s.attempts for s in (run.step("a"), run.step("b"))] == [1, 1]


def test_a_result_that_is_not_checkpointed_is_made_again_only_if_it_is_needed():
    text = flow(
        """
        steps:
          - {name: a, checkpoint: false, tool: count}
          - {name: unused, checkpoint: false, needs: [], tool: count}
          - {name: w, needs: [a, unused], wait: {signal: go}}
          - {name: b, tool: ok, inputs: {v: "{{ steps.a.outputs.result }}"}}
        """
    )
    calls = []

    async def main() -> FinishedRun:
        async with Workbench({"count": lambda: calls.append(1) or len(calls), **TOOLS}, skip_time=False) as bench:
            run_id = await bench.start(text)
            await bench.until(lambda run: run.status is RunStatus.WAITING, run_id)
            await bench.restart()
            await bench.orchestrator.resume(run_id)
            await bench.signal(run_id, "go")
            return await bench.finish(run_id)

    run = asyncio.run(main())
    assert run.outputs == {"v": 3}
    assert len(calls) == 3
    assert run.step("a").result is None


# ---------------------------------------------------------------- loops, sub-workflows, continuations


def test_foreach_gives_lists_in_order_with_null_for_what_was_skipped_or_failed():
    def odd(v):
        if v == 3:
            raise ValueError("three")
        return {"v": v * 10}

    run = play(
        """
        steps:
          - {name: l, foreach: [1, 2, 3, 4], if: "item != 2", tool: odd, inputs: {v: "{{ item }}"},
             on_error: continue, retry: {max_attempts: 1}}
          - {name: n, tool: ok, inputs: {v: "{{ size(steps.l.outputs.v) }}", i: "{{ steps.l.outputs.v[3] }}"}}
        outputs: {l: "{{ steps.l.outputs.v }}", n: "{{ steps.n.outputs.v }}", i: "{{ steps.n.outputs.i }}"}
        """,
        {"odd": odd},
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.outputs == {"l": [10, None, None, 40], "n": 4, "i": 40}
    counts = run.step("l").items
    assert (counts.total, counts.succeeded, counts.failed, counts.skipped) == (4, 2, 1, 1)


def test_a_loop_over_a_loop_over_python_values():
    run = play(
        """
        steps:
          - {name: a, foreach: "{{ [1, 2, 3] }}", tool: wrap, inputs: {v: "{{ item }}"}}
          - {name: b, foreach: "{{ steps.a.outputs.result }}", tool: unwrap, inputs: {v: "{{ item }}"}}
        """,
        {"wrap": lambda v: {v}, "unwrap": lambda v: {"v": sum(v)}},
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.outputs == {"v": [1, 2, 3]}


def test_a_loop_over_so_many_python_values_that_their_list_is_a_blob():
    run = play(
        """
        steps:
          - {name: a, foreach: "{{ inputs.n }}", tool: wrap, inputs: {v: "{{ item }}"}}
          - {name: b, foreach: "{{ steps.a.outputs.result }}", tool: unwrap, inputs: {v: "{{ item }}"}}
          - {name: c, tool: total, inputs: {vs: "{{ steps.a.outputs.result }}"}}
        inputs: {n: {type: array}}
        outputs: {b: "{{ steps.b.outputs.v }}", c: "{{ steps.c.outputs.result }}"}
        """,
        {"wrap": lambda v: {v}, "unwrap": lambda v: {"v": sum(v)}, "total": lambda vs: sum(map(sum, vs))},
        {"n": list(range(1200))},
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.outputs == {"b": list(range(1200)), "c": sum(range(1200))}


def test_an_empty_loop_succeeds_with_empty_lists():
    run = play(
        """
        inputs: {items: {type: array, default: []}}
        steps:
          - {name: l, foreach: "{{ inputs.items }}", tool: ok}
          - {name: s, tool: ok, inputs: {v: "{{ steps.l.outputs.v }}"}}
        """
    )
    assert run.outputs == {"v": []}


def test_a_limit_of_one_for_the_run_does_not_lock_a_loop_out():
    run = play(
        """
        max_parallel: 1
        steps:
          - {name: l, foreach: [1, 2, 3, 4, 5], concurrency: 3, tool: ok, inputs: {v: "{{ item }}"}}
        """
    )
    assert run.outputs["v"] == [1, 2, 3, 4, 5]


def test_a_failed_item_ends_the_loop_and_a_resume_runs_only_what_is_unfinished():
    broken = [True]
    seen = []

    def picky(v):
        seen.append(v)
        if v == 2 and broken[0]:
            raise NonRetryableError("not two")
        return {"v": v}

    async def main() -> tuple[FinishedRun, FinishedRun]:
        async with Workbench({"picky": picky}) as bench:
            text = flow("steps: [{name: l, foreach: [1, 2, 3, 4], concurrency: 1, tool: picky, inputs: {v: '{{ item }}'}}]")
            failed = await bench.run(text)
            broken[0] = False
            return failed, await bench.resume(failed.id)

    failed, resumed = asyncio.run(main())
    assert failed.status is RunStatus.FAILED
    assert failed.error.step == "l[1]"
    assert resumed.outputs == {"v": [1, 2, 3, 4]}
    assert seen == [1, 2, 2, 3, 4]
    assert resumed.step("l[1]").attempts == 2


def test_a_sub_workflow_is_a_run_of_its_own_whose_outputs_are_the_steps(tmp_path):
    (tmp_path / "sub.yaml").write_text(
        "id: sub\ninputs: {k: {type: integer}}\nsteps: [{name: q, tool: ok, inputs: {v: '{{ inputs.k + 1 }}'}}]\n"
    )
    top = tmp_path / "top.yaml"
    top.write_text(
        "id: top\nsteps:\n"
        "  - {name: one, workflow: ./sub.yaml, inputs: {k: 1}}\n"
        "  - {name: many, foreach: [1, 2], workflow: ./sub.yaml, inputs: {k: '{{ item }}'}}\n"
        "outputs: {one: '{{ steps.one.outputs.v }}', many: '{{ steps.many.outputs.v }}'}\n"
    )

    async def main():
        async with Workbench(TOOLS) as bench:
            run = await bench.run(top)
            child = await bench.store.run(run.step("one").child_run_id)
            return run, child

    run, child = asyncio.run(main())
    assert run.outputs == {"one": 2, "many": [2, 3]}
    assert child.parent.path == "one"
    assert child.root_id == run.id


def test_a_failed_sub_workflow_fails_its_step_and_a_resume_goes_on_inside_it(tmp_path):
    (tmp_path / "sub.yaml").write_text("id: sub\nsteps: [{name: p, tool: ok}, {name: q, tool: f}]\n")
    top = tmp_path / "top.yaml"
    top.write_text("id: top\nsteps: [{name: one, workflow: ./sub.yaml}, {name: two, tool: ok}]\n")

    async def main():
        async with Workbench({**TOOLS, "f": flaky(5)}) as bench:
            failed = await bench.run(top)
            return failed, await bench.resume(failed.id)

    failed, resumed = asyncio.run(main())
    assert failed.status is RunStatus.FAILED
    assert resumed.status is RunStatus.SUCCEEDED
    assert resumed.step("one").child_run_id == failed.step("one").child_run_id
    assert called(resumed).count("ok") == 2


def test_a_continuation_of_a_tool_gives_the_step_its_outputs():
    def count(n, told=0):
        return {"told": told} if n == 0 else continuation("count", {"n": n - 1, "told": told + n})

    run = play("steps: [{name: a, tool: count, inputs: {n: 4}}, {name: b, tool: ok}]", {"count": count})
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.step("a").spawned == 4
    assert sorted(p for p in run.steps if p.startswith("a/")) == ["a/1", "a/2", "a/3", "a/4"]


def test_a_continuation_with_a_workflow_sees_only_its_own_inputs_and_steps():
    graph = {
        "id": "more",
        "inputs": {"k": {"type": "integer"}},
        "steps": [
            {"name": "x", "tool": "ok", "inputs": {"v": "{{ inputs.k }}"}},
            {"name": "y", "tool": "ok", "inputs": {"v": "{{ steps.x.outputs.v + 1 }}"}},
        ],
        "outputs": {"sum": "{{ steps.y.outputs.v }}"},
    }
    run = play(
        "steps: [{name: a, tool: more}, {name: b, tool: ok, inputs: {v: '{{ steps.a.outputs.sum }}'}}]",
        {"more": lambda: continuation(graph, {"k": 41})},
    )
    assert run.outputs == {"v": 42}
    bad = {**graph, "steps": [{"name": "x", "tool": "ok", "inputs": {"v": "{{ steps.b.outputs.v }}"}}], "outputs": {}}
    run = play("steps: [{name: a, tool: more}, {name: b, tool: ok}]", {"more": lambda: continuation(bad, {"k": 1})})
    assert run.status is RunStatus.FAILED
    assert run.error.code == "definition"


def test_inputs_of_a_continuation_are_never_evaluated():
    run = play(
        "steps: [{name: a, tool: more}]",
        {"more": lambda: continuation("ok", {"v": "{{ secrets.X }}", "w": {"deep": "{{ inputs.y }}"}})},
    )
    assert run.outputs == {"v": "{{ secrets.X }}", "w": {"deep": "{{ inputs.y }}"}}


def test_an_item_may_answer_with_more_work_and_numbers_are_given_per_top_level_step():
    run = play(
        "steps: [{name: l, foreach: [1, 2, 3], concurrency: 1, tool: more, inputs: {v: '{{ item }}'}}]",
        {"more": lambda v: continuation("ok", {"v": v * 2})},
    )
    assert run.outputs["v"] == [2, 4, 6]
    assert {p for p in run.steps if "/" in p} == {"l/1", "l/2", "l/3"}


def test_a_failed_continuation_is_gone_on_with_and_the_tool_is_not_called_again():
    calls = []

    def more():
        calls.append(1)
        return continuation("f")

    async def main():
        async with Workbench({"more": more, "f": flaky(5)}) as bench:
            failed = await bench.run(flow("steps: [{name: a, tool: more}]"))
            return failed, await bench.resume(failed.id)

    failed, resumed = asyncio.run(main())
    assert failed.status is RunStatus.FAILED
    assert resumed.outputs == {"v": "at last"}
    assert len(calls) == 1
