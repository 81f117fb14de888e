"""A client of the Message Batches API, for any script; nothing here imports Airflow.

The path of a call: `client` builds it, `address` checks its URL and headers. `transport` sends it: `auth` signs it,
`body` streams what a create sends, `session` applies the TLS and proxy settings of `environment`, and `retry` decides
whether to try again. `conversion` makes one of the `errors` of every failure. `models` and `result_models` type the
answer (`wire`), `results` reads a results stream line by line (`jsonl`), `headers` and `clock` read what stands beside.
On top: `cancellation` cancels a batch and confirms it; `digest` compares custom_ids; `error_messages` counts errors;
`limits` holds the API's numbers, `defaults` the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.api.auth import ApiKeyAuth as ApiKeyAuth
    from airflow_batches.api.auth import BearerAuth as BearerAuth
    from airflow_batches.api.cancellation import CancelUnconfirmed as CancelUnconfirmed
    from airflow_batches.api.cancellation import cancel_if_running as cancel_if_running
    from airflow_batches.api.client import BatchesClient as BatchesClient
    from airflow_batches.api.errors import ApiError as ApiError
    from airflow_batches.api.errors import BatchesError as BatchesError
    from airflow_batches.api.errors import DecodeError as DecodeError
    from airflow_batches.api.errors import InvalidRequest as InvalidRequest
    from airflow_batches.api.errors import StreamInterrupted as StreamInterrupted
    from airflow_batches.api.errors import TransportError as TransportError
    from airflow_batches.api.errors import WaitTimeout as WaitTimeout
    from airflow_batches.api.models import BatchDeleted as BatchDeleted
    from airflow_batches.api.models import BatchPage as BatchPage
    from airflow_batches.api.models import MessageBatch as MessageBatch
    from airflow_batches.api.models import ProcessingStatus as ProcessingStatus
    from airflow_batches.api.models import RequestCounts as RequestCounts
    from airflow_batches.api.result_models import Canceled as Canceled
    from airflow_batches.api.result_models import Errored as Errored
    from airflow_batches.api.result_models import Expired as Expired
    from airflow_batches.api.result_models import Message as Message
    from airflow_batches.api.result_models import OtherResult as OtherResult
    from airflow_batches.api.result_models import RequestError as RequestError
    from airflow_batches.api.result_models import ResultItem as ResultItem
    from airflow_batches.api.result_models import Succeeded as Succeeded
    from airflow_batches.api.result_models import Usage as Usage
    from airflow_batches.api.retry import RetryPolicy as RetryPolicy

_MODULES = {
    "ApiError": "errors",
    "ApiKeyAuth": "auth",
    "BatchDeleted": "models",
    "BatchPage": "models",
    "BatchesClient": "client",
    "BatchesError": "errors",
    "BearerAuth": "auth",
    "CancelUnconfirmed": "cancellation",
    "Canceled": "result_models",
    "DecodeError": "errors",
    "Errored": "result_models",
    "Expired": "result_models",
    "InvalidRequest": "errors",
    "Message": "result_models",
    "MessageBatch": "models",
    "OtherResult": "result_models",
    "ProcessingStatus": "models",
    "RequestCounts": "models",
    "RequestError": "result_models",
    "ResultItem": "result_models",
    "RetryPolicy": "retry",
    "StreamInterrupted": "errors",
    "Succeeded": "result_models",
    "TransportError": "errors",
    "Usage": "result_models",
    "WaitTimeout": "errors",
    "cancel_if_running": "cancellation",
}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
