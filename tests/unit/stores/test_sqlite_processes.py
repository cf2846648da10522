"""Several processes on one journal, one of which is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from shoal import faults
from shoal.model.ids import OwnerId, RunId
from shoal.ports import ClaimQuery
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import batch, changed, new_run

ORPHANS = ClaimQuery(fingerprint="here")

HAMMER = """
import asyncio, json, pathlib, sys, threading, time
from shoal.model.ids import OwnerId, RunId, new_owner_id
from shoal.model.run import RunBatch
from shoal.ports import ClaimQuery
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import changed

path, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
owner = new_owner_id()

async def main():
    store = SqliteRunStore(path)
    until = time.monotonic() + seconds
    commits = refused = 0
    claimed = []
    print("ready", flush=True)
    while time.monotonic() < until:
        leases = await store.claim(owner, ClaimQuery(fingerprint="here", limit=2))
        claimed += [[lease.run_id, lease.epoch] for lease in leases]
        for n in range(5):
            batches = [
                RunBatch(l.run_id, l.run_id, l.epoch, (changed(f"{owner}-{l.epoch}-{n}"), changed("shared", attempts=l.epoch)))
                for l in leases
            ]
            left_out = await store.commit(batches)
            commits += len(batches) - len(left_out)
            refused += len(left_out)
        store.renew(owner)
        await store.release(owner, [l.run_id for l in leases], park=False)
    print(json.dumps({"commits": commits, "refused": refused, "claimed": claimed}), flush=True)
    store.close()

asyncio.run(main())
"""

HOLD = """
import asyncio, pathlib, sys
from shoal.model.ids import new_owner_id
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import AT, batch, changed, new_run

async def main():
    store = SqliteRunStore(pathlib.Path(sys.argv[1]))
    new, owner = new_run(), new_owner_id()
    await store.create(new, owner=owner)
    n = 0
    print(new.id, flush=True)
    while True:
        n += 1
        await store.commit([batch(new, *(changed(f"{n}.{k}") for k in range(3)))])
        print(n, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_make_one_journal_at_once_all_succeed(path):
    code = (
        "import sys, pathlib; from shoal.stores.sqlite.store import SqliteRunStore; SqliteRunStore(pathlib.Path(sys.argv[1]))"
    )
    children = [start(code, path) for _ in range(4)]
    assert [child.communicate()[1] for child in children] == [""] * 4
    SqliteRunStore(path).close()


def test_processes_that_hammer_one_journal_never_hold_one_lease_twice(path):
    store = SqliteRunStore(path)
    runs = [new_run() for _ in range(4)]

    async def prepare():
        for new in runs:
            await store.create(new)

    asyncio.run(prepare())
    children = [start(HAMMER, path, 2) for _ in range(2)]
    told = []
    for child in children:
        out, err = child.communicate(timeout=60)
        assert err == ""
        told.append(json.loads(out.splitlines()[-1]))
    assert all(one["refused"] == 0 for one in told), "nobody took a lease that was held"
    assert sum(one["commits"] for one in told) > 4, "on a busy machine few, but some"
    taken = [tuple(lease) for one in told for lease in one["claimed"]]
    assert len(set(taken)) == len(taken), "an epoch was given out twice"
    for new in runs:
        epochs = sorted(epoch for run_id, epoch in taken if run_id == new.id)
        assert epochs == list(range(1, len(epochs) + 1))
        events = asyncio.run(store.events(new.id, limit=1_000_000))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(events) == 1 + 10 * len(epochs)
    store.close()


def test_a_killed_owner_is_followed_at_once_and_nothing_it_was_told_of_is_lost(path):
    child = start(HOLD, path)
    run_id = RunId(child.stdout.readline().strip())
    told = [child.stdout.readline() for _ in range(20)]
    store = SqliteRunStore(path)
    assert asyncio.run(store.claim(OwnerId("next"), ORPHANS)) == []
    assert asyncio.run(store.run(run_id)).live
    child.send_signal(signal.SIGKILL)
    child.wait()
    with child.stdout, child.stderr:
        rest = child.stdout.read()
    began = time.monotonic()
    (lease,) = asyncio.run(store.claim(OwnerId("next"), ORPHANS))
    assert time.monotonic() - began < 1
    assert (lease.run_id, lease.epoch, lease.automatic) == (run_id, 2, True)
    last = int([*told, *(line for line in rest.splitlines() if line.strip())][-1])
    paths = [step.path for step in asyncio.run(store.steps(run_id))]
    assert len(paths) in (3 * last, 3 * last + 3), "all of a commit or nothing, and all that it was told of"
    assert paths == [f"{n}.{k}" for n in range(1, len(paths) // 3 + 1) for k in range(3)]
    store.close()


def ended_in_a_fork(point, mode, main):
    """Run `main` in a child process that dies at a crash point; return whether it did. A fork spares it all imports."""
    pid = os.fork()
    if pid == 0:
        try:
            faults.arm(point, mode=mode)
            asyncio.run(main())
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) == (86 if mode == "exit" else -signal.SIGKILL)


@pytest.mark.parametrize("mode", ["exit", "kill"])
@pytest.mark.parametrize(
    ("point", "recorded"),
    [
        ("create.before_commit", None),
        ("create.after_commit", 0),
        ("commit.before", 0),
        ("commit.inside", 0),
        ("commit.after", 1),
        ("release.before", 1),
    ],
)
def test_a_crash_at_any_point_leaves_all_of_a_transaction_or_nothing(path, point, mode, recorded):
    new = new_run()

    async def main():
        store = SqliteRunStore(path)
        await store.create(new, owner=OwnerId("first"))
        await store.commit([batch(new, changed("a"))])
        await store.release(OwnerId("first"), [new.id], park=False)

    assert ended_in_a_fork(point, mode, main)
    store = SqliteRunStore(path)
    leases = asyncio.run(store.claim(OwnerId("next"), ORPHANS))
    if recorded is None:
        assert leases == []
    else:
        assert [(lease.run_id, lease.epoch, lease.automatic) for lease in leases] == [(new.id, 2, True)]
        assert len(asyncio.run(store.steps(new.id))) == recorded
        assert len(asyncio.run(store.events(new.id))) == 1 + recorded
    store.close()


def test_a_crash_right_after_a_claim_leaves_the_run_to_the_next(path):
    store = SqliteRunStore(path)
    asyncio.run(store.create(new_run()))
    store.close()  # a connection must not be carried over a fork

    async def main():
        await SqliteRunStore(path).claim(OwnerId("first"), ORPHANS)

    assert ended_in_a_fork("claim.after", "exit", main)
    store = SqliteRunStore(path)
    (lease,) = asyncio.run(store.claim(OwnerId("next"), ORPHANS))
    assert (lease.epoch, lease.automatic) == (2, True)
    store.close()


def test_a_follower_in_another_process_sees_a_change_within_half_a_second(path):
    store = SqliteRunStore(path)
    code = (
        "import asyncio, pathlib, sys, time; from shoal.stores.sqlite.store import SqliteRunStore\n"
        "async def main():\n"
        "    store = SqliteRunStore(pathlib.Path(sys.argv[1])); mark = await store.wait(None, 1)\n"
        "    print('waiting', flush=True); new = await store.wait(mark, 30); print(time.time(), new != mark, flush=True)\n"
        "    store.close()\n"
        "asyncio.run(main())"
    )
    child = start(code, path)
    assert child.stdout.readline() == "waiting\n"
    asyncio.run(store.create(new_run()))
    changed_at = time.time()
    out, err = child.communicate(timeout=60)
    seen, different = out.split()
    assert (different, err) == ("True", "")
    assert float(seen) - changed_at < 0.5
    store.close()
