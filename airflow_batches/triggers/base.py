"""What the triggers of deferred tasks share: one event, not too early, and what happens when the task is killed.

Rules of this file:
- The kwargs hold only ids and times, because Airflow stores them unencrypted. Unknown kwargs are ignored, because rows
  of another version survive an upgrade.
- No event fires in the first `QUIET_S` seconds: Airflow may report the exit of the deferring process up to 5 s late,
  and fails the task for a state mismatch if the trigger was faster.
- The generator ends right after its one event.
- A batch is canceled only if Airflow says that the task is over. `on_kill` is also called when the trigger was handed
  to another triggerer, or when the task was cleared and already runs again. A job's batches also go on if another
  runner, such as a terminal, has the job (`job`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batches._compat import TRIGGERS_HEAR_KILLS
from airflow_batches._duration import seconds_to_wait

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient
    from airflow_batches.api.polling import Answer, Watch
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.settings import PollSettings

    Line = Callable[[Answer | None], str | None]

logger = logging.getLogger(__name__)

_slots: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = WeakKeyDictionary()


class WaitTrigger(BaseTrigger):
    """The base of triggers that wait for batches and fire one event.

    :param conn_id: connection to poll with.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param since: when the wait began, in seconds since the epoch; 0 means now.
    :param cancel_on_kill: cancel the batches when a person ends the task while it waits.
    """

    QUIET_S: ClassVar[float] = 10.0
    """Seconds without an event. Chosen: twice the 5 s of Airflow's `[workers] min_heartbeat_interval` (apache/airflow
    #66374). Measured with 16 tasks: an event after 1 s failed 7 of them, after 8 s none."""
    CANCELS_AT_ONCE: ClassVar[int] = 8
    """Cancels at the same time, in a process. Chosen: each needs a thread and an HTTP connection, and a person may fail
    a run of a thousand mapped tasks at once."""
    KWARGS: ClassVar[tuple[str, ...]] = ()
    """The names of the kwargs that Airflow stores."""

    _cancels: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(self, *, conn_id: str, poll_interval: timedelta | float, since: float, cancel_on_kill: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in Airflow
        self.conn_id = conn_id
        self.poll_interval = seconds_to_wait(poll_interval)
        self.since = since
        self.cancel_on_kill = cancel_on_kill
        self._done = False

    @property
    @abstractmethod
    def awaited(self) -> Sequence[str]:
        """The ids of the batches."""

    async def other_runner(self) -> str:
        """Return the name of a runner outside this task that needs the batches; empty: there is none."""
        return ""

    @abstractmethod
    async def payload(self) -> dict[str, Any]:
        """Wait, and return the event's payload."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the kwargs, as Airflow stores them."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self.KWARGS}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, fire one event, end."""
        from airflow_batches.triggers.connect import load

        loop = asyncio.get_running_loop()
        may_fire_at = loop.time() + self.QUIET_S
        try:
            await load()
            payload = await self.payload()
            await asyncio.sleep(may_fire_at - loop.time())
        except asyncio.CancelledError:
            if not TRIGGERS_HEAR_KILLS:
                await self.on_kill()
            raise
        except Exception:  # for Airflow, a trigger that fails too early is like one that fires too early
            await asyncio.sleep(may_fire_at - loop.time())
            raise
        self._done = True
        yield TriggerEvent(payload)

    async def wait_for(self, watch: Watch, line: Line) -> Outcome:
        """Wait for a batch, and log its progress.

        :param watch: the wait.
        :param line: returns the line to log after an answer, if any.
        """
        from airflow_batches._compat import triggerer_stats
        from airflow_batches.waiting.async_wait import wait_async

        def log(answer: Answer | None) -> None:
            if text := line(answer):
                logger.info(text)

        return await wait_async(
            self.conn_id,
            self._connect,
            watch,
            poll_interval=self.poll_interval,
            on_answer=log,
            metrics=triggerer_stats(),
            settings=self._settings(),
        )

    def _watch(self, batch_id: str, deadline: float | None) -> Watch:
        from airflow_batches.api.polling import Watch

        return Watch(batch_id=batch_id, since=self.since or time.time(), deadline=deadline)

    def _settings(self) -> PollSettings:
        from airflow_batches.waiting.settings import DEFAULTS

        return DEFAULTS

    async def _connect(self) -> BatchesClient:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.triggers.connect import connect

        return await connect(self.conn_id, retry=ONCE)

    async def on_kill(self) -> None:
        """Cancel the batches if the task is over.

        The cancels are shielded, because Airflow interrupts this method after about a second.
        """
        if self._done or not self.cancel_on_kill or not self.awaited:
            return
        work = asyncio.get_running_loop().create_task(self._cancel_if_over())
        self._cancels.add(work)
        work.add_done_callback(self._cancels.discard)
        await asyncio.shield(work)

    async def _cancel_if_over(self) -> None:
        from airflow_batches._task_state import OVER, state_of_deferred

        try:
            async with self._slot():
                state = await state_of_deferred(self.task_instance)
                other = await self.other_runner() if state in OVER else ""
        except Exception:  # noqa: BLE001  # the trigger has ended by now, so this log is the only place to report it
            for batch_id in self.awaited:
                _log_unconfirmed(batch_id)
            return
        if state not in OVER:
            logger.info("The task is %s, not over: batch %s goes on", state, ", ".join(self.awaited))
            return
        if other:
            logger.warning("%s has the job: batch %s is left to it", other, ", ".join(self.awaited))
            return
        await asyncio.gather(*(self._cancel_one(batch_id, f"the task is {state}") for batch_id in self.awaited))

    async def _cancel_one(self, batch_id: str, reason: str) -> None:
        try:
            async with self._slot():
                await self._cancel(batch_id, reason)
        except Exception:  # noqa: BLE001  # as above; the other batches are canceled all the same
            _log_unconfirmed(batch_id)

    def _slot(self) -> asyncio.Semaphore:
        return _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.CANCELS_AT_ONCE))

    async def _cancel(self, batch_id: str, reason: str) -> None:
        from airflow_batches._thread import WorkerThread
        from airflow_batches.api import cancel_if_running
        from airflow_batches.triggers.connect import connect

        # Airflow sorts log lines by context variables: in the trigger's context, they reach the task's log.
        context = copy_context()
        client = await connect(self.conn_id)
        thread = WorkerThread(f"cancel-{batch_id}")
        try:
            # The cancel is sent without fetching the batch first, because the triggerer may be about to end.
            cancel = partial(cancel_if_running, client, batch_id, reason=reason, look_first=False)
            await asyncio.wrap_future(thread.submit(context.run, cancel))
        finally:
            thread.submit(client.close)
            thread.finish()


def _log_unconfirmed(batch_id: str) -> None:
    logger.exception("The task was killed, and no cancel of batch %s is confirmed: it may run on", batch_id)
