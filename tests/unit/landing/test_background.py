"""Calls of a store that are done elsewhere, in order."""

from __future__ import annotations

from threading import Event, Thread
from time import monotonic, sleep

from airflow_batches.landing.background import DEPTH, Background


def test_whoever_queues_calls_waits_while_the_store_is_behind() -> None:
    store = Event()
    queued: list[int] = []

    def queue() -> None:
        for number in range(DEPTH + 3):
            background.do(store.wait, 30)
            queued.append(number)
        background.drain()

    with Background(monotonic() + 60) as background:
        thread = Thread(target=queue)
        thread.start()
        while len(queued) < DEPTH:
            sleep(0.01)
        sleep(0.1)
        assert len(queued) == DEPTH
        store.set()
        thread.join(30)
    assert len(queued) == DEPTH + 3
