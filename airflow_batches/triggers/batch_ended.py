"""Event-driven scheduling: update an asset whenever batches of a workspace end.

Rules of this file:
- All batches that a poll finds are one event, up to `MOST_IN_EVENT`, and events are `GAP` apart: up to Airflow 3.3, an
  asset event that arrives while an earlier one of the same asset waits for the scheduler is left over until the next
  one (apache/airflow issue 54659, pull request 70972). If a DAG has reached its `max_active_runs`, the scheduler waits
  longer than `GAP`.
- The trigger never ends: it waits out a failure, and logs its beginning and its end.
- From Airflow 3.3 on, the asset's state store keeps the cursor, so that batches that end while no triggerer runs are
  reported later. The cursor is stored `GAP` after the event, when Airflow has the event: a triggerer that dies in
  between reports batches twice rather than never. The cursor is read before each poll, and again before its event,
  because another triggerer may have replaced one that hung.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_batches._duration import seconds_to_wait
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.waiting.endings import Told

logger = logging.getLogger(__name__)

STATE: Final = "airflow_batches.told."
"""Key in the asset's state store, before the connection's id; its value is `Told.to_state()`."""
MOST_IN_EVENT: Final = 100
"""Batches in one event. Chosen: at a few hundred bytes each it stays in the tens of kB; Airflow stores it in its
database and copies it to every run that it triggers."""
GAP: Final = 10.0
"""Seconds. Chosen: several loops of a scheduler, which sleeps for 1 s when idle (`[scheduler]
scheduler_idle_sleep_time`)."""
FIRST_PAUSE: Final = 1.0
"""Seconds until a state store that did not answer is asked again; doubled each time. Chosen: as in `waiting.outage`."""
LONGEST_PAUSE: Final = 60.0
"""The most that `FIRST_PAUSE` grows to, in seconds. Chosen: as in `waiting.outage`."""
STORE_PATIENCE: Final = 60.0
"""Seconds for one answer of the store. Chosen: as `connect.READ_TIMEOUT`."""


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
        from airflow_batches.triggers.engine import load

        await load()
        from airflow_batches.waiting.endings import Told, look
        from airflow_batches.waiting.line import Line
        from airflow_batches.waiting.outage import Outage

        loop = asyncio.get_running_loop()
        line, outage = Line(f"ended-{self.conn_id}", self._connect), Outage(self.conn_id)
        told = Told()
        if getattr(self, "asset_state_store", None) is None:
            logger.warning("There is no asset state store: what ends while no triggerer runs is not told")
        try:
            while True:
                await self._exchange(told)
                news, error = await look(line, told, now=time.time())
                if news:
                    meanwhile = await self._stored()
                    news = [batch for batch in news if not meanwhile.knows(batch)]
                for start in range(0, len(news), MOST_IN_EVENT):
                    yield TriggerEvent({"batches": [*map(_told, news[start : start + MOST_IN_EVENT])]})
                    await asyncio.sleep(GAP)
                if news:
                    await self._exchange(told)
                await asyncio.sleep(max(self.poll_interval, outage.account(error, loop.time())))
        finally:
            line.hang_up()

    async def _connect(self) -> BatchesClient:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.triggers.connect import connect

        return await connect(self.conn_id, retry=ONCE)

    async def _exchange(self, told: Told) -> None:
        """Merge the cursor with the stored one, and store the result.

        Another triggerer may have written the stored one.
        """
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return
        stored = await self._stored()
        told.merge(stored)
        if told == stored:
            return
        try:
            async with asyncio.timeout(STORE_PATIENCE):
                await store.aset(STATE + self.conn_id, told.to_state())
        except Exception as error:  # noqa: BLE001  # the next poll tries again
            logger.warning("The cursor could not be stored; the next poll tries again: %s", _said(error))

    async def _stored(self) -> Told:
        from airflow_batches.waiting.endings import Told

        store = getattr(self, "asset_state_store", None)
        if store is None:
            return Told()
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(STORE_PATIENCE):
                    return _read(await store.aget(STATE + self.conn_id))
            except Exception as error:  # noqa: BLE001  # a failure does not mean that there is no cursor
                logger.warning("The asset state store does not answer, asking again: %s", _said(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _read(state: Any) -> Told:
    from airflow_batches.waiting.endings import Told

    try:
        return Told() if state is None else Told.from_state(state)
    except ValueError as error:
        logger.error(
            "The stored cursor cannot be read; starting from now. Batches that ended since the last poll are missed. "
            "The error: %s",
            error,
        )
        return Told()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _told(batch: MessageBatch) -> dict[str, Any]:
    from airflow_batches.waiting.decision import outcome_of
    from airflow_batches.waiting.outcome import Ending

    times = {"created_at": batch.created_at, "ended_at": batch.ended_at}
    return {
        **outcome_of(batch, Ending.ENDED).to_event(),
        **{name: at and at.isoformat() for name, at in times.items()},
    }
