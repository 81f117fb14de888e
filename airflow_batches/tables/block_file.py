"""Blocks of rows in an unnamed local file, and rows taken from it by their position.

Rules:
- Each block is an Arrow IPC stream of its own, so that dictionaries may differ between blocks, and rows can be taken
  before all blocks are written.
- The file is mapped into memory, so a row costs the pages that hold it. They are given back to the system's cache once
  blocks of `RESIDENT_BYTES` were read.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESIDENT_BYTES: Final = 16 * 2**20
"""Bytes of blocks that are read before their pages are given back. Chosen: a sixteenth of the memory that joining
answers to their rows may take (256 MB). Measured: 32 MiB are no faster."""
ALIGNMENT: Final = 64
"""Blocks begin at multiples of it: Arrow's documented alignment of buffers, which saves a copy."""


class _Block(NamedTuple):
    start: int
    length: int


class BlockFile:
    """Rows that are appended in blocks, and taken by position.

    :param directory: the folder of the unnamed file; None: the one for temporary files.

    Example::

        blocks = BlockFile()
        blocks.append(batch)
        rows = blocks.take(np.array([5, 0, 5]))
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # `close` closes it
        self._blocks: list[_Block] = []
        self._starts: list[int] = [0]
        self._map: mmap.mmap | None = None
        self._resident = 0

    def close(self) -> None:
        """Free the disk space."""
        self._map = None  # unmapped when the last batch that was taken from it is gone
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows were appended."""
        return self._starts[-1]

    def append(self, rows: pa.RecordBatch) -> None:
        """Write a block."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        data = sink.getvalue()
        start = self._file.seek(0, 2)
        start += self._file.write(b"\0" * (-start % ALIGNMENT))
        self._file.write(data)
        self._blocks.append(_Block(start, data.size))
        self._starts.append(self.rows + rows.num_rows)
        self._map = None

    def take(self, positions: NDArray[np.int64]) -> pa.RecordBatch:
        """Return the rows at these positions, in this order.

        :param positions: each may occur several times; there must be a block.
        """
        if not len(positions):
            return self._read(0).slice(0, 0)
        blocks = np.searchsorted(self._starts, positions, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        parts = [*self._parts(positions[order], blocks[order])]
        rows = one_batch(parts)
        if (order[:-1] < order[1:]).all():
            return rows
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return rows.take(pa.array(places))

    def _parts(self, positions: NDArray[np.int64], blocks: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of each block; the positions are sorted by block."""
        ends = [*(np.flatnonzero(np.diff(blocks)) + 1), len(blocks)]
        start = 0
        for end in ends:
            number = int(blocks[start])
            yield self._read(number).take(pa.array(positions[start:end] - self._starts[number]))
            start = end

    def _read(self, number: int) -> pa.RecordBatch:
        start, length = self._blocks[number]
        mapped = self._mapped()
        self._resident += length
        if self._resident > RESIDENT_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED)
            self._resident = length
        stream = pa.py_buffer(memoryview(mapped)[start : start + length])
        return pa.ipc.open_stream(stream).read_next_batch()

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map


def one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Join batches of one schema to one; there must be a row."""
    if len(batches) == 1:
        return batches[0]
    (joined,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined
