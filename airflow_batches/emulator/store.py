"""The stored batches: an index in memory, in the order of creation, over a `Storage`.

`MemoryStorage` ends with the process. `FolderStorage` writes two files for each batch: `<id>.lines` (msgpack) first,
then `<id>.json`; with its rename into place the batch exists. Nothing is fsynced: the files survive the end of the
process, as documented, not a crash of the machine.
"""

from __future__ import annotations

import fcntl
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from airflow_batches.emulator.lifecycle import StoredBatch
from airflow_batches.emulator.lines import Lines
from airflow_batches.emulator.paging import Page, page_of


class Storage(Protocol):
    """What `Store` needs of the place where batches are stored."""

    def batches(self) -> list[StoredBatch]: ...
    def add(self, batch: StoredBatch, lines: Lines) -> None: ...
    def save(self, batch: StoredBatch) -> None: ...
    def lines(self, batch_id: str) -> Lines: ...
    def remove(self, batch_id: str) -> None: ...
    def offset(self) -> int: ...
    def save_offset(self, offset: int) -> None: ...
    def close(self) -> None: ...


class MemoryStorage:
    """Batches in memory, lost when the process ends."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}

    def batches(self) -> list[StoredBatch]:
        return []

    def add(self, batch: StoredBatch, lines: Lines) -> None:
        self._lines[batch.id] = lines

    def save(self, batch: StoredBatch) -> None:
        """Nothing to do: the index holds the batch itself."""

    def lines(self, batch_id: str) -> Lines:
        return self._lines[batch_id]

    def remove(self, batch_id: str) -> None:
        del self._lines[batch_id]

    def offset(self) -> int:
        return 0

    def save_offset(self, offset: int) -> None:
        """Nothing to do: the clock ends with the process."""

    def close(self) -> None:
        """Nothing to do."""


class FolderStorage:
    """Batches in a folder, used by one emulator at a time and loaded by the next one.

    Raises BlockingIOError when another emulator uses the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = folder / "clock"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise

    def batches(self) -> list[StoredBatch]:
        decoder = msgspec.json.Decoder(StoredBatch)
        found = [decoder.decode(path.read_bytes()) for path in self._folder.glob("msgbatch_*.json")]
        known = {batch.id for batch in found}
        for path in self._folder.glob("msgbatch_*.*"):  # the remains of a create that did not finish
            if path.suffix == ".part" or path.stem not in known:
                path.unlink()
        return found

    def add(self, batch: StoredBatch, lines: Lines) -> None:
        self._write(self._path(batch.id, "lines"), msgspec.msgpack.encode(lines))
        self.save(batch)

    def save(self, batch: StoredBatch) -> None:
        self._write(self._path(batch.id, "json"), msgspec.json.encode(batch))

    def lines(self, batch_id: str) -> Lines:
        return msgspec.msgpack.decode(self._path(batch_id, "lines").read_bytes(), type=Lines)

    def remove(self, batch_id: str) -> None:
        self._path(batch_id, "json").unlink()
        self._path(batch_id, "lines").unlink()

    def offset(self) -> int:
        return int(self._clock.read_text()) if self._clock.exists() else 0

    def save_offset(self, offset: int) -> None:
        self._write(self._clock, str(offset).encode())

    def close(self) -> None:
        self._lock.close()

    def _path(self, batch_id: str, suffix: str) -> Path:
        return self._folder / f"{batch_id}.{suffix}"

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        part.replace(path)


class Store:
    """All batches.

    Every method is atomic; steps that belong together are made inside `changing`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.RLock()
        self._by_id: dict[str, StoredBatch] = {}
        self._ordered: dict[str, list[StoredBatch]] = {}
        self._count = 0
        for batch in sorted(storage.batches(), key=lambda r: r.order):
            self._enter(batch)

    def add(self, batch: StoredBatch, lines: Lines) -> None:
        with self._lock:
            batch.order = self._count
            self._storage.add(batch, lines)
            self._enter(batch)

    def get(self, workspace: str, batch_id: str) -> StoredBatch | None:
        """Return the batch, or None when this workspace has none of that id."""
        batch = self._by_id.get(batch_id)
        return batch if batch is not None and batch.workspace == workspace else None

    def find(self, batch_id: str) -> StoredBatch | None:
        """Return the batch, of whichever workspace, or None."""
        return self._by_id.get(batch_id)

    def lines(self, batch: StoredBatch) -> Lines:
        return self._storage.lines(batch.id)

    def close(self) -> None:
        self._storage.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other threads from adding, changing or removing batches during the block."""
        with self._lock:
            yield

    def save(self, batch: StoredBatch) -> None:
        with self._lock:
            self._storage.save(batch)

    def remove(self, batch: StoredBatch) -> None:
        with self._lock:
            del self._by_id[batch.id]
            ordered = self._ordered[batch.workspace]
            del ordered[_place(ordered, batch)]
            self._storage.remove(batch.id)

    def clear(self) -> None:
        with self._lock:
            for batch in list(self._by_id.values()):
                self.remove(batch)

    def all(self) -> list[StoredBatch]:
        """Return all batches of all workspaces, newest first."""
        with self._lock:
            return sorted(self._by_id.values(), key=lambda r: -r.order)

    def page(
        self, workspace: str, limit: int, *, after: StoredBatch | None = None, before: StoredBatch | None = None
    ) -> Page[StoredBatch]:
        """Return the batches just older than `after`, just newer than `before`, or the newest."""
        with self._lock:
            ordered = self._ordered.get(workspace, [])
            older, newer = (None if batch is None else _place(ordered, batch) for batch in (after, before))
            return page_of(ordered, limit, after=older, before=newer)

    def _enter(self, batch: StoredBatch) -> None:
        self._by_id[batch.id] = batch
        self._ordered.setdefault(batch.workspace, []).append(batch)
        self._count = batch.order + 1


def _place(ordered: list[StoredBatch], batch: StoredBatch) -> int:
    return bisect_left(ordered, batch.order, key=lambda r: r.order)
