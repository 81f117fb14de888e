"""Run a job: any number of requests, one folder of answers, within a budget. `run_job` does all of it.

The journey of a job, file by file:
1. `run` builds the engine; `comparing` refuses other requests than the folder's, `files` is what a job stores there.
   `engine` takes the steps that `decision` chooses, and holds the ledger through `lease` and `store` (`journal`: for
   stores without conditional writes); `ledger` says what is in it. The steps are in `steps`, `failures` says which
   failures end a run, `progress` describes a job. What the engine calls is in `effects`.
2. `planning` stores the requests (`prompts`, `folder`), cuts them into shards (`cutting`) and estimates (`estimate`).
   `warming` checks that the requests share a prefix that can be cached.
3. `sending` sends a shard; `batches` adapts the API: create, look, search, cancel. `money` decides whether a shard can
   be paid for.
4. `landed` lands each batch. `rounds` says which lines may be sent again, `resend` stores their requests; `reopening`
   lets a canceled job go on.
5. `publish` writes the parts (`line_parts`), the failures and the `manifest`. All exceptions are in `errors`.
6. `rows` turns rows into requests and publishes them with their answers, `reuse` takes those of an earlier job; both
   are layers over `tables`.

`terminal` holds the commands `airflow-batches plan`, `run`, `status` and `cancel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.jobs.decision import JobLimits as JobLimits
    from airflow_batches.jobs.engine import Engine as Engine
    from airflow_batches.jobs.errors import JobCanceled as JobCanceled
    from airflow_batches.jobs.errors import JobError as JobError
    from airflow_batches.jobs.errors import JobFailed as JobFailed
    from airflow_batches.jobs.errors import JobOvertaken as JobOvertaken
    from airflow_batches.jobs.errors import JobRefused as JobRefused
    from airflow_batches.jobs.errors import JobStopped as JobStopped
    from airflow_batches.jobs.errors import LedgerError as LedgerError
    from airflow_batches.jobs.manifest import JobManifest as JobManifest
    from airflow_batches.jobs.run import run_job as run_job

_MODULES = {
    "Engine": "engine",
    "JobCanceled": "errors",
    "JobError": "errors",
    "JobFailed": "errors",
    "JobLimits": "decision",
    "JobManifest": "manifest",
    "JobOvertaken": "errors",
    "JobRefused": "errors",
    "JobStopped": "errors",
    "LedgerError": "errors",
    "run_job": "run",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
