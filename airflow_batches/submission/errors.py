"""What can go wrong before a batch has an id, as types. All are `BatchesError`s.

InvalidRequest
└── PreflightError     the requests are not ones the API would take or answer; nothing was sent
    └── EmptySource    there are none
BatchesError
├── SourceError        the source could not be read; nothing was sent, and a retry may help
│   └── SourceChanged  its second reading differed from the first; nothing was accepted
├── RequestsChanged    a retry has other requests than the try before it; nothing was sent
├── Superseded         another try of the same task submits at the same time
├── ReconcilePending   it cannot be told yet whether a create was accepted; submit again later
├── UncertainSubmit    it cannot be told whether the batch exists, or which it is; a person must say
└── SubmitKilled       the task was killed during the submit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches.api.errors import BatchesError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batches.submission.preflight import Problem


class PreflightError(InvalidRequest):
    """The requests cannot be sent as one batch.

    `problems` are the first ones found, `count` is how many there are.
    """

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), count: int = 0) -> None:
        self.problems = tuple(problems)
        self.count = count
        super().__init__(message)


class EmptySource(PreflightError):
    """The source holds no requests, which the API does not take as a batch. A task may skip instead (`on_empty`)."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} holds no requests; nothing was sent")


class SourceError(BatchesError):
    """The requests could not be read: no such object, no permission, a connection that broke. A retry may help."""


class SourceChanged(SourceError):
    """The requests were not the same when read again for sending; the upload was broken off before its end."""


class RequestsChanged(BatchesError):
    """A retry that no person asked for has other requests than the try before it; nothing was sent.

    `batch_id` is the batch of the earlier try.
    """

    def __init__(self, message: str, batch_id: str) -> None:
        self.batch_id = batch_id
        super().__init__(message)


class ReconcilePending(BatchesError):
    """It cannot be told yet whether a create was accepted. Submit again, with the same store, later.

    `batch_id`: a batch that may be the task's. Its custom_ids can be compared once it has ended, so wait for it. None:
    no such batch is listed yet; try again after `retry_in` seconds.
    """

    def __init__(self, message: str, *, batch_id: str | None = None, retry_in: float = 0.0) -> None:
        self.batch_id = batch_id
        self.retry_in = retry_in
        super().__init__(message)


class UncertainSubmit(BatchesError):
    """The outcome of a create is unknown and must not be guessed; `batch_ids` are the batches that it may have made."""

    def __init__(self, message: str, batch_ids: Sequence[str] = ()) -> None:
        self.batch_ids = tuple(batch_ids)
        super().__init__(message)


class Superseded(BatchesError):
    """Another try of the same task has written its record since this one did. This one ends and cancels nothing."""

    def __init__(self, consequence: str = "this try has sent nothing") -> None:
        super().__init__(f"another try of this task has taken over; {consequence}")


class SubmitKilled(BatchesError):
    """The task was killed while it submitted; the message says what is known of the batch."""

    def __init__(self, consequence: str) -> None:
        super().__init__(f"killed during the submit; {consequence}")
