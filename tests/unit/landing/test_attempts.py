"""Whatever happens to the stream: every line lands once, or nothing lands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from time import monotonic

import pytest
from requests import Response

from airflow_batches.api import ApiError, BatchesClient, MessageBatch, RetryPolicy, StreamInterrupted, TransportError
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing import LandingTimeout
from tests.unit.landing.support import (
    COUNT,
    IDS,
    QUICK,
    assert_whole,
    client_of,
    ended_batch,
    ids_in,
    landed,
    lines_of_the_api,
    names_in,
)


def interesting_bytes(client: BatchesClient, batch_id: str) -> list[int]:
    """Offsets of cuts that a parser could mishandle: the body's ends, and around the ends of lines."""
    with client.open_results(batch_id) as response:
        body = response.content
    ends = [at for at, byte in enumerate(body) if byte == ord("\n")]
    return sorted(
        {0, 1, len(body) - 1, len(body), *(end + by for end in (ends[0], ends[9], ends[-1]) for by in (0, 1, 2))}
    )


@pytest.mark.parametrize("action", ["cut", "end_early"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_body_that_ends_at_any_interesting_byte_is_read_again(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str, times: int
) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    for at in interesting_bytes(client, batch_id):
        emulator.fault(Fault(endpoint="results", action=action, times=times, after_bytes=at))
        manifest = landed(client, batch_id, tmp_path / str(at))
        emulator.faults.clear()
        assert_whole(client, batch_id, tmp_path / str(at))
        assert manifest.verified


@pytest.mark.parametrize("gzip", [False, True])
def test_attempts_in_different_orders_add_up(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, gzip: bool
) -> None:
    emulator.configure(order="shuffled", gzip=gzip, chunk_bytes=500)
    batch_id = ended_batch(client, 200)
    plan = emulator.fault(Fault(endpoint="results", action="cut", times=6, after_bytes=2_000 if gzip else 30_000))
    manifest = landed(client, batch_id, tmp_path, retry=RetryPolicy(attempts=8, base=0.001))
    emulator.faults.clear()
    assert_whole(client, batch_id, tmp_path)
    assert 1 < plan.struck <= manifest.attempts


@pytest.mark.parametrize("status", [500, 502, 429, 529, 404])
def test_a_refused_reconnect_is_retried(emulator: Emulator, client: BatchesClient, tmp_path: Path, status: int) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=4_000))
    emulator.fault(Fault(endpoint="results", action="status", status=status, skip=1, retry_after=0.01))
    assert landed(client, batch_id, tmp_path).attempts == 3
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("action", ["reset", "drop_before_body", "drop_after_accept"])
def test_a_reset_before_the_first_byte_is_retried(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action=action, times=2))
    assert landed(client, batch_id, tmp_path).attempts == 3
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("action", ["torn_line", "broken_line", "missing_line"])
@pytest.mark.parametrize("line", [0, 7, COUNT - 1])
def test_a_line_that_is_torn_or_missing_once_is_read_in_the_next_attempt(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, action: str, line: int
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action=action, line=line))
    assert landed(client, batch_id, tmp_path).attempts == 2
    assert_whole(client, batch_id, tmp_path)


def test_a_stalled_body_is_abandoned_and_read_again(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
    landed(client, batch_id, tmp_path, stall_timeout=0.2)
    assert_whole(client, batch_id, tmp_path)


def test_the_next_attempt_waits_as_long_as_retry_after_says(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="status", status=503, retry_after=1))
    began = monotonic()
    landed(client, batch_id, tmp_path)
    assert monotonic() - began >= 1


@pytest.mark.timeout(120)  # shorter than the wait
def test_a_wait_beyond_the_timeout_is_not_begun(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="status", status=503, retry_after=290))
    with pytest.raises(LandingTimeout, match=r"0 of 20 results .* were read in time"):
        landed(client, batch_id, tmp_path, timeout=250.0)
    assert emulator.counters["results"] == 1
    assert not names_in(tmp_path)


def test_a_slow_body_is_read_in_one_attempt(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=50_000))
    assert landed(client, batch_id, tmp_path, stall_timeout=5).attempts == 1
    assert_whole(client, batch_id, tmp_path)


def test_a_response_without_headers_is_a_stall(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="late_accept", seconds=60))
    assert landed(client, batch_id, tmp_path, stall_timeout=0.2).attempts == 2
    assert plan.struck == 1
    assert_whole(client, batch_id, tmp_path)


@pytest.mark.parametrize("endpoint", ["get", "results"])
def test_the_timeout_ends_a_wait_for_headers(
    emulator: Emulator, client: BatchesClient, tmp_path: Path, endpoint: str
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint=endpoint, action="late_accept", times=None, seconds=60))
    with pytest.raises(LandingTimeout):
        landed(client, batch_id, tmp_path, timeout=0.3)
    assert not names_in(tmp_path)


def test_a_client_with_retries_does_not_multiply_the_attempts(emulator: Emulator, tmp_path: Path) -> None:
    with client_of(emulator) as client:
        batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="status", status=503, times=None))
    with BatchesClient(emulator.api_key, base_url=emulator.url) as retrying, pytest.raises(ApiError, match="503"):
        landed(retrying, batch_id, tmp_path)
    assert plan.struck == QUICK.attempts


class Recording(BatchesClient):
    """A client that records which clients made which calls, by which threads."""

    def record(self, calls: list[tuple[object, int]]) -> Recording:
        self.calls = calls
        return self

    def get(self, batch_id: str, *, retry: RetryPolicy | None = None) -> MessageBatch:
        self.calls.append((self, get_ident()))
        return super().get(batch_id, retry=retry)

    @contextmanager
    def open_results(self, batch_id: str, *, retry: RetryPolicy | None = None) -> Iterator[Response]:
        self.calls.append((self, get_ident()))
        with super().open_results(batch_id, retry=retry) as response:
            yield response


def test_no_client_is_called_by_two_threads(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client)
    emulator.fault(Fault(endpoint="results", action="late_accept", seconds=60, times=2))
    calls: list[tuple[object, int]] = []
    with Recording(emulator.api_key, base_url=emulator.url).record(calls) as own:
        assert landed(own, batch_id, tmp_path, stall_timeout=0.2).attempts == 3
    callers = [caller for caller, _ in calls]
    assert len(callers) == len({id(caller) for caller in callers}) == 4
    assert own not in callers


def test_a_404_of_a_lagging_replica_is_retried(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    for endpoint in ("get", "results"):
        emulator.fault(Fault(endpoint=endpoint, action="status", status=404, times=2))
    assert landed(client, batch_id, tmp_path).attempts == 3
    assert_whole(client, batch_id, tmp_path)


def test_a_404_that_stays_is_raised(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    client.delete(batch_id)
    asked = emulator.counters["get"]
    with pytest.raises(ApiError, match=f"404 not_found_error: Message Batch {batch_id} not found"):
        landed(client, batch_id, tmp_path)
    assert emulator.counters["get"] - asked == QUICK.attempts
    assert not names_in(tmp_path)


def test_a_read_timeout_of_the_client_starts_another_attempt(emulator: Emulator, tmp_path: Path) -> None:
    with client_of(emulator, timeout=0.3) as client:
        batch_id = ended_batch(client, COUNT)
        emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
        landed(client, batch_id, tmp_path)
        assert_whole(client, batch_id, tmp_path)


def test_a_complete_body_that_does_not_end_lands_at_the_timeout(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    size = sum(len(line) + 1 for line in lines_of_the_api(client, batch_id))
    emulator.fault(Fault(endpoint="results", action="stall", times=None, after_bytes=size, seconds=60))
    assert landed(client, batch_id, tmp_path, timeout=0.5).verified
    emulator.faults.clear()
    assert_whole(client, batch_id, tmp_path)


def test_the_timeout_ends_a_stall_and_publishes_nothing(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="stall", times=None, after_bytes=3_000, seconds=60))
    with pytest.raises(LandingTimeout, match=r"[1-9]\d* of 20 results .* were read in time"):
        landed(client, batch_id, tmp_path, timeout=0.5)
    assert not names_in(tmp_path)


def test_the_timeout_ends_a_very_slow_body(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="slow", times=None, bytes_per_second=1_000))
    with pytest.raises(LandingTimeout):
        landed(client, batch_id, tmp_path, timeout=0.5)
    assert not names_in(tmp_path)


def test_attempts_without_new_lines_are_bounded(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(order="submitted")
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="cut", times=None, after_bytes=3_000))
    with pytest.raises(StreamInterrupted, match="3 attempts in a row brought nothing new"):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 4  # one attempt with new lines, three without
    assert not names_in(tmp_path)


def test_without_any_line_the_last_failure_is_raised(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="reset", times=None))
    with pytest.raises(TransportError, match="the connection failed"):
        landed(client, batch_id, tmp_path)
    emulator.faults.clear()
    emulator.fault(Fault(endpoint="results", action="status", status=503, times=None))
    with pytest.raises(ApiError, match="503"):
        landed(client, batch_id, tmp_path)
    assert not names_in(tmp_path)


def test_a_permanent_error_is_not_retried(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    plan = emulator.fault(Fault(endpoint="results", action="status", status=403, times=None))
    with pytest.raises(ApiError, match="403"):
        landed(client, batch_id, tmp_path)
    assert plan.struck == 1


def test_a_result_of_an_unknown_type_lands_unchanged(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    batch_id = ended_batch(client, COUNT)
    emulator.fault(Fault(endpoint="results", action="unknown_type_line", line=3))
    manifest = landed(client, batch_id, tmp_path)
    assert manifest.verified
    assert manifest.counts["succeeded"] == COUNT - 1
    assert sum(manifest.counts.values()) == COUNT
    assert ids_in(tmp_path / "out.jsonl") == sorted(IDS)
