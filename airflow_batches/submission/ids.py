"""The custom_ids of a source, read once more by those who need them by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_batches.submission.lines import Unreadable, line_runs, request_line

if TYPE_CHECKING:
    from airflow_batches.submission.source import Source


def numbered_ids(source: Source) -> Iterator[tuple[int, str]]:
    """The ids of the requests that can be read, each with the number of its line."""
    for run in line_runs(source.blocks()):
        for number, _, raw in run.numbered():
            with suppress(Unreadable):
                yield number, request_line(raw, None).custom_id


def custom_ids(requests: Any, *, conn_id: str | None = None) -> Iterator[str]:
    """The ids of what a user may give as `requests`, in order. Raises what `open_source` and reading it raise."""
    from airflow_batches.submission.source import open_source

    with open_source(requests, conn_id=conn_id) as source:
        for _, custom_id in numbered_ids(source):
            yield custom_id
