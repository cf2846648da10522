"""The conformance suite of executors: what every `StepExecutor` promises.

Subclass `ExecutorSuite`, give it `make_executor`, and set the class attributes that name what your executor cannot promise.
pytest collects the subclass. The attempts call the tools of `executor_tools`, which your workers must be able to import.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from shoal.errors import (
    NotFoundError,
    OutOfMemoryError,
    RunCanceledError,
    ShoalError,
    StepFailedError,
    StepTimeoutError,
    WorkerLostError,
)
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice, Succeeded
from shoal.model.encoding import decode, encode
from shoal.model.ids import AttemptId, Digest, RunId, StepPath, new_attempt_id
from shoal.model.policies import Isolation, Resources
from shoal.model.tools import ToolLock, ToolReference, ToolRequest
from shoal.model.values import Arguments, Json, SecretName, SecretText, Value
from shoal.ports import StepExecutor

LOG_LIMIT = 10 * 1024 * 1024
NONE = timedelta(0)
SOON = timedelta(seconds=0.4)


class FolderBlobs:
    """A minimal `BlobStore` in a folder; it travels as the folder's name."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def put(self, data: bytes) -> Digest:
        """Write bytes."""
        digest = Digest(hashlib.sha256(data).hexdigest())
        file = Path(self._folder, digest)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_bytes(data)
        new.rename(file)
        return digest

    def get(self, digest: Digest) -> bytes:
        """Read bytes."""
        try:
            return Path(self._folder, digest).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {digest}") from None

    def path(self, digest: Digest) -> str | None:
        """Return the file."""
        file = Path(self._folder, digest)
        return str(file) if file.exists() else None

    def sweep(self, referenced: frozenset[Digest], older_than: object, *, dry_run: bool = False) -> tuple[int, int]:
        """Delete nothing."""
        del referenced, older_than, dry_run
        return 0, 0


def call(
    tool: str,
    /,
    *,
    timeout: float | None = None,
    grace: float = 0.5,
    memory: int | None = None,
    isolation: Isolation = Isolation.POOL,
    env: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    **inputs: Any,
) -> AttemptCall:
    """Return a call of one of the suite's tools; an input may be a `Value` or a `SecretText`."""
    target = f"shoal.testing.executor_tools:{tool}"
    lock = ToolLock(ToolRequest(ToolReference(target, "function", target)), "function", target)
    tree: dict[str, Json] = {}
    holes: list[Any] = []
    for name, value in inputs.items():
        tree[name] = None if isinstance(value, (Value, SecretText)) else value
        if isinstance(value, (Value, SecretText)):
            holes.append(((name,), value))
    return AttemptCall(
        new_attempt_id(),
        RunId("run"),
        StepPath(tool),
        1,
        lock,
        Arguments(tree, tuple(holes)),
        secrets=secrets or {},
        env=env or {},
        isolation=isolation,
        resources=Resources(memory=memory),
        timeout=None if timeout is None else timedelta(seconds=timeout),
        grace=timedelta(seconds=grace),
    )


def is_gone(pid: int, within: float = 5.0) -> bool:
    """Whether a process has ended, or does so soon; one that nobody has waited for yet counts as ended."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


async def appears(file: Path) -> list[int]:
    """Wait for the file that the tool `wait` writes, and return the process ids in it."""
    async with asyncio.timeout(60):
        while not file.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return [int(pid) for pid in file.read_text().split()]


def outcome_error(completion: Completion) -> ShoalError:
    """Return the error of an attempt that failed."""
    assert isinstance(completion.outcome, Failed), completion
    return completion.outcome.error


class Driver:
    """Runs attempts on an executor and keeps what it says."""

    def __init__(self, executor: StepExecutor) -> None:
        self.executor = executor
        self.completions: list[Completion] = []
        self.notices: list[Notice] = []
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            self.notices += await self.executor.notices()

    async def stop(self) -> None:
        """Stop listening to notices."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def run(self, *calls: AttemptCall, within: float = 90.0) -> list[Completion]:
        """Submit calls and return their completions in the order of the calls."""
        self.executor.submit(calls)
        return await self.collect(calls, within=within)

    async def collect(self, calls: Sequence[AttemptCall], within: float = 90.0) -> list[Completion]:
        """Wait for completions and return them in the order of the calls; each must come exactly once."""
        wanted = {c.attempt_id for c in calls}
        async with asyncio.timeout(within):
            while not wanted <= {c.attempt_id for c in self.completions}:
                self.completions += await self.executor.completions()
        ids = [c.attempt_id for c in self.completions]
        assert len(ids) == len(set(ids)), "an attempt was completed twice"
        by_id = {c.attempt_id: c for c in self.completions}
        return [by_id[c.attempt_id] for c in calls]

    def log(self, completion: Completion) -> bytes:
        """Return the whole log of an attempt."""
        return b"".join(n.logs for n in self.notices if n.attempt_id == completion.attempt_id) + completion.logs

    def dropped(self, completion: Completion) -> int:
        """Return the bytes of its log that were dropped."""
        told = sum(n.logs_dropped for n in self.notices if n.attempt_id == completion.attempt_id)
        return told + completion.logs_dropped

    def of(self, attempt: AttemptId) -> list[Notice]:
        """Return the notices of an attempt."""
        return [n for n in self.notices if n.attempt_id == attempt]


class ExecutorSuite:
    """The promises of `StepExecutor`.

    Attributes:
        ends_for_real: Whether an attempt that does not yield ends with its process, and one that ends its process or
            outgrows its memory takes nobody along.
        catches_descriptors: Whether what C code and child processes print is caught.
    """

    ends_for_real: ClassVar[bool] = True
    catches_descriptors: ClassVar[bool] = True

    def make_executor(self, blobs: FolderBlobs) -> StepExecutor:
        """Return an executor that is not started, whose invoker is `SuiteInvoker(blobs)`."""
        raise NotImplementedError

    @asynccontextmanager
    async def driver(self, tmp_path: Path) -> AsyncGenerator[Driver, None]:
        """Give an executor that is started, and close it."""
        folder = tmp_path / "blobs"
        folder.mkdir(exist_ok=True)
        executor = self.make_executor(FolderBlobs(str(folder)))
        await executor.start()
        driver = Driver(executor)
        try:
            yield driver
        finally:
            await driver.stop()
            await executor.close(grace=NONE)

    # ------------------------------------------------------------ ends

    def test_a_result_comes_back(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                attempt = call("echo", value={"a": [1, 2.5, None, "é"]})
                (done,) = await driver.run(attempt)
                assert isinstance(done.outcome, Succeeded)
                assert decode(done.outcome.outputs["result"], _no_blob, trusted=False) == {"a": [1, 2.5, None, "é"]}
                assert done.started_at is not None
                assert done.finished_at is not None
                assert done.started_at <= done.finished_at

        asyncio.run(main())

    def test_attempts_that_only_wait_leave_room_for_others_and_end_on_cancel_and_time_out(self, tmp_path: Path) -> None:
        door = tmp_path / "door"

        def waiting(**keys: Any) -> AttemptCall:
            attempt = call("linger", isolation=Isolation.SHARED, door=str(door), **keys)
            return replace(attempt, resources=Resources(cpus=0))

        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                many = [waiting() for _ in range(40)]
                late, canceled = waiting(timeout=0.3, grace=0.1), waiting()
                driver.executor.submit([*many, late, canceled])
                (done,) = await driver.run(call("echo", value=1))
                assert isinstance(done.outcome, Succeeded), done
                await asyncio.sleep(SOON.total_seconds())
                driver.executor.cancel([canceled.attempt_id], grace=SOON)
                late_end, canceled_end = await driver.collect([late, canceled])
                assert isinstance(outcome_error(late_end), StepTimeoutError)
                assert isinstance(outcome_error(canceled_end), RunCanceledError)
                door.touch()
                ended = await driver.collect(many)
                assert all(isinstance(end.outcome, Succeeded) for end in ended), ended

        asyncio.run(main())

    def test_an_exception_comes_back_with_its_traceback_and_bases(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("fail", message="no such thing"))
                error = outcome_error(done)
                assert isinstance(error, StepFailedError)
                assert isinstance(done.outcome, Failed)
                assert "no such thing" in str(error)
                assert "in fail" in (error.traceback or "")
                assert "LookupError" in done.outcome.exception_names
                assert done.outcome.retryable

        asyncio.run(main())

    def test_sys_exit_is_a_failure_of_the_tool(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("leave", status=3, hard=False))
                assert isinstance(outcome_error(done), StepFailedError)
                assert "3" in str(outcome_error(done))

        asyncio.run(main())

    def test_a_worker_that_dies_is_lost_and_takes_nobody_along(self, tmp_path: Path) -> None:
        if not self.ends_for_real:
            return

        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                attempts = [call("leave", status=3, hard=True), call("crash"), call("echo", value=1)]
                left, crashed, fine = await driver.run(*attempts)
                assert isinstance(outcome_error(left), WorkerLostError)
                assert isinstance(outcome_error(crashed), WorkerLostError)
                assert isinstance(fine.outcome, Succeeded)

        asyncio.run(main())

    def test_memory_above_the_limit_ends_the_attempt_and_below_it_does_not(self, tmp_path: Path) -> None:
        if not self.ends_for_real:
            return

        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                mib = 1024 * 1024
                big = call("grow", size=400 * mib, seconds=20.0, memory=150 * mib)
                small = call("grow", size=20 * mib, seconds=0.6, memory=150 * mib)
                grown, fine = await driver.run(big, small)
                assert isinstance(outcome_error(grown), OutOfMemoryError)
                assert isinstance(fine.outcome, Succeeded)

        asyncio.run(main())

    # ------------------------------------------------------------ time-outs and cancels

    def test_an_attempt_past_its_timeout_is_a_timeout_even_if_it_yields_a_result(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("wait", seconds=30, yields=True, timeout=0.4, grace=20))
                assert isinstance(outcome_error(done), StepTimeoutError)
                assert isinstance(done.outcome, Failed)
                assert done.outcome.retryable

        asyncio.run(main())

    def test_an_attempt_that_does_not_yield_to_its_timeout_is_ended(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                mark = tmp_path / "mark"
                stuck = call("wait", seconds=8, yields=False, timeout=0.4, mark=str(mark), child=self.ends_for_real)
                (done,) = await driver.run(stuck, within=60)
                assert isinstance(outcome_error(done), StepTimeoutError)
                if self.ends_for_real:
                    assert all([is_gone(pid) for pid in await appears(mark)])  # noqa: C419 - name every one

        asyncio.run(main())

    def test_a_cancel_reaches_a_running_attempt_within_a_second(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                mark = tmp_path / "mark"
                attempt = call("wait", seconds=60, yields=True, mark=str(mark))
                driver.executor.submit([attempt])
                await appears(mark)
                began = time.monotonic()
                driver.executor.cancel([attempt.attempt_id], grace=timedelta(seconds=30))
                (done,) = await driver.collect([attempt])
                assert time.monotonic() - began < 2.0  # one second, and what a busy machine adds
                error = outcome_error(done)
                assert isinstance(error, RunCanceledError), "a result after the flag was seen may be a partial one"

        asyncio.run(main())

    def test_a_cancel_ends_an_attempt_that_does_not_yield(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                mark = tmp_path / "mark"
                attempt = call("wait", seconds=8, yields=False, mark=str(mark), child=self.ends_for_real)
                driver.executor.submit([attempt])
                pids = await appears(mark)
                driver.executor.cancel([attempt.attempt_id], grace=SOON)
                driver.executor.cancel([attempt.attempt_id, AttemptId("unknown")], grace=SOON)
                (done,) = await driver.collect([attempt], within=7)
                assert isinstance(outcome_error(done), RunCanceledError)
                if self.ends_for_real:
                    assert all([is_gone(pid) for pid in pids])  # noqa: C419
                (after,) = await driver.run(call("echo", value=1))
                assert isinstance(after.outcome, Succeeded), "the executor goes on"

        asyncio.run(main())

    def test_a_canceled_attempt_that_waits_for_its_turn_never_starts(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                file = tmp_path / "started"
                blockers = [call("wait", seconds=60, yields=True) for _ in range(64)]
                queued = [call("append", file=str(file)) for _ in range(5)]
                driver.executor.submit([*blockers, *queued])
                ids = [c.attempt_id for c in (*queued, *blockers)]
                driver.executor.cancel(ids, grace=timedelta(seconds=20))
                done = await driver.collect([*queued, *blockers])
                assert all(isinstance(outcome_error(c), RunCanceledError) for c in done[:5])
                assert not file.exists()

        asyncio.run(main())

    def test_close_ends_running_attempts_and_may_be_repeated(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                mark = tmp_path / "mark"
                driver.executor.submit([call("wait", seconds=8, yields=False, mark=str(mark), child=self.ends_for_real)])
                pids = await appears(mark)
                began = time.monotonic()
                await driver.executor.close(grace=SOON)
                assert time.monotonic() - began < 5
                await driver.executor.close(grace=SOON)
                if self.ends_for_real:
                    assert all([is_gone(pid) for pid in pids])  # noqa: C419

        asyncio.run(main())

    # ------------------------------------------------------------ logs and progress

    def test_what_a_tool_prints_and_logs_is_its_log(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                short, slow = await driver.run(call("say", text="grüße 🐟"), call("say", text="langsam", seconds=3.0))
                for done, text in ((short, "grüße 🐟"), (slow, "langsam")):
                    lines = driver.log(done).decode().splitlines()
                    assert lines.count(text) == 2
                    assert any(f"logged {text}" in line for line in lines)
                assert any("langsam" in n.logs.decode() for n in driver.of(slow.attempt_id)), "it is told while it runs"

        asyncio.run(main())

    def test_what_children_and_c_code_print_is_caught(self, tmp_path: Path) -> None:
        if not self.catches_descriptors:
            return

        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("shout", text="here"))
                assert driver.log(done).splitlines() == [b"child here", b"c here"]

        asyncio.run(main())

    def test_c_code_that_prints_while_nothing_else_can_run_is_caught(self, tmp_path: Path) -> None:
        if not self.catches_descriptors:
            return

        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("bellow", size=500_000, timeout=20))
                assert isinstance(done.outcome, Succeeded)
                assert driver.log(done) == b"x" * 499_999 + b"\n"

        asyncio.run(main())

    def test_a_log_of_100_mb_is_cut_and_the_rest_counted(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                size = 100 * 1024 * 1024
                (done,) = await driver.run(call("chatter", size=size))
                assert isinstance(done.outcome, Succeeded)
                kept = driver.log(done)
                assert len(kept) == LOG_LIMIT
                assert kept.startswith(b"x" * 1023 + b"\n")
                assert driver.dropped(done) == size - LOG_LIMIT

        asyncio.run(main())

    def test_progress_is_told_while_an_attempt_runs(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                (done,) = await driver.run(call("work", steps=35, seconds=0.1))
                notices = driver.of(done.attempt_id)
                assert notices[0].started_at is not None
                assert all(n.started_at is None for n in notices[1:])
                steps = [n.progress.done for n in notices if n.progress is not None]
                assert steps == sorted(steps)
                assert len(steps) >= 2
                assert len(notices) <= 25, "they are batched"

        asyncio.run(main())

    def test_secrets_are_masked_in_logs_errors_and_tracebacks_but_not_in_results(self, tmp_path: Path) -> None:
        async def main() -> None:
            secret = "correct horse battery"  # noqa: S105 - the test's own
            text = SecretText((SecretName("pass"),))
            async with self.driver(tmp_path) as driver:
                told, raised = await driver.run(
                    call("leak", secret=text, raises=False, secrets={"pass": secret}),
                    call("leak", secret=text, raises=True, secrets={"pass": secret}),
                )
                assert isinstance(told.outcome, Succeeded)
                assert told.outcome.outputs["result"].data == f'"{secret}"'.encode()
                assert driver.log(told) == b"it is ***!\n"
                error = outcome_error(raised)
                assert secret not in str(error.to_json())
                assert "wrong secret ***" in str(error)

        asyncio.run(main())

    # ------------------------------------------------------------ surroundings and values

    def test_variables_are_set_for_an_attempt_and_its_surroundings_put_back(self, tmp_path: Path) -> None:
        async def main() -> None:
            names = ["SUITE_GIVEN", "SUITE_LEFT", "PATH"]
            async with self.driver(tmp_path) as driver:
                first = await driver.run(call("look", names=names, env={"SUITE_GIVEN": "yes"}))
                for _ in range(3):
                    await driver.run(call("disturb", folder=str(tmp_path)))
                after = await driver.run(*[call("look", names=names) for _ in range(3)])
                (said,) = await driver.run(call("say", text="still heard"))
                (seen,) = [_result(c) for c in first]
                assert seen["env"]["SUITE_GIVEN"] == "yes"
                for done in after:
                    found = _result(done)
                    assert found["cwd"] == seen["cwd"]
                    assert found["env"] == {**seen["env"], "SUITE_GIVEN": None, "SUITE_LEFT": None}
                assert b"still heard" in driver.log(said)

        asyncio.run(main())

    def test_large_values_travel_as_blobs(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                blobs = FolderBlobs(str(tmp_path / "blobs"))
                given = encode("ü" * 300_000, blobs.put)
                assert given.digest is not None
                (done,) = await driver.run(call("echo", value=given))
                assert isinstance(done.outcome, Succeeded)
                value = done.outcome.outputs["result"]
                assert value.data is None
                assert value == given
                assert blobs.path(Digest(value.digest or "")) is not None

        asyncio.run(main())

    def test_a_clean_child_process_carries_a_function_of_the_standard_library(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                attempt = call("echo", isolation=Isolation.PROCESS, path="a/b.txt")
                lock = replace(attempt.tool, target="posixpath:basename")
                attempt = replace(attempt, tool=lock, arguments=Arguments({"p": "a/b.txt"}))
                (done,) = await driver.run(attempt)
                assert _result(done) == "b.txt"

        asyncio.run(main())

    def test_500_attempts_at_once_each_end_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                attempts = [call("echo", value=i) for i in range(500)]
                done = await driver.run(*attempts)
                assert [_result(c) for c in done] == list(range(500))
                await asyncio.sleep(0.05)
                assert len(driver.completions) == 500

        asyncio.run(main())

    def test_there_is_always_a_slot(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with self.driver(tmp_path) as driver:
                assert driver.executor.slots(Resources(cpus=10_000)) == 1
                assert driver.executor.slots(Resources(cpus=0.5)) >= driver.executor.slots(Resources(cpus=1))
                assert await driver.executor.describe()

        asyncio.run(main())


def _result(completion: Completion) -> Any:
    assert isinstance(completion.outcome, Succeeded), completion
    return decode(completion.outcome.outputs["result"], _no_blob, trusted=False)


def _no_blob(digest: Digest) -> bytes:
    raise AssertionError(f"the value should be inline, and is the blob {digest}")
