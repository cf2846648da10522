"""What only blobs in files can do, and must not."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.errors import NotFoundError, StoreUnavailableError
from shoal.model.encoding import digest_of
from shoal.stores.blobs import FileBlobStore
from shoal.stores.remote_blobs import FsspecBlobStore

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def blobs(tmp_path):
    return FileBlobStore(str(tmp_path / "blobs"))


@pytest.mark.parametrize("point", ["blob.before_rename", "blob.after_rename"])
@pytest.mark.parametrize("mode", ["exit", "kill"])
def test_a_crash_in_the_middle_leaves_a_whole_blob_or_none(blobs, point, mode):
    code = (
        "import sys; from shoal import faults; from shoal.stores.blobs import FileBlobStore\n"
        f"faults.arm({point!r}, mode={mode!r}); FileBlobStore(sys.argv[1]).put(b'x' * 100000)"
    )
    done = subprocess.run([sys.executable, "-c", code, blobs.folder], check=False)
    assert done.returncode == (86 if mode == "exit" else -9)
    digest = digest_of(b"x" * 100000)
    if point == "blob.after_rename":
        assert blobs.get(digest) == b"x" * 100000
    else:
        with pytest.raises(NotFoundError):
            blobs.get(digest)
        assert blobs.sweep(frozenset(), SOON) == (1, 100000)
    assert blobs.put(b"x" * 100000) == digest
    assert blobs.get(digest) == b"x" * 100000


def test_a_blob_that_was_cut_off_is_written_again(blobs):
    digest = blobs.put(b"whole")
    Path(blobs.path(digest)).write_bytes(b"wh")
    assert blobs.put(b"whole") == digest
    assert blobs.get(digest) == b"whole"


def test_putting_a_blob_again_saves_it_from_a_sweep(blobs):
    digest = blobs.put(b"old")
    os.utime(blobs.path(digest), (1, 1))
    blobs.put(b"old")
    assert blobs.sweep(frozenset(), datetime.now(UTC) - timedelta(minutes=1)) == (0, 0)


def test_no_symbolic_link_is_followed(blobs, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    digest = digest_of(b"secret")
    shard = tmp_path / "blobs" / digest[:2]
    shard.mkdir(parents=True)
    (shard / digest).symlink_to(outside)
    with pytest.raises(StoreUnavailableError):
        blobs.get(digest)
    assert blobs.path(digest) is None
    assert blobs.sweep(frozenset(), SOON) == (0, 0)
    assert blobs.put(b"secret") == digest
    assert not (shard / digest).is_symlink()


def test_a_folder_of_blobs_that_is_a_link_is_neither_read_nor_swept(blobs, tmp_path):
    elsewhere = FileBlobStore(str(tmp_path / "elsewhere"))
    digest = elsewhere.put(b"x")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / digest[:2]).symlink_to(tmp_path / "elsewhere" / digest[:2])
    with pytest.raises(StoreUnavailableError):
        blobs.get(digest)
    assert blobs.sweep(frozenset(), SOON) == (0, 0)
    assert elsewhere.get(digest) == b"x"


def test_a_sweep_leaves_what_is_not_a_blob(blobs, tmp_path):
    digest = blobs.put(b"x")
    stranger = tmp_path / "blobs" / digest[:2] / "notes.txt"
    stranger.write_text("mine")
    (tmp_path / "blobs" / "README").write_text("mine")
    assert blobs.sweep(frozenset(), SOON) == (1, 1)
    assert stranger.exists()


def test_a_full_disk_is_said_and_leaves_no_rest(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"mounting is not permitted: {made.stderr.decode().strip()}")
    try:
        blobs = FileBlobStore(str(disk))
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            blobs.put(b"x" * 1_000_000)
        assert blobs.get(blobs.put(b"x" * 100_000)) == b"x" * 100_000
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_storage_that_cannot_be_reached_is_an_error_of_ours(tmp_path):
    with pytest.raises(StoreUnavailableError, match="SHOAL_BLOBS"):
        FsspecBlobStore("nosuchprotocol://x").put(b"x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError):
        FileBlobStore(str(tmp_path / "file")).put(b"x")


def test_stores_that_travel_import_no_sql(tmp_path):
    code = (
        "import sys, pickle; from shoal.stores.blobs import FileBlobStore; from shoal.stores.remote_blobs import FsspecBlobStore\n"
        "from shoal.stores.opening import open_blobs, open_logs; import shoal.stores.memory\n"
        "open_blobs(sys.argv[1]).put(b'x'); open_logs(sys.argv[1]).append('r', 's', 1, b'x')\n"
        "pickle.loads(pickle.dumps(FsspecBlobStore('memory://x'))).put(b'x')\n"
        "print([m for m in ('sqlalchemy', 'alembic', 'sqlite3', 'ray') if m in sys.modules])"
    )
    place = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
