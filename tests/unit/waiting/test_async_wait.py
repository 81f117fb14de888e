"""Waits that begin, end and are cancelled: what they share, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Fault
from airflow_batches.waiting.outcome import Ending, Outcome
from tests.eventually import until, wait_until
from tests.unit.waiting.service import INTERVAL, Service, endings, gather, then


def test_cancelling_one_wait_never_affects_the_others(service: Service) -> None:
    ids = service.submit(9)

    async def main() -> list[Outcome]:
        cancelled, *others = [asyncio.create_task(service.wait(batch_id)) for batch_id in ids]
        await until(lambda: service.polls() > 1)
        cancelled.cancel()
        return await then(lambda: cancelled.done() and service.polls() > 3, service.emulator.end_all, *others)

    assert endings(asyncio.run(main())) == {Ending.ENDED}
    assert len(service.opened) == 1


def test_the_last_wait_closes_the_poller_and_the_next_one_starts_another(service: Service) -> None:
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


def test_event_loops_share_nothing(service: Service) -> None:
    ids = service.submit(2)
    started = threading.Barrier(2)
    outcomes: list[Outcome] = []

    def run(batch_id: str) -> None:
        started.wait()
        outcomes.extend(asyncio.run(gather(service.wait(batch_id))))

    threads = [threading.Thread(target=run, args=(batch_id,)) for batch_id in ids]
    for thread in threads:
        thread.start()
    wait_until(lambda: service.polls() >= 6)
    service.emulator.end_all()
    for thread in threads:
        thread.join()

    assert endings(outcomes) == {Ending.ENDED}
    assert len(service.opened) == 2


def test_a_call_under_way_does_not_keep_the_process_from_ending(service: Service) -> None:
    (batch_id,) = service.submit()
    plan = service.emulator.fault(Fault(endpoint="get", action="stall", times=None, seconds=3600))
    program = f"""
import asyncio, time
from airflow_batches.api import BatchesClient
from airflow_batches.api.polling import Watch
from airflow_batches.waiting.async_wait import wait_async

async def connect():
    return BatchesClient({service.key!r}, base_url={service.emulator.url!r})

async def main():
    watch = Watch(batch_id={batch_id!r}, since=time.time())
    wait = asyncio.create_task(wait_async("conn", connect, watch, poll_interval=0.1, on_answer=print))
    await asyncio.to_thread(input)
    wait.cancel()

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
    wait_until(lambda: plan.struck > 0)
    process.communicate("go\n", timeout=60)

    assert process.returncode == 0


def test_a_wait_that_begins_while_the_last_ones_end_is_polled(service: Service) -> None:
    """The first of two waits that end starts another one before the second has gone."""
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


def test_a_wait_that_begins_just_when_the_poller_has_failed_starts_another(service: Service) -> None:
    (batch_id,) = service.submit()
    service.emulator.end(batch_id)

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        later: list[asyncio.Task[Outcome]] = []

        async def connect() -> BatchesClient:
            loop.call_soon(lambda: later.append(loop.create_task(service.wait(batch_id))))
            raise LookupError("not one of ours")

        with pytest.raises(LookupError):
            await service.wait(batch_id, connect=connect)
        return await asyncio.wait_for(later[0], 5)

    assert asyncio.run(main()).ending is Ending.ENDED
