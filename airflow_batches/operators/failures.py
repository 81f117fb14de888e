"""Our errors as Airflow's: what a retry cannot help fails the task at once, the rest may be retried.

An answer that is not the API's own (a web filter's 403, a proxy's 404) says nothing of a key or a batch: a retry helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def task_errors() -> Iterator[None]:
    """Turn permanent errors (no connection, refused input, the API's 400, 401, 404 …) into `AirflowFailException`."""
    from airflow_batches._compat import AirflowFailException, AirflowNotFoundException
    from airflow_batches.api import ApiError, InvalidRequest

    try:
        yield
    except (InvalidRequest, AirflowNotFoundException) as error:
        raise AirflowFailException(str(error)) from error
    except ApiError as error:
        if error.passing or not error.from_api:
            raise
        raise AirflowFailException(str(error)) from error
