"""Read the custom_ids of a source once more, for callers that need the ids themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_batches.submission.lines import Unreadable, line_runs, request_line

if TYPE_CHECKING:
    from airflow_batches.submission.source import Source


def numbered_ids(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the ids of the requests that can be read, each with its line number."""
    for run in line_runs(source.blocks()):
        for number, _, raw in run.numbered():
            with suppress(Unreadable):
                yield number, request_line(raw, None).custom_id


def custom_ids(requests: Any, *, conn_id: str | None = None) -> Iterator[str]:
    """Yield the ids of requests, in order.

    :param requests: anything that `open_source` accepts.
    :param conn_id: the Airflow connection of a URI that names none.
    :raises InvalidRequest: when this is not a source.
    :raises SourceError: when the source cannot be read.
    """
    from airflow_batches.submission.source import open_source

    with open_source(requests, conn_id=conn_id) as source:
        for _, custom_id in numbered_ids(source):
            yield custom_id
