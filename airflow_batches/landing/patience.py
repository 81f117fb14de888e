"""A timeout for a call that has none itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


def call_with_timeout(seconds: float, call: Callable[[], _Result], dispose: Callable[[_Result], object]) -> _Result:
    """Run a call in a thread, and wait for it no longer than this.

    After the timeout the call goes on in its thread until it ends by itself.

    :param seconds: how long to wait.
    :param call: the call.
    :param dispose: gets the result of a call that ends after the timeout.
    :return: what the call returned; it raises what the call raised.
    :raises TimeoutError: the call did not end in time.
    """
    outcome: Future[_Result] = Future()
    threading.Thread(target=_run, args=(outcome, call, dispose), name="landing-call", daemon=True).start()
    try:
        return outcome.result(max(0.0, seconds))
    except TimeoutError:
        if outcome.cancel():
            raise
        return outcome.result()  # it ended just now, or the call itself raised TimeoutError


def _run(outcome: Future[_Result], call: Callable[[], _Result], dispose: Callable[[_Result], object]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # raised in the waiting thread
        if outcome.set_running_or_notify_cancel():
            outcome.set_exception(error)
        return
    if outcome.set_running_or_notify_cancel():
        outcome.set_result(result)
    else:
        dispose(result)
