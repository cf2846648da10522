"""The promises of `BlobStore`, as tests that every store of blobs passes.

Subclass `BlobStoreSuite`, define the fixture `blobs` (a store on an empty place) and, if its blobs can be damaged from
outside, `damage`. A store that cannot leave its process sets `travels` to false.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from shoal.errors import NotFoundError, StoreUnavailableError
from shoal.model.ids import Digest
from shoal.ports import BlobStore

NOTHING: frozenset[Digest] = frozenset()


class BlobStoreSuite:
    """What every `BlobStore` does."""

    travels = True

    @pytest.fixture
    def blobs(self) -> Iterator[BlobStore]:
        """Yield a store of blobs on an empty place."""
        raise NotImplementedError

    @pytest.fixture
    def damage(self) -> Callable[[Digest], None] | None:
        """Return what replaces the bytes of a blob by others, of the same number; None: it cannot be done."""
        return None

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096], ids=["empty", "short", "1 MiB"])
    def test_what_is_put_comes_back_under_its_sha256(self, blobs: BlobStore, data: bytes) -> None:
        digest = blobs.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert blobs.get(digest) == data

    def test_putting_the_same_bytes_again_changes_nothing(self, blobs: BlobStore) -> None:
        assert blobs.put(b"same") == blobs.put(b"same")
        assert blobs.sweep(NOTHING, datetime.now(UTC) + timedelta(days=1)) == (1, 4)

    def test_a_blob_that_is_not_there_is_not_found(self, blobs: BlobStore) -> None:
        absent = Digest(hashlib.sha256(b"absent").hexdigest())
        with pytest.raises(NotFoundError, match=absent):
            blobs.get(absent)
        assert blobs.path(absent) is None

    @pytest.mark.parametrize("text", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 63 + "/", "a" * 64 + "\n"])
    def test_what_is_no_digest_never_becomes_a_path(self, blobs: BlobStore, text: str) -> None:
        with pytest.raises(NotFoundError, match="digest"):
            blobs.get(Digest(text))
        with pytest.raises(NotFoundError, match="digest"):
            blobs.path(Digest(text))

    def test_damaged_bytes_are_never_returned(self, blobs: BlobStore, damage: Callable[[Digest], None] | None) -> None:
        if damage is None:
            pytest.skip("the blobs of this store cannot be damaged from outside")
        digest = blobs.put(b"precious")
        damage(digest)
        with pytest.raises(StoreUnavailableError, match="damaged"):
            blobs.get(digest)

    def test_a_path_leads_to_the_bytes(self, blobs: BlobStore) -> None:
        path = blobs.path(blobs.put(b"in a file"))
        if path is not None:
            with open(path, "rb") as file:  # noqa: PTH123
                assert file.read() == b"in a file"

    def test_a_sweep_takes_only_what_is_old_and_not_referenced(self, blobs: BlobStore) -> None:
        kept, gone = blobs.put(b"kept"), blobs.put(b"gone!")
        past, future = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
        assert blobs.sweep(NOTHING, past) == (0, 0)
        assert blobs.sweep(frozenset({kept}), future, dry_run=True) == (1, 5)
        assert blobs.get(gone) == b"gone!"
        assert blobs.sweep(frozenset({kept}), future) == (1, 5)
        assert blobs.get(kept) == b"kept"
        with pytest.raises(NotFoundError):
            blobs.get(gone)
        assert blobs.put(b"gone!") == gone
        assert blobs.get(gone) == b"gone!"

    def test_an_empty_place_is_swept_and_read_without_error(self, blobs: BlobStore) -> None:
        assert blobs.sweep(NOTHING, datetime.now(UTC)) == (0, 0)

    def test_many_threads_put_the_same_blobs_at_once(self, blobs: BlobStore) -> None:
        contents = [bytes([n]) * 1000 for n in range(8)] * 8
        with ThreadPoolExecutor(8) as threads:
            digests = list(threads.map(blobs.put, contents))
        assert all(blobs.get(digest) == data for digest, data in zip(digests, contents, strict=True))

    def test_it_travels_as_its_settings(self, blobs: BlobStore) -> None:
        if not self.travels:
            pytest.skip("this store serves one process")
        digest = blobs.put(b"from there")
        carried = pickle.dumps(blobs)
        assert len(carried) < 1000
        assert pickle.loads(carried).get(digest) == b"from there"  # noqa: S301
