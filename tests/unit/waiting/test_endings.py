"""Each end of a batch is news once: however often one looks, whatever was interrupted, wherever it was stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests_mock
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.waiting import line
from airflow_batches.waiting.endings import MOST_IDS, OVERLAP, SKEW, Told, look
from airflow_batches.waiting.line import Line
from tests.samples import some_requests

START = 1_700_000_000.0


def batch(name: object, ended_at: float | None) -> MessageBatch:
    at = None if ended_at is None else datetime.fromtimestamp(START + ended_at, UTC)
    return MessageBatch(id=f"b{name}", processing_status="ended" if at else "in_progress", ended_at=at)


def ids(batches: list[MessageBatch]) -> list[str]:
    return [batch.id for batch in batches]


def begun(*ended: float) -> Told:
    """After a first look at batches that had ended by then."""
    told = Told()
    assert told.sift(batch(f"before{number}", at) for number, at in enumerate(ended)) == []
    told.settle(START)
    return told


def test_what_had_ended_before_the_first_look_is_no_news() -> None:
    told = begun(-50, -10)
    assert ids(told.sift([batch("before1", -10), batch(1, 5), batch(2, None)])) == ["b1"]


def test_where_nothing_had_ended_all_ends_to_come_are_news() -> None:
    assert ids(begun().sift([batch(1, 5), batch(2, -SKEW + 1)])) == ["b2", "b1"]


def test_an_end_that_the_list_shows_late_is_news_too() -> None:
    told = begun(0)
    assert ids(told.sift([batch("late", 100)])) == ["blate"]
    told.settle(START + 100)
    assert ids(told.sift([batch("late", 100), batch("later shown", 99)])) == ["blater shown"]


def without_end(name: str, created_at: float) -> MessageBatch:
    """A batch that has ended, and whose `ended_at` cannot be read."""
    return MessageBatch.model_validate(
        {"id": f"b{name}", "processing_status": "ended", "ended_at": "", "created_at": START + created_at}
    )


def test_an_end_whose_time_cannot_be_read_is_news_once_and_moves_no_floor() -> None:
    told = Told()
    assert told.sift([without_end("old", -50), batch("before", -10)]) == []
    told.settle(START)
    assert ids(told.sift([without_end("old", -50), without_end("new", 100), batch("late", 50)])) == ["blate", "bnew"]
    told.settle(START + 100)
    assert told.floor is not None
    assert told.floor < START
    assert told.sift([without_end("old", -50), without_end("new", 100), batch("late", 50)]) == []
    told.settle(START + 3 * 86_400)
    assert not told.ids
    assert told.sift([without_end("new", 100)]) == []


def test_ids_are_forgotten_when_the_floor_has_passed_them_and_are_no_news_again() -> None:
    told = begun(0)
    told.sift([batch(1, 10)])
    told.settle(START + 10)
    assert told.ids
    assert ids(told.sift([batch(1, 10), batch(2, 20 + OVERLAP)])) == ["b2"]
    told.settle(START + 20 + OVERLAP)
    assert list(told.ids) == ["b2"]
    assert told.sift([batch(1, 10), batch(2, 20 + OVERLAP)]) == []


def test_the_state_is_bounded_and_what_it_forgets_stays_told() -> None:
    told = begun(0)
    many = [batch(number, 1 + number / 10) for number in range(5_000)]
    assert len(told.sift(many)) == 5_000
    told.settle(START + 600)
    assert len(told.ids) <= MOST_IDS
    assert (
        len(json.dumps(Told(0.0, {f"msgbatch_01{number:022}": START for number in range(MOST_IDS)}).to_state()))
        < 65_535
    )
    assert told.sift(many) == []


def test_the_state_comes_back_from_storage_also_from_another_version() -> None:
    told = begun(0)
    told.sift([batch(1, 10)])
    state = json.loads(json.dumps(told.to_state()))
    assert Told.from_state(state) == Told.from_state(state | {"added later": 1}) == told
    with pytest.raises(ValueError, match="Expected"):
        Told.from_state({"ids": "none"})


def test_what_another_owner_has_told_is_told() -> None:
    ours, theirs = begun(0), begun(0)
    theirs.sift([batch(1, 10)])
    ours.merge(theirs)
    assert ids(ours.sift([batch(1, 10), batch(2, 20)])) == ["b2"]

    theirs.sift([batch(3, 2 * OVERLAP)])
    theirs.settle(START + 2 * OVERLAP)
    ours.merge(theirs)
    assert (ours.floor, list(ours.ids)) == (theirs.floor, ["b3"])


def test_a_first_look_after_what_another_owner_has_stored_is_not_the_first() -> None:
    ours = Told()
    ours.merge(begun(0))
    assert ids(ours.sift([batch(1, 10)])) == ["b1"]
    ours.merge(Told())
    assert ours.sift([batch(1, 10)]) == []


@given(
    ends=st.lists(st.floats(1, 3 * OVERLAP), max_size=30),
    looks=st.lists(st.tuples(st.floats(0, 4 * OVERLAP), st.booleans(), st.booleans()), max_size=8),
    delays=st.lists(st.floats(0, OVERLAP / 3), min_size=30, max_size=30),
)
@settings(max_examples=300)
def test_every_end_is_told_exactly_once(
    ends: list[float], looks: list[tuple[float, bool, bool]], delays: list[float]
) -> None:
    """`looks`: when, whether the list was read to its end, and whether the process was restarted after."""
    batches = [batch(number, at) for number, at in enumerate(ends)]
    shown_from = {f"b{number}": at + delays[number] for number, at in enumerate(ends)}
    told, news = begun(0), []
    for at, whole, restarted in [*sorted(looks), (5 * OVERLAP, True, False)]:
        shown = [each for each in batches if shown_from[each.id] <= at]
        news += told.sift(shown if whole else shown[::2])
        if whole:
            told.settle(START + at)
        if restarted:
            told = Told.from_state(json.loads(json.dumps(told.to_state())))
    assert sorted(ids(news)) == sorted(ids(batches))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0) as running:
        yield running


class Looker:
    """Looks again and again, over one line."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.told = Told()

    def submit(self, count: int = 1) -> list[str]:
        with BatchesClient(self.emulator.api_key, base_url=self.emulator.url) as client:
            return [client.create(some_requests(1)).id for _ in range(count)]

    def look(self) -> tuple[list[str], BatchesError | None]:
        return asyncio.run(self._look())

    async def _look(self) -> tuple[list[str], BatchesError | None]:
        async def connect() -> BatchesClient:
            return BatchesClient(self.emulator.api_key, base_url=self.emulator.url, retry=ONCE)

        calls = Line("looker", connect)
        try:
            news, error = await look(calls, self.told, now=self.emulator.clock.now().timestamp())
            return ids(news), error
        finally:
            calls.hang_up()


def test_a_look_at_the_api_finds_what_has_ended_since(emulator: Emulator) -> None:
    looker = Looker(emulator)
    early, late, running = looker.submit(3)
    emulator.end(early)
    assert looker.look() == ([], None)
    emulator.end(late)
    assert looker.look() == ([late], None)
    assert looker.look() == ([], None)
    emulator.end(running)
    assert looker.look() == ([running], None)


def test_a_look_reads_as_many_pages_as_there_are(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MAX_PAGE", 5)
    looker = Looker(emulator)
    batches = looker.submit(23)
    looker.look()
    for batch_id in batches[::5]:
        emulator.end(batch_id)
    news, error = looker.look()
    assert (sorted(news), error) == (sorted(batches[::5]), None)
    assert emulator.counters["list"] == 10


def test_a_look_reads_no_further_back_than_what_may_have_ended_since(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MAX_PAGE", 5)
    looker = Looker(emulator)
    looker.submit(23)
    emulator.clock.advance(48 * 3600.0)
    fresh = looker.submit(3)
    looker.look()
    emulator.end_all()
    news, error = looker.look()
    assert (sorted(news), error) == (sorted(fresh), None)
    assert emulator.counters["list"] == 2


def test_what_a_look_that_fails_has_seen_is_told_and_the_rest_at_the_next(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MAX_PAGE", 5)
    looker = Looker(emulator)
    batches = looker.submit(12)
    looker.look()
    emulator.end_all()
    emulator.fault(Fault(endpoint="list", action="status", status=503, skip=1))
    first, error = looker.look()
    second, none = looker.look()

    assert sorted(first + second) == sorted(batches)
    assert len(first) == 5
    assert "503" in str(error)
    assert none is None


def test_a_batch_that_cannot_be_read_does_not_keep_others_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told = begun(0)
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

        calls = Line("looker", connect)
        try:
            news, error = await look(calls, told, now=START)
            assert error is None
            return ids(news)
        finally:
            calls.hang_up()

    with requests_mock.Mocker() as http:
        http.get("http://localhost:1/v1/messages/batches", json=wire)
        assert asyncio.run(main()) == ["bfine"]
    assert "1 batches of the list cannot be read" in caplog.text


def test_a_cursor_that_has_vanished_ends_a_look_and_loses_nothing(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MAX_PAGE", 1)
    looker = Looker(emulator)
    batches = looker.submit(3)
    looker.look()
    emulator.end_all()

    async def main() -> list[str]:
        async def connect() -> BatchesClient:
            return Vanishing(emulator.api_key, base_url=emulator.url, retry=ONCE)

        calls = Line("looker", connect)
        news, error = await look(calls, looker.told, now=emulator.clock.now().timestamp())
        calls.hang_up()
        assert error is not None
        return ids(news)

    class Vanishing(BatchesClient):
        """Another program deletes each batch that a page ends with."""

        def list(self, **options: object) -> object:  # type: ignore[override]
            page = super().list(**options)  # type: ignore[arg-type]
            self.delete(page.data[-1].id)
            return page

    first = asyncio.run(main())
    second, _ = looker.look()
    assert first == [batches[-1]]
    assert sorted(first + second) == sorted(batches)
