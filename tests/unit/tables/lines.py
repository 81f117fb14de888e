"""Result lines of a job over rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from airflow_batches.submission.source import Source

JOB: Final = "job-1"


def succeeded(number: int, text: str, stop_reason: str = "end_turn") -> bytes:
    """The line of an answer."""
    message = {
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": number, "output_tokens": len(text)},
    }
    return line(number, {"type": "succeeded", "message": message})


def errored(number: int, message: str = "Overloaded") -> bytes:
    """The line of a failure."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": message}}
    return line(number, {"type": "errored", "error": error})


def line(number: int, result: dict[str, Any]) -> bytes:
    """The line of any result."""
    return json.dumps({"custom_id": f"{JOB}-{number}", "result": result}).encode()


class Landed(Source):
    """Landed lines in memory."""

    name = "landed lines"

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._data = b"".join(each + b"\n" for each in lines)

    def blocks(self) -> Any:
        """Yield the lines in small blocks."""
        yield from (self._data[start : start + 100] for start in range(0, len(self._data), 100))
