"""Why requests failed, as the results say it: read once, within a limit, and never at the cost of the verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.waiting.error_report import read_errors
from airflow_batches.waiting.outcome import Counts
from tests.samples import some_requests


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(order="submitted") as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE) as running:
        yield running


def batch(client: BatchesClient, *models: str | None) -> str:
    """A batch with a request for each model; None is one that succeeds."""
    requests = some_requests(len(models))
    for request, model in zip(requests, models, strict=True):
        request["params"]["model"] = model or request["params"]["model"]
    return client.create(requests).id


class Ticking:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_the_commonest_errors_come_first_and_are_counted(client: BatchesClient) -> None:
    report = read_errors(client, batch(client, "claude-a", None, "claude-b", "claude-b", "claude-c", "claude-d"))
    assert (report.complete, report.lines) == (True, 6)
    assert [message.count for message in report.messages] == [2, 1, 1]
    assert str(report).startswith("The commonest errors: 2 x not_found_error: model: claude-b; 1 x ")
    assert report.counts() == Counts(succeeded=1, errored=5)


def test_reading_ends_after_the_last_error(client: BatchesClient) -> None:
    report = read_errors(client, batch(client, None, "claude-a", None, None), errors=1)
    assert (report.lines, report.complete, report.stopped) == (2, False, False)
    assert str(report) == "The commonest errors: 1 x not_found_error: model: claude-a"
    assert report.counts() is None


def test_reading_is_limited_in_time_and_says_that_it_was_only_part(client: BatchesClient) -> None:
    report = read_errors(client, batch(client, *["claude-a"] * 9), limit_s=3.0, clock=Ticking())
    assert str(report) == (
        "The commonest errors: 3 x not_found_error: model: claude-a. Only the first 3 result lines were read"
    )
    assert report.counts() is None


def test_a_stream_that_breaks_off_keeps_what_was_read(emulator: Emulator, client: BatchesClient) -> None:
    batch_id = batch(client, *["claude-a"] * 50)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=2_000))
    report = read_errors(client, batch_id)
    assert 0 < report.lines < 50
    assert f"{report.lines} x not_found_error" in str(report)
    assert f"Reading its results failed after {report.lines} lines (the results broke off" in str(report)


def test_results_that_are_not_there_are_a_failure_in_words(client: BatchesClient) -> None:
    report = read_errors(client, "msgbatch_01unknown")
    assert str(report).startswith("Reading its results failed after 0 lines (404 not_found_error")
    assert report.counts() is None
