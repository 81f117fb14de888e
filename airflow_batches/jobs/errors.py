"""The errors of a job. All are `BatchesError`s.

BatchesError
└── JobError            the job did not finish; the ledger says how far it came, and running it again continues there
    ├── JobRefused      also an InvalidRequest: nothing was sent; a retry helps only after a person made a change
    ├── LedgerError     the ledger cannot be used; nothing is sent until a person has decided
    ├── JobOvertaken    another runner has taken the job over; this one stopped
    ├── JobStopped      a rule stopped the job: budget, canary, credit, a missing batch, an uncertain create
    ├── JobCanceled     a person canceled the job
    └── JobFailed       all is published, and more requests failed than allowed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_batches.api.errors import BatchesError, InvalidRequest

if TYPE_CHECKING:
    from airflow_batches.jobs.manifest import JobManifest


class JobError(BatchesError):
    """The job did not finish. Running it again with the same path continues it.

    Example::

        try:
            manifest = run_job(client, requests, "s3://lake/answers/")
        except JobError as error:
            print(error)
    """


class JobRefused(JobError, InvalidRequest):
    """The job cannot run in this folder or with these requests; nothing was sent.

    Example::

        try:
            run_job(client, other_requests, "s3://lake/answers/")
        except JobRefused as error:  # the folder holds a job with other requests
            print(error)
    """


class LedgerError(JobError):
    """The ledger cannot be read or used. Nothing is sent, and nothing starts over.

    Example::

        try:
            run_job(client, requests, "s3://lake/answers/")
        except LedgerError as error:  # says what is safe to do
            print(error)
    """


class JobOvertaken(JobError):
    """Another runner has written the ledger; this one stopped.

    Example::

        try:
            run_job(client, requests, "s3://lake/answers/")
        except JobOvertaken:  # the other runner continues the job
            pass
    """


class JobStopped(JobError):
    """A rule stopped the job. What has landed stays.

    :param kind: `budget`, `canary`, `credit`, `missing` or `uncertain`.
    :param message: what happened, with numbers, and what to do.

    Example::

        try:
            run_job(client, requests, "s3://lake/answers/", max_cost_usd=5)
        except JobStopped as error:
            print(error.kind)  # budget
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class JobCanceled(JobError):
    """The job was canceled, and each of its batches is canceling or has ended.

    Example::

        try:
            run_job(client, requests, "s3://lake/answers/")
        except JobCanceled as error:
            print(error)
    """


class JobFailed(JobError):
    """More requests failed than allowed. All answers are published.

    :param manifest: what was published.
    :param message: the numbers.

    Example::

        try:
            run_job(client, requests, "s3://lake/answers/", max_failure_rate=0.0)
        except JobFailed as error:
            print(error.manifest.failed)
    """

    def __init__(self, manifest: JobManifest, message: str) -> None:
        self.manifest = manifest
        super().__init__(message)


@contextmanager
def require_row_packages() -> Iterator[None]:
    """Name the extra to install if an import in the `with` block lacks a package.

    :raises InvalidRequest: a package that rows need is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        raise InvalidRequest(f"rows need {exc.name}: pip install 'airflow-batches[parquet]'") from exc
