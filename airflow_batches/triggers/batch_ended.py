"""Event-driven scheduling: update an asset whenever batches of a workspace end.

Rules of this file:
- All batches that a poll finds are one event, up to `MAX_IN_EVENT`, and events are `EVENT_GAP_S` apart: up to Airflow
  3.3, an asset event that arrives while an earlier one of the same asset waits for the scheduler is left over until the
  next one (apache/airflow issue 54659, pull request 70972). If a DAG has reached its `max_active_runs`, the scheduler
  waits longer than `EVENT_GAP_S`.
- The trigger never ends: it waits out a failure, and logs its beginning and its end.
- From Airflow 3.3 on, the asset's state store keeps the cursor, so that batches that end while no triggerer runs are
  reported later. The cursor is stored `EVENT_GAP_S` after the event, when Airflow has the event: a triggerer that dies
  in between reports batches twice rather than never. The cursor is read before each poll, and again before its event,
  because another triggerer may have replaced one that hung.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_batches._duration import seconds_to_wait
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.waiting.endings import EndedCursor
    from airflow_batches.waiting.settings import PollSettings

logger = logging.getLogger(__name__)

STATE_KEY: Final = "airflow_batches.ended_cursor."
"""Key in the asset's state store, before the connection's id; its value is `EndedCursor.to_state()`."""


class MessageBatchEndedTrigger(BaseEventTrigger):
    """A trigger that reports each batch of a workspace once when it has ended.

    It also reports batches that other tools submitted.

    The event's payload has `batches`, each with `batch_id`, `status`, `counts`, and `created_at` and `ended_at` as ISO
    texts. A DAG finds it as `payload` in the `extra` of its triggering asset events. After a pause of the DAG, the
    batches that ended meanwhile come first. Each poll reads the list back to the batches that may have been running at
    the last one: a call for each 1,000 batches of the last day.

    :param conn_id: connection to poll with.
    :param poll_interval: seconds (or a timedelta) between two polls.
    :param name: distinguishes this trigger from another with the same arguments: two assets need different names, as
        Airflow shares one trigger between assets whose arguments are equal.
    :raises ValueError: the poll interval is not more than 0 seconds.

    Example::

        trigger = MessageBatchEndedTrigger(conn_id="anthropic_default", poll_interval=60)
        ended = Asset("batches_ended", watchers=[AssetWatcher(name="all", trigger=trigger)])
    """

    MAX_IN_EVENT: ClassVar[int] = 100
    """Batches in one event. Chosen: at a few hundred bytes each it stays in the tens of kB; Airflow stores it in its
    database and copies it to every run that it triggers."""
    EVENT_GAP_S: ClassVar[float] = 10.0
    """Seconds between two events. Chosen: several loops of a scheduler, which sleeps for 1 s when idle (`[scheduler]
    scheduler_idle_sleep_time`)."""
    STORE_BACKOFF_S: ClassVar[tuple[float, float]] = (1.0, 60.0)
    """Seconds until a state store that did not answer is asked again: at first, and at most; doubled each time.
    Chosen: as for failing polls (`waiting.client.Outage`)."""
    STORE_TIMEOUT_S: ClassVar[float] = 60.0
    """Seconds for one answer of the store. Chosen: as `connect.READ_TIMEOUT`."""

    def __init__(
        self,
        *,
        conn_id: str = DEFAULT_CONNECTION,
        poll_interval: timedelta | float = 60.0,
        name: str = "",
        **_ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in Airflow
        self.conn_id = conn_id
        self.poll_interval = seconds_to_wait(poll_interval)
        self.name = name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the kwargs, as Airflow stores them."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"conn_id": self.conn_id, "poll_interval": self.poll_interval, "name": self.name}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, fire, sleep, without end."""
        from airflow_batches.triggers.connect import load

        await load()
        from airflow_batches.waiting.client import Outage, PollClient
        from airflow_batches.waiting.endings import EndedCursor, poll_ended

        loop = asyncio.get_running_loop()
        settings = self._settings()
        client = PollClient(f"ended-{self.conn_id}", self._connect, settings)
        outage, cursor = Outage(f"Polling over connection {self.conn_id}", settings.max_backoff_s), EndedCursor()
        if getattr(self, "asset_state_store", None) is None:
            logger.warning("There is no asset state store: batches that end while no triggerer runs are not reported")
        try:
            while True:
                await self._exchange(cursor)
                news, error = await poll_ended(client, cursor, now=time.time())
                if news:
                    meanwhile = await self._stored()
                    news = [batch for batch in news if not meanwhile.contains(batch)]
                for start in range(0, len(news), self.MAX_IN_EVENT):
                    yield TriggerEvent({"batches": [*map(_payload, news[start : start + self.MAX_IN_EVENT])]})
                    await asyncio.sleep(self.EVENT_GAP_S)
                if news:
                    await self._exchange(cursor)
                await asyncio.sleep(max(self.poll_interval, outage.record(error, loop.time())))
        finally:
            client.close()

    def _settings(self) -> PollSettings:
        from airflow_batches.waiting.settings import DEFAULTS

        return DEFAULTS

    async def _connect(self) -> BatchesClient:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.triggers.connect import connect

        return await connect(self.conn_id, retry=ONCE)

    async def _exchange(self, cursor: EndedCursor) -> None:
        """Merge the cursor with the stored one, and store the result.

        Another triggerer may have written the stored one.
        """
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return
        stored = await self._stored()
        cursor.merge(stored)
        if cursor == stored:
            return
        try:
            async with asyncio.timeout(self.STORE_TIMEOUT_S):
                await store.aset(STATE_KEY + self.conn_id, cursor.to_state())
        except Exception as error:  # noqa: BLE001  # the next poll tries again
            logger.warning("The cursor could not be stored; the next poll retries: %s", _describe(error))

    async def _stored(self) -> EndedCursor:
        from airflow_batches.waiting.endings import EndedCursor

        store = getattr(self, "asset_state_store", None)
        if store is None:
            return EndedCursor()
        pause, max_pause = self.STORE_BACKOFF_S
        while True:
            try:
                async with asyncio.timeout(self.STORE_TIMEOUT_S):
                    return _read(await store.aget(STATE_KEY + self.conn_id))
            except Exception as error:  # noqa: BLE001  # a failure does not mean that there is no cursor
                logger.warning("The asset state store does not answer; it is asked again: %s", _describe(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, max_pause)


def _read(state: Any) -> EndedCursor:
    from airflow_batches.waiting.endings import EndedCursor

    try:
        return EndedCursor() if state is None else EndedCursor.from_state(state)
    except ValueError as error:
        logger.error(
            "The stored cursor cannot be read; starting from now. Batches that ended since the last poll are missed. "
            "The error: %s",
            error,
        )
        return EndedCursor()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _payload(batch: MessageBatch) -> dict[str, Any]:
    from airflow_batches.waiting.outcome import Ending, outcome_of

    times = {"created_at": batch.created_at, "ended_at": batch.ended_at}
    return {
        **outcome_of(batch, Ending.ENDED).to_event(),
        **{name: at and at.isoformat() for name, at in times.items()},
    }
