"""A killed task's batch is canceled if, and only if, the task is over.

Airflow calls `on_kill` for many reasons: somebody ended the task, or cleared it, its worker is shut down, its
`execution_timeout` has passed. Only after the first does nobody want the batch: otherwise the next try takes it up.

It is called in a signal handler, and lets the task go on for some seconds. Nothing may wait in there: the code that
was interrupted may hold the very lock, of Airflow's connection to its supervisor or of our own to the API. So a
handler only leaves an order, and a thread with a client of its own asks and cancels.
"""

from __future__ import annotations

import logging
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_batches._task_state import OVER, state_on_worker
from airflow_batches.api.cancellation import cancel_if_running
from airflow_batches.submission.errors import SubmitKilled

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_batches.api import BatchesClient

logger = logging.getLogger(__name__)

LAST_WORDS: Final = 4.0
"""Seconds for which a killed task waits for its thread; Airflow grants it five."""
WATCH_404_S: Final = 2.0
"""Seconds for which a 404 is watched: what fits into `LAST_WORDS` beside the look at the task's state and two calls."""


class KillSwitch:
    """Entered by one leg of a task; `client` is closed in the end. `pulled`: the task was killed."""

    def __init__(self, client: BatchesClient, ti: Any) -> None:
        self.pulled = False
        self._client = client
        self._ti = ti
        self._batch_id: str | None = None
        self._orders: SimpleQueue[str | None] = SimpleQueue()
        self._thread = Thread(target=self._obey, name="kill-switch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._orders.put(None)
        self._thread.join(LAST_WORDS)

    def pull(self) -> None:
        """The task was killed. Safe in a signal handler."""
        self.pulled = True
        if self._batch_id is not None:
            self._orders.put(self._batch_id)

    def arm(self, batch_id: str) -> None:
        """From here on there is a batch."""
        self._batch_id = batch_id
        if self.pulled:
            self._orders.put(batch_id)

    def check(self) -> None:
        """Raise `SubmitKilled` if the task was killed: its next try, if there is one, takes the batch up."""
        if self.pulled:
            raise SubmitKilled(f"batch {self._batch_id} goes on if the task does")

    def _obey(self) -> None:
        try:
            if (batch_id := self._orders.get()) is not None:
                self._cancel_if_over(batch_id)
        finally:
            self._client.close()

    def _cancel_if_over(self, batch_id: str) -> None:
        try:
            state = state_on_worker(self._ti)
            if state in OVER:
                cancel_if_running(
                    self._client,
                    batch_id,
                    reason=f"the task is {state}",
                    look_first=False,
                    watch_404_s=WATCH_404_S,
                )
            else:
                logger.info("The task was killed, but is %s: batch %s goes on", state, batch_id)
        except Exception:  # the task may be gone by now: the log is all that is left
            logger.exception("The task was killed, and no cancel of batch %s is confirmed: it may run on", batch_id)
