"""The wait of a deferred task for several batches, or for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_batches.triggers.base import WaitTrigger

if TYPE_CHECKING:
    from airflow_batches.triggers.base import Line


class MessageBatchesTrigger(WaitTrigger):
    """A trigger that waits for several batches and fires one event: `{"outcomes": […]}`.

    The outcomes are those of the waits that are over; none if `wake_at` came first. All triggers of a connection in one
    triggerer share their polls.

    :param conn_id: connection to poll with.
    :param batch_ids: the batches; none waits for `wake_at` only.
    :param until: fire when the `first` of them has ended, or `all`.
    :param wake_at: when to fire at the latest, in seconds since the epoch; None means never.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param since: when the wait began, in seconds since the epoch; 0 means now.
    :param cancel_on_kill: cancel the batches when a person ends the task while it waits.
    :raises ValueError: there is nothing to wait for, `until` is unknown, or the poll interval is not more than 0.

    Example::

        trigger = MessageBatchesTrigger(conn_id="anthropic_default", batch_ids=batch_ids, until="all")
        self.defer(trigger=trigger, method_name="execute_complete")
    """

    KWARGS: ClassVar[tuple[str, ...]] = (
        "conn_id",
        "batch_ids",
        "until",
        "wake_at",
        "poll_interval",
        "since",
        "cancel_on_kill",
    )

    def __init__(
        self,
        *,
        conn_id: str,
        batch_ids: Sequence[str],
        until: Literal["first", "all"] = "first",
        wake_at: float | None = None,
        poll_interval: timedelta | float = 60.0,
        since: float = 0.0,
        cancel_on_kill: bool = True,
        **_ignored: Any,
    ) -> None:
        super().__init__(conn_id=conn_id, poll_interval=poll_interval, since=since, cancel_on_kill=cancel_on_kill)
        if until not in ("first", "all"):
            raise ValueError(f"until must be 'first' or 'all', not {until!r}")
        if not batch_ids and wake_at is None:
            raise ValueError("there is nothing to wait for: neither batch_ids nor wake_at")
        self.batch_ids = [*batch_ids]
        self.until = until
        self.wake_at = wake_at

    @property
    def awaited(self) -> Sequence[str]:
        """The ids of the batches."""
        return self.batch_ids

    async def payload(self) -> dict[str, Any]:
        """Wait for the batches; return the outcomes of those that have ended."""
        left = None if self.wake_at is None else max(0.0, self.wake_at - time.time())
        if not self.batch_ids:
            await asyncio.sleep(left or 0.0)
            return {"outcomes": []}
        when = asyncio.FIRST_COMPLETED if self.until == "first" else asyncio.ALL_COMPLETED
        line_of = self._lines()
        waits = [
            asyncio.ensure_future(self.wait_for(self._watch(batch_id, None), line_of(batch_id)))
            for batch_id in self.batch_ids
        ]
        try:
            done, _ = await asyncio.wait(waits, timeout=left, return_when=when)
            return {"outcomes": [wait.result().to_event() for wait in waits if wait in done]}
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _lines(self) -> Callable[[str], Line]:
        """Return a function that returns the lines of a batch: its own, or, of several batches, one for all."""
        from airflow_batches.waiting.progress import BatchesProgressLog, ProgressLog

        settings = self._settings()
        gaps = (settings.min_line_gap_s, settings.heartbeat_s)
        if len(self.batch_ids) == 1:
            alone = ProgressLog(self.batch_ids[0], *gaps)
            return lambda batch_id: lambda answer: alone.line(answer, now=time.time())
        together = BatchesProgressLog(self.batch_ids, *gaps)
        return lambda batch_id: lambda answer: together.line(batch_id, answer, now=time.time())
