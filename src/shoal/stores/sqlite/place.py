"""Where a journal may stand: in a file of this user's, on a disk of this host that has room.

Owns what is known of files and file systems that SQLite's own words do not tell, and the list of network file systems.
SQLite's write-ahead log lives in memory that the processes of one host share, and network file systems often do not keep
their promises about locks: a journal there would be lost sooner or later.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

from shoal.errors import StoreUnavailableError

_MOUNTS: Final = Path("/proc/self/mounts")
_NETWORK: Final = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("orangefs", "pvfs2", "smb", "smb3", "smbfs", "wekafs"),
    }
)
_NETWORK_FUSE: Final = frozenset(
    {
        *("blobfuse", "ceph", "curlftpfs", "davfs2", "gcsfuse", "glusterfs", "goofys", "juicefs", "mount-s3", "rclone"),
        *("s3fs", "seaweedfs", "sshfs"),
    }
)


_ROOM: Final = 128 * 1024
"""Free bytes below which a failed write is put down to a full disk: SQLite makes files in steps of 32 KiB."""

_OTHER: Final = "move it away, or name another file in SHOAL_STORE"
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_unusable(path: Path) -> None:
    """Raise `StoreUnavailableError` if a journal is no file, or this user may not write it, its log or their folder."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        try:
            mode = file.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _refusal(path, f"{file} cannot be looked at: {error.strerror}", _OTHER) from error
        if not stat.S_ISREG(mode):
            raise _refusal(path, f"{file} is {_KINDS.get(stat.S_IFMT(mode), 'no file')}, not a file", _OTHER)
        if not _may(file, os.R_OK | os.W_OK):
            raise _read_only(path, file, f"chmod u+rw {file}")
    if path.parent.is_dir() and not _may(path.parent, os.W_OK | os.X_OK):
        raise _read_only(path, path.parent, f"chmod u+rwx {path.parent}")


def _read_only(path: Path, what: Path, remedy: str) -> StoreUnavailableError:
    try:
        mounted = bool(os.statvfs(what).f_flag & os.ST_RDONLY)
    except OSError:
        mounted = False
    if mounted:
        return _refusal(
            path,
            f"{what} is on a file system that is mounted read-only",
            "mount it writable, or set SHOAL_HOME to a folder elsewhere",
        )
    folder = "; SQLite writes beside the journal" if what == path.parent else ""
    mode = stat.S_IMODE(what.stat().st_mode)
    return _refusal(
        path,
        f"{what} is read-only for this user (mode {mode:04o}, user {os.geteuid()}){folder}",
        f"`{remedy}` as its owner, or set SHOAL_HOME to a folder of yours",
    )


def _refusal(path: Path, why: str, hint: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"the journal {path} cannot be used: {why}", hint=hint)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def is_full(path: Path) -> bool:
    """Return whether the disk that a file is on, or is to be on, has no room for it."""
    try:
        state = os.statvfs(path.parent)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return state.f_bavail * state.f_frsize < _ROOM or (state.f_files > 0 and state.f_favail == 0)


def refuse_network(path: Path) -> None:
    """Raise `StoreUnavailableError` if a path is on a network file system. Tells only on Linux."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = network_kind(path.resolve(), mounts)
    if kind:
        raise StoreUnavailableError(
            f"the journal {path} is on a network file system ({kind}), where SQLite would lose data",
            hint="set SHOAL_HOME to a folder on a local disk; blobs may stay there (SHOAL_BLOBS)",
        )


def network_kind(path: Path, mounts: str) -> str | None:
    """Return the network file system that a path is on by the text of a mount table; None if it is on another one.

    Args:
        path: Absolute, without symbolic links.
        mounts: In the form of `/proc/mounts`.
    """
    found, depth = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004 - device, mount point, type
            continue
        point = Path(_unescaped(fields[1]))
        if len(point.parts) >= depth and path.is_relative_to(point):  # later mounts hide earlier ones
            found, depth = fields[2], len(point.parts)
    fuse = found.removeprefix("fuse.") if found.startswith("fuse.") else ""
    return found if found in _NETWORK or fuse in _NETWORK_FUSE else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
