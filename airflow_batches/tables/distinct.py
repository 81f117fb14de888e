"""Number distinct digests in the order of their first appearance, with a few bytes for each.

A dict of a million 16-byte digests needs some 180 MB. Here the digests stand in one array, in the order of their
numbers, and an open-addressing hash table holds only numbers: 16 bytes for each digest, and 4 for each slot of a table
that is at most half full. Both are doubled when they are full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

DIGEST_BYTES: Final = 16
"""Bytes of a digest. Chosen: two requests of one job never have the same one by accident, nor by a search for less than
2**64 hashes."""
FIRST_SLOTS: Final = 1 << 13
"""Slots at first. Chosen: small beside everything else; they double as they fill."""

_Numbers = npt.NDArray[np.uint32]
_Words = npt.NDArray[np.uint64]
_Places = npt.NDArray[np.intp]


class DistinctDigests:
    """The distinct digests so far, numbered from 1.

    Example::

        digests = DistinctDigests()
        digests.number([sha256(b"a").digest()[:16], sha256(b"b").digest()[:16]])  # [1, 2]
    """

    def __init__(self) -> None:
        self.count = 0
        self._words: _Words = np.empty((FIRST_SLOTS // 2, 2), np.uint64)
        self._slots: _Numbers = np.zeros(FIRST_SLOTS, np.uint32)

    def number(self, digests: Sequence[bytes]) -> list[int]:
        """Return the number of each digest; one that is new gets the next number.

        :param digests: digests of `DIGEST_BYTES` bytes. Hundreds in one call are faster than one by one.
        """
        distinct = list(dict.fromkeys(digests))
        words = np.frombuffer(b"".join(distinct), np.uint64).reshape(-1, 2)
        numbers, slots = self._find(words)
        new = np.flatnonzero(numbers == 0)
        numbers[new] = np.arange(self.count + 1, self.count + 1 + len(new), dtype=np.uint32)
        self._add(words[new], slots[new])
        found: list[int] = numbers.tolist()
        if len(distinct) == len(digests):
            return found
        of = dict(zip(distinct, found, strict=True))
        return [of[digest] for digest in digests]

    def find(self, digests: Sequence[bytes]) -> list[int]:
        """Return the number of each digest; 0 for those that have none.

        :param digests: digests of `DIGEST_BYTES` bytes, none of them twice.
        """
        found: list[int] = self._find(np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2))[0].tolist()
        return found

    def _find(self, words: _Words) -> tuple[_Numbers, _Places]:
        """Return the numbers of distinct digests, 0 for those that are new, and the slots where each search ended."""
        numbers = np.zeros(len(words), np.uint32)
        ends = self._first_slots(words)
        left, slots = np.arange(len(words)), ends
        while len(left):
            found = self._slots[slots]
            taken = found > 0
            left, slots, found = left[taken], slots[taken], found[taken]
            known, wanted = self._words[found - 1], words[left]
            same = (known[:, 0] == wanted[:, 0]) & (known[:, 1] == wanted[:, 1])
            numbers[left[same]] = found[same]
            left, slots = left[~same], self._next(slots[~same])
            ends[left] = slots
        return numbers, ends

    def _add(self, words: _Words, slots: _Places) -> None:
        """Append new digests, whose searches ended in these slots."""
        first, self.count = self.count, self.count + len(words)
        while self.count > len(self._words):
            self._words.resize((2 * len(self._words), 2), refcheck=False)
        self._words[first : self.count] = words
        if 2 * self.count > len(self._slots):
            self._double()
        else:
            self._place(np.arange(first + 1, self.count + 1, dtype=np.uint32), slots)

    def _double(self) -> None:
        """Give new slots to all digests, some thousands at a time."""
        while 2 * self.count > len(self._slots):
            self._slots = np.zeros(2 * len(self._slots), np.uint32)
        for start in range(0, self.count, FIRST_SLOTS):
            numbers = np.arange(start + 1, min(start + FIRST_SLOTS, self.count) + 1, dtype=np.uint32)
            self._place(numbers, self._first_slots(self._words[numbers - 1]))

    def _place(self, numbers: _Numbers, slots: _Places) -> None:
        """Give numbers the first free slots from these on."""
        while len(numbers):
            free = self._slots[slots] == 0
            self._slots[slots[free]] = numbers[free]
            # Of several that wanted one slot, the last one written has it.
            without = self._slots[slots] != numbers
            numbers, slots = numbers[without], self._next(slots[without])

    def _first_slots(self, words: _Words) -> _Places:
        return (words[:, 0] & np.uint64(len(self._slots) - 1)).astype(np.intp)

    def _next(self, slots: _Places) -> _Places:
        return (slots + 1) & (len(self._slots) - 1)
