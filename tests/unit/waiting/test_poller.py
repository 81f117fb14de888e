"""Many waits on one event loop, against the emulator: who is told what, with how many calls, and what is left."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from requests import PreparedRequest
from requests.auth import AuthBase

from airflow_batches.api import BatchesClient, BatchesError, InvalidRequest, TransportError
from airflow_batches.api.models import MessageBatch
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.waiting import hub, line, outage, poller, roster
from airflow_batches.waiting.decision import Watch
from airflow_batches.waiting.hub import wait_async
from airflow_batches.waiting.outcome import Ending, Outcome
from airflow_batches.waiting.paging import Page
from tests.samples import some_requests

INTERVAL = 0.05


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same times, a hundred times shorter."""
    monkeypatch.setattr(poller, "TICK", 0.01)
    monkeypatch.setattr(poller, "LIST_PAUSE", 0.15)
    monkeypatch.setattr(roster, "FIRST_POLL", 0.02)
    monkeypatch.setattr(outage, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(hub, "PATIENCE", 0.5)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Batches go on until they are ended; nothing asks to be polled less often."""
    with Emulator(processing_time=3600.0, retry_after=0) as running:
        yield running


class Service:
    """An emulator as a connection sees it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.key = emulator.api_key
        self.opened: list[BatchesClient] = []
        self.closed: list[BatchesClient] = []

    async def connect(self) -> BatchesClient:
        service = self

        class Client(BatchesClient):
            def close(self) -> None:
                service.closed.append(self)
                super().close()

        self.opened.append(Client(self.key, base_url=self.emulator.url, retry=ONCE, timeout=5.0))
        return self.opened[-1]

    def submit(self, count: int = 1) -> list[str]:
        with BatchesClient(self.emulator.api_key, base_url=self.emulator.url) as client:
            return [client.create(some_requests(1)).id for _ in range(count)]

    def polls(self) -> int:
        counters = self.emulator.counters
        return counters["get"] + counters["list"]

    def wait(self, batch_id: str, *, timeout: float | None = 30.0, **options: Any) -> Coroutine[Any, Any, Outcome]:
        now = time.time()
        deadline = None if timeout is None else now + timeout
        since = options.pop("since", now)
        given: dict[str, Any] = {"poll_interval": INTERVAL, "connect": self.connect, **options}
        return wait_async("conn", watch=Watch(batch_id=batch_id, since=since, deadline=deadline), **given)


@pytest.fixture
def service(emulator: Emulator) -> Service:
    return Service(emulator)


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again; the test's own timeout ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  # it holds in another thread
        await asyncio.sleep(0.005)


async def then(condition: Callable[[], bool], act: Callable[[], object], *waits: Awaitable[Outcome]) -> list[Outcome]:
    """Wait for all; when the condition holds, act."""

    async def acting() -> None:
        await until(condition)
        await asyncio.to_thread(act)

    actor = asyncio.create_task(acting())
    outcomes = await asyncio.gather(*waits)
    await actor
    return list(outcomes)


def endings(outcomes: list[Outcome]) -> set[Ending]:
    return {outcome.ending for outcome in outcomes}


def test_a_few_are_polled_one_by_one(service: Service) -> None:
    ids = service.submit(3)
    outcomes = asyncio.run(
        then(lambda: service.polls() > 8, service.emulator.end_all, *(service.wait(batch_id) for batch_id in ids))
    )

    assert [outcome.batch_id for outcome in outcomes] == ids
    assert {(outcome.ending, outcome.counts.succeeded) for outcome in outcomes} == {(Ending.ENDED, 1)}
    assert service.emulator.counters["list"] == 0


def test_many_are_polled_by_the_page_over_one_connection(service: Service) -> None:
    ids = service.submit(60)
    connections = service.emulator.connections
    outcomes = asyncio.run(
        then(lambda: service.polls() >= 4, service.emulator.end_all, *(service.wait(batch_id) for batch_id in ids))
    )

    assert endings(outcomes) == {Ending.ENDED}
    assert service.emulator.counters["get"] == 0
    assert len(service.opened) == service.emulator.connections - connections == 1


def test_waits_that_began_at_different_times_come_to_share_their_polls(service: Service) -> None:
    ids = service.submit(20)

    async def main() -> list[Outcome]:
        waits = []
        for batch_id in ids:
            waits.append(asyncio.create_task(service.wait(batch_id, poll_interval=0.3)))
            await asyncio.sleep(0.012)
        before = service.emulator.counters["list"]
        await until(lambda: service.emulator.counters["list"] >= before + 4)
        gets = service.emulator.counters["get"]
        await until(lambda: service.emulator.counters["list"] >= before + 7)
        assert service.emulator.counters["get"] == gets
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}


def test_each_has_its_own_deadline(service: Service) -> None:
    ids = service.submit(8)

    async def main() -> list[Outcome]:
        patient = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids[1:]]
        hasty = await service.wait(ids[0], timeout=0.1)
        assert not any(wait.done() for wait in patient)
        service.emulator.end_all()
        return [hasty, *await asyncio.gather(*patient)]

    hasty, *patient = asyncio.run(main())
    assert (hasty.ending, hasty.counts.processing) == (Ending.TIMED_OUT, 1)
    assert endings(patient) == {Ending.ENDED}


def test_two_may_wait_for_the_same_batch(service: Service) -> None:
    (batch_id,) = service.submit()
    outcomes = asyncio.run(
        then(lambda: service.polls() > 2, service.emulator.end_all, service.wait(batch_id), service.wait(batch_id))
    )

    assert [outcome.batch_id for outcome in outcomes] == [batch_id, batch_id]


class SpanningKey(AuthBase):
    """Lists its own workspace, and may ask for single batches of another."""

    def __init__(self, key: str, other: str) -> None:
        self.key, self.other = key, other

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["x-api-key"] = self.key
        if "/batches/" in (request.url or ""):
            request.headers["anthropic-workspace-id"] = self.other
        return request


def test_batches_of_another_workspace_are_found_by_themselves(service: Service) -> None:
    service.emulator.configure(workspaces={"sk-ant-other": "wrkspc_other", "sk-ant-span": "*"})
    with BatchesClient("sk-ant-other", base_url=service.emulator.url) as other:
        ids = [other.create(some_requests(1)).id for _ in range(12)]

    async def connect() -> BatchesClient:
        key = SpanningKey("sk-ant-span", "wrkspc_other")
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


def test_a_refused_key_ends_all_waits_after_one_fresh_look(service: Service) -> None:
    ids = service.submit(3)

    def revoke() -> None:
        service.emulator.configure(api_key="sk-ant-new")

    outcomes = asyncio.run(
        then(lambda: service.polls() >= 3, revoke, *(service.wait(batch_id, poll_interval=0.2) for batch_id in ids))
    )

    assert endings(outcomes) == {Ending.GAVE_UP}
    assert all("401" in outcome.message for outcome in outcomes)
    assert len(service.opened) == 2
    asyncio.run(until(lambda: service.closed == service.opened))


def test_a_rotated_key_is_taken_up(service: Service) -> None:
    ids = service.submit(12)

    def rotate() -> None:
        service.key = "sk-ant-new"
        service.emulator.configure(api_key="sk-ant-new")

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: service.polls() >= 3)
        rotate()
        await until(lambda: len(service.opened) == 2)
        before = service.polls()
        await until(lambda: service.polls() > before)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    assert len(service.opened) == 2


def test_without_the_permission_to_list_batches_are_asked_for_one_by_one(service: Service) -> None:
    service.emulator.configure(denied=("list",))
    ids = service.submit(12)
    outcomes = asyncio.run(
        then(
            lambda: service.emulator.counters["get"] > 24,
            service.emulator.end_all,
            *(service.wait(batch_id) for batch_id in ids),
        )
    )

    assert endings(outcomes) == {Ending.ENDED}
    assert service.emulator.counters["list"] <= 2


def test_an_unknown_batch_ends_its_own_wait_alone(service: Service) -> None:
    ids = service.submit(2)
    waits = [service.wait("msgbatch_01unknown", since=time.time() - 3600), *map(service.wait, ids)]

    async def main() -> list[Outcome]:
        unknown, *known = map(asyncio.create_task, waits)
        first = await unknown
        assert not any(wait.done() for wait in known)
        service.emulator.end_all()
        return [first, *await asyncio.gather(*known)]

    unknown, *known = asyncio.run(main())
    assert unknown.ending is Ending.GAVE_UP
    assert "404" in unknown.message
    assert endings(known) == {Ending.ENDED}


def test_a_fresh_batch_may_be_unknown_for_a_while(service: Service) -> None:
    service.emulator.configure(fresh_404=0.3)
    (batch_id,) = service.submit()
    outcomes = asyncio.run(then(lambda: service.polls() > 6, service.emulator.end_all, service.wait(batch_id)))

    assert endings(outcomes) == {Ending.ENDED}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_batches.waiting")]


FAULTS = {
    "500": Fault(endpoint="*", action="status", status=500, times=3),
    "529": Fault(endpoint="*", action="status", status=529, times=3),
    "429": Fault(endpoint="*", action="status", status=429, times=3, retry_after=0.02),
    "reset": Fault(endpoint="*", action="reset", times=3),
    "broken JSON": Fault(endpoint="*", action="broken_json", times=3),
    "a silent server": Fault(endpoint="*", action="stall", times=2, seconds=0.6),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("count", [2, 12])
def test_what_passes_is_tried_again_and_said_once(
    name: str, count: int, service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LONGEST_CALL", 0.3)
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    ids = service.submit(count)
    plan = service.emulator.fault(FAULTS[name])

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: plan.fault.times == plan.struck)
        struck = service.polls()
        await until(lambda: service.polls() > struck + count and len(said(caplog)) > 1)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    first, second = said(caplog)
    assert "fails and is tried again" in first
    assert "works again" in second


def test_an_outage_lasts_no_longer_than_a_deadline(service: Service) -> None:
    ids = service.submit(12)
    service.emulator.fault(Fault(endpoint="*", action="status", status=503, times=None))
    outcomes = asyncio.run(gather(*(service.wait(batch_id, timeout=0.4) for batch_id in ids)))

    assert endings(outcomes) == {Ending.TIMED_OUT}
    assert all("503" in outcome.message for outcome in outcomes)


def test_a_deadline_is_kept_while_the_server_wants_to_be_left_alone(service: Service) -> None:
    ids = service.submit(2)
    plan = service.emulator.fault(Fault(endpoint="get", action="status", status=429, times=None, retry_after=300))
    outcomes = asyncio.run(gather(*(service.wait(batch_id, timeout=0.3) for batch_id in ids)))

    assert endings(outcomes) == {Ending.TIMED_OUT}
    assert all("429" in outcome.message for outcome in outcomes)
    assert plan.struck == 1


def test_a_deadline_is_kept_while_a_call_hangs(service: Service) -> None:
    (batch_id,) = service.submit()
    service.emulator.fault(Fault(endpoint="get", action="stall", times=None, seconds=3))
    (outcome,) = asyncio.run(gather(service.wait(batch_id, timeout=0.1)))

    assert outcome.ending is Ending.TIMED_OUT
    assert "not answered" in outcome.message


@pytest.mark.parametrize("failure", [{"action": "status", "status": 503}, {"action": "broken_json"}])
def test_a_server_in_trouble_is_asked_less_often_not_more(
    service: Service, failure: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "LONGEST_PAUSE", 60.0)
    ids = service.submit(30)

    async def main() -> int:
        for endpoint in ("get", "list"):
            service.emulator.fault(Fault(endpoint=endpoint, times=None, **failure))
        waits = asyncio.gather(*(service.wait(batch_id) for batch_id in ids))
        await until(lambda: service.polls() > 0)
        await asyncio.sleep(1.0)
        asked = service.polls()
        service.emulator.reset()
        service.emulator.configure(retry_after=0)
        waits.cancel()
        return asked

    # A page and five gets in each cycle: twenty of them within the second, were there no pause after one.
    assert asyncio.run(main()) <= 4 * 6


def test_a_failure_that_is_over_costs_no_interval(service: Service) -> None:
    """The poll is made up for at once, not when the interval has passed again."""
    (batch_id,) = service.submit()
    service.emulator.fault(Fault(endpoint="get", action="reset", times=1))
    service.emulator.end(batch_id)
    began = time.monotonic()
    outcome = asyncio.run(service.wait(batch_id, poll_interval=20.0))
    assert outcome.ending is Ending.ENDED
    assert time.monotonic() - began < 10


def test_a_deadline_is_kept_to_the_second_while_the_server_wants_to_be_left_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 60.0)
    (batch_id,) = service.submit()
    service.emulator.fault(Fault(endpoint="get", action="status", status=429, retry_after=300, times=None))
    began = time.monotonic()
    outcome = asyncio.run(service.wait(batch_id, timeout=0.5))
    assert outcome.ending is Ending.TIMED_OUT
    assert "429" in outcome.message
    assert 0.4 < time.monotonic() - began < 3


def test_a_look_up_that_never_answers_is_given_up_and_made_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LONGEST_CALL", 0.1)
    (batch_id,) = service.submit()
    service.emulator.end(batch_id)
    looks = 0

    async def connect() -> BatchesClient:
        nonlocal looks
        looks += 1
        if looks < 3:
            await asyncio.Event().wait()
        return await service.connect()

    assert asyncio.run(service.wait(batch_id, connect=connect)).ending is Ending.ENDED
    assert looks == 3


def test_a_wait_in_a_hurry_wakes_a_loop_that_sleeps(service: Service) -> None:
    slow, fast = service.submit(2)

    async def main() -> Outcome:
        lazy = asyncio.create_task(service.wait(slow, poll_interval=3600.0))
        await until(lambda: service.polls() == 1)
        service.emulator.end(fast)
        outcome = await service.wait(fast, poll_interval=0.1)
        lazy.cancel()
        return outcome

    assert asyncio.run(asyncio.wait_for(main(), 20)).ending is Ending.ENDED


def test_a_final_failure_is_told_to_those_too_who_are_not_due(service: Service) -> None:
    slow, fast = service.submit(2)

    async def main() -> list[Outcome]:
        lazy = asyncio.create_task(service.wait(slow, poll_interval=3600.0))
        await until(lambda: service.polls() == 1)
        service.emulator.fault(Fault(endpoint="get", action="status", status=401, times=None))
        return [await service.wait(fast, poll_interval=0.1), await lazy]

    assert endings(asyncio.run(asyncio.wait_for(main(), 20))) == {Ending.GAVE_UP}


def test_other_tasks_of_the_loop_have_their_turn_while_a_page_is_told_of(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "BREATH", 1)
    ids = service.submit(40)
    told: list[str] = []
    turns: set[int] = set()

    async def main() -> None:
        waits = asyncio.gather(
            *(service.wait(batch_id, on_batch=lambda batch: told.append(batch.id)) for batch_id in ids)
        )
        while len(told) < len(ids):
            turns.add(len(told))
            await asyncio.sleep(0)
        waits.cancel()

    asyncio.run(main())
    assert len(turns) > len(ids) / 2


async def turns_until_done(waits: list[asyncio.Task[Outcome]]) -> set[int]:
    """How many of the waits were over, each time that another task had its turn."""
    turns: set[int] = set()
    while (done := sum(wait.done() for wait in waits)) < len(waits):
        turns.add(done)
        await asyncio.sleep(0)
    return turns


def test_other_tasks_of_the_loop_have_their_turn_while_all_are_told_that_the_key_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "BREATH", 1)
    service.emulator.configure(api_key="sk-ant-another")

    async def main() -> set[int]:
        return await turns_until_done([asyncio.create_task(service.wait(f"msgbatch_{n}")) for n in range(40)])

    assert len(asyncio.run(main())) > 20


def test_other_tasks_of_the_loop_have_their_turn_while_deadlines_pass_that_could_not_be_asked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "BREATH", 1)
    service.emulator.fault(Fault(endpoint="*", action="status", status=429, retry_after=300, times=None))

    async def main() -> set[int]:
        now = time.time()
        watches = [Watch(batch_id=f"msgbatch_{n}", since=now, deadline=now + 0.5) for n in range(40)]
        waits = [wait_async("conn", service.connect, watch, poll_interval=INTERVAL) for watch in watches]
        return await turns_until_done([*map(asyncio.create_task, waits)])

    assert len(asyncio.run(main())) > 20


def test_a_list_that_fails_while_single_batches_are_had_is_one_outage(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    ids = service.submit(12)
    plan = service.emulator.fault(Fault(endpoint="list", action="status", status=503, times=4))

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: plan.struck == 4)
        assert len(said(caplog)) == 1
        await until(lambda: len(said(caplog)) == 2)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    first, second = said(caplog)
    assert "fails and is tried again: 503" in first
    assert "works again" in second


def test_a_list_that_failed_is_left_alone_for_a_while(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "LIST_PAUSE", 60.0)
    service.emulator.fault(Fault(endpoint="list", action="status", status=503, times=None))
    waits = [service.wait(batch_id) for batch_id in service.submit(12)]
    asyncio.run(then(lambda: service.emulator.counters["get"] > 30, service.emulator.end_all, *waits))
    assert service.emulator.counters["list"] == 1


def test_an_outage_of_the_list_is_over_when_so_few_wait_that_nobody_needs_it(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    ids = service.submit(12)
    service.emulator.fault(Fault(endpoint="list", action="status", status=503, times=None))

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: len(said(caplog)) == 1)
        for batch_id in ids[2:]:
            service.emulator.end(batch_id)
        await until(lambda: len(said(caplog)) == 2)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}


def test_that_batches_may_not_be_listed_is_no_outage_and_said_once(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "RELIST", 0.1)
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    service.emulator.configure(denied=("list",))
    ids = service.submit(12)
    outcomes = asyncio.run(
        then(
            lambda: service.emulator.counters["list"] > 6,
            service.emulator.end_all,
            *(service.wait(batch_id) for batch_id in ids),
        )
    )
    assert endings(outcomes) == {Ending.ENDED}
    (line,) = said(caplog)
    assert "asked for one by one" in line
    assert "403" in line


def test_a_hint_on_a_success_is_heeded(service: Service) -> None:
    service.emulator.configure(retry_after=1)
    (batch_id,) = service.submit()
    asyncio.run(gather(service.wait(batch_id, timeout=0.5, poll_interval=0.01)))

    assert service.polls() == 2


def test_a_connection_that_is_wrong_ends_all_waits(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CONNECTION_GRACE", 0.1)

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


def test_a_slow_look_up_holds_up_nobody_else(service: Service) -> None:
    ids = service.submit(2)

    async def main() -> None:
        never = asyncio.Event()

        async def connect() -> BatchesClient:
            await never.wait()
            raise AssertionError

        watch = Watch(batch_id=ids[0], since=time.time())
        slow = asyncio.create_task(wait_async("other", connect, watch, poll_interval=INTERVAL))
        await then(lambda: service.polls() > 2, service.emulator.end_all, service.wait(ids[1]))
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    asyncio.run(main())


def test_one_who_leaves_takes_nothing_with_him(service: Service) -> None:
    ids = service.submit(9)

    async def main() -> list[Outcome]:
        leaver, *others = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: service.polls() > 1)
        leaver.cancel()
        return await then(lambda: leaver.done() and service.polls() > 3, service.emulator.end_all, *others)

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    assert len(service.opened) == 1


def test_the_last_one_out_closes_and_the_first_one_in_starts_anew(service: Service) -> None:
    ids = service.submit(6)

    async def main() -> None:
        for _ in range(2):
            waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
            opened = len(service.opened)
            await until(lambda opened=opened: len(service.opened) > opened and service.polls() > 1)  # type: ignore[misc]
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            await until(lambda: service.opened == service.closed)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*tasks, return_exceptions=True)
        polls = service.polls()
        await asyncio.sleep(5 * INTERVAL)
        assert service.polls() == polls

    asyncio.run(main())
    assert len(service.opened) == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "batches-conn"]


def test_loops_share_nothing(service: Service) -> None:
    ids = service.submit(2)
    started = threading.Barrier(2)
    outcomes: list[Outcome] = []

    def run(batch_id: str) -> None:
        started.wait()
        outcomes.extend(asyncio.run(gather(service.wait(batch_id))))

    threads = [threading.Thread(target=run, args=(batch_id,)) for batch_id in ids]
    for thread in threads:
        thread.start()
    while service.polls() < 6:
        time.sleep(0.01)
    service.emulator.end_all()
    for thread in threads:
        thread.join()

    assert endings(outcomes) == {Ending.ENDED}
    assert len(service.opened) == 2


def test_a_call_under_way_keeps_no_process_from_ending(service: Service) -> None:
    (batch_id,) = service.submit()
    plan = service.emulator.fault(Fault(endpoint="get", action="stall", times=None, seconds=3600))
    program = f"""
import asyncio, time
from airflow_batches.api import BatchesClient
from airflow_batches.waiting.decision import Watch
from airflow_batches.waiting.hub import wait_async

async def connect():
    return BatchesClient({service.key!r}, base_url={service.emulator.url!r})

async def main():
    watch = Watch(batch_id={batch_id!r}, since=time.time())
    wait = asyncio.create_task(wait_async("conn", connect, watch, poll_interval=0.1))
    await asyncio.to_thread(input)
    wait.cancel()

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
    while not plan.struck:
        time.sleep(0.01)
    process.communicate("go\n", timeout=60)

    assert process.returncode == 0


def test_what_a_listener_raises_is_his_own(service: Service) -> None:
    ids = service.submit(9)

    def stumble(_: MessageBatch) -> None:
        raise RuntimeError("a bug in here")

    async def main() -> list[Outcome]:
        clumsy = asyncio.create_task(service.wait(ids[0], on_batch=stumble))
        others = [service.wait(batch_id) for batch_id in ids[1:]]
        outcomes = await then(lambda: clumsy.done() and service.polls() > 3, service.emulator.end_all, *others)
        with pytest.raises(RuntimeError, match="a bug in here"):
            await clumsy
        return outcomes

    assert endings(asyncio.run(main())) == {Ending.ENDED}


def test_an_error_nobody_foresaw_is_raised_to_all_and_not_waited_out(service: Service) -> None:
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


OWNER: ContextVar[str] = ContextVar("OWNER", default="nobody")


def test_each_hears_of_his_batch_in_his_own_context_and_what_the_loop_does_is_nobodys(service: Service) -> None:
    """Airflow sends what is logged to the log of the task whose context it is in."""
    heard: set[tuple[str, str]] = set()
    looked_up_by: list[str] = []

    async def connect() -> BatchesClient:
        looked_up_by.append(OWNER.get())
        return await service.connect()

    async def owned(batch_id: str) -> Outcome:
        OWNER.set(batch_id)
        hear = lambda batch: heard.add((batch.id, OWNER.get()))  # noqa: E731
        return await service.wait(batch_id, connect=connect, on_batch=hear)

    ids = service.submit(2)
    asyncio.run(then(lambda: len(heard) > 1, service.emulator.end_all, *map(owned, ids)))
    assert heard == {(batch_id, batch_id) for batch_id in ids}
    assert looked_up_by == ["nobody"]


def test_one_who_comes_in_while_the_last_ones_go_out_is_not_forgotten(service: Service) -> None:
    """The first of the two to hear the end starts another wait before the second has left."""
    first, second, third = service.submit(3)

    async def main() -> list[Outcome]:
        async def one_after_the_other() -> Outcome:
            await service.wait(first)
            return await service.wait(second)

        waits = [asyncio.create_task(one_after_the_other()), asyncio.create_task(service.wait(first))]
        await until(lambda: service.polls() > 0)
        service.emulator.end(first)
        await waits[1]
        return await then(lambda: service.polls() > 6, service.emulator.end_all, waits[0], service.wait(third))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    assert len(service.opened) == 2


def test_one_who_comes_in_just_when_the_loop_has_died_starts_another(service: Service) -> None:
    (batch_id,) = service.submit()
    service.emulator.end(batch_id)

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        newcomers: list[asyncio.Task[Outcome]] = []

        async def connect() -> BatchesClient:
            loop.call_soon(lambda: newcomers.append(loop.create_task(service.wait(batch_id))))
            raise LookupError("not one of ours")

        with pytest.raises(LookupError):
            await service.wait(batch_id, connect=connect)
        return await asyncio.wait_for(newcomers[0], 5)

    assert asyncio.run(main()).ending is Ending.ENDED


def test_intervals_are_shortened_at_random_and_never_lengthened(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    (batch_id,) = service.submit()
    asyncio.run(then(lambda: service.polls() > 2, service.emulator.end_all, service.wait(batch_id)))
    assert set(drawn) == {(0.9, 1.0)}


def test_cycles_keep_apart_however_short_an_interval_is(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "TICK", 0.2)
    (batch_id,) = service.submit()
    asyncio.run(gather(service.wait(batch_id, timeout=1.0, poll_interval=0.001)))
    assert 2 <= service.polls() <= 7


def test_a_connection_that_is_missing_now_and_then_is_not_believed_to_be_gone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "CONNECTION_GRACE", 0.1)
    there = iter([False, True, False])

    async def connect() -> BatchesClient:
        if next(there):
            return await service.connect()
        raise InvalidRequest("connection 'conn' cannot be looked up")

    async def main() -> list[BatchesError | None]:
        calls = line.Line("line", connect)
        shared = []
        for _ in range(3):
            shared.append((await calls.ask(Page())).shared)
            calls.hang_up()
            await asyncio.sleep(0.15)
        return shared

    assert [type(error) for error in asyncio.run(main())] == [TransportError, type(None), TransportError]


def test_a_call_that_hangs_holds_up_none_after_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "LONGEST_CALL", 0.3)
    (batch_id,) = service.submit()
    service.emulator.end(batch_id)
    service.emulator.fault(Fault(endpoint="get", action="stall", seconds=6))
    began = time.monotonic()
    assert asyncio.run(service.wait(batch_id)).ending is Ending.ENDED
    assert time.monotonic() - began < 4


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


async def gather(*waits: Awaitable[Outcome]) -> list[Outcome]:
    """`asyncio.run` wants a coroutine."""
    return list(await asyncio.gather(*waits))
