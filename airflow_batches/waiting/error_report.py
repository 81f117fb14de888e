"""Why requests of an ended batch failed: the most frequent errors in its results.

A failed task's log must hold a reason, not only counts. The lines are read once, one at a time, and for `LIMIT_S` at
most: this is a summary for a person, and the landing reads all of them. A failure to read is reported and never raised,
because it must not replace the verdict that the report explains.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.error_messages import ErrorMessage, ErrorMessages, commonest
from airflow_batches.api.errors import BatchesError
from airflow_batches.api.result_models import Errored, ResultItem
from airflow_batches.waiting.outcome import Counts

LIMIT_S: Final = 30.0
"""Seconds of reading. Chosen: 100,000 errored lines (30 MB) take some 5 s, while the answers of a large batch may be a
gigabyte, which a task must not read only for a summary."""


@dataclass(kw_only=True)
class ErrorReport:
    """The errors found in a batch's results; `str()` gives sentences for people."""

    messages: tuple[ErrorMessage, ...] = ()
    lines: int = 0
    states: dict[str, int] = field(default_factory=dict)
    """Lines by result type."""
    complete: bool = False
    """Whether every line was read."""
    stopped: bool = False
    """Whether the time limit ended the reading before every error was seen."""
    failure: str = ""
    """Why the reading failed, empty if it did not."""

    def counts(self) -> Counts | None:
        """Return the batch's counts according to its lines; None unless all were read."""
        if not self.complete:
            return None
        counts = {state: self.states.get(state, 0) for state in ("succeeded", "errored", "canceled", "expired")}
        return Counts(**counts, other=self.lines - sum(counts.values()), known=True)

    def __str__(self) -> str:
        texts = [commonest(self.messages)] if self.messages else []
        if self.failure:
            texts.append(f"Reading its results failed after {self.lines:,} lines ({self.failure})")
        elif self.stopped:
            texts.append(f"Only the first {self.lines:,} result lines were read")
        return ". ".join(texts)


def read_errors(
    client: BatchesClient,
    batch_id: str,
    *,
    errors: int | None = None,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
) -> ErrorReport:
    """Read the results of an ended batch for its most frequent error messages.

    :param client: its read timeout and retries limit each wait for bytes.
    :param batch_id: the batch.
    :param errors: how many errored lines there are; the reading ends after as many. None if unknown.
    :param limit_s: seconds of reading, at most.
    :param clock: a monotonic clock, in seconds.
    :return: the report; errors of the API are in its `failure`.
    """
    report, messages = ErrorReport(), ErrorMessages()
    give_up_at = clock() + limit_s
    try:
        with client.results_stream(batch_id) as items:
            for item in items:
                _count(report, messages, item)
                if errors is not None and report.states.get("errored", 0) >= errors:
                    break
                if clock() >= give_up_at:
                    report.stopped = True
                    break
            else:
                report.complete = True
    except BatchesError as error:
        report.failure = str(error)
    report.messages = messages.most_common()
    return report


def _count(report: ErrorReport, messages: ErrorMessages, item: ResultItem) -> None:
    result = item.result
    report.lines += 1
    report.states[result.type] = report.states.get(result.type, 0) + 1
    if isinstance(result, Errored):
        messages.add([(result.error.type, result.error.message)])
