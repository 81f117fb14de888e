"""Run a job step by step: `decision` decides, this file calls the effects and keeps the ledger.

| step    | order                                                  | if the process dies in between                    |
|---------|--------------------------------------------------------|---------------------------------------------------|
| plan    | store the requests, then the first ledger              | the next run plans anew; nothing was sent         |
| submit  | the body but its last piece; `pending`; the last piece;| the next run searches for the batch of `pending`  |
|         | the batch                                              |                                                   |
| cancel  | cancel until the API confirms it, then record that     | the next run cancels again                        |
| land    | the object, then its numbers                           | the next run lands again, which does nothing      |
| round   | store the requests, then their shards                  | the next run stores the same requests again       |
| publish | `publishing`; parts, failures, manifest; `published`   | the next run publishes the same again             |

Rules:
- One runner at a time has the lease. Each write of the ledger is conditional, so a runner that was stopped for an hour
  and goes on fails at its next write, and stops. It cannot send before that write: `pending` precedes each create.
- A failure that may pass ends no job: the step is tried again after a pause, for as long as `TROUBLE_FOR`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs import events, steps
from airflow_batches.jobs.decision import GONE, BatchState, JobLimits, JobView, decide
from airflow_batches.jobs.effects import Effects
from airflow_batches.jobs.errors import JobCanceled, JobOvertaken, JobRefused, JobStopped
from airflow_batches.jobs.failures import tolerance
from airflow_batches.jobs.lease import LEASE_S, HeldLedger
from airflow_batches.jobs.ledger import PUBLISHED, PUBLISHING, JobBatch, JobLedger, StopRecord
from airflow_batches.jobs.progress import describe, describe_canceled
from airflow_batches.jobs.reopening import CANCELED_JOB, is_canceled, reopened
from airflow_batches.jobs.rounds import after_landing, forgiven, wanted
from airflow_batches.jobs.sending import ShardSender
from airflow_batches.jobs.steps import JobStep, Pause

if TYPE_CHECKING:
    from airflow_batches.jobs.manifest import JobManifest

logger = logging.getLogger(__name__)


class Engine:
    """Runs one job, as one runner.

    :param effects: store, API, files and clock.
    :param limits: those of this run.
    :param runner: a name that no other runner has.
    :param owner: the same for all runners that replace each other, such as a task's tries; they need not wait for the
        lease to expire. Empty: none.
    :param cancel: cancel the job. Takes over from any runner.
    :param resend_canceled: a person begins this run: what was canceled before, and has not landed, is sent again.
    :param reopen: a person begins this run: if the job was canceled before, it goes on (`reopening`).
    :param on_step: is called with the ledger after each step.
    """

    def __init__(
        self,
        effects: Effects,
        limits: JobLimits,
        *,
        runner: str,
        owner: str = "",
        cancel: bool = False,
        resend_canceled: bool = False,
        reopen: bool = False,
        on_step: Callable[[JobLedger], None] = lambda ledger: None,
    ) -> None:
        self._effects = effects
        self._limits = limits
        self._cancel = cancel
        self._resend_canceled = resend_canceled
        self._reopen = reopen
        self._began_at = effects.clock.now()
        self._on_step = on_step
        self._held = HeldLedger(
            effects.store, effects.clock, runner=runner, owner=owner,
            lease_s=max(LEASE_S, 3 * limits.poll_interval), force=cancel,
        )  # fmt: skip
        self._sender = ShardSender(
            self._held, effects.api, effects.clock, runner=runner, on_unsettled=limits.on_unsettled
        )
        self._view = JobView()
        self._trouble_since: datetime | None = None
        self._reads_requests = False
        self._planned: JobLedger | None = None

    @property
    def ledger(self) -> JobLedger | None:
        """The ledger as this runner knows it; None: there is none yet."""
        return self._held.known

    @property
    def in_trouble(self) -> bool:
        """Whether the last step failed and is tried again; only this engine knows since when."""
        return self._trouble_since is not None

    def is_current(self) -> bool:
        """Whether this runner still has the job. Reads the stored ledger; safe in another thread."""
        return self._held.is_current()

    def run(self) -> JobManifest:
        """Advance until the job is done; wait in between. After an error another runner can go on at once."""
        try:
            return self._run()
        except JobOvertaken:
            raise
        except (Exception, KeyboardInterrupt):
            with suppress(BatchesError):
                self.release()
            raise

    def _run(self) -> JobManifest:
        while isinstance(found := self.advance(), Pause):
            left = (found.until - self._now()).total_seconds()
            standing = describe(self.ledger, self._now()) if self.ledger else "Not begun"
            logger.info("%s. Waiting up to %.0f s until %s", standing, max(0.0, left), found.reason)
            self._effects.clock.sleep(max(0.0, left))
        return found

    def advance(self) -> JobManifest | Pause:
        """Take every step that can be taken now.

        :return: the manifest, or when to continue.
        :raises JobError: the job did not finish.
        :raises BatchesError: what the API or the store raised.
        """
        try:
            while (found := self._step()) is None:
                self._end_trouble()
                self._on_step(self._held.ledger)
        except BatchesError as error:
            if (found := self._tolerated(error)) is None:
                raise
        return found

    def release(self) -> None:
        """Give up the lease, so that another runner can go on at once."""
        if self.ledger and self.ledger.lease:
            self._held.write(keep_lease=False)

    def _step(self) -> JobManifest | Pause | None:
        if (lease := self._held.take(self._begin)) is not None:
            return Pause(lease.expires_at, f"runner {lease.runner} releases the job, or its lease expires")
        step = decide(self.ledger, self._view, self._now(), self._limits)
        if isinstance(step, Pause):
            self._view = replace(self._view, batches={})
            return step
        return self._do(step)

    def _do(self, step: JobStep) -> JobManifest | None:
        match step:
            case steps.PlanJob() if self._cancel:
                raise JobRefused("There is no job to cancel in this folder: it has no ledger")
            case steps.PlanJob():
                self._held.save(self._plan())
                logger.info(events.planned(self._held.ledger))
            case steps.SettleCreate():
                self._settle()
            case steps.LookAtBatches():
                self._look()
            case steps.LandBatch(batch_id):
                self._land(self._held.ledger.batch(batch_id))
            case steps.CancelBatch(batch_id):
                self._cancel_batch(self._held.ledger.batch(batch_id))
            case steps.GiveUpBatch(batch_id, reason):
                logger.warning("Batch %s %s; it is given up, and may be billed", batch_id, reason)
                self._update(self._held.ledger.batch(batch_id), lost=reason)
            case steps.SubmitShard(number):
                self._view = self._sender.submit(number, self._view)
            case steps.PlanRound():
                self._plan_round()
            case _:
                return self._end(step)
        return None

    def _end(self, step: JobStep) -> JobManifest:
        match step:
            case steps.PublishJob():
                return self._publish()
            case steps.StopJob(kind, message):
                raise JobStopped(kind, self._stop(kind, message))
            case steps.EndCanceled():
                raise JobCanceled(self._stop(CANCELED_JOB, describe_canceled(self._held.ledger)))
        manifest = self._effects.files.manifest()
        logger.info("The job is done already. %s", events.published(manifest))
        return manifest

    def _stop(self, kind: str, message: str) -> str:
        self._held.write(stopped=StopRecord(kind=kind, message=message, at=self._now()), keep_lease=False)
        return message

    def _begin(self, ledger: JobLedger) -> Mapping[str, Any]:
        """Check that the requests are the ledger's; return the changes with which this run begins."""
        if self._planned is None:
            with self._reading_requests():
                self._effects.files.check(ledger)
        elif ledger.plan.job_id != self._planned.plan.job_id:
            raise JobOvertaken(
                "Another runner planned a job in this folder at the same time. Run it again to continue it"
            )
        changes: dict[str, Any] = {"stopped": None}
        if self._cancel:
            changes["cancel_requested"] = True
        if ledger.stopped and ledger.stopped.kind == "credit":
            changes["batches"] = tuple(forgiven(batch) for batch in ledger.batches)
        if self._reopen and is_canceled(ledger, self._began_at):
            logger.warning("The job was canceled, and goes on, because a person runs it again")
            changes |= reopened(ledger, resubmit=self._limits.on_missing == "resubmit")
        return changes

    def _update(self, batch: JobBatch, **changes: Any) -> None:
        self._replace(msgspec.structs.replace(batch, **changes))

    def _replace(self, changed: JobBatch) -> None:
        self._held.save(self._held.ledger.with_batch(changed))
        left = {batch_id: state for batch_id, state in self._view.batches.items() if batch_id != changed.id}
        self._view = replace(self._view, batches=left)

    # The steps

    def _settle(self) -> None:
        try:
            self._view = self._sender.settle(self._view)
        except JobStopped as stopped:
            self._stop(stopped.kind, str(stopped))
            raise

    def _look(self) -> None:
        states = self._effects.api.look(self._held.ledger.live)
        if self._resend_canceled:
            self._resend_canceled = False  # what is canceled from now on stays so
            over = {batch_id for batch_id, state in states.items() if state is not BatchState.RUNNING}
            batches = self._held.ledger.batches
            if over:
                self._held.write(batches=tuple(wanted(batch) if batch.id in over else batch for batch in batches))
        self._view = replace(self._view, batches=states)

    def _land(self, batch: JobBatch) -> None:
        landed = self._effects.files.land(self._held.ledger, batch)
        self._replace(after_landing(batch, landed))
        logger.info(events.landed(self._held.ledger, batch, landed))

    def _cancel_batch(self, batch: JobBatch) -> None:
        state = self._effects.api.cancel(batch)
        if state not in GONE:
            self._update(batch, canceling=True)
        self._view = replace(self._view, batches={**self._view.batches, batch.id: state})

    def _plan_round(self) -> None:
        ledger = self._held.ledger
        shards = self._effects.files.next_round(ledger)
        self._held.write(rounds=ledger.rounds + 1, shards=(*ledger.shards, *shards))
        logger.info(events.round_begins(self._held.ledger))

    def _plan(self) -> JobLedger:
        """Plan once; a generator cannot be read again after the plan could not be stored."""
        if self._planned is None:
            with self._reading_requests():
                self._planned = self._effects.files.plan()
        return self._planned

    @contextmanager
    def _reading_requests(self) -> Iterator[None]:
        """Let a failure in the block end the run: a generator that was read in part has lost its first requests."""
        self._reads_requests = True
        yield
        self._reads_requests = False

    def _publish(self) -> JobManifest:
        if self._held.ledger.state != PUBLISHING:
            # From now on the published objects follow from the ledger: every runner would publish the same bytes.
            self._held.write(state=PUBLISHING, ended_at=self._now())
        manifest = self._effects.files.publish(self._held.ledger)
        self._held.write(state=PUBLISHED, keep_lease=False)
        logger.info(events.published(manifest))
        return manifest

    def _now(self) -> datetime:
        return self._effects.clock.now()

    # Failures

    def _end_trouble(self) -> None:
        if self._trouble_since is not None:
            logger.info("The failure has passed after %.0f s", (self._now() - self._trouble_since).total_seconds())
        self._trouble_since = None

    def _tolerated(self, error: BatchesError) -> Pause | None:
        """Return a pause after a failure that may pass; None if it must be raised."""
        if self._reads_requests:
            return None
        since = self._trouble_since or self._now()
        under_way = self.ledger is not None and bool(self.ledger.live or self.ledger.pending)
        limit = tolerance(error, under_way=under_way)
        if limit is None or self._now() - since >= limit:
            return None
        level = logging.WARNING if self._trouble_since is None else logging.DEBUG  # the same failure, minute by minute
        logger.log(level, "Trying again for up to %.0f minutes: %s", limit.total_seconds() / 60, error)
        self._trouble_since = since
        self._held.doubt()
        self._view = replace(self._view, batches={})
        return Pause(self._now() + timedelta(seconds=min(self._limits.poll_interval, 60.0)), "the failure has passed")
