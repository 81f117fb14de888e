"""Our errors as Airflow's: what a retry cannot help fails the task at once, the rest may be retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def task_errors() -> Iterator[None]:
    """Turns permanent errors (no connection, refused input, 400, 401, 403, 404 …) into `AirflowFailException`."""
    from airflow_batches._compat import AirflowFailException, AirflowNotFoundException
    from airflow_batches.api import ApiError, InvalidRequest

    try:
        yield
    except (InvalidRequest, AirflowNotFoundException) as error:
        raise AirflowFailException(str(error)) from error
    except ApiError as error:
        if error.passing:
            raise
        raise AirflowFailException(str(error)) from error
