"""What is stored of a batch's requests: columns, 20 MB or so for 100,000 requests.

A line's params are not stored (the API does not return them either), only what its result needs. What many lines share
is a `Shape`; `kind` says what the column of texts holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import IntEnum
from typing import Literal

import msgspec

Kind = Literal["echo", "text", "tool", "content", "result"]
"""What a line's text is, all of it JSON: the answer's text without quotes (`echo`: replaced where `answer_chars` is
set), the input of the one tool used, the blocks of the content without brackets, or the whole result."""


class LineOutcome(IntEnum):
    """How a line ends, if it runs."""

    SUCCEEDED = 0
    ERRORED = 1
    EXPIRED = 2
    CANCELED = 3


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What many lines of a batch share: an error, or all of an answer except its text.

    :param adaptive: the model is one of those whose usage tells thinking tokens.
    :param thinking: text of a thinking block before the answer; None: no block.
    :param stop_details: JSON of the refusal's details, or `null`.
    :param cached: tokens written to the cache for 5 minutes, for an hour, and read from it.
    :param error_details: JSON of the error's details; empty: the API's usual ones.
    :param ran: the error is one of a line that ran (it has a worker's request id), not a refusal before.
    """

    model: str = ""
    geo: str = ""
    adaptive: bool = False
    kind: Kind = "echo"
    thinking: str | None = None
    thinking_tokens: int = 0
    tool: str = ""
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: str = "null"
    max_tokens: int = 0
    cached: tuple[int, int, int] = (0, 0, 0)
    error_type: str | None = None
    error_message: str = ""
    error_details: str = ""
    ran: bool = False


class CheckedLine(msgspec.Struct, gc=False):
    """One checked line; `text` is as the shape's `kind` says, `tokens` and `output` count input and output."""

    shape: Shape
    text: bytes
    tokens: int
    outcome: LineOutcome
    output: int = 0


class Lines(msgspec.Struct, frozen=True):
    """The columns of a batch: ids and texts joined by newlines, the others as arrays."""

    ids: bytes
    texts: bytes
    tokens: bytes
    output: bytes
    shape: bytes
    outcomes: bytes
    shapes: list[Shape]

    @classmethod
    def gather(cls, checked: Iterable[tuple[str, CheckedLine]]) -> Lines:
        ids: list[str] = []
        texts: list[bytes] = []
        tokens, output, shapes, outcomes = array("I"), array("I"), array("I"), bytearray()
        numbers: dict[Shape, int] = {}
        last, number = None, 0
        for custom_id, line in checked:
            if line.shape is not last:
                last = line.shape
                number = numbers.setdefault(last, len(numbers))
            ids.append(custom_id)
            texts.append(line.text)
            tokens.append(line.tokens)
            output.append(line.output)
            shapes.append(number)
            outcomes.append(line.outcome)
        return cls(
            "\n".join(ids).encode(),
            b"\n".join(texts),
            tokens.tobytes(),
            output.tobytes(),
            shapes.tobytes(),
            bytes(outcomes),
            list(numbers),
        )

    def tally(self, first: int) -> tuple[int, int, int, int]:
        """Count succeeded, errored, canceled and expired among the first `first` lines."""
        head = self.outcomes[:first]
        succeeded, errored = head.count(LineOutcome.SUCCEEDED), head.count(LineOutcome.ERRORED)
        canceled = head.count(LineOutcome.CANCELED)
        return succeeded, errored, canceled, len(head) - succeeded - errored - canceled

    def input_counts(self) -> array[int]:
        return _numbers(self.tokens)

    def output_counts(self) -> array[int]:
        return _numbers(self.output)

    def shape_numbers(self) -> array[int]:
        return _numbers(self.shape)


def _numbers(column: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(column)
    return numbers
