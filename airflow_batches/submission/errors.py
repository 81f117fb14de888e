"""What can go wrong before a batch has an id, as types. All are `BatchesError`s.

InvalidRequest
└── PreflightError     the requests are not ones the API would take or answer; nothing was sent
    └── EmptySource    there are none
BatchesError
├── SourceError        the source could not be read; nothing was sent, and a retry may help
│   └── SourceChanged  its second reading differed from the first; nothing was accepted
├── Superseded         another try of the same task submits at the same time
├── Unsettled          a batch that may be ours goes on: wait for `batch_id` to end, then submit again
├── UncertainSubmit    nobody can know whether the batch exists, or which it is; a person must say
└── SubmitKilled       the task was killed meanwhile
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


class Unsettled(BatchesError):
    """A create's fate is unknown, and `batch_id` may be its batch; only its results can tell.

    Wait until that batch has ended, then submit again: it is adopted if it is ours, and never canceled before.
    """

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        super().__init__(
            f"batch {batch_id} may be the one that was submitted; its ids can be compared once it has ended"
        )


class UncertainSubmit(BatchesError):
    """A create's fate is unknown and must not be guessed; `batch_ids` are the batches that it may have made."""

    def __init__(self, message: str, batch_ids: Sequence[str] = ()) -> None:
        self.batch_ids = tuple(batch_ids)
        super().__init__(message)


class Superseded(BatchesError):
    """Another try of the same task has begun to submit since this one did; the message says what this one has sent."""

    def __init__(self, fate: str = "this one has sent nothing") -> None:
        super().__init__(f"another try of this task submits at the same time; {fate}")


class SubmitKilled(BatchesError):
    """The task was killed while it submitted; the message says what is known of the batch."""

    def __init__(self, fate: str) -> None:
        super().__init__(f"killed during the submit; {fate}")
