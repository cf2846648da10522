"""Where a journal may stand: on a disk of this host.

Owns the list of network file systems. SQLite's write-ahead log lives in memory that the processes of one host share, and
network file systems often do not keep their promises about locks: a journal there would be lost sooner or later.
"""

from __future__ import annotations

import re
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
