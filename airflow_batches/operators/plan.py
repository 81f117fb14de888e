"""Cut a large source into shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.sdk import BaseOperator

from airflow_batches._uri import path_text
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.requests import Place

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchPlanOperator(BaseOperator):
    """Reads a JSONL object once, checks all its requests, and returns the shards that one batch each can take.

    A shard is a small mapping (the URI, a range of bytes, how many requests, a digest of their ids); submit them with

        MessageBatchSubmitOperator.partial(task_id="submit").expand(requests=plan.output)

    and keep within the API's limit of queued requests by `max_active_tis_per_dag`. (Airflow 3.1 does not count tasks
    that wait deferred in it; there, use a pool that includes deferred tasks.) More shards than `[core] max_map_length`
    (1,024) need that option raised.

    A compressed object can only be decoded from its beginning, which each shard's task would do again. With
    `shards_path` the plan stores the shards uncompressed instead, and every task reads its own:

        MessageBatchPlanOperator(
            task_id="plan", requests="s3://lake/requests.jsonl.gz", shards_path="s3://lake/shards/{{ run_id }}"
        )

    They stay there until you or a life-cycle rule of the store removes them; nothing reads them once the batches are
    submitted.

    :param requests: the JSONL object as a URI, an `ObjectStoragePath` or an absolute `pathlib.Path`; `.gz` and `.zst`
        too (templated).
    :param model: that the requests without one will be submitted with, since its name counts (templated); the
        connection's when None.
    :param conn_id: connection that they will be submitted with (templated).
    :param storage_conn_id: connection of the store, where the URI names none (templated).
    :param max_requests: requests of one shard, at most 100,000.
    :param max_bytes: bytes of one shard's body, at most 256,000,000.
    :param preflight: what to do about requests that the API would refuse: `error` (fail), `warn`, or `off`.
    :param shards_path: folder where each shard is stored as an uncompressed object, in the same forms as `requests`
        (templated). None stores nothing: shards are ranges of the object itself, and a compressed one is logged as a
        warning with what that costs.
    :param on_empty: what to do about an object without requests: `fail`, or `skip` the task and with it the tasks that
        are mapped over its shards.
    """

    template_fields: Sequence[str] = ("requests", "model", "conn_id", "storage_conn_id", "shards_path")

    def __init__(
        self,
        *,
        requests: Place | XComArg,
        model: str | None = None,
        conn_id: str = "anthropic_default",
        storage_conn_id: str | None = None,
        max_requests: int = 100_000,
        max_bytes: int = 256_000_000,
        preflight: Literal["error", "warn", "off"] = "error",
        shards_path: Place | XComArg | None = None,
        on_empty: Literal["fail", "skip"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_empty not in ("fail", "skip"):
            raise ValueError(f"on_empty must be 'fail' or 'skip', not {on_empty!r}")
        self.requests = cast("str", path_text(requests))  # rendered by Airflow before it is used
        self.model = model
        self.conn_id = conn_id
        self.storage_conn_id = storage_conn_id
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.preflight = preflight
        self.shards_path = cast("str | None", path_text(shards_path))
        self.on_empty = on_empty

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """The shards, in the order of the object."""
        from airflow_batches._compat import AirflowSkipException
        from airflow_batches.hooks import MessageBatchesHook
        from airflow_batches.hooks.message_batches import api_version, default_model
        from airflow_batches.submission import EmptySource, split_requests

        with task_errors():
            connection = MessageBatchesHook(self.conn_id).get_connection(self.conn_id)
            try:
                shards = split_requests(
                    self.requests,
                    conn_id=self.storage_conn_id,
                    model=self.model or default_model(connection),
                    max_requests=self.max_requests,
                    max_bytes=self.max_bytes,
                    preflight=self.preflight,
                    anthropic_version=api_version(connection),
                    shards_path=self.shards_path,
                )
            except EmptySource as error:
                if self.on_empty == "skip":
                    raise AirflowSkipException(str(error)) from error
                raise
        self.log.info("%s requests in %d shards", f"{sum(shard.requests for shard in shards):,}", len(shards))
        return [shard.to_dict() for shard in shards]
