"""Run a whole job: any number of requests, one task, one folder of answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.sdk import BaseOperator

from airflow_batches._compat import TRIGGER_FAILED, TRIGGER_TIMED_OUT
from airflow_batches._duration import seconds_to_wait
from airflow_batches._row_options import Keep, RowOptions
from airflow_batches._uri import path_text
from airflow_batches.operators.job_engine import JobSettings
from airflow_batches.operators.job_run import RunsJob
from airflow_batches.operators.links import TASK_LINKS
from airflow_batches.operators.requests import Given, Place, RequestsField
from airflow_batches.operators.tries import is_first
from airflow_batches.operators.waiting import MAX_FAILURE_RATE, share
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchJobOperator(RunsJob, BaseOperator):
    """Have any number of requests answered in one folder, within a budget, and return the manifest.

    The folder is the job: whatever happens to the task, the same folder continues. A retry, a cleared task or a run in
    a terminal goes on where the last one stopped, and sends no request twice. A finished job returns its manifest. The
    estimate is pushed to XCom as `estimate` once the job is planned, and its state as `progress` whenever the task
    wakes up.

    :param requests: texts, `{"custom_id", "prompt"}` or `{"custom_id", "params"}`, as a list, an iterable, a callable
        that returns one, or the output of a task; or the URI of a JSONL object. Only a URI is templated. They are read
        once in each try.
    :param rows: instead of requests: Parquet, CSV or JSONL at a URI, a folder or a glob of them (templated), an
        iterable of mappings, a callable that returns one, or the output of a task. Each row is published with its
        answer.
    :param prompt: of the rows: a text with `${column}` places, which Jinja does not render, or a callable that returns
        for a row a text, messages, params, or None: no request.
    :param columns: the columns that a callable needs; None: all.
    :param key: the column or columns that identify a row.
    :param keep: the columns to publish beside the answers: `key`, `all` or a list; None: the key, or all without one.
    :param output_type: a pydantic model, a dataclass, a TypedDict or a JSON schema that each row's answer must follow;
        its members become columns. None: answers are texts.
    :param dedupe: rows with equal requests share one, which is paid once.
    :param reuse: folder of an earlier job of rows, whose answers to equal requests are taken (templated); None or
        empty: none are.
    :param max_age: answers that landed longer ago are not taken; None: any are.
    :param on_empty_prompt: a row whose prompt is empty has no answer (`null`), or nothing is sent (`error`).
    :param path: folder of the job: a URI, an `ObjectStoragePath` or an absolute `pathlib.Path` (templated). It must be
        empty, or hold this job.
    :param model: the model of requests that name none (templated). None takes the connection's.
    :param defaults: params for every request, such as `system` and `max_tokens`; what a request names wins.
    :param format: of the answers: `jsonl` (the default), `jsonl.gz`, `jsonl.zst` or `parquet`; of rows: `parquet` (the
        default), `csv` or `jsonl`. A job keeps the one of its first run.
    :param canary: so many requests are sent alone first; the others only if enough of them were answered. 0: none.
    :param canary_sample: the canary is the `first` requests, or `spread` over all.
    :param warm_cache: send one request alone first, so that the others read the prefix from the cache that they share
        with it; it must end with a `cache_control` of 1 h. With a canary, the canary does that.
    :param rounds: how often a request is sent at most, if it expired or failed at the API; 1: once.
    :param max_tokens_growth: send answers that `max_tokens` stopped again with this many times the limit; None: do not.
    :param max_cost_usd: the cap in USD (templated). A job that would cost more stops; what has landed stays, and a
        cleared task with a higher cap goes on. None: no cap.
    :param max_failure_rate: share (0 to 1) of requests, or of rows, without an answer above which the task fails, after
        everything is published. None accepts any share, but at least one must have an answer.
    :param max_queued: most requests under way; None: as many as the API takes.
    :param max_requests: requests of one batch, at most 100,000, the API's limit (docs, page "Batch processing").
    :param max_bytes: bytes of one batch's body, at most 256,000,000, the API's limit (same page).
    :param preflight: what to do about requests that the API would refuse: `error`, `warn`, or `off`.
    :param on_empty: what to do when there are no requests: `fail`, `skip`, or `succeed` without a manifest.
    :param on_changed: what to do when the folder's job has other requests: `fail`, or `continue` with those that it was
        planned with, and warn. Other requests need another folder.
    :param on_missing: what to do when a batch no longer exists: `fail`, or `resubmit`, which may pay twice.
    :param on_unsettled: what to do when no search can tell whether a create made a batch: `fail`, or `resubmit`, which
        may pay twice.
    :param conn_id: connection with the API key (templated).
    :param storage_conn_id: connection of the store, if a URI names none (templated).
    :param deferrable: wait in the triggerer, without a worker slot; if false, the worker blocks.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) that a try may take at most, its deferrals included; a retry or a cleared
        task has the whole time again, and waits for the same batches.
    :param cancel_on_timeout: cancel the batches under way when the timeout passes.
    :param cancel_on_kill: cancel the batches under way when a person ends the task. When its worker shuts down or its
        `execution_timeout` passes, they go on. If the person clears the task later, the canceled requests are sent
        again.
    :raises ValueError: `max_failure_rate` is not a share, a time is not more than 0 seconds, or `on_empty` is unknown.

    Example::

        MessageBatchJobOperator(
            task_id="answer", requests="s3://lake/prompts.jsonl", path="s3://lake/answers/{{ ds }}/",
            model="claude-haiku-4-5", defaults={"max_tokens": 200}, canary=100, max_cost_usd=50,
        )
    """

    template_fields: Sequence[str] = (
        "requests",
        "rows",
        "reuse",
        "path",
        "model",
        "max_cost_usd",
        "conn_id",
        "storage_conn_id",
    )
    requests = RequestsField()
    rows = RequestsField()
    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        path: Place | XComArg,
        requests: Given | Iterable[str] | Callable[[], Iterable[Any]] | None = None,
        rows: Any = None,
        prompt: str | Callable[[Mapping[str, Any]], Any] | None = None,
        columns: Sequence[str] | None = None,
        key: str | Sequence[str] | None = None,
        keep: Keep | None = None,
        output_type: Any = None,
        dedupe: bool = True,
        reuse: str | None = None,
        max_age: timedelta | None = None,
        on_empty_prompt: Literal["null", "error"] = "null",
        model: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        format: str | None = None,  # noqa: A002  # as in `run_job`
        canary: int = 0,
        canary_sample: Literal["first", "spread"] = "first",
        warm_cache: bool = False,
        rounds: int = 3,
        max_tokens_growth: float | None = None,
        max_cost_usd: float | str | None = None,
        max_failure_rate: float | None = MAX_FAILURE_RATE,
        max_queued: int | None = None,
        max_requests: int = 100_000,
        max_bytes: int = 256_000_000,
        preflight: Literal["error", "warn", "off"] = "error",
        on_empty: Literal["fail", "skip", "succeed"] = "fail",
        on_changed: Literal["fail", "continue"] = "fail",
        on_missing: Literal["fail", "resubmit"] = "fail",
        on_unsettled: Literal["fail", "resubmit"] = "fail",
        conn_id: str = DEFAULT_CONNECTION,
        storage_conn_id: str | None = None,
        deferrable: bool = True,
        poll_interval: timedelta | float = 60.0,
        timeout: timedelta | float = timedelta(days=7),
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_empty not in ("fail", "skip", "succeed"):
            raise ValueError(f"on_empty must be 'fail', 'skip' or 'succeed', not {on_empty!r}")
        if (requests is None) == (rows is None):
            raise ValueError("give requests or rows: one of them")
        self.requests = requests
        self.rows = rows
        self.reuse = reuse
        self.path = cast("str", path_text(path))  # rendered by Airflow before it is used
        self.model = model
        self.max_cost_usd = max_cost_usd
        self.settings = JobSettings(
            defaults=defaults or {}, format=format, canary=canary, canary_sample=canary_sample,
            warm_cache=warm_cache, rounds=rounds, max_tokens_growth=max_tokens_growth, max_queued=max_queued,
            max_requests=max_requests, max_bytes=max_bytes, preflight=preflight, on_changed=on_changed,
            on_missing=on_missing, on_unsettled=on_unsettled,
            rows=RowOptions(
                prompt=prompt, columns=columns, key=key, keep=keep, output_type=output_type, dedupe=dedupe,
                max_age=max_age, on_empty_prompt=on_empty_prompt,
            ),
        )  # fmt: skip
        self.max_failure_rate = share(max_failure_rate)
        self.on_empty = on_empty
        self.conn_id = conn_id
        self.storage_conn_id = storage_conn_id
        self.deferrable = deferrable
        self.poll_interval = seconds_to_wait(poll_interval)
        self.timeout = seconds_to_wait(timeout)
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Begin or continue the job.

        :return: the manifest (`airflow_batches.jobs.JobManifest`) as plain JSON values.
        :raises AirflowFailException: a rule stopped the job, too many requests failed, or a retry would not help.
        :raises AirflowSkipException: there are no requests, and `on_empty` is `skip`.
        :raises AirflowException: the timeout has passed, or another runner has the job; a retry continues it.
        """
        # Only a person runs a task again whose batches were canceled: a kill ends it, and Airflow retries no such task.
        return self.run_leg(
            context,
            begun=False,
            deadline=time.time() + self.timeout,
            resend_canceled=is_first(context),
        )

    def execute_again(
        self, context: Context, event: Any = None, deadline: float | None = None, begun: bool = False
    ) -> dict[str, Any] | None:
        """Continue the job after a deferral.

        :param context: Airflow's context.
        :param event: the trigger's event; what its batches are is looked up again.
        :param deadline: when this try ends, in seconds since the epoch; None (`dag.test()` loses it): after `timeout`.
        :param begun: the job was planned or continued before the deferral; the requests are not read again.
        :return: as `execute`.
        """
        return self.run_leg(
            context,
            begun=begun,
            deadline=time.time() + self.timeout if deadline is None else deadline,
            resend_canceled=not begun and deadline is not None and is_first(context),
            event=event or {},
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral. After a lost trigger, the timeout has passed."""
        if next_method == TRIGGER_FAILED and (next_kwargs or {}).get("error") == TRIGGER_TIMED_OUT:
            return self.execute_again(context, deadline=0.0, begun=True)
        return super().resume_execution(next_method, next_kwargs, context)
