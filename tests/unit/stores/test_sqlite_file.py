"""What a file or its file system can do to a journal, and what the user is told."""

import asyncio
import contextlib
import os
import socket
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from shoal.errors import StoreUnavailableError
from shoal.model.ids import OwnerId
from shoal.stores.sqlite import place
from shoal.stores.sqlite import store as store_module
from shoal.stores.sqlite.connection import Connection
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import batch, changed, json_value, new_run

ONE = OwnerId("one")


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1.5 MiB; needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"mounting is not permitted: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.fixture
def common_folder():
    """A folder that any user can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def as_somebody_else():
    """Be no superuser, whom no mode of a file stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_journal_is_made_with_its_folder_and_opened_again(tmp_path):
    path = tmp_path / "new" / "folder" / "journal.db"
    new = new_run()
    first = SqliteRunStore(path)
    run(first.create(new))
    first.close()
    again = SqliteRunStore(path)
    assert run(again.run(new.id)).id == new.id
    again.close()


def test_commits_are_synced_and_foreign_keys_hold(path):
    SqliteRunStore(path).close()
    connection = Connection(path)
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("foreign_keys") == 1
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path):
    path.write_text("dear diary, " * 500)
    with pytest.raises(StoreUnavailableError, match="not a SQLite database; name another file"):
        SqliteRunStore(path)
    assert path.read_text() == "dear diary, " * 500


def test_a_database_of_something_else_is_refused_and_left_as_it_is(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="no journal of Shoal"):
        SqliteRunStore(path)
    assert path.read_bytes() == before


def test_a_backup_of_a_journal_in_use_is_a_journal(path, tmp_path):
    store = SqliteRunStore(path)
    new = new_run()
    run(store.create(new, owner=ONE))
    source, target = sqlite3.connect(path), sqlite3.connect(tmp_path / "backup.db")
    source.backup(target)
    target.execute("PRAGMA journal_mode=DELETE")
    source.close()
    target.close()
    run(store.commit([batch(new, changed("later"))]))
    restored = SqliteRunStore(tmp_path / "backup.db")
    assert restored._db.pragma("journal_mode") == "wal"
    assert run(restored.steps(new.id)) == []
    assert len(run(restored.events(new.id))) == 1
    restored.close()
    store.close()


def test_a_folder_made_for_a_journal_is_for_its_user_only(tmp_path):
    SqliteRunStore(tmp_path / "home" / "journal.db").close()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_damaged_journal_is_named_as_such(path):
    store = SqliteRunStore(path)
    new = new_run()
    run(store.create(new, owner=ONE))
    run(store.commit([batch(new, *(changed(f"s{n}", result={"x": json_value("y" * 500)}) for n in range(500)))]))
    store.close()
    with path.open("r+b") as file:
        for page in range(4, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(StoreUnavailableError, match=r"is damaged; keep a copy.*backup"):  # noqa: PT012
        damaged = SqliteRunStore(path)
        try:
            run(damaged.steps(new.id))
        finally:
            damaged.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="folder of the journal"):
        SqliteRunStore(tmp_path / "file" / "journal.db")


@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "a folder"), (os.mkfifo, "a FIFO"), (bind, "a socket")])
def test_what_is_no_file_in_the_place_of_the_journal_is_named(path, make, kind):
    make(path)
    with pytest.raises(StoreUnavailableError, match=rf"journal.db is {kind}, not a file \(move it away, or name another"):
        SqliteRunStore(path)


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db-shm", ""])
def test_what_this_user_may_not_write_is_named_with_what_to_do(common_folder, name):
    path = common_folder / "journal.db"
    store = SqliteRunStore(path)
    for file in common_folder.iterdir():
        file.chmod(0o666)
    common_folder.chmod(0o777)
    (common_folder / name).chmod(0o555)
    with as_somebody_else(), pytest.raises(StoreUnavailableError) as caught:
        SqliteRunStore(path)
    store.close()
    assert f"{common_folder / name} is read-only for this user (mode 0555" in caught.value.message
    assert "`chmod u+rw" in caught.value.hint
    assert ("SQLite writes beside the journal" in caught.value.message) is (name == "")


def test_a_journal_that_stays_locked_is_an_error_that_says_so_and_records_nothing(path, monkeypatch):
    monkeypatch.setattr("shoal.stores.sqlite.connection.BUSY_TIMEOUT", 0.05)
    store = SqliteRunStore(path)
    new = new_run()
    run(store.create(new, owner=ONE))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="kept it locked"):
        run(store.commit([batch(new, changed("a"))]))
    assert run(store.steps(new.id)) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert run(store.commit([batch(new, changed("a"))])) == frozenset()
    store.close()


def test_a_journal_locked_for_a_moment_is_waited_for(path):
    store = SqliteRunStore(path)
    new = new_run()
    run(store.create(new, owner=ONE))
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, holder.execute, ["COMMIT"])
    timer.start()
    assert run(store.commit([batch(new, changed("a"))])) == frozenset()
    timer.join()
    holder.close()
    store.close()


def test_a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_room_again(small_disk):
    store = SqliteRunStore(small_disk / "journal.db")
    new = new_run()
    run(store.create(new, owner=ONE))
    ballast = small_disk / "ballast"
    recorded = []
    with pytest.raises(StoreUnavailableError, match=r"the disk is full .*make room"):  # noqa: PT012
        for n in range(2000):
            name = f"s{n}"
            run(store.commit([batch(new, changed(name, result={"x": json_value("y" * 4000)}))]))
            recorded.append(name)
            if n == 3:
                ballast.write_bytes(b"x" * 600_000)
    assert len(recorded) > 10
    assert [step.path for step in run(store.steps(new.id))] == recorded
    more = [new_run() for _ in range(100)]
    with pytest.raises(StoreUnavailableError):
        run(_create_all(store, more))
    ballast.unlink()
    assert run(store.commit([batch(new, changed("after"))])) == frozenset()
    store.close()
    again = SqliteRunStore(small_disk / "journal.db")
    assert [step.path for step in run(again.steps(new.id))] == [*recorded, "after"]
    assert [event.seq for event in run(again.events(new.id))] == list(range(1, len(recorded) + 3))
    again.close()


def test_a_read_only_journal_is_refused_with_what_to_do(small_disk):
    SqliteRunStore(small_disk / "journal.db").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreUnavailableError, match=r"mounted read-only .*SHOAL_HOME"):
        SqliteRunStore(small_disk / "journal.db")
    with pytest.raises(StoreUnavailableError, match=r"mounted read-only .*SHOAL_HOME"):
        SqliteRunStore(small_disk / "other.db")


@pytest.mark.parametrize("left", [0, 4, 8, 16, 20, 24, 32, 40, 48, 60, 120])
def test_a_disk_that_is_full_at_the_start_is_said_to_be(small_disk, left):
    with (small_disk / "ballast").open("wb") as ballast:
        ballast.write(b"x" * (1536 - left) * 1024)
    with pytest.raises(StoreUnavailableError, match=r"the disk is full .*make room"):
        SqliteRunStore(small_disk / "journal.db")
    (small_disk / "ballast").unlink()
    SqliteRunStore(small_disk / "journal.db").close()


async def _create_all(store, runs):
    for new in runs:
        await store.create(new, owner=ONE)


MOUNTS = """\
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /home nfs4 rw 0 0
/dev/vdb /home/me/local xfs rw 0 0
me@host:/ /mnt/my\\040files fuse.sshfs rw 0 0
/dev/sdc /media/stick fuseblk rw 0 0
//nas/x /data cifs rw 0 0
tmpfs /data tmpfs rw 0 0
drive /d 9p rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/shoal", None),
        ("/home/me/.local", "nfs4"),
        ("/homeless", None),
        ("/home/me/local/x", None),
        ("/mnt/my files/x", "fuse.sshfs"),
        ("/media/stick/x", None),
        ("/data/x", None),
        ("/d", "9p"),
    ],
)
def test_network_file_systems_are_told_by_the_innermost_mount(path, kind):
    assert place.network_kind(place.Path(path), MOUNTS) == kind


def test_a_journal_on_a_network_file_system_is_refused_before_it_is_touched(path, monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    with pytest.raises(StoreUnavailableError, match=r"network file system \(nfs\).*SHOAL_HOME"):
        SqliteRunStore(path)
    assert not path.exists()
    monkeypatch.setattr(place, "_MOUNTS", tmp_path / "none")
    SqliteRunStore(path).close()


def test_a_failing_open_leaves_no_connection_behind(path, monkeypatch):
    opened = []

    class Watched(Connection):
        def close(self):
            opened.append(self)
            super().close()

    def fail(*_args, **_kwargs):
        raise StoreUnavailableError("x")

    monkeypatch.setattr(store_module, "Connection", Watched)
    monkeypatch.setattr(store_module, "bring_up_to_date", fail)
    with pytest.raises(StoreUnavailableError):
        SqliteRunStore(path)
    assert len(opened) == 1
