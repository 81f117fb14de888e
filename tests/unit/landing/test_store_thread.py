"""Calls of a store in a thread, in order and within a limit."""

from __future__ import annotations

from threading import Event, Thread
from time import monotonic, sleep

import pytest

from airflow_batches.landing.errors import StoreTimeout
from airflow_batches.landing.store_thread import DEPTH, StoreThread

GENEROUS_S = 30.0


def test_queueing_blocks_while_the_store_is_behind() -> None:
    store = Event()
    queued: list[int] = []

    def queue() -> None:
        for number in range(DEPTH + 3):
            thread.queue(store.wait, GENEROUS_S)
            queued.append(number)
        thread.drain()

    with StoreThread("memory://out", monotonic() + 60, GENEROUS_S) as thread:
        queueing = Thread(target=queue)
        queueing.start()
        deadline = monotonic() + GENEROUS_S
        while len(queued) < DEPTH and monotonic() < deadline:
            sleep(0.01)
        sleep(0.1)
        assert len(queued) == DEPTH
        store.set()
        queueing.join(GENEROUS_S)
    assert len(queued) == DEPTH + 3


def test_a_clean_up_replaces_the_calls_that_have_not_begun() -> None:
    store = Event()
    made: list[str] = []
    with StoreThread("memory://out", monotonic() + 60, GENEROUS_S) as thread:
        thread.queue(store.wait, GENEROUS_S)
        queued = thread.queue(made.append, "too late")
        cleaning = Thread(target=thread.clean_up, args=(lambda: made.append("cleaned up"),))
        cleaning.start()
        deadline = monotonic() + GENEROUS_S
        while not queued.cancelled() and monotonic() < deadline:
            sleep(0.01)
        store.set()
        cleaning.join(GENEROUS_S)
    assert made == ["cleaned up"]


def test_a_timeout_raised_by_the_call_is_not_one_of_the_thread() -> None:
    def fails() -> None:
        raise TimeoutError("its own")

    with (
        StoreThread("memory://out", monotonic() + 60, GENEROUS_S) as thread,
        pytest.raises(TimeoutError, match="its own") as caught,
    ):
        thread.call(fails)
    assert not isinstance(caught.value, StoreTimeout)


def test_after_a_timeout_a_call_is_not_made_and_a_clean_up_is() -> None:
    store, cleaned = Event(), Event()
    made: list[str] = []
    with StoreThread("memory://out", monotonic(), 0.01) as thread:
        thread.queue(store.wait, GENEROUS_S)
        with pytest.raises(StoreTimeout):
            thread.call(made.append, "too late")
        with pytest.raises(StoreTimeout):
            thread.clean_up(cleaned.set)
        store.set()
        assert cleaned.wait(GENEROUS_S)
    assert not made


def test_a_call_has_its_grace_after_the_deadline_and_a_queued_one_has_not() -> None:
    store = Event()
    with StoreThread("memory://out", monotonic(), GENEROUS_S) as thread:
        assert thread.call(lambda: 7) == 7
        thread.queue(store.wait, GENEROUS_S)
        with pytest.raises(StoreTimeout):
            thread.drain()
        store.set()
