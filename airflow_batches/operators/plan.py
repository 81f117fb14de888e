"""Cut a large source into shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.sdk import BaseOperator

from airflow_batches._uri import path_text
from airflow_batches.hooks.stores import airflow_store
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import RUN_LINKS
from airflow_batches.operators.requests import Place
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchPlanOperator(BaseOperator):
    """Cut a JSONL object into shards of one batch each, and check all its requests.

    A shard is a small mapping (the URI, a range of bytes, the number of requests, a digest of their ids). Map the
    submit operator over the shards, and limit the requests that are queued at the API with `max_active_tis_per_dag`.
    Airflow 3.1 does not count deferred tasks for that limit; use a pool that includes deferred tasks there. For more
    shards than `[core] max_map_length` (1,024), raise that option.

    A compressed object can only be decoded from its beginning, so each shard's task would decode all before it again.
    With `shards_path` the plan stores the shards uncompressed, and each task reads only its shard. Nothing reads them
    after the submission; remove them by hand or with a life-cycle rule of the store.

    :param requests: the JSONL object as a URI, an `ObjectStoragePath` or an absolute `pathlib.Path`; `.gz` and `.zst`
        too (templated).
    :param model: the model of requests that name none (templated); its name counts for the size. None takes the
        connection's.
    :param conn_id: connection that the shards will be submitted with (templated).
    :param storage_conn_id: connection of the store, if the URI names none (templated).
    :param max_requests: requests of one shard, at most 100,000, the API's limit (docs, page "Batch processing").
    :param max_bytes: bytes of one shard's body, at most 256,000,000, the API's limit (same page).
    :param preflight: what to do about requests that the API would refuse: `error` (fail), `warn`, or `off`.
    :param shards_path: folder where each shard is stored as an uncompressed object, in the same forms as `requests`
        (templated). None stores nothing: shards are ranges of the object itself, and for a compressed object a warning
        says what that costs.
    :param on_empty: what to do about an object without requests: `fail`, or `skip` the task and the tasks mapped over
        its shards.
    :raises ValueError: `on_empty` is neither `fail` nor `skip`.

    Example::

        plan = MessageBatchPlanOperator(
            task_id="plan", requests="s3://lake/requests.jsonl.gz", shards_path="s3://lake/shards/{{ run_id }}"
        )
        MessageBatchSubmitOperator.partial(task_id="submit").expand(requests=plan.output)
    """

    template_fields: Sequence[str] = ("requests", "model", "conn_id", "storage_conn_id", "shards_path")
    operator_extra_links = RUN_LINKS

    def __init__(
        self,
        *,
        requests: Place | XComArg,
        model: str | None = None,
        conn_id: str = DEFAULT_CONNECTION,
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
        """Read the object and cut it.

        :return: the shards as plain JSON values, in the order of the object.
        :raises AirflowFailException: a request would be refused, or the object cannot be read.
        :raises AirflowSkipException: the object has no requests, and `on_empty` is `skip`.
        """
        from airflow_batches._compat import AirflowSkipException
        from airflow_batches.hooks import MessageBatchesHook
        from airflow_batches.hooks.connection import api_version, default_model
        from airflow_batches.submission import EmptySource, split_requests

        with task_errors():
            connection = MessageBatchesHook(self.conn_id).get_connection(self.conn_id)
            try:
                shards = split_requests(
                    self.requests,
                    open_store=airflow_store(self.storage_conn_id),
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
