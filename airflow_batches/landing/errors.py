"""The errors of a landing, in addition to the API's, and how a store's failures become such errors.

BatchesError
└── LandingError             nothing was published; a retry may help (disk full, store unreachable, not ended)
    ├── LandingRefused       also an InvalidRequest: a retry helps only after a person has changed something
    ├── LandingMismatch      the results are not those that the batch must hold (see `mismatch`); a retry may help
    ├── LandingOvertaken     another landing published at the same place meanwhile; a retry helps
    └── LandingTimeout       the landing's timeout passed; a retry has a new one
        └── StoreTimeout     it passed while waiting for the store
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.landing.mismatch import Mismatch


class LandingError(BatchesError):
    """The results were not published; a retry may help.

    Example::

        try:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl")
        except LandingError as error:
            print(f"not published, retry later: {error}")
    """


class LandingRefused(LandingError, InvalidRequest):
    """The batch cannot land there; a retry helps only after a person has changed something.

    For example the path is no URI, a permission is missing, another batch's results are there, or the API has archived
    the results.

    Example::

        try:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl")
        except LandingRefused:  # another batch's results are there
            land(client, "msgbatch_01ab", "s3://bucket/results-2.jsonl")
    """


class LandingOvertaken(LandingError):
    """Another landing published at the same place at the same time.

    The objects there may not belong together. The next landing compares them with the manifest and lands again if they
    differ, so a retry helps.

    Example::

        try:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl")
        except LandingOvertaken:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl")
    """


class LandingTimeout(LandingError, TimeoutError):
    """The timeout passed before every result was read.

    Example::

        try:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl", timeout=600)
        except LandingTimeout:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl", timeout=7200)
    """


class StoreTimeout(LandingTimeout):
    """The store did not answer in time."""


class LandingMismatch(LandingError):
    """Lines are missing, doubled or foreign, or their types differ from the batch's counts.

    `mismatch` says how.

    Example::

        try:
            land(client, "msgbatch_01ab", "s3://bucket/results.jsonl", receipt=receipt)
        except LandingMismatch as error:
            print(error.mismatch.missing, error.mismatch.missing_ids)
    """

    def __init__(self, batch_id: str, mismatch: Mismatch, consequence: str) -> None:
        self.mismatch = mismatch
        problem = f"the results of {batch_id} do not match the batch: {'; '.join(mismatch.sentences())}"
        super().__init__(f"{problem}. {consequence}")


@contextmanager
def store_errors(doing: str, uri: str) -> Iterator[None]:
    """Raise the store's failures as `LandingError`, or `LandingRefused` if no retry can help.

    :param doing: what is done, such as "writing".
    :param uri: the object's URI, without credentials.
    """
    try:
        yield
    except BatchesError:
        raise
    except (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise LandingRefused(f"{doing} {uri} is not possible: {type(exc).__name__}: {exc}") from exc
    except Exception as exc:  # each store has its own exception types, and most are not OSError
        raise LandingError(f"{doing} {uri} failed: {type(exc).__name__}: {exc}") from exc
