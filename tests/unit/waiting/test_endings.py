"""Each end of a batch is reported once, also after failed polls, restarts and changes of the owner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import requests_mock
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.waiting.client import PollClient
from airflow_batches.waiting.endings import MAX_IDS, OVERLAP, SKEW, EndedCursor, poll_ended
from airflow_batches.waiting.settings import DEFAULTS
from tests.samples import some_requests

START = 1_700_000_000.0


def batch(name: object, ended_at: float | None) -> MessageBatch:
    at = None if ended_at is None else datetime.fromtimestamp(START + ended_at, UTC)
    return MessageBatch(id=f"b{name}", processing_status="ended" if at else "in_progress", ended_at=at)


def ids(batches: list[MessageBatch]) -> list[str]:
    return [batch.id for batch in batches]


def started(*ended: float) -> EndedCursor:
    """Return the cursor after a first poll that showed batches ended by then."""
    cursor = EndedCursor()
    assert cursor.new_ends(batch(f"before{number}", at) for number, at in enumerate(ended)) == []
    cursor.advance(START)
    return cursor


def test_batches_that_ended_before_the_first_poll_are_not_reported() -> None:
    cursor = started(-50, -10)
    assert ids(cursor.new_ends([batch("before1", -10), batch(1, 5), batch(2, None)])) == ["b1"]


def test_without_an_ended_batch_at_first_all_later_ends_are_new() -> None:
    assert ids(started().new_ends([batch(1, 5), batch(2, -SKEW + 1)])) == ["b2", "b1"]


def test_an_end_that_the_list_shows_late_is_reported_too() -> None:
    cursor = started(0)
    assert ids(cursor.new_ends([batch("late", 100)])) == ["blate"]
    cursor.advance(START + 100)
    assert ids(cursor.new_ends([batch("late", 100), batch("later shown", 99)])) == ["blater shown"]


def without_end(name: str, created_at: float) -> MessageBatch:
    """A batch that has ended, and whose `ended_at` cannot be read."""
    return MessageBatch.model_validate(
        {"id": f"b{name}", "processing_status": "ended", "ended_at": "", "created_at": START + created_at}
    )


def test_an_end_with_an_unreadable_time_is_reported_once_and_moves_no_floor() -> None:
    cursor = EndedCursor()
    assert cursor.new_ends([without_end("old", -50), batch("before", -10)]) == []
    cursor.advance(START)
    assert ids(cursor.new_ends([without_end("old", -50), without_end("new", 100), batch("late", 50)])) == [
        "blate",
        "bnew",
    ]
    cursor.advance(START + 100)
    assert cursor.floor is not None
    assert cursor.floor < START
    assert cursor.new_ends([without_end("old", -50), without_end("new", 100), batch("late", 50)]) == []
    cursor.advance(START + 3 * 86_400)
    assert not cursor.ids
    assert cursor.new_ends([without_end("new", 100)]) == []


def test_ids_below_the_floor_are_forgotten_and_not_reported_again() -> None:
    cursor = started(0)
    cursor.new_ends([batch(1, 10)])
    cursor.advance(START + 10)
    assert cursor.ids
    assert ids(cursor.new_ends([batch(1, 10), batch(2, 20 + OVERLAP)])) == ["b2"]
    cursor.advance(START + 20 + OVERLAP)
    assert list(cursor.ids) == ["b2"]
    assert cursor.new_ends([batch(1, 10), batch(2, 20 + OVERLAP)]) == []


def test_the_state_is_bounded_and_forgotten_ids_stay_reported() -> None:
    cursor = started(0)
    many = [batch(number, 1 + number / 10) for number in range(5_000)]
    assert len(cursor.new_ends(many)) == 5_000
    cursor.advance(START + 600)
    assert len(cursor.ids) <= MAX_IDS
    assert (
        len(json.dumps(EndedCursor(0.0, {f"msgbatch_01{number:022}": START for number in range(MAX_IDS)}).to_state()))
        < 65_535
    )
    assert cursor.new_ends(many) == []


def test_the_state_of_another_version_can_be_read() -> None:
    cursor = started(0)
    cursor.new_ends([batch(1, 10)])
    state = json.loads(json.dumps(cursor.to_state()))
    assert EndedCursor.from_state(state) == EndedCursor.from_state(state | {"added later": 1}) == cursor
    with pytest.raises(ValueError, match="Expected"):
        EndedCursor.from_state({"ids": "none"})


def test_ends_that_another_owner_reported_are_not_reported_again() -> None:
    ours, theirs = started(0), started(0)
    theirs.new_ends([batch(1, 10)])
    ours.merge(theirs)
    assert ids(ours.new_ends([batch(1, 10), batch(2, 20)])) == ["b2"]

    theirs.new_ends([batch(3, 2 * OVERLAP)])
    theirs.advance(START + 2 * OVERLAP)
    ours.merge(theirs)
    assert (ours.floor, list(ours.ids)) == (theirs.floor, ["b3"])


def test_a_stored_cursor_of_another_owner_counts_as_a_first_poll() -> None:
    ours = EndedCursor()
    ours.merge(started(0))
    assert ids(ours.new_ends([batch(1, 10)])) == ["b1"]
    ours.merge(EndedCursor())
    assert ours.new_ends([batch(1, 10)]) == []


@given(
    ends=st.lists(st.floats(1, 3 * OVERLAP), max_size=30),
    polls=st.lists(st.tuples(st.floats(0, 4 * OVERLAP), st.booleans(), st.booleans()), max_size=8),
    delays=st.lists(st.floats(0, OVERLAP / 3), min_size=30, max_size=30),
)
@settings(max_examples=150)
def test_every_end_is_reported_exactly_once(
    ends: list[float], polls: list[tuple[float, bool, bool]], delays: list[float]
) -> None:
    """`polls`: when, whether the list was read to its end, and whether the process was restarted after."""
    batches = [batch(number, at) for number, at in enumerate(ends)]
    shown_from = {f"b{number}": at + delays[number] for number, at in enumerate(ends)}
    cursor, news = started(0), []
    for at, whole, restarted in [*sorted(polls), (5 * OVERLAP, True, False)]:
        shown = [each for each in batches if shown_from[each.id] <= at]
        news += cursor.new_ends(shown if whole else shown[::2])
        if whole:
            cursor.advance(START + at)
        if restarted:
            cursor = EndedCursor.from_state(json.loads(json.dumps(cursor.to_state())))
    assert sorted(ids(news)) == sorted(ids(batches))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0) as running:
        yield running


class EndedPolls:
    """Polls again and again with one cursor."""

    def __init__(self, emulator: Emulator, *, page_size: int = DEFAULTS.page_size) -> None:
        self.emulator = emulator
        self.cursor = EndedCursor()
        self.settings = replace(DEFAULTS, page_size=page_size)

    def submit(self, count: int = 1) -> list[str]:
        with BatchesClient(self.emulator.api_key, base_url=self.emulator.url) as client:
            return [client.create(some_requests(1)).id for _ in range(count)]

    def poll(self) -> tuple[list[str], BatchesError | None]:
        return asyncio.run(self._poll())

    async def _poll(self) -> tuple[list[str], BatchesError | None]:
        async def connect() -> BatchesClient:
            return BatchesClient(self.emulator.api_key, base_url=self.emulator.url, retry=ONCE)

        client = PollClient("ended", connect, self.settings)
        try:
            news, error = await poll_ended(client, self.cursor, now=self.emulator.clock.now().timestamp())
            return ids(news), error
        finally:
            client.close()


def test_a_poll_of_the_api_finds_what_has_ended_since(emulator: Emulator) -> None:
    polls = EndedPolls(emulator)
    early, late, running = polls.submit(3)
    emulator.end(early)
    assert polls.poll() == ([], None)
    emulator.end(late)
    assert polls.poll() == ([late], None)
    assert polls.poll() == ([], None)
    emulator.end(running)
    assert polls.poll() == ([running], None)


def test_a_poll_reads_all_pages(emulator: Emulator) -> None:
    polls = EndedPolls(emulator, page_size=5)
    batches = polls.submit(23)
    polls.poll()
    for batch_id in batches[::5]:
        emulator.end(batch_id)
    news, error = polls.poll()
    assert (sorted(news), error) == (sorted(batches[::5]), None)
    assert emulator.counters["list"] == 10


def test_a_poll_reads_no_further_back_than_batches_can_have_ended_since(emulator: Emulator) -> None:
    polls = EndedPolls(emulator, page_size=5)
    polls.submit(23)
    emulator.clock.advance(48 * 3600.0)
    fresh = polls.submit(3)
    polls.poll()
    emulator.end_all()
    news, error = polls.poll()
    assert (sorted(news), error) == (sorted(fresh), None)
    assert emulator.counters["list"] == 2


def test_a_poll_that_fails_reports_what_it_saw_and_the_next_one_the_rest(emulator: Emulator) -> None:
    polls = EndedPolls(emulator, page_size=5)
    batches = polls.submit(12)
    polls.poll()
    emulator.end_all()
    emulator.fault(Fault(endpoint="list", action="status", status=503, skip=1))
    first, error = polls.poll()
    second, none = polls.poll()

    assert sorted(first + second) == sorted(batches)
    assert len(first) == 5
    assert "503" in str(error)
    assert none is None


def test_an_unreadable_batch_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    cursor = started(0)
    wire = {
        "data": [
            {"id": "bodd", "processing_status": None},
            json.loads(batch("fine", 5).model_dump_json(by_alias=True)),
        ],
        "has_more": False,
    }

    async def main() -> list[str]:
        async def connect() -> BatchesClient:
            return BatchesClient("key", base_url="http://localhost:1", retry=ONCE)

        client = PollClient("ended", connect)
        try:
            news, error = await poll_ended(client, cursor, now=START)
            assert error is None
            return ids(news)
        finally:
            client.close()

    with requests_mock.Mocker() as http:
        http.get("http://localhost:1/v1/messages/batches", json=wire)
        assert asyncio.run(main()) == ["bfine"]
    assert "1 batches of the list cannot be read" in caplog.text


def test_a_deleted_page_cursor_ends_a_poll_and_loses_nothing(emulator: Emulator) -> None:
    polls = EndedPolls(emulator, page_size=1)
    batches = polls.submit(3)
    polls.poll()
    emulator.end_all()

    async def main() -> list[str]:
        async def connect() -> BatchesClient:
            return Vanishing(emulator.api_key, base_url=emulator.url, retry=ONCE)

        client = PollClient("ended", connect, polls.settings)
        news, error = await poll_ended(client, polls.cursor, now=emulator.clock.now().timestamp())
        client.close()
        assert error is not None
        return ids(news)

    class Vanishing(BatchesClient):
        """Another program deletes each batch that a page ends with."""

        def list(self, **options: object) -> object:  # type: ignore[override]
            page = super().list(**options)  # type: ignore[arg-type]
            self.delete(page.data[-1].id)
            return page

    first = asyncio.run(main())
    second, _ = polls.poll()
    assert first == [batches[-1]]
    assert sorted(first + second) == sorted(batches)
