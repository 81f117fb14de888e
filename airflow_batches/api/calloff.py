"""Calling a batch off, from whatever state it is in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow_batches.api.errors import ApiError

if TYPE_CHECKING:
    from airflow_batches.api.client import BatchesClient

logger = logging.getLogger(__name__)

NOTHING_TO_CANCEL: Final = frozenset({400, 404, 409})
"""How the API may answer for a batch that is over or gone; it may as well answer 200 (the pages do not say)."""


def call_off(client: BatchesClient, batch_id: str, reason: str) -> None:
    """Cancel a batch; one that is gone or over is as good as canceled. Raises what the client raises otherwise."""
    try:
        client.cancel(batch_id)
    except ApiError as error:
        if error.status not in NOTHING_TO_CANCEL:
            raise
        logger.info("Batch %s needs no canceling: %s", batch_id, error)
    else:
        logger.info("Canceled batch %s: %s", batch_id, reason)
