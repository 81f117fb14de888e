"""Every difference between the Airflow versions that are supported (3.1 on), once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.triggers.base import BaseTrigger

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import determine_kwargs as determine_kwargs
    from airflow.sdk.exceptions import AirflowException as AirflowException
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
    from airflow.sdk.exceptions import AirflowNotFoundException as AirflowNotFoundException
    from airflow.sdk.exceptions import AirflowSensorTimeout as AirflowSensorTimeout
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException
    from airflow.sdk.exceptions import XComNotFound as XComNotFound

    from airflow_batches.waiting.metrics import Metrics
else:
    try:
        from airflow.sdk.bases.decorator import determine_kwargs
    except ImportError:  # before 3.2
        from airflow.utils.operator_helpers import determine_kwargs
    try:
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            XComNotFound,
        )
    except ImportError:  # before 3.2
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            XComNotFound,
        )

TRIGGERS_HEAR_KILLS = hasattr(BaseTrigger, "on_kill")
"""Airflow 3.3 on. Before, a trigger learns of a kill as a cancellation that may as well be a shutdown."""


def is_reference(value: object) -> bool:
    """Whether Airflow resolves a value before the task runs: another task's output, an argument of a mapped task.

    Their common class is private; `iter_references` is what Airflow itself asks all of them for.
    """
    return hasattr(value, "iter_references")


def triggerer_stats() -> Metrics:
    """Where a trigger's metrics go.

    Not `airflow.sdk.observability.stats`: from Airflow 3.2 on that is a module of its own, which the triggerer does
    not set up, so that everything counted there is lost without a word.
    """
    try:
        from airflow.observability.stats import Stats
    except ImportError:  # before 3.2
        from airflow.stats import Stats  # type: ignore[assignment]  # the same thing under its older name
    return cast("Metrics", Stats)


TRIGGER_FAILED = "__fail__"
"""The method name with which Airflow resumes a task whose trigger failed or timed out."""

TRIGGER_TIMED_OUT = "Trigger timeout"
"""What Airflow gives as the error when its own deferral timeout ended the wait."""

__all__ = [
    "TRIGGERS_HEAR_KILLS",
    "TRIGGER_FAILED",
    "TRIGGER_TIMED_OUT",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "XComNotFound",
    "determine_kwargs",
    "is_reference",
    "triggerer_stats",
]
