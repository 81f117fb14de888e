"""Triggers with fast settings, and what their tests share."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow_batches.api.polling import Watch
from airflow_batches.triggers import MessageBatchEndedTrigger, MessageBatchesTrigger, MessageBatchTrigger
from airflow_batches.triggers.base import WaitTrigger
from airflow_batches.waiting.settings import PollSettings

FAST = PollSettings(first_poll_s=0.02, min_gap_s=0.01, max_backoff_s=0.02)


class Quick(WaitTrigger):
    """Fires after a tenth of a second, and believes a refusal or a 404 after two."""

    QUIET_S = 0.1
    CANCELS_AT_ONCE = 3
    grace = timedelta(seconds=0.2)
    settings = FAST

    def _settings(self) -> PollSettings:
        return self.settings

    def _watch(self, batch_id: str, deadline: float | None) -> Watch:
        watch = super()._watch(batch_id, deadline)
        return replace(watch, refusal_grace=self.grace, missing_grace=self.grace)


class QuickTrigger(Quick, MessageBatchTrigger):
    """The same for one batch."""


class QuickBatchesTrigger(Quick, MessageBatchesTrigger):
    """The same for several batches."""


class QuickEndedTrigger(MessageBatchEndedTrigger):
    """Reports with short pauses."""

    EVENT_GAP_S = 0.01
    STORE_BACKOFF_S = (0.01, 0.02)

    def _settings(self) -> PollSettings:
        return FAST


def waiting_for(batch_id: str, *, settings: PollSettings = FAST, **kwargs: Any) -> QuickTrigger:
    given: dict[str, Any] = {"conn_id": "anthropic_default", "batch_id": batch_id, "poll_interval": 0.05, **kwargs}
    trigger = QuickTrigger(**given)
    trigger.settings = settings
    return trigger
