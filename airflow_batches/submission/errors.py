"""The exceptions of a submission. All are `BatchesError`s.

InvalidRequest
└── PreflightError     the API would refuse the requests; nothing was sent
    └── EmptySource    the source holds no requests
BatchesError
├── SourceError        the source could not be read; nothing was sent, and a retry may help
│   └── SourceChanged  its second reading differed from the first; no batch was created
├── RequestsChanged    a retry has other requests than the try before it; nothing was sent
├── Superseded         another try of the same task submits at the same time
├── LookupRefused      the API refused to return the batch of an earlier try; nothing was sent, a retry asks again
├── ReconcilePending   it is not known yet whether a create was accepted; submit again later
├── UncertainSubmit    it is not known whether the batch exists, or which one it is; a person must decide
└── SubmitKilled       the task was killed during the submit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_batches.api.errors import BatchesError, InvalidRequest


@dataclass(frozen=True)
class Problem:
    """One problem of a source.

    `line` counts from 1; in a list of requests it is the item. `custom_id` is None if it cannot be read.
    """

    line: int
    custom_id: str | None
    reason: str

    def __str__(self) -> str:
        return f"line {self.line:,}" + (f", {self.custom_id!r}" if self.custom_id else "") + f": {self.reason}"


class PreflightError(InvalidRequest):
    """The requests cannot be sent as one batch; nothing was sent.

    :param message: the source and its problems.
    :param problems: the first problems that were found.
    :param count: the number of all problems.

    Example::

        try:
            shards = split_requests("s3://bucket/requests.jsonl")
        except PreflightError as error:
            print(error.count, *error.problems, sep="\\n")
    """

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), count: int = 0) -> None:
        self.problems = tuple(problems)
        self.count = count
        super().__init__(message)


class EmptySource(PreflightError):
    """The source holds no requests, and the API accepts no empty batch.

    A task may skip instead (`on_empty`).

    :param name: the source.

    Example::

        try:
            shards = split_requests("s3://bucket/requests.jsonl")
        except EmptySource:
            shards = []
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} holds no requests; nothing was sent")


class SourceError(BatchesError):
    """The requests could not be read: no such object, no permission, a broken connection.

    A retry may help.

    Example::

        try:
            shards = split_requests("s3://bucket/requests.jsonl")
        except SourceError as error:
            print(error)
    """


class SourceChanged(SourceError):
    """The source changed between its two readings.

    The upload was aborted before its end, and no batch was created.

    Example::

        try:
            receipt = submit(client, source)
        except SourceChanged:
            receipt = submit(client, source)
    """


class RequestsChanged(BatchesError):
    """An automatic retry has other requests than the try before it; nothing was sent.

    :param message: how the requests differ.
    :param batch_id: the batch of the earlier try; its answers can be landed.

    Example::

        try:
            receipt = submit(client, source, records=records)
        except RequestsChanged as error:
            print(error.batch_id)
    """

    def __init__(self, message: str, batch_id: str) -> None:
        self.batch_id = batch_id
        super().__init__(message)


class LookupRefused(BatchesError):
    """The API refused to return the batch of an earlier try.

    Nothing was sent; a retry asks again.

    :param batch_id: the batch of the earlier try.
    :param cause: the API's answer.

    Example::

        try:
            receipt = submit(client, source, records=records)
        except LookupRefused as error:
            print(error.batch_id)
    """

    def __init__(self, batch_id: str, cause: BatchesError) -> None:
        self.batch_id = batch_id
        super().__init__(
            f"Batch {batch_id} of an earlier try could not be fetched: {cause} Nothing was sent; a retry asks again"
        )


class ReconcilePending(BatchesError):
    """It is not known yet whether a create was accepted.

    Submit again later, with the same store.

    :param message: why it is not known.
    :param batch_id: a batch that may be the task's. Its custom_ids can be compared after it has ended: wait for it.
        None: no such batch is listed yet.
    :param retry_in: seconds to wait when `batch_id` is None.

    Example::

        try:
            receipt = submit(client, source, records=records, search_for=timedelta(minutes=1))
        except ReconcilePending as pending:
            client.wait_for(pending.batch_id) if pending.batch_id else time.sleep(pending.retry_in)
    """

    def __init__(self, message: str, *, batch_id: str | None = None, retry_in: float = 0.0) -> None:
        self.batch_id = batch_id
        self.retry_in = retry_in
        super().__init__(message)


class UncertainSubmit(BatchesError):
    """The outcome of a create is unknown, and a person must decide.

    :param message: what is known, and what to do.
    :param batch_ids: the batches that the create may have made.

    Example::

        try:
            receipt = submit(client, source, records=records)
        except UncertainSubmit as error:
            print(error.batch_ids)
    """

    def __init__(self, message: str, batch_ids: Sequence[str] = ()) -> None:
        self.batch_ids = tuple(batch_ids)
        super().__init__(message)


class Superseded(BatchesError):
    """Another try of the same task has written the record since this one did.

    This one stops and cancels nothing.

    :param consequence: what this means for the batch.

    Example::

        try:
            receipt = submit(client, source, records=records)
        except Superseded as error:
            print(error)
    """

    def __init__(self, consequence: str = "this try has sent nothing") -> None:
        super().__init__(f"another try of this task has taken over; {consequence}")


class SubmitKilled(BatchesError):
    """The task was killed during the submit.

    :param consequence: what this means for the batch.

    Example::

        try:
            receipt = submit(client, source, killed=stop.is_set)
        except SubmitKilled as error:
            print(error)
    """

    def __init__(self, consequence: str) -> None:
        super().__init__(f"killed during the submit; {consequence}")
