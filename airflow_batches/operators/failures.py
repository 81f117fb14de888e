"""Raise this package's errors as Airflow's: permanent errors fail the task at once.

An answer that is not the API's (a web filter's 403, a proxy's 404) says nothing about a key or a batch: a retry helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def task_errors() -> Iterator[None]:
    """Raise permanent errors as `AirflowFailException`.

    Permanent errors are a missing connection, refused input, and the API's 400, 401, 404 …
    """
    from airflow_batches._compat import AirflowFailException, AirflowNotFoundException
    from airflow_batches.api import ApiError, InvalidRequest

    try:
        yield
    except (InvalidRequest, AirflowNotFoundException) as error:
        raise AirflowFailException(str(error)) from error
    except ApiError as error:
        if error.retryable or not error.from_api:
            raise
        raise AirflowFailException(str(error)) from error
