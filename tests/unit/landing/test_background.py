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


def test_what_still_waits_when_all_is_undone_is_never_begun() -> None:
    store = Event()
    done: list[str] = []
    with Background(monotonic() + 60) as background:
        background.do(store.wait, 30)
        waiting = background.do(done.append, "too late")
        undoing = Thread(target=background.undo, args=(lambda: done.append("undone"), 30))
        undoing.start()
        until = monotonic() + 10
        while not waiting.cancelled() and monotonic() < until:
            sleep(0.01)
        store.set()
        undoing.join(30)
    assert done == ["undone"]
