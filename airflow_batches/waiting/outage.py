"""Wait out temporary failures with growing pauses, and log their beginning and their end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airflow_batches.api.errors import ApiError, BatchesError
from airflow_batches.waiting.decision import LONGEST_HINT

logger = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts, unless the server asks for more. Chosen: the default poll interval, so that an outage
that ends delays no batch by more than one missed poll."""


@dataclass(slots=True)
class Outage:
    """The failures of one connection since its last cycle without any.

    Times are seconds on the monotonic clock.
    """

    name: str
    rand: Callable[[], float] = random.random
    began: float = 0.0
    cycles: int = 0

    def account(self, error: BatchesError | None, now: float) -> float:
        """Note the end of a cycle, and return the seconds to wait before the next.

        :param error: the cycle's error, None if it had none.
        :param now: seconds on the monotonic clock.
        """
        if error is None:
            self._worked(now)
            return 0.0
        self._failed(error, now)
        # Exponential with jitter, and never less than the server asks for.
        backoff = min(LONGEST_PAUSE, 2.0 ** min(self.cycles - 1, 16)) * (0.5 + self.rand() / 2)
        hint = error.retry_after if isinstance(error, ApiError) else None
        return max(backoff, min(hint or 0.0, LONGEST_HINT))

    def _failed(self, error: BatchesError, now: float) -> None:
        self.cycles += 1
        if self.cycles == 1:
            self.began = now
            logger.warning("Polling over connection %s fails and is tried again: %s", self.name, error)

    def _worked(self, now: float) -> None:
        if self.cycles:
            logger.info(
                "Polling over connection %s works again after %.0f s (%d cycles failed)",
                self.name,
                now - self.began,
                self.cycles,
            )
        self.cycles = 0
