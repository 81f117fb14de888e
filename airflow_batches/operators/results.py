"""Land a batch's results in object storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from airflow.sdk import BaseOperator

from airflow_batches._duration import seconds_to_wait
from airflow_batches._uri import path_text
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import TASK_LINKS
from airflow_batches.operators.outlets import RETURN_VALUE, update_outlets
from airflow_batches.operators.requests import Given, Place, RequestsField, unwrapped
from airflow_batches.operators.tries import RECEIPT
from airflow_batches.operators.waiting import BATCH_ID, share
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg
    from jinja2 import Environment

    from airflow_batches.landing import LandedBy, Location, Manifest, Progress

NO_BATCH: Final = (None, "", "None")
"""Values of an XCom that was never pushed, by itself and in a template."""


class MessageBatchResultsOperator(BaseOperator):
    """Land every result of an ended batch, once and checked, and return the manifest.

    The object at `path` appears only when it is complete. The manifest is stored beside it as `<path>.manifest.json`,
    is the task's XCom, and goes into the event of every outlet asset. A retry of a task that has landed its batch does
    nothing. A cleared task replaces the results of an older batch that it landed in the same run. Any other object at
    the path fails the task at once, as a permanent error of the API or of the store does.

    A batch that failed beyond the submit operator's `max_failure_rate` can be landed too: give the id as
    `XComArg(submit, key="batch_id")` and a trigger rule that does not need the submit task's success, such as
    `all_done` (`example_dags/land_what_was_paid.py`). If no batch was submitted, the task is skipped.

    :param batch_id: the batch (templated). None, the value of an XCom that was never pushed, skips the task.
    :param path: where the results go: a URI such as `s3://conn_id@bucket/key.jsonl`, an `ObjectStoragePath`, or an
        absolute `pathlib.Path` (templated). `.gz` and `.zst` compress, `.parquet` makes a table.
    :param failed_path: where a copy of the lines that did not succeed goes, in the same forms; nowhere by default
        (templated).
    :param format: `jsonl` or `parquet`; by default `path` decides (templated).
    :param verify: `error` publishes only results that match the batch's counts; `warn` publishes what was read, and the
        manifest says so.
    :param overwrite: land whatever is at the path; by default another batch's results are never replaced.
    :param receipt: the submission's receipt or its ids digest, to prove that the ids are those that were sent
        (templated); by default only their number is checked.
    :param submitted_requests: the requests that were submitted, in any form that `MessageBatchSubmitOperator` takes
        (templated where it is a URI). They are read only where ids do not match, to name up to 20 that are missing or
        foreign. None, the default, names none: the receipt proves that ids differ, not which.
    :param max_failure_rate: share (0 to 1) of requests without success above which the task fails, after everything
        has landed and the manifest has been pushed as the task's XCom. None accepts any share, because the task that
        waited has already checked the batch.
    :param timeout: seconds (or a timedelta) for the whole landing.
    :param stall_timeout: seconds (or a timedelta) without a byte after which the results are requested again.
    :param conn_id: connection with the API key (templated).
    :param storage_conn_id: connection of the store, if a URI names none (templated).
    :raises ValueError: `max_failure_rate` is not a share, or a time is not more than 0 seconds.

    Example::

        MessageBatchResultsOperator(
            task_id="land",
            batch_id=submit.output,
            receipt=XComArg(submit, key="receipt"),
            path="s3://conn_id@bucket/{{ run_id }}/results.jsonl.gz",
        )
    """

    template_fields: Sequence[str] = (
        "batch_id",
        "path",
        "failed_path",
        "format",
        "receipt",
        "submitted_requests",
        "conn_id",
        "storage_conn_id",
    )
    submitted_requests = RequestsField()
    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        batch_id: str | XComArg,
        path: Place | XComArg,
        failed_path: Place | XComArg | None = None,
        format: str | None = None,  # noqa: A002  # as in `land`
        verify: Literal["error", "warn"] = "error",
        overwrite: bool = False,
        receipt: Mapping[str, Any] | str | XComArg | None = None,
        submitted_requests: Given | None = None,
        max_failure_rate: float | None = None,
        timeout: timedelta | float = timedelta(hours=1),
        stall_timeout: timedelta | float = timedelta(minutes=1),
        conn_id: str = DEFAULT_CONNECTION,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.path = cast("str", path_text(path))
        self.failed_path = cast("str | None", path_text(failed_path))
        self.format = format
        self.verify = verify
        self.overwrite = overwrite
        self.receipt = cast("Mapping[str, Any] | str | None", receipt)
        self.submitted_requests = submitted_requests
        self.max_failure_rate = share(max_failure_rate)
        self.timeout = seconds_to_wait(timeout)
        self.stall_timeout = seconds_to_wait(stall_timeout)
        self.conn_id = conn_id
        self.storage_conn_id = storage_conn_id

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render the fields; skip the task if the batch's id or receipt was never pushed."""
        from airflow_batches._compat import XComNotFound

        try:
            super().render_template_fields(context, jinja_env)
        except XComNotFound as error:
            if error.key not in {BATCH_ID, RECEIPT}:
                raise
            raise _without_batch() from error

    def execute(self, context: Context) -> dict[str, Any]:
        """Land the batch.

        :return: the manifest (`airflow_batches.landing.Manifest`) as plain JSON values.
        :raises AirflowSkipException: there is no batch id.
        :raises AirflowFailException: a retry would not help, or `max_failure_rate` is exceeded.
        :raises LandingError: nothing was published; a retry may help.
        """
        from airflow_batches.hooks import MessageBatchesHook
        from airflow_batches.landing import land

        if self.batch_id in NO_BATCH:
            raise _without_batch()
        hook = MessageBatchesHook(self.conn_id)
        with task_errors(), hook.get_conn() as client:
            manifest = land(
                client,
                self.batch_id,
                self._location(self.path),
                failed_path=self._location(self.failed_path) if self.failed_path else None,
                format=self.format,
                verify=self.verify,
                overwrite=self.overwrite,
                receipt=self.receipt,
                submitted_ids=None if self.submitted_requests is None else self._submitted_ids,
                landed_by=_landed_by(context),
                timeout=self.timeout,
                stall_timeout=self.stall_timeout,
                progress=self._log_progress,
            )
        counts = f"{manifest.lines:,} lines in {manifest.seconds:.1f} s"
        self.log.info("%s landed at %s: %s", manifest.batch_id, manifest.uri, counts)
        _report_lineage(hook, manifest)
        update_outlets(context, self.outlets, manifest.uri, manifest.to_dict())
        self._log_errors(manifest)
        self._check_failure_rate(context, manifest)
        return manifest.to_dict()

    def _log_errors(self, manifest: Manifest) -> None:
        if manifest.error_messages:
            self.log.warning("%s: the commonest errors are %s", manifest.batch_id, _errors_in(manifest))

    def _check_failure_rate(self, context: Context, manifest: Manifest) -> None:
        """Fail above `max_failure_rate`, but push the manifest first: the results are paid for."""
        from airflow_batches._compat import AirflowFailException

        failed = manifest.lines - manifest.counts.get("succeeded", 0)
        rate = failed / manifest.lines if manifest.lines else 0.0
        if self.max_failure_rate is None or rate <= self.max_failure_rate:
            return
        context["ti"].xcom_push(key=RETURN_VALUE, value=manifest.to_dict())
        raise AirflowFailException(
            f"{failed:,} of the {manifest.lines:,} results of {manifest.batch_id} did not succeed ({rate:.2%}, above "
            f"the {self.max_failure_rate:.2%} of max_failure_rate). {_errors_in(manifest)}All of them have landed at "
            f"{manifest.uri}; the manifest is this task's XCom"
        )

    def _location(self, path: str) -> Location:
        from airflow_batches.hooks.stores import airflow_location

        return airflow_location(path, self.storage_conn_id)

    def _submitted_ids(self) -> Iterator[str]:
        from airflow_batches.hooks.stores import airflow_store
        from airflow_batches.submission.source import custom_ids

        return custom_ids(unwrapped(self.submitted_requests), open_store=airflow_store(self.storage_conn_id))

    def _log_progress(self, progress: Progress) -> None:
        self.log.info("%s: %s", self.batch_id, progress)


def _without_batch() -> Exception:
    from airflow_batches._compat import AirflowSkipException

    return AirflowSkipException(
        "There is no batch id, so there is nothing to land: the task that should have submitted a batch pushed none. "
        "Its log says why; it may have failed before it sent anything, or have been skipped."
    )


def _landed_by(context: Context) -> LandedBy:
    from airflow_batches.landing import LandedBy

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return LandedBy(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=map_index)


def _errors_in(manifest: Manifest) -> str:
    """Return the most frequent error messages as a sentence, empty if there are none."""
    return "; ".join(map(str, manifest.error_messages)) + ". " if manifest.error_messages else ""


def _report_lineage(hook: Any, manifest: Manifest) -> None:
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    for landed in (manifest.results, manifest.failed):
        if landed is not None:
            get_hook_lineage_collector().add_output_asset(context=hook, uri=landed.uri)
