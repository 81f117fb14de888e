"""The trigger of an asset: each batch of the workspace that ends is reported once, also after a restart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.triggers import MessageBatchEndedTrigger
from airflow_batches.waiting.outcome import Ending, Outcome
from tests.eventually import until, wait_until
from tests.samples import some_requests
from tests.unit.triggers.quick import QuickEndedTrigger

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0) as running:
        yield running


STATE_KEY = "airflow_batches.ended_cursor.anthropic_default"


class Store:
    """An asset's state store: JSON, which outlives the trigger; it can be out of order, or not be reached."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values: dict[str, str] = {} if values is None else values
        self.reads = self.writes = self.failing_reads = self.failing_writes = 0
        self.reachable = asyncio.Event()
        self.reachable.set()

    @property
    def cursor(self) -> str:
        return self.values.get(STATE_KEY, "")

    async def aget(self, key: str, default: Any = None) -> Any:
        self.reads += 1
        await self.reachable.wait()
        if self.failing_reads:
            self.failing_reads -= 1
            raise RuntimeError("the API server does not answer")
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        if self.failing_writes:
            self.failing_writes -= 1
            raise RuntimeError("the API server does not answer")
        self.writes += 1
        self.values[key] = json.dumps(value)


def submit(emulator: Emulator, count: int = 1) -> list[str]:
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return [client.create(some_requests(2)).id for _ in range(count)]


def trigger(store: Store | None = None, **kwargs: Any) -> MessageBatchEndedTrigger:
    watching = QuickEndedTrigger(**{"poll_interval": 0.05} | kwargs)
    watching.asset_state_store = store  # type: ignore[assignment]  # the stand-in's
    return watching


class Watching:
    """A running trigger and what it has fired."""

    def __init__(self, watching: BaseEventTrigger) -> None:
        self._trigger = watching
        self.payloads: list[dict[str, Any]] = []
        self.fired_at: list[float] = []

    @property
    def reported(self) -> list[dict[str, Any]]:
        return [batch for payload in self.payloads for batch in payload["batches"]]

    @property
    def ids(self) -> list[str]:
        return [batch["batch_id"] for batch in self.reported]

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._run(self._trigger.run()))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            self.fired_at.append(time.monotonic())
            self.payloads.append(json.loads(json.dumps(event.payload)))


async def polls(emulator: Emulator, count: int = 2) -> None:
    """Wait until it has polled that often again."""
    before = emulator.counters["list"]
    await until(lambda: emulator.counters["list"] >= before + count)


def test_it_can_watch_an_asset() -> None:
    watcher = AssetWatcher(name="all", trigger=MessageBatchEndedTrigger(poll_interval=30))
    assert Asset("batches_ended", watchers=[watcher]).watchers == [watcher]


def test_each_batch_that_ends_is_reported_once_with_its_outcome(emulator: Emulator) -> None:
    async def main() -> Watching:
        (old,) = submit(emulator)
        emulator.end(old)
        async with Watching(trigger(Store())) as watching:
            await polls(emulator)
            batches = submit(emulator, 3)
            for batch_id in batches[:2]:
                emulator.end(batch_id)
            await until(lambda: len(watching.ids) >= 2)
            await polls(emulator, 3)
            assert sorted(watching.ids) == sorted(batches[:2])
        return watching

    batch = asyncio.run(main()).reported[0]
    outcome = Outcome.from_event(batch)
    assert (outcome.ending, outcome.status, outcome.counts.succeeded) == (Ending.ENDED, "ended", 2)
    assert batch["created_at"] < batch["ended_at"]


def test_batches_that_end_together_are_one_event_up_to_a_limit(
    emulator: Emulator,
) -> None:
    ended = trigger(Store())
    ended.MAX_IN_EVENT = 5  # type: ignore[misc]  # of this one

    async def main() -> None:
        batches = submit(emulator, 12)
        async with Watching(ended) as watching:
            await polls(emulator)
            emulator.configure(denied=("list",))
            for batch_id in batches:
                emulator.end(batch_id)
            emulator.configure(denied=())
            await until(lambda: len(watching.ids) == 12)
            assert [len(payload["batches"]) for payload in watching.payloads] == [5, 5, 2]

    asyncio.run(main())


def test_events_keep_a_distance_that_airflow_can_follow(emulator: Emulator) -> None:
    """An asset event that arrives while an earlier one waits for the scheduler is left over until the next one."""
    ended = trigger(Store(), poll_interval=0.01)
    ended.MAX_IN_EVENT, ended.EVENT_GAP_S = 1, 0.2  # type: ignore[misc]  # of this one

    async def main() -> None:
        submit(emulator, 3)
        async with Watching(ended) as watching:
            await polls(emulator)
            emulator.end_all()
            await until(lambda: len(watching.fired_at) == 3)
        first, second, third = watching.fired_at
        assert min(second - first, third - second) >= 0.2

    asyncio.run(main())


def test_after_a_restart_it_reports_what_ended_meanwhile_and_nothing_twice(emulator: Emulator) -> None:
    store = Store()

    async def main() -> None:
        before, meanwhile = submit(emulator, 2)
        async with Watching(trigger(store)) as first:
            await until(lambda: store.writes > 0)
            emulator.end(before)
            await until(lambda: before in store.cursor)
        emulator.end(meanwhile)
        async with Watching(trigger(store)) as second:
            await until(lambda: bool(second.ids))
            await polls(emulator, 3)
        assert (first.ids, second.ids) == ([before], [meanwhile])

    asyncio.run(main())


def test_the_cursor_is_stored_before_the_pause_until_the_next_poll(emulator: Emulator) -> None:
    """A triggerer that is stopped reports nothing twice, except while Airflow takes the event."""
    store = Store()

    async def main() -> None:
        (batch_id,) = submit(emulator)
        async with Watching(trigger(store)) as seen:
            await until(lambda: store.writes > 0)
            emulator.end(batch_id)
            await until(lambda: seen.ids == [batch_id])
        restarted = trigger(store, poll_interval=3600.0)
        async with Watching(restarted):
            await until(lambda: batch_id in store.cursor)

    asyncio.run(main())


def test_what_another_owner_reported_during_the_poll_is_not_reported_again(emulator: Emulator) -> None:
    """This one hung between its poll and its event."""

    async def main() -> None:
        store = Store()
        (batch_id,) = submit(emulator)
        async with Watching(trigger(store)) as late:
            await until(lambda: store.writes > 0)
            emulator.fault(Fault(endpoint="list", action="stall", seconds=0.3))
            looked = emulator.counters["list"]
            await until(lambda: emulator.counters["list"] > looked)
            store.reachable.clear()
            emulator.end(batch_id)
            reads = store.reads
            await until(lambda: store.reads > reads)
            cursor = json.loads(store.cursor)
            store.values[STATE_KEY] = json.dumps(cursor | {"ids": {**cursor["ids"], batch_id: cursor["newest"] + 1e10}})
            store.reachable.set()
            await polls(emulator, 3)
            assert late.ids == []

    asyncio.run(main())


def test_each_connection_has_its_own_cursor(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_ANTHROPIC_DEFAULT"])
    store = Store()

    async def main() -> None:
        async with Watching(trigger(store)), Watching(trigger(store, conn_id="other")):
            await until(lambda: len(store.values) == 2)

    asyncio.run(main())
    assert set(store.values) == {STATE_KEY, "airflow_batches.ended_cursor.other"}


def test_a_store_that_cannot_be_read_is_no_lost_cursor(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:

    class Refusing(Store):
        async def aget(self, key: str, default: Any = None) -> Any:
            self.reads += 1
            raise ValueError("Task has 2 concrete inlets")

    async def main() -> None:
        store = Refusing()
        async with Watching(trigger(store)):
            await until(lambda: store.reads > 2)
            assert not store.values

    asyncio.run(main())
    assert "does not answer; it is asked again: ValueError: Task has 2 concrete inlets" in caplog.text
    assert "starting from now" not in caplog.text


def test_it_leaves_no_connection_behind(emulator: Emulator) -> None:
    async def main() -> None:
        async with Watching(trigger()):
            await polls(emulator)

    asyncio.run(main())
    wait_until(lambda: not any(thread.name.startswith("ended-") for thread in threading.enumerate()))


def test_two_owners_for_a_while_report_an_end_once(emulator: Emulator) -> None:
    """One hung, the other took over, reported an end and stored that; then the first one came back."""

    async def main() -> None:
        store = Store()
        same = Store(store.values)
        (batch_id,) = submit(emulator)
        async with Watching(trigger(store)) as hung:
            await until(lambda: store.writes > 0)
            store.reachable.clear()
            reads = store.reads
            await until(lambda: store.reads > reads)
            async with Watching(trigger(same)) as other:
                await polls(emulator)
                emulator.end(batch_id)
                await until(lambda: batch_id in same.cursor)
                assert other.ids == [batch_id]
            store.reachable.set()
            await polls(emulator, 3)
            assert hung.ids == []

    asyncio.run(main())


def test_a_state_store_that_does_not_answer_is_not_an_empty_one(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()

    async def main() -> None:
        before, meanwhile = submit(emulator, 2)
        async with Watching(trigger(store)):
            await until(lambda: store.writes > 0)
            emulator.end(before)
            await until(lambda: before in store.cursor)
        emulator.end(meanwhile)
        store.failing_reads = 3
        async with Watching(trigger(store)) as second:
            await until(lambda: bool(second.ids))
            assert second.ids == [meanwhile]

    asyncio.run(main())
    assert store.failing_reads == 0
    assert caplog.text.count("does not answer; it is asked again") == 3


def test_what_could_not_be_stored_is_stored_later(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()

    async def main() -> None:
        (batch_id,) = submit(emulator)
        async with Watching(trigger(store)) as watching:
            await until(lambda: store.writes > 0)
            store.failing_writes = 2
            emulator.end(batch_id)
            await until(lambda: batch_id in store.cursor)
            assert watching.ids == [batch_id]

    asyncio.run(main())
    assert "could not be stored" in caplog.text


def test_an_unreadable_state_is_replaced_by_a_new_cursor(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.values[STATE_KEY] = '{"floor": "yesterday"}'

    async def main() -> None:
        old, new = submit(emulator, 2)
        emulator.end(old)
        async with Watching(trigger(store)) as watching:
            await polls(emulator)
            emulator.end(new)
            await until(lambda: bool(watching.ids))
            assert watching.ids == [new]

    asyncio.run(main())
    assert "starting from now" in caplog.text


def test_without_a_state_store_it_starts_from_now(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        old, new = submit(emulator, 2)
        emulator.end(old)
        async with Watching(trigger(None)) as watching:
            await polls(emulator)
            emulator.end(new)
            await until(lambda: bool(watching.ids))
            assert watching.ids == [new]

    asyncio.run(main())
    assert "no asset state store" in caplog.text


@pytest.mark.parametrize("status", [401, 429, 500, 503, 529])
def test_no_failure_ends_it(status: int, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_batches.waiting")

    async def main() -> None:
        (batch_id,) = submit(emulator)
        async with Watching(trigger(Store())) as watching:
            await polls(emulator)
            fault = Fault(endpoint="list", action="status", status=status, times=4, retry_after=0)
            plan = emulator.fault(fault)
            emulator.end(batch_id)
            await until(lambda: bool(watching.ids))
            await until(lambda: "works again" in caplog.text)
            assert plan.struck == 4

    asyncio.run(main())
    assert caplog.text.count("fails and is retried") == 1
    assert emulator.api_key not in caplog.text


def test_its_kwargs_are_plain_and_old_and_new_ones_are_taken() -> None:
    path, kwargs = MessageBatchEndedTrigger(poll_interval=30, since="then").serialize()
    assert path == "airflow_batches.triggers.batch_ended.MessageBatchEndedTrigger"
    assert kwargs == {"conn_id": "anthropic_default", "poll_interval": 30, "name": ""}
    assert MessageBatchEndedTrigger().serialize()[1]["poll_interval"] == 60.0
    assert MessageBatchEndedTrigger(name="a").serialize() != MessageBatchEndedTrigger(name="b").serialize()
