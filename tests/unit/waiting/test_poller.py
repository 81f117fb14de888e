"""Many waits on one event loop against the emulator: which calls they share, and which answers they get."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta

import pytest
from requests import PreparedRequest
from requests.auth import AuthBase

from airflow_batches.api import BatchesClient, InvalidRequest
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.polling import Watch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Fault
from airflow_batches.waiting.async_wait import wait_async
from airflow_batches.waiting.outcome import Ending, Outcome
from tests.samples import some_requests
from tests.unit.waiting.service import FAST, INTERVAL, Service, endings, gather, then


def test_few_batches_are_polled_one_by_one(service: Service) -> None:
    ids = service.submit(3)
    outcomes = asyncio.run(
        then(lambda: service.polls() > 8, service.emulator.end_all, *(service.wait(batch_id) for batch_id in ids))
    )

    assert [outcome.batch_id for outcome in outcomes] == ids
    assert {(outcome.ending, outcome.counts.succeeded) for outcome in outcomes} == {(Ending.ENDED, 1)}
    assert service.emulator.counters["list"] == 0


def test_many_batches_are_polled_by_the_page_over_one_connection(service: Service) -> None:
    ids = service.submit(60)
    connections = service.emulator.connections
    outcomes = asyncio.run(
        then(lambda: service.polls() >= 4, service.emulator.end_all, *(service.wait(batch_id) for batch_id in ids))
    )

    assert endings(outcomes) == {Ending.ENDED}
    assert service.emulator.counters["get"] == 0
    assert len(service.opened) == service.emulator.connections - connections == 1


def test_each_wait_has_its_own_deadline(service: Service) -> None:
    ids = service.submit(8)

    async def main() -> list[Outcome]:
        long = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids[1:]]
        short = await service.wait(ids[0], timeout=0.1)
        assert not any(wait.done() for wait in long)
        service.emulator.end_all()
        return [short, *await asyncio.gather(*long)]

    short, *long = asyncio.run(main())
    assert (short.ending, short.counts.processing) == (Ending.TIMED_OUT, 1)
    assert endings(long) == {Ending.ENDED}


def test_two_waits_may_have_the_same_batch(service: Service) -> None:
    (batch_id,) = service.submit()
    outcomes = asyncio.run(
        then(lambda: service.polls() > 2, service.emulator.end_all, service.wait(batch_id), service.wait(batch_id))
    )

    assert [outcome.batch_id for outcome in outcomes] == [batch_id, batch_id]


class SpanningKey(AuthBase):
    """Lists its own workspace, and may ask for single batches of another."""

    def __init__(self, key: str, own: str, other: str) -> None:
        self.key, self.own, self.other = key, own, other

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["x-api-key"] = self.key
        is_single = "/batches/" in (request.url or "")
        request.headers["anthropic-workspace-id"] = self.other if is_single else self.own
        return request


def test_batches_of_another_workspace_are_polled_one_by_one(service: Service) -> None:
    service.settings = replace(FAST, list_pause_s=60.0)
    service.emulator.configure(workspaces={"sk-ant-other": "wrkspc_other", "sk-ant-span": "*"})
    with BatchesClient("sk-ant-other", base_url=service.emulator.url) as other:
        ids = [other.create(some_requests(1)).id for _ in range(12)]

    async def connect() -> BatchesClient:
        key = SpanningKey("sk-ant-span", service.emulator.settings.workspace_id, "wrkspc_other")
        return BatchesClient(auth=key, base_url=service.emulator.url, retry=ONCE)

    outcomes = asyncio.run(
        then(
            lambda: service.emulator.counters["get"] > 30,
            service.emulator.end_all,
            *(service.wait(batch_id, connect=connect) for batch_id in ids),
        )
    )
    assert endings(outcomes) == {Ending.ENDED}
    assert service.emulator.counters["list"] == 1


def test_a_hint_on_a_success_is_obeyed(service: Service) -> None:
    service.emulator.configure(retry_after=1)
    (batch_id,) = service.submit()
    asyncio.run(gather(service.wait(batch_id, timeout=0.5, poll_interval=0.01)))

    assert service.polls() == 2


def test_a_connection_that_is_wrong_ends_all_waits(service: Service) -> None:
    service.settings = replace(FAST, connection_grace_s=0.1)

    async def connect() -> BatchesClient:
        raise InvalidRequest("connection 'conn' has no API key")

    outcomes = asyncio.run(gather(*(service.wait(f"msgbatch_{number}", connect=connect) for number in range(9))))
    assert endings(outcomes) == {Ending.GAVE_UP}
    assert {outcome.message for outcome in outcomes} == {"connection 'conn' has no API key"}


def test_a_connection_that_cannot_be_looked_up_for_a_moment_ends_no_wait(service: Service) -> None:
    (batch_id,) = service.submit()
    looks = 0

    async def connect() -> BatchesClient:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise InvalidRequest("connection 'conn' cannot be looked up")
        return await service.connect()

    outcomes = asyncio.run(
        then(lambda: service.polls() > 1, service.emulator.end_all, service.wait(batch_id, connect=connect))
    )
    assert endings(outcomes) == {Ending.ENDED}


def test_a_slow_look_up_delays_no_other_connection(service: Service) -> None:
    ids = service.submit(2)

    async def main() -> None:
        never = asyncio.Event()

        async def connect() -> BatchesClient:
            await never.wait()
            raise AssertionError

        watch = Watch(batch_id=ids[0], since=time.time())
        slow = asyncio.create_task(
            wait_async("other", connect, watch, poll_interval=INTERVAL, on_answer=lambda _: None)
        )
        await then(lambda: service.polls() > 2, service.emulator.end_all, service.wait(ids[1]))
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    asyncio.run(main())


def test_an_error_in_on_answer_ends_only_its_own_wait(service: Service) -> None:
    ids = service.submit(9)

    def fail(_: MessageBatch) -> None:
        raise RuntimeError("a bug in here")

    async def main() -> list[Outcome]:
        broken_wait = asyncio.create_task(service.wait(ids[0], on_answer=fail))
        others = [service.wait(batch_id) for batch_id in ids[1:]]
        outcomes = await then(lambda: broken_wait.done() and service.polls() > 3, service.emulator.end_all, *others)
        with pytest.raises(RuntimeError, match="a bug in here"):
            await broken_wait
        return outcomes

    assert endings(asyncio.run(main())) == {Ending.ENDED}


def test_an_unexpected_error_ends_all_waits_with_it(service: Service) -> None:
    ids = service.submit(9)

    async def connect() -> BatchesClient:
        raise LookupError("not one of ours")

    async def main() -> list[Outcome | BaseException]:
        broken = await asyncio.gather(
            *(service.wait(batch_id, connect=connect) for batch_id in ids), return_exceptions=True
        )
        healthy = await then(lambda: service.polls() > 1, service.emulator.end_all, service.wait(ids[0]))
        return [*broken, *healthy]

    *broken, healthy = asyncio.run(main())
    assert [str(error) for error in broken] == ["not one of ours"] * 9
    assert isinstance(healthy, Outcome)
    assert healthy.ending is Ending.ENDED


OWNER: ContextVar[str] = ContextVar("OWNER", default="none")


def test_on_answer_runs_in_its_waits_context_and_the_loop_in_none(service: Service) -> None:
    """Airflow sends what is logged to the log of the task whose context it is in."""
    noted: set[tuple[str, str]] = set()
    looked_up_by: list[str] = []

    async def connect() -> BatchesClient:
        looked_up_by.append(OWNER.get())
        return await service.connect()

    async def owned(batch_id: str) -> Outcome:
        OWNER.set(batch_id)
        note = lambda batch: noted.add((batch.id, OWNER.get()))  # noqa: E731
        return await service.wait(batch_id, connect=connect, on_answer=note)

    ids = service.submit(2)
    asyncio.run(then(lambda: len(noted) > 1, service.emulator.end_all, *map(owned, ids)))
    assert noted == {(batch_id, batch_id) for batch_id in ids}
    assert looked_up_by == ["none"]


def test_cycles_keep_their_distance_however_short_an_interval_is(service: Service) -> None:
    service.settings = replace(FAST, min_gap_s=3600.0, deadline_grace_s=0.1)
    (batch_id,) = service.submit()
    asyncio.run(gather(service.wait(batch_id, timeout=0.3, poll_interval=0.001)))
    assert service.polls() == 1


def test_a_call_that_hangs_does_not_delay_the_next_one(service: Service) -> None:
    service.settings = replace(FAST, max_call_s=0.2)
    (batch_id,) = service.submit()
    service.emulator.end(batch_id)
    service.emulator.fault(Fault(endpoint="get", action="stall", seconds=3600))
    assert asyncio.run(service.wait(batch_id)).ending is Ending.ENDED


class Counting:
    """Keeps every metric."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, dict[str, str]]] = []

    def incr(self, stat: str, *, tags: dict[str, str]) -> None:
        self.seen.append((stat, 1, tags))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None:
        self.seen.append((stat, value, tags))

    def timing(self, stat: str, dt: timedelta, *, tags: dict[str, str]) -> None:
        self.seen.append((stat, dt.total_seconds(), tags))

    def values(self, name: str) -> list[float]:
        return [value for stat, value, _ in self.seen if stat == f"airflow_batches.{name}"]


def test_everything_is_counted(service: Service) -> None:
    ids = service.submit(7)
    service.emulator.fault(Fault(endpoint="list", action="status", status=429, retry_after=0.01))
    counting = Counting()
    asyncio.run(
        then(
            lambda: service.polls() > 3,
            service.emulator.end_all,
            *(service.wait(batch_id, metrics=counting) for batch_id in ids),
        )
    )

    assert sum(counting.values("polls")) == service.polls()
    assert counting.values("poll_errors") == [1]
    assert counting.values("ended") == [1] * 7
    assert len(counting.values("wait_time")) == 7
    assert counting.values("waiting")[0] == 7
    assert counting.values("waiting")[-1] == 0
    assert {tags["conn_id"] for _, _, tags in counting.seen} == {"conn"}
