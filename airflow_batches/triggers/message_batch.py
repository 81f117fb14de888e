"""The wait of a deferred task for one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_batches.triggers.base import WaitTrigger


class MessageBatchTrigger(WaitTrigger):
    """A trigger that waits for one batch and fires one event, an `Outcome`.

    The operators and the sensor defer to it; all triggers of a connection in one triggerer share their polls.

    :param conn_id: connection to poll with.
    :param batch_id: the batch.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param since: when the wait began, in seconds since the epoch; 0 means now.
    :param deadline: when the wait ends, in seconds since the epoch; None means never.
    :param cancel_on_kill: cancel the batch when a person ends the task while it waits.
    :raises ValueError: the poll interval is not more than 0 seconds.

    Example::

        deadline = time.time() + 25 * 3600
        trigger = MessageBatchTrigger(conn_id="anthropic_default", batch_id=batch_id, deadline=deadline)
        self.defer(trigger=trigger, method_name="execute_complete")
    """

    KWARGS = ("conn_id", "batch_id", "poll_interval", "since", "deadline", "cancel_on_kill")

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
        super().__init__(conn_id=conn_id, poll_interval=poll_interval, since=since, cancel_on_kill=cancel_on_kill)
        self.batch_id = batch_id
        self.deadline = deadline

    @property
    def awaited(self) -> Sequence[str]:
        """The batch's id."""
        return (self.batch_id,)

    async def payload(self) -> dict[str, Any]:
        """Wait for the batch; return its outcome."""
        from airflow_batches.waiting.progress import ProgressLog

        settings = self._settings()
        progress = ProgressLog(self.batch_id, settings.min_line_gap_s, settings.heartbeat_s)
        watch = self._watch(self.batch_id, self.deadline)
        outcome = await self.wait_for(watch, lambda answer: progress.line(answer, now=time.time()))
        return outcome.to_event()
