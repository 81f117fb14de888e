"""Make calls in a thread of their own, in order.

Not `ThreadPoolExecutor`: the interpreter joins its threads at exit, so a process that ends would wait for a server that
hangs. These threads are daemons.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self, TypeVar

_Result = TypeVar("_Result")
_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class WorkerThread:
    """A thread that makes calls one after another, from the first call until `finish`.

    Leaving a `with` waits for the queued calls; `finish` does not::

        with WorkerThread("hashing") as thread:
            thread.submit(sha256.update, block)

    :param name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._jobs: Final[SimpleQueue[_Job | None]] = SimpleQueue()
        self._thread: Final = Thread(target=_work, args=(self._jobs,), name=name, daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.finish()
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        """Start the thread before its first call, for callers that must not wait for a lock later."""
        self._thread.start()

    def submit(self, call: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Queue a call. It is not made if its future is cancelled first.

        :param call: the call.
        :param args: its arguments.
        :return: the future of what it returns or raises.
        """
        future: Future[_Result] = Future()
        self._jobs.put((future, call, args))
        if self._thread.ident is None:
            self._thread.start()
        return future

    def finish(self, *, timeout_s: float = 0.0) -> None:
        """End the thread after the queued calls.

        :param timeout_s: seconds to wait for them at most; by default it does not wait.
        """
        self._jobs.put(None)
        if timeout_s and self._thread.ident is not None:
            self._thread.join(timeout_s)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, call, args = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call(*args))
            except BaseException as exc:  # noqa: BLE001  # raised where the result is awaited
                future.set_exception(exc)
        del job, future, call, args  # a waiting thread must not keep a block of data
