"""`WorkerThread`: calls in order in one daemon thread."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from airflow_batches._thread import WorkerThread


def test_calls_are_made_in_order_in_one_thread() -> None:
    seen: list[tuple[int, str]] = []
    with WorkerThread("worker") as thread:
        for number in range(100):
            thread.submit(lambda number: seen.append((number, threading.current_thread().name)), number)
    assert seen == [(number, "worker") for number in range(100)]


def test_an_error_is_raised_where_the_result_is_awaited_and_the_thread_goes_on() -> None:
    with WorkerThread("worker") as thread:
        failed = thread.submit(int, "no number")
        assert thread.submit(int, "7").result(10) == 7
        with pytest.raises(ValueError, match="no number"):
            failed.result(10)


def test_a_cancelled_call_is_not_made() -> None:
    begin, made = threading.Event(), list[str]()
    with WorkerThread("worker") as thread:
        thread.submit(begin.wait, 10)
        assert thread.submit(made.append, "cancelled").cancel()
        thread.submit(made.append, "kept")
        begin.set()
    assert made == ["kept"]


def test_without_a_call_no_thread_is_started() -> None:
    before = threading.active_count()
    with WorkerThread("worker"):
        assert threading.active_count() == before


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    script = "\n".join(
        [
            "import threading",
            "from airflow_batches._thread import WorkerThread",
            "started = threading.Event()",
            "WorkerThread('worker').submit(lambda: (started.set(), threading.Event().wait()))",
            "started.wait(10)",
        ]
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
