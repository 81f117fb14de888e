"""A call that is waited for no longer than asked, where the call itself knows no such limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


def call_with_timeout(seconds: float, call: Callable[[], _Result], dispose: Callable[[_Result], object]) -> _Result:
    """Return or raise what `call` does, in a thread of its own; `TimeoutError` after so many seconds.

    A call that is no longer waited for goes on until it ends by itself; what it returns then is disposed of there.
    """
    outcome: Future[_Result] = Future()
    threading.Thread(target=_run, args=(outcome, call, dispose), name="landing-call", daemon=True).start()
    try:
        return outcome.result(max(0.0, seconds))
    except TimeoutError:
        if outcome.cancel():
            raise
        return outcome.result()  # it ended just now, or the timeout is the call's own


def _run(outcome: Future[_Result], call: Callable[[], _Result], dispose: Callable[[_Result], object]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # told to the one who waits, whatever it is
        if outcome.set_running_or_notify_cancel():
            outcome.set_exception(error)
        return
    if outcome.set_running_or_notify_cancel():
        outcome.set_result(result)
    else:
        dispose(result)
