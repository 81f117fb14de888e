"""Blocking calls for an event loop: one daemon thread that makes them one after another.

A daemon, unlike the threads of `asyncio.to_thread`: a process that ends does not wait for a server's answer.
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
    """Runs calls in order, from its first one until `finish`."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)

    async def run(self, job: Callable[[], _T]) -> _T:
        """What the job returns or raises. Cancelled, it leaves the job to end by itself."""
        if self._thread.ident is None:
            self._thread.start()
        return await asyncio.wrap_future(self._submit(job))

    def finish(self, last_job: Callable[[], None]) -> None:
        """End the thread with a last job, behind a call that may still be under way."""
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
