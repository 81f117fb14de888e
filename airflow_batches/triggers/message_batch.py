"""The wait of a deferred task.

Rules of this file:
- Only ids and times in the kwargs: Airflow stores them in clear. Unknown kwargs are ignored, because rows
  written by another version survive an upgrade.
- Nothing fires in the first `QUIET` seconds: Airflow may report the deferring leg's exit up to 5 s late, and
  takes a trigger that was faster for a state mismatch that fails the task.
- The generator ends right after its one event.
- A batch is canceled only when Airflow itself says that the task is over. A kill is also what a trigger hears
  when it has been handed to another triggerer, or when the task was cleared and already runs again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextvars import copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batches._compat import TRIGGERS_HEAR_KILLS
from airflow_batches._duration import seconds_to_wait

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, BatchesError, MessageBatch
    from airflow_batches.waiting.outcome import Outcome

logger = logging.getLogger(__name__)

QUIET: Final = 10.0
"""Seconds."""
KILLS_AT_ONCE: Final = 8
"""When a run of a thousand mapped tasks is failed, each with a thread and a connection of its own."""

_slots: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = WeakKeyDictionary()


class MessageBatchTrigger(BaseTrigger):
    """Waits for one batch and fires one event, an `Outcome`.

    :param conn_id: connection to poll with.
    :param batch_id: the batch.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param since: when the wait began, seconds since the epoch.
    :param deadline: when it is over, seconds since the epoch; None for never.
    :param cancel_on_kill: cancel the batch when the task is ended by hand while it waits.
    """

    _kills: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(
        self,
        *,
        conn_id: str,
        batch_id: str,
        poll_interval: timedelta | float = 60.0,
        since: float = 0.0,
        deadline: float | None = None,
        cancel_on_kill: bool = True,
        **_ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in Airflow
        self.conn_id = conn_id
        self.batch_id = batch_id
        self.poll_interval = seconds_to_wait(poll_interval)
        self.since = since
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self._done = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and kwargs, as Airflow stores them."""
        names = ("conn_id", "batch_id", "poll_interval", "since", "deadline", "cancel_on_kill")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, fire, end."""
        loop = asyncio.get_running_loop()
        loud_from = loop.time() + QUIET
        try:
            outcome = await self._wait()
            await asyncio.sleep(loud_from - loop.time())
        except asyncio.CancelledError:
            if not TRIGGERS_HEAR_KILLS:
                await self.on_kill()
            raise
        except Exception:  # to Airflow, a trigger that fails has fired too
            await asyncio.sleep(loud_from - loop.time())
            raise
        self._done = True
        yield TriggerEvent(outcome.to_event())

    async def _wait(self) -> Outcome:
        from airflow_batches.triggers.engine import load

        await load()
        from airflow_batches._compat import triggerer_stats
        from airflow_batches.waiting.decision import Watch
        from airflow_batches.waiting.hub import wait_async
        from airflow_batches.waiting.progress import Progress

        progress = Progress(self.batch_id)

        def tell(answer: MessageBatch | BatchesError | None) -> None:
            if line := progress.line(answer, now=time.time()):
                logger.info(line)

        return await wait_async(
            self.conn_id,
            self._connect,
            Watch(batch_id=self.batch_id, since=self.since or time.time(), deadline=self.deadline),
            poll_interval=self.poll_interval,
            on_answer=tell,
            metrics=triggerer_stats(),
        )

    async def _connect(self) -> BatchesClient:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.triggers.connect import connect

        return await connect(self.conn_id, retry=ONCE)

    async def on_kill(self) -> None:
        """Cancel the batch if the task is over. Airflow interrupts this after about a second, so it is shielded."""
        if self._done or not self.cancel_on_kill:
            return
        work = asyncio.get_running_loop().create_task(self._cancel_if_over())
        self._kills.add(work)
        work.add_done_callback(self._kills.discard)
        await asyncio.shield(work)

    async def _cancel_if_over(self) -> None:
        from airflow_batches._task_state import OVER, state_of_deferred

        try:
            async with _kill_slots():
                state = await state_of_deferred(self.task_instance)
                if state not in OVER:
                    logger.info("The task is %s, not over: batch %s goes on", state, self.batch_id)
                    return
                await self._cancel(f"the task is {state}")
        except Exception:  # the trigger itself is gone by now: the log is all that is left
            logger.exception(
                "The task was killed, and no cancel of batch %s is confirmed: it may run on", self.batch_id
            )

    async def _cancel(self, reason: str) -> None:
        from airflow_batches.api import cancel_if_running
        from airflow_batches.triggers.connect import connect
        from airflow_batches.waiting.thread import CallThread

        # Airflow sorts log lines by context variables: in the trigger's context, they reach the task's log.
        context = copy_context()
        client = await connect(self.conn_id)
        thread = CallThread(f"cancel-{self.batch_id}")
        try:
            # Without a look first: the triggerer may be about to end, and the cancel must be sent before that.
            await thread.run(
                lambda: context.run(cancel_if_running, client, self.batch_id, reason=reason, look_first=False)
            )
        finally:
            thread.finish(client.close)


def _kill_slots() -> asyncio.Semaphore:
    return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(KILLS_AT_ONCE))
