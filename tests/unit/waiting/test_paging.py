"""Which calls show what is wanted: against a model of the API whose batches appear, end and vanish between calls."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batches.api.errors import ApiError, TransportError
from airflow_batches.api.models import BatchPage, MessageBatch
from airflow_batches.waiting.paging import FEW, Call, CallAnswer, GetCall, ListCall, ListResult, Wanted, choose_calls


def batch(number: int, status: str = "in_progress") -> MessageBatch:
    """Batch `number` was created at second `number`."""
    return MessageBatch(id=f"b{number:04}", processing_status=status, created_at=datetime.fromtimestamp(number, UTC))


@dataclass
class Api:
    """Lists what is in `listed`, newest first; a get finds what is only in `hidden` as well."""

    page_size: int
    listed: dict[int, str]
    hidden: set[int] = field(default_factory=set)
    gone_cursor_is_an_error: bool = False

    def answer(self, call: Call) -> CallAnswer:
        if isinstance(call, GetCall):
            number = int(call.batch_id[1:])
            if number in self.listed:
                return batch(number, self.listed[number])
            return batch(number) if number in self.hidden else ApiError(404, "not_found_error", "not there")
        return self._page(call.after_id)

    def _page(self, after_id: str | None) -> CallAnswer:
        top = math.inf if after_id is None else int(after_id[1:])
        if after_id is not None and top not in self.listed:
            return (
                ApiError(400, "invalid_request_error", "cursor") if self.gone_cursor_is_an_error else BatchPage(data=[])
            )
        older = [number for number in sorted(self.listed, reverse=True) if number < top]
        data = [batch(number, self.listed[number]) for number in older[: self.page_size]]
        return BatchPage(data=data, has_more=len(older) > len(data), last_id=data[-1].id if data else None)


@dataclass
class Ran:
    """What a cycle did."""

    calls: list[Call]
    sights: dict[str, list[CallAnswer]]
    reached: int | None
    result: ListResult

    @property
    def pages(self) -> list[ListCall]:
        return [call for call in self.calls if isinstance(call, ListCall)]

    @property
    def gets(self) -> list[str]:
        return [call.batch_id for call in self.calls if isinstance(call, GetCall)]


def run(api: Api, wanted: Sequence[Wanted], between: Iterable[object] = (), oldest_running: float = -1.0) -> Ran:
    """A whole cycle; before each call one of the changes `between` happens."""
    flow: Generator[Call, CallAnswer, ListResult] = choose_calls(wanted, oldest_running=oldest_running)
    changes = iter(between)
    calls: list[Call] = []
    sights: dict[str, list[CallAnswer]] = {}
    reached: int | None = None
    answer: CallAnswer | None = None
    while True:
        try:
            call = next(flow) if answer is None else flow.send(answer)
        except StopIteration as end:
            return Ran(calls, sights, reached, end.value)
        apply(api, next(changes, None))
        answer = api.answer(call)
        calls.append(call)
        if isinstance(call, GetCall):
            sights.setdefault(call.batch_id, []).append(answer)
        elif isinstance(answer, BatchPage):
            for shown in answer.data:
                sights.setdefault(shown.id, []).append(shown)
                reached = min(int(shown.id[1:]), reached if reached is not None else 10**6)


def apply(api: Api, change: object) -> None:
    match change:
        case ("appear", int(number)):
            api.listed.setdefault(number, "in_progress")
        case ("end", int(number)) if number in api.listed:
            api.listed[number] = "ended"
        case ("vanish", int(number)):
            api.listed.pop(number, None)


def wants(numbers: Iterable[int], *, known: bool = True, listed: bool = True) -> list[Wanted]:
    return [Wanted(f"b{number:04}", float(number) if known else None, listed=listed) for number in numbers]


def test_few_are_asked_for_one_by_one() -> None:
    ran = run(Api(1000, dict.fromkeys(range(50), "in_progress")), wants(range(FEW)))

    assert ran.gets == [f"b{number:04}" for number in range(FEW)]
    assert not ran.pages


def test_a_thousand_are_shown_by_one_page() -> None:
    ran = run(Api(1000, dict.fromkeys(range(1000), "in_progress")), wants(range(1000), known=False))

    assert len(ran.calls) == 1
    assert len(ran.result.shown) == 1000


def test_pages_go_back_to_the_oldest_wanted_and_no_further() -> None:
    ran = run(Api(10, dict.fromkeys(range(1000), "in_progress")), wants(range(965, 1000)))

    assert ran.pages == [ListCall(None), ListCall("b0990"), ListCall("b0980"), ListCall("b0970")]
    assert not ran.gets


def test_pages_are_not_read_for_what_is_too_deep_to_be_worth_them() -> None:
    new, old = range(980, 1000), (3, 4)
    ran = run(Api(10, dict.fromkeys(range(1000), "in_progress")), wants([*new, *old]))

    assert len(ran.pages) == 4
    assert ran.gets == ["b0003", "b0004"]
    assert ran.result.unlisted == {"b0003", "b0004"}


def test_pages_are_not_read_beyond_what_can_still_run() -> None:
    ran = run(Api(10, dict.fromkeys(range(1000), "in_progress")), wants(range(20, 40), known=False), oldest_running=985)

    assert len(ran.pages) == 2
    assert len(ran.result.unlisted) == 20


def test_what_the_list_does_not_show_is_asked_for_by_itself() -> None:
    api = Api(1000, dict.fromkeys(range(100), "in_progress"), hidden={200})
    ran = run(api, wants([200, *range(100)], known=False))

    assert len(ran.pages) == 1
    assert ran.gets == ["b0200"]
    assert ran.result.unlisted == {"b0200"}


def test_no_page_is_read_for_what_is_known_not_to_be_listed() -> None:
    api = Api(1000, {}, hidden=set(range(50)))
    ran = run(api, wants(range(50), listed=False))

    assert ran.gets == [f"b{number:04}" for number in range(FEW)]
    assert not ran.pages


def test_a_page_that_fails_is_only_a_lost_shortcut() -> None:
    flow = choose_calls(wants(range(20)), oldest_running=0)
    failure = TransportError("reset", maybe_sent=True)
    calls = [next(flow), flow.send(failure)]
    calls += [flow.send(batch(1)) for _ in range(FEW - 1)]

    assert calls == [ListCall(None), *(GetCall(f"b{number:04}") for number in range(FEW))]


def test_a_server_that_ignores_the_cursor_is_not_asked_for_ever() -> None:
    flow = choose_calls(wants(range(10_000), known=False), oldest_running=0)
    page = BatchPage(data=[batch(1)], has_more=True, last_id="b1")

    assert next(flow) == ListCall(None)
    assert flow.send(page) == ListCall("b1")
    assert isinstance(flow.send(page), GetCall)


numbers = st.integers(0, 40)
changes = st.tuples(st.sampled_from(["appear", "end", "vanish"]), numbers) | st.tuples(
    st.just("appear"), st.integers(41, 60)
)


@given(
    page_size=st.integers(1, 12),
    listed=st.sets(numbers),
    hidden=st.sets(numbers),
    wanted=st.lists(st.tuples(numbers, st.booleans()), unique_by=lambda each: each[0]),
    between=st.lists(changes | st.none(), max_size=30),
    error=st.booleans(),
)
@settings(max_examples=150)
def test_nothing_that_was_there_all_along_is_missed(
    page_size: int,
    listed: set[int],
    hidden: set[int],
    wanted: list[tuple[int, bool]],
    between: list[object],
    error: bool,
) -> None:
    api = Api(page_size, dict.fromkeys(sorted(listed), "in_progress"), hidden, gone_cursor_is_an_error=error)
    vanished = {change[1] for change in between if isinstance(change, tuple) and change[0] == "vanish"}
    ids = [Wanted(f"b{number:04}", float(number) if known else None) for number, known in wanted]
    ran = run(api, ids, between)

    seen = ran.result.shown | set(ran.gets)
    for number in listed - vanished:
        passed = ran.reached is not None and ran.reached <= number
        if passed and any(each.batch_id == f"b{number:04}" for each in ids):
            assert f"b{number:04}" in seen
    assert ran.result.shown.isdisjoint(ran.gets)
    assert ran.result.shown.isdisjoint(ran.result.unlisted)
    assert len(ran.gets) <= FEW
    assert len(ran.gets) == len(set(ran.gets))
    assert seen | ran.result.unlisted <= {each.batch_id for each in ids}


@given(page_size=st.integers(1, 12), listed=st.sets(st.integers(0, 300)), wanted=st.sets(st.integers(0, 300)))
def test_no_more_pages_are_read_than_two_for_each_batch_or_than_the_list_has(
    page_size: int, listed: set[int], wanted: set[int]
) -> None:
    ran = run(Api(page_size, dict.fromkeys(sorted(listed), "in_progress")), wants(sorted(wanted)))

    assert len(ran.pages) <= min(2 * len(wanted), len(listed) // page_size + 1)


def test_a_cursor_that_has_vanished_is_no_failure_of_the_connection() -> None:
    flow = choose_calls([Wanted(f"b{number:04}") for number in range(FEW + 1)], oldest_running=0)
    assert next(flow) == ListCall(None)
    assert flow.send(BatchPage(data=[batch(99)], has_more=True, last_id="b0099")) == ListCall("b0099")
    answer: CallAnswer = ApiError(400, "invalid_request_error", "after_id b0099 not found")
    gets = [flow.send(answer) for _ in range(FEW)]
    assert all(isinstance(call, GetCall) for call in gets)
    with pytest.raises(StopIteration) as end:
        flow.send(answer)
    assert end.value.value.failure is None
