"""Cancel a killed task's batches only if the task is over and this is its current try.

Airflow calls `on_kill` for many reasons: a person ended or cleared the task, its worker is shutting down, its
`execution_timeout` has passed, or another try took over while this process was stopped. Only if a person ended the
task, no try needs the batch any more.

`on_kill` runs in a signal handler, and the task runs for some seconds after it. The handler must not block: the
interrupted code may hold the lock that it would wait for (of Airflow's connection to its supervisor, or of the API
client). So it only queues a request, and a thread with a second client asks for the state and cancels. Several batches
are canceled at the same time. What is not confirmed in the time that Airflow leaves is in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_batches._task_state import GONE, OVER, state_on_worker
from airflow_batches._thread import WorkerThread
from airflow_batches.api.cancel_all import cancel_all
from airflow_batches.submission.errors import SubmitKilled

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_batches.api import BatchesClient

logger = logging.getLogger(__name__)

JOIN_TIMEOUT: Final = 4.0
"""Seconds for which a killed task waits for its thread. Chosen below the 5 s that Airflow grants between SIGTERM and
SIGKILL."""
REPORT_AFTER_S: Final = 3.5
"""Seconds after a kill until the log names the batches whose cancel is not confirmed. Chosen below `JOIN_TIMEOUT`, so
that the lines are written before the process ends."""
LEAST_S: Final = 1.0
"""Seconds for the cancels, at least, however late the task's state is known. Chosen: enough for one answer."""
WATCH_404_S: Final = 2.0
"""Seconds for which a cancel that answers 404 is repeated. Chosen: what `JOIN_TIMEOUT` leaves after the look-up of the
task's state and two calls, so that the log can still say that the cancel is not confirmed."""


class KillHandler:
    """The thread that cancels a killed task's batches, for use in a `with`.

    :param client: sends the cancel; the thread closes it.
    :param ti: the task instance.
    :param is_current: says whether this try was the last to write the task's record.
    :param outlives_run: the record is not deleted with the task's run, and so is looked at then as well.
    """

    def __init__(
        self, client: BatchesClient, ti: Any, is_current: Callable[[], bool], *, outlives_run: bool = False
    ) -> None:
        self.requested = False
        self._client = client
        self._ti = ti
        self._is_current = is_current
        self._outlives_run = outlives_run
        self._batch_ids: tuple[str, ...] = ()
        self._handled: set[str] = set()
        self._thread = WorkerThread("kill-handler")

    def __enter__(self) -> Self:
        self._thread.start()  # not in the signal handler: starting a thread may wait for a lock
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.submit(self._client.close)
        self._thread.finish(timeout_s=JOIN_TIMEOUT)

    def request(self) -> None:
        """Note that the task was killed. Safe in a signal handler."""
        self.requested = True
        self._queue()

    def set_batch(self, batch_id: str) -> None:
        """Note that the batch exists from now on."""
        self.set_batches((batch_id,))

    def set_batches(self, batch_ids: Iterable[str]) -> None:
        """Note that these batches, and no others, are under way from now on."""
        self._batch_ids = tuple(batch_ids)
        if self.requested:
            self._queue()

    def check(self) -> None:
        """Raise `SubmitKilled` if the task was killed.

        Its next try, if there is one, attaches to the batch.
        """
        if self.requested:
            raise SubmitKilled(f"batch {', '.join(self._batch_ids)} goes on if the task does")

    def _queue(self) -> None:
        if self._batch_ids:
            self._thread.submit(self._cancel_if_over, self._batch_ids, time.monotonic() + REPORT_AFTER_S)

    def _cancel_if_over(self, batch_ids: tuple[str, ...], deadline: float) -> None:
        new = [batch_id for batch_id in batch_ids if batch_id not in self._handled]  # a kill may be requested twice
        self._handled.update(new)
        names = ", ".join(new)
        try:
            if not new or (state := self._over(names)) is None:
                return
        except Exception:  # the task ends in any case, so this log is the only place to report it
            logger.exception("Canceling %s failed after the task was killed. It may still run and be billed", names)
            return
        unconfirmed = cancel_all(
            self._client, new, reason=f"the task is {state}", timeout_s=max(LEAST_S, deadline - time.monotonic()),
            look_first=False, watch_404_s=WATCH_404_S,
        )  # fmt: skip
        for batch_id, error in unconfirmed.items():
            logger.error(
                "Canceling %s failed after the task was killed. It may still run and be billed",
                batch_id,
                exc_info=error,
            )

    def _over(self, names: str) -> str | None:
        """Return the task's state if it is over and no other try needs the batches."""
        state = state_on_worker(self._ti)
        if state not in OVER:
            logger.info("The task was killed, but is %s: batch %s goes on", state, names)
            return None
        # The task state store of a run that was deleted is gone as well.
        if (state != GONE or self._outlives_run) and not self._is_current():
            logger.warning("Another try or runner has taken over: batch %s is left to it", names)
            return None
        return state
