"""A call that is waited for no longer than asked."""

from __future__ import annotations

from threading import Event

import pytest

from airflow_batches.landing.patience import call_with_timeout

GENEROUS = 30.0


def test_what_the_call_returns_or_raises_comes_through() -> None:
    assert call_with_timeout(GENEROUS, lambda: 7, lambda _: None) == 7
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(GENEROUS, lambda: 1 // 0, lambda _: None)


def test_a_timeout_of_the_calls_own_is_no_timeout_of_ours() -> None:
    def fails() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        call_with_timeout(GENEROUS, fails, lambda _: None)


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
def test_what_comes_too_late_is_disposed_of(seconds: float) -> None:
    may_end, disposed = Event(), Event()
    with pytest.raises(TimeoutError):
        call_with_timeout(seconds, lambda: may_end.wait(GENEROUS), lambda _: disposed.set())
    assert not disposed.is_set()
    may_end.set()
    assert disposed.wait(GENEROUS)


def test_an_error_that_comes_too_late_is_nobodys() -> None:
    may_end = Event()
    with pytest.raises(TimeoutError):
        call_with_timeout(0.0, lambda: 1 // int(may_end.wait(GENEROUS) and 0), lambda _: None)
    may_end.set()
