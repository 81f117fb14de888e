"""Count the error messages in a batch's results. A failed task logs the most common ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

MOST_COMMON: Final = 3
"""Messages that are reported. Chosen: more would not fit into one line of a log."""
MAX_CHARS: Final = 300
"""Characters kept of one message. Chosen: the longest one recorded (a credit balance that is too low) has 120."""
MAX_DISTINCT: Final = 1_000
"""Distinct messages that are counted. Chosen: at most 300,000 characters, even where messages quote their input."""


class ErrorMessage(msgspec.Struct, frozen=True):
    """One error as the API reports it, and how many requests had it.

    `type` is the API's error type, for example `invalid_request_error`.
    """

    type: str
    message: str
    count: int

    def __str__(self) -> str:
        return f"{self.count:,} x {self.type}: {self.message}"


def commonest(messages: Iterable[ErrorMessage]) -> str:
    """Return a sentence without its full stop, empty if there are no messages.

    :param messages: the most common ones, as `ErrorMessages.most_common` returns them.
    """
    text = "; ".join(map(str, messages))
    return f"The commonest errors: {text}".rstrip(".") if text else ""


class ErrorMessages:
    """Counts error messages.

    Example::

        messages = ErrorMessages()
        messages.add([("invalid_request_error", "messages: at least one message is required")])
        messages.most_common()
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, errors: Iterable[tuple[str, str]]) -> None:
        """Count errors.

        :param errors: pairs of error type and message.
        """
        for kind, message in errors:
            key = (kind, message[:MAX_CHARS])
            if key in self._counts or len(self._counts) < MAX_DISTINCT:
                self._counts[key] += 1

    def most_common(self) -> tuple[ErrorMessage, ...]:
        """Return the most common messages, the most common first, at most `MOST_COMMON` of them."""
        return tuple(ErrorMessage(*key, count) for key, count in self._counts.most_common(MOST_COMMON))
