"""Cut arriving bytes into blocks of whole lines, decode them, and keep the lines that are new results.

Rules:
- Lines are passed on unchanged. A block with a torn, blank or repeated line is checked line by line: lines that are not
  results are dropped, and results that share a line, without a newline between them, get one line each.
- A block is passed on when it is large enough or late enough, so that a slow stream shows its progress too.
- Memory: one block (1 MiB, or one line if that is longer), and the ids taken (about 12 MB for 100,000).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_batches.api.errors import BatchesError
from airflow_batches.landing.lines import ResultLine, decode_block, results_in

BLOCK_BYTES: Final = 1_048_576
"""Bytes that are decoded and written at once, at least. Chosen: some 500 lines of the benchmark share the cost of a
call, and `store_thread.DEPTH` blocks still fit in a few MB."""

MAX_DELAY_S: Final = 1.0
"""Seconds after which a smaller block is passed on. Chosen: below `engine.PROGRESS_EVERY_S`, so that each progress
report of a slow stream counts what has arrived."""

_OPENING: Final = ord("{")
_CLOSING: Final = ord("}")


@dataclass(frozen=True, slots=True)
class Block:
    """New lines, unchanged, and the decoded result of each."""

    data: bytes
    results: Sequence[ResultLine]


class Deduplicator:
    """Decodes blocks of lines and drops results that were taken before, in this or an earlier attempt."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        """All ids that were taken."""
        self.doubled: set[str] = set()
        """Ids that occurred twice in one attempt."""
        self.unreadable = 0
        """Lines of this attempt that are torn or not results."""
        self._seen = self.ids

    def begin_attempt(self) -> None:
        """Begin to read the results from the start.

        Ids taken before are skipped, ids that now occur twice are doubled.
        """
        self.unreadable = 0
        self._seen = set() if self.ids else self.ids

    def block(self, data: bytes) -> Block | None:
        """Decode whole lines and take those that are new results; None if there are none."""
        results = decode_block(data)
        if (
            results is None
            or len(results) != count_results(data)
            or not self._take_all([line.custom_id for line in results])
        ):
            return self._block_of(data.split(b"\n"))
        return Block(data, results)

    def _block_of(self, lines: Iterable[bytes]) -> Block | None:
        """Check line by line."""
        kept: list[bytes] = []
        results: list[ResultLine] = []
        for line in lines:
            for part, result in results_in(line):
                if result is None:
                    self.unreadable += 1
                elif self._take(result.custom_id):
                    kept.append(part)
                    results.append(result)
        return Block(joined(kept), results) if results else None

    def _take_all(self, ids: Sequence[str]) -> bool:
        """Take these ids if all of them are new, otherwise none; return whether they were taken."""
        if not self.ids.isdisjoint(ids):
            return False
        before = len(self.ids)
        self.ids.update(ids)
        if len(self.ids) - before < len(ids):
            self.ids.difference_update(ids)
            return False
        if self._seen is not self.ids:
            self._seen.update(ids)
        return True

    def _take(self, custom_id: str) -> bool:
        """Take this id if it is new; return whether it was."""
        if custom_id in self._seen:
            self.doubled.add(custom_id)
            return False
        new = custom_id not in self.ids
        self._seen.add(custom_id)
        self.ids.add(custom_id)
        return new


def count_results(data: bytes) -> int:
    """Count the newlines if each of them ends a result, else return -1.

    A newline ends a result if `}` is before it and `{` after it. `find` skips long lines faster than `count` does.
    """
    count, at, last = 0, data.find(b"\n"), len(data) - 1
    while at >= 0:
        if not at or data[at - 1] != _CLOSING or (at < last and data[at + 1] != _OPENING):
            return -1
        count += 1
        at = data.find(b"\n", at + 1)
    return count


def joined(lines: Iterable[bytes]) -> bytes:
    """Join lines, each with a newline at its end."""
    return b"".join([line + b"\n" for line in lines])


def whole_lines(
    chunks: Iterable[bytes], block_bytes: int = BLOCK_BYTES, max_delay_s: float = MAX_DELAY_S
) -> Iterator[bytes]:
    """Cut chunks into blocks of lines that end with a newline.

    What follows the last newline is passed on as a line too, also when the chunks break off; decoding it shows whether
    it is complete.

    :param chunks: the bytes as they arrive.
    :param block_bytes: bytes of a block at least; the last one may be smaller.
    :param max_delay_s: seconds after which a smaller block is passed on.
    """
    pending: list[bytes] = []
    pending_bytes = 0
    due = time.monotonic() + max_delay_s
    try:
        for chunk in chunks:
            end = chunk.rfind(b"\n") + 1
            if end and (pending_bytes + end >= block_bytes or time.monotonic() >= due):
                block = b"".join([*pending, chunk[:end]])
                pending, pending_bytes = [chunk[end:]], len(chunk) - end
                yield block
                due = time.monotonic() + max_delay_s
            else:
                pending.append(chunk)
                pending_bytes += len(chunk)
    except BatchesError:
        yield from _tail(pending)
        raise
    yield from _tail(pending)


def _tail(pending: Iterable[bytes]) -> Iterator[bytes]:
    rest = b"".join(pending)
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"
