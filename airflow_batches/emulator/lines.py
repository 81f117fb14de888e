"""What is stored of a batch's requests: columns, 20 MB or so for 100,000 requests.

A line's params are not stored (the API does not return them either), only what its result needs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

import msgspec


class LineOutcome(IntEnum):
    """How a line ends, if it runs."""

    SUCCEEDED = 0
    ERRORED = 1
    EXPIRED = 2


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What many lines of a batch share: an error, or all of an answer except its text.

    `ran` distinguishes an error of a line that ran (it has a worker's request id) from a refusal before.
    """

    model: str = ""
    geo: str = ""
    thinking: bool = False
    tool: str | None = None
    stop_reason: str = "end_turn"
    max_tokens: int = 0
    error_type: str | None = None
    error_message: str = ""
    ran: bool = False


class CheckedLine(NamedTuple):
    """One checked line; `text` is the answer as JSON, without quotes if it is text."""

    shape: Shape
    text: bytes
    tokens: int
    outcome: LineOutcome


class Lines(msgspec.Struct, frozen=True):
    """The columns of a batch: ids and texts joined by newlines, the others as arrays."""

    ids: bytes
    texts: bytes
    tokens: bytes
    shape: bytes
    outcomes: bytes
    shapes: list[Shape]

    @classmethod
    def gather(cls, judged: Iterable[tuple[str, CheckedLine]]) -> Lines:
        ids: list[str] = []
        texts: list[bytes] = []
        tokens, shape, outcomes = array("I"), array("I"), bytearray()
        numbers: dict[Shape, int] = {}
        last, number = None, 0
        for custom_id, verdict in judged:
            if verdict.shape is not last:
                last = verdict.shape
                number = numbers.setdefault(last, len(numbers))
            ids.append(custom_id)
            texts.append(verdict.text)
            tokens.append(verdict.tokens)
            shape.append(number)
            outcomes.append(verdict.outcome)
        return cls(
            "\n".join(ids).encode(),
            b"\n".join(texts),
            tokens.tobytes(),
            shape.tobytes(),
            bytes(outcomes),
            list(numbers),
        )

    def tally(self, first: int) -> tuple[int, int, int]:
        """Count succeeded, errored and expired among the first `first` lines."""
        head = self.outcomes[:first]
        succeeded, errored = head.count(LineOutcome.SUCCEEDED), head.count(LineOutcome.ERRORED)
        return succeeded, errored, len(head) - succeeded - errored

    def token_counts(self) -> array[int]:
        return _numbers(self.tokens)

    def shape_numbers(self) -> array[int]:
        return _numbers(self.shape)


def _numbers(column: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(column)
    return numbers
