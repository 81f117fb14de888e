"""Submit requests as one batch, exactly once: `submission.submit.submit`.

The journey of the requests, file by file:
1. `source` opens what a user gives as JSONL: Python objects (`encode`), or an object (`objects`, `remote`, `formats`)
   of a store that the caller opens (`stores`).
2. `scan` reads it once, for its size and digests (`canonical`, `envelope`). `inspector` finds problems on the way:
   `plain` reads most lines quickly, `preflight` checks the others (`lines`, `members`).
3. `decision` compares the scan with the task's `record`: send, attach, search or refuse.
4. `sender` stores the intent and streams the second reading to the API (`body`); the `receipt` keeps the batch's id.
5. If no answer arrived, `reconcile` searches the API's list (`listing`), and `settlement` decides.

`shards` cuts a large source, `shard_files` stores the shards. Exceptions are in `errors`. Nothing here imports Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.submission.decision import Attempt as Attempt
    from airflow_batches.submission.errors import EmptySource as EmptySource
    from airflow_batches.submission.errors import LookupRefused as LookupRefused
    from airflow_batches.submission.errors import PreflightError as PreflightError
    from airflow_batches.submission.errors import ReconcilePending as ReconcilePending
    from airflow_batches.submission.errors import RequestsChanged as RequestsChanged
    from airflow_batches.submission.errors import SourceChanged as SourceChanged
    from airflow_batches.submission.errors import SourceError as SourceError
    from airflow_batches.submission.errors import SubmitKilled as SubmitKilled
    from airflow_batches.submission.errors import Superseded as Superseded
    from airflow_batches.submission.errors import UncertainSubmit as UncertainSubmit
    from airflow_batches.submission.receipt import Receipt as Receipt
    from airflow_batches.submission.record import RecordStore as RecordStore
    from airflow_batches.submission.shard import Shard as Shard
    from airflow_batches.submission.shards import split_requests as split_requests
    from airflow_batches.submission.source import open_source as open_source

_MODULES = {
    "Attempt": "decision",
    "EmptySource": "errors",
    "LookupRefused": "errors",
    "PreflightError": "errors",
    "ReconcilePending": "errors",
    "RequestsChanged": "errors",
    "Receipt": "receipt",
    "RecordStore": "record",
    "SourceChanged": "errors",
    "SourceError": "errors",
    "Shard": "shard",
    "SubmitKilled": "errors",
    "Superseded": "errors",
    "UncertainSubmit": "errors",
    "open_source": "source",
    "split_requests": "shards",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
