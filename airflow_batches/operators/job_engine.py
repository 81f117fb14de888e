"""Build the engine of a job in a task, with what the task needs around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_batches.hooks.stores import airflow_location, airflow_store
from airflow_batches.operators.requests import unwrapped

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from airflow_batches._row_options import RowOptions
    from airflow_batches.api import BatchesClient
    from airflow_batches.jobs.decision import JobLimits, OnMissing, OnUnsettled
    from airflow_batches.jobs.engine import Engine
    from airflow_batches.jobs.folder import JobFolder
    from airflow_batches.jobs.ledger import JobLedger
    from airflow_batches.jobs.planning import CanarySample, JobRequests, OnOtherRequests
    from airflow_batches.operators.kill import KillHandler
    from airflow_batches.submission.preflight import Preflight

ESTIMATE: Final = "estimate"
"""The XCom key of the estimate, which is pushed once the job is planned."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What an operator passes on to the engine as it is."""

    defaults: Mapping[str, Any]
    format: str | None
    canary: int
    canary_sample: CanarySample
    warm_cache: bool
    rounds: int
    max_tokens_growth: float | None
    max_queued: int | None
    max_requests: int
    max_bytes: int
    preflight: Preflight
    on_changed: OnOtherRequests
    on_missing: OnMissing
    on_unsettled: OnUnsettled
    rows: RowOptions


@dataclass(kw_only=True)
class Leg:
    """One stay on a worker.

    :param deadline: when the try ends, in seconds since the epoch.
    :param stay_until: before this time, pauses that are not for batches block.
    :param gave_up: the trigger gave a batch up, so pauses for batches block as well.
    """

    context: Context
    client: BatchesClient
    engine: Engine
    handler: KillHandler
    deadline: float = 0.0
    stay_until: float = 0.0
    gave_up: bool = False
    logged_at: float = float("-inf")


class BuildsJob:
    """A mixin with the parameters of a job."""

    requests: Any
    rows: Any
    reuse: str | None
    path: str
    model: str | None
    max_cost_usd: float | str | None
    settings: JobSettings
    max_failure_rate: float | None
    on_empty: str
    conn_id: str
    storage_conn_id: str | None
    deferrable: bool
    poll_interval: float
    timeout: float
    cancel_on_timeout: bool
    cancel_on_kill: bool
    _killed: bool = False
    _kill_handler: KillHandler | None = None

    def on_kill(self) -> None:
        """Cancel the batches under way if the task is over (`operators.kill`)."""
        self._killed = True
        if self._kill_handler is not None and self.cancel_on_kill:
            self._kill_handler.request()

    def _leg(
        self,
        context: Context,
        client: BatchesClient,
        connection: Connection,
        asked: JobRequests,
        *,
        resend_canceled: bool,
    ) -> Leg:
        from airflow_batches.jobs.run import make_engine

        # A job that was canceled in a terminal goes on only after a clear, which a person made. A new run, which a
        # schedule may have begun, does not.
        folder = self._folder(self.path)
        estimated = False

        def on_step(ledger: JobLedger) -> None:
            nonlocal estimated
            if not estimated:
                estimated = True
                context["ti"].xcom_push(key=ESTIMATE, value=ledger.plan.estimate.to_dict())
            handler.set_batches(batch.id for batch in ledger.live)
            handler.check()

        engine = make_engine(
            client, folder, asked, self._limits(), owner=owner_of(context), format_name=self.settings.format,
            resend_canceled=resend_canceled, reopen=resend_canceled and context["ti"].try_number > 1, on_step=on_step,
        )  # fmt: skip
        handler = self._kill_handler_for(connection, context, engine)
        return Leg(context=context, client=client, engine=engine, handler=handler)

    def _kill_handler_for(self, connection: Connection, context: Context, engine: Engine) -> KillHandler:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.hooks.connection import client_for
        from airflow_batches.operators.kill import JOIN_TIMEOUT, KillHandler

        client = client_for(connection, retry=ONCE, longest_read=JOIN_TIMEOUT)
        self._kill_handler = handler = KillHandler(client, context["ti"], engine.is_current, outlives_run=True)
        if self._killed:  # Airflow called on_kill while the connection was looked up
            self.on_kill()
        return handler

    def _folder(self, path: str) -> JobFolder:
        from airflow_batches.jobs.folder import JobFolder

        return JobFolder(path, open_place=lambda uri: airflow_location(uri, self.storage_conn_id))

    def prompt_for(self, context: Context) -> Any:
        """Return the prompt of the rows.

        :param context: Airflow's context.
        """
        return self.settings.rows.prompt

    def _asked(self, context: Context, connection: Connection, *, begun: bool) -> JobRequests:
        """Return what to compare with the plan, or to plan; nothing if the job was begun in this try."""
        from airflow_batches.hooks.connection import api_version, default_model
        from airflow_batches.jobs.cutting import CutLimits
        from airflow_batches.jobs.planning import JobRequests
        from airflow_batches.jobs.run import asked_rows_of

        given = self.settings
        model = self.model or default_model(connection)
        open_store = airflow_store(self.storage_conn_id)
        options = replace(given.rows, prompt=self.prompt_for(context), reuse=self.reuse)
        rows = None
        if not begun:
            rows = asked_rows_of(
                unwrapped(self.rows), options, model=model, defaults=given.defaults, open_store=open_store,
                open_folder=self._folder, resend_truncated=given.max_tokens_growth is not None, now=datetime.now(UTC),
            )  # fmt: skip
        return JobRequests(
            requests=None if begun else unwrapped(self.requests),
            rows=rows,
            output_type=options.output_type,
            defaults=given.defaults,
            cut=CutLimits(
                max_requests=given.max_requests, max_bytes=given.max_bytes, model=model,
                version=api_version(connection), preflight=given.preflight,
            ),
            canary=given.canary,
            canary_sample=given.canary_sample,
            warm_cache=given.warm_cache,
            max_tokens_growth=given.max_tokens_growth,
            on_changed=given.on_changed,
            open_store=open_store,
        )  # fmt: skip

    def _limits(self) -> JobLimits:
        from airflow_batches.jobs.decision import JobLimits

        return JobLimits(
            max_cost_usd=_usd(self.max_cost_usd),
            max_queued=self.settings.max_queued,
            max_failure_rate=self.max_failure_rate,
            rounds=self.settings.rounds,
            on_missing=self.settings.on_missing,
            on_unsettled=self.settings.on_unsettled,
            poll_interval=self.poll_interval,
        )


def owner_of(context: Context) -> str:
    """Return the owner's name for the lease: the same for all tries and legs of a task instance."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.task_id}/{ti.run_id}/{-1 if ti.map_index is None else ti.map_index}"


def _usd(value: float | str | None) -> Decimal | None:
    """Return an amount; a template may render a text."""
    from airflow_batches.api import InvalidRequest

    if value is None or str(value).strip().lower() in {"", "none"}:
        return None
    try:
        return Decimal(str(value))
    except ArithmeticError as exc:
        raise InvalidRequest(f"max_cost_usd is an amount in USD, not {value!r}") from exc
