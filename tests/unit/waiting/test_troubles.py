"""Failures while many wait: which waits they concern, how long they are waited out, and what is logged."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Fault
from airflow_batches.waiting.outcome import Ending, Outcome
from tests.eventually import until
from tests.unit.api.wire import answering, serving
from tests.unit.waiting.service import FAST, Service, endings, gather, then

SHORT = timedelta(seconds=0.3)
GRACES: dict[str, Any] = {"refusal_grace": SHORT, "missing_grace": SHORT}
"""Refusals and absences are believed after a third of a second instead of minutes."""


def test_a_key_that_stays_refused_ends_all_waits_with_the_connection_read_again(service: Service) -> None:
    ids = service.submit(3)

    def revoke() -> None:
        service.emulator.configure(api_key="sk-ant-new")

    outcomes = asyncio.run(
        then(
            lambda: service.polls() >= 3,
            revoke,
            *(service.wait(batch_id, poll_interval=0.1, **GRACES) for batch_id in ids),
        )
    )

    assert endings(outcomes) == {Ending.GAVE_UP}
    assert all("401" in outcome.message for outcome in outcomes)
    assert len(service.opened) > 2
    asyncio.run(until(lambda: service.closed == service.opened))


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("count", [3, 12])
def test_refusals_that_pass_end_no_wait(service: Service, status: int, count: int) -> None:
    """Four of them in half a second, as when a key is replaced."""
    ids = service.submit(count)

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: service.polls() >= 3)
        plan = service.emulator.fault(Fault(endpoint="*", action="status", status=status, times=8))
        await until(lambda: plan.struck == 8)
        assert not any(wait.done() for wait in waits)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}


def test_a_single_404_after_polls_that_succeeded_ends_no_wait(service: Service) -> None:
    (batch_id,) = service.submit()

    async def main() -> Outcome:
        wait = asyncio.create_task(service.wait(batch_id, since=time.time() - 3600))
        await until(lambda: service.polls() >= 3)
        plan = service.emulator.fault(
            Fault(endpoint="get", action="status", status=404, message="Message Batch not found.", times=2)
        )
        await until(lambda: plan.struck == 2)
        service.emulator.end_all()
        return await wait

    assert asyncio.run(main()).ending is Ending.ENDED


@pytest.mark.parametrize("status", [302, 401, 403, 404])
def test_the_page_of_a_web_filter_is_waited_out_however_long_it_stands(service: Service, status: int) -> None:
    (batch_id,) = service.submit()
    page = answering(b"<html>blocked by your network</html>", f"{status} Blocked", "content-type: text/html")

    async def main(url: str) -> Outcome:
        async def connect() -> BatchesClient:
            return BatchesClient("key", base_url=url, retry=ONCE)

        return await service.wait(batch_id, connect=connect, timeout=0.6, **GRACES)

    with serving(*[page] * 200) as server:
        outcome = asyncio.run(main(server.url))
    assert outcome.ending is Ending.TIMED_OUT
    assert re.search(f"the last poll failed: .*: {status}", outcome.message)


@pytest.mark.parametrize("count", [2, 12])
@pytest.mark.parametrize("failure", [{"action": "status", "status": 503}, {"action": "reset"}])
def test_every_wait_gets_the_error_of_an_outage(service: Service, count: int, failure: dict[str, Any]) -> None:
    ids = service.submit(count)
    got: dict[str, list[object]] = {batch_id: [] for batch_id in ids}
    service.emulator.fault(Fault(endpoint="*", times=None, **failure))

    async def main() -> None:
        waits = asyncio.gather(*(service.wait(batch_id, on_answer=got[batch_id].append) for batch_id in ids))
        await until(lambda: all(got.values()))
        waits.cancel()

    asyncio.run(main())
    assert all(isinstance(answer, BatchesError) for answers in got.values() for answer in answers)


def test_a_rotated_key_is_read_and_used(service: Service) -> None:
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


def test_without_the_permission_to_list_batches_are_polled_one_by_one(service: Service) -> None:
    service.settings = replace(FAST, max_backoff_s=60.0)
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
    assert service.emulator.counters["list"] <= 8, "two calls each time, the second one with the connection read again"


def test_an_unknown_batch_ends_its_own_wait_alone(service: Service) -> None:
    ids = service.submit(2)
    waits = [
        service.wait("msgbatch_01unknown", since=time.time() - 3600, **GRACES),
        *map(service.wait, ids),
    ]

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


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("airflow_batches.waiting")]


def beginnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What began to fail, according to the log."""
    return sorted(line.partition(" fails and ")[0] for line in logged(caplog) if " fails and " in line)


def ends(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What works again, according to the log."""
    return sorted(line.partition(" works again ")[0] for line in logged(caplog) if " works again " in line)


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
def test_temporary_failures_are_retried_and_logged_once(
    name: str, count: int, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.settings = replace(FAST, max_call_s=0.3)
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    ids = service.submit(count)
    plan = service.emulator.fault(FAULTS[name])

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: plan.fault.times == plan.struck)
        struck = service.polls()
        await until(lambda: service.polls() > struck + count and beginnings(caplog) == ends(caplog) != [])
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    assert beginnings(caplog) == ends(caplog)
    assert set(beginnings(caplog)) <= {"Polling over connection conn", "Listing batches over connection conn"}
    assert len(logged(caplog)) == 2 * len(set(beginnings(caplog)))


def test_an_outage_keeps_no_wait_beyond_its_deadline(service: Service) -> None:
    ids = service.submit(12)
    service.emulator.fault(Fault(endpoint="*", action="status", status=503, times=None))
    outcomes = asyncio.run(gather(*(service.wait(batch_id, timeout=0.4) for batch_id in ids)))

    assert endings(outcomes) == {Ending.TIMED_OUT}
    assert all("503" in outcome.message for outcome in outcomes)


def test_a_deadline_is_kept_while_the_server_asks_for_a_longer_pause(service: Service) -> None:
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
def test_a_failing_server_is_called_less_often(service: Service, failure: dict[str, Any]) -> None:
    service.settings = replace(FAST, max_backoff_s=60.0)
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


def test_a_failed_poll_is_made_up_for_without_waiting_for_the_interval(service: Service) -> None:
    """The poll is made up for at once, not when the interval has passed again."""
    (batch_id,) = service.submit()
    service.emulator.fault(Fault(endpoint="get", action="reset", times=1))
    service.emulator.end(batch_id)
    outcome = asyncio.run(service.wait(batch_id, poll_interval=3600.0))
    assert outcome.ending is Ending.ENDED


def test_a_look_up_that_never_answers_is_repeated(
    service: Service,
) -> None:
    service.settings = replace(FAST, max_call_s=0.1)
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


def test_a_wait_that_is_due_sooner_wakes_the_poller(service: Service) -> None:
    slow, fast = service.submit(2)

    async def main() -> Outcome:
        lazy = asyncio.create_task(service.wait(slow, poll_interval=3600.0))
        await until(lambda: service.polls() == 1)
        service.emulator.end(fast)
        outcome = await service.wait(fast, poll_interval=0.1)
        lazy.cancel()
        return outcome

    assert asyncio.run(asyncio.wait_for(main(), 20)).ending is Ending.ENDED


def test_a_refusal_says_nothing_to_waits_that_are_not_polled_meanwhile(service: Service) -> None:
    slow, fast = service.submit(2)

    async def main() -> Outcome:
        lazy = asyncio.create_task(service.wait(slow, poll_interval=3600.0))
        await until(lambda: service.polls() == 1)
        service.emulator.fault(Fault(endpoint="get", action="status", status=401, times=None))
        outcome = await service.wait(fast, poll_interval=0.1, **GRACES)
        assert not lazy.done()
        lazy.cancel()
        return outcome

    assert asyncio.run(asyncio.wait_for(main(), 20)).ending is Ending.GAVE_UP


def test_other_tasks_of_the_loop_run_while_a_page_is_delivered(
    service: Service,
) -> None:
    service.settings = replace(FAST, yield_every=1)
    ids = service.submit(40)
    got: list[str] = []
    turns: set[int] = set()

    async def main() -> None:
        waits = asyncio.gather(
            *(service.wait(batch_id, on_answer=lambda batch: got.append(batch.id)) for batch_id in ids)
        )
        while len(got) < len(ids):
            turns.add(len(got))
            await asyncio.sleep(0)
        waits.cancel()

    asyncio.run(main())
    assert len(turns) > len(ids) / 2


async def turns_until_done(waits: list[asyncio.Task[Outcome]]) -> set[int]:
    """Return how many of the waits were over, each time that another task ran."""
    turns: set[int] = set()
    while (done := sum(wait.done() for wait in waits)) < len(waits):
        turns.add(done)
        await asyncio.sleep(0)
    return turns


def test_other_tasks_of_the_loop_run_while_a_refusal_is_delivered(
    service: Service,
) -> None:
    service.settings = replace(FAST, yield_every=1)
    service.emulator.configure(api_key="sk-ant-another")

    async def main() -> set[int]:
        return await turns_until_done([asyncio.create_task(service.wait(f"msgbatch_{n}", **GRACES)) for n in range(40)])

    assert len(asyncio.run(main())) > 20


def test_a_list_that_fails_while_gets_succeed_is_logged_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.waiting")
    ids = service.submit(12)
    plan = service.emulator.fault(Fault(endpoint="list", action="status", status=503, times=4))

    async def main() -> list[Outcome]:
        waits = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: plan.struck == 4)
        assert len(logged(caplog)) == 1
        await until(lambda: len(logged(caplog)) == 2)
        service.emulator.end_all()
        return list(await asyncio.gather(*waits))

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    first, second = logged(caplog)
    assert "Listing batches over connection conn fails and is retried: " in first
    assert ": 503: " in first
    assert "Listing batches over connection conn works again" in second


def test_a_list_that_failed_is_not_called_for_a_while(service: Service) -> None:
    service.settings = replace(FAST, max_backoff_s=60.0)
    service.emulator.fault(Fault(endpoint="list", action="status", status=503, times=None))
    waits = [service.wait(batch_id) for batch_id in service.submit(12)]
    asyncio.run(then(lambda: service.emulator.counters["get"] > 60, service.emulator.end_all, *waits))
    assert service.emulator.counters["list"] <= 6


def test_a_key_that_must_not_list_is_no_outage_of_the_polls_and_logged_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
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
    (line,) = logged(caplog)
    assert "Listing batches over connection conn fails and is retried" in line
    assert "403" in line
