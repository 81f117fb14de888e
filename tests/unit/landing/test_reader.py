"""Read one response: its limits, and what happens to the connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from threading import Event, active_count
from time import monotonic, sleep

import pytest

from airflow_batches.api import BatchesClient, TransportError
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.landing.reader import open_chunks
from airflow_batches.landing.stream import Results
from tests.unit.landing.support import ONCE, ended_batch

GENEROUS_S = 30.0


class Closing(BatchesClient):
    """A client whose clones set `closed` when they are closed."""

    closed: Event

    def close(self) -> None:
        super().close()
        self.closed.set()


@pytest.fixture
def watched(emulator: Emulator) -> Iterator[Closing]:
    with Closing(emulator.api_key, base_url=emulator.url) as made:
        made.closed = Event()
        yield made


def test_a_response_whose_headers_come_too_late_is_closed_then(
    emulator: Emulator, client: BatchesClient, watched: Closing
) -> None:
    batch_id = ended_batch(client)
    emulator.fault(Fault(endpoint="results", action="late_accept", seconds=0.5))
    with (
        pytest.raises(TransportError, match=r"no byte came for 0\.1 s"),
        open_chunks(watched, batch_id, max_silence_s=0.1, deadline=monotonic() + GENEROUS_S),
    ):
        pass
    assert not watched.closed.is_set()
    assert watched.closed.wait(GENEROUS_S)


def test_a_response_that_stalls_is_shut_down_and_closed(
    emulator: Emulator, client: BatchesClient, watched: Closing
) -> None:
    batch_id = ended_batch(client)
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
    with (
        pytest.raises(TransportError, match=r"no byte came for 0\.2 s"),
        open_chunks(watched, batch_id, max_silence_s=0.2, deadline=monotonic() + GENEROUS_S) as chunks,
    ):
        list(chunks)
    assert watched.closed.wait(GENEROUS_S)


def test_the_deadline_ends_a_read_too(emulator: Emulator, client: BatchesClient, watched: Closing) -> None:
    batch_id = ended_batch(client)
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=3_000, seconds=60))
    with (
        pytest.raises(TransportError, match="no byte came"),
        open_chunks(watched, batch_id, max_silence_s=GENEROUS_S, deadline=monotonic() + 0.5) as chunks,
    ):
        list(chunks)
    assert watched.closed.wait(GENEROUS_S)


def test_a_reader_that_stops_early_closes_the_response_and_ends_its_thread(
    client: BatchesClient, watched: Closing
) -> None:
    batch_id, before = ended_batch(client), active_count()
    with open_chunks(watched, batch_id, max_silence_s=GENEROUS_S, deadline=monotonic() + GENEROUS_S) as chunks:
        assert next(chunks)
    assert watched.closed.wait(GENEROUS_S)
    deadline = monotonic() + GENEROUS_S
    while active_count() > before and monotonic() < deadline:
        sleep(0.01)
    assert active_count() <= before


def test_an_early_break_of_the_loop_over_blocks_closes_the_response(
    emulator: Emulator, client: BatchesClient, watched: Closing
) -> None:
    emulator.configure(answer_chars=100_000)
    batch_id = ended_batch(client)
    end = monotonic() + GENEROUS_S
    stream = Results(watched, batch_id, 20, retry=ONCE, deadline=end, max_silence_s=GENEROUS_S)
    with closing(iter(stream)) as blocks:
        next(blocks)
    assert watched.closed.wait(GENEROUS_S)
