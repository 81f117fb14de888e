"""Make blocking calls for an event loop in one daemon thread, one after another.

The threads of `asyncio.to_thread` are not daemons: a process that ends would wait for a server's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")


class CallThread:
    """A thread that makes calls in order, from the first call until `finish`."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)

    async def run(self, job: Callable[[], _T]) -> _T:
        """Run a job in the thread and return its result.

        If cancelled, the job still ends by itself.
        """
        if self._thread.ident is None:
            self._thread.start()
        return await asyncio.wrap_future(self._submit(job))

    def finish(self, last_job: Callable[[], None]) -> None:
        """End the thread with a last job, after a call that is still under way."""
        if self._thread.ident is None:
            last_job()
            return
        self._submit(last_job)
        self._jobs.put(None)

    def _submit(self, job: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()
        self._jobs.put((future, job))
        return future

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            future, job = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as exc:  # noqa: BLE001  # raised where the result is awaited
                future.set_exception(exc)
            del item, future, job
