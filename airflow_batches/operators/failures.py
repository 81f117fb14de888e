"""Raise this package's errors as Airflow's, without the stack traces of failures that are expected.

| error                                                        | raised as                                     |
|--------------------------------------------------------------|-----------------------------------------------|
| a missing connection, refused input, the API's 400, 401, 404 | `AirflowFailException`: the task fails at once |
| any other error of this package                              | itself: Airflow retries the task              |
| anything else, such as an error of the user's function       | itself, with its whole stack trace            |

An answer that is not the API's (a web filter's 403, a proxy's 404) says nothing about a key or a batch: a retry helps.

Airflow logs each failure with its stack trace and those of its causes; a refused key had two traces with 45 frames
around the one line that helps. So the errors of this package lose theirs here. Their messages say what happened, and
the log has the whole trace at the level DEBUG.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

logger = logging.getLogger(__name__)

TRACE: Final = "The stack trace of the failure"


def task_errors() -> AbstractContextManager[None]:
    """Raise permanent errors as `AirflowFailException`, and errors of this package without their stack traces."""
    return _TaskErrors()


class _TaskErrors(AbstractContextManager[None]):
    """A class, because a generator's context manager restores the stack trace of an exception that passes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Convert or shorten an error."""
        from airflow_batches._compat import AirflowFailException, AirflowNotFoundException
        from airflow_batches.api import BatchesError

        if not isinstance(error, BatchesError | AirflowNotFoundException):
            return
        logger.debug(TRACE, exc_info=error)
        if _is_permanent(error):
            raise AirflowFailException(str(error)) from None
        error.__traceback__ = error.__cause__ = None
        error.__suppress_context__ = True


def _is_permanent(error: Exception) -> bool:
    from airflow_batches.api import ApiError, BatchesError, InvalidRequest

    if isinstance(error, ApiError):
        return error.from_api and not error.retryable
    return isinstance(error, InvalidRequest) or not isinstance(error, BatchesError)
