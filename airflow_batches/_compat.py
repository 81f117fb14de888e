"""All differences between the supported Airflow versions (3.1 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow import __version__ as airflow_version
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
"""True from Airflow 3.3 on. Earlier versions only cancel the trigger, and a shutdown looks the same."""

TABS_BY_OPERATOR = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 4)
"""True from Airflow 3.4 on: a plugin's tab may be limited to the tasks of some operators (`applies_to`)."""


def is_reference(value: object) -> bool:
    """Whether Airflow resolves a value before the task runs.

    Such values are another task's output, or an argument of a mapped task. Their common class is private. Airflow
    itself recognizes them by `iter_references`.
    """
    return hasattr(value, "iter_references")


def triggerer_stats() -> Metrics:
    """Return the object that a trigger sends its metrics to.

    Not `airflow.sdk.observability.stats`: from Airflow 3.2 on that is a separate module. The triggerer does not set it
    up, so metrics sent there are lost without a warning.
    """
    try:
        from airflow.observability.stats import Stats
    except ImportError:  # before 3.2
        from airflow.stats import Stats  # type: ignore[assignment]  # the same object under its older name
    return cast("Metrics", Stats)


TRIGGER_FAILED = "__fail__"
"""The method name with which Airflow resumes a task whose trigger failed or timed out."""

TRIGGER_TIMED_OUT = "Trigger timeout"
"""The error that Airflow passes on when its own deferral timeout ended the wait."""

__all__ = [
    "TABS_BY_OPERATOR",
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
