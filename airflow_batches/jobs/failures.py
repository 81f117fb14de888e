"""How long a failure may last before it ends a run of a job. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from airflow_batches.api.errors import (
    ApiError,
    BatchesError,
    DecodeError,
    EnvironmentFault,
    StreamInterrupted,
    TransportError,
)
from airflow_batches.landing.errors import LandingError, LandingMismatch, LandingRefused
from airflow_batches.submission.errors import SourceChanged, SourceError

PASSING: Final = (TransportError, DecodeError, StreamInterrupted, LandingError, SourceError)
"""Failures that may pass: no or half an answer of the API, a store that fails."""
TROUBLE_FOR: Final = timedelta(minutes=30)
"""How long failures that may pass are tried again. Chosen: longer than most outages, and no batch expires meanwhile."""
REFUSED_FOR: Final = timedelta(minutes=5)
"""The same for refusals of the key (401, 403). Chosen: keys are rotated in minutes."""


def tolerance(error: BatchesError, *, under_way: bool) -> timedelta | None:
    """Return how long a failure may last before it is raised; None: it is raised at once.

    :param error: the failure.
    :param under_way: whether batches are under way. A key that is refused before that is a wrong one.
    """
    if isinstance(error, ApiError):
        if error.status in {401, 403}:
            return REFUSED_FOR if under_way or not error.from_api else None
        return TROUBLE_FOR if error.retryable else None
    if isinstance(error, EnvironmentFault | LandingRefused | LandingMismatch | SourceChanged):
        return None
    return TROUBLE_FOR if isinstance(error, PASSING) else None
